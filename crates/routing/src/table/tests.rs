use std::time::{Duration, Instant};

use proptest::prelude::*;
use splittoken_reach::Reach;
use splittoken_token::{Algorithm, Realm};

use super::*;
use crate::{
    AllowedOrigin, Authentication, Backend, BackendProtocol, Cors, Discovery, Endpoints, FORMAT, HeaderMatch,
    IdTokenPolicy, Lifetime, OnNonJwt, RefreshTokenPolicy, RequestHeaders, RouteConfig, RouteMatch,
    RouteSecrets, Rule, Timeouts, TokenEndpoint, Transport, UnusableBackend, Verification,
};

fn issuer(name: &str) -> IssuerConfig {
    IssuerConfig {
        name: name.to_owned(),
        realm: Realm::of("SplitTokenIssuer", "ns", name),
        url: format!("https://{name}.example"),
        transport: Transport::HttpsOnly,
        discovery: Discovery::Auto,
        endpoints: Endpoints::default(),
        algorithms: vec![Algorithm::RS256],
        verification: Verification::Signature,
        audiences: vec![],
        token_types: vec![],
        clock_skew: Duration::from_secs(30),
        jwks_refresh: Duration::from_secs(300),
        jwks_min_refresh: Duration::from_secs(30),
        ca_certificates: vec![],
        reach: Reach::default(),
        lifetime: Lifetime {
            max: Duration::from_secs(86_400),
            fallback: Duration::ZERO,
        },
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(10),
    }
}

fn rule(name: &str, matches: Vec<RouteMatch>) -> Rule {
    Rule {
        name: name.to_owned(),
        matches,
        authentication: Authentication::Required,
        authorization: None,
        claims_to_headers: vec![],
        replace_prefix: None,
        request_headers: RequestHeaders::default(),
        timeouts: Timeouts {
            request: None,
            backend_request: None,
            connect: None,
            idle: None,
        },
        websocket: false,
        max_retries: 1,
        backends: vec![],
    }
}

fn path(path: PathMatch) -> RouteMatch {
    RouteMatch {
        path,
        methods: vec![],
        headers: vec![],
    }
}

fn prefix(p: &str) -> RouteMatch {
    path(PathMatch::Prefix(p.to_owned()))
}

fn exact(p: &str) -> RouteMatch {
    path(PathMatch::Exact(p.to_owned()))
}

fn route(name: &str, hosts: &[&str], rules: Vec<Rule>) -> CompiledRoute {
    let config = RouteConfig {
        format: FORMAT,
        name: RouteName {
            namespace: "ns".to_owned(),
            name: name.to_owned(),
        },
        created: 0,
        hostnames: hosts.iter().map(|h| Hostname::parse(h).unwrap()).collect(),
        issuer: issuer("iam"),
        token_endpoint: None,
        max_stale: Duration::from_secs(10),
        cors: None,
        reach: Reach::default(),
        rules: rules.into_iter().map(Arc::new).collect(),
    };
    CompiledRoute {
        config: Arc::new(config),
        secrets: RouteSecrets::default(),
        revision: format!("r-{name}"),
    }
}

fn find(table: &RouteTable, host: &str, path: &str) -> Option<String> {
    find_with(table, host, path, &Method::GET, &HeaderMap::new())
}

