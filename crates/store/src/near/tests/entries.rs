//! What is kept, and for how long.

use super::*;

#[tokio::test]
async fn what_was_read_is_found() {
    let bench = Bench::default();
    assert!(matches!(bench.look(1), Lookup::Miss));
    bench.put(1).await;
    assert!(matches!(bench.look(1), Lookup::Fresh(1)));
    assert!(matches!(bench.look(2), Lookup::Miss));
    assert_eq!(bench.book(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn misses_and_errors_are_not_kept() {
    let bench = Bench::default();
    assert_eq!(bench.fill(1, Ok(None)).await, Ok(None));
    assert_eq!(bench.fill(1, Err(Failure::Store)).await, Err(Failure::Store));
    assert!(matches!(bench.look(1), Lookup::Miss));
    bench.put(1).await;
    // An error says nothing about the record; its absence does.
    assert_eq!(bench.fill(1, Err(Failure::Store)).await, Err(Failure::Store));
    assert!(matches!(bench.look(1), Lookup::Fresh(1)));
    assert_eq!(bench.fill(1, Ok(None)).await, Ok(None));
    assert!(matches!(bench.look(1), Lookup::Miss));
    assert_eq!(bench.book(), [0; 4]);
}

/// Found to be revoked, say: an outage right after that must not bring it back.
#[tokio::test]
async fn a_refusal_voids_what_was_known() {
    let bench = Bench::default();
    bench.put(1).await;
    let stale = bench.stale(1, later(31));
    assert_eq!(bench.fill(1, Err(Failure::Refused)).await, Err(Failure::Refused));
    assert!(matches!(
        bench.near.lookup(&key(&bench.near, 1), later(31)),
        Lookup::Miss
    ));
    assert_eq!(
        stale.serve(later(31), Duration::from_secs(10)),
        None,
        "held since before"
    );
    assert_eq!(bench.book(), [0; 4]);
}

#[tokio::test]
async fn expiry_is_checked_on_every_hit() {
    let bench = Bench::default();
    let now = Now::read();
    let mut filled = bench.filled(1);
    filled.exp = now.unix + 1;
    bench.fill(1, Ok(Some(filled))).await.unwrap();
    let at = |unix| bench.near.lookup(&key(&bench.near, 1), Now { unix, ..now });
    assert!(matches!(at(now.unix), Lookup::Fresh(1)));
    assert!(matches!(at(now.unix + 1), Lookup::Miss));
}

#[tokio::test]
async fn age_makes_stale() {
    let bench = Bench::default();
    bench.put(1).await;
    assert!(matches!(
        bench.near.lookup(&key(&bench.near, 1), later(29)),
        Lookup::Fresh(1)
    ));
    let stale = bench.stale(1, later(31));
    let old = stale.since().duration_since(Instant::now());
    assert!(
        old > Duration::from_secs(28) && old <= Duration::from_secs(30),
        "{old:?}"
    );
    assert_eq!(stale.serve(later(39), Duration::from_secs(10)), Some(1));
    assert_eq!(stale.serve(later(41), Duration::from_secs(10)), None);
    assert_eq!(stale.serve(later(31), Duration::ZERO), None, "0 is strict");
}

#[tokio::test]
async fn a_lost_connection_and_a_changed_issuer_make_stale_at_that_moment() {
    for lose in [
        (|bench: &Bench| bench.connection.end()) as fn(&Bench),
        |bench| bench.connection.step(),
        |bench| bench.issuer.step(),
    ] {
        let bench = Bench::default();
        bench.put(1).await;
        let before = Instant::now();
        lose(&bench);
        let after = Instant::now();
        // A second loss does not make it younger, and age does not make it older.
        lose(&bench);
        let stale = bench.stale(1, later(100));
        assert!(stale.since() >= before && stale.since() <= after);
        assert_eq!(stale.serve(Now::read(), Duration::from_secs(10)), Some(1));
        assert_eq!(stale.serve(later(11), Duration::from_secs(10)), None);
    }
}

#[tokio::test]
async fn a_new_read_makes_fresh_again() {
    let bench = Bench::default();
    bench.put(1).await;
    bench.connection.step();
    bench.stale(1, Now::read());
    bench.put(1).await;
    assert!(matches!(bench.look(1), Lookup::Fresh(1)));
    assert_eq!(bench.book(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn what_a_lost_connection_read_is_used_and_not_kept() {
    let bench = Bench::default();
    let filled = bench.filled(1);
    bench.connection.end();
    assert_eq!(bench.fill(1, Ok(Some(filled))).await, Ok(Some(1)));
    assert!(matches!(bench.look(1), Lookup::Miss));
}

#[tokio::test]
async fn a_change_removes_and_what_was_stale_is_not_served_after_it() {
    let bench = Bench::default();
    bench.put(1).await;
    bench.put(2).await;
    bench.issuer.step();
    let stale = bench.stale(1, Now::read());
    bench.near.invalidated(&id(1));
    assert!(matches!(bench.look(1), Lookup::Miss));
    assert_eq!(stale.serve(Now::read(), Duration::from_secs(10)), None);
    assert_eq!(
        bench
            .stale(2, Now::read())
            .serve(Now::read(), Duration::from_secs(10)),
        Some(2)
    );
    assert_eq!(bench.book(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_flush_removes_everything_and_nothing_is_served_after_it() {
    for flush in [(|bench: &Bench| bench.near.flushed()) as fn(&Bench), |bench| {
        bench.connection.void();
    }] {
        let bench = Bench::default();
        bench.put(1).await;
        let stale = bench.stale(1, later(31));
        flush(&bench);
        assert!(matches!(bench.look(1), Lookup::Miss));
        assert_eq!(stale.serve(later(31), Duration::from_secs(10)), None);
    }
}

#[tokio::test]
async fn either_of_two_ids_removes() {
    for changed in [1, 2] {
        let bench = Bench::default();
        let (key, ids) = (key(&bench.near, 1), [id(1), id(2)]);
        let read = || std::future::ready(Ok(Some(bench.filled(1))));
        bench.near.fill(key, realm(), &ids, read).await.unwrap();
        bench.near.invalidated(&id(changed));
        assert!(bench.near.is_empty());
        assert_eq!(bench.book(), [0; 4]);
    }
}

#[tokio::test]
async fn weight_bounds_it_and_the_book_follows() {
    let bench = Bench::new(NearConfig {
        max_weight: 1_000_000,
        ..NearConfig::default()
    });
    for name in 0..20_000 {
        bench.put(name).await;
    }
    let held = bench.near.len();
    assert!(held > 1000 && held < 5000, "{held}");
    assert!(bench.near.weight() <= 1_000_000);
    assert_eq!(bench.book(), [held, 0, 0, 0]);
    for name in 0..20_000 {
        bench.near.invalidated(&id(name));
    }
    assert!(bench.near.is_empty());
    assert_eq!(bench.book(), [0; 4]);
}

#[tokio::test]
async fn a_value_that_is_too_heavy_is_used_and_not_kept() {
    let bench = Bench::default();
    let mut filled = bench.filled(1);
    filled.weight = u32::MAX;
    assert_eq!(bench.fill(1, Ok(Some(filled))).await, Ok(Some(1)));
    assert!(bench.near.is_empty());
    assert_eq!(bench.book(), [0; 4]);
}

#[tokio::test]
async fn no_age_means_no_cache() {
    let bench = Bench::new(NearConfig {
        max_age: Duration::ZERO,
        ..NearConfig::default()
    });
    bench.put(1).await;
    assert!(matches!(bench.look(1), Lookup::Miss));
}
