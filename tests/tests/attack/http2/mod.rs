//! HTTP/2, frame by frame.

mod fields;
mod floods;
mod framing;
mod tunnels;

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::frames::{self, Frame, Frames, Outcome, block};
use splittoken_tests::gate::{Gate, report};
use splittoken_tests::stand::Stand;
use splittoken_tests::wire::Request;

use super::policies;

/// What is to become of stream 1, or of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// An answer of 200, and this request at the upstream, without its version.
    Served(&'static str),
    /// The same, and then the connection ends.
    ServedLast(&'static str),
    /// An answer with this status, by the gateway itself.
    Status(u16),
    /// The stream is reset, and the connection is as good as before.
    Reset,
    /// The connection ends.
    Ended,
    /// Either, as the protocol leaves it to the receiver.
    ResetOrEnded,
}

/// What is sent once both sides have said hello.
struct Attempt {
    name: String,
    verdict: Verdict,
    frames: Vec<Frame>,
}

impl Attempt {
    fn new(name: impl Into<String>, verdict: Verdict, frames: Vec<Frame>) -> Self {
        Self {
            name: name.into(),
            verdict,
            frames,
        }
    }
}

/// A gate that takes HTTP/2.
pub(crate) struct Hall {
    pub(crate) gate: Gate,
}

impl Hall {
    pub(crate) fn open() -> Result<Self> {
        let stand = Stand::built(policies, |gateway| gateway.arguments(&["--http2-cleartext"]))?;
        Ok(Self {
            gate: Gate::of(stand)?,
        })
    }

    fn connect(&self) -> Result<Frames> {
        Frames::connect(self.gate.stand.gateway.address())
    }

    /// The fields of a good request.
    fn good(&self) -> Vec<(String, String)> {
        let host = self.gate.stand.gateway.host();
        let bearer = format!("Bearer {}", self.gate.token.opaque);
        [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/a"),
            (":authority", &host),
            ("authorization", &bearer),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// With other values, `None` for none, and with what is new behind all others.
    pub(crate) fn changed(&self, changes: &[(&str, Option<&str>)]) -> Vec<u8> {
        let mut fields = self.good();
        for (name, value) in changes {
            let at = fields.iter().position(|(found, _)| found == name);
            match (at, value) {
                (Some(at), Some(value)) => (*value).clone_into(&mut fields[at].1),
                (Some(at), None) => drop(fields.remove(at)),
                (None, Some(value)) => fields.push(((*name).to_owned(), (*value).to_owned())),
                (None, None) => {}
            }
        }
        encoded(&fields)
    }

    /// A good request and these fields behind it.
    fn with(&self, more: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = encoded(&self.good());
        bytes.extend(block(more));
        bytes
    }

    /// A good request, whole.
    pub(crate) fn request(&self, stream: u32) -> Frame {
        Frame::headers(stream, encoded(&self.good())).last()
    }

    /// Judges all attempts, each on a connection of its own, and names those that fail.
    fn judge(&self, attempts: &[Attempt]) {
        println!("{} cases", attempts.len());
        let failures = attempts
            .iter()
            .filter_map(|attempt| Some((attempt.name.as_str(), self.judged(attempt).err()?)));
        report(failures.collect());
    }

    fn judged(&self, attempt: &Attempt) -> Result<()> {
        let mut client = self.connect()?;
        client.send(&attempt.frames);
        let outcome = client.outcome(1);
        let arrived = self.gate.good_request()?;
        let lines: Vec<String> = arrived.iter().map(Request::line).collect();
        let outcome = outcome.with_context(|| format!("arrived: {lines:?}"))?;
        let expected = match attempt.verdict {
            Verdict::Served(line) | Verdict::ServedLast(line) => vec![format!("{line} HTTP/1.1")],
            _ => Vec::new(),
        };
        ensure!(lines == expected, "{outcome:?}, and arrived: {lines:?}");
        for request in &arrived {
            let text = String::from_utf8_lossy(request.head()).into_owned();
            ensure!(
                !text.contains("evil") && !text.contains("admin"),
                "arrived: {text}"
            );
        }
        match (attempt.verdict, outcome) {
            (Verdict::Ended | Verdict::ResetOrEnded, Outcome::Closed)
            | (Verdict::ResetOrEnded, Outcome::Reset(_) | Outcome::GoAway(_)) => Ok(()),
            (Verdict::ServedLast(_), Outcome::Status(200)) | (Verdict::Ended, Outcome::GoAway(_)) => {
                client.end().map(drop)
            }
            (Verdict::Status(wanted), Outcome::Status(status)) if status == wanted => {
                self.goes_on(&mut client)
            }
            (Verdict::Served(_), Outcome::Status(200)) | (Verdict::Reset, Outcome::Reset(_)) => {
                self.goes_on(&mut client)
            }
            _ => anyhow::bail!("{outcome:?} in place of {:?}", attempt.verdict),
        }
    }

    /// Another request on the same connection is served.
    fn goes_on(&self, client: &mut Frames) -> Result<()> {
        client.send(&[self.request(101)]);
        let outcome = client.outcome(101)?;
        self.gate.stand.upstream.take();
        ensure!(outcome == Outcome::Status(200), "the next request: {outcome:?}");
        Ok(())
    }
}

fn encoded(fields: &[(String, String)]) -> Vec<u8> {
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    block(&fields)
}

/// A frame of data.
fn data(stream: u32, bytes: &[u8]) -> Frame {
    Frame::new(frames::DATA, stream, bytes)
}
