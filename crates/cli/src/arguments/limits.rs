//! What a client of the gateway may do.

use std::time::Duration;

use clap::Args;
use splittoken_gateway::Limits;

use super::{
    numbers::{body_bytes, header_bytes, near_cache_bytes, number, token_request_bytes},
    values::client_time,
};

/// Misses a second that an address may have where it is known who is a client and who a proxy.
const KNOWN_ADDRESS_MISSES: u32 = 100;

/// Limits that no route changes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits (bytes as 65536 or 64KiB)")]
pub(crate) struct LimitArguments {
    /// The most bytes of a request's header block; beyond it 431.
    #[arg(long, env = "SPLITTOKEN_MAX_HEADER_BYTES", value_name = "BYTES", default_value = "32KiB", value_parser = header_bytes)]
    max_header_bytes: u64,

    /// The most headers of a request; beyond it 431.
    #[arg(long, env = "SPLITTOKEN_MAX_HEADERS", value_name = "N", default_value_t = 100, allow_negative_numbers = true, value_parser = number("a number of headers", 10..=1000_u16))]
    max_headers: u16,

    /// The most requests in flight on one HTTP/2 connection.
    #[arg(long, env = "SPLITTOKEN_MAX_STREAMS", value_name = "N", default_value_t = 100, allow_negative_numbers = true, value_parser = number("a number of requests", 1..=1000_u32))]
    max_streams: u32,

    /// How long a client may take for the head of a request.
    #[arg(long, env = "SPLITTOKEN_HEADER_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = client_time)]
    header_timeout: Duration,

    /// How long a client's connection may lie idle between requests.
    #[arg(long, env = "SPLITTOKEN_KEEP_ALIVE_TIMEOUT", value_name = "DURATION", default_value = "75s", value_parser = client_time)]
    keep_alive_timeout: Duration,

    /// How long a client may leave a response unread.
    #[arg(long, env = "SPLITTOKEN_SEND_TIMEOUT", value_name = "DURATION", default_value = "60s", value_parser = client_time)]
    send_timeout: Duration,

    /// The most bytes of an API request's body; beyond it 413 [default: any number]
    #[arg(long, env = "SPLITTOKEN_MAX_BODY_BYTES", value_name = "BYTES", value_parser = body_bytes)]
    max_body_bytes: Option<u64>,

    /// The most bytes of a token request; beyond it 413.
    #[arg(long, env = "SPLITTOKEN_MAX_TOKEN_REQUEST_BYTES", value_name = "BYTES", default_value = "64KiB", value_parser = token_request_bytes)]
    max_token_request_bytes: u64,

    /// How long a client may take for the body of a token request.
    #[arg(long, env = "SPLITTOKEN_TOKEN_REQUEST_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = client_time)]
    token_request_timeout: Duration,

    /// The most connections of clients, WebSockets included; beyond it new ones are closed at once.
    #[arg(long, env = "SPLITTOKEN_MAX_CONNECTIONS", value_name = "N", default_value_t = 20_000, allow_negative_numbers = true, value_parser = number("a number of connections", 1..=u32::MAX))]
    max_connections: u32,

