//! The task that keeps one tracked connection up, and says so when it is not.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Value,
};
use splittoken_token::LookupId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::backoff::Backoff;
use super::{COMMAND_DEADLINE, Connected, RedisStore, State, reply};
use crate::config::Password;
use crate::session::Invalidations;
use crate::{Epoch, Outage, StoreError};

/// From the first packet to the answer to the last command of the greeting. Recovery is promised within 2 s.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// How often the connection is tried, and how long it may take to answer.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long it may take to answer when a command just got no answer: two more deadlines.
const PROBE_DEADLINE: Duration = Duration::from_millis(200);
/// Commands waiting to be written, before callers wait in line: a burst of one worker.
const QUEUE: usize = 1024;
/// Our name in `CLIENT LIST`.
const CLIENT_NAME: &str = "splittoken";

pub(super) struct Link {
    store: RedisStore,
    state: watch::Sender<State>,
    doubt: Arc<Notify>,
}

/// The task that moves a connection's bytes. When it goes, for whatever reason, nobody vouches any more for what
/// the connection read.
struct Driver {
    task: JoinHandle<()>,
    epoch: Epoch,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
        self.epoch.end();
    }
}

impl Link {
    pub(super) fn new(store: RedisStore, state: watch::Sender<State>, doubt: Arc<Notify>) -> Self {
        Self { store, state, doubt }
    }

