//! The demo with its records in a real Redis.

use std::time::Duration;

use anyhow::{Context as _, Result};
use splittoken_tests::demo::Demo;
use splittoken_tests::marks::Marks;
use splittoken_tests::redis::Redis;
use splittoken_tests::{browser, shell};

use super::copy;

/// "Gone in minutes" is what the demo says of its records; its tokens live for five.
const MINUTES: Duration = Duration::from_secs(10 * 60);

#[test]
fn the_lines_work_as_before_and_redis_holds_nothing_readable() -> Result<()> {
    let redis = Redis::start()?;
    let demo = Demo::with(&["--store", &redis.url()])?;
    let text = demo.text();
    assert!(text.contains(&format!("  store     {}", redis.url())), "{text}");
    assert!(!text.contains("Nothing outlives"), "{text}");

    let copied = copy(&demo, "bash")?;
    let jwt = demo.issued()?;
    assert_eq!(jwt.rsplit('.').next(), Some(copied.alice_token.as_str()));
    let mut marks = Marks::new();
    marks.add_jwt("the JWT", &jwt);
    marks.add("the name", "Alice Liddell");
    marks.add("the mail address", "alice@wonderland.example");
    let records = redis.dump()?;
    assert_eq!(records.len(), 2, "one for each token");
    for (key, value) in &records {
        assert_eq!(marks.found_in(key), Vec::<String>::new());
        assert_eq!(marks.found_in(value), Vec::<String>::new());
        let key = std::str::from_utf8(key)?;
        let left = redis.command(&["PTTL", key])?.text().parse()?;
        assert!(Duration::from_millis(left) < MINUTES, "{key}: {left} ms");
    }
    Ok(())
}

#[test]
fn the_page_says_how_to_look_into_that_redis() -> Result<()> {
    let redis = Redis::start()?;
    let demo = Demo::with(&["--store", &redis.url()])?;
    let said = browser::run("demo-elsewhere.mjs", &[&demo.url("/"), &redis.url()])?;
    let commands: Vec<String> = said
        .lines()
        .filter_map(|line| line.strip_prefix("COMMAND ").map(str::to_owned))
        .collect();
    assert_eq!(commands.len(), 2, "{said}");
    let folder = tempfile::tempdir()?;
    let outputs = shell::run(
        "bash",
        &commands,
        folder.path(),
        &std::env::var("PATH").unwrap_or_default(),
    )?;
    let (key, _) = redis.dump()?.pop().context("the page got no token")?;
    let key = std::str::from_utf8(&key)?;
    assert!(outputs[0].lines().any(|line| line == key), "{}", outputs[0]);
    assert!(
        outputs[1].starts_with("0000000 01 "),
        "not the bytes of a record of version 1: {:?}",
        outputs[1]
    );
    Ok(())
}

#[test]
fn without_its_redis_it_says_so_and_asks_to_come_back() -> Result<()> {
    let mut redis = Redis::start()?;
    let demo = Demo::with(&["--store", &redis.url()])?;
    redis.kill()?;
    let form = [("grant_type", "client_credentials")];
    let http = splittoken_tests::http::Client::new()?;
    let answer = http.post_form(
        &demo.url("/oauth/token"),
        Some(("demo-client", "demo-secret")),
        &form,
    )?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
    assert!(!answer.text().contains("eyJ"), "{}", answer.text());
    assert_eq!(demo.get("/")?.status, 200, "the page needs no store");
    Ok(())
}
