//! How much a client may send, hold open and make others do, and how long it may take.

use std::time::Duration;

/// The limits of a gateway. None of them depends on a route.
///
/// The defaults are those of a gateway at the edge: what ordinary clients never reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a request's header block.
    pub header_bytes: usize,
    /// The most headers of a request.
    pub headers: usize,
    /// The most requests that one HTTP/2 connection may have in flight.
    pub streams: u32,
    /// How long a client may take for one header block.
    pub header_time: Duration,
    /// How long a connection may lie idle between requests.
    pub idle_time: Duration,
    /// How long a client may leave a response unread while its socket is full, or a stream without room for the next
    /// piece of one.
    pub send_time: Duration,
    /// The most bytes of an API request's body; `None` for any number.
    pub body_bytes: Option<u64>,
    /// The most bytes of a token request.
    pub token_request_bytes: usize,
    /// How long a client may take for the body of a token request.
    pub token_request_time: Duration,
    /// The most connections of clients, tunnels included.
    pub connections: usize,
    /// The most of one address; `None` for any number.
    pub address_connections: Option<u32>,
    /// How many unknown tokens a second one address may have looked up; `None` for any number.
    pub address_misses: Option<u32>,
    /// The most requests that may wait for the answer of one upstream.
    pub upstream_requests: usize,
    /// The most token requests that may wait for the answer of one provider.
    pub provider_requests: usize,
    /// After how many failures to connect, in a row, an upstream or a provider is left alone for a while; 0 for never.
    pub breaker_failures: u32,
    /// How many bytes the near cache may hold.
    pub near_cache_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            headers: 100,
            streams: 100,
            header_time: Duration::from_secs(5),
            // Longer than common load balancers (60 s), so that they are the ones who close.
            idle_time: Duration::from_secs(75),
            // As nginx's `send_timeout`.
            send_time: Duration::from_secs(60),
            body_bytes: None,
            token_request_bytes: 64 * 1024,
            token_request_time: Duration::from_secs(10),
            // At 20 KB each while they lie idle.
            connections: 20_000,
            address_connections: None,
            address_misses: None,
            // As Envoy's circuit breakers.
            upstream_requests: 1024,
            provider_requests: 256,
            breaker_failures: 20,
            // About 100,000 tokens of ordinary size.
            near_cache_bytes: 256 * 1024 * 1024,
        }
    }
}
