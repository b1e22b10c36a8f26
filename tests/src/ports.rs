//! Free ports, and the addresses and the name of this machine.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
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

/// The address that this machine has on its network: it answers there, and it is not loopback.
pub fn outward() -> io::Result<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // Sends nothing: it only finds out which way a packet would go.
    socket.connect("192.0.2.1:9")?;
    match socket.local_addr()?.ip() {
        IpAddr::V4(ip) if !ip.is_loopback() => Ok(ip),
        _ => Err(io::Error::other("this machine is on no IPv4 network")),
    }
}

/// The name of this machine, which it resolves to an address of its own.
pub fn own_name() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned())
}
