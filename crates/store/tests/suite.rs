//! The one behaviour suite for every backend. Each case is run on the memory store and on a real Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use splittoken_store::{Health, PutOutcome, StoreConfig, StoreFiles};
use support::{Gateway, RedisServer, SOON, eventually, id, in_an_hour};

/// A gateway in front of the backend. What `writer` does comes by another connection.
struct Backend {
    gateway: Gateway,
    writer: splittoken_store::StoreSession,
    _server: Option<RedisServer>,
}

impl Backend {
    async fn new(gateway: Gateway, server: Option<RedisServer>) -> Self {
        let writer = gateway.store.connect();
        gateway.up().await;
        writer.up().await;
        Self {
            gateway,
            writer,
            _server: server,
        }
    }

    async fn memory() -> Self {
        let config = StoreConfig::parse("memory", &StoreFiles::default()).unwrap();
        Self::new(Gateway::open(&config), None).await
    }

    async fn redis() -> Self {
        let server = RedisServer::start();
        Self::new(Gateway::of(&server), Some(server)).await
    }

    async fn put(&self, number: u64, record: &[u8]) -> PutOutcome {
        self.writer
            .put_new(id(number), record, in_an_hour())
            .await
            .unwrap()
    }

    async fn get(&self, number: u64) -> Option<Vec<u8>> {
        let mut fetched = self.gateway.session.get(&[id(number)]).await.unwrap();
        assert_eq!(fetched.records.len(), 1);
        fetched.records.pop().unwrap()
    }
}

macro_rules! suite {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $case() { super::$case(super::Backend::memory().await).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $case() { super::$case(super::Backend::redis().await).await; })*
        }
    };
}

suite! {
    what_was_put_is_there_for_everybody,
    many_are_read_at_once_and_in_order,
    bytes_are_bytes,
    a_new_record_does_not_replace_another,
    many_writers_of_one_record_have_one_winner,
    a_tombstone_takes_the_place_of_a_record_only,
    a_tombstone_keeps_the_time_to_live,
    a_buried_record_is_not_put_again,
    a_record_expires,
    an_expired_record_may_be_put_again,
    a_record_already_expired_is_not_there,
    a_read_is_kept,
    what_another_connection_changes_is_forgotten_here,
    what_we_change_ourselves_is_forgotten_too,
    what_expires_is_forgotten,
    what_was_missing_and_comes_is_found,
    a_change_during_a_read_is_seen,
    changes_are_heard_of_again_and_again,
    the_store_is_up,
}

async fn what_was_put_is_there_for_everybody(store: Backend) {
    assert_eq!(store.get(1).await, None);
    assert_eq!(store.put(1, b"record").await, PutOutcome::Stored);
    assert_eq!(store.get(1).await.as_deref(), Some(b"record".as_slice()));
    let third = store.gateway.store.connect();
    third.up().await;
    let fetched = third.get(&[id(1)]).await.unwrap();
    assert_eq!(fetched.records, [Some(b"record".to_vec())]);
    assert_eq!(fetched.stamp.ended(), None);
}

async fn many_are_read_at_once_and_in_order(store: Backend) {
    store.put(1, b"one").await;
    store.put(3, b"three").await;
    let fetched = store.gateway.session.get(&[3, 2, 1, 3].map(id)).await.unwrap();
    let three = Some(b"three".to_vec());
    assert_eq!(
        fetched.records,
        [three.clone(), None, Some(b"one".to_vec()), three]
    );
    assert_eq!(store.gateway.session.get(&[]).await.unwrap().records.len(), 0);
}

async fn bytes_are_bytes(store: Backend) {
    let record: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    store.put(1, &record).await;
    assert_eq!(store.get(1).await, Some(record));
    store.put(2, b"").await;
    assert_eq!(store.get(2).await, Some(Vec::new()));
}

async fn a_new_record_does_not_replace_another(store: Backend) {
    store.put(1, b"first").await;
    assert_eq!(
        store.put(1, b"other").await,
        PutOutcome::Exists(b"first".to_vec())
    );
    assert_eq!(store.put(1, b"first").await, PutOutcome::Stored);
    assert_eq!(store.get(1).await.as_deref(), Some(b"first".as_slice()));
}

