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
    trace::Recorded,
};

/// A response's body that tells the connection, and the access log and the span if there are any, how it goes and when it
/// is gone.
#[derive(Debug)]
pub(crate) struct Tracked {
    body: ResponseBody,
    /// `None` where something else holds it.
    in_flight: Option<InFlight>,
    entry: Option<Box<Entry>>,
    recorded: Option<Box<Recorded>>,
}

impl Tracked {
    pub(crate) fn new(
        body: ResponseBody,
        in_flight: Option<InFlight>,
        entry: Option<Box<Entry>>,
        recorded: Option<Box<Recorded>>,
    ) -> Self {
        Self {
            body,
            in_flight,
            entry,
            recorded,
        }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.note_piece(matches!(polled, Poll::Ready(Some(Ok(_)))));
        }
        if let Some(entry) = &mut self.entry {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => entry.add_bytes(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(Some(Err(_))) => entry.break_off(),
                _ => {}
            }
        }
        if let (Some(recorded), Poll::Ready(Some(Err(_)))) = (&mut self.recorded, &polled) {
            recorded.broke_off();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            entry.write();
        }
    }
}
