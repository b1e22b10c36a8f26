//! An HTTP/2 client, one connection at a time. For what other clients say of ours, there is curl.

use std::convert::Infallible;
use std::error::Error as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::ext::Protocol;
use hyper::header::HeaderMap;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::http::Answer;
use crate::http2_upstream::Fed;
use crate::tls::client_config;

type Sent = BoxBody<Bytes, Infallible>;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// After how long without room there is none.
const FULL: Duration = Duration::from_secs(3);

/// A connection.
#[derive(Debug)]
pub struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Sent>,
}

impl Http2 {
    /// Connects without TLS, and says that it speaks HTTP/2 without having asked.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let runtime = runtime()?;
        let sender = runtime.block_on(async { begin(dial(address).await?).await })?;
        Ok(Self { runtime, sender })
    }

    /// Connects over TLS to a server with a certificate of this authority for `name`, and agrees on HTTP/2.
    pub fn connect_tls(address: SocketAddr, ca_pem: &str, name: &str) -> Result<Self> {
        let connector = TlsConnector::from(client_config(ca_pem, &["h2"])?);
        let name = ServerName::try_from(name.to_owned())?;
        let runtime = runtime()?;
        let sender = runtime.block_on(async {
            let stream = connector.connect(name, dial(address).await?).await?;
            begin(stream).await
        })?;
        Ok(Self { runtime, sender })
    }

    /// One request: method and target in absolute form, header fields, body.
    pub fn call(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let request = request(method, target, headers, body.into())?;
        self.runtime.block_on(answer(&mut self.sender, request))
    }

    /// One POST whose body the returned sender feeds; dropped, that ends it. Returns when the head of the answer is there.
    pub fn stream(
        &mut self,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<(UnboundedSender<Frame<Bytes>>, Stream<'_>)> {
        let (sender, body) = Fed::new();
        let stream = self.post(target, headers, body)?;
        Ok((sender, stream))
    }

    /// One POST with these frames.
    pub fn send(
        &mut self,
        target: &str,
        headers: &[(&str, &str)],
        frames: Vec<Frame<Bytes>>,
    ) -> Result<Stream<'_>> {
        let (sender, body) = Fed::new();
        for frame in frames {
            sender
                .send(frame)
                .map_err(|_| anyhow::anyhow!("nobody listens"))?;
        }
        drop(sender);
        self.post(target, headers, body)
    }

    fn post(&mut self, target: &str, headers: &[(&str, &str)], body: Fed) -> Result<Stream<'_>> {
        let request = request("POST", target, headers, Bytes::new())?.map(|_| body.boxed());
        let sender = &mut self.sender;
        let answer = self.runtime.block_on(async {
            sender.ready().await?;
            let sent = sender.send_request(request);
            anyhow::Ok(timeout(PATIENCE, sent).await.context("no answer")??)
        });
        Ok(Stream {
            response: answer?,
            runtime: &self.runtime,
        })
    }

    /// An extended CONNECT for this protocol (RFC 8441 §4).
    pub fn open(&mut self, protocol: &str, target: &str, headers: &[(&str, &str)]) -> Result<Opened> {
        let mut request = request("CONNECT", target, headers, Bytes::new())?;
        request.extensions_mut().insert(Protocol::from(protocol));
        let sender = &mut self.sender;
        let opened = async {
            sender.ready().await?;
            let response = timeout(PATIENCE, sender.send_request(request)).await;
            let mut response = response.context("no answer")??;
            let tunnel = if response.status() == 200 {
                let upgraded = timeout(PATIENCE, hyper::upgrade::on(&mut response)).await;
                Some(TokioIo::new(upgraded.context("no tunnel")??))
            } else {
                None
            };
            anyhow::Ok((response, tunnel))
        };
        let (response, tunnel) = self.runtime.block_on(opened)?;
        Ok(Opened {
            response,
            tunnel,
            runtime: self.runtime.handle().clone(),
        })
    }

    /// A tunnel of WebSocket, once the upstream has said what it got.
    pub fn tunnel(&mut self, target: &str, token: &str) -> Result<Opened> {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("sec-websocket-version", "13"),
            ("authorization", bearer.as_str()),
        ];
        let mut tunnel = self.open("websocket", target, &headers)?;
        tunnel.read_head()?;
        Ok(tunnel)
    }

    /// GET; `None` where it turns out before anything was sent that the connection is over.
    pub fn try_get(&mut self, target: &str, headers: &[(&str, &str)]) -> Result<Option<Answer>> {
        self.try_call("GET", target, headers, Bytes::new())
    }

    /// The same for any request.
    pub fn try_call(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Option<Answer>> {
        match self.call(method, target, headers, body) {
            Err(error) if is_unsent(&error) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// GET.
    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.call("GET", target, headers, Bytes::new())
    }

    /// So many GETs at once.
    pub fn get_all(
        &self,
        number: usize,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Vec<Result<Answer>>> {
        let tasks: Result<Vec<_>> = (0..number)
            .map(|_| {
                let request = request("GET", target, headers, Bytes::new())?;
                let mut sender = self.sender.clone();
                let task = async move { answer(&mut sender, request).await };
                Ok(self.runtime.spawn(task))
            })
            .collect();
        let all = async {
            let mut answers = Vec::new();
            for task in tasks? {
                answers.push(task.await?);
            }
            Ok(answers)
        };
        self.runtime.block_on(all)
    }

    /// Sends a GET and gives up on its answer after `patience`.
    pub fn give_up(&mut self, target: &str, headers: &[(&str, &str)], patience: Duration) -> Result<()> {
        let request = request("GET", target, headers, Bytes::new())?;
        let answer = answer(&mut self.sender, request);
        let given_up = self.runtime.block_on(async { timeout(patience, answer).await });
        anyhow::ensure!(given_up.is_err(), "there was an answer");
        Ok(())
    }

    /// Whether no other request may be sent on it.
    pub fn is_over(&mut self) -> bool {
        self.runtime.block_on(async {
            // Nothing is waited for: what has come is looked at.
            timeout(Duration::from_millis(1), self.sender.ready())
                .await
                .is_ok_and(|ready| ready.is_err())
        })
    }
}

/// What has become of an extended CONNECT.
#[derive(Debug)]
pub struct Opened {
    response: Response<Incoming>,
    tunnel: Option<TokioIo<Upgraded>>,
    runtime: Handle,
}

impl Opened {
    /// The status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The body of an answer that opens nothing.
    pub fn text(self) -> Result<String> {
        let body = async { timeout(PATIENCE, self.response.into_body().collect()).await };
        let body = self.runtime.block_on(body).context("nothing came")??;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }

    /// Sends these bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let tunnel = self.tunnel.as_mut().context("there is no tunnel")?;
        let written = async { timeout(PATIENCE, tunnel.write_all(bytes)).await };
        Ok(self.runtime.block_on(written).context("nobody reads")??)
    }

    /// Sends until there is no more room.
    pub fn fill(&mut self) -> Result<()> {
        let tunnel = self.tunnel.as_mut().context("there is no tunnel")?;
        let bytes = [b'x'; 16 * 1024];
        let filled = async {
            // Longer than anybody who reads takes for a piece.
            while let Ok(written) = timeout(FULL, tunnel.write_all(&bytes)).await {
                written?;
            }
            anyhow::Ok(())
        };
        self.runtime.block_on(filled)
    }

    /// Reads so many bytes.
    pub fn read(&mut self, length: usize) -> Result<Vec<u8>> {
        let tunnel = self.tunnel.as_mut().context("there is no tunnel")?;
        let mut bytes = vec![0; length];
        let read = async { timeout(PATIENCE, tunnel.read_exact(&mut bytes)).await };
        self.runtime.block_on(read).context("nothing came")??;
        Ok(bytes)
    }

    /// Reads up to an empty line.
    pub fn read_head(&mut self) -> Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read(1)?);
        }
        Ok(String::from_utf8(head)?)
    }

    /// Sends these bytes while it reads as many.
    pub fn exchange(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let tunnel = self.tunnel.as_mut().context("there is no tunnel")?;
        let (mut reader, mut writer) = tokio::io::split(tunnel);
        let mut back = vec![0; bytes.len()];
        let both = async { tokio::try_join!(writer.write_all(bytes), reader.read_exact(&mut back)) };
        let both = async { timeout(PATIENCE, both).await };
        self.runtime.block_on(both).context("it does not go on")??;
        Ok(back)
    }

    /// Says that nothing more comes.
    pub fn finish(&mut self) -> Result<()> {
        let tunnel = self.tunnel.as_mut().context("there is no tunnel")?;
        let finished = async { timeout(PATIENCE, tunnel.shutdown()).await };
        Ok(self.runtime.block_on(finished).context("no room for the end")??)
    }

    /// What comes until the other side ends, within `limit`.
    pub fn rest(&mut self, limit: Duration) -> Result<Vec<u8>> {
        let tunnel = self.tunnel.as_mut().context("there is no tunnel")?;
        let mut rest = Vec::new();
        let read = async { timeout(limit, tunnel.read_to_end(&mut rest)).await };
        self.runtime.block_on(read).context("it does not end")??;
        Ok(rest)
    }
}

