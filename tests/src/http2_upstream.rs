//! An API that speaks HTTP/2, records what it gets and answers what it is told to.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::{ports, wait};

type Answer = BoxBody<Bytes, hyper::Error>;
type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its target in absolute form.
    pub target: String,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its whole body; empty for a [`Reply::Echo`].
    pub body: Vec<u8>,
    /// What came after the body.
    pub trailers: HeaderMap,
    /// On which connection, from 1.
    pub connection: usize,
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Status, header fields, pieces of the body and how long to wait before each, trailers.
    Whole(u16, Fields, Vec<(Duration, Bytes)>, Fields),
    /// The request's own body and trailers as they come, with this content type.
    Echo(&'static str),
    /// Nothing for this long, then 200.
    After(Duration),
}

/// Names with values.
pub type Fields = Vec<(&'static str, String)>;

/// How it listens.
#[derive(Default)]
pub struct Settings {
    /// Over TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// The most requests at a time on one connection.
    pub max_streams: Option<u32>,
}

/// A running upstream. It answers 200 with the body `ok` until told otherwise.
pub struct Http2Upstream {
    address: SocketAddr,
    inner: Arc<Inner>,
    leave: watch::Sender<usize>,
    _runtime: Runtime,
}

struct Inner {
    script: Mutex<Arc<Script>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    max_streams: Option<u32>,
}

impl Http2Upstream {
    /// Listens on a free port of 127.0.0.1 without TLS.
    pub fn start() -> Result<Self> {
        Self::with(Settings::default())
    }

    /// Listens in another way.
    pub fn with(settings: Settings) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, ports::free()?))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let first: Arc<Script> = Arc::new(|_| Reply::ok("ok"));
        let inner = Arc::new(Inner {
            script: Mutex::new(first),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            max_streams: settings.max_streams,
        });
        let (leave, leaving) = watch::channel(0);
        runtime.spawn(accept(listener, settings.tls, Arc::clone(&inner), leaving));
        Ok(Self {
            address,
            inner,
            leave,
            _runtime: runtime,
        })
    }

    /// From now on asks `script` what to answer.
    pub fn script(&self, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *lock(&self.inner.script) = Arc::new(script);
    }

    /// From now on answers this.
    pub fn answer(&self, reply: Reply) {
        self.script(move |_| reply.clone());
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.inner.seen).clone()
    }

    /// The newest request; waits for the first.
    pub fn last(&self) -> Result<Seen> {
        wait::until(Duration::from_secs(10), "a request at the upstream", || {
            self.seen().pop()
        })
    }

    /// How many connections were made to it so far.
    pub fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::Relaxed)
    }

    /// Asks everybody to connect anew (GOAWAY), and finishes what is there.
    pub fn leave(&self) {
        self.leave.send_modify(|times| *times += 1);
    }
}

impl Reply {
    /// 200 with this body.
    pub fn ok(body: &'static str) -> Self {
        Self::Whole(
            200,
            Vec::new(),
            vec![(Duration::ZERO, Bytes::from_static(body.as_bytes()))],
            Vec::new(),
        )
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    inner: Arc<Inner>,
    leaving: watch::Receiver<usize>,
) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, inner, leaving) = (tls.clone(), Arc::clone(&inner), leaving.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, inner, leaving).await,
                Some(tls) => match TlsAcceptor::from(tls).accept(stream).await {
                    Ok(stream) => serve(stream, inner, leaving).await,
                    Err(error) => println!("upstream: {error}"),
                },
            }
        });
    }
}

async fn serve<T>(stream: T, inner: Arc<Inner>, mut leaving: watch::Receiver<usize>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let number = inner.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    if let Some(most) = inner.max_streams {
        builder.max_concurrent_streams(most);
    }
    let service = service_fn(move |request| {
        let inner = Arc::clone(&inner);
        async move { inner.answer(number, request).await }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    leaving.mark_unchanged();
    tokio::select! {
        _ = &mut connection => return,
        _ = leaving.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

impl Inner {
    async fn answer(
        &self,
        connection: usize,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, hyper::Error> {
        let (parts, body) = request.into_parts();
        let mut seen = Seen {
            method: parts.method.to_string(),
            target: parts.uri.to_string(),
            headers: parts.headers,
            body: Vec::new(),
            trailers: HeaderMap::new(),
            connection,
        };
        let script = Arc::clone(&lock(&self.script));
        let reply = script(&seen);
        if let Reply::Echo(content_type) = reply {
            lock(&self.seen).push(seen);
            let response = Response::builder().header("content-type", content_type);
            return Ok(response.body(body.boxed()).expect("a plain response"));
        }
        let collected = body.collect().await?;
        seen.trailers = collected.trailers().cloned().unwrap_or_default();
        seen.body = collected.to_bytes().to_vec();
        lock(&self.seen).push(seen);
        let (status, headers, pieces, trailers) = match reply {
            Reply::Whole(status, headers, pieces, trailers) => (status, headers, pieces, trailers),
            Reply::After(time) => {
                sleep(time).await;
                (200, Vec::new(), Vec::new(), Vec::new())
            }
            Reply::Echo(_) => unreachable!("answered above"),
        };
        let mut response = Response::builder().status(status);
        for (name, value) in &headers {
            response = response.header(*name, value);
        }
        let body = fed(pieces, trailers).map_err(|never: Infallible| match never {});
        Ok(response.body(body.boxed()).expect("a plain response"))
    }
}

/// A body whose frames come from a channel.
#[derive(Debug)]
pub struct Fed(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl Fed {
    /// A body, and what feeds it; dropped, that ends it.
    pub fn new() -> (mpsc::UnboundedSender<Frame<Bytes>>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self(receiver))
    }
}

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

fn fed(pieces: Vec<(Duration, Bytes)>, trailers: Fields) -> Fed {
    let (sender, body) = Fed::new();
    tokio::spawn(async move {
        for (time, piece) in pieces {
            sleep(time).await;
            let _ = sender.send(Frame::data(piece));
        }
        if !trailers.is_empty() {
            let trailers = trailers
                .into_iter()
                .filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
            let _ = sender.send(Frame::trailers(trailers.collect()));
        }
    });
    body
}

/// A header field of what came.
pub fn field<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str> {
    let value = headers.get(name).with_context(|| format!("no {name}"))?;
    Ok(value.to_str()?)
}
