use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject, pem::SectionKind};
use webpki::anchor_from_trusted_cert;

/// A bundle of the public web's authorities has some 150; a private one has a few.
const MAX_CERTIFICATES: usize = 200;
/// 200 certificates of a common size; a `ConfigMap` could hold four times as much.
const MAX_BYTES: usize = 256 * 1024;

/// Takes a bundle of PEM certificates apart and checks each: what comes out is one PEM text each, alike
/// however the bundle was laid out.
pub(super) fn parse(pem: &[u8]) -> Result<Vec<String>, String> {
    if pem.len() > MAX_BYTES {
        return Err(format!("holds more than {MAX_BYTES} bytes"));
    }
    let mut certificates = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|_| "is no well-formed PEM".to_owned())?;
        if kind != SectionKind::Certificate {
            return Err("holds something else than certificates".to_owned());
        }
        let certificate = CertificateDer::from(der);
        if anchor_from_trusted_cert(&certificate).is_err() {
            return Err(format!(
                "holds no X.509 certificate in place {}",
                certificates.len() + 1
            ));
        }
        certificates.push(to_pem(&certificate));
        if certificates.len() > MAX_CERTIFICATES {
            return Err(format!("holds more than {MAX_CERTIFICATES} certificates"));
        }
    }
    if certificates.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    Ok(certificates)
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
            (&cert.repeat(MAX_CERTIFICATES + 1), "more than 200"),
            (&" ".repeat(MAX_BYTES + 1), "more than 262144"),
        ] {
            let error = parse(pem.as_bytes()).unwrap_err();
            assert!(error.contains(message), "{error}: {message}");
        }
    }
}
