//! Paths that other servers read in another way: whatever they would make of what arrives, the rule that was applied
//! is the one of that path, or a stricter one.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use splittoken_tests::gate::{Gate, report};
use splittoken_tests::paths::Readers;
use splittoken_tests::raw;

use super::strict_and_lenient;

/// What stands between segments, for somebody.
const SEPARATORS: [&str; 14] = [
    "/",
    "//",
    "/./",
    "/;/",
    "/;x=y/",
    "%2f",
    "%2F",
    "%252f",
    "\\",
    "%5c",
    "%255c",
    "%c0%af",
    "%ef%bc%8f",
    "/%00/",
];

/// What leads upwards, for somebody.
const PARENTS: [&str; 18] = [
    "..",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "%252e%252e",
    "%25%32%65.",
    "..;",
    "..;x",
    "..%3b",
    "..%00",
    "..%20",
    "..%09",
    "..%0a",
    "..%0d%0a",
    "%c0%ae%c0%ae",
    "%e2%80%a4%e2%80%a4",
    "%u002e%u002e",
    "...",
];

/// Spellings of `/admin`, and what some servers take for it.
const DISGUISES: [&str; 46] = [
    "/admin",
    "/admin/",
    "/admin?",
    "/admin?x=/public",
    "/admin#",
    "/admin%23",
    "/admin%3f",
    "/admin%3F/public",
    "/%61dmin",
    "/adm%69n",
    "/%61%64%6d%69%6e",
    "/%2561dmin",
    "/admin;",
    "/admin;x=y",
    "/;/admin",
    "/;x/admin",
    "//admin",
    "///admin",
    "/./admin",
    "/%2e/admin",
    "/.;/admin",
    "/x/../admin",
    "/x/..;/admin",
    "/x/%2e%2e/admin",
    "/x//../admin",
    "/admin/.",
    "/admin/..",
    "/admin/x/..",
    "/admin//",
    "/admin\\",
    "\\admin",
    "/\\admin",
    "/%5cadmin",
    "/%2fadmin",
    "/admin%2f",
    "/admin%2fx",
    "/admin%00",
    "/admin%00.png",
    "/admin%20",
    "/admin%09",
    "/admin%0a",
    "/admin.",
    "/admin..",
    "/\u{e9}/../admin",
    "/%ff/../admin",
    "/admin\u{0}",
];

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A request without a token, or with one that lacks the scope, that arrives nowhere but where it may.
struct Trial<'t> {
    gate: &'t Gate,
    readers: &'t Readers,
}

