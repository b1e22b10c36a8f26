//! What each client connection is doing, so that one sweep a second can end those that take too long.
//!
//! hyper's own timer for request heads also runs while a connection lies idle between requests, and costs a timer
//! for each request. Here a request costs a few stores, and idling and dawdling have limits of their own.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::limits::Limits;

/// How long an idle HTTP/2 connection may take to end after it was told to.
const GOODBYE: Duration = Duration::from_secs(5);

/// The worker's clock: counts its sweeps, one a second.
pub(crate) type Ticks = Arc<AtomicU32>;

/// One connection's state. Only its worker's thread writes, so relaxed order is enough.
#[derive(Debug)]
pub(crate) struct Activity {
    clock: Ticks,
    phase: AtomicU8,
    since: AtomicU32,
    /// Whether what was read last ended where a request head may end. If not, more than one request was begun.
    is_whole: AtomicBool,
    /// Whether the request that is served has a body, which may end anywhere.
    has_body: AtomicBool,
    /// The tick at which a write first found the socket full, plus one; 0 while none has.
    stalled: AtomicU32,
    /// The same for the last time that it was full.
    full: AtomicU32,
    /// HTTP/2: since when streams have a piece of a response that their clients have not made room behind. The oldest
    /// first; a number tells those of one tick apart.
    waiting: Mutex<BTreeSet<Waiting>>,
    command: AtomicU8,
    /// Whether the last read, since the connection was told to finish, found nothing there.
    is_quiet: AtomicBool,
    /// HTTP/2: requests come side by side, and hyper knows where each of them begins.
    is_multiplexed: AtomicBool,
    /// How many are being served.
    requests: AtomicU32,
    /// How many there were.
    begun: AtomicU64,
    waker: AtomicWaker,
}

/// Waiting for the next request.
const IDLE: u8 = 0;
/// A request head has begun and is not complete.
const READING: u8 = 1;
/// A request is being served.
const BUSY: u8 = 2;

/// What a connection has been told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    /// Nothing.
    Run,
    /// Let the client know that it should go elsewhere, where that takes nothing from it: in HTTP/2. Answers of
    /// HTTP/1.1 say so themselves.
    Leave,
    /// Finish the request that is in flight or has begun, take no other.
    Finish,
    /// End now.
    Abort,
}

/// How many requests there were and are, by [`PROTOCOLS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    pub(crate) begun: [u64; PROTOCOLS.len()],
    pub(crate) in_flight: [u64; PROTOCOLS.len()],
}

/// As they are called in metrics.
pub(crate) const PROTOCOLS: [&str; 2] = ["http1", "http2"];

impl Requests {
    pub(crate) fn add(&mut self, other: Self) {
        for protocol in 0..PROTOCOLS.len() {
            self.begun[protocol] += other.begun[protocol];
            self.in_flight[protocol] += other.in_flight[protocol];
        }
    }
}

/// A tick, and the number of the request among those of its connection.
type Waiting = (u32, u64);

/// A request that is being served: until its response has been handed to the socket, or nobody wants it any more.
#[derive(Debug)]
pub(crate) struct InFlight {
    activity: Arc<Activity>,
    number: u64,
    waiting: Option<Waiting>,
}

