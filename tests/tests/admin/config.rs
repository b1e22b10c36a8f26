//! `/config`: what is served and how it fares, and nothing secret.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::jwt::Key;
use splittoken_tests::mint::Mint;
use splittoken_tests::redis::Redis;
use splittoken_tests::shop::{Shop, connected};
use splittoken_tests::stand::Stand;
use splittoken_tests::wait;

const LIMIT: Duration = Duration::from_secs(20);

fn config(gateway: &Gateway) -> Result<Value> {
    gateway.admin("/config")?.json()
}

/// The names of an object's members, sorted.
fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn it_shows_what_is_served() -> Result<()> {
    let stand = Stand::start()?;
    // Keys are fetched a little after the start.
    wait::until_true(LIMIT, "the provider's keys", || {
        config(&stand.gateway).is_ok_and(|config| config["issuers"][0]["jwks"]["ok"] == true)
    })?;
    let config = config(&stand.gateway)?;
    assert_eq!(
        members(&config),
        [
            "digest", "issuers", "keyring", "problem", "rejected", "routes", "store", "version"
        ]
    );
    assert_eq!(config["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(config["digest"].as_str().map(str::len), Some(22));
    assert_eq!(config["problem"], Value::Null);
    let route = &config["routes"][0];
    assert_eq!(
        members(route),
        [
            "hostnames",
            "issuer",
            "name",
            "revision",
            "rules",
            "token_endpoint"
        ]
    );
    assert_eq!(
        (&route["name"], &route["hostnames"]),
        (&json!("default/shop"), &json!(["127.0.0.1"]))
    );
    assert_eq!(
        (&route["rules"], &route["token_endpoint"]),
        (&json!(["api"]), &json!("/oauth/token"))
    );
    let issuer = &config["issuers"][0];
    assert_eq!(
        (&issuer["issuer"], &issuer["name"]),
        (&json!(stand.provider.issuer()), &route["issuer"])
    );
    assert_eq!(issuer["keyIds"], json!([stand.key.kid()]));
    assert_eq!(
        (&issuer["discovery"]["ok"], &issuer["tokenEndpointKnown"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(config["keyring"], json!({"write": 1, "ids": [1]}));
    assert_eq!(
        members(&config["store"]),
        ["evicting_policy", "name", "workers", "workers_up"]
    );
    assert_eq!(config["store"]["name"], "memory");
    Ok(())
}

#[test]
fn revisions_and_the_digest_change_with_what_is_served_and_only_then() -> Result<()> {
    let stand = Stand::start()?;
    let to = stand.addresses();
    let text = splittoken_tests::gateway::smallest_route(&to.issuer, &to.upstream);
    let other = text
        .replace("name: shop", "name: other")
        .replace("127.0.0.1]", "other.example]");
    let file = |first: &str| format!("{first}---\n{other}");
    stand.gateway.write_routes(&file(&text))?;
    let routes = |number: usize| {
        wait::until(LIMIT, "the routes", || {
            let config = config(&stand.gateway).ok()?;
            (config["routes"].as_array()?.len() == number).then_some(config)
        })
    };
    let before = routes(2)?;
    let edited = text.replace("name: api", "name: orders");
    stand.gateway.write_routes(&file(&edited))?;
    let after = wait::until(LIMIT, "the edit", || {
        config(&stand.gateway)
            .ok()
            .filter(|config| config["digest"] != before["digest"])
    })?;
    let revision = |config: &Value, name: &str| {
        let routes = config["routes"].as_array()?;
        routes.iter().find(|route| route["name"] == name)?["revision"]
            .as_str()
            .map(str::to_owned)
    };
    assert_ne!(
        revision(&after, "default/shop"),
        revision(&before, "default/shop")
    );
    assert_eq!(
        revision(&after, "default/other"),
        revision(&before, "default/other")
    );
    // What was there before has its old name again; a comment has none.
    stand
        .gateway
        .write_routes(&format!("# as it was\n{}", file(&text)))?;
    wait::until_true(LIMIT, "the old digest", || {
        config(&stand.gateway).is_ok_and(|config| config["digest"] == before["digest"])
    })
}

#[test]
fn it_says_what_is_wrong() -> Result<()> {
    let stand = Stand::start()?;
    let nobody = format!("http://127.0.0.1:{}", splittoken_tests::ports::free()?);
    let text = splittoken_tests::gateway::smallest_route(&nobody, &stand.addresses().upstream);
    stand.gateway.write_routes(&text)?;
    let issuer = wait::until(LIMIT, "the issuer that nobody is", || {
        let issuer = config(&stand.gateway).ok()?["issuers"][0].take();
        (issuer["discovery"]["reason"] == "provider_unreachable").then_some(issuer)
    })?;
    assert_eq!(
        (&issuer["discovery"]["ok"], &issuer["tokenEndpointKnown"]),
        (&json!(false), &json!(false))
    );
    assert!(
        issuer["discovery"]["failing_seconds"].is_u64() || issuer["discovery"]["failingSeconds"].is_u64(),
        "{issuer}"
    );
    stand
        .gateway
        .write_routes(&text.replace("hostnames", "hostname"))?;
    let problem = wait::until(LIMIT, "the bad edit", || {
        let problem = config(&stand.gateway).ok()?["problem"].take();
        (!problem.is_null()).then_some(problem)
    })?;
    assert_eq!(problem["reason"], "invalid");
    let message = problem["message"].as_str().context("a message")?;
    assert!(
        message.contains("SplitTokenRoute/default/shop") && message.contains("spec.hostname"),
        "{message}"
    );
    Ok(())
}

/// An HMAC key, a Redis password, a keyring and tokens: everything that a gateway knows and nobody should see.
#[test]
fn it_shows_nothing_secret() -> Result<()> {
    let key = Key::hs256();
    let hmac = key.hmac_secret().context("a secret")?.to_vec();
    let mut shop = Shop::with(Redis::builder().acl(&["~*", "&*", "+@all"]).start()?)?;
    shop.mint = Mint::with(key)?;
    let issuer = json!({"algorithms": ["HS256"], "hmacSecretRef": {"name": "shop-key"}});
    let route = shop.route().issuer(&issuer).secret("shop-key", "hmac", &hmac);
    let gateway = shop.builder(route).start()?;
    connected(&gateway, LIMIT)?;
    let mut caller = Caller::of(&gateway)?;
    let token = caller.issue()?;
    assert_eq!(caller.status(&token)?, 200);
    let jwt = shop.mint.jwt_of(&token)?;
    let keyring: Value = serde_json::from_slice(&fs::read(shop.keyring.path())?)?;
    let pepper = keyring["keys"]["1"].as_str().context("a pepper")?;
    let password = shop.redis.user().context("a user")?.password.clone();
    let secrets = [
        ("the HMAC key", STANDARD.encode(&hmac)),
        ("the HMAC key", splittoken_tests::secret::base64url(&hmac)),
        ("the keyring", pepper.to_owned()),
        ("the password", password),
        ("a token", token),
        ("a JWT", jwt.split('.').nth(1).unwrap_or_default().to_owned()),
        ("a JWT's beginning", jwt[..8].to_owned()),
    ];
    for page in ["/config", "/config/digest", "/metrics", "/readyz"] {
        let text = gateway.admin(page)?.text();
        for (what, secret) in &secrets {
            assert!(!text.contains(secret.as_str()), "{page} shows {what}: {text}");
        }
    }
    let config = config(&gateway)?;
    assert_eq!(config["keyring"], json!({"write": 1, "ids": [1]}));
    // Where the store is may be known, and who we are there need not be.
    assert_eq!(
        config["store"]["name"],
        format!("redis://{}/0", shop.redis.address())
    );
    Ok(())
}
