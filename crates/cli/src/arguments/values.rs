//! Values that are no numbers.

use std::{net::SocketAddr, time::Duration};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("5").is_err());
    }
}
