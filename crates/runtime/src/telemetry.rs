use std::{io, str::FromStr};

use thiserror::Error;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look. They go to standard error; standard output belongs to what a command was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is no filter.
    // The parser's error says everything and then names itself as its cause: no source.
    #[error("RUST_LOG is not a log filter, try `info` or `splittoken_gateway=debug`: {0}")]
    Filter(tracing_subscriber::filter::ParseError),
    /// Somebody set up logging before.
    #[error("logging is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

impl TelemetryError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Filter(_) => "log_filter",
            Self::Twice(_) => "log_twice",
        }
    }
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json"),
        }
    }
}

/// Sets up logging for the process; `RUST_LOG` overrides `default_filter`.
pub fn init_logs(format: LogFormat, default_filter: &str) -> Result<(), TelemetryError> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text).map_err(TelemetryError::Filter)?,
        _ => EnvFilter::new(default_filter),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Text => registry
            .with(layer.with_ansi(io::IsTerminal::is_terminal(&io::stderr())))
            .try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    }
    .map_err(TelemetryError::Twice)
}
