//! A real Redis that is killed, hung, flushed, filled and cut off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::time::{Duration, Instant};

use splittoken_store::near::Now;
use splittoken_store::{Health, PutOutcome, StoreConfig, StoreFiles};
use support::{Gateway, RECOVERY, RedisServer, SOON, eventually, id, in_an_hour, in_time, quickest};

const MAX_STALE: Duration = Duration::from_secs(10);

async fn started() -> (RedisServer, Gateway) {
    let server = RedisServer::start();
    let gateway = Gateway::of(&server);
    gateway.up().await;
    (server, gateway)
}

async fn put(gateway: &Gateway, number: u64, record: &[u8]) -> PutOutcome {
    gateway
        .session
        .put_new(id(number), record, in_an_hour())
        .await
        .unwrap()
}

/// Stores a record and takes it into the near cache.
async fn keep(gateway: &Gateway, number: u64) {
    put(gateway, number, b"record").await;
    // The push for our own write may still be on its way and would remove what we take in.
    gateway.session.get(&[id(number)]).await.unwrap();
    gateway.ask(id(number)).await.unwrap();
    assert!(gateway.is_fresh(id(number)));
}

#[tokio::test]
async fn start_up_does_not_wait_for_redis() {
    let mut server = RedisServer::start();
    server.kill();
    let begun = Instant::now();
    let gateway = Gateway::of(&server);
    let Health::Down { reason, since } = gateway.session.health() else {
        panic!("up without a server");
    };
    assert_eq!((reason, since >= begun), ("connecting", true));
    let error = gateway.session.get(&[id(1)]).await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("connecting", true));
    gateway.down("unreachable").await;
    let took = quickest(async || {
        let error = gateway
            .session
            .put_new(id(1), b"x", in_an_hour())
            .await
            .unwrap_err();
        assert_eq!(error.reason(), "unreachable");
    });
    in_time("a command while down", took.await, Duration::from_millis(5));
    server.restart();
    let begun = Instant::now();
    gateway.up().await;
    in_time(
        "first connection after Redis came",
        begun.elapsed(),
        Duration::from_secs(2),
    );
}

#[tokio::test]
async fn killed_and_restarted() {
    let (mut server, gateway) = started().await;
    keep(&gateway, 1).await;
    let before = Instant::now();
    server.kill();
    let noticed = eventually("stale", SOON, || gateway.stale(id(1)).is_some()).await;
    in_time("killed to stale", noticed, Duration::from_millis(50));

    let stale = gateway.stale(id(1)).unwrap();
    assert!(stale.since() >= before);
    assert_eq!(
        stale.serve(Now::read(), MAX_STALE).as_deref(),
        Some(b"record".as_slice())
    );
    let now = Now::read();
    let later = Now {
        instant: now.instant + MAX_STALE,
        ..now
    };
    assert_eq!(stale.serve(later, MAX_STALE), None);
    assert!(gateway.ask(id(1)).await.is_err());

    server.restart();
    let begun = Instant::now();
    gateway.up().await;
    in_time(
        "recovery after a restart",
        begun.elapsed(),
        Duration::from_secs(2),
    );
    // The new server knows nothing: what is stale is asked for and gone.
    assert!(gateway.stale(id(1)).is_some());
    assert_eq!(gateway.ask(id(1)).await.unwrap(), None);
    assert!(gateway.is_missing(id(1)));
    keep(&gateway, 2).await;
}

