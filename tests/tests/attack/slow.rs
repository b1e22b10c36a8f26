//! Clients that take their time, each in its own way and all at once; the longest is given eighty seconds.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::certs::Authority;
use splittoken_tests::frames::{CONTINUATION, Frame, Frames, HEADERS, Outcome, PING, block};
use splittoken_tests::gate::Gate;
use splittoken_tests::ports;
use splittoken_tests::raw;
use splittoken_tests::route::Route;
use splittoken_tests::stand::{Addresses, Stand};
use splittoken_tests::tls::Session;
use splittoken_tests::wire::{Step, answer};
use tempfile::TempDir;

use crate::witness::beside;

/// More than the sockets between two programs hold.
const LARGE: usize = 30_000_000;

/// Longer than any of them has.
const LIMIT: Duration = Duration::from_secs(120);

/// A gateway that speaks everything.
struct Place {
    gate: Gate,
    authority: Authority,
    tls: SocketAddr,
    _folder: TempDir,
}

/// The time between two pieces of a body is short on one path.
fn routes(to: &Addresses) -> String {
    let backends = json!([{"url": to.upstream}]);
    let rules = json!([
        {"name": "idle", "matches": [{"path": {"value": "/idle"}}], "timeouts": {"idle": "3s"}, "backendRefs": backends},
        {"name": "rest", "backendRefs": backends},
    ]);
    Route::new(&to.issuer, &to.upstream)
        .spec(&json!({"rules": rules}))
        .into()
}

impl Place {
    fn open() -> Result<Self> {
        let (authority, folder) = (Authority::new()?, tempfile::tempdir()?);
        authority.certify(&["a.example"])?.mount(folder.path())?;
        let tls = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let (listen, certificates) = (tls.to_string(), folder.path().display().to_string());
        let arguments = [
            "--http2-cleartext",
            "--tls-listen",
            &listen,
            "--tls-certificates",
            &certificates,
        ];
        let stand = Stand::built(routes, |gateway| gateway.arguments(&arguments).log("info"))?;
        stand.upstream.script(|request| match request.target().as_str() {
            "/large" => vec![Step::Send(answer("200 OK", &[], vec![b'x'; LARGE]))],
            "/megabyte" => vec![Step::Send(answer("200 OK", &[], vec![b'x'; 1_000_000]))],
            "/pause" => vec![
                Step::send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
                Step::Wait(Duration::from_secs(70)),
                Step::send("world"),
            ],
            _ => vec![Step::Send(answer("200 OK", &[], "ok"))],
        });
        Ok(Self {
            gate: Gate::of(stand)?,
            authority,
            tls,
            _folder: folder,
        })
    }

    fn address(&self) -> SocketAddr {
        self.gate.stand.gateway.address()
    }

    fn fields(&self, method: &str, path: &str) -> Vec<u8> {
        let bearer = format!("Bearer {}", self.gate.token.opaque);
        block(&[
            (":method", method),
            (":scheme", "http"),
            (":path", path),
            (":authority", &self.gate.stand.gateway.host()),
            ("authorization", &bearer),
        ])
    }

    fn get(&self, stream: u32, path: &str) -> Frame {
        Frame::headers(stream, self.fields("GET", path)).last()
    }

    /// A connection of HTTP/2 with these frames sent, and then what `drip` does each second.
    fn frames(
        &self,
        window: u32,
        frames: &[Frame],
        mut drip: impl FnMut(&mut Frames, u32),
    ) -> Result<Duration> {
        let start = Instant::now();
        let mut client = Frames::connect_with(self.address(), &[(4, window)])?;
        client.send(frames);
        client.patience(Duration::from_secs(1))?;
        let mut seconds = 0;
        while start.elapsed() < LIMIT {
            match client.read() {
                Ok(None) => return Ok(start.elapsed()),
                Ok(Some(_)) => {}
                Err(_) => {
                    seconds += 1;
                    drip(&mut client, seconds);
                }
            }
        }
        anyhow::bail!("it goes on")
    }

