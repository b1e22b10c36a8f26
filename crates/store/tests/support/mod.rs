//! A real redis-server of the test's own, and a gateway's view of a store.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file is a crate of its own and uses its part of this"
)]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use splittoken_store::near::{Filled, Lookup, MayRefuse, NearCache, NearConfig, Now, Overloaded, Stale};
use splittoken_store::{
    Epoch, Health, Invalidations, Store, StoreConfig, StoreError, StoreFiles, StoreSession,
};
use splittoken_token::{LookupId, Realm, Use};
use tempfile::TempDir;

/// What the design promises, times ten: the bound of a test on a busy machine.
pub const RECOVERY: Duration = Duration::from_secs(20);

/// For what takes no time but may have to wait for its turn.
pub const SOON: Duration = Duration::from_secs(10);

/// A redis-server on a free port of the loopback interface, killed when dropped.
pub struct RedisServer {
    child: Child,
    pub port: u16,
    arguments: Vec<String>,
    pub directory: TempDir,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::start_with(|port, _| vec!["--port".into(), port.to_string()])
    }

    /// `arguments` are made from the port to listen on and the server's own folder.
    pub fn start_with(arguments: impl Fn(u16, &TempDir) -> Vec<String>) -> Self {
        // The port is free when it is chosen; should somebody else take it, there are others.
        for _ in 0..5 {
            let directory = tempfile::tempdir().unwrap();
            let port = free_port();
            let arguments = arguments(port, &directory);
            let child = spawn(&directory, &arguments);
            let mut server = Self {
                child,
                port,
                arguments,
                directory,
            };
            if server.answers() {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    fn answers(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < SOON {
            let is_there = TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if is_there {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// As the default user, on a connection of its own.
    pub fn command(&self, line: &str) -> redis::Value {
        let client = redis::Client::open(self.url()).unwrap();
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        command.query(&mut client.get_connection().unwrap()).unwrap()
    }

    /// Cuts every connection of the gateway, and says how many there were.
    pub fn cut_connections(&self) -> usize {
        let redis::Value::BulkString(list) = self.command("CLIENT LIST") else {
            panic!("no list of clients");
        };
        let list = String::from_utf8(list).unwrap();
        let ours = list.lines().filter(|line| line.contains(" name=splittoken "));
        let ids = ours.map(|line| line.split(' ').next().unwrap().strip_prefix("id=").unwrap());
        ids.map(|id| self.command(&format!("CLIENT KILL ID {id}")))
            .count()
    }

    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.child = spawn(&self.directory, &self.arguments);
        assert!(self.answers(), "redis-server does not come back");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Below Linux's range for outgoing connections (32768 and up), so that none of those takes it while the server is down.
fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Test processes that run at once start at different places.
    let first = usize::try_from(std::process::id()).unwrap() * 97;
    let ports = || 12_000 + u16::try_from((first + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000).unwrap();
    std::iter::repeat_with(ports)
        .take(20_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

fn spawn(directory: &TempDir, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(arguments)
        .arg("--dir")
        .arg(directory.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is needed for this test: apt-get install redis-server")
}

/// What a read of the test's gateway fails with.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MayRefuse for ReadError {
    fn is_refusal(&self) -> bool {
        false
    }
}

/// A gateway: a store, one worker's session and the near cache, whose values are the records themselves.
pub struct Gateway {
    pub store: Store,
    pub session: StoreSession,
    pub near: Arc<NearCache<Vec<u8>, ReadError>>,
    pub reads: AtomicUsize,
    issuer: Epoch,
}

impl Gateway {
    pub fn open(config: &StoreConfig) -> Self {
        let near = Arc::new(NearCache::new(NearConfig::default()));
        let listener: Arc<dyn Invalidations> = near.clone();
        let store = Store::open(config, listener);
        Self {
            session: store.connect(),
            store,
            near,
            reads: AtomicUsize::new(0),
            issuer: Epoch::new(),
        }
    }

    pub fn of(server: &RedisServer) -> Self {
        Self::open(&StoreConfig::parse(&server.url(), &StoreFiles::default()).unwrap())
    }

    pub async fn up(&self) {
        tokio::time::timeout(RECOVERY, self.session.up())
            .await
            .unwrap_or_else(|_| panic!("not up: {:?}", self.session.health()));
    }

    /// Waits until the session is down, for the reason given.
    pub async fn down(&self, expected: &str) {
        eventually(
            &format!("down: {expected}"),
            RECOVERY,
            || matches!(self.session.health(), Health::Down { reason, .. } if reason == expected),
        )
        .await;
    }

    /// As an API request does: from the near cache, or else by a read for all.
    pub async fn ask(&self, id: LookupId) -> Result<Option<Vec<u8>>, ReadError> {
        match self.look(id) {
            Lookup::Fresh(record) => Ok(Some(record)),
            Lookup::Stale(_) | Lookup::Miss => self.fill(id, async || {}).await,
        }
    }

    /// `meanwhile` happens after the record was read and before anybody knows.
    pub async fn fill(&self, id: LookupId, meanwhile: impl AsyncFn()) -> Result<Option<Vec<u8>>, ReadError> {
        let ids = [id];
        let read = async || {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let issuer = self.issuer.stamp();
            let mut fetched = self.session.get(&ids).await?;
            meanwhile().await;
            Ok(fetched.records.pop().flatten().map(|value| Filled {
                weight: u32::try_from(value.len()).unwrap(),
                value,
                exp: u64::MAX,
                connection: fetched.stamp,
                issuer,
            }))
        };
        self.near.fill(self.key(id), realm(), &ids, read).await
    }

    pub fn look(&self, id: LookupId) -> Lookup<Vec<u8>> {
        self.near.lookup(&self.key(id), Now::read())
    }

    pub fn is_fresh(&self, id: LookupId) -> bool {
        matches!(self.look(id), Lookup::Fresh(_))
    }

    pub fn is_missing(&self, id: LookupId) -> bool {
        matches!(self.look(id), Lookup::Miss)
    }

    pub fn stale(&self, id: LookupId) -> Option<Stale<Vec<u8>>> {
        match self.look(id) {
            Lookup::Stale(stale) => Some(stale),
            Lookup::Fresh(_) | Lookup::Miss => None,
        }
    }

    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn key(&self, id: LookupId) -> splittoken_store::near::CacheKey {
        self.near.key(&realm(), Use::Access, id.as_bytes())
    }
}

pub fn realm() -> Realm {
    Realm::of("SplitTokenIssuer", "ns", "issuer")
}

pub fn id(number: u64) -> LookupId {
    let mut bytes = [9; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    LookupId::from_bytes(bytes)
}

pub fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

/// Waits for a condition, and fails if it does not come true in time.
pub async fn eventually(what: &str, within: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begun.elapsed()
}

/// The quickest of ten times, for a promise of so few milliseconds that a busy machine takes longer for nothing at all.
pub async fn quickest(mut call: impl AsyncFnMut()) -> Duration {
    let mut times = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        call().await;
        times.push(begun.elapsed());
    }
    times.into_iter().min().unwrap_or_default()
}

/// Asserts a bound of ten times the promise, and prints what it was.
pub fn in_time(what: &str, took: Duration, promise: Duration) {
    eprintln!("{what}: {took:?} (promised: {promise:?})");
    assert!(
        took <= promise * 10,
        "{what} took {took:?}, promised were {promise:?}"
    );
}
