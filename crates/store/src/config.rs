//! Which store, and how to reach it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use crate::StoreConfigError;
use crate::tls::Tls;

/// Redis' own default.
const DEFAULT_PORT: u16 = 6379;

/// The highest database number that we take: Redis has 16 by default and rarely more.
pub(crate) const MAX_DATABASE: u16 = 9999;

/// Which store to use. Made once, when the process starts; everything that can be wrong without asking the
/// server is found here.
#[derive(Clone)]
pub struct StoreConfig(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Memory,
    Redis(Arc<Settings>),
}

/// How to reach one Redis.
pub(crate) struct Settings {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: u16,
    pub(crate) user: Option<String>,
    pub(crate) password: Password,
    pub(crate) tls: Option<Tls>,
}

pub(crate) enum Password {
    None,
    Inline(Zeroizing<String>),
    File(PathBuf),
}

/// The files that say how to reach a Redis. All of them are read again at each connect.
#[derive(Clone, Debug, Default)]
pub struct StoreFiles {
    /// The only certificates to trust for `rediss://`, in PEM; otherwise those of the machine count.
    pub ca: Option<PathBuf>,
    /// Our own certificate for `rediss://`, in PEM, followed by its chain.
    pub client_certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    pub client_key: Option<PathBuf>,
    /// The password; a line break at its end is left out.
    pub password: Option<PathBuf>,
}

impl StoreFiles {
    fn has_tls(&self) -> bool {
        self.ca.is_some() || self.client_certificate.is_some() || self.client_key.is_some()
    }
}

impl StoreConfig {
    /// Reads `url`: `memory`, `redis://[user[:password]@]host[:port][/database]`, or the same with `rediss://` for TLS.
    ///
    /// The port is 6379 and the database 0 if not given; user and password are percent-decoded. A user in the URL may have
    /// its password in a file.
    pub fn parse(url: &str, files: &StoreFiles) -> Result<Self, StoreConfigError> {
        if url == "memory" {
            return if files.has_tls() || files.password.is_some() {
                Err(StoreConfigError::MemoryOptions)
            } else {
                Ok(Self(Kind::Memory))
            };
        }
        let (tls, rest) = split_scheme(url)?;
        let (userinfo, address) = split_userinfo(rest)?;
        let (host, port, database) = parse_address(address)?;
        let (user, password) = credentials(userinfo, files.password.clone())?;
        let tls = if tls {
            let name = ServerName::try_from(host.clone()).map_err(|_| StoreConfigError::Host)?;
            Some(Tls::new(name, files)?)
        } else if files.has_tls() {
            return Err(StoreConfigError::CertificateWithoutTls);
        } else {
            None
        };
        Ok(Self(Kind::Redis(Arc::new(Settings {
            host,
            port,
            database,
            user,
            password,
            tls,
        }))))
    }

    /// For logs: scheme, host, port and database, and no credentials.
    pub fn describe(&self) -> String {
        match &self.0 {
            Kind::Memory => "memory".to_owned(),
            Kind::Redis(settings) => settings.to_string(),
        }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreConfig({})", self.describe())
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        let bracket = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let Self {
            host, port, database, ..
        } = self;
        write!(f, "{scheme}://{}{host}{}:{port}/{database}", bracket.0, bracket.1)
    }
}

/// Whether TLS is wanted, and what follows `://`.
fn split_scheme(url: &str) -> Result<(bool, &str), StoreConfigError> {
    let (scheme, rest) = url.split_once("://").ok_or(StoreConfigError::NotAUrl)?;
    match scheme {
        "redis" => Ok((false, rest)),
        "rediss" => Ok((true, rest)),
        // Only what can be a scheme is shown: something else might be a password.
        _ if scheme.len() <= 16 && scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            Err(StoreConfigError::Scheme(scheme.to_owned()))
        }
        _ => Err(StoreConfigError::NotAUrl),
    }
}

/// What stands before the last `@`, and what follows it.
fn split_userinfo(rest: &str) -> Result<(Option<&str>, &str), StoreConfigError> {
    match rest.rsplit_once('@') {
        Some((userinfo, _)) if userinfo.contains(['/', '?', '#', '@']) => Err(StoreConfigError::Encoding),
        Some((userinfo, address)) => Ok((Some(userinfo), address)),
        None => Ok((None, rest)),
    }
}

fn parse_address(address: &str) -> Result<(String, u16, u16), StoreConfigError> {
    if address.contains(['?', '#']) {
        return Err(StoreConfigError::Options);
    }
    let (authority, database) = address.split_once('/').unwrap_or((address, ""));
    let (host, port) = split_port(authority)?;
    let port = match port {
        None => DEFAULT_PORT,
        Some(text) => number(text)
            .filter(|port| *port > 0)
            .ok_or(StoreConfigError::Port)?,
    };
    let database = match database {
        "" => 0,
        text => number(text)
            .filter(|database| *database <= MAX_DATABASE)
            .ok_or(StoreConfigError::Database)?,
    };
    // A host is what resolvers and certificates take; this also keeps spaces and stray percent signs out.
    match ServerName::try_from(host) {
        Ok(_) => Ok((host.to_owned(), port, database)),
        Err(_) => Err(StoreConfigError::Host),
    }
}

/// Host and port; an IPv6 address stands in brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), StoreConfigError> {
    let Some(rest) = authority.strip_prefix('[') else {
        return Ok(match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        });
    };
    let (host, rest) = rest.split_once(']').ok_or(StoreConfigError::Host)?;
    match (rest, rest.strip_prefix(':')) {
        ("", _) => Ok((host, None)),
        (_, Some(port)) => Ok((host, Some(port))),
        _ => Err(StoreConfigError::Host),
    }
}

/// Digits only: `parse` alone would take a plus sign.
fn number(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn credentials(
    userinfo: Option<&str>,
    password_file: Option<PathBuf>,
) -> Result<(Option<String>, Password), StoreConfigError> {
    let (user, inline) = match userinfo.map(|text| text.split_once(':').unwrap_or((text, ""))) {
        None => (None, None),
        Some((_, password)) if password.contains(':') => return Err(StoreConfigError::Encoding),
        Some((user, password)) => (decode(user)?, decode(password)?),
    };
    let password = match (inline, password_file) {
        (Some(_), Some(_)) => return Err(StoreConfigError::TwoPasswords),
        (Some(password), None) => Password::Inline(Zeroizing::new(password)),
        (None, Some(path)) => Password::File(path),
        (None, None) if userinfo.is_some() => return Err(StoreConfigError::NoPassword),
        (None, None) => Password::None,
    };
    Ok((user, password))
}

/// Percent-decoded; `None` if empty.
fn decode(text: &str) -> Result<Option<String>, StoreConfigError> {
    let valid = |hex: &str| hex.len() >= 2 && hex.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !text.split('%').skip(1).all(valid) {
        return Err(StoreConfigError::Encoding);
    }
    let text = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| StoreConfigError::Encoding)?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

#[cfg(test)]
mod tests;
