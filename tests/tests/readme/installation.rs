//! "Run it": the commands of an installation, run as they stand there but for the addresses.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use splittoken_tests::http::{Answer, Client};
use splittoken_tests::markdown::{commands, table};
use splittoken_tests::process::Process;
use splittoken_tests::redis::Redis;
use splittoken_tests::{ports, shell, wait};

use super::{blocks_of, document};

/// The ACL rules that README.md gives to the user `gateway`.
fn acl_rules() -> Result<Vec<String>> {
    let blocks = blocks_of("", "Run it")?;
    let line = blocks
        .iter()
        .find_map(|block| block.text.strip_prefix("ACL SETUSER gateway on >password "))
        .context("README.md has no ACL line")?;
    Ok(line.split_whitespace().map(str::to_owned).collect())
}

/// Everything is README.md's: the route, the keyring, the check, the command line, the Redis user.
#[test]
fn its_commands_start_a_gateway_that_reaches_its_redis_over_tls() -> Result<()> {
    let rules = acl_rules()?;
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let redis = Redis::builder().tls().acl(&rules).start()?;
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("routes"))?;
    let route = blocks_of("yaml", "Configuration")?.remove(0).text;
    fs::write(folder.path().join("routes/orders.yaml"), route)?;
    fs::copy(redis.ca_file(), folder.path().join("ca.pem"))?;
    fs::copy(redis.password_file(), folder.path().join("password"))?;

    let mut lines = commands(&blocks_of("sh", "Run it")?.remove(0).text);
    let gateway = lines.pop().context("no commands")?;
    assert_eq!(lines.len(), 2, "{lines:?}");
    let path = shell::path_with_the_binary()?;
    let outputs = shell::run("bash", &lines, folder.path(), &path)?;
    assert_eq!(
        outputs[0], "",
        "`keyring new` writes to the file that it is sent to"
    );
    assert!(
        fs::read_to_string(folder.path().join("keyring.json"))?.contains('{'),
        "no keyring was made"
    );

    let admin = format!("127.0.0.1:{}", ports::free()?);
    let listen = format!("127.0.0.1:{}", ports::free()?);
    let command = gateway
        .replace("0.0.0.0:8080", &listen)
        .replace("rediss://gateway@redis.internal:6379", &redis.tls_url()?);
    assert!(
        command.contains(&listen) && command.contains(&redis.tls_url()?),
        "{command}"
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("exec {command} --admin {admin}")])
        .current_dir(folder.path())
        .env("PATH", path);
    let mut process = Process::start("the gateway of README.md", &bash)?;
    let http = Client::new()?;
    let get = |path: &str| -> Option<Answer> {
        http.get(&format!("http://{admin}{path}"))
            .ok()
            .filter(|answer| answer.status == 200)
    };
    process.ready(wait::START, |_| get("/readyz"))?;
    process.ready(wait::START, |_| {
        let config = get("/config")?.json().ok()?;
        let store = &config["store"];
        (store["workers"].as_u64()? > 0 && store["workers"] == store["workers_up"]).then_some(())
    })?;
    let denied = redis.command(&["ACL", "LOG"])?.items();
    assert_eq!(denied, [], "the user may not do what the gateway needs");

    let paths = table(&document("docs/gateway.md")?, "admin path");
    assert!(paths.len() > 3, "{paths:?}");
    for row in paths {
        let path = row[0].trim_matches('`');
        assert!(get(path).is_some(), "the admin server has no {path}");
    }
    let metrics = get("/metrics").context("no metrics")?.text();
    assert!(
        metrics.contains("\nsplittoken_gateway_config_failing 0\n"),
        "{metrics}"
    );
    Ok(())
}
