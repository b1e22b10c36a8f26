//! Who asks for unknown tokens too often: guessing, and whatever floods the store with look-ups that come to nothing.
//!
//! Only refusals count. A client whose tokens are good may have as many looked up as it likes.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::client_address::network;

/// The misses of so much time may come at once.
const BURST: Duration = Duration::from_secs(10);

/// The most addresses that are remembered. Others are not limited while so many have not made good.
const MAX_ADDRESSES: usize = 100_000;

/// The misses of addresses, by the generic cell rate algorithm: of each there is one time, at which all that it has used
/// up will have come back.
#[derive(Debug)]
pub(crate) struct Misses {
    /// What one miss costs; `None` where any number is allowed.
    cost: Option<Duration>,
    made_good: Mutex<HashMap<IpAddr, Instant>>,
}

impl Misses {
    /// `rate` misses a second for each address.
    pub(crate) fn new(rate: Option<u32>) -> Self {
        Self {
            cost: rate.map(|rate| Duration::from_secs(1) / rate.max(1)),
            made_good: Mutex::default(),
        }
    }

    /// Whether misses are limited at all.
    pub(crate) fn are_limited(&self) -> bool {
        self.cost.is_some()
    }

    /// Whether `address` may have another token looked up. It counts as a miss from now on: many may be on their way at
    /// once.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> bool {
        let Some(cost) = self.cost else { return true };
        let address = network(address);
        let mut made_good = self.made_good.lock();
        if made_good.len() >= MAX_ADDRESSES && !made_good.contains_key(&address) {
            return true;
        }
        let at = made_good.entry(address).or_insert(now);
        let then = (*at).max(now) + cost;
        let admits = then <= now + BURST;
        if admits {
            *at = then;
        }
        admits
    }

    /// It was no miss.
    pub(crate) fn take_back(&self, address: IpAddr) {
        let Some(cost) = self.cost else { return };
        if let Some(at) = self.made_good.lock().get_mut(&network(address)) {
            *at = at.checked_sub(cost).unwrap_or(*at);
        }
    }

    /// Forgets whoever has made good; once a second.
    pub(crate) fn sweep(&self, now: Instant) {
        if self.are_limited() {
            self.made_good.lock().retain(|_, at| *at > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (misses, start) = (Misses::new(Some(5)), Instant::now());
        let admitted = |now| misses.admit(address(1), now);
        assert_eq!((0..1000).filter(|_| admitted(start)).count(), 50);
        let later = start + Duration::from_secs(2);
        assert_eq!((0..1000).filter(|_| admitted(later)).count(), 10);
        assert!(misses.admit(address(2), start), "others have their own");
    }

    #[test]
    fn good_tokens_are_no_misses() {
        let (misses, now) = (Misses::new(Some(1)), Instant::now());
        for _ in 0..100 {
            assert!(misses.admit(address(1), now));
            misses.take_back(address(1));
        }
        assert_eq!((0..100).filter(|_| misses.admit(address(1), now)).count(), 10);
    }

    #[test]
    fn whoever_has_made_good_is_forgotten() {
        let (misses, start) = (Misses::new(Some(5)), Instant::now());
        misses.admit(address(1), start);
        misses.sweep(start + Duration::from_millis(199));
        assert_eq!(misses.made_good.lock().len(), 1);
        misses.sweep(start + Duration::from_millis(200));
        assert!(misses.made_good.lock().is_empty());
    }

    #[test]
    fn there_is_an_end_to_remembering() {
        let (misses, now) = (Misses::new(Some(1)), Instant::now());
        for number in 0..=u32::try_from(MAX_ADDRESSES).unwrap() {
            assert!(misses.admit(IpAddr::from(number.to_be_bytes()), now));
        }
        assert_eq!(misses.made_good.lock().len(), MAX_ADDRESSES);
    }

    #[test]
    fn without_a_limit_nobody_is_remembered() {
        let (misses, now) = (Misses::new(None), Instant::now());
        assert!((0..1000).all(|_| misses.admit(address(1), now)));
        assert!(misses.made_good.lock().is_empty());
    }
}
