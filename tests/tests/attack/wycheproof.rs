//! Wycheproof's tokens, whose keys are the provider's: none of them is a token of a client's, none is an answer of the
//! provider's, and no signature of theirs is one of claims that would be taken.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::gate::report;
use splittoken_tests::hostile::Hostile;
use splittoken_tests::jwt::{self, Key};
use splittoken_tests::scene::Scene;
use splittoken_tests::secret::base64url;
use splittoken_tests::wire::{Step, answer};
use splittoken_tests::wycheproof::{Vector, Vectors};

use super::vectors::{is_no_answer, is_no_token};

/// How many tokens there are.
const TOKENS: usize = 649;

/// How many answers at least are refused for their signature alone: the keys are known, and all else is good.
const FORGERIES: u64 = 300;

/// How many secrets for HMAC there are.
const SECRETS: usize = 3;

/// All that there are for keys that are published.
const ALGORITHMS: [&str; 10] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
];

/// A provider with its own key and all of Wycheproof's.
fn scene(vectors: &Vectors) -> Result<Scene> {
    let scene = Scene::with_route(|route| route.issuer(&json!({"algorithms": ALGORITHMS})))?;
    let mut keys = jwt::jwks(&[&scene.key])?;
    keys["keys"]
        .as_array_mut()
        .context("no keys")?
        .extend_from_slice(&vectors.keys);
    let json = [("Content-Type", "application/json")];
    let page = answer("200 OK", &json, keys.to_string());
    scene.provider.jwks_steps(vec![Step::Send(page)]);
    Ok(scene)
}

/// Header and signature of a JWS around these claims; `None` for what has not three parts.
fn around(token: &str, claims: &Value) -> Option<String> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, _, signature] = parts[..] else {
        return None;
    };
    let claims = base64url(claims.to_string().as_bytes());
    Some(format!("{header}.{claims}.{signature}"))
}

fn is_nothing(scene: &Scene, vector: &Vector) -> Result<()> {
    is_no_token(scene, &vector.token).context("as a token")?;
    is_no_answer(scene, &vector.token).context("as an answer")?;
    let claims = scene.provider.claims(&json!({"jti": vector.name}));
    if let Some(forged) = around(&vector.token, &claims) {
        is_no_answer(scene, &forged).context("around other claims")?;
    }
    scene.works().map(drop)
}

/// Judges all of them; gives how many answers were refused for their signature alone.
fn judge(scene: &Scene, vectors: &[Vector]) -> Result<u64> {
    println!("{} cases", vectors.len());
    let failures = vectors
        .iter()
        .filter_map(|vector| Some((vector.name.as_str(), is_nothing(scene, vector).err()?)));
    report(failures.collect());
    let outcomes = outcomes(scene)?;
    println!("{outcomes:?}");
    Ok(outcomes.get("signature").copied().unwrap_or_default())
}

/// How often each outcome of a token request came.
fn outcomes(scene: &Scene) -> Result<BTreeMap<String, u64>> {
    let text = scene.gateway.admin("/metrics")?.text();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("splittoken_gateway_token_requests_total{"));
    let outcome = |line: &str| {
        let (labels, count) = line.split_once("} ")?;
        let outcome = labels.split("outcome=\"").nth(1)?.split('"').next()?;
        Some((outcome.to_owned(), count.parse().ok()?))
    };
    Ok(lines.filter_map(outcome).collect())
}

#[test]
fn its_tokens_are_neither_tokens_nor_answers() -> Result<()> {
    let vectors = Vectors::read()?;
    ensure!(
        vectors.tokens.len() == TOKENS,
        "the number of vectors has changed"
    );
    let forgeries = judge(&scene(&vectors)?, &vectors.tokens)?;
    ensure!(
        forgeries >= FORGERIES,
        "only {forgeries} were refused for their signature"
    );
    Ok(())
}

/// Nor where the provider signs with the secret that they are signed with.
#[test]
fn its_macs_are_nothing_where_their_secret_is_the_providers() -> Result<()> {
    let vectors = Vectors::read()?;
    ensure!(
        vectors.secrets.len() == SECRETS,
        "the number of secrets has changed"
    );
    for (secret, tokens) in vectors.secrets {
        let issuer = json!({"algorithms": ["HS256"], "hmacSecretRef": {"name": "key"}});
        let scene = Scene::of(
            Hostile::start(&[])?,
            Key::hmac(&secret),
            |route| route.issuer(&issuer).secret("key", "hmac", &secret),
            |gateway| gateway,
        )?;
        let forgeries = judge(&scene, &tokens)?;
        ensure!(forgeries > 0, "none was refused for its signature");
    }
    Ok(())
}