fn find_with(
    table: &RouteTable,
    host: &str,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Option<String> {
    let path = CanonicalPath::parse(path).unwrap();
    match table.find(&Host::parse(host).unwrap(), &path, method, headers)? {
        Found::TokenEndpoint(route) => Some(format!("token {}", route.config.name.name)),
        Found::Rule(rule, _) => Some(rule.config.name.clone()),
    }
}

#[test]
fn the_most_specific_host_decides_alone() {
    let table = RouteTable::build(&[
        route("a", &["*.example.com"], vec![rule("wild", vec![prefix("/")])]),
        route("b", &["*.eu.example.com"], vec![rule("eu", vec![prefix("/")])]),
        route(
            "c",
            &["api.example.com"],
            vec![rule("exact", vec![prefix("/api")])],
        ),
    ])
    .unwrap();
    for (host, path, found) in [
        ("api.example.com", "/api", Some("exact")),
        ("api.example.com", "/other", None),
        ("www.example.com:8080", "/other", Some("wild")),
        ("a.eu.example.com", "/", Some("eu")),
        ("EU.Example.COM.", "/", Some("wild")),
        ("example.com", "/", None),
        ("notexample.com", "/", None),
    ] {
        assert_eq!(find(&table, host, path).as_deref(), found, "{host}{path}");
    }
}

#[test]
fn paths_match_whole_segments_and_the_longest_wins() {
    let rules = vec![
        rule("root", vec![prefix("/")]),
        rule("a", vec![prefix("/a/")]),
        rule("ab", vec![prefix("/a/b")]),
        rule("exact", vec![exact("/a/b/c")]),
        rule("colon", vec![exact("/v1/x:batch")]),
    ];
    let table = RouteTable::build(&[route("r", &["h"], rules)]).unwrap();
    for (path, found) in [
        ("/", "root"),
        ("/ab", "root"),
        ("/a", "a"),
        ("/a/", "a"),
        ("/a/bc", "a"),
        ("/a/b", "ab"),
        ("/a/b/", "ab"),
        ("/a/b/c", "exact"),
        ("/a/b/c/", "ab"),
        ("/a/b/c/d", "ab"),
        ("/%61/b", "ab"),
        ("/v1/x:batch", "colon"),
        ("/v1/x%3Abatch", "colon"),
    ] {
        assert_eq!(find(&table, "h", path).as_deref(), Some(found), "{path}");
    }
}

#[test]
fn methods_then_headers_then_age_then_name() {
    let with = |methods: &[&str], headers: &[(&str, &str)]| RouteMatch {
        methods: methods.iter().map(|m| (*m).to_owned()).collect(),
        headers: headers
            .iter()
            .map(|(n, v)| HeaderMatch {
                name: (*n).to_owned(),
                value: (*v).to_owned(),
            })
            .collect(),
        ..prefix("/x")
    };
    let mut young = route("a-young", &["h"], vec![rule("young", vec![prefix("/x")])]);
    Arc::make_mut(&mut young.config).created = 9;
    let table = RouteTable::build(&[
        young,
        route("z", &["h"], vec![rule("z", vec![prefix("/x")])]),
        route(
            "b",
            &["h"],
            vec![
                rule("b", vec![prefix("/x")]),
                rule("headers", vec![with(&[], &[("x-a", "1"), ("x-b", "2")])]),
                rule("header", vec![with(&[], &[("x-a", "1")])]),
                rule("post", vec![with(&["POST", "PUT"], &[])]),
            ],
        ),
    ])
    .unwrap();
    let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect()
    };
    for (method, pairs, found) in [
        (Method::GET, &[][..], "b"),
        (Method::GET, &[("x-a", "1")][..], "header"),
        (Method::GET, &[("x-a", "1"), ("x-b", "2")][..], "headers"),
        (Method::GET, &[("x-a", "2")][..], "b"),
        (Method::PUT, &[("x-a", "1"), ("x-b", "2")][..], "post"),
    ] {
        assert_eq!(
            find_with(&table, "h", "/x/y", &method, &headers(pairs)).as_deref(),
            Some(found),
            "{method} {pairs:?}"
        );
    }
}

fn token_endpoint() -> TokenEndpoint {
    TokenEndpoint {
        path: "/oauth/token".to_owned(),
        grant_types: vec![],
        refresh_token: RefreshTokenPolicy::PassThrough,
        id_token: IdTokenPolicy::PassThrough,
        on_non_jwt: OnNonJwt::Reject,
    }
}

