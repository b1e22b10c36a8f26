//! Where HTTP/1.1 messages end, RFC 9112 section 6.

use std::io::{self, Read};

/// How the length of a message's body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLength {
    Bytes(usize),
    Chunked,
    /// Neither header: nothing in a request, everything up to the close in an answer.
    NotSaid,
}

/// Reads messages off one connection, keeping what came after the end of the last.
#[derive(Debug, Default)]
pub(crate) struct MessageReader {
    buffer: Vec<u8>,
}

impl MessageReader {
    /// The raw bytes of the next request, or `None` where the peer closed before one began.
    pub(crate) fn request(&mut self, stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
        let Some(head) = self.head(stream)? else {
            return Ok(None);
        };
        let end = self.body_end(stream, head, body_length(&self.buffer[..head]))?;
        Ok(Some(self.buffer.drain(..end).collect()))
    }

    /// Reads up to and including the empty line; gives its end. `None` where the peer closed before the first byte.
    pub(crate) fn head(&mut self, stream: &mut impl Read) -> io::Result<Option<usize>> {
        loop {
            if let Some(end) = find_head_end(&self.buffer) {
                return Ok(Some(end));
            }
            if !self.fill(stream)? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Reads the body that begins at `head`; gives its end.
    pub(crate) fn body_end(
        &mut self,
        stream: &mut impl Read,
        head: usize,
        length: BodyLength,
    ) -> io::Result<usize> {
        match length {
            BodyLength::NotSaid => Ok(head),
            BodyLength::Bytes(count) => {
                self.fill_to(stream, head + count)?;
                Ok(head + count)
            }
            BodyLength::Chunked => self.chunks_end(stream, head),
        }
    }

    /// Reads everything up to the close; gives its end.
    pub(crate) fn until_close(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        while self.fill(stream)? {}
        Ok(self.buffer.len())
    }

    /// Takes the first `end` bytes.
    pub(crate) fn take(&mut self, end: usize) -> Vec<u8> {
        self.buffer.drain(..end).collect()
    }

    pub(crate) fn peek(&self) -> &[u8] {
        &self.buffer
    }

    fn chunks_end(&mut self, stream: &mut impl Read, mut at: usize) -> io::Result<usize> {
        loop {
            let line_end = self.line_end(stream, at)?;
            let size = chunk_size(&self.buffer[at..line_end])?;
            at = line_end;
            if size == 0 {
                return self.trailers_end(stream, at);
            }
            at += size + 2;
            self.fill_to(stream, at)?;
        }
    }

    fn trailers_end(&mut self, stream: &mut impl Read, mut at: usize) -> io::Result<usize> {
        loop {
            let end = self.line_end(stream, at)?;
            if end - at == 2 {
                return Ok(end);
            }
            at = end;
        }
    }

    /// The end, CR LF included, of the line that begins at `at`.
    fn line_end(&mut self, stream: &mut impl Read, at: usize) -> io::Result<usize> {
        loop {
            if let Some(found) = find(self.buffer.get(at..).unwrap_or_default(), b"\r\n") {
                return Ok(at + found + 2);
            }
            if !self.fill(stream)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill_to(&mut self, stream: &mut impl Read, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            if !self.fill(stream)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads some more; false at the peer's close.
    fn fill(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        let count = stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count > 0)
    }
}

/// The end of the head, its empty line included.
pub(crate) fn find_head_end(bytes: &[u8]) -> Option<usize> {
    find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// What a head says of its body: chunked wins over Content-Length, as RFC 9112 section 6.3 has it.
pub(crate) fn body_length(head: &[u8]) -> BodyLength {
    let value_of = |wanted: &str| {
        header_lines(head)
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
    };
    if value_of("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked")) {
        return BodyLength::Chunked;
    }
    value_of("content-length")
        .and_then(|value| value.parse().ok())
        .map_or(BodyLength::NotSaid, BodyLength::Bytes)
}

/// The header fields of a head as they were written, without the first line.
pub(crate) fn header_lines(head: &[u8]) -> Vec<(String, String)> {
    String::from_utf8_lossy(head)
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn chunk_size(line: &[u8]) -> io::Result<usize> {
    let text = String::from_utf8_lossy(line);
    let size = text.split([';', '\r']).next().unwrap_or_default().trim();
    usize::from_str_radix(size, 16).map_err(io::Error::other)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
