//! The parts of `splittoken demo` that stand around the gateway, all on loopback and in memory:
//!
//! ```text
//!   browser, curl ──▶ gateway ──▶ provider   issues JWTs (`provider`)
//!                        ├──────▶ API        answers what it received (`echo`)
//!                        └──────▶ page       shows all of it to a person (`page`)
//! ```
//!
//! This room knows nothing of the gateway, its routes or its store: whoever starts it puts the three
//! base URLs into routes and hands in a view of the store. The page alone looks behind the curtain
//! (what the provider issued, what the store holds); no real deployment has such a page.

mod banner;
mod echo;
mod page;
mod provider;

use std::{io, net::Ipv4Addr, sync::Arc};

use anyhow::Context;
use axum::Router;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

pub(crate) use banner::{Running, banner};
pub(crate) use page::{ShownStore, StoreView, StoredEntry};

use provider::{Provider, SigningKey};

/// The demo's one OAuth client. Fixed, so that printed commands can be copied: the credentials open
/// nothing but a provider that lives in this process, on loopback, with a key made at start.
const CLIENT_ID: &str = "demo-client";
const CLIENT_SECRET: &str = "demo-secret";
/// The demo's one user, for the password grant. Fixed for the same reason.
const USERNAME: &str = "alice";
const PASSWORD: &str = "wonderland";

/// What runs behind the demo's gateway. Dropping it ends the servers at once.
pub(crate) struct Parts {
    /// Base URL of the provider, which is also the `iss` of its tokens. No trailing slash.
    pub(crate) provider: String,
    /// Base URL of the echo API, which answers every path. No trailing slash.
    pub(crate) api: String,
    /// Base URL of the page server: `/` and everything below `/demo/`. No trailing slash.
    pub(crate) page: String,
    /// The three servers. Each ends well when `stop` says so; an error is a listener that failed.
    pub(crate) servers: JoinSet<io::Result<()>>,
}

/// Binds provider, API and page server to free ports of 127.0.0.1 and serves them until `stop` holds
/// `true` or its sender is gone.
///
/// Making the provider's RSA key takes up to a second of CPU before anything is served.
///
/// # Errors
/// No free port, or no randomness for the key.
pub(crate) async fn start(store: ShownStore, stop: watch::Receiver<bool>) -> anyhow::Result<Parts> {
    let (provider_listener, provider_url) = bind().await.context("the demo's provider")?;
    let (api_listener, api_url) = bind().await.context("the demo's API")?;
    let (page_listener, page_url) = bind().await.context("the demo's page")?;

    let key = SigningKey::generate().context("the demo provider's signing key")?;
    let verifier = key.verifier();
    let provider = Arc::new(Provider::new(provider_url.clone(), key));
    let behind = page::Behind {
        issued: provider.issued(),
        store,
        provider: provider_url.clone(),
        api: api_url.clone(),
    };

    let mut servers = JoinSet::new();
    servers.spawn(serve(provider_listener, provider::router(provider), stop.clone()));
    servers.spawn(serve(api_listener, echo::router(verifier), stop.clone()));
    servers.spawn(serve(page_listener, page::router(behind), stop));
    Ok(Parts {
        provider: provider_url,
        api: api_url,
        page: page_url,
        servers,
    })
}

async fn bind() -> anyhow::Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("no free port on 127.0.0.1")?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            // An error means that the sender is gone: nobody could ask us to stop any more.
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .await
}

#[cfg(test)]
mod tests;