    /// The most connections of one address (of one /64 in IPv6) that is no trusted proxy; 0 for any number.
    #[arg(
        long,
        env = "SPLITTOKEN_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = number("a number of connections", 0..=u32::MAX)
    )]
    max_connections_per_address: u32,

    /// How many unknown tokens a second an address may present, ten seconds' worth at once, before it gets 429 for
    /// whatever is not cached; 0 for any number [default: 100 where there are trusted proxies, else 0]
    #[arg(long, env = "SPLITTOKEN_MAX_MISSES_PER_ADDRESS", value_name = "N", allow_negative_numbers = true, value_parser = number("a number of tokens", 0..=u32::MAX))]
    max_misses_per_address: Option<u32>,

    /// The most requests that may wait for the response headers of one upstream; beyond it 503.
    #[arg(long, env = "SPLITTOKEN_MAX_UPSTREAM_REQUESTS", value_name = "N", default_value_t = 1024, allow_negative_numbers = true, value_parser = number("a number of requests", 1..=u32::MAX))]
    max_upstream_requests: u32,

    /// The most token requests that may wait for one provider; beyond it 503.
    #[arg(long, env = "SPLITTOKEN_MAX_PROVIDER_REQUESTS", value_name = "N", default_value_t = 256, allow_negative_numbers = true, value_parser = number("a number of token requests", 1..=u32::MAX))]
    max_provider_requests: u32,

    /// After how many failures to connect, in a row, an upstream or a provider is left alone, for 1 s at first and 30 s at
    /// most, with 503 meanwhile; 0 for never.
    #[arg(
        long,
        env = "SPLITTOKEN_BREAKER_FAILURES",
        value_name = "N",
        default_value_t = 20,
        allow_negative_numbers = true,
        value_parser = number("a number of failures", 0..=u32::MAX)
    )]
    breaker_failures: u32,

    /// How much memory tokens that were used lately may take: about 2.5 KB each.
    #[arg(long, env = "SPLITTOKEN_NEAR_CACHE_BYTES", value_name = "BYTES", default_value = "256MiB", value_parser = near_cache_bytes)]
    near_cache_bytes: u64,
}

impl LimitArguments {
    /// `knows_proxies`: whether it is known which addresses are proxies, and so which are clients.
    pub(crate) fn limits(&self, knows_proxies: bool) -> Limits {
        let known = if knows_proxies { KNOWN_ADDRESS_MISSES } else { 0 };
        Limits {
            header_bytes: size(self.max_header_bytes),
            headers: self.max_headers.into(),
            streams: self.max_streams,
            header_time: self.header_timeout,
            idle_time: self.keep_alive_timeout,
            send_time: self.send_timeout,
            body_bytes: self.max_body_bytes,
            token_request_bytes: size(self.max_token_request_bytes),
            token_request_time: self.token_request_timeout,
            connections: size(self.max_connections.into()),
            address_connections: limited(self.max_connections_per_address),
            address_misses: limited(self.max_misses_per_address.unwrap_or(known)),
            upstream_requests: size(self.max_upstream_requests.into()),
            provider_requests: size(self.max_provider_requests.into()),
            breaker_failures: self.breaker_failures,
            near_cache_bytes: self.near_cache_bytes,
        }
    }
}

fn limited(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use clap::{Parser, error::ErrorKind};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitArguments,
    }

    fn limits(options: &[&str], knows_proxies: bool) -> Limits {
        let line = Line::parse_from(["x"].iter().chain(options));
        line.limits.limits(knows_proxies)
    }

    #[test]
    fn the_defaults_are_the_gateways() {
        assert_eq!(limits(&[], false), Limits::default());
        let known = limits(&[], true).address_misses;
        assert_eq!(known, Some(KNOWN_ADDRESS_MISSES));
        assert_eq!(
            limits(&["--max-misses-per-address", "0"], true).address_misses,
            None
        );
    }

    #[test]
    fn sizes_have_units_and_bounds() {
        assert_eq!(
            limits(&["--max-header-bytes", "64KiB"], false).header_bytes,
            65_536
        );
        assert_eq!(
            limits(&["--max-body-bytes", "1000"], false).body_bytes,
            Some(1000)
        );
        for bad in [
            ["--max-header-bytes", "1KiB"],
            ["--max-header-bytes", "2MiB"],
            ["--max-body-bytes", "much"],
            ["--max-body-bytes", "0"],
            ["--max-headers", "9"],
            ["--max-streams", "0"],
            ["--header-timeout", "500ms"],
            ["--send-timeout", "2h"],
            ["--max-connections", "0"],
            ["--near-cache-bytes", "1KiB"],
        ] {
            let line = Line::try_parse_from(["x"].iter().chain(&bad));
            assert_eq!(line.unwrap_err().kind(), ErrorKind::ValueValidation, "{bad:?}");
        }
    }
}