    /// Sends a case and waits for its answer, which must have this status, or for the end.
    fn answered(&self, case: &str, status: u16) -> Result<Duration> {
        let start = Instant::now();
        let mut client = raw::Client::connect(self.address())?;
        client.send(self.gate.bytes(case))?;
        let answer = client.read()?.context("closed without an answer")?;
        ensure!(answer.status == status, "{}: {}", answer.status, answer.text());
        Ok(start.elapsed())
    }

    /// Reads nothing for longer than that is allowed; then there is not all of it.
    fn unread(&self, bytes: &[u8]) -> Result<Duration> {
        let start = Instant::now();
        let mut stream = TcpStream::connect(self.address())?;
        stream.write_all(bytes)?;
        thread::sleep(Duration::from_secs(80));
        let mut received = Vec::new();
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        match stream.read_to_end(&mut received) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => return Err(error.into()),
            _ => {}
        }
        ensure!(
            received.len() < LARGE,
            "all of it was kept: {} bytes",
            received.len()
        );
        Ok(start.elapsed())
    }
}

/// Sends a byte of `bytes` each second, and then nothing, until the other side closes.
fn drips(address: SocketAddr, bytes: &[u8]) -> Result<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    let mut rest = bytes.iter();
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    while start.elapsed() < LIMIT {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return Ok(start.elapsed()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return Ok(start.elapsed());
            }
            _ => {}
        }
        if let Some(byte) = rest.next()
            && stream.write_all(&[*byte]).is_err()
        {
            return Ok(start.elapsed());
        }
    }
    anyhow::bail!("it goes on")
}

/// What one does, and how long it lasts in seconds.
type Slow<'s> = (
    &'s str,
    [u64; 2],
    Box<dyn Fn(&Place) -> Result<Duration> + Send + Sync>,
);

