//! A real redis-server of the test's own.

mod monitor;
mod resp;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

pub use monitor::Monitor;
pub use resp::{Connection, Reply};

use crate::certs::Authority;
use crate::process::Process;
use crate::{parts, ports, secret, wait};

/// All that the README tells an administrator to allow a gateway's user.
pub const DOCUMENTED_ACL: [&str; 10] = [
    "resetkeys",
    "~st1:*",
    "resetchannels",
    "-@all",
    "+get",
    "+set",
    "+ping",
    "+info",
    "+client|tracking",
    "+client|setname",
];

/// A running Redis. `default` has no password, unless [`Builder::acl`] was asked for.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    program: PathBuf,
    arguments: Vec<String>,
    folder: TempDir,
    port: u16,
    tls_port: Option<u16>,
    admin: Option<Credentials>,
    user: Option<Credentials>,
}

/// How a Redis is to be started.
#[derive(Debug, Default)]
pub struct Builder {
    arguments: Vec<String>,
    tls: bool,
    acl: Option<Vec<String>>,
}

/// An ACL user with its password.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password, made at run time.
    pub password: String,
}

impl Redis {
    /// Starts one that keeps everything in memory, on a free port of 127.0.0.1.
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Starts one with options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `redis://127.0.0.1:PORT`, or `redis://user@127.0.0.1:PORT` with an ACL user; the password goes by
    /// [`Self::password_file`].
    pub fn url(&self) -> String {
        self.url_of("redis", self.port)
    }

    /// `rediss://…` of one that was started with [`Builder::tls`].
    pub fn tls_url(&self) -> Result<String> {
        Ok(self.url_of(
            "rediss",
            self.tls_port.context("this Redis was started without TLS")?,
        ))
    }

    /// The file with the certificate of the authority behind [`Self::tls_url`].
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A file that holds the ACL user's password.
    pub fn password_file(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// The ACL user of [`Builder::acl`].
    pub fn user(&self) -> Option<&Credentials> {
        self.user.as_ref()
    }

    /// Where it listens without TLS.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A connection of the test's own that may do everything.
    pub fn connect(&self) -> Result<Connection> {
        let mut connection = Connection::open(self.address())?;
        if let Some(Credentials { user, password }) = &self.admin {
            connection.command(&["AUTH", user, password])?;
        }
        Ok(connection)
    }

    /// Runs one command, on a connection of its own. An error reply is an error.
    pub fn command(&self, words: &[&str]) -> Result<Reply> {
        self.connect()?.command(words)
    }

    /// [`Self::dump_all`], less the keys of issuers, which gateways put there for each other when they have fetched them.
    pub fn dump(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut all = self.dump_all()?;
        all.retain(|(_, value)| !is_key_set(value));
        Ok(all)
    }

    /// The keys of issuers that lie there.
    pub fn key_sets(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut all = self.dump_all()?;
        all.retain(|(_, value)| is_key_set(value));
        Ok(all)
    }

    /// Every key with its value, of the database 0. Values of other types than string come as their members, joined
    /// by line feeds: enough to search in.
    pub fn dump_all(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut connection = self.connect()?;
        let keys = connection.command(&["KEYS", "*"])?.items();
        keys.into_iter()
            .map(|key| {
                let key = key.bytes();
                let value = value_of(&mut connection, &key)?;
                Ok((key, value))
            })
            .collect()
    }

    /// Records every command that it gets from now on.
    pub fn monitor(&self) -> Result<Monitor> {
        Monitor::start(self.connect()?)
    }

    /// FLUSHALL.
    pub fn flush(&self) -> Result<()> {
        self.command(&["FLUSHALL"]).map(drop)
    }

    /// SIGSTOP: connections stay open and nothing is answered.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// SIGKILL: connections are refused, and what was kept is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Kills it if it runs, then starts it again on the same port, empty, and waits until it answers.
    pub fn restart(&mut self) -> Result<()> {
        // It may have been killed by the test already.
        let _ = self.process.kill();
        self.process = launch(&self.program, &self.arguments)?;
        self.wait_ready()
    }

    /// The process id, to measure it by.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it wrote so far.
    pub fn output(&self) -> Vec<u8> {
        self.process.output()
    }

    fn url_of(&self, scheme: &str, port: u16) -> String {
        let user = self
            .user
            .as_ref()
            .map(|credentials| format!("{}@", credentials.user))
            .unwrap_or_default();
        format!("{scheme}://{user}127.0.0.1:{port}")
    }

    fn wait_ready(&mut self) -> Result<()> {
        let address = self.address();
        self.process.ready(wait::START, |_| {
            let mut connection = Connection::open(address).ok()?;
            // With an ACL it answers NOAUTH, which is an answer too.
            connection.send(&["PING"]).ok().map(drop)
        })
    }
}

impl Builder {
    /// One more setting of redis.conf, such as `("maxmemory", "2mb")`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([format!("--{name}"), value.to_owned()]);
        self
    }

