use std::{
    collections::BTreeSet,
    env, fs,
    net::{IpAddr, ToSocketAddrs},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use prometheus_client::registry::Registry;
use splittoken_api::Installation;
use splittoken_operator::{Operator, Settings, StoreSecret};
use splittoken_runtime::{AdminServer, Readiness, Signals, init_logs};
use splittoken_store::MINIMAL_ACL;

use super::serving::control_runtime;
use crate::arguments::OperatorArguments;

/// Whom the chart's gateways are to the chart's store.
const STORE_USER: &str = "gateway";

/// Runs the operator until it is asked to end, or loses its lease.
pub(super) fn run(arguments: OperatorArguments) -> anyhow::Result<()> {
    init_logs(arguments.process.log_format, "info")?;
    let mut installation = match &arguments.policy {
        Some(path) => policy(path)?,
        None => Installation::default(),
    };
    installation.api_server.addresses = api_server(env::var("KUBERNETES_SERVICE_HOST").ok().as_deref())?;
    let settings = Settings {
        class: arguments.installation.class,
        namespace: arguments.installation.namespace,
        installation,
        gateway_selector: arguments.gateway_selector,
        gateway_admin_port: arguments.gateway_admin_port,
        anchor: arguments.anchor,
        keyring_secret: arguments.keyring_secret,
        keep_keyring: arguments.keep_keyring,
        store_secret: arguments.store_secret.map(|name| StoreSecret {
            name,
            user: STORE_USER.to_owned(),
            rules: MINIMAL_ACL.to_owned(),
        }),
        identity: arguments.identity.unwrap_or_else(identity),
    };
    let runtime = control_runtime()?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::catch().context("cannot catch signals")?;
        let (readiness, mut registry) = (Readiness::default(), Registry::default());
        let operator = Operator::new(settings, readiness.clone(), &mut registry).await?;
        let admin = AdminServer::bind(
            arguments.process.admin,
            readiness.clone(),
            Arc::new(registry),
            Vec::new(),
        );
        let admin = tokio::spawn(admin.await.context("--admin")?.run());
        let stop = async {
            let signal = signals.next().await;
            tracing::info!(signal = signal.name(), "asked to end");
            readiness.leave();
        };
        let outcome = operator.run(stop).await;
        admin.abort();
        tracing::info!("ended");
        outcome.map_err(Into::into)
    });
    runtime.shutdown_background();
    outcome
}

fn policy(path: &Path) -> anyhow::Result<Installation> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read --policy {}", path.display()))?;
    Installation::parse(&text).with_context(|| format!("--policy {}", path.display()))
}

/// The addresses of the API server's Service, which a cluster tells each of its pods. Mostly it tells an address; some
/// clusters tell a name, and not to know what that stands for would be not to refuse it.
fn api_server(host: Option<&str>) -> anyhow::Result<Vec<IpAddr>> {
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        return Ok(Vec::new());
    };
    let addresses = (host, 0)
        .to_socket_addrs()
        .with_context(|| format!("KUBERNETES_SERVICE_HOST {host} does not resolve"))?;
    // In one order, whatever the resolver's: another order would be another revision of every route.
    let addresses: BTreeSet<IpAddr> = addresses.map(|address| address.ip()).collect();
    Ok(addresses.into_iter().collect())
}

/// In a pod the host's name is the pod's, and no other pod has it.
fn identity() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_is_where_the_cluster_says() {
        for (host, expected) in [
            (None, &[][..]),
            (Some(""), &[]),
            (Some("10.96.0.1"), &["10.96.0.1"]),
            (Some("fd00:96::1"), &["fd00:96::1"]),
        ] {
            let found: Vec<String> = api_server(host)
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(found, expected);
        }
        let named = api_server(Some("localhost")).unwrap();
        assert!(!named.is_empty() && named.iter().all(IpAddr::is_loopback));
        assert!(api_server(Some("not a host")).is_err());
    }
}
