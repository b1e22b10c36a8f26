//! A provider that lies. Whatever it answers: no JWT reaches the client, nothing is stored, the log names the reason,
//! and the next honest exchange works.

mod answers;
mod forgeries;
mod tokens;
mod twins;
mod wire;

use anyhow::{Context as _, Result};
use serde_json::json;
use splittoken_tests::hostile::Hostile;
use splittoken_tests::jwt::Key;
use splittoken_tests::raw;
use splittoken_tests::redis::Redis;
use splittoken_tests::scene::Scene;
use splittoken_tests::wire::{Step, answer};

/// What the gateway says of an answer that it does not release.
const UNTRUSTED: u16 = 502;
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A scene whose records can be counted from outside.
struct Court {
    scene: Scene,
    redis: Redis,
}

impl Court {
    fn open() -> Result<Self> {
        let key = Key::es256()?;
        let provider = Hostile::start(&[&key])?;
        let redis = Redis::start()?;
        let scene = Scene::of(provider, key, |route| route, |gateway| gateway.redis(&redis))?;
        Ok(Self { scene, redis })
    }

    /// One lie and its end.
    fn refuses(&self, lie: &str, steps: Vec<Step>, status: u16, reason: &str) -> Result<raw::Answer> {
        let (scene, before, mark) = (&self.scene, self.redis.dump()?.len(), self.scene.log_mark());
        scene.provider.answer_steps(steps);
        let got = scene.ask().context(lie.to_owned())?;
        assert_eq!(got.status, status, "{lie}: {}", got.text());
        self.tells_nothing(lie, &got);
        scene
            .logs_since(mark, &format!("reason=\"{reason}\""))
            .context(lie.to_owned())?;
        assert_eq!(self.redis.dump()?.len(), before, "{lie}: something was stored");
        scene.works().context(lie.to_owned())?;
        Ok(got)
    }

    fn refuses_json(&self, lie: &str, body: impl AsRef<[u8]>, reason: &str) -> Result<()> {
        self.refuses(
            lie,
            vec![Step::Send(answer("200 OK", &[JSON], body))],
            UNTRUSTED,
            reason,
        )?;
        Ok(())
    }

    /// A token response around this access token, which nobody has seen so far.
    fn refuses_token(&self, lie: &str, token: &str, reason: &str) -> Result<()> {
        self.scene.remember(token);
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 600});
        self.refuses_json(lie, body.to_string(), reason)
    }

    /// Our own words, never cached, and nothing of any JWT in any spelling.
    fn tells_nothing(&self, lie: &str, got: &raw::Answer) {
        let whole = [got.head.as_slice(), &got.raw_body].concat();
        assert_eq!(self.scene.marks().found_in(&whole), Vec::<String>::new(), "{lie}");
        assert_eq!(got.header_all("cache-control"), ["no-store"], "{lie}");
        assert_eq!(got.header_all("pragma"), ["no-cache"], "{lie}");
        assert_eq!(got.header("content-type"), Some("application/json"), "{lie}");
        assert!(
            got.json().is_ok_and(|json| json["error"].is_string()),
            "{lie}: {}",
            got.text()
        );
        for name in ["set-cookie", "etag", "location", "content-encoding", "x-token"] {
            assert_eq!(got.header(name), None, "{lie}");
        }
    }

    fn good_body(&self) -> Result<String> {
        let token = self.scene.jwt(&json!({}))?;
        Ok(json!({"access_token": token, "token_type": "Bearer", "expires_in": 600}).to_string())
    }
}

/// What is no answer before its connection ends. One that is whole must not be sent so: the gateway would keep the
/// connection, and might ask the next question on it before it hears of the end.
fn send_and_close(raw: impl AsRef<[u8]>) -> Vec<Step> {
    vec![Step::send(raw), Step::Close]
}