    /// Listens with TLS as well, with a certificate for 127.0.0.1 of a private authority.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Switches `default` off and makes a user `gateway` with these ACL rules, such as `["~st:*", "+@all"]`.
    #[must_use]
    pub fn acl(mut self, rules: &[&str]) -> Self {
        self.acl = Some(rules.iter().map(|rule| (*rule).to_owned()).collect());
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(mut self) -> Result<Redis> {
        let program = parts::path("SPLITTOKEN_REDIS_SERVER")?;
        let folder = tempfile::tempdir()?;
        let port = ports::free()?;
        for (name, value) in [
            ("bind", "127.0.0.1"),
            ("save", ""),
            ("appendonly", "no"),
            ("enable-debug-command", "local"),
        ] {
            self = self.set(name, value);
        }
        let path = folder
            .path()
            .to_str()
            .context("a temporary folder whose name is not UTF-8")?
            .to_owned();
        self = self.set("port", &port.to_string()).set("dir", &path);
        let tls_port = if self.tls {
            Some(self.add_tls(&folder)?)
        } else {
            None
        };
        let (admin, user) = self.add_acl(&folder)?;
        let process = launch(&program, &self.arguments)?;
        let mut redis = Redis {
            process,
            program,
            arguments: self.arguments,
            folder,
            port,
            tls_port,
            admin,
            user,
        };
        redis.wait_ready()?;
        Ok(redis)
    }

    fn add_tls(&mut self, folder: &TempDir) -> Result<u16> {
        let authority = Authority::new()?;
        let ca = authority.write(folder.path())?;
        let (certificate, key) = authority
            .certify(&["127.0.0.1", "localhost"])?
            .write(folder.path())?;
        let port = ports::free()?;
        let settings = [
            ("tls-port", port.to_string()),
            ("tls-cert-file", certificate.display().to_string()),
            ("tls-key-file", key.display().to_string()),
            ("tls-ca-cert-file", ca.display().to_string()),
            ("tls-auth-clients", "no".to_owned()),
        ];
        for (name, value) in settings {
            self.arguments.extend([format!("--{name}"), value]);
        }
        Ok(port)
    }

    /// The users stand in a file, so that no password is an argument that `ps` shows.
    fn add_acl(&mut self, folder: &TempDir) -> Result<(Option<Credentials>, Option<Credentials>)> {
        let Some(rules) = self.acl.take() else {
            return Ok((None, None));
        };
        let new = |user: &str| Credentials {
            user: user.to_owned(),
            password: secret::text(),
        };
        let (admin, user) = (new("admin"), new("gateway"));
        let text = format!(
            "user default off\nuser admin on >{} ~* &* +@all\nuser gateway on >{} {}\n",
            admin.password,
            user.password,
            rules.join(" ")
        );
        let file = folder.path().join("users.acl");
        fs::write(&file, text)?;
        fs::write(folder.path().join("password"), &user.password)?;
        self.arguments
            .extend(["--aclfile".to_owned(), file.display().to_string()]);
        Ok((Some(admin), Some(user)))
    }
}

fn launch(program: &PathBuf, arguments: &[String]) -> Result<Process> {
    Process::start("redis-server", Command::new(program).args(arguments))
}

/// By the third byte of its head.
fn is_key_set(value: &[u8]) -> bool {
    matches!(value, [1, _, 3, 0, ..])
}

fn value_of(connection: &mut Connection, key: &[u8]) -> Result<Vec<u8>> {
    let kind = connection.command_bytes(&[b"TYPE", key])?.bytes();
    let command: &[&[u8]] = match kind.as_slice() {
        b"string" => &[b"GET", key],
        b"hash" => &[b"HGETALL", key],
        b"set" => &[b"SMEMBERS", key],
        b"list" => &[b"LRANGE", key, b"0", b"-1"],
        b"zset" => &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
        b"stream" => &[b"DUMP", key],
        // It expired after it was listed.
        b"none" => return Ok(Vec::new()),
        other => bail!("a key of the type {}", String::from_utf8_lossy(other)),
    };
    Ok(connection.command_bytes(command)?.bytes())
}
