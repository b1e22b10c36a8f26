//! Addresses that mean something else on each machine, or something that no other machine should be sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services outside of the link-local range: whoever reads them may get the machine's credentials.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(168, 63, 129, 16),   // Azure
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle Cloud
];

/// The same for Google Cloud.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254);

/// Whether an address leads to the machine that connects, to its link or its hypervisor, or to many at once.
pub(crate) fn is_machine_own(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            // All of 0.0.0.0/8 is "this host" (RFC 1122 §3.2.1.3), and Linux takes 0.0.0.0 for loopback.
            ip.octets()[0] == 0
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || METADATA_V4.contains(&ip)
        }
        IpAddr::V6(ip) => {
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                // fd00:ec2::/32, which AWS has taken for the services of an instance.
                || ip.segments()[..2] == [0xfd00, 0xec2]
                || ip == METADATA_V6
        }
    }
}

/// The IPv4 address that an IPv6 address stands for, if it is of a form that something on the way may translate.
pub(crate) fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(ip) = address else { return None };
    let segments = ip.segments();
    let found = match segments {
        // 6to4 (RFC 3056 §2).
        [0x2002, high, low, ..] => v4(high, low),
        _ if is_at_the_end(segments) => v4(segments[6], segments[7]),
        _ => return None,
    };
    Some(IpAddr::V4(found))
}

fn is_at_the_end(segments: [u16; 8]) -> bool {
    matches!(
        segments,
        // Compatible (RFC 4291 §2.5.5.1), mapped (§2.5.5.2) and translated (RFC 2765 §2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _]
        // NAT64: the well-known prefix (RFC 6052 §2.1) and the local one (RFC 8215).
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0x64, 0xff9b, 1, ..]
    )
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}
