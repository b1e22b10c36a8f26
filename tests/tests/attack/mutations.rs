//! Good messages with something done to them, at random: whatever becomes of it, what arrives behind a rule that asks
//! for a token has one, and no fault of a client is a fault of the gateway's.
//!
//! Each run is another one. What fails is shown whole, to be made a case of its own.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use splittoken_tests::frames::{self, Frame, PREFACE, bytes};
use splittoken_tests::gate::Gate;
use splittoken_tests::secret;
use splittoken_tests::wire::Request;

use super::http2::Hall;
use super::strict_and_lenient;

/// How many of each kind.
const NUMBER: usize = 800;

/// What makes a difference to parsers.
const SPECIAL: &[u8] =
    b"\r\n\0\t :;,/\\%.?#@&=+-_'\"()<>[]{}|0123456789abcdefxXGETPOST\x0b\x0c\x1b\x7f\x80\xa0\xff";

/// Random numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = u64::from_le_bytes(secret::bytes()) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    /// One below `end` (xorshift, which is random enough).
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap_or(0)
    }

    /// One to four changes, none of them before `from`.
    fn mutate(&mut self, message: &[u8], from: usize) -> Vec<u8> {
        let mut bytes = message.to_vec();
        for _ in 0..=self.below(4) {
            let at = from + self.below(bytes.len() - from);
            let special = SPECIAL[self.below(SPECIAL.len())];
            match self.below(6) {
                0 => bytes[at] = special,
                1 => bytes.insert(at, special),
                2 if bytes.len() > from + 10 => drop(bytes.remove(at)),
                3 => bytes[at] ^= 1 << self.below(8),
                4 => self.repeat(&mut bytes, at),
                _ => self.repeat_line(&mut bytes, from),
            }
        }
        bytes
    }

    /// Some bytes once more, behind themselves.
    fn repeat(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let end = bytes.len().min(at + 1 + self.below(40));
        let piece = bytes[at..end].to_vec();
        bytes.splice(end..end, piece);
    }

    /// A line from one place put in another.
    fn repeat_line(&mut self, bytes: &mut Vec<u8>, from: usize) {
        let ends: Vec<usize> = (from..bytes.len())
            .filter(|at| bytes[*at] == b'\n')
            .map(|at| at + 1)
            .collect();
        if ends.len() < 2 {
            return;
        }
        let first = self.below(ends.len() - 1);
        let line = bytes[ends[first]..ends[first + 1]].to_vec();
        let to = ends[self.below(ends.len())];
        bytes.splice(to..to, line);
    }
}

/// Sends it all, and reads until the other side closes; nothing more is sent once nothing comes for a moment.
fn exchange(gate: &Gate, sent: &[u8]) -> Result<Vec<u8>> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(gate.stand.gateway.address())?;
    stream.set_read_timeout(Some(Duration::from_millis(40)))?;
    // It may be closed before all of it is there.
    let _ = stream.write_all(sent);
    let (mut received, mut chunk) = (Vec::new(), [0; 4096]);
    while start.elapsed() < Duration::from_secs(20) {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(received),
            Ok(count) => received.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let _ = stream.shutdown(Shutdown::Write);
            }
            Err(_) => return Ok(received),
        }
    }
    anyhow::bail!("the connection goes on")
}

/// What every request that arrives has to be.
fn is_allowed(gate: &Gate, request: &Request) -> Result<()> {
    let (target, tokens) = (request.target(), request.header_all("authorization"));
    let path = target.split('?').next().unwrap_or_default();
    let is_below = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_open = is_below("/public") || is_below("/items") && request.method() == "GET";
    let has_token = tokens == [gate.token.restored()];
    ensure!(
        has_token || is_open && tokens.is_empty(),
        "it arrived with {} tokens",
        tokens.len()
    );
    ensure!(target.starts_with('/') && !is_below("/admin"), "it arrived");
    ensure!(
        request.header_all("host").len() == 1,
        "it arrived with more or less than one Host"
    );
    ensure!(
        request.header_all("x-forwarded-for") == ["127.0.0.1"],
        "it arrived from elsewhere"
    );
    let framings = request.header_all("content-length").len() + request.header_all("transfer-encoding").len();
    ensure!(framings <= 1, "it arrived with two framings");
    Ok(())
}

