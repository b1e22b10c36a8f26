//! Values with bounds: what the chart takes the gateway takes, and what it refuses the gateway would refuse.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::gateway::binary;
use splittoken_tests::helm::{Helm, arguments, chart};

/// A value of the chart below `gateway`, and the option that it becomes.
struct Bounded {
    pointer: &'static str,
    option: &'static str,
    good: Vec<Value>,
    bad: Vec<Value>,
}

fn bounded<const G: usize, const B: usize>(
    pointer: &'static str,
    option: &'static str,
    good: [Value; G],
    bad: [Value; B],
) -> Bounded {
    Bounded {
        pointer,
        option,
        good: good.into(),
        bad: bad.into(),
    }
}

/// What a client may take.
fn time(pointer: &'static str, option: &'static str) -> Bounded {
    let good = ["1s", "1000ms", "010s", "59m59s1000ms", "60m", "1h"].map(Value::from);
    let bad = ["0s", "500ms", "999ms", "1h1ms", "61m", "2h"].map(Value::from);
    bounded(pointer, option, good, bad)
}

/// How long a process may take to end.
fn drain(pointer: &'static str, option: &'static str) -> Bounded {
    let good = ["0s", "1ms", "1h"].map(Value::from);
    let bad = ["1h1ms", "3601s", "100h", "5", "1d"].map(Value::from);
    bounded(pointer, option, good, bad)
}

fn number(pointer: &'static str, option: &'static str, least: u64, most: u64) -> Bounded {
    let bad = [
        json!(i128::from(least) - 1),
        json!(most + 1),
        json!(1.5),
        json!("many"),
    ];
    bounded(pointer, option, [json!(least), json!(most)], bad)
}

fn sizes() -> [Bounded; 4] {
    [
        bounded(
            "/limits/maxHeaderBytes",
            "max-header-bytes",
            [
                json!(4096),
                json!("5KB"),
                json!("4KiB"),
                json!("1 MiB"),
                json!("1048576"),
            ],
            [
                json!(1),
                json!(4095),
                json!("4KB"),
                json!("1025KiB"),
                json!("2MiB"),
                json!("1 MiB "),
            ],
        ),
        bounded(
            "/limits/maxBodyBytes",
            "max-body-bytes",
            [
                json!(1),
                json!("10MiB"),
                json!("4GB"),
                json!("2TiB"),
                json!(999_999_999_999_999_u64),
            ],
            [
                json!(0),
                json!("0"),
                json!("0KiB"),
                json!("much"),
                json!("-1"),
                json!("1 "),
            ],
        ),
        bounded(
            "/limits/maxTokenRequestBytes",
            "max-token-request-bytes",
            [json!(1024), json!("1KiB"), json!("1MB"), json!("1MiB")],
            [
                json!(1),
                json!(1023),
                json!("1KB"),
                json!(1_048_577),
                json!("1GiB"),
            ],
        ),
        bounded(
            "/limits/nearCacheBytes",
            "near-cache-bytes",
            [
                json!(1_048_576),
                json!("1MiB"),
                json!("1024GiB"),
                json!("1TiB"),
                json!("1TB"),
            ],
            [
                json!(10),
                json!("1MB"),
                json!("1023KiB"),
                json!("1025GiB"),
                json!("2TiB"),
            ],
        ),
    ]
}

fn numbers() -> [Bounded; 9] {
    let many = u64::from(u32::MAX);
    [
        number("/limits/maxHeaders", "max-headers", 10, 1000),
        number("/limits/maxStreams", "max-streams", 1, 1000),
        number("/limits/maxConnections", "max-connections", 1, many),
        number(
            "/limits/maxConnectionsPerAddress",
            "max-connections-per-address",
            0,
            many,
        ),
        number("/limits/maxMissesPerAddress", "max-misses-per-address", 0, many),
        number("/limits/maxUpstreamRequests", "max-upstream-requests", 1, many),
        number("/limits/maxProviderRequests", "max-provider-requests", 1, many),
        number("/limits/breakerFailures", "breaker-failures", 0, many),
        // With 0 the chart leaves it to the gateway.
        bounded(
            "/threads",
            "threads",
            [json!(1), json!(1024)],
            [json!(-1), json!(1025)],
        ),
    ]
}

