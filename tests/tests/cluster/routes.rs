//! What a team does: apply a route, use it, edit it, delete it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::cluster::{Release, Workload};
use splittoken_tests::jwt;
use splittoken_tests::load::quantile;

use crate::shop::Shop;

/// An edit is to be enforced everywhere in a second; a test allows ten times as much.
const EDIT: Duration = Duration::from_secs(10);

#[test]
fn a_route_is_served_edited_and_deleted_on_every_pod() -> Result<()> {
    let _release = Release::installed()?;
    let shop = Shop::open("routes")?;
    shop.serve(&["orders:read"])?;
    let token = shop.token("orders:read")?;
    let seen = shop.call(&token)?;
    let authorization = seen["headers"]["Authorization"][0].as_str().context("no token")?;
    let jwt = authorization.strip_prefix("Bearer ").context("no Bearer")?;
    let claims = jwt::claims(jwt)?;
    assert_eq!(claims["iss"], Workload::issuer("provider", "routes"));
    assert_eq!(claims["scope"], "orders:read");
    ensure!(jwt.ends_with(&token), "the token is not the JWT's signature");
    assert_eq!(seen["path"], "/list?of=orders");

    let pods = shop.gateways()?.len();
    ensure!(pods >= 2, "{pods} gateway pods");
    let (mut from_start, mut from_end) = (Vec::new(), Vec::new());
    for round in 0..20 {
        let (scope, status) = if round % 2 == 0 {
            ("orders:write", 403)
        } else {
            ("orders:read", 200)
        };
        let (mut start, mut end) = (0, 0);
        let times = shop.after(status, &token, || {
            start = now()?;
            shop.namespace.apply(&[shop.route(&[scope])])?;
            end = now()?;
            Ok(())
        })?;
        let last = times.into_iter().max().context("no pods")?;
        from_start.push(Duration::from_nanos(last.saturating_sub(start)));
        from_end.push(Duration::from_nanos(last.saturating_sub(end)));
    }
    println!(
        "edit to enforced on all {pods} pods, {} edits: p50 {:?}, p99 {:?} from the start of kubectl; p50 {:?}, p99 {:?} \
         from its end",
        from_start.len(),
        quantile(&from_start, 0.5),
        quantile(&from_start, 0.99),
        quantile(&from_end, 0.5),
        quantile(&from_end, 0.99),
    );
    ensure!(quantile(&from_end, 1.0) < EDIT, "{from_end:?}");

    let mut start = 0;
    let times = shop.after(404, &token, || {
        start = now()?;
        shop.namespace
            .kubectl(&["delete", "splittokenroute", "orders"])
            .map(drop)
    })?;
    let last = times.into_iter().max().context("no pods")?;
    let took = Duration::from_nanos(last.saturating_sub(start));
    println!("deletion to 404 on all {pods} pods: {took:?}");
    ensure!(took < EDIT, "{took:?}");
    Ok(())
}

fn now() -> Result<u64> {
    Ok(u64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos(),
    )?)
}
