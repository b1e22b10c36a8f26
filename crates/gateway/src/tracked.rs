//! The last thing that happens to a request: its response's body ends, well or not.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    access_log::Entry,
    body::{BodyError, ResponseBody},
    connection::InFlight,
};

/// The most bytes that a stream of HTTP/2 is given at once. They are kept until its client has made room for all of
/// them, so that this is what a client can have us keep for each of its streams.
const PIECE: usize = 16 * 1024;

/// A response's body that tells the connection, and the access log if there is one, how it goes and when it is gone.
#[derive(Debug)]
pub(crate) struct Tracked {
    body: ResponseBody,
    /// What the body has given and the client has no room for yet.
    rest: Bytes,
    in_flight: InFlight,
    entry: Option<Box<Entry>>,
}

impl Tracked {
    pub(crate) fn new(body: ResponseBody, in_flight: InFlight, entry: Option<Box<Entry>>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            in_flight,
            entry,
        }
    }

    /// The next piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.rest.is_empty() {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) if self.in_flight.is_multiplexed() => frame,
                other => return other,
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_piece(cx);
        self.in_flight
            .note_piece(matches!(polled, Poll::Ready(Some(Ok(_)))));
        if let Some(entry) = &mut self.entry {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => entry.add_bytes(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(Some(Err(_))) => entry.break_off(),
                _ => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            entry.write();
        }
    }
}