/// An answer whose body is still on its way.
#[derive(Debug)]
pub struct Stream<'c> {
    runtime: &'c Runtime,
    response: Response<Incoming>,
}

impl Stream<'_> {
    /// The status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The next piece of the body; `None` at its end.
    pub fn piece(&mut self) -> Result<Option<Frame<Bytes>>> {
        let next = async { timeout(PATIENCE, self.response.body_mut().frame()).await };
        Ok(self.runtime.block_on(next).context("nothing came")?.transpose()?)
    }

    /// What is left of the body, and the trailers.
    pub fn rest(mut self) -> Result<(Vec<u8>, HeaderMap)> {
        let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
        while let Some(frame) = self.piece()? {
            match frame.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        Ok((body, trailers))
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

async fn dial(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Both sides say hello.
async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<SendRequest<Sent>> {
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// The server has said up to which request it serves; what comes after that is for another connection
/// (RFC 9113 §6.8). It may say so just when a request is handed over: that request hears the server's own words.
fn is_unsent(error: &anyhow::Error) -> bool {
    let Some(error) = error.downcast_ref::<hyper::Error>() else {
        return false;
    };
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    let is_told = |cause: &h2::Error| cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR);
    error.is_canceled() || error.is_closed() || cause.is_some_and(is_told)
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Request<Sent>> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.body(Full::new(body).boxed())?)
}

async fn answer(sender: &mut SendRequest<Sent>, request: Request<Sent>) -> Result<Answer> {
    let whole = async {
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let headers = response.headers().iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        });
        let headers = headers.collect();
        let body = response.into_body().collect().await?.to_bytes().to_vec();
        anyhow::Ok(Answer {
            status,
            headers,
            body,
        })
    };
    timeout(PATIENCE, whole).await.context("no answer")?
}
