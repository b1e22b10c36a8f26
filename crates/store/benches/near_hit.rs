//! What a hit in the near cache costs: `cargo bench -p splittoken-store --bench near_hit`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark says what it found"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use splittoken_store::Epoch;
use splittoken_store::near::{Filled, Lookup, MayRefuse, NearCache, NearConfig, Now, Overloaded};
use splittoken_token::{LookupId, Realm, Use};

/// Tokens in the cache, as in the comparison with other proxies.
const TOKENS: u64 = 10_000;
const HITS: usize = 3_000_000;

#[derive(Clone, Debug)]
struct Refused;

impl From<Overloaded> for Refused {
    fn from(_: Overloaded) -> Self {
        Self
    }
}

impl MayRefuse for Refused {
    fn is_refusal(&self) -> bool {
        false
    }
}

type Near = NearCache<Arc<str>, Refused>;

fn main() {
    let near = Near::new(NearConfig::default());
    let realm = Realm::of("SplitTokenIssuer", "ns", "name");
    // As long as an RS256 signature of 2048 bits.
    let texts: Vec<String> = (0..TOKENS).map(|number| format!("{number:0342}")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(fill(&near, realm, &texts));

    let now = Now::read();
    report("key", &texts, |text| {
        black_box(near.key(&realm, Use::Access, text.as_bytes()));
    });
    report("key, lookup", &texts, |text| hit(&near, &realm, text, now));
    report("key, lookup, both clocks", &texts, |text| {
        hit(&near, &realm, text, Now::read());
    });
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..HITS).for_each(|at| hit(&near, &realm, pick(&texts, at), now)));
        }
    });
    println!("key, lookup, two threads: {:.0} ns each", nanoseconds(begun));
}

async fn fill(near: &Near, realm: Realm, texts: &[String]) {
    let (connection, issuer) = (Epoch::new(), Epoch::new());
    for (number, text) in (0_u64..).zip(texts) {
        let filled = Filled {
            value: Arc::from("Bearer …"),
            weight: 1500,
            exp: u64::MAX,
            connection: connection.stamp(),
            issuer: issuer.stamp(),
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let key = near.key(&realm, Use::Access, text.as_bytes());
        let read = || std::future::ready(Ok(Some(filled.clone())));
        near.fill(key, realm, &[LookupId::from_bytes(bytes)], read)
            .await
            .unwrap();
    }
}

fn hit(near: &Near, realm: &Realm, text: &str, now: Now) {
    let key = near.key(realm, Use::Access, text.as_bytes());
    match near.lookup(&key, now) {
        Lookup::Fresh(value) => drop(black_box(value)),
        other => println!("no hit: {other:?}"),
    }
}

/// Not one after the other, so that the processor cannot fetch ahead.
fn pick(texts: &[String], at: usize) -> &str {
    &texts[at.wrapping_mul(7919) % texts.len()]
}

fn report(what: &str, texts: &[String], work: impl Fn(&str)) {
    let begun = Instant::now();
    (0..HITS).for_each(|at| work(pick(texts, at)));
    println!("{what}: {:.0} ns", nanoseconds(begun));
}

#[allow(clippy::cast_precision_loss, reason = "a count far below 2^52")]
fn nanoseconds(begun: Instant) -> f64 {
    begun.elapsed().as_nanos() as f64 / HITS as f64
}