#[tokio::test]
async fn hung_and_back() {
    let (server, gateway) = started().await;
    keep(&gateway, 1).await;
    server.stop();
    let begun = Instant::now();
    let error = gateway.session.get(&[id(1)]).await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("deadline", true));
    in_time("command deadline", begun.elapsed(), Duration::from_millis(100));
    let noticed = eventually("down", RECOVERY, || {
        matches!(gateway.session.health(), Health::Down { .. })
    });
    in_time(
        "hung under load to down",
        noticed.await,
        Duration::from_millis(200),
    );
    let took = quickest(async || {
        let error = gateway.session.get(&[id(1)]).await.unwrap_err();
        assert_eq!(error.reason(), "deadline");
    });
    in_time("a command while down", took.await, Duration::from_millis(5));
    assert!(gateway.stale(id(1)).is_some());
    server.go_on();
    let begun = Instant::now();
    gateway.up().await;
    in_time("recovery after a hang", begun.elapsed(), Duration::from_secs(2));
    assert_eq!(
        gateway.ask(id(1)).await.unwrap().as_deref(),
        Some(b"record".as_slice())
    );
    assert!(gateway.is_fresh(id(1)));
}

#[tokio::test]
async fn a_hang_is_noticed_without_any_command() {
    let (server, gateway) = started().await;
    keep(&gateway, 1).await;
    server.stop();
    let noticed = eventually("stale", RECOVERY, || gateway.stale(id(1)).is_some()).await;
    in_time("hung and idle to stale", noticed, Duration::from_secs(2));
    server.go_on();
    gateway.up().await;
}

/// A write whose answer did not come may be said again, and is known by its bytes.
#[tokio::test]
async fn a_write_without_an_answer_can_be_repeated() {
    let (server, gateway) = started().await;
    server.stop();
    let error = gateway
        .session
        .put_new(id(1), b"record", in_an_hour())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "deadline");
    server.go_on();
    gateway.up().await;
    // It was on the wire, and nobody took it back.
    eventually_stored(&gateway, 1, b"record").await;
    assert_eq!(put(&gateway, 1, b"record").await, PutOutcome::Stored);
    assert_eq!(
        put(&gateway, 1, b"other").await,
        PutOutcome::Exists(b"record".to_vec())
    );
}

async fn eventually_stored(gateway: &Gateway, number: u64, record: &[u8]) {
    let stored = async {
        while gateway.session.get(&[id(number)]).await.unwrap().records != [Some(record.to_vec())] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, stored)
        .await
        .expect("it was not written");
}

/// A pause shorter than two deadlines costs nobody anything: the write is said twice and was done once. On a busy machine
/// a pause may become longer than it was meant to be, but not each time.
#[tokio::test]
async fn a_short_pause_is_bridged() {
    let (server, gateway) = started().await;
    for number in 0..20 {
        server.stop();
        let write = gateway.session.put_new(id(number), b"record", in_an_hour());
        let resume = async {
            tokio::time::sleep(Duration::from_millis(130)).await;
            server.go_on();
        };
        match tokio::join!(write, resume).0 {
            Ok(outcome) => return assert_eq!(outcome, PutOutcome::Stored),
            Err(error) => assert_eq!(error.reason(), "deadline"),
        }
        gateway.up().await;
    }
    panic!("no pause was bridged");
}

#[tokio::test]
async fn flushed() {
    let (server, gateway) = started().await;
    keep(&gateway, 1).await;
    keep(&gateway, 2).await;
    server.command("FLUSHALL");
    let forgotten = eventually("forgotten", SOON, || gateway.near.is_empty()).await;
    in_time("FLUSHALL to forgotten", forgotten, Duration::from_millis(50));
    assert!(gateway.is_missing(id(1)) && gateway.is_missing(id(2)));
    assert_eq!(gateway.ask(id(1)).await.unwrap(), None);
    assert!(
        matches!(gateway.session.health(), Health::Up),
        "the connection stays"
    );
    keep(&gateway, 1).await;
}

/// What was stale before a flush is not served after it, although whoever holds it looked it up before.
#[tokio::test]
async fn flushed_while_something_is_stale() {
    let (server, gateway) = started().await;
    keep(&gateway, 1).await;
    server.cut_connections();
    eventually("stale", SOON, || gateway.stale(id(1)).is_some()).await;
    let stale = gateway.stale(id(1)).unwrap();
    gateway.up().await;
    assert!(stale.serve(Now::read(), MAX_STALE).is_some());
    server.command("FLUSHALL");
    let unserved = || stale.serve(Now::read(), MAX_STALE).is_none();
    eventually("withdrawn", SOON, unserved).await;
    assert!(gateway.is_missing(id(1)));
}

