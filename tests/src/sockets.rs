//! Where a process listens, from the kernel's own tables.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result};

/// The kernel's number for the state LISTEN.
const LISTEN: &str = "0A";

/// All addresses that the process listens on with TCP.
pub fn listening(pid: u32) -> Result<Vec<SocketAddr>> {
    let own = inodes(pid)?;
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        // A kernel without IPv6 has no such table.
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (Some(&local), Some(&state), Some(&inode)) = (columns.get(1), columns.get(3), columns.get(9))
            else {
                continue;
            };
            if state == LISTEN && own.iter().any(|one| one == inode) {
                found.push(address(local).with_context(|| format!("not an address: {local}"))?);
            }
        }
    }
    Ok(found)
}

/// The sockets that the process holds open.
fn inodes(pid: u32) -> Result<Vec<String>> {
    let mut inodes = Vec::new();
    for file in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A file that was closed since it was listed.
        let Ok(target) = fs::read_link(file?.path()) else {
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        if let Some(inode) = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'))
        {
            inodes.push(inode.to_owned());
        }
    }
    Ok(inodes)
}

/// `0100007F:1F90` is 127.0.0.1:8080: words of 32 bits in the machine's own order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = ip.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.concat();
    let ip: IpAddr = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn finds_what_this_very_process_listens_on() -> Result<()> {
        let wildcard = TcpListener::bind("0.0.0.0:0")?;
        let loopback = TcpListener::bind("127.0.0.1:0")?;
        let found = listening(std::process::id())?;
        assert!(found.contains(&wildcard.local_addr()?), "{found:?}");
        assert!(found.contains(&loopback.local_addr()?), "{found:?}");
        Ok(())
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_both_families() {
        assert_eq!(address("0100007F:1F90"), "127.0.0.1:8080".parse().ok());
        assert_eq!(
            address("00000000000000000000000001000000:0050"),
            "[::1]:80".parse().ok()
        );
    }
}
