//! Bodies as they stream through: nothing is buffered, and a silence longer than the rule allows ends them.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use splittoken_routing::ServedRule;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    circuit::Upload,
    headers::{clean_request_trailers, clean_response_trailers},
    upstream::Lease,
    vigil::Vigil,
};

/// A stream of this age is looked after even if it never has to wait for the upstream.
const LONG: Duration = Duration::from_secs(2);

/// Why a body ended early. The connection is closed, so the other side can tell.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// What a request carries to an upstream.
#[derive(Debug, Default)]
pub(crate) struct RequestBody(Option<Sent>);

/// A body that a client sends.
#[derive(Debug)]
struct Sent {
    timed: Timed,
    rule: Arc<ServedRule>,
    /// How many bytes may still come.
    room: u64,
    /// What is to hear of its end.
    upload: Option<Arc<Upload>>,
}

/// A request's body has become larger than it may be.
#[derive(Debug, Error)]
#[error("the body is larger than it may be")]
pub(crate) struct TooLarge;

/// What a response carries to a client.
// A box would be an allocation for each request, to save the common one from a move.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// Made here.
    Full(Option<Bytes>),
    /// An upstream's.
    Upstream(Streamed),
}

/// An upstream's body, with the connection that it comes on and the token that it comes for.
#[derive(Debug)]
pub(crate) struct Streamed {
    timed: Timed,
    lease: Option<Lease>,
    token: Token,
    /// When its first piece was given that was not the last.
    since: Option<Instant>,
    /// Whether a piece was given that may not have been written yet.
    is_unwritten: bool,
    failed: Option<BodyError>,
}

/// The token that a stream depends on.
enum Token {
    /// None, or the stream is over.
    None,
    /// One that nobody has looked at again yet: most bodies are there at once.
    Good(Vigil),
    /// One that is looked at again and again.
    Watched(Pin<Box<dyn Future<Output = &'static str> + Send>>),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Good(_) => "Good",
            Self::Watched(_) => "Watched",
        })
    }
}

impl Token {
    /// Whether it has ended.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        if let Self::Good(_) = self
            && let Self::Good(vigil) = std::mem::replace(self, Self::None)
        {
            *self = Self::Watched(Box::pin(vigil.ended()));
        }
        match self {
            Self::Watched(ended) => ended.as_mut().poll(cx),
            Self::None | Self::Good(_) => Poll::Pending,
        }
    }
}

/// A body that fails when nothing comes for too long.
#[derive(Debug)]
pub(crate) struct Timed {
    body: Incoming,
    idle: Option<Duration>,
    /// Set up at the first wait only: most bodies are there at once.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub(crate) fn new(body: Incoming, idle: Option<Duration>) -> Self {
        Self {
            body,
            idle,
            timer: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.timer = None;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => self.poll_timer(cx),
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(idle) = self.idle else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + idle)));
        timer.as_mut().poll(cx).map(|()| {
            let error = io::Error::new(
                io::ErrorKind::TimedOut,
                "nothing came for longer than the rule's idle timeout",
            );
            Some(Err(error.into()))
        })
    }
}

impl RequestBody {
    /// The body of `incoming`, or none at all where it is empty: so that a request may be sent again. It may have `limit`
    /// bytes; what is announced as larger is refused at once.
    pub(crate) fn new(
        incoming: Incoming,
        rule: &Arc<ServedRule>,
        limit: Option<u64>,
    ) -> Result<Self, TooLarge> {
        if incoming.is_end_stream() {
            return Ok(Self(None));
        }
        let room = limit.unwrap_or(u64::MAX);
        if incoming.size_hint().lower() > room {
            return Err(TooLarge);
        }
        Ok(Self(Some(Sent {
            timed: Timed::new(incoming, rule.config.timeouts.idle),
            rule: Arc::clone(rule),
            room,
            upload: None,
        })))
    }

