//! The PROXY protocol, versions 1 and 2: a load balancer that only copies bytes says before them whose they are.

use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult, v1, v2};

/// The most bytes that a header may have. The form allows 64 KiB; those that load balancers send have some hundred.
pub(crate) const MAX_HEADER: usize = 4 * 1024;

/// What the bytes at the beginning of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A header of so many bytes, and whose the rest is; `None` where that is the load balancer itself.
    Header(usize, Option<SocketAddr>),
    /// The beginning of one.
    Beginning,
    /// None, or one that is broken.
    Nothing,
}

/// The most bytes of the line that is version 1.
const MAX_LINE: usize = 107;

/// Looks at the beginning of a connection.
pub(crate) fn find(bytes: &[u8]) -> Found {
    // The parser takes some lines that have not ended yet for broken ones.
    if bytes.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) && !bytes.contains(&b'\n') {
        return if bytes.len() < MAX_LINE {
            Found::Beginning
        } else {
            Found::Nothing
        };
    }
    let result = HeaderResult::parse(bytes);
    if result.is_incomplete() {
        return if bytes.len() < MAX_HEADER {
            Found::Beginning
        } else {
            Found::Nothing
        };
    }
    match result {
        HeaderResult::V1(Ok(header)) => Found::Header(header.header.len(), source_v1(&header.addresses)),
        HeaderResult::V2(Ok(header)) => Found::Header(header.len(), source_v2(&header)),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Found::Nothing,
    }
}

fn source_v1(addresses: &v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

/// A `LOCAL` header is about the load balancer's own connection, whatever else it says.
fn source_v2(header: &v2::Header<'_>) -> Option<SocketAddr> {
    match &header.addresses {
        _ if header.command == v2::Command::Local => None,
        v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
        v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

    fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
        bytes.extend(addresses);
        bytes
    }

    fn source(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn headers_say_whose_connection_it_is() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0x1f, 0x90, 0, 80];
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 0x01, 0x07, 5);
        let mut with_more = v4.to_vec();
        with_more.extend([4, 0, 1, 0]);
        for (bytes, expected) in [
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 8080 80\r\n".to_vec(),
                Some(source("192.0.2.1:8080")),
            ),
            (
                b"PROXY TCP6 2001::7 2001::8 5 80\r\n".to_vec(),
                Some(source("[2001::7]:5")),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (version_2(1, 0x11, &v4), Some(source("192.0.2.1:8080"))),
            (version_2(1, 0x11, &with_more), Some(source("192.0.2.1:8080"))),
            (version_2(1, 0x21, &v6), Some(source("[2001::7]:5"))),
            (version_2(0, 0x11, &v4), None),
            (version_2(0, 0, &[]), None),
        ] {
            let mut followed = bytes.clone();
            followed.extend(b"GET / HTTP/1.1\r\n");
            assert_eq!(find(&followed), Found::Header(bytes.len(), expected));
            assert_eq!(find(&bytes), Found::Header(bytes.len(), expected));
            for end in 0..bytes.len() {
                assert_eq!(find(&bytes[..end]), Found::Beginning, "{end} of {bytes:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_none() {
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.1 198.51.100.2 8080 80 80\r\n",
            b"PROXY TCP4 192.0.2.256 198.51.100.2 8080 80\r\n",
            b"PROXY TCP4 2001::7 198.51.100.2 8080 80\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.2 8080 80\r\n",
            b"\x16\x03\x01\x02\x00",
            &version_2(2, 0x11, &[0; 12]),
            &version_2(1, 0x11, &[0; 4]),
            &version_2(1, 0x71, &[0; 12]),
        ] {
            assert_eq!(find(bytes), Found::Nothing, "{}", bytes.escape_ascii());
        }
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; MAX_HEADER]].concat();
        assert_eq!(find(&endless), Found::Nothing);
        let large = version_2(1, 0x11, &[0; 8000]);
        assert_eq!(find(&large[..MAX_HEADER]), Found::Nothing);
    }
}
