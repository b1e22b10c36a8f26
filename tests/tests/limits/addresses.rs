//! Unknown tokens from one address: guesses are slowed down, and whoever has good tokens is not.

use std::time::{Duration, Instant};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use splittoken_tests::raw::{Answer, Client};
use splittoken_tests::shop::metric;
use splittoken_tests::stand::{Stand, request};
use splittoken_tests::wait;

use super::{answered, stand};

/// Ten times what it takes until there is room for another guess, and more.
const SOON: Duration = Duration::from_secs(20);

/// What looks like a token and is none.
fn guess(number: u32) -> String {
    let mut signature = [7; 64];
    signature[..4].copy_from_slice(&number.to_be_bytes());
    format!("Authorization: Bearer {}", URL_SAFE_NO_PAD.encode(signature))
}

/// One connection, that of a client or of a proxy.
struct Caller<'s> {
    stand: &'s Stand,
    client: Client,
    guesses: u32,
}

impl<'s> Caller<'s> {
    fn new(stand: &'s Stand, first: u32) -> Result<Self> {
        Ok(Self {
            stand,
            client: Client::connect(stand.gateway.address())?,
            guesses: first,
        })
    }

    fn ask(&mut self, headers: &[&str]) -> Result<Answer> {
        let call = request(&self.stand.gateway.host(), "GET /orders", headers, "");
        answered(&mut self.client, call)
    }

    /// Guesses until that is answered with another status than 401; how many guesses were, and what came then.
    fn guess_until_refused(&mut self, headers: &[&str], most: u32) -> Result<(u32, Answer)> {
        let first = self.guesses;
        loop {
            self.guesses += 1;
            let guess = guess(self.guesses);
            let answer = self.ask(&[&[guess.as_str()], headers].concat())?;
            if answer.status != 401 || self.guesses - first > most {
                return Ok((self.guesses - first - 1, answer));
            }
        }
    }

    /// Guesses until that is refused and asks something else at once, until that is refused, too: on a busy machine there
    /// may be room for another by then. What has a count of its own would never be.
    fn is_refused_with(&mut self, guessing: &[&str], headers: &[&str]) -> Result<()> {
        wait::until(SOON, "a refusal", || {
            let both = self
                .guess_until_refused(guessing, 500)
                .and_then(|_| self.ask(headers));
            both.ok().filter(|answer| answer.status == 429)
        })?;
        Ok(())
    }
}

fn unknown(stand: &Stand) -> Result<u64> {
    metric(
        &stand.gateway,
        "splittoken_gateway_token_lookups_total{outcome=\"unknown_token\"}",
    )
}

#[test]
fn guesses_of_an_address_are_slowed_down() -> Result<()> {
    let stand = stand(&["--max-misses-per-address", "2"])?;
    let (used, unused) = (stand.token(&json!({}))?, stand.token(&json!({}))?);
    assert_eq!(stand.get("/orders", &used)?.status, 200);
    let mut caller = Caller::new(&stand, 0)?;
    let start = Instant::now();
    let (guesses, refusal) = caller.guess_until_refused(&[], 500)?;
    // Ten seconds' worth at once, and what came back meanwhile.
    let most = 20 + 2 * (1 + u32::try_from(start.elapsed().as_secs())?);
    assert!((20..=most).contains(&guesses), "{guesses} guesses");
    assert_eq!((refusal.status, refusal.header("retry-after")), (429, Some("1")));
    assert_eq!(refusal.json()?["error"], "too_many_requests");
    assert_eq!(
        u64::from(guesses),
        unknown(&stand)?,
        "the store was not asked again"
    );
    let failures = "splittoken_gateway_failures_total{reason=\"address_misses\"}";
    assert_eq!(metric(&stand.gateway, failures)?, 1);
    // Nobody can tell a good token from a guess without asking; one that was good a moment ago is none.
    assert_eq!(stand.get("/orders", &used)?.status, 200);
    caller.is_refused_with(&[], &[&unused.header()])?;
    wait::until_true(SOON, "room for another", || {
        stand
            .get("/orders", &unused)
            .is_ok_and(|answer| answer.status == 200)
    })
}

#[test]
fn good_tokens_are_no_guesses() -> Result<()> {
    let stand = stand(&["--max-misses-per-address", "1"])?;
    for number in 0..30 {
        let token = stand.token(&json!({}))?;
        assert_eq!(stand.get("/orders", &token)?.status, 200, "{number}");
    }
    // What is no token at all costs the store nothing, and its sender nothing either.
    for _ in 0..30 {
        assert_eq!(
            stand
                .ask("GET /orders", &["Authorization: Bearer nonsense"])?
                .status,
            401
        );
    }
    Ok(())
}

#[test]
fn behind_a_proxy_each_client_has_its_own_count() -> Result<()> {
    let stand = stand(&[
        "--max-misses-per-address",
        "1",
        "--trusted-proxies",
        "127.0.0.0/8",
    ])?;
    let mut proxy = Caller::new(&stand, 0)?;
    let one = ["X-Forwarded-For: 198.51.100.1"];
    let header = stand.token(&json!({}))?.header();
    // What a client claims counts for nothing.
    let claimed = [header.as_str(), "X-Forwarded-For: 203.0.113.5, 198.51.100.1"];
    proxy.is_refused_with(&one, &claimed)?;
    let other = [header.as_str(), "X-Forwarded-For: 198.51.100.1, 198.51.100.2"];
    assert_eq!(proxy.ask(&other)?.status, 200);
    Ok(())
}

#[test]
fn where_proxies_are_known_guesses_are_limited_anyway() -> Result<()> {
    let stand = stand(&["--trusted-proxies", "192.0.2.0/24"])?;
    let mut caller = Caller::new(&stand, 0)?;
    let start = Instant::now();
    let (guesses, refusal) = caller.guess_until_refused(&[], 60_000)?;
    let most = 1000 + 100 * (1 + u32::try_from(start.elapsed().as_secs())?);
    assert_eq!(refusal.status, 429);
    assert!((1000..=most).contains(&guesses), "{guesses} guesses");
    let free = super::stand(&[])?;
    let (guesses, answer) = Caller::new(&free, 0)?.guess_until_refused(&[], 1200)?;
    assert_eq!(
        (guesses, answer.status),
        (1200, 401),
        "it is not known who is a client"
    );
    Ok(())
}
