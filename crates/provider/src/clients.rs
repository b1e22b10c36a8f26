//! One HTTP client for all issuers that trust the same roots and wait as long: reading a machine's roots takes
//! milliseconds and some hundred kilobytes, and there may be thousands of issuers.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
    time::Duration,
};

use reqwest::Client;
use splittoken_reach::Reach;

use crate::{ProviderError, ProviderSettings};

/// The client for these settings, made by `make` if there is none.
pub(crate) fn shared(
    settings: &ProviderSettings,
    make: impl FnOnce() -> Result<Client, ProviderError>,
) -> Result<Arc<Client>, ProviderError> {
    static CLIENTS: LazyLock<InUse<Client>> = LazyLock::new(InUse::default);
    CLIENTS.get(Key::of(settings), make)
}

/// Everything of the settings that makes a client what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    is_plain: bool,
    plain_http_allowed: bool,
    ca_certificates: Vec<String>,
    reach: Reach,
    connect_timeout: Duration,
}

impl Key {
    fn of(settings: &ProviderSettings) -> Self {
        Self {
            is_plain: settings.url.starts_with("http://"),
            plain_http_allowed: settings.plain_http_allowed,
            ca_certificates: settings.ca_certificates.clone(),
            reach: settings.reach.clone(),
            connect_timeout: settings.connect_timeout,
        }
    }
}

/// Things that live as long as somebody uses them.
struct InUse<T>(Mutex<HashMap<Key, Weak<T>>>);

impl<T> Default for InUse<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> InUse<T> {
    fn get<E>(&self, key: Key, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thing) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(thing);
        }
        let thing = Arc::new(make()?);
        known.retain(|_, thing| thing.strong_count() > 0);
        known.insert(key, Arc::downgrade(&thing));
        Ok(thing)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn issuers_that_are_alike_share_and_others_do_not() {
        let in_use = InUse::default();
        let mut count = 0;
        let mut get = |key: &Key| {
            let make = || {
                count += 1;
                Ok::<_, Infallible>(count)
            };
            in_use.get(key.clone(), make).unwrap()
        };
        let key = Key {
            is_plain: false,
            plain_http_allowed: false,
            ca_certificates: Vec::new(),
            reach: Reach::Anywhere,
            connect_timeout: Duration::from_secs(2),
        };
        let other = Key {
            ca_certificates: vec!["a root of their own".to_owned()],
            ..key.clone()
        };
        // Or an idle connection to where only the other may go would be used.
        let nearer = Key {
            reach: Reach::default(),
            ..key.clone()
        };
        let first = get(&key);
        assert_eq!((*first, *get(&key), *get(&other)), (1, 1, 2));
        assert_eq!(*get(&nearer), 3);
        drop(first);
        assert_eq!(*get(&key), 4, "nobody used it any more");
        assert_eq!(in_use.0.lock().unwrap().len(), 1, "what nobody uses is forgotten");
    }
}
