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
    door: Arc<Door>,
    /// For the driver.
    driver_bell: Waker,
    /// For what waits for the connection.
    waiter_bell: Waker,
}

impl Http1 {
    pub(super) fn new(
        sender: SendRequest<RequestBody>,
        driver: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let door = Arc::new(Door::default());
        Self {
            sender,
            driver: Some(Box::pin(driver)),
            driver_bell: Arc::new(Bell::of(&door, DRIVER)).into(),
            waiter_bell: Arc::new(Bell::of(&door, WAITER)).into(),
            door,
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
        self.door.attend();
        for _ in 0..ROUNDS {
            self.drive();
            self.door.answer(WAITER);
            let polled = poll(&mut Context::from_waker(&self.waiter_bell));
            if polled.is_ready() {
                return polled;
            }
            if !self.door.has_rung() {
                break;
            }
        }
        self.door.leave_to(cx.waker());
        Poll::Pending
    }

    /// Nobody waits for it any more.
    pub(super) fn rest(&mut self) {
        self.door.forget();
    }

    /// Whether it can take a request now. What comes before that request is looked at before it is written.
    pub(super) fn is_ready(&mut self) -> bool {
        self.sender.is_ready() || {
            self.drive();
            self.sender.is_ready()
        }
    }

    /// Whether it has ended, as far as is known.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Looks at what has happened to the connection, if anything has.
    pub(super) fn drive(&mut self) {
        let Some(driver) = self.driver.as_mut().filter(|_| self.door.answer(DRIVER)) else {
            return;
        };
        let polled = driver.as_mut().poll(&mut Context::from_waker(&self.driver_bell));
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

/// Where it is rung for the driver, or for who waits for the connection.
struct Door {
    has_rung: [AtomicBool; 2],
    listener: Mutex<Listener>,
}

const DRIVER: usize = 0;
const WAITER: usize = 1;

/// Who is to hear of it. While somebody attends to the connection, or nobody waits for it, it is enough that it was rung.
#[derive(Default)]
struct Listener {
    waker: Option<Waker>,
    is_away: bool,
}

impl Default for Door {
    /// A new connection wants to be driven.
    fn default() -> Self {
        Self {
            has_rung: [true, false].map(AtomicBool::new),
            listener: Mutex::default(),
        }
    }
}

impl Door {
    fn has_rung(&self) -> bool {
        self.has_rung.iter().any(|bell| bell.load(SeqCst))
    }

    /// Whether that bell has rung since the last answer.
    fn answer(&self, bell: usize) -> bool {
        self.has_rung[bell].load(SeqCst) && self.has_rung[bell].swap(false, SeqCst)
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

    fn ring(&self, bell: usize) {
        self.has_rung[bell].store(true, SeqCst);
        let listener = self.listener.lock();
        if let Some(waker) = listener.waker.as_ref().filter(|_| listener.is_away) {
            waker.wake_by_ref();
        }
    }
}

/// One of the two, as futures want it.
struct Bell {
    door: Arc<Door>,
    which: usize,
}

impl Bell {
    fn of(door: &Arc<Door>, which: usize) -> Self {
        Self {
            door: Arc::clone(door),
            which,
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.door.ring(self.which);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.door.ring(self.which);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::{sleep, timeout},
    };

    use super::*;
    use crate::upstream::{connect::http1, counts::UpstreamCounts};

    fn request() -> Request<RequestBody> {
        Request::builder()
            .uri("/a")
            .header("host", "a.example")
            .body(RequestBody::default())
            .unwrap()
    }

    /// Reads a request and answers in these pieces.
    async fn answer(peer: &mut DuplexStream, pieces: &[&str]) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(peer.read_u8().await.unwrap());
        }
        for piece in pieces {
            peer.write_all(piece.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn get(connection: &mut Http1) -> Vec<u8> {
        let (_, mut body) = connection.send(request()).await.unwrap().into_parts();
        let mut all = Vec::new();
        loop {
            let mut frame = body.frame();
            let next = poll_fn(|cx| connection.attend(cx, |cx| Pin::new(&mut frame).poll(cx)));
            match next.await {
                Some(frame) => all.extend_from_slice(&frame.unwrap().into_data().unwrap()),
                None => return all,
            }
        }
    }

    #[tokio::test]
    async fn whoever_waits_drives_it_and_no_task() {
        let (near, mut far) = duplex(64 * 1024);
        let mut connection = http1(near, &UpstreamCounts::default()).await.unwrap();
        let pieces = [
            "HTTP/1.1 200 OK\r\n",
            "Content-Length: 10\r\n\r\n",
            "01234",
            "56789",
        ];
        let peer = tokio::spawn(async move {
            for _ in 0..3 {
                answer(&mut far, &pieces).await;
            }
            far
        });
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        for _ in 0..3 {
            let body = timeout(Duration::from_secs(20), get(&mut connection))
                .await
                .unwrap();
            assert_eq!(body, b"0123456789");
            assert!(tasks() <= before);
            connection.rest();
            assert!(connection.is_ready());
        }
        drop(peer.await.unwrap());
        connection.drive();
        assert!(connection.is_closed(), "the peer has gone, unseen");
    }

    #[tokio::test]
    async fn dropped_it_ends_in_good_order() {
        let (near, mut far) = duplex(64);
        drop(http1(near, &UpstreamCounts::default()).await.unwrap());
        let mut rest = Vec::new();
        let read = timeout(Duration::from_secs(20), far.read_to_end(&mut rest));
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }
}
