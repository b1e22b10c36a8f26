//! Connections to upstreams: one pool per worker thread, no locks that anybody else waits for.

mod connect;
mod pool;
mod send;

pub(crate) use connect::{Purpose, UpstreamError};
pub(crate) use pool::{Lease, Pool};
pub(crate) use send::{Limits, send};