impl Trial<'_> {
    /// Sends it; gives what some server makes of what arrived.
    fn arrived_as(&self, target: &str, has_token: bool) -> Result<Vec<String>> {
        let auth = if has_token { "{auth}⏎" } else { "" };
        let request = format!("GET {target} HTTP/1.1⏎Host: {{host}}⏎{auth}⏎");
        let mut client = raw::Client::connect(self.gate.stand.gateway.address())?;
        client.send(self.gate.bytes(&request))?;
        let status = client.read()?.map(|answer| answer.status);
        let arrived = self.gate.good_request()?;
        ensure!(matches!(status, Some(200 | 400 | 401 | 403)), "{status:?}");
        ensure!(
            arrived.len() == usize::from(status == Some(200)),
            "{status:?}, and {arrived:?}"
        );
        // A semicolon is refused by the rule that is found, when it is clear where the request ends.
        let has_parameters = target.contains(';') || target.contains("%3b");
        ensure!(
            status != Some(400) || has_parameters || client.closed()?,
            "the connection goes on"
        );
        let readings = arrived
            .iter()
            .map(|request| self.readers.readings(&request.target()));
        Ok(readings.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Whatever arrives without a token is public.
    fn stays_public(&self, target: &str) -> Result<()> {
        for reading in self.arrived_as(target, false)? {
            ensure!(is_below(&reading, "/public"), "somebody reads {reading}");
        }
        Ok(())
    }

    /// Whatever arrives with a token that lacks the scope is no admin's.
    fn stays_out(&self, target: &str) -> Result<()> {
        for reading in self.arrived_as(target, true)? {
            ensure!(!is_below(&reading, "/admin"), "somebody reads {reading}");
        }
        Ok(())
    }

    /// Whether some server would serve `/admin` for it.
    fn is_dangerous(&self, target: &str) -> Result<bool> {
        let readings = self.readers.readings(target)?;
        Ok(readings.iter().any(|reading| is_below(reading, "/admin")))
    }

    fn run(&self, targets: &BTreeSet<String>) {
        let dangerous = targets
            .iter()
            .filter(|target| self.is_dangerous(target).unwrap_or(false));
        let dangerous = dangerous.count();
        println!(
            "{} paths, {dangerous} of them are /admin for some server",
            targets.len()
        );
        assert!(
            dangerous * 8 > targets.len(),
            "the other servers see nothing in them"
        );
        let failures = targets.iter().filter_map(|target| {
            let judged = self.stays_public(target).and_then(|()| self.stays_out(target));
            Some((target.as_str(), judged.err()?))
        });
        report(failures.collect());
    }
}

#[test]
fn no_way_leads_up_and_out_of_a_public_path() -> Result<()> {
    let (gate, readers) = (strict_and_lenient()?, Readers::start()?);
    let mut targets = BTreeSet::new();
    for parent in PARENTS {
        for separator in SEPARATORS {
            targets.insert(format!("/public{separator}{parent}{separator}admin"));
            targets.insert(format!("/public/{parent}{separator}admin"));
        }
        targets.insert(format!("/public{parent}/admin"));
        targets.insert(format!("/public/x/{parent}/{parent}/admin"));
        targets.insert(format!("http://{{host}}/public/{parent}/admin"));
    }
    let plain: BTreeSet<String> = targets
        .iter()
        .map(|target| target.replace("{host}", &gate.stand.gateway.host()))
        .collect();
    let trial = Trial {
        gate: &gate,
        readers: &readers,
    };
    trial.run(&plain);
    Ok(())
}

#[test]
fn no_disguise_leads_into_a_strict_path() -> Result<()> {
    let (gate, readers) = (strict_and_lenient()?, Readers::start()?);
    let trial = Trial {
        gate: &gate,
        readers: &readers,
    };
    trial.run(&DISGUISES.iter().map(|target| (*target).to_owned()).collect());
    Ok(())
}

/// What is forwarded means the same to all: the servers agree on it, percent-encoding aside.
#[test]
fn what_arrives_has_one_reading() -> Result<()> {
    let (gate, readers) = (strict_and_lenient()?, Readers::start()?);
    let failures = [
        "/public",
        "/public/",
        "/public/a",
        "/public/%61",
        "/public/a%20b",
        "/public/a.b",
        "/public/.a",
        "/public/a.",
        "/public/...",
        "/public/a..b",
        "/public/~a",
        "/public/a:b",
        "/public/a@b",
        "/public/a+b",
        "/public/a%2Bb",
        "/public/caf%C3%A9",
        "/public/a,b",
        "/public/a=b",
        "/public/$a",
        "/public/a'b",
        "/public/(a)",
        "/public/!",
    ];
    let failures = failures.iter().filter_map(|target| {
        let agreed = || {
            let request = gate.passes(&format!("GET {target} HTTP/1.1⏎Host: {{host}}⏎⏎"))?;
            let readings = readers.readings(&request.target())?;
            let read: BTreeSet<String> = readings.iter().map(|reading| plain(reading)).collect();
            ensure!(read.len() == 1, "{read:?}");
            Ok(())
        };
        Some((*target, agreed().err()?))
    });
    report(failures.collect());
    Ok(())
}

/// Decoded, and without a slash at its end.
fn plain(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.trim_end_matches('/').as_bytes();
    while let [first, more @ ..] = rest {
        let digits = if *first == b'%' { more.get(..2) } else { None };
        let text = digits.and_then(|digits| str::from_utf8(digits).ok());
        let decoded = text.and_then(|text| u8::from_str_radix(text, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &more[2..] } else { more };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
