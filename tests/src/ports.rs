//! Free ports.

use std::io;
use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below Linux's range for outgoing connections (32768 and up), so that nothing takes the port between this call
/// and the start of the program that gets it, or while that program is down for a restart.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// A port of 127.0.0.1 that nobody listens on. Two calls of one process never give the same one within 20,000 calls.
pub fn free() -> io::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Test processes that run at once start at different places: consecutive pids are 97 ports apart.
        let offset = process::id().wrapping_mul(97).wrapping_add(step) % COUNT;
        let port = u16::try_from(FIRST + offset).map_err(io::Error::other)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::from(io::ErrorKind::AddrInUse))
}
