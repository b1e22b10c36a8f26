//! Who decides which requests leave spans.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::collector::Collector;
use splittoken_tests::stand::Stand;

use crate::{PARENT, TRACE, Traced, parts, route, traceparent};

/// What the upstream is told of a request that says this.
fn told(stand: &Stand, values: &[&str]) -> Result<Option<String>> {
    let lines: Vec<String> = values
        .iter()
        .map(|value| format!("traceparent: {value}"))
        .chain(["tracestate: a=b".to_owned()])
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    ensure!(stand.ask("GET /open", &lines)?.status == 200);
    Ok(stand.upstream.last()?.header("traceparent"))
}

/// The spans of a collector after everything that was on its way has come.
fn settled(collector: &Collector) -> Result<usize> {
    let mut before = collector.spans()?.len();
    loop {
        // Twice the time that spans wait for others.
        std::thread::sleep(Duration::from_secs(4));
        let now = collector.spans()?.len();
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

#[test]
fn a_stranger_cannot_have_itself_traced() -> Result<()> {
    let Traced { stand, collector } = Traced::with(&["--trace-sampling", "0"])?;
    let sampled = traceparent("01");
    let passed = told(&stand, &[&sampled])?.context("the trace is lost")?;
    let (trace, parent, flags) = parts(&passed);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "00"));
    assert_ne!(parent, PARENT, "whoever changes the flag is a new parent");
    assert_eq!(stand.upstream.last()?.header_all("tracestate"), ["a=b"]);
    // The smallest ids are those that an id's own ratio would choose.
    let chosen = "00-00000000000000000000000000000001-0000000000000001-01";
    let passed = told(&stand, &[chosen])?.context("the trace is lost")?;
    assert_eq!(parts(&passed).2, "00");
    let unsampled = traceparent("00");
    assert_eq!(told(&stand, &[&unsampled])?, Some(unsampled));
    assert_eq!(told(&stand, &[])?, None);
    for nonsense in [&["nonsense"][..], &["00-1-1-01"], &[&sampled, &sampled]] {
        assert_eq!(told(&stand, nonsense)?, None, "{nonsense:?}");
        assert_eq!(stand.upstream.last()?.header("tracestate"), None, "{nonsense:?}");
    }
    assert_eq!(settled(&collector)?, 0);
    Ok(())
}

#[test]
fn a_trusted_proxy_decides() -> Result<()> {
    let trusted = ["--trusted-proxies", "127.0.0.0/8"];
    let Traced { stand, collector } = Traced::with(&[&["--trace-sampling", "0"], &trusted[..]].concat())?;
    let passed = told(&stand, &[&traceparent("01")])?.context("nothing")?;
    assert_eq!(
        (parts(&passed).0.as_str(), parts(&passed).2.as_str()),
        (TRACE, "01")
    );
    let spans = collector.wait_for(2)?;
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:?}");
    let Traced { stand, collector } = Traced::with(&[&["--trace-sampling", "1"], &trusted[..]].concat())?;
    let unsampled = traceparent("00");
    assert_eq!(told(&stand, &[&unsampled])?, Some(unsampled));
    assert_eq!(settled(&collector)?, 0);
    Ok(())
}

#[test]
fn about_as_many_as_asked_for_leave_spans() -> Result<()> {
    let Traced { stand, collector } = Traced::with(&["--trace-sampling", "0.25"])?;
    let number = 600;
    let sampled = traceparent("01");
    for at in 0..number {
        let values = [sampled.as_str()];
        told(&stand, if at % 2 == 0 { &values } else { &[] })?;
    }
    let spans = settled(&collector)?;
    // Two for each; 150 requests are expected, and 6 standard deviations are 64.
    ensure!(
        (2 * 86..=2 * 214).contains(&spans),
        "{spans} spans of {number} requests"
    );
    Ok(())
}

#[test]
fn without_the_option_nothing_is_sent_or_changed() -> Result<()> {
    let collector = Collector::start()?;
    let url = collector.url();
    let stand = Stand::built(route, |gateway| {
        gateway
            .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
            .variable("OTEL_TRACES_SAMPLER", "always_on")
    })?;
    let sampled = traceparent("01");
    assert_eq!(told(&stand, &[&sampled])?, Some(sampled));
    assert_eq!(told(&stand, &[])?, None);
    let metrics = stand.gateway.admin("/metrics")?.text();
    ensure!(
        !metrics.contains("trace_spans"),
        "spans are counted that nobody wants"
    );
    assert_eq!(collector.requests().len(), 0);
    Ok(())
}

#[test]
fn bad_options_are_said_in_one_line() -> Result<()> {
    for (arguments, expected) in [
        (
            ["--otlp-endpoint", "collector:4317"],
            "expected a URL such as http://collector:4318",
        ),
        (
            ["--otlp-endpoint", "http://u:p@collector"],
            "without user, password",
        ),
        (["--trace-sampling", "1.5"], "expected a number from 0 to 1"),
        (["--trace-sampling", "often"], "expected a number from 0 to 1"),
    ] {
        let routes = ["gateway", "--routes", "none.yaml"];
        let output = splittoken_tests::gateway::run(&[&routes[..], &arguments].concat())?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        ensure!(text.contains(expected) && text.lines().count() == 1, "{text}");
    }
    Ok(())
}
