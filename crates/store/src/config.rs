//! Which store, and how to reach it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::StoreConfigError;

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

pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl StoreConfig {
    /// Reads `url`: `memory`, `redis://[user[:password]@]host[:port][/database]`, or the same with `rediss://` for TLS.
    ///
    /// The port is 6379 and the database 0 if not given; user and password are percent-decoded. `ca_pem` holds
    /// the only certificates to trust (otherwise those of the machine); `password_file` is read at each
    /// connect, and a line break at its end is left out. A user in the URL may have its password in the file.
    pub fn parse(
        url: &str,
        ca_pem: Option<&[u8]>,
        password_file: Option<PathBuf>,
    ) -> Result<Self, StoreConfigError> {
        if url == "memory" {
            return match (ca_pem, password_file) {
                (None, None) => Ok(Self(Kind::Memory)),
                _ => Err(StoreConfigError::MemoryOptions),
            };
        }
        let (tls, rest) = split_scheme(url)?;
        let (userinfo, address) = split_userinfo(rest)?;
        let (host, port, database) = parse_address(address)?;
        let (user, password) = credentials(userinfo, password_file)?;
        let tls = match (tls, ca_pem) {
            (false, None) => None,
            (false, Some(_)) => return Err(StoreConfigError::CaWithoutTls),
            (true, ca_pem) => Some(Tls {
                config: tls_config(ca_pem)?,
                name: ServerName::try_from(host.clone()).map_err(|_| StoreConfigError::Host)?,
            }),
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

fn tls_config(ca_pem: Option<&[u8]>) -> Result<Arc<ClientConfig>, StoreConfigError> {
    let provider = CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
    let roots = match ca_pem {
        Some(pem) => private_roots(pem)?,
        None => system_roots()?,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreConfigError::Tls(Arc::new(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn private_roots(pem: &[u8]) -> Result<RootCertStore, StoreConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| StoreConfigError::Ca(Arc::new(error)))?;
        roots
            .add(certificate)
            .map_err(|error| StoreConfigError::Ca(Arc::new(error)))?;
    }
    if roots.is_empty() {
        return Err(StoreConfigError::NoCertificate);
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, StoreConfigError> {
    let mut roots = RootCertStore::empty();
    // A machine's bundle may hold a certificate or two that cannot be read; the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(StoreConfigError::NoSystemRoots);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