#[test]
fn a_token_endpoint_comes_before_rules_and_the_older_route_keeps_it() {
    let endpoint = token_endpoint();
    let mut old = route("old", &["h"], vec![rule("exact", vec![exact("/oauth/token")])]);
    Arc::make_mut(&mut old.config).token_endpoint = Some(endpoint.clone());
    let mut new = route("a-new", &["h"], vec![]);
    Arc::make_mut(&mut new.config).token_endpoint = Some(endpoint);
    Arc::make_mut(&mut new.config).created = 5;
    let table = RouteTable::build(&[new, old]).unwrap();
    assert_eq!(find(&table, "h", "/oauth/token").as_deref(), Some("token old"));
    assert_eq!(find(&table, "h", "/oauth/token/"), None);
}

fn announced(table: &RouteTable, path: &str, method: &Method) -> Option<String> {
    let path = CanonicalPath::parse(path).unwrap();
    match table.find_announced(&Host::parse("h").unwrap(), &path, method)? {
        Found::TokenEndpoint(route) => Some(format!("token {}", route.config.name.name)),
        Found::Rule(rule, _) => Some(rule.config.name.clone()),
    }
}

fn with_cors(mut route: CompiledRoute, origin: &str) -> CompiledRoute {
    Arc::make_mut(&mut route.config).cors = Some(Cors {
        allow_origins: vec![AllowedOrigin::parse(origin).unwrap()],
        allow_credentials: false,
        allow_methods: vec![],
        allow_headers: vec![],
        expose_headers: vec![],
        max_age: 5,
    });
    route
}

#[test]
fn a_preflight_belongs_to_the_request_that_it_announces() {
    let for_methods = |path: &str, methods: &[&str]| RouteMatch {
        methods: methods.iter().map(|m| (*m).to_owned()).collect(),
        ..prefix(path)
    };
    let rules = vec![
        rule("get", vec![for_methods("/a", &["GET"])]),
        rule("put", vec![for_methods("/a", &["PUT"])]),
        rule("all", vec![prefix("/b")]),
    ];
    let silent = vec![rule("delete", vec![for_methods("/a", &["DELETE"])])];
    let mut shop = with_cors(route("shop", &["h"], rules), "*");
    Arc::make_mut(&mut shop.config).token_endpoint = Some(token_endpoint());
    let table = RouteTable::build(&[shop, route("silent", &["h"], silent)]).unwrap();
    for (path, method, found) in [
        ("/a", Method::GET, Some("get")),
        ("/a/x", Method::PUT, Some("put")),
        // Of a route without CORS.
        ("/a", Method::DELETE, None),
        // No rule takes that method: whoever comes first at the path.
        ("/a", Method::POST, Some("get")),
        // Nothing takes that path.
        ("/c", Method::GET, None),
        ("/b", Method::PATCH, Some("all")),
        ("/oauth/token", Method::POST, Some("token shop")),
    ] {
        assert_eq!(
            announced(&table, path, &method).as_deref(),
            found,
            "{method} {path}"
        );
    }
    let mut silent = route("silent", &["h"], vec![rule("all", vec![prefix("/")])]);
    Arc::make_mut(&mut silent.config).token_endpoint = Some(token_endpoint());
    let table = RouteTable::build(&[silent]).unwrap();
    assert_eq!(announced(&table, "/oauth/token", &Method::POST), None);
    let silent = route(
        "silent",
        &["h"],
        vec![rule("get", vec![for_methods("/", &["GET"])])],
    );
    let table = RouteTable::build(&[silent]).unwrap();
    assert_eq!(announced(&table, "/", &Method::PUT), None);
}

