//! A connection of HTTP/1.1, which serves one request at a time.
//!
//! hyper would have a task drive it. Here whoever waits for the answer does that beside its own work: what has come is
//! read, passed on and written at one go, without a way through the scheduler for each of them. Only a request with a
//! body takes a task, since neither body may wait for the other, and so does a tunnel.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1::SendRequest},
};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::body::RequestBody;

/// So often at one go: others want to get on, too.
const ROUNDS: usize = 16;

/// A connection, and what drives it.
pub(super) struct Http1 {
    sender: SendRequest<RequestBody>,
    /// None where a task has it, and after the end.
    driver: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    bell: Arc<Bell>,
    /// The bell once more, as futures want it.
    waker: Waker,
}

impl Http1 {
    pub(super) fn new(
        sender: SendRequest<RequestBody>,
        driver: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let bell = Arc::new(Bell::default());
        Self {
            sender,
            driver: Some(Box::pin(driver)),
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        }
    }

    /// From now on a task drives it.
    pub(super) fn hand_over(&mut self) {
        if let Some(driver) = self.driver.take() {
            tokio::spawn(driver);
        }
    }

    /// Sends a request. Its error gives back what was not written.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        if !request.body().is_empty() {
            self.hand_over();
        }
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| self.attend(cx, |cx| answer.as_mut().poll(cx))).await
    }

    /// Polls something that waits for the connection, and the connection, for as long as one has news for the other.
    pub(super) fn attend<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.driver.is_none() {
            return poll(cx);
        }
        self.bell.attend();
        for _ in 0..ROUNDS {
            self.drive();
            let polled = poll(&mut Context::from_waker(&self.waker));
            if polled.is_ready() {
                return polled;
            }
            if !self.bell.has_rung() {
                break;
            }
        }
        self.bell.leave_to(cx.waker());
        Poll::Pending
    }

    /// Nobody waits for it any more.
    pub(super) fn rest(&mut self) {
        self.bell.forget();
    }

    /// Whether it can take a request now.
    pub(super) fn is_ready(&mut self) -> bool {
        self.drive();
        self.sender.is_ready()
    }

    /// Whether it has ended, as far as is known.
    pub(super) fn is_closed(&mut self) -> bool {
        self.drive();
        self.sender.is_closed()
    }

    /// Looks at what the connection has news of, if it has.
    fn drive(&mut self) {
        let Some(driver) = self.driver.as_mut().filter(|_| self.bell.answer()) else {
            return;
        };
        let polled = driver.as_mut().poll(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            self.driver = None;
        }
    }
}

impl Drop for Http1 {
    /// It ends by itself, and in good order, once its sender is gone.
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(driver);
        }
    }
}

/// Rings when the connection, or what waits for it, can get on.
struct Bell {
    has_rung: AtomicBool,
    listener: Mutex<Listener>,
}

/// Who is to hear the bell. While somebody attends to the connection, or nobody waits for it, it is enough that it has
/// rung.
#[derive(Default)]
struct Listener {
    waker: Option<Waker>,
    is_away: bool,
}

impl Default for Bell {
    /// A new connection wants to be driven.
    fn default() -> Self {
        Self {
            has_rung: AtomicBool::new(true),
            listener: Mutex::default(),
        }
    }
}

impl Bell {
    fn has_rung(&self) -> bool {
        self.has_rung.load(SeqCst)
    }

    /// Whether it has rung since the last answer.
    fn answer(&self) -> bool {
        self.has_rung() && self.has_rung.swap(false, SeqCst)
    }

    fn attend(&self) {
        self.listener.lock().is_away = false;
    }

    fn leave_to(&self, waker: &Waker) {
        let mut listener = self.listener.lock();
        if !listener
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            listener.waker = Some(waker.clone());
        }
        listener.is_away = true;
        drop(listener);
        if self.has_rung() {
            waker.wake_by_ref();
        }
    }

    fn forget(&self) {
        *self.listener.lock() = Listener::default();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, SeqCst);
        let listener = self.listener.lock();
        if let Some(waker) = listener.waker.as_ref().filter(|_| listener.is_away) {
            waker.wake_by_ref();
        }
    }
}
