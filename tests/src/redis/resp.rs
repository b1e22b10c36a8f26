//! RESP 2, as much as a test needs: a second opinion that does not depend on the client library under test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Much longer than any command here takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What Redis answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A simple or bulk string.
    Bytes(Vec<u8>),
    /// An integer.
    Integer(i64),
    /// An array.
    Items(Vec<Reply>),
    /// Null.
    Nil,
    /// An error, as in `NOAUTH Authentication required.`
    Error(String),
}

/// One connection, without TLS.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects; reads give up after 5 seconds.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Runs a command; an error reply is an error.
    pub fn command(&mut self, words: &[&str]) -> Result<Reply> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.command_bytes(&words)
    }

    /// [`Self::command`] with words that need not be UTF-8.
    pub fn command_bytes(&mut self, words: &[&[u8]]) -> Result<Reply> {
        match self.exchange(words)? {
            // The command itself may hold a password.
            Reply::Error(message) => bail!("Redis: {message}"),
            reply => Ok(reply),
        }
    }

    /// Runs a command and gives the reply, whatever it is.
    pub fn send(&mut self, words: &[&str]) -> Result<Reply> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.exchange(&words)
    }

    /// From now on reads wait until something comes, or Redis ends.
    pub(super) fn wait_for_ever(&self) -> Result<()> {
        Ok(self.stream.get_ref().set_read_timeout(None)?)
    }

    /// The next line that Redis sends by itself, after `MONITOR`; `None` when nothing came for 5 seconds, or at its end.
    pub fn receive(&mut self) -> Option<Reply> {
        self.read().ok()
    }

    fn exchange(&mut self, words: &[&[u8]]) -> Result<Reply> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&bytes)?;
        self.read()
    }

    fn read(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).context("Redis closed the connection")?;
        Ok(match kind {
            "+" => Reply::Bytes(rest.as_bytes().to_vec()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(rest.parse()?),
            "$" | "*" if rest == "-1" => Reply::Nil,
            "$" => Reply::Bytes(self.bulk(rest.parse()?)?),
            "*" => Reply::Items(
                (0..rest.parse()?)
                    .map(|_: usize| self.read())
                    .collect::<Result<_>>()?,
            ),
            _ => bail!("not RESP 2: {line}"),
        })
    }

    fn bulk(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl Reply {
    /// A string's bytes; an integer's digits; an array's members joined by line feeds; nothing for null.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Integer(number) => number.to_string().into_bytes(),
            Self::Items(items) => items
                .into_iter()
                .map(Self::bytes)
                .collect::<Vec<_>>()
                .join(&b'\n'),
            Self::Nil => Vec::new(),
            Self::Error(message) => message.into_bytes(),
        }
    }

    /// [`Self::bytes`] as text.
    pub fn text(self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// An array's members; anything else is one member.
    pub fn items(self) -> Vec<Self> {
        match self {
            Self::Items(items) => items,
            Self::Nil => Vec::new(),
            one => vec![one],
        }
    }
}