    /// From now on this hears of its end.
    pub(crate) fn tell(&mut self, upload: Option<Arc<Upload>>) {
        if let Some(sent) = &mut self.0 {
            sent.upload = upload;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// The trailers, where it is they that have come.
fn trailers(polled: &mut Poll<Option<Result<Frame<Bytes>, BodyError>>>) -> Option<&mut HeaderMap> {
    match polled {
        Poll::Ready(Some(Ok(frame))) => frame.trailers_mut(),
        _ => None,
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(Sent {
            timed,
            rule,
            room,
            upload,
        }) = &mut self.0
        else {
            return Poll::Ready(None);
        };
        let mut polled = timed.poll(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(left) = room.checked_sub(length) else {
                if let Some(upload) = upload {
                    upload.overflow();
                }
                return Poll::Ready(Some(Err(TooLarge.into())));
            };
            *room = left;
        }
        if let Some(trailers) = trailers(&mut polled) {
            clean_request_trailers(trailers, |name| rule.answers_for(name));
        }
        let is_over = matches!(polled, Poll::Ready(None)) || timed.body.is_end_stream();
        if let Some(upload) = upload.take_if(|_| is_over) {
            upload.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|sent| sent.timed.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), |sent| sent.timed.body.size_hint())
    }
}

impl ResponseBody {
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Full((!bytes.is_empty()).then_some(bytes))
    }

    /// Streams `body` for as long as its token is good; `lease` goes back to the pool when it has ended well.
    pub(crate) fn upstream(
        body: Incoming,
        idle: Option<Duration>,
        lease: Lease,
        token: Option<Vigil>,
    ) -> Self {
        let mut lease = Some(lease);
        if body.is_end_stream() {
            give_back(&mut lease);
        }
        Self::Upstream(Streamed {
            timed: Timed::new(body, idle),
            lease,
            token: token.map_or(Token::None, Token::Good),
            since: None,
            is_unwritten: false,
            failed: None,
        })
    }
}

impl Streamed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let polled = self.poll_next(cx);
        match polled {
            // hyper drops what it has not written yet when a body fails. It writes when it has to wait, as far as the
            // socket has room.
            Poll::Ready(Some(Err(error))) if self.is_unwritten => {
                self.failed = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            polled => {
                self.is_unwritten = polled.is_ready();
                polled
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let timed = &mut self.timed;
        let mut polled = match &mut self.lease {
            Some(lease) => lease.attend(cx, |cx| timed.poll(cx)),
            None => timed.poll(cx),
        };
        if let Some(trailers) = trailers(&mut polled) {
            clean_response_trailers(trailers);
            // Nothing comes behind them, and nobody asks.
            give_back(&mut self.lease);
        }
        match &polled {
            Poll::Ready(None) => give_back(&mut self.lease),
            Poll::Ready(Some(Ok(_))) if self.timed.body.is_end_stream() => give_back(&mut self.lease),
            // Most bodies are there at once: nobody has to look after those.
            Poll::Pending | Poll::Ready(Some(Ok(_))) if polled.is_pending() || self.is_long() => {
                if let Poll::Ready(reason) = self.token.poll_ended(cx) {
                    self.token = Token::None;
                    tracing::debug!(reason, "a stream ends with its token");
                    return Poll::Ready(Some(Err("the token has ended".into())));
                }
            }
            Poll::Pending | Poll::Ready(Some(_)) => {}
        }
        polled
    }

    fn is_long(&mut self) -> bool {
        match self.token {
            Token::None => false,
            Token::Watched(_) => true,
            Token::Good(_) => self.since.get_or_insert_with(Instant::now).elapsed() > LONG,
        }
    }
}

fn give_back(lease: &mut Option<Lease>) {
    if let Some(lease) = lease.take() {
        lease.give_back();
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Upstream(streamed) => streamed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Upstream(streamed) => streamed.timed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Upstream(streamed) => streamed.timed.body.size_hint(),
        }
    }
}