#[test]
fn headers_that_are_not_known_yet_decide_only_where_it_makes_no_difference() {
    let canary = || {
        let mut canary = prefix("/");
        canary.headers = vec![HeaderMatch {
            name: "x-canary".to_owned(),
            value: "1".to_owned(),
        }];
        rule("canary", vec![canary])
    };
    let all = || rule("all", vec![prefix("/")]);
    let fallback = || rule("fallback", vec![prefix("/")]);
    let find = |routes: &[CompiledRoute]| {
        let table = RouteTable::build(routes).unwrap();
        announced(&table, "/", &Method::PUT)
    };
    let one = "https://one.example";
    let both = with_cors(route("r", &["h"], vec![canary(), all()]), one);
    assert_eq!(find(&[both]).as_deref(), Some("canary"));
    let first = with_cors(route("a", &["h"], vec![canary()]), one);
    let same = with_cors(route("b", &["h"], vec![all()]), one);
    let other = with_cors(route("b", &["h"], vec![all()]), "https://two.example");
    let silent = route("b", &["h"], vec![all()]);
    assert_eq!(find(&[first.clone(), same.clone()]).as_deref(), Some("canary"));
    assert_eq!(find(std::slice::from_ref(&first)).as_deref(), Some("canary"));
    assert_eq!(find(&[first.clone(), other]), None);
    assert_eq!(find(&[first.clone(), silent]), None);
    assert_eq!(find(&[route("a", &["h"], vec![canary()]), same.clone()]), None);
    // What comes after a match without headers is never asked.
    let after = route("c", &["h"], vec![fallback()]);
    assert_eq!(find(&[first, same, after]).as_deref(), Some("canary"));
}

#[test]
fn a_route_of_a_time_before_cors_is_read_and_written_as_ever() {
    let text = serde_json::to_string(&route("a", &["h"], vec![]).config).unwrap();
    assert!(!text.contains("cors"), "{text}");
    assert_eq!(serde_json::from_str::<RouteConfig>(&text).unwrap().cors, None);
    let config = with_cors(route("a", &["h"], vec![]), "https://*.example.com:8443").config;
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<RouteConfig>(&text).unwrap(), *config);
}

#[test]
fn equal_issuers_are_shared() {
    let mut other = route("c", &["h"], vec![]);
    Arc::make_mut(&mut other.config).issuer = issuer("other");
    let table = RouteTable::build(&[route("a", &["h"], vec![]), route("b", &["h"], vec![]), other]).unwrap();
    assert_eq!(table.issuers().len(), 2);
    assert_eq!(table.routes()[0].issuer, table.routes()[1].issuer);
}

#[test]
fn digests_name_the_set() {
    let (a, b) = (route("a", &["h"], vec![]), route("b", &["h"], vec![]));
    let digest = |routes: &[CompiledRoute]| RouteTable::build(routes).unwrap().digest();
    assert_eq!(digest(&[a.clone(), b.clone()]), digest(&[b.clone(), a.clone()]));
    let mut changed = b.clone();
    changed.revision = "other".to_owned();
    assert_ne!(digest(&[a.clone(), b]), digest(&[a.clone(), changed]));
    assert_ne!(digest(&[a]), digest(&[]));
}

#[test]
fn says_what_cannot_be_served() {
    let mut later = route("a", &["h"], vec![]);
    Arc::make_mut(&mut later.config).format = FORMAT + 1;
    assert_eq!(RouteTable::build(&[later]).unwrap_err().reason(), "route_format");
    let bad_path = route("a", &["h"], vec![rule("r", vec![prefix("/a//b")])]);
    assert_eq!(
        RouteTable::build(&[bad_path]).unwrap_err().reason(),
        "path_empty_segment"
    );
    let twice = [route("a", &["h"], vec![]), route("a", &["h"], vec![])];
    assert_eq!(RouteTable::build(&twice).unwrap_err().reason(), "route_duplicate");
}

