//! A name is what it resolves to.

use std::net::{IpAddr, ToSocketAddrs};

use bytes::Bytes;
use http::HeaderMap;
use splittoken_provider::{Provider, ProviderSettings, Reach, Refused, TokenCall};

use super::support::{eventually, full_text, given, server::Server, settings, start};

/// This machine's own name, which says nothing by itself, and what it resolves to: loopback or not, as it happens.
fn own_name() -> (String, Vec<IpAddr>) {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = name.trim().to_owned();
    let found = (name.as_str(), 0).to_socket_addrs();
    let found = found.unwrap_or_else(|error| panic!("this machine's name, {name}, must resolve: {error}"));
    let addresses = found.map(|address| address.ip()).collect();
    (name, addresses)
}

/// Settings of a provider under that name, where its addresses are refused.
fn refused(server: &Server, settings: fn(&str) -> ProviderSettings) -> ProviderSettings {
    let (name, addresses) = own_name();
    let reach = Reach::Beyond(Refused {
        addresses,
        ..Refused::default()
    });
    ProviderSettings {
        reach,
        ..settings(&format!("http://{name}:{}", port_of(server)))
    }
}

fn port_of(server: &Server) -> u16 {
    server.url.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_name_that_leads_where_nobody_may_go_is_not_connected_to() {
    let server = Server::start().await;
    let (provider, _task) = start(refused(&server, settings));
    eventually("a failure", || {
        provider.state().discovery.unwrap().reason.is_some()
    })
    .await;
    let state = provider.state().discovery.unwrap();
    assert_eq!(state.reason, Some("provider_address"));
    let error = state.error.unwrap();
    assert!(error.contains("the address is not allowed here"), "{error}");
    assert!(
        own_name().1.iter().all(|ip| !error.contains(&ip.to_string())),
        "what a name means in here is nobody's business: {error}"
    );
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn no_credential_goes_to_such_a_name_either() {
    let server = Server::start().await;
    let provider = Provider::new(refused(&server, given)).unwrap();
    let call = TokenCall {
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"grant_type=client_credentials"),
    };
    let error = provider.token_call(call).await.unwrap_err();
    assert_eq!(error.reason(), "provider_address", "{}", full_text(&error));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn an_address_is_refused_before_anything_is_asked() {
    let server = Server::start().await;
    for settings in [settings, given] {
        let settings = ProviderSettings {
            reach: Reach::default(),
            ..settings(&server.url)
        };
        assert_eq!(Provider::new(settings).unwrap_err().reason(), "url_address");
    }
}
