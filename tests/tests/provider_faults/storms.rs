//! Thousands of keys that nobody knows. The provider hears of few of them.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::hostile::now;
use splittoken_tests::jwt::{self, Key};
use splittoken_tests::load::{Load, Sample, count, late};
use splittoken_tests::secret;
use splittoken_tests::shop::{Shop, metric};
use splittoken_tests::wait;
use splittoken_tests::wire::Step;
use splittoken_token::{Keyring, Live, Meta, Opaque, Realm, Use, derive_keys, seal};

use super::{Honest, with_tokens};

/// Fetches for unknown keys: at most so many …
const FETCHES: usize = 10;
/// … in any time of this length.
const WINDOW: Duration = Duration::from_secs(60);

/// How long a storm lasts.
const STORM: Duration = Duration::from_secs(10);

/// Records as a gateway would have left them, of tokens whose keys it had known.
struct Vault<'s> {
    shop: &'s Shop,
    keyring: Keyring,
    key: Key,
}

impl<'s> Vault<'s> {
    fn of(shop: &'s Shop) -> Result<Self> {
        let keyring = Keyring::parse(&std::fs::read_to_string(shop.keyring.path())?)?;
        Ok(Self {
            shop,
            keyring,
            key: Key::es256()?,
        })
    }

    /// Stores a token that names `kid`; its opaque form.
    fn put(&self, kid: &str) -> Result<String> {
        let claims = json!({
            "iss": self.shop.mint.issuer(), "sub": "a", "jti": secret::text(), "exp": now() + 600,
        });
        let header = json!({"alg": self.key.algorithm(), "kid": kid});
        let token = self.key.token_of(&header.to_string(), &claims.to_string())?;
        let (input, opaque) = token.rsplit_once('.').context("no JWT")?;
        let realm = Realm::of("SplitTokenRoute", "default", "shop");
        let kid = self.keyring.write_kid();
        let keys = derive_keys(&self.keyring, kid, &realm, Use::Access, &Opaque::parse(opaque)?);
        let keys = keys.context("no such pepper")?;
        let live = Live {
            stored_at_ms: now() * 1000,
            expires_at: now() + 600,
            meta: Meta::default(),
            signing_input: input.to_owned().into(),
        };
        let (name, record) = (keys.lookup_id().redis_key(), seal(&keys, &live)?);
        let mut redis = self.shop.redis.connect()?;
        redis.command_bytes(&[b"SET", name.as_bytes(), &record, b"EX", b"600"])?;
        Ok(opaque.to_owned())
    }

    /// So many tokens, each of another unknown key.
    fn strange(&self, number: usize) -> Result<Vec<String>> {
        (0..number).map(|_| self.put(&secret::text())).collect()
    }
}

/// How often the keys were fetched on demand, once each of `gateways` has them.
fn fetched(shop: &Shop, gateways: usize) -> usize {
    shop.mint.requests("/jwks").len().saturating_sub(gateways)
}

/// Waits for the end of a storm, which is a thousand requests at least.
fn rage(storm: Load, began: Instant) -> Result<Vec<Sample>> {
    wait::until_true(STORM * 10, "a storm", || {
        storm.samples().len() > 1000 && began.elapsed() > STORM
    })?;
    Ok(storm.finish())
}

/// Prints and checks what a storm cost the provider.
fn bounded(shop: &Shop, before: usize, began: Instant, storm: &[Sample]) -> Result<()> {
    let windows = began.elapsed().as_secs() / WINDOW.as_secs() + 1;
    let bound = FETCHES * usize::try_from(windows)?;
    let fetches = fetched(shop, 0) - before;
    eprintln!(
        "{} requests for unknown keys in {:.0?}: the keys were fetched {fetches} times (at most {bound})",
        storm.len(),
        began.elapsed(),
    );
    ensure!((1..=bound).contains(&fetches), "{fetches} fetches");
    Ok(())
}

#[test]
fn a_provider_that_names_thousands_of_keys_is_asked_for_few_of_them() -> Result<()> {
    let shop = Shop::start()?;
    let (gateway, cached, fresh) = with_tokens(&shop, shop.route())?;
    let before = fetched(&shop, 0);
    shop.mint.name_strange_keys(true);
    let (began, mut storm) = (Instant::now(), Load::default());
    let honest = Honest::start(&gateway, &cached, fresh)?;
    for _ in 0..8 {
        let mut caller = Caller::of(&gateway)?;
        storm.add(move || Some(Sample::of(|| Ok(caller.token()?.status))));
    }
    let storm = rage(storm, began)?;
    bounded(&shop, before, began, &storm)?;
    honest.untouched(&gateway)?;
    ensure!(count(&storm, 502) == storm.len(), "not refused alone");
    // An honest provider's tokens are issued at once: its key is known.
    shop.mint.name_strange_keys(false);
    let mut caller = Caller::of(&gateway)?;
    let token = caller.issue()?;
    ensure!(caller.status(&token)? == 200);
    Ok(())
}

#[test]
fn thousands_of_records_with_unknown_keys_are_looked_for_a_few_times() -> Result<()> {
    let shop = Shop::start()?;
    let (gateway, cached, fresh) = with_tokens(&shop, shop.route())?;
    let strange = Vault::of(&shop)?.strange(4000)?;
    let before = fetched(&shop, 0);
    let (began, mut storm) = (Instant::now(), Load::default());
    let honest = Honest::start(&gateway, &cached, fresh)?;
    for tokens in strange.chunks(500) {
        storm.add_client(Caller::of(&gateway)?, tokens.to_vec());
    }
    let storm = rage(storm, began)?;
    bounded(&shop, before, began, &storm)?;
    honest.untouched(&gateway)?;
    ensure!(count(&storm, 503) == storm.len(), "not 503 alone");
    let answer = Caller::of(&gateway)?.api(&strange[0])?;
    ensure!(answer.header("retry-after").is_some(), "503 without Retry-After");
    Ok(())
}

