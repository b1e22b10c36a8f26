use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject, pem::SectionKind};
use splittoken_token::SecretBytes;
use webpki::anchor_from_trusted_cert;

use crate::{
    crd::{CaCertificateRef, CaCertificateSource},
    resources::Resources,
    verdict::{Problem, Reason},
};

/// What one entry may hold, with what stands between its certificates and with those that are there twice.
const MAX_ENTRY: usize = 256 * 1024;
/// What the certificates of one issuer, or of one backend, may come to. A company has a few of 1 to 2 KiB; whoever wants the public web's
/// authorities has them in the image. Each route of the issuer carries all of them to each gateway.
const MAX_TOTAL: usize = 64 * 1024;

/// The certificates of one issuer or backend: one PEM text each, alike however the bundles were laid out, and each once.
#[derive(Default)]
pub(super) struct Certificates {
    found: Vec<String>,
    bytes: usize,
}

impl Certificates {
    /// Adds the certificate authorities that an object of `namespace` refers to in `field`.
    pub(super) fn add_from(
        &mut self,
        resources: &Resources,
        namespace: &str,
        reference: &CaCertificateRef,
        field: &str,
    ) -> Result<(), Problem> {
        const KEY: &str = "ca.crt";
        let object = reference.object(namespace);
        let entry = match reference.kind {
            CaCertificateSource::ConfigMap => {
                let found = resources.config_maps.get(&object);
                found.map(|data| data.get(KEY).map(str::as_bytes))
            }
            CaCertificateSource::Secret => {
                let found = resources.secrets.get(&object);
                found.map(|data| data.get(KEY).map(SecretBytes::expose))
            }
        };
        let reason = Reason::InvalidCertificate;
        match entry.map(|entry| entry.map(|pem| self.add(pem))) {
            Some(Some(Ok(()))) => Ok(()),
            Some(Some(Err(fault))) => Err(Problem::new(field, reason, format!("{KEY} of {object} {fault}"))),
            Some(None) => Err(Problem::new(
                field,
                reason,
                format!("{object} has no entry {KEY}"),
            )),
            None => Err(Problem::unresolved(
                field,
                reason,
                format!("{object} is not known here"),
            )),
        }
    }

    /// Takes a bundle of PEM certificates apart and checks each.
    pub(super) fn add(&mut self, pem: &[u8]) -> Result<(), String> {
        if pem.len() > MAX_ENTRY {
            return Err(format!("holds more than {MAX_ENTRY} bytes"));
        }
        let mut place = 0;
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            place += 1;
            let (kind, der) = section.map_err(|_| "is no well-formed PEM".to_owned())?;
            if kind != SectionKind::Certificate {
                return Err("holds something else than certificates".to_owned());
            }
            let certificate = CertificateDer::from(der);
            if anchor_from_trusted_cert(&certificate).is_err() {
                return Err(format!("holds no X.509 certificate in place {place}"));
            }
            self.add_one(to_pem(&certificate))?;
        }
        if place == 0 {
            return Err("holds no certificate".to_owned());
        }
        Ok(())
    }

    fn add_one(&mut self, pem: String) -> Result<(), String> {
        if self.found.contains(&pem) {
            return Ok(());
        }
        self.bytes += pem.len();
        if self.bytes > MAX_TOTAL {
            return Err(format!("brings the certificates to more than {MAX_TOTAL} bytes"));
        }
        self.found.push(pem);
        Ok(())
    }

    /// In the order in which they came.
    pub(super) fn into_texts(self) -> Vec<String> {
        self.found
    }
}

/// RFC 7468: lines of 64 characters.
fn to_pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = rcgen::CertificateParams::new(vec!["ca.example".into()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (cert.pem(), key.serialize_pem())
    }

    fn parse(pem: &[u8]) -> Result<Vec<String>, String> {
        let mut certificates = Certificates::default();
        certificates.add(pem)?;
        Ok(certificates.into_texts())
    }

    /// A certificate of some kilobytes, as those of many names are.
    fn large() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = (0..100).map(|n| format!("host-{n}.ca.example.com")).collect();
        let params = rcgen::CertificateParams::new(names).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_certificate_that_is_there_again_counts_once() {
        let (one, other) = (large(), large());
        let mut certificates = Certificates::default();
        for bundle in [one.repeat(MAX_ENTRY / one.len()), format!("{other}{one}")] {
            certificates.add(bundle.as_bytes()).unwrap();
        }
        assert_eq!(
            certificates.into_texts().len(),
            2,
            "of {} there",
            MAX_ENTRY / one.len()
        );
    }

    #[test]
    fn an_issuer_has_so_many_and_no_more() {
        let mut certificates = Certificates::default();
        let mut bytes = 0;
        let refused = loop {
            let next = large();
            bytes += next.len();
            if let Err(fault) = certificates.add(next.as_bytes()) {
                break fault;
            }
        };
        assert!(refused.contains("more than 65536 bytes"), "{refused}");
        // Their own line ends are not ours, so the count is not exact here.
        assert!(bytes.abs_diff(MAX_TOTAL) < 2 * large().len(), "{bytes}");
    }

    #[test]
    fn bundles_come_apart_and_layout_does_not_matter() {
        let ((a, _), (b, _)) = (ca(), ca());
        let bundle = format!("# root\n{a}\nsome text\n{}", b.replace('\n', "\r\n"));
        let parsed = parse(bundle.as_bytes()).unwrap();
        assert_eq!(parsed.len(), 2);
        assert_eq!(parse(parsed.concat().as_bytes()).unwrap(), parsed);
        assert_eq!(parse(a.as_bytes()).unwrap(), parsed[..1]);
    }

    #[test]
    fn everything_else_is_refused() {
        let (cert, key) = ca();
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken = cert.replace("-----END", "-----ENDE");
        for (pem, message) in [
            ("", "no certificate"),
            ("hello", "no certificate"),
            (garbage, "no X.509"),
            (&broken, "well-formed"),
            (&format!("{cert}{key}"), "something else"),
            (&format!("{cert}{garbage}"), "place 2"),
            (&" ".repeat(MAX_ENTRY + 1), "more than 262144"),
        ] {
            let error = parse(pem.as_bytes()).unwrap_err();
            assert!(error.contains(message), "{error}: {message}");
        }
    }
}
