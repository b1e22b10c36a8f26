//! How a reach is written down. A gateway that has not heard of sockets reads the rest and leaves them out, and a text
//! without them has none: so operators and gateways of both kinds understand each other during an upgrade.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{Reach, Refused};

#[derive(Serialize, Deserialize)]
pub(crate) struct Written {
    /// The narrower one where a text says nothing of it.
    #[serde(default)]
    reach: Addresses,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reach_sockets: Vec<SocketAddr>,
}

#[derive(Serialize, Deserialize)]
enum Addresses {
    Anywhere,
    Beyond(Vec<IpAddr>),
}

impl Default for Addresses {
    fn default() -> Self {
        Self::Beyond(Vec::new())
    }
}

impl From<Written> for Reach {
    fn from(written: Written) -> Self {
        match written.reach {
            Addresses::Anywhere => Self::Anywhere,
            Addresses::Beyond(addresses) => Self::Beyond(Refused {
                addresses,
                sockets: written.reach_sockets,
            }),
        }
    }
}

impl From<Reach> for Written {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::Anywhere => Self {
                reach: Addresses::Anywhere,
                reach_sockets: Vec::new(),
            },
            Reach::Beyond(Refused { addresses, sockets }) => Self {
                reach: Addresses::Beyond(addresses),
                reach_sockets: sockets,
            },
        }
    }
}
