//! What can go wrong between the gateway and its store.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The error underneath. It names no key, no record and no password.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a command was not carried out. Clones share their cause, so that all who waited for one read can have it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be asked now. A write that ended so may or may not have happened.
    #[error("the store is unavailable: {why}")]
    Unavailable {
        /// What keeps us from it.
        why: Outage,
        /// The error underneath, if there is one.
        #[source]
        source: Option<Cause>,
    },
    /// The store has no memory left for a new record (Redis: `maxmemory` under `noeviction`). Reading still works.
    #[error("the store is full")]
    Full(#[source] Cause),
    /// The store does not know us, or does not let us do this: wrong password, or a command that the ACL lacks.
    #[error("the store denies access")]
    Denied(#[source] Cause),
    /// The store answered something that it should not.
    #[error("the store's answer makes no sense")]
    Protocol(#[source] Cause),
}

impl StoreError {
    /// One word for metrics and logs, of a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable { why, .. } => why.reason(),
            Self::Full(_) => "full",
            Self::Denied(_) => "denied",
            Self::Protocol(_) => "protocol",
        }
    }

    /// Whether the same command may succeed later without anybody changing a setting.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full(_))
    }

    /// Whether a write that ended so may have happened all the same.
    pub(crate) fn outcome_unknown(&self) -> bool {
        matches!(
            self,
            Self::Unavailable {
                why: Outage::Deadline | Outage::ConnectionLost,
                ..
            }
        )
    }

    pub(crate) fn unavailable(why: Outage) -> Self {
        Self::Unavailable { why, source: None }
    }

    pub(crate) fn unavailable_by(why: Outage, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable {
            why,
            source: Some(Arc::new(source)),
        }
    }
}

/// What keeps us from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outage {
    /// The first connection is not up yet.
    Connecting,
    /// No connection: refused, no route, or no such name.
    Unreachable,
    /// The TLS handshake failed.
    Tls,
    /// A certificate or key file cannot be read, or does not hold one.
    Certificates,
    /// No answer within the deadline.
    Deadline,
    /// The connection ended.
    ConnectionLost,
    /// Redis is loading its data set (`LOADING`).
    Loading,
    /// Redis is a replica and takes no writes (`READONLY`).
    ReadOnly,
    /// Redis refuses commands for now (`BUSY`, `MASTERDOWN`, `MISCONF`, too many clients, …).
    Refusing,
    /// The password file cannot be read, or is empty.
    PasswordFile,
    /// A record was there and gone again, twice in a row.
    Contended,
}

impl Outage {
    /// One word for metrics and logs, of a closed set.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Certificates => "certificates",
            Self::Deadline => "deadline",
            Self::ConnectionLost => "connection_lost",
            Self::Loading => "loading",
            Self::ReadOnly => "read_only",
            Self::Refusing => "refusing",
            Self::PasswordFile => "password_file",
            Self::Contended => "contended",
        }
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "not connected yet",
            Self::Unreachable => "no connection to it can be made",
            Self::Tls => "the TLS handshake failed",
            Self::Certificates => "the files with its certificates cannot be used",
            Self::Deadline => "no answer in time",
            Self::ConnectionLost => "the connection was lost",
            Self::Loading => "it is loading its data",
            Self::ReadOnly => "it is a read-only replica",
            Self::Refusing => "it refuses commands for now",
            Self::PasswordFile => "the password file cannot be used",
            Self::Contended => "a record came and went under our hands",
        })
    }
}

/// What is wrong with the settings of a store. One clear line each; never the password.
#[derive(Debug, thiserror::Error)]
pub enum StoreConfigError {
    /// Neither `memory` nor something with `://`.
    #[error("the store is neither `memory` nor a URL like redis://host:6379/0")]
    NotAUrl,
    /// A scheme that we do not speak.
    #[error("the store's URL has the unknown scheme {0:?}: use redis:// or rediss://")]
    Scheme(String),
    /// No host, or one that cannot be a name or an address.
    #[error("the store's URL has no valid host")]
    Host,
    /// Not a port.
    #[error("the port in the store's URL is not a number from 1 to 65535")]
    Port,
    /// Not a database.
    #[error("the database in the store's URL is not a number from 0 to {max}", max = crate::config::MAX_DATABASE)]
    Database,
    /// `?` or `#`: there are no such options.
    #[error("the store's URL has options after `?` or `#`, and there are none")]
    Options,
    /// A user or password that is not plain.
    #[error("the user or password in the store's URL needs percent-encoding (of `/ ? # @ : %`)")]
    Encoding,
    /// A user, but no password.
    #[error("the store's URL names a user but no password is given, in the URL or in a password file")]
    NoPassword,
    /// Two passwords.
    #[error("the store's password is given twice, in the URL and in a password file")]
    TwoPasswords,
    /// A CA or a client certificate where no TLS is spoken.
    #[error("a certificate is given, but the store's URL is not rediss://")]
    CertificateWithoutTls,
    /// Settings that the memory store has no use for.
    #[error("the memory store takes neither certificates nor a password file")]
    MemoryOptions,
    /// A file cannot be read.
    #[error("the store's {what} file cannot be read")]
    File {
        /// What it should hold.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A client certificate or a key alone.
    #[error("a client certificate for the store needs its key, and a key its certificate")]
    HalfClientCertificate,
    /// No certificate, no key, or two that do not belong together.
    #[error("the store's client certificate or its key cannot be used")]
    ClientCertificate(#[source] Cause),
    /// The CA file holds no certificate.
    #[error("the store's CA file holds no certificate in PEM")]
    NoCertificate,
    /// The CA file cannot be read as certificates.
    #[error("the store's CA file is not a valid certificate")]
    Ca(#[source] Cause),
    /// The machine has no CA certificates of its own.
    #[error("this machine has no trusted CA certificates: give the store's CA as a file")]
    NoSystemRoots,
    /// The TLS library refuses its settings.
    #[error("TLS cannot be set up")]
    Tls(#[source] Cause),
}

impl StoreConfigError {
    /// One word for metrics and logs, of a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAUrl => "not_a_url",
            Self::Scheme(_) => "scheme",
            Self::Host => "host",
            Self::Port => "port",
            Self::Database => "database",
            Self::Options => "options",
            Self::Encoding => "encoding",
            Self::NoPassword => "no_password",
            Self::TwoPasswords => "two_passwords",
            Self::CertificateWithoutTls => "certificate_without_tls",
            Self::MemoryOptions => "memory_options",
            Self::File { .. } => "file",
            Self::HalfClientCertificate => "half_client_certificate",
            Self::ClientCertificate(_) => "client_certificate",
            Self::NoCertificate => "no_certificate",
            Self::Ca(_) => "ca",
            Self::NoSystemRoots => "no_system_roots",
            Self::Tls(_) => "tls",
        }
    }
}