impl InFlight {
    /// Notes that the client has room for more of the response, and whether it was given a piece for that. On a stream
    /// of HTTP/2 the next one is not asked for before there is room again, and the socket knows nothing of that.
    pub(crate) fn note_piece(&mut self, is_given: bool) {
        if !self.activity.is_multiplexed.load(Relaxed) {
            return;
        }
        let mut waiting = self.activity.waiting.lock();
        if let Some(before) = self.waiting.take() {
            waiting.remove(&before);
        }
        if is_given {
            let now = (self.activity.clock.load(Relaxed), self.number);
            waiting.insert(now);
            self.waiting = Some(now);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.note_piece(false);
        self.activity.end_request();
    }
}

impl Activity {
    pub(crate) fn new(clock: &Ticks) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(clock),
            phase: AtomicU8::new(READING),
            since: AtomicU32::new(clock.load(Relaxed)),
            is_whole: AtomicBool::new(false),
            has_body: AtomicBool::new(false),
            stalled: AtomicU32::new(0),
            full: AtomicU32::new(0),
            waiting: Mutex::default(),
            command: AtomicU8::new(Command::Run as u8),
            is_quiet: AtomicBool::new(false),
            is_multiplexed: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            begun: AtomicU64::new(0),
            waker: AtomicWaker::new(),
        })
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Relaxed);
        self.since.store(self.clock.load(Relaxed), Relaxed);
    }

    /// It turns out to be HTTP/2.
    pub(crate) fn multiplex(&self) {
        self.is_multiplexed.store(true, Relaxed);
        self.enter(IDLE);
    }

    /// A request head is complete.
    pub(crate) fn begin_request(self: &Arc<Self>, has_body: bool) -> InFlight {
        self.has_body.store(has_body, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        let number = self.begun.fetch_add(1, Relaxed);
        self.enter(BUSY);
        InFlight {
            activity: Arc::clone(self),
            number,
            waiting: None,
        }
    }

    /// Its requests.
    pub(crate) fn requests(&self) -> Requests {
        let protocol = usize::from(self.is_multiplexed.load(Relaxed));
        let mut requests = Requests::default();
        requests.begun[protocol] = self.begun.load(Relaxed);
        requests.in_flight[protocol] = self.requests.load(Relaxed).into();
        requests
    }

    fn end_request(&self) {
        if self.requests.fetch_sub(1, Relaxed) > 1 {
            return;
        }
        // Bytes that came behind a request without a body are the beginning of the next one.
        let has_begun = !self.is_whole.load(Relaxed) && !self.has_body.load(Relaxed);
        let is_reading = has_begun && !self.is_multiplexed.load(Relaxed);
        self.enter(if is_reading { READING } else { IDLE });
    }

    /// Called once a second: what the connection is to be told, if it has taken too long.
    pub(crate) fn overdue(&self, limits: &Limits) -> Option<Command> {
        let now = self.clock.load(Relaxed);
        let stalled = self.stalled.load(Relaxed);
        if stalled > 0 && seconds(stalled - 1, now) > limits.send_time || self.has_stuck_stream(now, limits) {
            return Some(Command::Abort);
        }
        let lasts = seconds(self.since.load(Relaxed), now);
        match self.phase.load(Relaxed) {
            READING if lasts > limits.header_time => Some(Command::Abort),
            IDLE if self.is_multiplexed.load(Relaxed) && lasts <= limits.idle_time + GOODBYE => {
                // A request that is on its way is still served.
                (lasts > limits.idle_time).then_some(Command::Finish)
            }
            IDLE if lasts > limits.idle_time => Some(Command::Abort),
            _ => None,
        }
    }

    /// Whether a client makes no room for a response, and not because its line is slow.
    fn has_stuck_stream(&self, now: u32, limits: &Limits) -> bool {
        let is_long_ago = |tick: u32| seconds(tick, now) > limits.send_time;
        let full = self.full.load(Relaxed);
        let oldest = self.waiting.lock().first().copied();
        oldest.is_some_and(|(since, _)| is_long_ago(since)) && (full == 0 || is_long_ago(full - 1))
    }

    /// Tells the connection; a stronger command stays.
    pub(crate) fn tell(&self, command: Command) {
        self.command.fetch_max(command as u8, Relaxed);
        self.waker.wake();
    }

    /// Whether it is to end, and nobody loses a request by the end of keep-alive now: one is being served, or none has
    /// come.
    ///
    /// A connection that has not sent its first request yet was opened for one: it may send it, in the time that
    /// it has for a head. So may one that has sent a part. In HTTP/2 the client hears up to where it is served, once
    /// both sides have said hello.
    pub(crate) fn may_finish(&self, told: Command, limits: &Limits) -> bool {
        if self.is_multiplexed.load(Relaxed) {
            let lasts = seconds(self.since.load(Relaxed), self.clock.load(Relaxed));
            let is_known = self.begun.load(Relaxed) > 0 || lasts > limits.header_time;
            return told >= Command::Leave && is_known;
        }
        let is_safe = match self.phase.load(Relaxed) {
            BUSY => true,
            IDLE => self.is_quiet.load(Relaxed),
            _ => false,
        };
        told >= Command::Finish && is_safe
    }

    /// What it has been told; `waker` will be woken by the next command.
    pub(crate) fn told(&self, cx: &Context<'_>) -> Command {
        self.waker.register(cx.waker());
        match self.command.load(Relaxed) {
            0 => Command::Run,
            1 => Command::Leave,
            2 => Command::Finish,
            _ => Command::Abort,
        }
    }

    /// Runs `future` until the connection is to end now.
    pub(crate) async fn unless_aborted<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if self.told(cx) == Command::Abort {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Notes what was read.
    pub(crate) fn note_read(&self, read: &[u8]) {
        if read.is_empty() || self.is_multiplexed.load(Relaxed) {
            return;
        }
        let is_whole = read.ends_with(b"\n\r\n") || read.ends_with(b"\n\n");
        self.is_whole.store(is_whole, Relaxed);
        if self.phase.load(Relaxed) == IDLE {
            self.enter(READING);
        }
    }

    /// Whether somebody wants to know if there is anything to read.
    pub(crate) fn wants_quiet(&self) -> bool {
        self.command.load(Relaxed) == Command::Finish as u8 && !self.is_multiplexed.load(Relaxed)
    }

    /// Notes whether there is.
    pub(crate) fn note_quiet(&self, is_quiet: bool) {
        self.is_quiet.store(is_quiet, Relaxed);
    }

    /// Notes whether a write found room.
    pub(crate) fn note_write(&self, has_room: bool) {
        if has_room {
            self.stalled.store(0, Relaxed);
            return;
        }
        let now = self.clock.load(Relaxed).wrapping_add(1);
        self.full.store(now, Relaxed);
        if self.stalled.load(Relaxed) == 0 {
            self.stalled.store(now, Relaxed);
        }
    }
}

fn seconds(from: u32, to: u32) -> Duration {
    Duration::from_secs(u64::from(to.wrapping_sub(from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(activity: &Activity, clock: &Ticks, ticks: u32) -> Option<Command> {
        clock.fetch_add(ticks, Relaxed);
        activity.overdue(&Limits::default())
    }

    const ABORT: Option<Command> = Some(Command::Abort);

    #[test]
    fn each_phase_has_its_own_limit() {
        let clock = Ticks::default();
        let activity = Activity::new(&clock);
        assert_eq!(after(&activity, &clock, 5), None);
        assert_eq!(after(&activity, &clock, 1), ABORT);
        let in_flight = activity.begin_request(false);
        assert_eq!(after(&activity, &clock, 100_000), None);
        activity.is_whole.store(true, Relaxed);
        drop(in_flight);
        assert_eq!(after(&activity, &clock, 75), None);
        assert_eq!(after(&activity, &clock, 1), ABORT);
    }

    #[test]
    fn the_beginning_of_a_next_request_counts_as_one() {
        let clock = Ticks::default();
        let activity = Activity::new(&clock);
        drop(activity.begin_request(false));
        assert_eq!(after(&activity, &clock, 6), ABORT);
        drop(activity.begin_request(true));
        assert_eq!(after(&activity, &clock, 6), None);
    }

    #[test]
    fn requests_side_by_side_are_one_after_the_other_at_an_end() {
        let clock = Ticks::default();
        let activity = Activity::new(&clock);
        activity.multiplex();
        assert_eq!(after(&activity, &clock, 75), None);
        let (one, other) = (activity.begin_request(false), activity.begin_request(true));
        drop(one);
        assert_eq!(after(&activity, &clock, 1000), None, "one is still served");
        drop(other);
        activity.note_read(b"a frame");
        assert_eq!(after(&activity, &clock, 75), None, "a frame begins no request");
        assert_eq!(after(&activity, &clock, 1), Some(Command::Finish));
        assert_eq!(after(&activity, &clock, 5), ABORT);
    }

    #[test]
    fn a_client_that_does_not_read_is_not_waited_for() {
        let clock = Ticks::default();
        let activity = Activity::new(&clock);
        let _in_flight = activity.begin_request(false);
        activity.note_write(false);
        assert_eq!(after(&activity, &clock, 60), None);
        activity.note_write(false);
        assert_eq!(after(&activity, &clock, 1), ABORT);
        activity.note_write(true);
        assert_eq!(activity.overdue(&Limits::default()), None);
    }

    #[test]
    fn a_stream_without_room_is_not_waited_for() {
        let clock = Ticks::default();
        let activity = Activity::new(&clock);
        activity.multiplex();
        let (mut stuck, mut other) = (activity.begin_request(false), activity.begin_request(false));
        stuck.note_piece(true);
        assert_eq!(after(&activity, &clock, 60), None);
        other.note_piece(true);
        assert_eq!(after(&activity, &clock, 1), ABORT);
        stuck.note_piece(false);
        assert_eq!(after(&activity, &clock, 59), None, "it waits for the upstream");
        other.note_piece(true);
        assert_eq!(after(&activity, &clock, 2), None, "it goes on");
        activity.note_write(false);
        activity.note_write(true);
        assert_eq!(after(&activity, &clock, 60), None, "the line is slow");
        assert_eq!(after(&activity, &clock, 1), ABORT);
        drop(other);
        assert_eq!(activity.overdue(&Limits::default()), None);
        let mut alone = Activity::new(&clock).begin_request(false);
        alone.note_piece(true);
        assert_eq!(alone.waiting, None, "by HTTP/1.1 the socket tells");
    }

    #[test]
    fn a_connection_may_finish_when_no_request_has_begun_to_come() {
        let activity = Activity::new(&Ticks::default());
        let may_finish = || activity.may_finish(Command::Finish, &Limits::default());
        // Opened for a request that has not come yet.
        assert!(!may_finish());
        let in_flight = activity.begin_request(false);
        assert!(may_finish());
        assert!(
            !activity.may_finish(Command::Leave, &Limits::default()),
            "the answer says that it is the last one"
        );
        activity.is_whole.store(true, Relaxed);
        drop(in_flight);
        assert!(!may_finish(), "nobody has looked whether something is there");
        activity.note_quiet(true);
        assert!(may_finish());
        activity.note_read(b"GET");
        assert!(!may_finish());
        activity.multiplex();
        assert!(
            activity.may_finish(Command::Leave, &Limits::default())
                && !activity.may_finish(Command::Run, &Limits::default())
        );
    }

    #[test]
    fn a_new_http_2_connection_may_send_its_first_request() {
        let clock = Ticks::default();
        let activity = Activity::new(&clock);
        activity.multiplex();
        assert!(!activity.may_finish(Command::Finish, &Limits::default()));
        clock.fetch_add(5, Relaxed);
        assert!(!activity.may_finish(Command::Finish, &Limits::default()));
        clock.fetch_add(1, Relaxed);
        assert!(activity.may_finish(Command::Finish, &Limits::default()));
        let other = Activity::new(&clock);
        other.multiplex();
        drop(other.begin_request(false));
        assert!(other.may_finish(Command::Leave, &Limits::default()));
    }

    #[test]
    fn the_clock_may_wrap() {
        let clock = Ticks::new(AtomicU32::new(u32::MAX - 1));
        let activity = Activity::new(&clock);
        assert_eq!(after(&activity, &clock, 4), None);
        assert_eq!(after(&activity, &clock, 4), ABORT);
    }
}
