//! HTTP/2 connections: each is shared by as many requests as both sides allow.

use std::{
    fmt,
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};

use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use splittoken_reach::Reach;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};

use super::{
    connect::{MAX_RESPONSE_HEADERS, UpstreamError},
    counts::Open,
};
use crate::{body::RequestBody, settings::READ_BUFFER};

/// The most requests at a time on one connection; a peer may allow fewer.
const STREAMS: u32 = 100;

/// How much of a response may wait here for a slow client. Enough for 5 MB/s over 50 ms.
const STREAM_WINDOW: u32 = 256 * 1024;

/// As many at once, so that no slow client keeps the others of a connection waiting.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;

/// How often it is looked whether a peer's settings have come.
const LOOK: Duration = Duration::from_millis(1);

/// After so many requests without an answer, one after the other, a connection may lead nowhere any more.
const MAX_UNANSWERED: usize = 3;

/// One connection.
pub(super) struct Multiplexed {
    sender: SendRequest<RequestBody>,
    /// How many streams the peer allows right now.
    allowed: Box<dyn Fn() -> usize + Send + Sync>,
    peer: SocketAddr,
    dies: Instant,
    streams: AtomicUsize,
    unanswered: AtomicUsize,
    has_refused: AtomicBool,
    /// When the last stream ended.
    used: Mutex<Instant>,
}

/// A place for one request on a connection that others use too. Given up when it is dropped.
pub(crate) struct Stream {
    connection: Arc<Multiplexed>,
    /// Whether the connection was there before: then the other side may have closed it unseen.
    pub(super) is_reused: bool,
    is_answered: bool,
}

/// Speaks HTTP/2 over `io` and waits for the peer's settings.
pub(super) async fn open<T>(io: T, open: Open) -> Result<Opened, UpstreamError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        // Until the peer has said how many it takes.
        .initial_max_send_streams(0)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_RESPONSE_HEADERS)
        .max_send_buf_size(READ_BUFFER);
    let (mut sender, connection) = builder.handshake(TokioIo::new(io)).await?;
    let allowed = drive(connection, open);
    while allowed() == 0 {
        if sender.is_closed() {
            sender.ready().await?;
        }
        sleep(LOOK).await;
    }
    Ok(Opened { sender, allowed })
}

/// A connection that can be used.
pub(super) struct Opened {
    sender: SendRequest<RequestBody>,
    allowed: Box<dyn Fn() -> usize + Send + Sync>,
}

/// Spawns the task that drives a connection, and gives what says how many streams its peer allows. Both are on this
/// thread: neither waits for the other.
fn drive<T>(
    connection: Connection<TokioIo<T>, RequestBody, TokioExecutor>,
    open: Open,
) -> Box<dyn Fn() -> usize + Send + Sync>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connection = Arc::new(Mutex::new(Some(connection)));
    let driven = Arc::clone(&connection);
    tokio::spawn(async move {
        let _open = open;
        let ended = poll_fn(|cx| match driven.lock().as_mut() {
            Some(connection) => Pin::new(connection).poll(cx),
            None => Poll::Ready(Ok(())),
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "an upstream's connection ended");
        }
        // With it go the requests that it did not get to, back to whoever made them.
        let connection = driven.lock().take();
        drop(connection);
    });
    Box::new(move || {
        let connection = connection.lock();
        connection
            .as_ref()
            .map_or(0, Connection::current_max_send_streams)
    })
}

impl Multiplexed {
    pub(super) fn new(opened: Opened, peer: SocketAddr, dies: Instant) -> Arc<Self> {
        Arc::new(Self {
            sender: opened.sender,
            allowed: opened.allowed,
            peer,
            dies,
            streams: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            has_refused: AtomicBool::new(false),
            used: Mutex::new(Instant::now()),
        })
    }

    /// Whether more requests may be made on it. Those that are there go on in any case.
    pub(super) fn is_usable(&self, now: Instant, reach: &Reach) -> bool {
        !self.sender.is_closed()
            && now < self.dies
            && !self.has_refused.load(Relaxed)
            && self.unanswered.load(Relaxed) < MAX_UNANSWERED
            && reach.admits(self.peer)
    }

    /// Whether it has served nobody for `limit`.
    pub(super) fn is_idle(&self, now: Instant, limit: Duration) -> bool {
        self.streams.load(Relaxed) == 0 && now.saturating_duration_since(*self.used.lock()) >= limit
    }

