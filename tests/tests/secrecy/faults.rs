//! Upstreams that fail, a Redis that goes and comes back, and the end.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::raw;
use splittoken_tests::secret;
use splittoken_tests::shop::{connected, disconnected};
use splittoken_tests::stand::request;
use splittoken_tests::wait;
use splittoken_tests::wire::{Step, answer};

use crate::routes::LIAR;
use crate::stage::Stage;
use crate::tokens::{Held, answers_honestly, granted, post};

/// The provider takes so long that the store fails meanwhile.
const THINKING: Duration = Duration::from_secs(3);

/// Refused, too slow, broken off, not HTTP; and a call that its token does not allow.
pub(super) fn upstreams(stage: &Stage, held: &[Held]) -> Result<()> {
    let Held { host, opaque, jwt } = &held[0];
    let header = format!("Authorization: Bearer {opaque}");
    let call = |status, what: &str, line: &str| stage.expect(status, what, (host, line, &[&header], ""));
    call(502, "an upstream that is not there", "GET /dead")?;
    call(403, "a call that is not allowed", "GET /staff")?;
    let whole = jwt.clone();
    stage
        .upstream
        .script(move |request| match request.target().as_str() {
            "/slow" => vec![Step::Hold],
            "/closes" => vec![Step::Close],
            // What an API says of its own request.
            "/echoes" => vec![Step::send(format!("HTTP/1.1 {whole}\r\n\r\n")), Step::Close],
            "/breaks" => vec![
                Step::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"),
                Step::Close,
            ],
            _ => vec![Step::Send(answer("200 OK", &[], "ok"))],
        });
    call(504, "an upstream that is too slow", "GET /slow")?;
    call(502, "an upstream that closes", "GET /closes")?;
    call(502, "an upstream that speaks no HTTP", "GET /echoes")?;
    // The answer has begun: all that is left is to break it off.
    let broken = request(host, "GET /breaks", &[&header], "");
    ensure!(stage.gateway.exchange(broken).is_err(), "a whole answer");
    Ok(())
}

/// Killed while a token is being issued, away for a while, back, and then with another password for a while. Gives a
/// token that is good after all of it.
pub(super) fn redis(stage: &mut Stage, held: &[Held]) -> Result<Held> {
    stage.monitors[0].has("st1:")?;
    let answer = killed_during_an_exchange(stage)?;
    ensure!(answer.status == 503, "{} {}", answer.status, answer.text());
    disconnected(&stage.gateway, wait::START)?;
    let client = Some(stage.oidc.service().basic());
    let again = post(
        &stage.gateway.host(),
        client,
        &[("grant_type", "client_credentials")],
    )?;
    let refused = stage
        .send("a token request without a store", again)?
        .context("closed")?;
    ensure!(refused.status == 503, "{}", refused.status);
    for Held { host, opaque, .. } in held {
        let header = format!("Authorization: Bearer {opaque}");
        // From the cache or not at all.
        stage.send(
            "a call without a store",
            request(host, "GET /orders", &[&header], ""),
        )?;
    }
    stage.admin_pages()?;
    stage.redis.restart()?;
    stage.monitors.push(stage.redis.monitor()?);
    connected(&stage.gateway, wait::START)?;
    answers_honestly(stage)?;
    let form = [("grant_type", "client_credentials")];
    let (new, _) = granted(stage, LIAR, Some(stage.oidc.service().basic()), &form)?;
    stage.monitors[1].has("st1:")?;
    stage.redis_s_content()?;
    locked_out(stage)?;
    Ok(new)
}

fn killed_during_an_exchange(stage: &mut Stage) -> Result<raw::Answer> {
    let claims = stage.liar.claims(&serde_json::json!({"jti": secret::text()}));
    let token = stage.key.token(&claims)?;
    stage.secrets.add_jwt("an access token", &token)?;
    let refresh_token = secret::text();
    stage.secrets.add("a refresh token", &refresh_token);
    let body = serde_json::json!({"access_token": token, "refresh_token": refresh_token, "expires_in": 600});
    let json = [("Content-Type", "application/json")];
    let steps = vec![
        Step::Wait(THINKING),
        Step::Send(answer("200 OK", &json, body.to_string())),
    ];
    stage.liar.answer_steps(steps);
    let asked = stage.liar.requests("/token").len();
    let client = Some(stage.oidc.service().basic());
    let bytes = post(LIAR, client, &[("grant_type", "client_credentials")])?;
    let address = stage.gateway.address();
    let request = thread::spawn(move || raw::exchange(address, bytes));
    wait::until_true(wait::START, "the provider to be asked", || {
        stage.liar.requests("/token").len() > asked
    })?;
    stage.redis.kill()?;
    let answer = request
        .join()
        .ok()
        .context("the client panicked")??
        .context("closed")?;
    stage.written.add(
        "the answer to a token that could not be kept",
        [&*answer.head, &answer.raw_body].concat(),
    );
    Ok(answer)
}

/// The password is another one, until it is what it was again.
fn locked_out(stage: &Stage) -> Result<()> {
    let right = &stage.redis.user().context("no user")?.password;
    let (wrong, other) = (secret::text(), secret::text());
    stage.secrets.add("a Redis password", &wrong);
    let mut redis = stage.redis.connect()?;
    redis.command(&["ACL", "SETUSER", "gateway", "resetpass", &format!(">{other}")])?;
    // Where the password stands in the URL nobody reads this.
    fs::write(stage.redis.password_file(), format!("{wrong}\n"))?;
    redis.command(&["CLIENT", "KILL", "USER", "gateway"])?;
    disconnected(&stage.gateway, wait::START)?;
    wait::until_true(wait::START, "the log to say why", || {
        memchr::memmem::find(&stage.gateway.output(), b"the store denies access").is_some()
    })?;
    stage.admin_pages()?;
    fs::write(stage.redis.password_file(), right)?;
    redis.command(&["ACL", "SETUSER", "gateway", "resetpass", &format!(">{right}")])?;
    connected(&stage.gateway, wait::START)?;
    Ok(())
}

/// SIGTERM with a request in flight that does not end in time.
pub(super) fn drain(stage: &mut Stage, held: &Held) -> Result<()> {
    stage.command_line()?;
    stage.upstream.take();
    stage.upstream.steps(vec![Step::Hold]);
    let Held { host, opaque, .. } = held;
    let mut client = raw::Client::connect(stage.gateway.address())?;
    let header = format!("Authorization: Bearer {opaque}");
    client.send(request(host, "GET /orders", &[&header], ""))?;
    stage.upstream.last()?;
    stage.gateway.terminate()?;
    let status = stage.gateway.wait(wait::START)?;
    ensure!(status.success(), "{status}");
    Ok(())
}
