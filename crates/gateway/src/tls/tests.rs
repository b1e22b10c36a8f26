use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

use super::*;

/// What breaks a pair of files.
type Edit = fn(&mut CertificatePem);

fn pem(algorithm: &'static SignatureAlgorithm, names: &[&str]) -> CertificatePem {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    pem_of(&CertificateParams::new(names).unwrap(), algorithm)
}

fn pem_of(params: &CertificateParams, algorithm: &'static SignatureAlgorithm) -> CertificatePem {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    CertificatePem {
        chain: certificate.pem().into_bytes(),
        key: Zeroizing::new(key.serialize_pem().into_bytes()),
    }
}

fn found(name: &str, pem: Result<CertificatePem, String>) -> FoundCertificate {
    FoundCertificate {
        name: name.to_owned(),
        pem,
    }
}

fn good() -> CertificatePem {
    pem(&PKCS_ECDSA_P256_SHA256, &["a.example"])
}

fn by_name(pems: &[CertificatePem]) -> ByName {
    let provider = aws_lc_rs::default_provider();
    let shown = pems
        .iter()
        .map(|pem| Arc::new(Shown::new(pem, &provider).unwrap()));
    ByName(shown.collect())
}

#[test]
fn a_client_is_shown_the_certificate_of_the_name_that_it_asks_for() {
    let ec = &PKCS_ECDSA_P256_SHA256;
    let all = by_name(&[
        pem(ec, &["first.example"]),
        pem(ec, &["*.a.example"]),
        pem(ec, &["b.a.example", "c.example"]),
        pem(&PKCS_ED25519, &["first.example"]),
    ]);
    let schemes = [SignatureScheme::ECDSA_NISTP256_SHA256];
    let place = |name, schemes: &[_]| {
        let chosen = all.choose(name, schemes)?;
        all.0
            .iter()
            .position(|shown| std::ptr::eq(Arc::as_ptr(shown), chosen))
    };
    for (name, expected) in [
        (None, 0),
        (Some("unknown.example"), 0),
        (Some("first.example"), 0),
        (Some("x.a.example"), 1),
        (Some("b.a.example"), 2),
        (Some("C.Example"), 2),
        (Some("x.y.a.example"), 0),
        (Some("a.example"), 0),
        (Some(""), 0),
    ] {
        assert_eq!(place(name, &schemes), Some(expected), "{name:?}");
    }
    // What a client could not verify is of no use to it.
    let ed25519 = [SignatureScheme::ED25519];
    assert_eq!(place(Some("first.example"), &ed25519), Some(3));
    assert_eq!(place(Some("c.example"), &ed25519), Some(3));
    assert_eq!(place(None, &[SignatureScheme::RSA_PSS_SHA256]), None);
}

#[test]
fn what_cannot_be_shown_is_named() {
    assert_eq!(
        Certificates::new(&[], None).unwrap_err().reason(),
        "no_certificate"
    );
    let edits: [(Edit, &str); 8] = [
        (|pem| pem.chain.clear(), "tls.crt holds no certificate in PEM"),
        (|pem| pem.key.clear(), "tls.key holds no key in PEM"),
        (
            |pem| pem.chain = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
            "tls.crt: ",
        ),
        (
            |pem| std::mem::swap(&mut pem.chain, &mut *pem.key),
            "tls.crt holds a private key and no certificate",
        ),
        (
            |pem| pem.key = pem.chain.clone().into(),
            "tls.key holds a certificate and no key",
        ),
        (|pem| pem.key = good().key, "tls.key is not the key of tls.crt"),
        (
            |pem| {
                let text = String::from_utf8_lossy(&pem.key);
                let text = text.replace(" PRIVATE KEY", " ENCRYPTED PRIVATE KEY");
                pem.key = text.into_bytes().into();
            },
            "tls.key is encrypted; a key without a passphrase is needed",
        ),
        (
            |pem| {
                let text = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                    DEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
                pem.key = text.as_bytes().to_vec().into();
            },
            "tls.key is encrypted; a key without a passphrase is needed",
        ),
    ];
    for (edit, says) in edits {
        let mut broken = good();
        edit(&mut broken);
        let secret = String::from_utf8_lossy(&broken.key).into_owned();
        let error = Certificates::new(&[found("a", Ok(broken))], None).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.reason(), "certificate");
        let all = format!("of a cannot be used: {says}");
        assert!(text.contains(&all), "{text}");
        assert!(secret.is_empty() || !text.contains(&secret), "{text}");
    }
}

#[test]
fn one_that_cannot_be_used_stays_as_it_was_and_hurts_no_other() {
    let gone = || Err("it is gone".to_owned());
    let take = |a, b, former: Option<&Certificates>| {
        Certificates::new(&[found("x/a", a), found("x/b", b)], former).unwrap()
    };
    let says = |certificates: &Certificates| {
        let states = certificates.states.iter();
        let said = states.map(|state| {
            (
                state.short_name().to_owned(),
                state.is_shown(),
                state.problem.is_some(),
            )
        });
        said.collect::<Vec<_>>()
    };
    let state = |name: &str, is_shown, is_failing| (name.to_owned(), is_shown, is_failing);
    let first = take(gone(), Ok(good()), None);
    assert_eq!(says(&first), [state("a", false, true), state("b", true, false)]);
    let second = take(Ok(good()), gone(), Some(&first));
    assert_eq!(says(&second), [state("a", true, false), state("b", true, true)]);
    assert!(second.states[1].shows_what(&first.states[1]));
    let third = take(gone(), Ok(good()), Some(&second));
    assert_eq!(says(&third), [state("a", true, true), state("b", true, false)]);
    assert!(third.states[0].shows_what(&second.states[0]));
    assert!(!third.states[1].shows_what(&second.states[1]));
    // Both at once, which at a start would be the end.
    let fourth = take(gone(), gone(), Some(&third));
    assert_eq!(says(&fourth), [state("a", true, true), state("b", true, true)]);
    let error = Certificates::new(&[found("x/a", gone()), found("x/b", gone())], None).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("of x/a cannot") && text.contains("of x/b cannot"),
        "{text}"
    );
}

#[test]
fn two_of_one_name_are_refused() {
    let both = |a, b| Certificates::new(&[found(a, Ok(good())), found(b, Ok(good()))], None);
    assert!(both("z/c1", "z/c2").is_ok());
    for (a, b) in [("c1", "z/c1"), ("c1", "c1/"), ("/x/c1", "/y/c1//")] {
        let error = both(a, b).unwrap_err();
        assert_eq!(error.reason(), "same_name");
        let text = error.to_string();
        assert!(
            text.contains(&format!("{a} and {b} have")) && text.contains("\"c1\""),
            "{text}"
        );
    }
}

#[test]
fn what_is_not_valid_now_says_so() {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    let pem = pem_of(&params, &PKCS_ECDSA_P256_SHA256);
    let certificates = Certificates::new(&[found("a", Ok(pem))], None).unwrap();
    let at = |seconds| certificates.states[0].untimely(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    // `date -u -d 2020-01-01 +%s`, and of 2021.
    let (begin, end) = (1_577_836_800, 1_609_459_200);
    assert_eq!(
        at(begin - 1).as_deref(),
        Some("is not valid before 2020-01-01T00:00:00Z")
    );
    assert_eq!(at(begin), None);
    assert_eq!(at(end), None);
    assert_eq!(at(end + 1).as_deref(), Some("ended at 2021-01-01T00:00:00Z"));
}
