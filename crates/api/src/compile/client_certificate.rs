use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use splittoken_routing::ClientCertificate;
use splittoken_token::SecretBytes;

use super::certificates::Certificates;
use crate::{
    object::ObjectName,
    resources::Resources,
    verdict::{Problem, Reason},
};

/// What a key may have: an RSA key of 16384 bits has some 13 KiB in PEM.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// The entries of a Secret of the type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Reads the certificate and the key that a route of `namespace` refers to in `field`. Whether one belongs to the other
/// is for whoever shows them to find out.
pub(super) fn read(
    resources: &Resources,
    namespace: &str,
    name: &str,
    field: &str,
) -> Result<ClientCertificate, Problem> {
    let object = ObjectName::new("Secret", namespace, name);
    let secret = resources.secrets.get(&object).ok_or_else(|| {
        let message = format!("{object} is not known here");
        Problem::unresolved(field, Reason::SecretNotFound, message)
    })?;
    let entry = |key: &str| {
        let missing = || {
            Problem::new(
                field,
                Reason::SecretNotFound,
                format!("{object} has no entry {key}"),
            )
        };
        secret.get(key).ok_or_else(missing)
    };
    let (certificate, key) = (entry(CERTIFICATE)?, entry(KEY)?);
    let invalid = |key: &str, fault: &str| {
        let message = format!("{key} of {object} {fault}");
        Problem::new(field, Reason::InvalidCertificate, message)
    };
    let mut chain = Certificates::default();
    chain
        .add(certificate.expose())
        .map_err(|fault| invalid(CERTIFICATE, &fault))?;
    check_key(key).map_err(|fault| invalid(KEY, fault))?;
    Ok(ClientCertificate {
        chain: chain.into_texts(),
        key: key.clone(),
    })
}

fn check_key(key: &SecretBytes) -> Result<(), &'static str> {
    if key.expose().len() > MAX_KEY_BYTES {
        return Err("holds more than 16384 bytes");
    }
    PrivateKeyDer::from_pem_slice(key.expose())
        .map(drop)
        .map_err(|_| "holds no private key in PEM")
}
