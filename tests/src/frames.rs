//! HTTP/2 frame by frame (RFC 9113), right or wrong, as no library would send it.

mod hpack;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub use hpack::{block, field, status};

/// Longer than any answer takes; shorter than a person's patience with a test that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (§6).
pub const DATA: u8 = 0;
/// Header fields, or the first of them.
pub const HEADERS: u8 = 1;
/// Which stream waits for which; deprecated.
pub const PRIORITY: u8 = 2;
/// The end of one stream.
pub const RST_STREAM: u8 = 3;
/// What the sender can take.
pub const SETTINGS: u8 = 4;
/// A promise, which only servers make.
pub const PUSH_PROMISE: u8 = 5;
/// Are you there?
pub const PING: u8 = 6;
/// The end of the connection.
pub const GOAWAY: u8 = 7;
/// Room for more data.
pub const WINDOW_UPDATE: u8 = 8;
/// More header fields.
pub const CONTINUATION: u8 = 9;

/// Flag: nothing else comes on this stream.
pub const END_STREAM: u8 = 1;
/// Flag: a SETTINGS or PING is the answer to one.
pub const ACK: u8 = 1;
/// Flag: no CONTINUATION follows.
pub const END_HEADERS: u8 = 4;
/// Flag: the payload begins with the length of padding.
pub const PADDED: u8 = 8;
/// Flag: the payload begins with a priority.
pub const PRIORITIZED: u8 = 32;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// What it holds.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame without flags.
    pub fn new(kind: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags: 0,
            stream,
            payload: payload.into(),
        }
    }

    /// Sets flags.
    #[must_use]
    pub fn flags(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    /// A whole header block.
    pub fn headers(stream: u32, block: impl Into<Vec<u8>>) -> Self {
        Self::new(HEADERS, stream, block).flags(END_HEADERS)
    }

    /// The last frame of its stream.
    #[must_use]
    pub fn last(self) -> Self {
        self.flags(END_STREAM)
    }

    /// An end of a stream by its client: CANCEL.
    pub fn cancel(stream: u32) -> Self {
        Self::new(RST_STREAM, stream, 8_u32.to_be_bytes())
    }

    /// SETTINGS of these numbers and values.
    pub fn settings(pairs: &[(u16, u32)]) -> Self {
        let mut payload = Vec::new();
        for (number, value) in pairs {
            payload.extend(number.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        Self::new(SETTINGS, 0, payload)
    }

    /// Room for so many bytes more.
    pub fn window(stream: u32, bytes: u32) -> Self {
        Self::new(WINDOW_UPDATE, stream, bytes.to_be_bytes())
    }

    /// Its bytes, with a length that is right.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// The bytes of some frames.
pub fn bytes(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).collect()
}

/// What becomes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this status.
    Status(u16),
    /// The end of the stream, with this error.
    Reset(u32),
    /// The end of the connection, with this error.
    GoAway(u32),
    /// The end of the connection without a word.
    Closed,
}

/// A connection.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Frames {
    /// Connects, and begins as a good client does.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::connect_with(address, &[])
    }

    /// [`Self::connect`] with these settings. None of them lets the other side refer to earlier header fields.
    pub fn connect_with(address: SocketAddr, settings: &[(u16, u32)]) -> Result<Self> {
        let mut client = Self::open(address)?;
        let settings = [&[(1, 0)], settings].concat();
        client.write([PREFACE, &Frame::settings(&settings).bytes()].concat())?;
        Ok(client)
    }

    /// Connects, and says nothing yet.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// Another limit for reads.
    pub fn patience(&self, limit: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(limit))?)
    }

    /// Another limit for writes.
    pub fn write_patience(&self, limit: Duration) -> Result<()> {
        Ok(self.stream.set_write_timeout(Some(limit))?)
    }

    /// Writes bytes. Fails where the other side has closed, or takes nothing more.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        Ok(self.stream.write_all(bytes.as_ref())?)
    }

    /// Writes frames. That the other side has closed shows when it is read.
    pub fn send(&mut self, frames: &[Frame]) {
        // What it said before is still to be read.
        let _ = self.write(bytes(frames));
    }

    /// The next frame; `None` after the end of the connection.
    pub fn read(&mut self) -> Result<Option<Frame>> {
        if !self.fill(9)? {
            return Ok(None);
        }
        let length = u32::from_be_bytes([0, self.received[0], self.received[1], self.received[2]]);
        let length = usize::try_from(length)?;
        if !self.fill(9 + length)? {
            return Ok(None);
        }
        let frame: Vec<u8> = self.received.drain(..9 + length).collect();
        Ok(Some(Frame {
            kind: frame[3],
            flags: frame[4],
            stream: u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]) & 0x7fff_ffff,
            payload: frame[9..].to_vec(),
        }))
    }

    /// Reads until it is known what becomes of a stream. PINGs and SETTINGS are answered.
    pub fn outcome(&mut self, stream: u32) -> Result<Outcome> {
        loop {
            let Some(frame) = self.read()? else {
                return Ok(Outcome::Closed);
            };
            match frame.kind {
                HEADERS if frame.stream == stream => return Ok(Outcome::Status(status(&frame.payload)?)),
                RST_STREAM if frame.stream == stream => return Ok(Outcome::Reset(error_of(&frame, 0)?)),
                // A good-bye without an error is for new streams only.
                GOAWAY if error_of(&frame, 4)? != 0 => return Ok(Outcome::GoAway(error_of(&frame, 4)?)),
                SETTINGS | PING if frame.flags & ACK == 0 => self.acknowledge(frame),
                _ => {}
            }
        }
    }

    /// Reads to the end of the connection; gives the error that it was closed with, if any.
    pub fn end(&mut self) -> Result<Option<u32>> {
        let mut error = None;
        while let Some(frame) = self.read()? {
            if frame.kind == GOAWAY {
                error = Some(error_of(&frame, 4)?);
            }
        }
        Ok(error)
    }

    /// The error that the connection was closed with, if that is known by now.
    pub fn gone(&mut self) -> Result<Option<u32>> {
        self.patience(Duration::from_millis(100))?;
        let gone = loop {
            match self.read() {
                Ok(Some(frame)) if frame.kind == GOAWAY => break Some(error_of(&frame, 4)?),
                Ok(Some(_)) => {}
                // Nothing more comes, or not now.
                Ok(None) | Err(_) => break None,
            }
        };
        self.patience(PATIENCE)?;
        Ok(gone)
    }

    fn acknowledge(&mut self, frame: Frame) {
        let payload = if frame.kind == PING {
            frame.payload
        } else {
            Vec::new()
        };
        self.send(&[Frame::new(frame.kind, 0, payload).flags(ACK)]);
    }

    /// Reads until there are so many bytes; false at the end.
    fn fill(&mut self, length: usize) -> Result<bool> {
        let mut chunk = [0; 16 * 1024];
        while self.received.len() < length {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error).context("reading a frame"),
            }
        }
        Ok(true)
    }
}

fn error_of(frame: &Frame, at: usize) -> Result<u32> {
    match frame.payload.get(at..at + 4) {
        Some(&[a, b, c, d]) => Ok(u32::from_be_bytes([a, b, c, d])),
        _ => bail!("a short frame: {frame:?}"),
    }
}
