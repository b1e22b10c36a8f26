use serde_json::json;

use splittoken_reach::{Reach, Refused};

use super::*;

const ISSUER: &str = "https://idp.example/realms/a";
const HTTPS: Allowed<'static> = Allowed {
    plain_http: false,
    reach: &Reach::Beyond(Refused {
        addresses: Vec::new(),
        sockets: Vec::new(),
    }),
};

fn read(document: &Value, given: &Endpoints) -> Result<Endpoints, DiscoveryError> {
    let wanted = Wanted {
        issuer: ISSUER,
        allowed: HTTPS,
        given,
        jwks: true,
    };
    read_document(document.to_string().as_bytes(), wanted)
}

fn document(changes: &Value) -> Value {
    let mut document = json!({
        "issuer": ISSUER,
        "token_endpoint": "https://idp.example/token",
        "jwks_uri": "https://keys.example/jwks",
        "revocation_endpoint": "https://idp.example/revoke",
        "unknown": {"x": 1},
    });
    document
        .as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    document
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn documents_lie_where_the_two_rfcs_say() {
    let cases = [
        (
            "https://a.example",
            "https://a.example/.well-known/openid-configuration",
            "https://a.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://a.example/",
            "https://a.example/.well-known/openid-configuration",
            "https://a.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://a.example:8443/t/1",
            "https://a.example:8443/t/1/.well-known/openid-configuration",
            "https://a.example:8443/.well-known/oauth-authorization-server/t/1",
        ),
        (
            "https://a.example/t%20x/",
            "https://a.example/t%20x/.well-known/openid-configuration",
            "https://a.example/.well-known/oauth-authorization-server/t%20x",
        ),
    ];
    for (issuer, oidc, oauth) in cases {
        assert_eq!(well_known_urls(&url(issuer)), [url(oidc), url(oauth)], "{issuer}");
    }
}

#[test]
fn a_good_document_gives_its_endpoints() {
    let endpoints = read(&document(&json!({})), &Endpoints::default()).unwrap();
    assert_eq!(endpoints.token, Some(url("https://idp.example/token")));
    assert_eq!(endpoints.jwks, Some(url("https://keys.example/jwks")));
    assert_eq!(endpoints.revocation, Some(url("https://idp.example/revoke")));
}

#[test]
fn the_issuer_must_be_the_same_to_the_letter() {
    for other in [
        "https://idp.example/realms/a/",
        "https://idp.example/realms/b",
        "HTTPS://idp.example/realms/a",
    ] {
        let error = read(&document(&json!({ "issuer": other })), &Endpoints::default()).unwrap_err();
        assert_eq!(error.reason(), "discovery_issuer");
        let text = error.to_string();
        assert!(text.contains(ISSUER) && text.contains(other), "{text}");
    }
    for none in [json!({"issuer": null}), json!({"issuer": 7})] {
        assert_eq!(
            read(&document(&none), &Endpoints::default()),
            Err(DiscoveryError::NoIssuer)
        );
    }
}

#[test]
fn endpoints_that_cannot_be_used_are_refused() {
    for member in ["token_endpoint", "jwks_uri", "revocation_endpoint"] {
        for (bad, reason) in [
            (json!("http://idp.example/x"), "url_plain_http"),
            (json!("https://u:p@idp.example/x"), "url_user_info"),
            (json!("https://idp.example/x#y"), "url_fragment"),
            (json!("https://127.0.0.1/x"), "url_address"),
            (json!("https://localhost/x"), "url_address"),
            (json!("https://[::ffff:169.254.169.254]/x"), "url_address"),
            (json!("/x"), "url_not_absolute"),
            (json!(""), "url_not_absolute"),
            (json!(["https://idp.example/x"]), "url_not_absolute"),
        ] {
            let error = read(&document(&json!({ member: bad })), &Endpoints::default()).unwrap_err();
            assert_eq!(
                (error.reason(), error.to_string().contains(member)),
                (reason, true),
                "{bad}"
            );
        }
    }
}

#[test]
fn given_endpoints_win_and_excuse_bad_ones() {
    let given = Endpoints {
        token: Some(url("https://mine.example/token")),
        ..Endpoints::default()
    };
    let endpoints = read(
        &document(&json!({"token_endpoint": "http://idp.example/x"})),
        &given,
    )
    .unwrap();
    assert_eq!(endpoints.token, given.token);
    assert_eq!(endpoints.jwks, Some(url("https://keys.example/jwks")));
}

#[test]
fn what_is_needed_must_be_there() {
    let none = Endpoints::default();
    for member in ["token_endpoint", "jwks_uri"] {
        assert_eq!(
            read(&document(&json!({ member: null })), &none),
            Err(DiscoveryError::Missing(member))
        );
    }
    let text = document(&json!({"jwks_uri": null, "revocation_endpoint": null})).to_string();
    let wanted = Wanted {
        issuer: ISSUER,
        allowed: HTTPS,
        given: &none,
        jwks: false,
    };
    let endpoints = read_document(text.as_bytes(), wanted).unwrap();
    assert_eq!((endpoints.jwks, endpoints.revocation), (None, None));
}

#[test]
fn duplicate_members_and_other_json_are_refused() {
    let none = Endpoints::default();
    let wanted = Wanted {
        issuer: ISSUER,
        allowed: HTTPS,
        given: &none,
        jwks: true,
    };
    let twice = document(&json!({}))
        .to_string()
        .replacen('{', r#"{"issuer":"https://evil.example","#, 1);
    for (bytes, reason) in [
        (twice.as_str(), "json_duplicate_member"),
        ("[]", "json_not_object"),
        ("<", "json_syntax"),
    ] {
        assert_eq!(
            read_document(bytes.as_bytes(), wanted).unwrap_err().reason(),
            reason
        );
    }
}
