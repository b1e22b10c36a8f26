//! What each client connection is doing, so that one sweep a second can end those that take too long.
//!
//! hyper's own timer for request heads also runs while a connection lies idle between requests, and costs a timer
//! for each request. Here a request costs a few stores, and idling and dawdling have limits of their own.

use std::{
    io,
    os::fd::AsFd,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::settings::{HEADER_READ, KEEP_ALIVE};

/// How long a client may leave a response unread while its socket is full. As nginx's `send_timeout`.
const WRITE_STALL: Duration = Duration::from_secs(60);

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
    command: AtomicU8,
    /// Whether the last read, since the connection was told to finish, found nothing there.
    is_quiet: AtomicBool,
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
    /// Finish the request that is in flight or has begun, take no other.
    Finish,
    /// End now.
    Abort,
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
            command: AtomicU8::new(0),
            is_quiet: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Relaxed);
        self.since.store(self.clock.load(Relaxed), Relaxed);
    }

    /// A request head is complete.
    pub(crate) fn begin_request(&self, has_body: bool) {
        self.has_body.store(has_body, Relaxed);
        self.enter(BUSY);
    }

    /// The response has been handed to the socket.
    pub(crate) fn end_request(&self) {
        // Bytes that came behind a request without a body are the beginning of the next one.
        let has_begun = !self.is_whole.load(Relaxed) && !self.has_body.load(Relaxed);
        self.enter(if has_begun { READING } else { IDLE });
    }

    /// Called once a second: whether the connection has taken too long.
    pub(crate) fn is_overdue(&self) -> bool {
        let now = self.clock.load(Relaxed);
        let limit = match self.phase.load(Relaxed) {
            IDLE => Some(KEEP_ALIVE),
            READING => Some(HEADER_READ),
            _ => None,
        };
        let stalled = self.stalled.load(Relaxed);
        let is_stalled = stalled > 0 && seconds(stalled - 1, now) > WRITE_STALL;
        is_stalled || limit.is_some_and(|limit| seconds(self.since.load(Relaxed), now) > limit)
    }

    /// Tells the connection; a stronger command stays.
    pub(crate) fn tell(&self, command: Command) {
        self.command.fetch_max(command as u8, Relaxed);
        self.waker.wake();
    }

    /// Whether nobody loses a request by the end of keep-alive now: one is being served, or none has come.
    ///
    /// A connection that has not sent its first request yet was opened for one: it may send it, in the time that
    /// it has for a head. So may one that has sent a part.
    pub(crate) fn may_finish(&self) -> bool {
        match self.phase.load(Relaxed) {
            BUSY => true,
            IDLE => self.is_quiet.load(Relaxed),
            _ => false,
        }
    }

    /// What it has been told; `waker` will be woken by the next command.
    pub(crate) fn told(&self, cx: &Context<'_>) -> Command {
        self.waker.register(cx.waker());
        match self.command.load(Relaxed) {
            0 => Command::Run,
            1 => Command::Finish,
            _ => Command::Abort,
        }
    }
}

fn seconds(from: u32, to: u32) -> Duration {
    Duration::from_secs(u64::from(to.wrapping_sub(from)))
}

/// A client's socket that notes what it is doing.
#[derive(Debug)]
pub(crate) struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl Watched {
    pub(crate) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    /// Looks whether something has come that the runtime has not heard of yet. A look costs three system calls and is
    /// only for connections that are about to be closed.
    fn note_quiet(&self) {
        let looked = self.stream.as_fd().try_clone_to_owned();
        let looked = looked.and_then(|socket| std::net::TcpStream::from(socket).peek(&mut [0]));
        self.activity
            .is_quiet
            .store(!looked.is_ok_and(|bytes| bytes > 0), Relaxed);
    }

    fn note_write<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let stalled = &self.activity.stalled;
        if polled.is_ready() {
            stalled.store(0, Relaxed);
        } else if stalled.load(Relaxed) == 0 {
            stalled.store(self.activity.clock.load(Relaxed).wrapping_add(1), Relaxed);
        }
        polled
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_pending() && self.activity.command.load(Relaxed) == Command::Finish as u8 {
            self.note_quiet();
        }
        let read = &buf.filled()[before..];
        if !read.is_empty() {
            self.activity
                .is_whole
                .store(read.ends_with(b"\n\r\n") || read.ends_with(b"\n\n"), Relaxed);
            if self.activity.phase.load(Relaxed) == IDLE {
                self.activity.enter(READING);
            }
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_write(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(activity: &Activity, clock: &Ticks, ticks: u32) -> bool {
        clock.fetch_add(ticks, Relaxed);
        activity.is_overdue()
    }

    #[test]
    fn each_phase_has_its_own_limit() {
        let clock = Ticks::default();
        let activity = Activity::new(&clock);
        assert!(!after(&activity, &clock, 5));
        assert!(after(&activity, &clock, 1));
        activity.begin_request(false);
        assert!(!after(&activity, &clock, 100_000));
        activity.is_whole.store(true, Relaxed);
        activity.end_request();
        assert!(!after(&activity, &clock, 75));
        assert!(after(&activity, &clock, 1));
    }

    #[test]
    fn the_beginning_of_a_next_request_counts_as_one() {
        let clock = Ticks::default();
        let activity = Activity::new(&clock);
        activity.begin_request(false);
        activity.end_request();
        assert!(after(&activity, &clock, 6));
        activity.begin_request(true);
        activity.end_request();
        assert!(!after(&activity, &clock, 6));
    }

    #[test]
    fn a_connection_may_finish_when_no_request_has_begun_to_come() {
        let activity = Activity::new(&Ticks::default());
        // Opened for a request that has not come yet.
        assert!(!activity.may_finish());
        activity.begin_request(false);
        assert!(activity.may_finish());
        activity.is_whole.store(true, Relaxed);
        activity.end_request();
        assert!(
            !activity.may_finish(),
            "nobody has looked whether something is there"
        );
        activity.is_quiet.store(true, Relaxed);
        assert!(activity.may_finish());
        activity.enter(READING);
        assert!(!activity.may_finish());
    }

    #[test]
    fn the_clock_may_wrap() {
        let clock = Ticks::new(AtomicU32::new(u32::MAX - 1));
        let activity = Activity::new(&clock);
        assert!(!after(&activity, &clock, 4));
        assert!(after(&activity, &clock, 4));
    }
}