fn slow_clients() -> Vec<Slow<'static>> {
    let silent = |_: &mut Frames, _: u32| {};
    let pings = |client: &mut Frames, _: u32| client.send(&[Frame::new(PING, 0, [0; 8])]);
    vec![
        (
            "HTTP/1.1: a head of a byte a second",
            [4, 20],
            Box::new(|place| {
                drips(
                    place.address(),
                    &place.gate.bytes("GET /a HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎"),
                )
            }),
        ),
        (
            "HTTP/1.1: a body that does not go on",
            [2, 20],
            Box::new(|place| {
                place.answered(
                    "POST /idle HTTP/1.1⏎Host: {host}⏎{auth}⏎Content-Length: 9⏎⏎abc",
                    400,
                )
            }),
        ),
        (
            "HTTP/1.1: chunks that do not go on",
            [2, 20],
            Box::new(|place| {
                place.answered(
                    "POST /idle HTTP/1.1⏎Host: {host}⏎{auth}⏎Transfer-Encoding: chunked⏎⏎3⏎abc⏎",
                    400,
                )
            }),
        ),
        (
            "HTTP/1.1: a token request that does not go on",
            [9, 30],
            Box::new(|place| {
                let kind = "Content-Type: application/x-www-form-urlencoded";
                place.answered(
                    &format!(
                        "POST /oauth/token HTTP/1.1⏎Host: {{host}}⏎{kind}⏎Content-Length: 99⏎⏎grant_type="
                    ),
                    400,
                )
            }),
        ),
        (
            "HTTP/1.1: an answer that is not read",
            [60, 110],
            Box::new(|place| place.unread(&place.gate.bytes("GET /large HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎"))),
        ),
        ("TLS: nothing", [4, 20], Box::new(|place| drips(place.tls, &[]))),
        (
            "TLS: a hello of a byte a second",
            [4, 20],
            Box::new(|place| {
                drips(
                    place.tls,
                    &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                )
            }),
        ),
        (
            "TLS: no request",
            [4, 20],
            Box::new(|place| {
                let start = Instant::now();
                let mut session = Session::connect(place.tls, place.authority.pem(), "a.example", &[])?;
                // Nothing is sent, and what is read is the end.
                session
                    .exchange("", |_| false)
                    .err()
                    .context("an answer to nothing")?;
                Ok(start.elapsed())
            }),
        ),
        (
            "HTTP/2: half a preface",
            [4, 20],
            Box::new(|place| drips(place.address(), b"PRI * HT")),
        ),
        (
            "HTTP/2: no request",
            [70, 100],
            Box::new(move |place| place.frames(65_535, &[], silent)),
        ),
        (
            "HTTP/2: no request, and PINGs",
            [70, 100],
            Box::new(move |place| place.frames(65_535, &[], pings)),
        ),
        (
            "HTTP/2: half a head",
            [70, 100],
            Box::new(move |place| {
                let half = Frame::new(HEADERS, 1, place.fields("GET", "/a"));
                place.frames(65_535, &[half], silent)
            }),
        ),
        (
            "HTTP/2: a head of a byte a second",
            [1, 100],
            Box::new(|place| {
                let begun = Frame::new(HEADERS, 1, place.fields("GET", "/a"));
                place.frames(65_535, &[begun], |client, second| {
                    let byte = [0, 1, b'x', 1, b'y'][(second as usize - 1) % 5];
                    client.send(&[Frame::new(CONTINUATION, 1, [byte])]);
                })
            }),
        ),
        (
            "HTTP/2: no room for an answer",
            [60, 90],
            Box::new(move |place| place.frames(0, &[place.get(1, "/megabyte")], silent)),
        ),
        (
            "HTTP/2: no room for an answer, and PINGs",
            [60, 90],
            Box::new(move |place| place.frames(0, &[place.get(1, "/megabyte")], pings)),
        ),
        (
            "HTTP/2: no room for a small answer, and PINGs",
            [60, 90],
            Box::new(move |place| place.frames(0, &[place.get(1, "/a")], pings)),
        ),
        (
            "HTTP/2: room for a byte a second",
            [60, 90],
            Box::new(|place| {
                place.frames(1, &[place.get(1, "/megabyte")], |client, _| {
                    client.send(&[Frame::window(1, 1)]);
                })
            }),
        ),
        (
            "HTTP/2: no room for one of many",
            [60, 90],
            Box::new(|place| {
                let open: Vec<Frame> = (0..50).map(|at| place.get(2 * at + 1, "/megabyte")).collect();
                let more = place.fields("GET", "/a");
                place.frames(5, &open, move |client, second| {
                    let next = 2 * (50 + second) + 1;
                    client.send(&[
                        Frame::headers(next, more.clone()).last(),
                        Frame::window(next, 100),
                    ]);
                })
            }),
        ),
        (
            "HTTP/2: an answer that is not read",
            [60, 110],
            Box::new(|place| {
                let most = 0x7fff_ffff;
                let frames = [
                    Frame::settings(&[(4, most)]),
                    Frame::window(0, most - 65_535),
                    place.get(1, "/large"),
                ];
                let sent = [
                    splittoken_tests::frames::PREFACE.to_vec(),
                    splittoken_tests::frames::bytes(&frames),
                ]
                .concat();
                place.unread(&sent)
            }),
        ),
        (
            "HTTP/2: a body that does not go on",
            [2, 20],
            Box::new(|place| {
                let start = Instant::now();
                let mut client = Frames::connect(place.address())?;
                client.send(&[
                    Frame::headers(1, place.fields("POST", "/idle")),
                    Frame::new(splittoken_tests::frames::DATA, 1, b"abc".to_vec()),
                ]);
                let outcome = client.outcome(1)?;
                ensure!(outcome == Outcome::Status(400), "{outcome:?}");
                Ok(start.elapsed())
            }),
        ),
    ]
}