/// What has arrived since the last look, and a good request with it. On a busy machine what was given up may arrive after
/// that, and is judged the next time.
fn arrived(gate: &Gate) -> Result<Vec<Request>> {
    let answer = gate.stand.get("/good", &gate.token)?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    let arrived = gate.stand.upstream.take();
    let is_there = arrived.iter().any(|request| request.target() == "/good");
    ensure!(is_there, "the good request did not arrive: {arrived:?}");
    Ok(arrived)
}

fn judge(gate: &Gate, sent: &[u8]) -> Result<()> {
    let judged = || {
        let received = exchange(gate, sent)?;
        let text = String::from_utf8_lossy(&received).into_owned();
        ensure!(!text.contains("HTTP/1.1 5"), "answered with {text}");
        arrived(gate)?
            .iter()
            .try_for_each(|request| is_allowed(gate, request))
    };
    judged().map_err(|error| error.context(format!("{}", sent.escape_ascii())))
}

#[test]
fn mutated_requests_get_no_further_than_good_ones() -> Result<()> {
    let gate = strict_and_lenient()?;
    let messages = [
        "GET /a?b=c HTTP/1.1⏎Host: {host}⏎{auth}⏎User-Agent: x⏎Accept: */*⏎⏎",
        "GET /public/a HTTP/1.1⏎Host: {host}⏎User-Agent: x⏎X-User-Id: x⏎⏎",
        "GET /admin HTTP/1.1⏎Host: {host}⏎{auth}⏎Connection: keep-alive⏎⏎",
        "POST /a HTTP/1.1⏎Host: {host}⏎{auth}⏎Content-Length: 11⏎Content-Type: text/plain⏎⏎hello there",
        "POST /a HTTP/1.1⏎Host: {host}⏎{auth}⏎Transfer-Encoding: chunked⏎⏎5⏎hello⏎6;x=y⏎ there⏎0⏎X: y⏎⏎",
        "GET http://{host}/a HTTP/1.1⏎Host: {host}⏎{auth}⏎X-Forwarded-For: 6.6.6.6⏎⏎",
        "DELETE /items/1 HTTP/1.1⏎Host: {host}⏎⏎GET /items/1 HTTP/1.1⏎Host: {host}⏎⏎",
        "POST /public HTTP/1.1⏎Host: {host}⏎Content-Length: 31⏎⏎GET /admin HTTP/1.1⏎Host: x⏎⏎⏎GET /a HTTP/1.1⏎Host: {host}⏎⏎",
    ]
    .map(|message| gate.bytes(message));
    let mut dice = Dice::new();
    println!("{NUMBER} cases");
    for number in 0..NUMBER {
        judge(&gate, &dice.mutate(&messages[number % messages.len()], 0))?;
    }
    Ok(())
}

#[test]
fn mutated_frames_get_no_further_than_good_ones() -> Result<()> {
    let hall = Hall::open()?;
    let post = Frame::headers(
        3,
        hall.changed(&[(":method", Some("POST")), ("content-length", Some("5"))]),
    );
    let admin = Frame::headers(5, hall.changed(&[(":path", Some("/admin"))])).last();
    let open = hall.changed(&[(":path", Some("/public/a")), ("authorization", None)]);
    let hello = [
        PREFACE.to_vec(),
        bytes(&[Frame::settings(&[(1, 0), (4, 70_000)])]),
    ]
    .concat();
    let messages = [
        vec![hall.request(1)],
        vec![
            hall.request(1),
            post,
            Frame::new(frames::DATA, 3, b"hello".to_vec()).last(),
        ],
        vec![admin],
        vec![
            Frame::headers(1, open).last(),
            Frame::window(0, 5),
            Frame::new(frames::PING, 0, [0; 8]),
        ],
        vec![hall.request(1), Frame::cancel(1), hall.request(3)],
    ]
    .map(|message: Vec<Frame>| [hello.clone(), bytes(&message)].concat());
    let mut dice = Dice::new();
    println!("{NUMBER} cases");
    for number in 0..NUMBER {
        judge(
            &hall.gate,
            &dice.mutate(&messages[number % messages.len()], PREFACE.len()),
        )?;
    }
    Ok(())
}