    /// Connects, serves until the connection is lost, and starts over, for ever.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new();
        loop {
            match self.connect().await {
                Ok((connected, driver)) => {
                    let up_since = Instant::now();
                    let error = self.serve(connected, driver).await;
                    // A server that drops us as soon as we are in is not asked more and more often.
                    if up_since.elapsed() > HEARTBEAT {
                        backoff.reset();
                    }
                    self.down(error);
                }
                Err(error) => self.down(error),
            }
            sleep(backoff.next()).await;
        }
    }

    async fn connect(&self) -> Result<(Connected, Driver), StoreError> {
        let attempt = timeout(CONNECT_DEADLINE, self.dial());
        attempt
            .await
            .unwrap_or_else(|elapsed| Err(StoreError::unavailable_by(Outage::Deadline, elapsed)))
    }

    async fn dial(&self) -> Result<(Connected, Driver), StoreError> {
        let settings = &self.store.settings;
        let unreachable = |error| StoreError::unavailable_by(Outage::Unreachable, error);
        let stream = TcpStream::connect((settings.host.as_str(), settings.port))
            .await
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some(tls) = &settings.tls else {
            return self.greet(stream).await;
        };
        let config = tls
            .config()
            .map_err(|error| StoreError::unavailable_by(Outage::Certificates, error))?;
        let handshake = TlsConnector::from(config).connect(tls.name.clone(), stream);
        let stream = handshake
            .await
            .map_err(|error| StoreError::unavailable_by(Outage::Tls, error))?;
        self.greet(stream).await
    }

    /// Logs in and switches tracking on; only then may anything be read.
    async fn greet<S>(&self, stream: S) -> Result<(Connected, Driver), StoreError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let epoch = Epoch::new();
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(COMMAND_DEADLINE))
            .set_pipeline_buffer_size(QUEUE)
            .set_push_sender(pushes(epoch.clone(), self.store.listener.clone()));
        let (connection, driver) = MultiplexedConnection::new_with_config(&self.login()?, stream, config)
            .await
            .map_err(reply::failure)?;
        let driver = Driver {
            task: tokio::spawn(driver),
            epoch: epoch.clone(),
        };
        self.set_up(connection.clone()).await?;
        Ok((Connected { connection, epoch }, driver))
    }

    fn login(&self) -> Result<RedisConnectionInfo, StoreError> {
        let settings = &self.store.settings;
        let mut login = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(settings.database.into())
            .set_skip_set_lib_name();
        if let Some(user) = &settings.user {
            login = login.set_username(user);
        }
        match &settings.password {
            Password::None => Ok(login),
            Password::Inline(password) => Ok(login.set_password(password.as_str())),
            Password::File(path) => {
                let text = read_password(path)
                    .map_err(|error| StoreError::unavailable_by(Outage::PasswordFile, error))?;
                Ok(login.set_password(text.as_str()))
            }
        }
    }

    async fn set_up(&self, mut connection: MultiplexedConnection) -> Result<(), StoreError> {
        connection.set_response_timeout(CONNECT_DEADLINE);
        let mut pipeline = Pipeline::new();
        pipeline.cmd("CLIENT").arg("TRACKING").arg("ON");
        pipeline.cmd("PING");
        pipeline.cmd("CLIENT").arg("SETNAME").arg(CLIENT_NAME);
        pipeline.cmd("INFO").arg("memory");
        let answers = connection
            .send_packed_commands(&pipeline, 0, pipeline.len())
            .await
            .map_err(reply::failure)?;
        let Ok([tracking, ping, _name, info]) = <[Value; 4]>::try_from(answers) else {
            return Err(reply::nonsense("the greeting was answered by halves"));
        };
        reply::accepted(tracking)?;
        reply::accepted(ping)?;
        if let Some(policy) = reply::eviction_policy(info) {
            self.note_eviction(policy);
        }
        Ok(())
    }

    /// Warned of once and not by each connection: they all see the same server.
    fn note_eviction(&self, policy: String) {
        let evicting = Some(policy).filter(|policy| policy != "noeviction");
        let mut known = self.store.evicting_policy.lock();
        if *known == evicting {
            return;
        }
        if let Some(policy) = &evicting {
            warn!(
                store = %self.store.settings,
                policy,
                "Redis evicts records when it is full: clients will lose their sessions; set maxmemory-policy noeviction"
            );
        }
        *known = evicting;
    }

    /// Serves until the connection is lost, and says why.
    async fn serve(&self, connected: Connected, mut driver: Driver) -> StoreError {
        let connection = connected.connection.clone();
        self.up(connected);
        tokio::select! {
            _ = &mut driver.task => StoreError::unavailable(Outage::ConnectionLost),
            error = self.watch(connection) => error,
        }
    }

    /// Asks the server whether it is there, in turn and in doubt. Ends when it is not.
    async fn watch(&self, mut connection: MultiplexedConnection) -> StoreError {
        loop {
            let deadline = tokio::select! {
                () = sleep(HEARTBEAT) => HEARTBEAT,
                () = self.doubt.notified() => PROBE_DEADLINE,
            };
            connection.set_response_timeout(deadline);
            let answer = connection.send_packed_command(&Cmd::ping()).await;
            if let Err(error) = answer.map_err(reply::failure).and_then(reply::accepted) {
                return error;
            }
        }
    }

    fn up(&self, connected: Connected) {
        info!(store = %self.store.settings, "connected to the store");
        self.state.send_replace(State::Up(connected));
    }

    fn down(&self, error: StoreError) {
        self.state.send_modify(|state| {
            let (since, known) = match state {
                State::Up(_) => (Instant::now(), None),
                State::Down { since, error } => (*since, Some(error.reason())),
            };
            if known != Some(error.reason()) {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(store = %self.store.settings, reason = error.reason(), cause, "{error}");
            }
            *state = State::Down { since, error };
        });
    }
}

/// The password in a file, without a line break at its end.
fn read_password(path: &std::path::Path) -> io::Result<Zeroizing<String>> {
    let text = Zeroizing::new(std::fs::read_to_string(path)?);
    let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    if text.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
    }
    Ok(text)
}

/// Hands on what the server says unasked. Runs inside the connection's task, in the order of the wire: a change
/// is heard of before any answer that came after it.
fn pushes(
    epoch: Epoch,
    listener: Arc<dyn Invalidations>,
) -> impl Fn(PushInfo) -> Result<(), std::convert::Infallible> {
    move |push| {
        match push.kind {
            PushKind::Invalidate => invalidate(&push.data, &epoch, &*listener),
            PushKind::Disconnection => epoch.end(),
            _ => {}
        }
        Ok(())
    }
}

/// `[[key, …]]`, or `[nil]` for "everything", which is also what anything unknown is taken for.
fn invalidate(data: &[Value], epoch: &Epoch, listener: &dyn Invalidations) {
    let [Value::Array(keys)] = data else {
        epoch.void();
        return listener.flushed();
    };
    for key in keys {
        if let Value::BulkString(key) = key
            && let Some(id) = LookupId::from_redis_key(key)
        {
            listener.invalidated(&id);
        }
    }
}