async fn many_writers_of_one_record_have_one_winner(store: Backend) {
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..50_u8 {
        let session = store.gateway.store.connect();
        writers.spawn(async move {
            session.up().await;
            (
                number,
                session.put_new(id(1), &[number], in_an_hour()).await.unwrap(),
            )
        });
    }
    let outcomes = writers.join_all().await;
    let won: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == PutOutcome::Stored)
        .collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    let winner = vec![won[0].0];
    assert_eq!(store.get(1).await, Some(winner.clone()));
    for (number, outcome) in outcomes {
        assert!(winner == [number] || outcome == PutOutcome::Exists(winner.clone()));
    }
}

async fn a_tombstone_takes_the_place_of_a_record_only(store: Backend) {
    assert!(!store.writer.revoke(id(1), b"tombstone").await.unwrap());
    assert_eq!(store.get(1).await, None);
    store.put(1, b"record").await;
    assert!(store.writer.revoke(id(1), b"tombstone").await.unwrap());
    assert_eq!(store.get(1).await.as_deref(), Some(b"tombstone".as_slice()));
    assert_eq!(
        store.put(1, b"record").await,
        PutOutcome::Exists(b"tombstone".to_vec())
    );
    assert!(
        store.writer.revoke(id(1), b"tombstone").await.unwrap(),
        "it may be said twice"
    );
}

async fn a_tombstone_keeps_the_time_to_live(store: Backend) {
    let expires_at = SystemTime::now() + Duration::from_secs(3);
    store.writer.put_new(id(1), b"record", expires_at).await.unwrap();
    assert!(store.writer.revoke(id(1), b"tombstone").await.unwrap());
    assert_eq!(store.get(1).await.as_deref(), Some(b"tombstone".as_slice()));
    gone(&store, 1).await;
    assert!(SystemTime::now() >= expires_at, "it went too early");
}

async fn a_buried_record_is_not_put_again(store: Backend) {
    store
        .writer
        .bury(id(1), b"tombstone", in_an_hour())
        .await
        .unwrap();
    assert_eq!(
        store.put(1, b"late").await,
        PutOutcome::Exists(b"tombstone".to_vec())
    );
    store.put(2, b"record").await;
    store
        .writer
        .bury(id(2), b"tombstone", in_an_hour())
        .await
        .unwrap();
    assert_eq!(store.get(2).await.as_deref(), Some(b"tombstone".as_slice()));
}

/// Waits until a record is gone. On a busy machine one answer of many may be late.
async fn gone(store: &Backend, number: u64) {
    let is_gone = async || {
        let fetched = store.gateway.session.get(&[id(number)]).await;
        fetched.is_ok_and(|fetched| fetched.records == [None])
    };
    let waited = async {
        while !is_gone().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, waited)
        .await
        .expect("it does not expire");
}

async fn a_record_expires(store: Backend) {
    let expires_at = SystemTime::now() + Duration::from_millis(300);
    store.writer.put_new(id(1), b"record", expires_at).await.unwrap();
    gone(&store, 1).await;
    assert!(SystemTime::now() >= expires_at, "it went too early");
}

async fn an_expired_record_may_be_put_again(store: Backend) {
    let expires_at = SystemTime::now() + Duration::from_millis(50);
    store.writer.put_new(id(1), b"first", expires_at).await.unwrap();
    gone(&store, 1).await;
    assert_eq!(store.put(1, b"second").await, PutOutcome::Stored);
    assert_eq!(store.get(1).await.as_deref(), Some(b"second".as_slice()));
}

async fn a_record_already_expired_is_not_there(store: Backend) {
    for (number, past) in [
        (1, SystemTime::UNIX_EPOCH),
        (2, SystemTime::now() - Duration::from_secs(5)),
    ] {
        let outcome = store.writer.put_new(id(number), b"record", past).await.unwrap();
        assert_eq!(outcome, PutOutcome::Stored);
        assert_eq!(store.get(number).await, None);
    }
}

