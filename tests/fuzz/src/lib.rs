//! Throws bytes at functions that take what strangers send. The inputs of a corpus come first, as they are; then inputs
//! that are made of them: changed, cut, joined.
//!
//! It is blind: no coverage leads it. What it finds is written down, to be put into the corpus. `just fuzz` runs it for
//! longer than the tests do.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How many made inputs each target gets in a test.
const ROUNDS: usize = 20_000;
/// The most bytes of a made input.
const LONGEST: usize = 64 * 1024;
/// Bytes that mean something to somebody.
const WORDS: [&[u8]; 24] = [
    b"\0", b"\r\n", b"\n", b"%", b"%2e", b"%2F", b"%5c", b"%00", b"..", b"//", b"\\", b";", b"?", b"#",
    b"\"", b"{", b"}", b"[", b":", b",", b"=", b"eyJ", b".", b"\xff",
];

/// Runs a target. It panics where something is wrong.
///
/// # Panics
/// With the target, after the input was written to a file that is named; and if the corpus is empty.
pub fn run(name: &str, target: impl Fn(&[u8])) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "no corpus of {name}");
    for input in &corpus {
        attempt(name, input, &target);
    }
    let mut random = Random::seeded();
    let until = env::var("SPLITTOKEN_FUZZ_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    let until = until.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut rounds = 0;
    while until.map_or(rounds < ROUNDS, |until| Instant::now() < until) {
        let input = made(&corpus, &mut random);
        attempt(name, &input, &target);
        rounds += 1;
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(name)
}

/// In the order of their names, so that every run begins alike.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder(name)).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

fn attempt(name: &str, input: &[u8], target: &impl Fn(&[u8])) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) else {
        return;
    };
    let path = env::temp_dir().join(format!("{name}-{:016x}", fingerprint(input)));
    let kept = fs::write(&path, input);
    say(&format!(
        "{name} fails with {} ({kept:?}; put it into {}): {}",
        path.display(),
        folder(name).display(),
        input.escape_ascii()
    ));
    resume_unwind(panic);
}

/// For whoever looks at a test that failed.
#[allow(clippy::print_stderr)]
fn say(text: &str) {
    eprintln!("{text}");
}

fn fingerprint(input: &[u8]) -> u64 {
    // FNV-1a: names a file and guards nothing.
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// An input that is made of others.
fn made(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.pick(corpus).to_vec();
    for _ in 0..=random.below(6) {
        change(&mut input, corpus, random);
    }
    input.truncate(LONGEST);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(16)).min(input.len());
    match random.below(8) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.byte(),
        2 => drop(input.drain(at..end)),
        3 => {
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        4 => {
            let other = random.pick(corpus);
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        5 => {
            let byte = random.byte();
            let more = vec![byte; random.below(300)];
            input.splice(at..at, more);
        }
        6 => input.truncate(at),
        _ => {
            let word = WORDS[random.below(WORDS.len())];
            input.splice(at..at, word.iter().copied());
        }
    }
}

/// Numbers that nobody depends on (xorshift64*).
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let given = env::var("SPLITTOKEN_FUZZ_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::from(now.subsec_nanos()) ^ now.as_secs()
        });
        say(&format!("SPLITTOKEN_FUZZ_SEED={seed}"));
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn pick<'c>(&mut self, corpus: &'c [Vec<u8>]) -> &'c [u8] {
        corpus.get(self.below(corpus.len())).map_or(&[], Vec::as_slice)
    }
}
