use std::io;

use tokio::signal::unix::{self, SignalKind, signal};

/// SIGTERM and SIGINT, which no longer end the process by themselves once this is there.
///
/// Make it first thing: the first process of a container has no default action for signals, and one that comes
/// before somebody catches it is lost.
#[derive(Debug)]
pub struct Signals {
    term: unix::Signal,
    int: unix::Signal,
}

/// A request to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// From a supervisor.
    Term,
    /// From a terminal: Ctrl-C.
    Int,
}

impl Signals {
    /// Catches both from now on; has to be called on a tokio runtime.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    /// The next one, be it one that came before this was called. Several that come at once may count as one.
    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            Some(()) = self.term.recv() => StopSignal::Term,
            Some(()) = self.int.recv() => StopSignal::Int,
            // The channels end with the runtime, and so does this.
            else => std::future::pending().await,
        }
    }
}

impl StopSignal {
    /// As `kill -l` and logs write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Term => "SIGTERM",
            Self::Int => "SIGINT",
        }
    }

    /// How shells report a process that this signal has ended: 128 and the signal's number.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Term => 143,
            Self::Int => 130,
        }
    }
}