    /// The place of whoever has opened it.
    pub(super) fn first(self: &Arc<Self>) -> Stream {
        self.stream(false)
    }

    /// A place on it, if there is one.
    pub(super) fn join(self: &Arc<Self>) -> Option<Stream> {
        let room = (self.allowed)().min(STREAMS as usize);
        // Only this thread counts.
        (self.streams.load(Relaxed) < room).then(|| self.stream(true))
    }

    fn stream(self: &Arc<Self>, is_reused: bool) -> Stream {
        self.streams.fetch_add(1, Relaxed);
        Stream {
            connection: Arc::clone(self),
            is_reused,
            is_answered: false,
        }
    }
}

impl Stream {
    pub(super) fn sender(&self) -> SendRequest<RequestBody> {
        self.connection.sender.clone()
    }

    /// The head of the response has come.
    pub(super) fn answered(&mut self) {
        self.is_answered = true;
        self.connection.unanswered.store(0, Relaxed);
    }

    /// The peer takes no more: nobody else is to try.
    pub(super) fn refused(&mut self) {
        self.connection.has_refused.store(true, Relaxed);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.connection.peer)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let connection = &self.connection;
        if !self.is_answered {
            connection.unanswered.fetch_add(1, Relaxed);
        }
        if connection.streams.fetch_sub(1, Relaxed) == 1 {
            *connection.used.lock() = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Response;
    use hyper::{server::conn::http2, service::service_fn};
    use tokio::net::TcpListener;

    use super::*;
    use crate::upstream::{UpstreamCounts, target::Target};

    /// A server that allows so many streams.
    async fn server(streams: u32) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.max_concurrent_streams(streams);
                let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(String::new())) });
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
        Target::of(&address.to_string(), splittoken_routing::BackendProtocol::Http2)
    }

    async fn connection(streams: u32, dies_in: Duration) -> Arc<Multiplexed> {
        let target = server(streams).await;
        let stream = tokio::net::TcpStream::connect(&*target.address).await.unwrap();
        let peer = stream.peer_addr().unwrap();
        Multiplexed::new(
            open(stream, UpstreamCounts::default().opened("http2"))
                .await
                .unwrap(),
            peer,
            Instant::now() + dies_in,
        )
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_connection_has_as_much_room_as_its_peer_says() {
        let narrow = connection(2, LONG).await;
        let first = narrow.first();
        assert!(!first.is_reused);
        let second = narrow.join().unwrap();
        assert!(second.is_reused && narrow.join().is_none());
        drop(first);
        assert!(narrow.join().is_some(), "a place that is given up is one");
        let wide = connection(10_000, LONG).await;
        let all: Vec<_> = std::iter::from_fn(|| wide.join()).collect();
        assert_eq!(all.len(), STREAMS as usize);
    }

    #[tokio::test]
    async fn not_every_connection_may_be_used() {
        let (now, everywhere) = (Instant::now(), Reach::Anywhere);
        let old = connection(2, Duration::ZERO).await;
        assert!(!old.is_usable(Instant::now(), &everywhere), "too old");
        let connection = connection(2, LONG).await;
        assert!(connection.is_usable(now, &everywhere));
        assert!(
            !connection.is_usable(now, &Reach::default()),
            "not allowed any more"
        );
        for unanswered in 0..MAX_UNANSWERED {
            assert!(connection.is_usable(now, &everywhere), "{unanswered}");
            drop(connection.first());
        }
        assert!(!connection.is_usable(now, &everywhere), "answers nobody");
        connection.first().answered();
        assert!(connection.is_usable(now, &everywhere), "answers again");
        connection.first().refused();
        connection.first().answered();
        assert!(!connection.is_usable(now, &everywhere), "has refused");
    }

    #[tokio::test]
    async fn whoever_finds_no_connection_waits_for_the_one_who_opens_it() {
        let target = server(50).await;
        let pool = Arc::new(crate::upstream::Pool::default());
        let leases = (0..40).map(|_| pool.lease(&target, &Reach::Anywhere, None, 0));
        let leases = futures_util::future::join_all(leases).await;
        let opened = leases.iter().flatten().filter(|lease| !lease.is_reused()).count();
        assert_eq!((leases.iter().flatten().count(), opened), (40, 1));
    }
}
