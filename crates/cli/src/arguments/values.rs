//! Values that are no numbers.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use ipnet::IpNet;
use splittoken_api::GepDuration;

pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080")
}

/// Host with port, and the path.
pub(super) fn probed(text: &str) -> Result<(String, String), &'static str> {
    let rest = text
        .strip_prefix("http://")
        .ok_or("expected http://HOST:PORT/PATH")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    Ok((
        host,
        if path.is_empty() {
            "/".to_owned()
        } else {
            path.to_owned()
        },
    ))
}

pub(super) fn network(text: &str) -> Result<IpNet, &'static str> {
    text.parse()
        .map_err(|_| "expected a network, such as 10.0.0.0/8 or fd00::/8")
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = GepDuration::parse(text).map_err(|_| "expected a duration such as 5s, 500ms or 1m30s")?;
    Ok(parsed.get())
}

const HOUR: Duration = Duration::from_secs(3600);

/// For what clients may take: their timers are looked at once a second.
pub(super) fn client_time(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::from_secs(1)..=HOUR, "expected 1s to 1h")
}

/// For the end of a process: whoever waits longer than an hour meant something else.
pub(super) fn drain_time(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::ZERO..=HOUR, "expected 0s to 1h")
}

fn duration_within(text: &str, bounds: RangeInclusive<Duration>, expected: &str) -> Result<Duration, String> {
    let parsed = duration(text)?;
    if bounds.contains(&parsed) {
        return Ok(parsed);
    }
    Err(expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("5").is_err());
    }

    #[test]
    fn durations_are_bounded_and_say_by_what() {
        assert_eq!(
            (client_time("1s"), client_time("60m")),
            (Ok(Duration::from_secs(1)), Ok(HOUR))
        );
        assert_eq!(
            (drain_time("0s"), drain_time("1h")),
            (Ok(Duration::ZERO), Ok(HOUR))
        );
        for (parsed, says) in [
            (client_time("999ms"), "expected 1s to 1h"),
            (client_time("1h1ms"), "expected 1s to 1h"),
            (drain_time("60m1s"), "expected 0s to 1h"),
            (drain_time("5"), "expected a duration such as 5s, 500ms or 1m30s"),
        ] {
            assert_eq!(parsed, Err(says.to_owned()));
        }
    }
}
