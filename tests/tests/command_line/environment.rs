//! Every flag has an environment variable, and is stronger than it.

use anyhow::{Context as _, Result};
use serde_json::Value;
use splittoken_tests::http::Client;
use splittoken_tests::process::Process;
use splittoken_tests::raw;
use splittoken_tests::redis::Redis;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wait;

use super::{Desk, PATIENCE, ROUTES, address, run, start};

/// All variables, each with a value that cannot be used.
const UNUSABLE: [(&str, &str); 13] = [
    ("SPLITTOKEN_ROUTES", "/nonexistent/routes.yaml"),
    ("SPLITTOKEN_LISTEN", "no-address"),
    ("SPLITTOKEN_ADMIN", "no-address"),
    ("SPLITTOKEN_STORE", "no-url"),
    ("SPLITTOKEN_STORE_CA", "/nonexistent/ca.pem"),
    ("SPLITTOKEN_STORE_PASSWORD_FILE", "/nonexistent/password"),
    ("SPLITTOKEN_KEYRING", "/nonexistent/keyring.json"),
    ("SPLITTOKEN_THREADS", "none"),
    ("SPLITTOKEN_TRUSTED_PROXIES", "everybody"),
    ("SPLITTOKEN_MIN_DRAIN", "soon"),
    ("SPLITTOKEN_DRAIN", "later"),
    ("SPLITTOKEN_LOG_FORMAT", "xml"),
    ("SPLITTOKEN_ACCESS_LOG", "some"),
];

fn flag(variable: &str) -> String {
    variable
        .replacen("SPLITTOKEN_", "--", 1)
        .replace('_', "-")
        .to_lowercase()
}

#[test]
fn each_variable_is_read_and_its_flag_is_named_when_it_is_bad() -> Result<()> {
    let desk = Desk::new()?;
    for (name, value) in UNUSABLE {
        let mut environment = vec![
            ("SPLITTOKEN_LISTEN", "127.0.0.1:0"),
            ("SPLITTOKEN_ADMIN", "127.0.0.1:0"),
            (name, value),
        ];
        let routes = desk.at("routes.yaml");
        if name != "SPLITTOKEN_ROUTES" {
            environment.push(("SPLITTOKEN_ROUTES", &routes));
        }
        let outcome = run(&["gateway"], &environment)?;
        let of_it = [flag(name)];
        let mut names: Vec<&str> = of_it.iter().map(String::as_str).collect();
        if name != "SPLITTOKEN_STORE" {
            names.push(value);
        }
        outcome.is_refusal(&names).with_context(|| name)?;
    }
    Ok(())
}

/// A Redis with TLS and a password, so that every setting has something to do.
struct Place {
    desk: Desk,
    redis: Redis,
    upstream: Upstream,
    listen: String,
    admin: String,
}

impl Place {
    fn new() -> Result<Self> {
        let (desk, upstream) = (Desk::new()?, Upstream::start()?);
        let rule = format!(
            "authentication: Disabled\n    backendRefs: [{{url: '{}'}}]",
            upstream.url()
        );
        desk.put(
            "routes.yaml",
            ROUTES.replace("backendRefs: [{url: 'http://127.0.0.1:1'}]", &rule),
        )?;
        Ok(Self {
            desk,
            redis: Redis::builder().tls().acl(&["~*", "&*", "+@all"]).start()?,
            upstream,
            listen: address()?,
            admin: address()?,
        })
    }

    /// Every variable with a value that can be seen to work.
    fn settings(&self) -> Result<Vec<(&'static str, String)>> {
        Ok(vec![
            ("SPLITTOKEN_ROUTES", self.desk.at("routes.yaml")),
            ("SPLITTOKEN_LISTEN", self.listen.clone()),
            ("SPLITTOKEN_ADMIN", self.admin.clone()),
            ("SPLITTOKEN_STORE", self.redis.tls_url()?),
            ("SPLITTOKEN_STORE_CA", self.redis.ca_file().display().to_string()),
            (
                "SPLITTOKEN_STORE_PASSWORD_FILE",
                self.redis.password_file().display().to_string(),
            ),
            ("SPLITTOKEN_KEYRING", self.desk.at("keyring.json")),
            ("SPLITTOKEN_THREADS", "3".to_owned()),
            ("SPLITTOKEN_TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.0/8".to_owned()),
            ("SPLITTOKEN_MIN_DRAIN", "250ms".to_owned()),
            ("SPLITTOKEN_DRAIN", "7s".to_owned()),
            ("SPLITTOKEN_LOG_FORMAT", "json".to_owned()),
            ("SPLITTOKEN_ACCESS_LOG", "on".to_owned()),
        ])
    }

    /// That each of [`Self::settings`] is in force.
    fn works(&self, mut gateway: Process) -> Result<()> {
        let http = Client::new()?;
        let config = || http.get(&format!("http://{}/config", self.admin))?.json();
        // Threads, and with them TLS, authority, user and password.
        wait::until_true(PATIENCE, "three workers at the store", || {
            config().is_ok_and(|config| config["store"]["workers_up"] == 3 && config["store"]["workers"] == 3)
        })?;
        let request = format!(
            "GET /seen HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n",
            self.listen
        );
        let answer = raw::exchange(self.listen.parse()?, request)?.context("no answer")?;
        assert_eq!(answer.status, 200);
        let forwarded = self.upstream.last()?.header_all("x-forwarded-for");
        assert_eq!(forwarded, ["192.0.2.7, 127.0.0.1"], "the proxy is not trusted");
        gateway.terminate()?;
        assert_eq!(gateway.wait(PATIENCE)?.code(), Some(0));
        wait::until_true(PATIENCE, "the last line", || {
            gateway.text().contains("\"ended\"") && gateway.text().ends_with('\n')
        })?;
        let text = gateway.text();
        let lines = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<Vec<Value>, _>>();
        let lines = lines.context("a log line that is not JSON")?;
        let seconds = |of: &str| {
            let line = lines
                .iter()
                .find(|line| line["message"].as_str().is_some_and(|text| text.starts_with(of)));
            line.and_then(|line| line["seconds"].as_f64())
        };
        assert_eq!(
            (seconds("leaving"), seconds("closing")),
            (Some(0.25), Some(7.0)),
            "{text}"
        );
        assert!(
            lines.iter().any(|line| line["path"] == "/seen"),
            "no line for the request: {text}"
        );
        Ok(())
    }
}

#[test]
fn everything_can_be_said_in_the_environment() -> Result<()> {
    let place = Place::new()?;
    let settings = place.settings()?;
    let environment: Vec<(&str, &str)> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    place.works(start(&["gateway"], &environment, &place.admin)?)
}

#[test]
fn a_flag_wins_over_its_variable() -> Result<()> {
    let place = Place::new()?;
    let settings = place.settings()?;
    let flags: Vec<(String, &str)> = settings
        .iter()
        .map(|(name, value)| (flag(name), value.as_str()))
        .collect();
    let mut arguments = vec!["gateway"];
    arguments.extend(flags.iter().flat_map(|(flag, value)| [flag.as_str(), value]));
    place.works(start(&arguments, &UNUSABLE, &place.admin)?)
}
