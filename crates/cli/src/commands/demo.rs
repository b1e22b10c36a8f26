use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use anyhow::Context;
use splittoken_gateway::{AccessLog, Config, Limits, Settings};
use splittoken_runtime::{LogFormat, Signals, init_logs};
use splittoken_store::Store;
use tokio::sync::watch;

use super::{
    keyring_file::keyring,
    print,
    serving::{AT_ONCE, Serving, control_runtime, store, threads},
};
use crate::{
    arguments::DemoArguments,
    demo::{Parts, Running, ShownStore, StoreView, StoredEntry, banner, start},
    routes::compile_text,
};

/// The routes of the demo: the example that everybody can read.
const QUICKSTART: &str = include_str!("../../../../examples/quickstart.yaml");
/// Its list of names, which the address that the demo was told to listen on is added to.
const HOSTNAMES: &str = "hostnames: [localhost, 127.0.0.1]";

/// Runs the demo until Ctrl-C.
pub(super) fn run(arguments: &DemoArguments) -> anyhow::Result<()> {
    init_logs(LogFormat::Text, "warn")?;
    let store = store(&arguments.store)?;
    let name = store.describe();
    let serving = Serving {
        settings: Settings {
            threads: threads(None),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            http2_cleartext: false,
            access_log: AccessLog::Off,
            state_dir: None,
            limits: Limits::default(),
        },
        listen: arguments.listen,
        tls: None,
        admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        store,
        // Nothing of the demo is meant to outlive it, not even in Redis.
        keyring: keyring(None, &crate::arguments::StoreArguments::memory())?,
        traces: None,
        drain: AT_ONCE,
    };
    control_runtime()?.block_on(async {
        let signals = Signals::catch().context("cannot catch signals")?;
        let (stop, stopped) = watch::channel(false);
        let (send, configs) = watch::channel(Arc::new(Config::default()));
        let bound = serving.bind(configs, signals).await?;
        let listen = bound.gateway.address().context("the listener has no address")?;
        let shown = ShownStore {
            name: name.clone(),
            view: store_view(bound.gateway.store()),
        };
        let mut parts = start(shown, stopped).await?;
        let table = compile_text("examples/quickstart.yaml", &routes(&parts, listen.ip()))?;
        send.send_replace(Arc::new(Config {
            table: Some(Arc::new(table)),
            ..Config::default()
        }));
        print(&banner(&Running {
            listen,
            admin: bound.admin.address().context("the admin server has no address")?,
            parts: &parts,
            store: &name,
        }))?;
        let outcome = tokio::select! {
            outcome = bound.run() => outcome,
            Some(ended) = parts.servers.join_next() => {
                Err(ended.map_err(anyhow::Error::from).and_then(|e| Ok(e?)).err().unwrap_or_else(|| {
                    anyhow::anyhow!("a part of the demo ended by itself")
                }))
            }
        };
        stop.send_replace(true);
        outcome
    })
}

/// The example with the ports that the parts really got, for clients that name this address too.
fn routes(parts: &Parts, listen: IpAddr) -> String {
    let mut hostnames = HOSTNAMES.to_owned();
    if !listen.is_unspecified() && listen != Ipv4Addr::LOCALHOST {
        // In quotes: an IPv6 address is full of colons.
        hostnames = hostnames.replace(']', &format!(", '{listen}']"));
    }
    QUICKSTART
        .replace(HOSTNAMES, &hostnames)
        .replace("http://127.0.0.1:9400", &parts.provider)
        .replace("http://127.0.0.1:9401", &parts.api)
        .replace("http://127.0.0.1:9402", &parts.page)
}

/// What the memory store holds; `None` where the records lie elsewhere.
fn store_view(store: &Store) -> Option<StoreView> {
    store.memory_records()?;
    let store = store.clone();
    Some(Arc::new(move || {
        let now = SystemTime::now();
        let records = store.memory_records().unwrap_or_default();
        let entries = records.into_iter().map(|(id, value, expires_at)| StoredEntry {
            key: id.redis_key(),
            value,
            expires_in: expires_at.duration_since(now).unwrap_or_default(),
        });
        entries.collect()
    }))
}
