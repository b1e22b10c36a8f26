//! One HTTP client for all issuers that trust the same roots and wait as long: reading a machine's roots takes
//! milliseconds and some hundred kilobytes, and there may be thousands of issuers.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
    time::Duration,
};

use reqwest::Client;
use splittoken_reach::Reach;
use url::Url;

use crate::{GivenCertificate, ProviderError, ProviderSettings};

/// The client of this kind, made by `make` if there is none.
pub(crate) fn shared(
    kind: &Kind,
    make: impl FnOnce() -> Result<Client, ProviderError>,
) -> Result<Arc<Client>, ProviderError> {
    static CLIENTS: LazyLock<InUse<Client>> = LazyLock::new(InUse::default);
    CLIENTS.get(kind.clone(), make)
}

/// Everything that makes a client what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) is_plain: bool,
    pub(crate) plain_http_allowed: bool,
    pub(crate) ca_certificates: Vec<String>,
    pub(crate) client_certificate: Option<GivenCertificate>,
    pub(crate) reach: Reach,
    /// Where it connects to; 0 where that makes no difference.
    pub(crate) port: u16,
    pub(crate) connect_timeout: Duration,
}

impl Kind {
    pub(crate) fn of(settings: &ProviderSettings, port: u16) -> Self {
        Self {
            is_plain: settings.url.starts_with("http://"),
            plain_http_allowed: settings.plain_http_allowed,
            ca_certificates: settings.ca_certificates.clone(),
            client_certificate: settings.client_certificate.clone(),
            reach: settings.reach.clone(),
            port,
            connect_timeout: settings.connect_timeout,
        }
    }
}

/// The port that a client for this URL has to know beforehand, because its resolver is asked for names only.
pub(crate) fn port_for(url: &Url, reach: &Reach) -> u16 {
    if reach.depends_on_ports() {
        url.port_or_known_default().unwrap_or_default()
    } else {
        0
    }
}

/// Things that live as long as somebody uses them.
struct InUse<T>(Mutex<HashMap<Kind, Weak<T>>>);

impl<T> Default for InUse<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> InUse<T> {
    fn get<E>(&self, kind: Kind, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thing) = known.get(&kind).and_then(Weak::upgrade) {
            return Ok(thing);
        }
        let thing = Arc::new(make()?);
        known.retain(|_, thing| thing.strong_count() > 0);
        known.insert(kind, Arc::downgrade(&thing));
        Ok(thing)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use splittoken_reach::Refused;
    use splittoken_token::SecretBytes;

    use super::*;

    #[test]
    fn issuers_that_are_alike_share_and_others_do_not() {
        let in_use = InUse::default();
        let mut count = 0;
        let mut get = |kind: &Kind| {
            let make = || {
                count += 1;
                Ok::<_, Infallible>(count)
            };
            in_use.get(kind.clone(), make).unwrap()
        };
        let kind = Kind {
            is_plain: false,
            plain_http_allowed: false,
            ca_certificates: Vec::new(),
            client_certificate: None,
            reach: Reach::Anywhere,
            port: 0,
            connect_timeout: Duration::from_secs(2),
        };
        let other = Kind {
            ca_certificates: vec!["a root of their own".to_owned()],
            ..kind.clone()
        };
        // Or an idle connection to where only the other may go would be used.
        let nearer = Kind {
            reach: Reach::default(),
            ..kind.clone()
        };
        let certified = |key: &[u8]| Kind {
            client_certificate: Some(GivenCertificate {
                chain: vec!["a certificate".to_owned()],
                key: SecretBytes::new(key.to_vec()),
            }),
            ..kind.clone()
        };
        let first = get(&kind);
        assert_eq!((*first, *get(&kind), *get(&other)), (1, 1, 2));
        assert_eq!(*get(&nearer), 3);
        assert_eq!((*get(&certified(b"a key")), *get(&certified(b"another"))), (4, 5));
        drop(first);
        assert_eq!(*get(&kind), 6, "nobody used it any more");
        assert_eq!(in_use.0.lock().unwrap().len(), 1, "what nobody uses is forgotten");
    }
    #[test]
    fn a_client_is_for_one_port_where_ports_make_a_difference() {
        let narrow = Reach::Beyond(Refused {
            sockets: vec!["172.18.0.2:6443".parse().unwrap()],
            ..Refused::default()
        });
        for (text, port) in [
            ("https://a.example", 443),
            ("https://a.example:8443", 8443),
            ("http://a.example", 80),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(port_for(&url, &narrow), port);
            assert_eq!(port_for(&url, &Reach::default()), 0);
            assert_eq!(port_for(&url, &Reach::Anywhere), 0);
        }
    }
}
