//! A raw-socket HTTP/1.1 client: it sends the bytes it is given, right or wrong, and reads what comes back.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::wire::{BodyLength, MessageReader, body_length, header_lines};

/// Longer than any answer takes; shorter than a person's patience with a test that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    reader: MessageReader,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line and header fields, raw, up to and including the empty line.
    pub head: Vec<u8>,
    /// The header fields in order, names as they were written.
    pub headers: Vec<(String, String)>,
    /// The body as it came, chunk framing included.
    pub raw_body: Vec<u8>,
    /// The body without chunk framing.
    pub body: Vec<u8>,
}

/// Sends `bytes` on a connection of its own and reads one answer; `None` where the peer closed without one.
pub fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Result<Option<Answer>> {
    let mut client = Client::connect(address)?;
    client.send(bytes)?;
    client.read()
}

impl Client {
    /// Connects; reads and writes give up after 20 seconds.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            reader: MessageReader::default(),
        })
    }

    /// Writes `bytes`. A peer that has closed already is no error here: its answer may still be there to read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        match self.stream.write_all(bytes.as_ref()) {
            Err(error) if !is_close(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) -> Result<()> {
        match self.stream.shutdown(Shutdown::Write) {
            // The other side has ended it already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Reads the next answer, interim ones (100) too; `None` where the peer closed, or reset, before it began.
    pub fn read(&mut self) -> Result<Option<Answer>> {
        self.read_answer(false)
    }

    /// [`Self::read`] for the answer to a HEAD request, which has no body whatever its headers say.
    pub fn read_head(&mut self) -> Result<Option<Answer>> {
        self.read_answer(true)
    }

    /// Waits for the peer's close. False where it sent something instead.
    pub fn closed(&mut self) -> Result<bool> {
        match self.reader.head(&mut self.stream) {
            Ok(None) => Ok(true),
            Err(error) if is_close(&error) => Ok(self.reader.peek().is_empty()),
            Ok(Some(_)) => Ok(false),
            Err(error) => Err(error).context("waiting for the close"),
        }
    }

    fn read_answer(&mut self, no_body: bool) -> Result<Option<Answer>> {
        let head = match self.reader.head(&mut self.stream) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(None),
            Err(error) if is_close(&error) && self.reader.peek().is_empty() => return Ok(None),
            Err(error) => return Err(error).context("reading an answer's head"),
        };
        let bytes = &self.reader.peek()[..head];
        let status = status(bytes)?;
        let length = body_length(bytes);
        let end = if no_body || matches!(status, 100..=199 | 204 | 304) {
            head
        } else if length == BodyLength::NotSaid {
            self.reader.until_close(&mut self.stream)?
        } else {
            self.reader
                .body_end(&mut self.stream, head, length)
                .context("reading an answer's body")?
        };
        let mut head_bytes = self.reader.take(end);
        let raw_body = head_bytes.split_off(head);
        let body = if length == BodyLength::Chunked {
            unchunk(&raw_body)
        } else {
            raw_body.clone()
        };
        Ok(Some(Answer {
            status,
            headers: header_lines(&head_bytes),
            head: head_bytes,
            raw_body,
            body,
        }))
    }
}

impl Answer {
    /// All values of one header field, by its name in any case.
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        let same_name = |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .filter(same_name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The first value of one header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).first().copied()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }
}

fn status(head: &[u8]) -> Result<u16> {
    let text = String::from_utf8_lossy(head);
    let line = text.split("\r\n").next().unwrap_or_default();
    let code = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1));
    code.and_then(|code| code.parse().ok())
        .with_context(|| format!("not a status line: {line}"))
}

fn unchunk(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|window| window == b"\r\n") {
        let text = String::from_utf8_lossy(&raw[..end]);
        let size = text
            .split(';')
            .next()
            .and_then(|size| usize::from_str_radix(size.trim(), 16).ok())
            .unwrap_or(0);
        let Some(chunk) = raw.get(end + 2..end + 2 + size).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        body.extend_from_slice(chunk);
        raw = raw.get(end + 4 + size..).unwrap_or_default();
    }
    body
}

/// A close and a reset are the same news to a client that is being refused.
fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted
    )
}