#[tokio::test]
async fn cut_off() {
    let (server, gateway) = started().await;
    keep(&gateway, 1).await;
    assert_eq!(server.cut_connections(), 1);
    eventually("stale", SOON, || gateway.stale(id(1)).is_some()).await;
    let begun = Instant::now();
    gateway.up().await;
    in_time(
        "recovery after CLIENT KILL",
        begun.elapsed(),
        Duration::from_secs(2),
    );
    assert!(
        gateway.stale(id(1)).is_some(),
        "what the old connection read stays stale"
    );
    gateway.ask(id(1)).await.unwrap();
    assert!(gateway.is_fresh(id(1)));
    // The new connection is tracked as well.
    server.command(&format!("DEL {}", id(1).redis_key()));
    eventually("forgotten", SOON, || gateway.is_missing(id(1))).await;
}

/// Each entry depends on the connection that read it, and on no other.
#[tokio::test]
async fn a_connection_takes_only_its_own_with_it() {
    let (server, gateway) = started().await;
    keep(&gateway, 1).await;
    let other = gateway.store.connect();
    other.up().await;
    let read_by_other = other.get(&[id(1)]).await.unwrap().stamp;
    drop(other);
    let gone = || server.command("CLIENT LIST");
    eventually("closed", SOON, || {
        format!("{:?}", gone()).matches("name=splittoken ").count() == 1
    })
    .await;
    assert!(gateway.is_fresh(id(1)));
    assert!(
        read_by_other.ended().is_some(),
        "nobody hears for a closed session"
    );
}

#[tokio::test]
async fn full() {
    let (server, gateway) = started().await;
    keep(&gateway, 1).await;
    server.command("CONFIG SET maxmemory 1");
    let error = gateway
        .session
        .put_new(id(2), b"new", in_an_hour())
        .await
        .unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("full", true));
    assert!(matches!(gateway.session.health(), Health::Up));
    let fetched = gateway.session.get(&[id(1)]).await.unwrap();
    assert_eq!(
        fetched.records,
        [Some(b"record".to_vec())],
        "existing tokens go on"
    );
    server.command("CONFIG SET maxmemory 0");
    assert_eq!(put(&gateway, 2, b"new").await, PutOutcome::Stored);
}

#[tokio::test]
async fn an_evicting_policy_is_reported() {
    let server = RedisServer::start();
    server.command("CONFIG SET maxmemory-policy allkeys-lru");
    let gateway = Gateway::of(&server);
    gateway.up().await;
    assert_eq!(gateway.store.evicting_policy().as_deref(), Some("allkeys-lru"));
}

#[tokio::test]
async fn a_replica_takes_no_writes() {
    let (server, gateway) = started().await;
    put(&gateway, 1, b"record").await;
    server.command("CONFIG SET replica-serve-stale-data yes");
    server.command("REPLICAOF 127.0.0.1 1");
    let error = gateway
        .session
        .put_new(id(2), b"new", in_an_hour())
        .await
        .unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("read_only", true));
}

#[tokio::test]
async fn another_database_is_another_store() {
    let (server, gateway) = started().await;
    keep(&gateway, 1).await;
    let config = StoreConfig::parse(&format!("{}/3", server.url()), &StoreFiles::default()).unwrap();
    let third = Gateway::open(&config);
    third.up().await;
    assert_eq!(third.ask(id(1)).await.unwrap(), None);
    let config = StoreConfig::parse(&format!("{}/99", server.url()), &StoreFiles::default()).unwrap();
    let nowhere = Gateway::open(&config);
    nowhere.down("protocol").await;
}
