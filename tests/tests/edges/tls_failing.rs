//! One certificate that cannot be used hurts no other, and the gateway tells of it.

use std::fs;

use anyhow::{Result, ensure};
use splittoken_tests::certs::Authority;
use splittoken_tests::shop::metric;
use splittoken_tests::tls::Session;
use splittoken_tests::wait;

use super::tls::RELOADED;
use super::{Secured, certificate_folder, route};

const NAMES: [&[&str]; 2] = [&["a.example"], &["b.example"]];

fn shown(secured: &Secured, name: &str) -> Result<Vec<u8>> {
    Session::connect(secured.address, secured.authority.pem(), name, &[])?.certificate()
}

/// What the metric says of each, in their order.
fn failing(secured: &Secured) -> Result<[u64; 2]> {
    let of = |number: usize| {
        let name = "splittoken_gateway_tls_certificate_failing";
        let series = format!("{name}{{certificate=\"certificate-{number}\"}}");
        metric(&secured.stand.gateway, &series)
    };
    Ok([of(0)?, of(1)?])
}

fn becomes(secured: &Secured, expected: [u64; 2]) -> Result<()> {
    wait::until_true(RELOADED, "the metric", || {
        failing(secured).is_ok_and(|now| now == expected)
    })
}

fn log(secured: &Secured) -> String {
    String::from_utf8_lossy(&secured.stand.gateway.output()).into_owned()
}

#[test]
fn a_certificate_is_renewed_beside_a_broken_one() -> Result<()> {
    let secured = Secured::built(&NAMES, |gateway| gateway.log("info"))?;
    assert_eq!(failing(&secured)?, [0, 0]);
    let (a, b) = (shown(&secured, "a.example")?, shown(&secured, "b.example")?);
    let key = certificate_folder(secured.folder.path(), 0).join("tls.key");
    let good = fs::read(&key)?;
    fs::write(&key, secured.authority.certify(&["a.example"])?.key_pem)?;
    becomes(&secured, [1, 0])?;
    secured.replace(1, &secured.authority.certify(&["b.example"])?)?;
    wait::until_true(RELOADED, "the renewed certificate", || {
        shown(&secured, "b.example").is_ok_and(|now| now != b)
    })?;
    becomes(&secured, [1, 0])?;
    assert_eq!(shown(&secured, "a.example")?, a);
    let said = "certificate-0 cannot be used: tls.key is not the key of tls.crt";
    assert_eq!(log(&secured).matches(said).count(), 1, "{}", log(&secured));
    fs::write(&key, good)?;
    becomes(&secured, [0, 0])?;
    assert_eq!(shown(&secured, "a.example")?, a);
    ensure!(
        log(&secured).contains("a certificate can be used again"),
        "{}",
        log(&secured)
    );
    // A Secret that is deleted takes its files with it.
    let folder = certificate_folder(secured.folder.path(), 1);
    let away = folder.with_extension("away");
    fs::rename(&folder, &away)?;
    becomes(&secured, [0, 1])?;
    ensure!(shown(&secured, "b.example").is_ok(), "it is shown no more");
    fs::rename(&away, &folder)?;
    becomes(&secured, [0, 0])
}

#[test]
fn a_broken_certificate_is_left_out_at_a_start_until_it_is_mended() -> Result<()> {
    let (authority, folder) = (Authority::new()?, tempfile::tempdir()?);
    for (number, names) in NAMES.iter().enumerate() {
        let certificate = authority.certify(names)?;
        certificate.mount(&certificate_folder(folder.path(), number))?;
    }
    fs::write(certificate_folder(folder.path(), 0).join("tls.crt"), "")?;
    let secured = Secured::mounted(authority, folder, NAMES.len(), route, |gateway| {
        gateway.log("info")
    })?;
    assert_eq!(failing(&secured)?, [1, 0]);
    let b = shown(&secured, "b.example")?;
    ensure!(
        shown(&secured, "a.example").is_err(),
        "there is no such certificate"
    );
    let text = log(&secured);
    for said in [
        "a certificate of the TLS listener is left out",
        "certificate-0 cannot be used: tls.crt holds no certificate in PEM",
    ] {
        ensure!(text.contains(said), "{said}: {text}");
    }
    secured.replace(0, &secured.authority.certify(&["a.example"])?)?;
    becomes(&secured, [0, 0])?;
    ensure!(shown(&secured, "a.example")? != b, "the wrong one is shown");
    assert_eq!(shown(&secured, "b.example")?, b);
    Ok(())
}

/// A certificate whose time is not now is shown all the same: whoever looks at it sees what is wrong.
#[test]
fn a_certificate_out_of_its_time_is_shown_and_said() -> Result<()> {
    let (authority, folder) = (Authority::new()?, tempfile::tempdir()?);
    let ended = authority.certify_between(NAMES[0], 2020..2021)?;
    ended.mount(&certificate_folder(folder.path(), 0))?;
    let good = authority.certify(NAMES[1])?;
    good.mount(&certificate_folder(folder.path(), 1))?;
    let secured = Secured::mounted(authority, folder, NAMES.len(), route, |gateway| {
        gateway.log("info")
    })?;
    let refused = |name: &str, why: &str| {
        let error = shown(&secured, name).err().map(|error| format!("{error:#}"));
        error.is_some_and(|error| error.contains(why))
    };
    let says = |place: usize, why: &str| {
        let lines = log(&secured);
        let place = format!("certificate-{place}");
        lines.lines().any(|line| {
            let all = ["WARN", &place, "clients are shown a certificate that", why];
            all.iter().all(|part| line.contains(part))
        })
    };
    ensure!(
        refused("a.example", "certificate expired"),
        "{:?}",
        shown(&secured, "a.example").err()
    );
    ensure!(says(0, "ended at 2021-01-01T00:00:00Z"), "{}", log(&secured));
    ensure!(!says(1, ""), "{}", log(&secured));
    let early = secured.authority.certify_between(NAMES[1], 2090..2091)?;
    secured.replace(1, &early)?;
    wait::until_true(RELOADED, "a word on the new one", || {
        says(1, "is not valid before 2090-01-01T00:00:00Z")
    })?;
    ensure!(
        refused("b.example", "certificate not valid yet"),
        "{:?}",
        shown(&secured, "b.example").err()
    );
    assert_eq!(failing(&secured)?, [0, 0]);
    Ok(())
}
