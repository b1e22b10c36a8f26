//! Connections to upstreams: one pool per worker thread, no locks that anybody else waits for.
//!
//! ```text
//!   send ─▶ pool ─┬─ a connection for one request at a time (HTTP/1.1)
//!                 └─ a stream of a connection that many share (HTTP/2)
//! ```

mod connect;
mod counts;
mod form;
mod http1;
mod multiplexed;
mod pool;
mod send;
mod target;
mod tls;

pub(crate) use connect::UpstreamError;
pub(crate) use counts::UpstreamCounts;
pub(crate) use pool::{Lease, Pool};
pub(crate) use send::{Limits, Purpose, Sending, send};
pub(crate) use target::Target;
pub(crate) use tls::{TlsBook, TlsError};