/// The same while the keys do not come: those who wait for them leave room for those who need not.
#[test]
fn who_waits_for_keys_that_do_not_come_stands_in_nobody_s_way() -> Result<()> {
    /// More than a gateway looks up at the same time for one issuer.
    const ASKING: usize = 1500;
    /// As many as may wait.
    const WAITING: usize = 768;
    let shop = Shop::start()?;
    let (gateway, cached, fresh) = with_tokens(&shop, shop.route())?;
    let strange = Vault::of(&shop)?.strange(ASKING)?;
    let before = fetched(&shop, 0);
    shop.mint.play("/jwks", vec![Step::Hold]);
    let waiting = strange
        .iter()
        .map(|token| ask(&gateway, token))
        .collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    // The others are sent away at once, and on a busy machine some because Redis is late with so many at a time.
    let sent_away = || -> Result<u64> {
        let count = |reason: &str| {
            metric(
                &gateway,
                &format!("splittoken_gateway_failures_total{{reason=\"{reason}\"}}"),
            )
        };
        Ok(count("unknown_key")? + count("overloaded")? + late(&[&gateway])?)
    };
    wait::until_true(
        wait::START,
        "those for whom there is no room to be answered",
        || sent_away().is_ok_and(|count| count >= (ASKING - WAITING) as u64),
    )?;
    let honest = Honest::start(&gateway, &cached, fresh)?;
    thread::sleep(STORM / 2);
    let away = sent_away()?;
    honest.untouched(&gateway)?;
    let fetches = fetched(&shop, 0) - before;
    eprintln!(
        "{} requests for unknown keys that do not come, {away} × 503 at once, the others wait for {:.0?}: the keys were \
         fetched {fetches} times",
        waiting.len(),
        began.elapsed(),
    );
    ensure!((1..=FETCHES).contains(&fetches), "{fetches} fetches");
    Ok(())
}

/// A request whose answer nobody has read yet.
fn ask(gateway: &Gateway, token: &str) -> Result<TcpStream> {
    use std::io::Write as _;
    let mut stream = TcpStream::connect(gateway.address())?;
    let host = gateway.host();
    write!(
        stream,
        "GET /orders HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    )?;
    Ok(stream)
}

#[test]
fn one_unknown_key_is_looked_for_once_in_its_cool_down() -> Result<()> {
    /// In place of 30 s.
    const COOL_DOWN: Duration = Duration::from_secs(2);
    let shop = Shop::start()?;
    let jwks = json!({"jwks": {"minRefreshInterval": "2s"}});
    let gateway = shop.gateway_of(shop.route().issuer(&jwks))?;
    let mut caller = Caller::of(&gateway)?;
    let vault = Vault::of(&shop)?;
    let token = vault.put(vault.key.kid())?;
    wait::until_true(wait::START, "the keys to be fetched at the start", || {
        shop.mint.requests("/jwks").len() == 1
    })?;
    let began = Instant::now();
    let (mut requests, mut first) = (0, None);
    while began.elapsed() < COOL_DOWN * 4 {
        let answer = caller.api(&token)?;
        ensure!(answer.status == 503, "{}", answer.status);
        ensure!(answer.header("retry-after").is_some(), "503 without Retry-After");
        first.get_or_insert_with(|| fetched(&shop, 1));
        requests += 1;
    }
    let fetches = fetched(&shop, 1);
    eprintln!(
        "{requests} requests for one unknown key in {:.0?}: {fetches} fetches",
        began.elapsed()
    );
    ensure!(first == Some(1), "the first request did not ask");
    let most = began.elapsed().as_secs() / COOL_DOWN.as_secs() + 1;
    ensure!(
        (2..=usize::try_from(most)?).contains(&fetches),
        "{fetches} fetches"
    );
    // A key that comes late is found after that.
    shop.mint.rotate(vault.key);
    wait::until_true(COOL_DOWN * 10, "the token to be served", || {
        caller.status(&token).is_ok_and(|status| status == 200)
    })
}

/// What clients send makes nobody fetch anything: neither whole JWTs nor what they send to the token endpoint.
#[test]
fn clients_cannot_make_a_gateway_fetch_keys() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let (key, mut caller) = (Key::es256()?, Caller::of(&gateway)?);
    let good = caller.issue()?;
    let before = shop.mint.requests("/jwks").len();
    let claims = json!({"iss": shop.mint.issuer(), "sub": "a", "exp": now() + 600}).to_string();
    for number in 0..3000 {
        let header =
            json!({"alg": "ES256", "kid": secret::text(), "jku": format!("{}/jwks", shop.mint.issuer())});
        let token = key.token_of(&header.to_string(), &claims)?;
        ensure!(caller.status(&token)? == 401, "a whole JWT");
        ensure!(caller.status(jwt::signature(&token)?)? == 401, "its signature");
        if number % 100 == 0 {
            let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
            let answer = gateway.token(None, &[("grant_type", grant), ("assertion", &token)])?;
            ensure!(answer.status == 200, "an assertion: {}", answer.status);
        }
    }
    let fetches = shop.mint.requests("/jwks").len() - before;
    eprintln!("6000 requests with 3000 keys of clients' own: {fetches} fetches");
    ensure!(fetches == 0 && before == 1, "{fetches} fetches");
    ensure!(caller.status(&good)? == 200);
    Ok(())
}
