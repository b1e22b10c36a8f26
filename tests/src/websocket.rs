//! The server's side of WebSocket (RFC 6455), as far as a gateway sees it: a handshake, and bytes both ways.

use std::io::{Read as _, Write as _};
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

/// An upstream that answers every handshake in one way. Where that is 101, it gives back the head that it was sent, and
/// then all that it gets, in upper case.
pub struct Loud {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Loud {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(answer: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, heads) = (listener.local_addr()?, Arc::<Mutex<Vec<String>>>::default());
        let kept = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || shout(stream, answer, &kept));
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

/// The head comes back first, so that a test sees what the upstream saw.
fn shout(mut stream: TcpStream, answer: &str, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
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
    if !answer.starts_with("HTTP/1.1 101") {
        return Ok(());
    }
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

/// The first value of a header field.
pub fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim())
}

/// Reads up to the end of a head, or of what comes.
pub fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
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