#[test]
fn backends_get_their_weights_share() {
    let backend = |name: &str, weight| Backend {
        address: Ok(name.to_owned()),
        weight,
        protocol: BackendProtocol::default(),
        tls: None,
    };
    let mut r = rule("r", vec![prefix("/")]);
    let broken = Backend {
        address: Err(UnusableBackend {
            reason: "BackendNotFound".to_owned(),
        }),
        weight: 1,
        protocol: BackendProtocol::default(),
        tls: None,
    };
    r.backends = vec![backend("a", 3), backend("never", 0), broken];
    let table = RouteTable::build(&[
        route("a", &["h"], vec![r]),
        route("b", &["i"], vec![rule("r", vec![])]),
    ])
    .unwrap();
    let rule = &table.rules()[0];
    let shares: Vec<_> = (0..8)
        .map(|n| {
            rule.config.backends[rule.backend(n).unwrap()]
                .address
                .clone()
                .ok()
        })
        .collect();
    let a = Some("a".to_owned());
    assert_eq!(
        shares,
        [
            a.clone(),
            a.clone(),
            a.clone(),
            None,
            a.clone(),
            a.clone(),
            a,
            None
        ]
    );
    assert!(table.rules()[1].backend(7).is_none());
}

#[test]
fn the_wire_form_survives_json() {
    let mut r = rule("r", vec![exact("/a")]);
    r.backends = vec![Backend {
        address: Err(UnusableBackend {
            reason: "BackendNotFound".to_owned(),
        }),
        weight: 1,
        protocol: BackendProtocol::default(),
        tls: None,
    }];
    let config = route("a", &["h", "*.example.com", "::1"], vec![r]).config;
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<RouteConfig>(&text).unwrap(), *config);
}

#[test]
fn lookup_in_ten_thousand_routes_stays_in_microseconds() {
    let routes: Vec<CompiledRoute> = (0..10_000)
        .map(|n| {
            route(
                &format!("r{n}"),
                &[&format!("h{n}.example.com")],
                vec![rule("x", vec![prefix("/a/b")])],
            )
        })
        .collect();
    let table = RouteTable::build(&routes).unwrap();
    let started = Instant::now();
    for n in 0..10_000 {
        assert!(find(&table, &format!("h{n}.example.com"), "/a/b/c/d").is_some());
    }
    // The promise is 5 µs in a release build; ten times that, and a debug build, still catch a linear scan.
    let each = started.elapsed() / 10_000;
    assert!(each < Duration::from_micros(500), "{each:?}");
}

/// The slow and obvious way to pick a prefix.
/// A client chooses how many segments its path has, within what a request's head may hold.
#[test]
fn a_path_of_very_many_segments_costs_no_more_than_its_length() {
    let table = RouteTable::build(&[route(
        "r",
        &["a.example"],
        vec![rule("api", vec![prefix("/api/v1")])],
    )])
    .unwrap();
    let long = format!("/api/v1{}", "/a".repeat(15_000));
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(find(&table, "a.example", &long).as_deref(), Some("api"));
    }
    let each = started.elapsed() / 20;
    assert!(each < Duration::from_millis(20), "{each:?}");
}

fn naive(prefixes: &[String], path: &str) -> Option<String> {
    let segments = |p: &str| {
        p.split('/')
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let wanted = segments(path);
    prefixes
        .iter()
        .filter(|p| wanted.starts_with(&segments(p)))
        .max_by_key(|p| segments(p).len())
        .cloned()
}

proptest! {
    #[test]
    fn prefixes_agree_with_the_naive_oracle(
        prefixes in proptest::collection::hash_set("(/[ab]){0,4}", 1..8),
        path in "(/[abc]){1,5}",
    ) {
        let prefixes: Vec<String> = prefixes.into_iter().map(|p| if p.is_empty() { "/".to_owned() } else { p }).collect();
        let rules = prefixes.iter().map(|p| rule(p, vec![prefix(p)])).collect();
        let table = RouteTable::build(&[route("r", &["h"], rules)]).unwrap();
        prop_assert_eq!(find(&table, "h", &path), naive(&prefixes, &path));
    }
}
