//! Whether this process may write, and until when.

use std::time::Instant;

use tokio::sync::watch;

/// The side of whoever looks after the lease.
pub(crate) struct Term(watch::Sender<Option<Instant>>);

/// The side of whoever writes.
#[derive(Clone, Debug)]
pub(crate) struct Leads(watch::Receiver<Option<Instant>>);

/// A process that does not lead yet.
pub(crate) fn term() -> (Term, Leads) {
    let (sender, receiver) = watch::channel(None);
    (Term(sender), Leads(receiver))
}

impl Term {
    /// When it ends, if it has begun.
    pub(crate) fn until(&self) -> Option<Instant> {
        *self.0.borrow()
    }

    /// Begins, or goes on until then. Says whether it has begun just now; that it goes on is no news to anybody.
    pub(crate) fn lasts(&self, until: Instant) -> bool {
        self.0.send_if_modified(|before| before.replace(until).is_none())
    }

    /// Ends. Says whether there was one.
    pub(crate) fn end(&self) -> bool {
        self.0.send_if_modified(|before| before.take().is_some())
    }
}

impl Leads {
    /// Whether it may write just now. Others begin by the clock, so this ends by the clock: even where the task that
    /// should say so was not run for a while, as after a pause of the machine.
    pub(crate) fn now(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until it begins or ends; fails when nobody looks after the lease any more.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.0.changed().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_renewal_is_no_news_and_a_term_ends_by_the_clock() {
        let (term, leads) = term();
        let is_news = || leads.0.has_changed().unwrap();
        assert!(!leads.now() && !term.end());
        let later = Instant::now() + Duration::from_secs(60);
        assert!(term.lasts(later));
        assert!(leads.now() && is_news());
        let mut seen = leads.clone();
        seen.0.borrow_and_update();
        assert!(!term.lasts(later + Duration::from_secs(1)));
        assert!(!seen.0.has_changed().unwrap());
        term.lasts(Instant::now());
        assert!(!leads.now(), "nobody has ended it");
        assert!(term.end() && seen.0.has_changed().unwrap());
    }
}