fn table() -> Vec<Bounded> {
    let collector = bounded(
        "/tracing/otlpEndpoint",
        "otlp-endpoint",
        [
            "http://c",
            "http://c:65535/otlp/",
            "https://[::1]:4318",
            "http://c/v1/traces/of",
        ]
        .map(Value::from),
        [
            "http://c/v1/traces",
            "http://c:4318/otlp/v1/traces//",
            "http://c:65536",
            "http://[::1",
            "http://",
            "http://a@c",
            "http://c?a",
        ]
        .map(Value::from),
    );
    let times = [
        time("/limits/headerTimeout", "header-timeout"),
        time("/limits/keepAliveTimeout", "keep-alive-timeout"),
        time("/limits/sendTimeout", "send-timeout"),
        time("/limits/tokenRequestTimeout", "token-request-timeout"),
        drain("/minDrain", "min-drain"),
        drain("/drain", "drain"),
        collector,
    ];
    times.into_iter().chain(sizes()).chain(numbers()).collect()
}

impl Bounded {
    fn values(&self, value: &Value) -> Value {
        let names: Vec<&str> = self.pointer.split('/').skip(1).collect();
        let inner = names
            .iter()
            .rev()
            .fold(value.clone(), |inner, name| json!({ *name: inner }));
        json!({ "gateway": inner })
    }

    fn argument(&self, value: &Value) -> String {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("--{}={text}", self.option)
    }

    /// What is wrong with how chart and gateway take this value.
    fn check(&self, helm: &Helm, value: &Value, is_good: bool) -> Result<()> {
        let argument = self.argument(value);
        let refusal = gateway_refuses(self.option, &argument)?;
        ensure!(refusal.is_none() == is_good, "gateway {argument}: {refusal:?}");
        match helm.template(&self.values(value)) {
            Ok(rendered) => {
                ensure!(is_good, "the chart takes {value}");
                let gateway = rendered.get("Deployment", "splittoken-gateway")?;
                let given = arguments(&gateway["spec"]["template"]["spec"]);
                ensure!(
                    given.contains(&argument.as_str()),
                    "{argument} is not in {given:?}"
                );
            }
            Err(error) => {
                ensure!(!is_good, "the chart refuses {value}: {error:#}");
                let said = format!("{error:#}");
                let is_named = [self.pointer.to_owned(), self.pointer.replace('/', ".")]
                    .iter()
                    .any(|name| said.contains(&format!("gateway{name}")));
                ensure!(is_named, "{} is not named: {said}", self.pointer);
            }
        }
        Ok(())
    }
}

/// What the gateway has against an option. Without a file of routes it ends in any case.
fn gateway_refuses(option: &str, argument: &str) -> Result<Option<String>> {
    let mut command = Command::new(binary()?);
    command.args(["gateway", "--routes=/nowhere/routes.yaml", argument]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SPLITTOKEN_") {
            command.env_remove(&name);
        }
    }
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2), "{argument}: {said}");
    if said.contains(&format!("for '--{option} <")) {
        return Ok(Some(said));
    }
    ensure!(said.contains("/nowhere/routes.yaml"), "{argument}: {said}");
    Ok(None)
}

#[test]
fn the_chart_takes_what_the_gateway_takes() -> Result<()> {
    let helm = Helm::newest()?;
    let mut failures = Vec::new();
    for bounded in table() {
        for (values, is_good) in [(&bounded.good, true), (&bounded.bad, false)] {
            for value in values {
                let outcome = bounded.check(&helm, value, is_good);
                failures.extend(
                    outcome
                        .err()
                        .map(|error| format!("{} {value}: {error:#}", bounded.pointer)),
                );
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// The older helm has another validator and other template functions.
#[test]
fn the_older_helm_knows_the_bounds_too() -> Result<()> {
    let helm = Helm::oldest()?;
    for bounded in table() {
        let first = bounded.bad.first().context("nothing bad")?;
        bounded.check(&helm, first, false)?;
        let last = bounded.good.last().context("nothing good")?;
        bounded.check(&helm, last, true)?;
    }
    Ok(())
}

#[test]
fn no_limit_of_the_chart_is_left_out_here() -> Result<()> {
    let schema = std::fs::read(chart().join("values.schema.json"))?;
    let schema: Value = serde_json::from_slice(&schema)?;
    let limits = &schema["properties"]["gateway"]["properties"]["limits"]["properties"];
    let table = table();
    for name in limits.as_object().context("no limits")?.keys() {
        let pointer = format!("/limits/{name}");
        assert!(
            table.iter().any(|bounded| bounded.pointer == pointer),
            "{pointer}"
        );
    }
    Ok(())
}
