//! The server's side of WebSocket (RFC 6455), as far as a gateway sees it: a handshake, and bytes both ways.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a server says that agrees; `{accept}` stands for what the handshake's key wants to be answered.
pub const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                          Sec-WebSocket-Accept: {accept}\r\nX-Seen: yes\r\n\r\n";

/// What answers a key (RFC 6455 §4.2.2).
pub fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// An upstream that answers every handshake in one way and, where that is 101, gives back all that it gets, in upper case.
pub struct Loud {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

/// What follows a handshake, whose head this is.
type Shout = fn(TcpStream, &str) -> io::Result<()>;

impl Loud {
    /// Gives back bytes, whatever they are, and first of all the head that it was sent: so a test sees what the upstream
    /// saw. Listens on a free port of 127.0.0.1.
    pub fn start(answer: &'static str) -> Result<Self> {
        Self::shouting(answer, shout_bytes)
    }

    /// Gives back messages (RFC 6455 §5), each as a whole, and the end of the conversation.
    pub fn of_messages() -> Result<Self> {
        Self::shouting(AGREED, |stream, _| shout_messages(stream))
    }

    /// Agrees, and neither says anything nor ends, whatever the other side does.
    pub fn that_stays() -> Result<Self> {
        Self::shouting(AGREED, |mut stream, _| {
            io::copy(&mut stream, &mut io::sink())?;
            loop {
                thread::park();
            }
        })
    }

    /// As [`Self::start`], but nothing is read of what follows a handshake for a path that ends with `/deaf`.
    pub fn that_may_be_deaf() -> Result<Self> {
        Self::shouting(AGREED, |mut stream, head| {
            if !head.contains("/deaf HTTP") {
                return shout_bytes(stream, head);
            }
            stream.write_all(head.as_bytes())?;
            loop {
                thread::park();
            }
        })
    }

    fn shouting(answer: &'static str, shout: Shout) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, heads) = (listener.local_addr()?, Arc::<Mutex<Vec<String>>>::default());
        let kept = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || serve(stream, answer, &kept, shout));
            }
        });
        Ok(Self { address, heads })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of all handshakes since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(mut stream: TcpStream, answer: &str, heads: &Mutex<Vec<String>>, shout: Shout) -> io::Result<()> {
    let head = read_head(&mut stream)?;
    if head.is_empty() {
        return Ok(());
    }
    heads
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(head.clone());
    let key = field(&head, "sec-websocket-key").unwrap_or_default();
    stream.write_all(answer.replace("{accept}", &accept(key)).as_bytes())?;
    if answer.starts_with("HTTP/1.1 101") {
        shout(stream, &head)
    } else {
        Ok(())
    }
}

fn shout_bytes(mut stream: TcpStream, head: &str) -> io::Result<()> {
    stream.write_all(head.as_bytes())?;
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return stream.shutdown(Shutdown::Write);
        }
        stream.write_all(&buffer[..length].to_ascii_uppercase())?;
    }
}

/// Flag: the last frame of a message.
const FINAL: u8 = 0x80;
/// Kinds of frames.
const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

fn shout_messages(mut stream: TcpStream) -> io::Result<()> {
    let (mut kind, mut message) = (CONTINUATION, Vec::new());
    loop {
        let (first, payload) = read_frame(&mut stream)?;
        match first & 0x0f {
            CLOSE => {
                write_frame(&mut stream, CLOSE, &payload)?;
                return stream.shutdown(Shutdown::Write);
            }
            PING => write_frame(&mut stream, PONG, &payload)?,
            PONG => {}
            begins => {
                if begins != CONTINUATION {
                    kind = begins;
                }
                message.extend(payload);
                if first & FINAL != 0 {
                    let whole = std::mem::take(&mut message);
                    write_frame(&mut stream, kind, &whole.to_ascii_uppercase())?;
                }
            }
        }
    }
}

/// A client's frame: its first byte, and its payload, which is masked.
fn read_frame(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let [first, length] = read_array(stream)?;
    if length & 0x80 == 0 {
        return Err(io::Error::other("a client's frame is masked"));
    }
    let length = match length & 0x7f {
        126 => u16::from_be_bytes(read_array(stream)?).into(),
        127 => u64::from_be_bytes(read_array(stream)?),
        length => length.into(),
    };
    let mask: [u8; 4] = read_array(stream)?;
    let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    stream.read_exact(&mut payload)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((first, payload))
}

fn write_frame(stream: &mut TcpStream, kind: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![FINAL | kind];
    // The shortest form that a length has.
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame)
}

fn read_array<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The first value of a header field.
pub fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim())
}

/// Reads up to the end of a head, or of what comes.
pub fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            break;
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §1.3.
    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