async fn a_read_is_kept(store: Backend) {
    store.put(1, b"record").await;
    for _ in 0..10 {
        assert_eq!(
            store.gateway.ask(id(1)).await.unwrap().as_deref(),
            Some(b"record".as_slice())
        );
    }
    assert_eq!(store.gateway.reads(), 1);
    for _ in 0..10 {
        assert_eq!(store.gateway.ask(id(2)).await.unwrap(), None);
    }
    assert_eq!(store.gateway.reads(), 11, "a miss is not kept");
}

async fn what_another_connection_changes_is_forgotten_here(store: Backend) {
    store.put(1, b"record").await;
    store.put(2, b"another").await;
    store.gateway.ask(id(1)).await.unwrap();
    store.gateway.ask(id(2)).await.unwrap();
    assert!(store.gateway.is_fresh(id(1)) && store.gateway.is_fresh(id(2)));
    store.writer.revoke(id(1), b"tombstone").await.unwrap();
    let forgotten = eventually("forgotten", SOON, || store.gateway.is_missing(id(1))).await;
    support::in_time("revoked to forgotten", forgotten, Duration::from_millis(50));
    assert!(store.gateway.is_fresh(id(2)), "and only that");
    assert_eq!(
        store.gateway.ask(id(1)).await.unwrap().as_deref(),
        Some(b"tombstone".as_slice())
    );
}

async fn what_we_change_ourselves_is_forgotten_too(store: Backend) {
    store.put(1, b"record").await;
    store.gateway.ask(id(1)).await.unwrap();
    store
        .gateway
        .session
        .bury(id(1), b"tombstone", in_an_hour())
        .await
        .unwrap();
    eventually("forgotten", SOON, || store.gateway.is_missing(id(1))).await;
}

async fn what_expires_is_forgotten(store: Backend) {
    let expires_at = SystemTime::now() + Duration::from_secs(3);
    store.writer.put_new(id(1), b"record", expires_at).await.unwrap();
    store.gateway.ask(id(1)).await.unwrap();
    assert!(store.gateway.is_fresh(id(1)));
    gone(&store, 1).await;
    eventually("forgotten", SOON, || store.gateway.is_missing(id(1))).await;
}

async fn what_was_missing_and_comes_is_found(store: Backend) {
    assert_eq!(store.gateway.ask(id(1)).await.unwrap(), None);
    store.put(1, b"record").await;
    assert_eq!(
        store.gateway.ask(id(1)).await.unwrap().as_deref(),
        Some(b"record".as_slice())
    );
}

async fn a_change_during_a_read_is_seen(store: Backend) {
    store.put(1, b"record").await;
    let times = AtomicUsize::new(0);
    let found = store.gateway.fill(id(1), async || {
        if times.fetch_add(1, Ordering::SeqCst) == 0 {
            store.writer.revoke(id(1), b"tombstone").await.unwrap();
            // On the reader's own connection, so that the push has come when this is answered.
            store.gateway.session.get(&[id(99)]).await.unwrap();
        }
    });
    assert_eq!(found.await.unwrap().as_deref(), Some(b"tombstone".as_slice()));
    assert_eq!(store.gateway.reads(), 2);
    assert_eq!(
        store.gateway.ask(id(1)).await.unwrap().as_deref(),
        Some(b"tombstone".as_slice())
    );
    assert_eq!(store.gateway.reads(), 2, "what was read the second time is kept");
}

async fn changes_are_heard_of_again_and_again(store: Backend) {
    for round in 0..100_u8 {
        store.writer.bury(id(1), &[round], in_an_hour()).await.unwrap();
        eventually("forgotten", SOON, || store.gateway.is_missing(id(1))).await;
        assert_eq!(store.gateway.ask(id(1)).await.unwrap(), Some(vec![round]));
        assert!(store.gateway.is_fresh(id(1)));
    }
}

async fn the_store_is_up(store: Backend) {
    assert!(matches!(store.gateway.session.health(), Health::Up));
    assert_eq!(store.gateway.store.evicting_policy(), None);
}
