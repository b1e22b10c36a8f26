//! Texts that must not turn up somewhere, looked for in every spelling that a program gives them by accident.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// Long texts are looked for in pieces of this many bytes, so that a part of them is found too; shorter ones would
/// turn up by chance.
const PIECE: usize = 24;

/// Shorter parts of JWTs say nothing: `e30` is the encoding of an empty object.
const SHORTEST_PART: usize = 16;

/// As many bytes of a spelling say where to look closer; shorter spellings are looked for one by one.
const BEGINNING: usize = 8;

/// A set of texts, each with its spellings.
#[derive(Debug, Default)]
pub struct Marks {
    /// By their beginnings: a log of megabytes is read once, however much is looked for.
    spellings: HashMap<[u8; BEGINNING], Vec<Spelling>>,
    short: Vec<Spelling>,
}

#[derive(Debug)]
struct Spelling {
    what: String,
    how: &'static str,
    bytes: Vec<u8>,
}

impl fmt::Display for Spelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.how)
    }
}

impl Marks {
    /// Nothing to look for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text, called `what` in findings: plain, in base64 at every alignment, percent-encoded, in hexadecimal,
    /// and as a list of numbers, which is how Rust prints bytes.
    pub fn add(&mut self, what: &str, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let mut pieces = text.chunks_exact(PIECE);
        for piece in pieces.by_ref() {
            self.add_piece(what, piece);
        }
        if text.len() < PIECE {
            self.add_piece(what, text);
        } else if !pieces.remainder().is_empty() {
            self.add_piece(what, &text[text.len() - PIECE..]);
        }
    }

    /// Adds the first two parts of a JWT, which nobody but upstreams may see.
    pub fn add_claims(&mut self, what: &str, jwt: &str) {
        let mut parts = jwt.split('.');
        for name in ["header", "payload"] {
            let part = parts.next().unwrap_or_default();
            if part.len() >= SHORTEST_PART {
                self.add(&format!("{what}'s {name}"), part);
            }
        }
    }

    /// Adds all parts of a JWT.
    pub fn add_jwt(&mut self, what: &str, jwt: &str) {
        self.add_claims(what, jwt);
        let signature = jwt.rsplit('.').next().unwrap_or_default();
        self.add(&format!("{what}'s signature"), signature);
    }

    /// What of it stands in `bytes`, and how it is spelled there.
    pub fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        let short = self.short.iter();
        let short = short.filter(|spelling| memmem::find(bytes, &spelling.bytes).is_some());
        let long = bytes.windows(BEGINNING).enumerate().flat_map(|(at, beginning)| {
            let candidates = self.spellings.get(beginning).into_iter().flatten();
            candidates.filter(move |spelling| bytes[at..].starts_with(&spelling.bytes))
        });
        let mut found: Vec<String> = short.chain(long).map(Spelling::to_string).collect();
        found.sort();
        found.dedup();
        found
    }

    fn add_piece(&mut self, what: &str, piece: &[u8]) {
        let mut add = |how, bytes: Vec<u8>| {
            let what = what.to_owned();
            let spelling = Spelling { what, how, bytes };
            match spelling.bytes.first_chunk() {
                Some(beginning) => self.spellings.entry(*beginning).or_default().push(spelling),
                None => self.short.push(spelling),
            }
        };
        add("plain", piece.to_vec());
        for offset in 0..3 {
            let (standard, url) = base64_within(piece, offset);
            if standard != url {
                add("base64", standard.into_bytes());
            }
            add("base64url", url.into_bytes());
        }
        let encoded = percent_encoded(piece, |byte| {
            !byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte)
        });
        if encoded.as_bytes() != piece {
            add("percent-encoded", encoded.to_ascii_lowercase().into_bytes());
            add("percent-encoded", encoded.into_bytes());
        }
        add(
            "percent-encoded throughout",
            percent_encoded(piece, |_| true).into_bytes(),
        );
        add("hexadecimal", each(piece, "", |byte| format!("{byte:02x}")));
        add("numbers", each(piece, ", ", ToString::to_string));
    }
}

/// The letters that `piece` has in base64 wherever `offset` bytes (and any multiple of three) stand before it: those
/// that share bits with its neighbours are left out.
fn base64_within(piece: &[u8], offset: usize) -> (String, String) {
    let before = [vec![0; offset], piece.to_vec()].concat();
    let whole = before.len() / 3 * 4;
    let start = if offset == 0 { 0 } else { 4 };
    (
        STANDARD_NO_PAD.encode(&before)[start..whole].to_owned(),
        URL_SAFE_NO_PAD.encode(&before)[start..whole].to_owned(),
    )
}

fn percent_encoded(piece: &[u8], is_encoded: impl Fn(u8) -> bool) -> String {
    let letter = |byte: &u8| {
        if is_encoded(*byte) {
            format!("%{byte:02X}")
        } else {
            char::from(*byte).to_string()
        }
    };
    piece.iter().map(letter).collect()
}

fn each(piece: &[u8], between: &str, spell: impl Fn(&u8) -> String) -> Vec<u8> {
    piece
        .iter()
        .map(spell)
        .collect::<Vec<_>>()
        .join(between)
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The search itself must be able to find what it looks for.
    #[test]
    fn every_spelling_is_found() {
        let secret = "a secret/with+odd=letters, and long enough for pieces";
        let mut marks = Marks::new();
        marks.add("it", secret);
        let spelled = |text: String| marks.found_in(text.as_bytes());
        assert_eq!(
            spelled("nothing of that kind, but long enough".into()),
            Vec::<String>::new()
        );
        for before in ["", "x", "xy", "xyz"] {
            let around = format!("{before}{secret}&more");
            for (how, text) in [
                ("it (plain)", around.clone()),
                ("it (base64url)", URL_SAFE_NO_PAD.encode(&around)),
                ("it (base64url)", STANDARD_NO_PAD.encode(&around)),
                (
                    "it (percent-encoded)",
                    percent_encoded(around.as_bytes(), |byte| b" /+=,".contains(&byte)),
                ),
                (
                    "it (percent-encoded throughout)",
                    percent_encoded(around.as_bytes(), |_| true),
                ),
                ("it (numbers)", format!("{:?}", around.as_bytes())),
            ] {
                let found = spelled(text.clone());
                assert!(
                    found.iter().any(|found| found == how),
                    "{how} in {text}: {found:?}"
                );
            }
        }
        let part = spelled(secret[..47].to_owned());
        assert!(part.iter().any(|found| found == "it (plain)"), "{part:?}");
        marks.add("short", "hunter2");
        let short = marks.found_in(b"a hunter2!");
        assert_eq!(short, ["short (plain)"]);
    }
}