#[test]
fn whoever_is_too_slow_is_not_waited_for() -> Result<()> {
    let place = Place::open()?;
    let clients = slow_clients();
    println!("{} cases", clients.len());
    beside(&place.gate, "slow clients", || {
        let outcomes: Vec<Result<()>> = thread::scope(|scope| {
            let threads: Vec<_> = clients
                .iter()
                .map(|(name, bounds, client)| scope.spawn(|| lasts(name, *bounds, client(&place))))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        let failed: Vec<String> = outcomes
            .into_iter()
            .filter_map(|outcome| Some(format!("{:#}", outcome.err()?)))
            .collect();
        ensure!(
            failed.is_empty(),
            "{} failed:\n{}",
            failed.len(),
            failed.join("\n")
        );
        Ok(())
    })
}

fn lasts(name: &str, [least, most]: [u64; 2], outcome: Result<Duration>) -> Result<()> {
    let lasted = outcome.with_context(|| name.to_owned())?;
    println!("{name}: over after {lasted:?}");
    let seconds = lasted.as_secs();
    ensure!((least..=most).contains(&seconds), "{name}: over after {lasted:?}");
    Ok(())
}

/// Slow for a reason: a slow reader who goes on reading, and an upstream that has nothing to say for a while.
#[test]
fn whoever_goes_on_is_waited_for() -> Result<()> {
    let place = Place::open()?;
    let reads = || -> Result<()> {
        let mut client = Frames::connect_with(place.address(), &[(4, 0)])?;
        client.send(&[place.get(1, "/megabyte")]);
        ensure!(client.outcome(1)? == Outcome::Status(200));
        for _ in 0..15 {
            thread::sleep(Duration::from_secs(5));
            client.send(&[Frame::window(1, 16 * 1024)]);
        }
        // The rest of it at once.
        client.send(&[Frame::window(1, 1_000_000), Frame::window(0, 1_000_000)]);
        whole(&mut client, 1, 1_000_000)
    };
    let pauses = || -> Result<()> {
        let mut client = Frames::connect(place.address())?;
        client.patience(Duration::from_secs(100))?;
        client.send(&[place.get(1, "/pause")]);
        ensure!(client.outcome(1)? == Outcome::Status(200));
        whole(&mut client, 1, 10)
    };
    thread::scope(|scope| {
        let (reads, pauses) = (scope.spawn(reads), scope.spawn(pauses));
        reads.join().expect("no panic").context("a slow reader")?;
        pauses.join().expect("no panic").context("a slow upstream")
    })
}

/// All of a body comes, to its end.
fn whole(client: &mut Frames, stream: u32, length: usize) -> Result<()> {
    let mut received = 0;
    loop {
        let frame = client
            .read()?
            .with_context(|| format!("closed after {received} bytes"))?;
        if frame.kind == splittoken_tests::frames::DATA && frame.stream == stream {
            received += frame.payload.len();
            if frame.flags & splittoken_tests::frames::END_STREAM != 0 {
                ensure!(received == length, "{received} bytes");
                return Ok(());
            }
        }
    }
}

/// Many at once that never say what they want: others are served, and all are gone when their time is over.
#[test]
fn many_slow_heads_are_cut_off() -> Result<()> {
    let gate = Gate::open()?;
    beside(&gate, "500 half heads", || {
        let mut clients = Vec::new();
        for _ in 0..500 {
            let mut client = TcpStream::connect(gate.stand.gateway.address())?;
            client.write_all(b"GET /a HTTP/1.1\r\nHost:")?;
            client.set_read_timeout(Some(Duration::from_secs(50)))?;
            clients.push(client);
        }
        for mut client in clients {
            let end = client.read(&mut [0]);
            let is_over = matches!(end, Ok(0))
                || end
                    .as_ref()
                    .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
            ensure!(is_over, "{end:?}");
        }
        Ok(())
    })
}
