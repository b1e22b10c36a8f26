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

/// The most addresses that are remembered. If there are more that have not made good, all are forgiven.
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

    /// Whether `address` may have another token looked up.
    pub(crate) fn admits(&self, address: IpAddr, now: Instant) -> bool {
        let Some(cost) = self.cost else { return true };
        let made_good = self.made_good.lock().get(&network(address)).copied();
        made_good.is_none_or(|at| at.saturating_duration_since(now) + cost <= BURST)
    }

    /// Notes that a token of `address` was unknown.
    pub(crate) fn note(&self, address: IpAddr, now: Instant) {
        let Some(cost) = self.cost else { return };
        let mut made_good = self.made_good.lock();
        if made_good.len() >= MAX_ADDRESSES {
            forgive(&mut made_good, now);
        }
        let at = made_good.entry(network(address)).or_insert(now);
        *at = (*at).max(now) + cost;
    }

    /// Forgets whoever has made good; once a second.
    pub(crate) fn sweep(&self, now: Instant) {
        if self.are_limited() {
            self.made_good.lock().retain(|_, at| *at > now);
        }
    }
}

/// Makes room.
fn forgive(made_good: &mut HashMap<IpAddr, Instant>, now: Instant) {
    made_good.retain(|_, at| *at > now);
    if made_good.len() >= MAX_ADDRESSES {
        made_good.clear();
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
        let admitted = |now| {
            let admits = misses.admits(address(1), now);
            if admits {
                misses.note(address(1), now);
            }
            admits
        };
        assert_eq!((0..1000).filter(|_| admitted(start)).count(), 50);
        let later = start + Duration::from_secs(2);
        assert_eq!((0..1000).filter(|_| admitted(later)).count(), 10);
        assert!(misses.admits(address(2), start), "others have their own");
    }

    #[test]
    fn whoever_has_made_good_is_forgotten() {
        let (misses, start) = (Misses::new(Some(5)), Instant::now());
        misses.note(address(1), start);
        misses.sweep(start + Duration::from_millis(199));
        assert_eq!(misses.made_good.lock().len(), 1);
        misses.sweep(start + Duration::from_millis(200));
        assert!(misses.made_good.lock().is_empty());
    }

    #[test]
    fn there_is_an_end_to_remembering() {
        let (misses, now) = (Misses::new(Some(1)), Instant::now());
        for number in 0..=u32::try_from(MAX_ADDRESSES).unwrap() {
            misses.note(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(misses.made_good.lock().len(), 1);
    }

    #[test]
    fn without_a_limit_nobody_is_remembered() {
        let (misses, now) = (Misses::new(None), Instant::now());
        (0..1000).for_each(|_| misses.note(address(1), now));
        assert!(misses.admits(address(1), now) && misses.made_good.lock().is_empty());
    }
}
