use proptest::prelude::*;

use super::*;

fn config() -> Cors {
    Cors {
        allow_origins: ["https://app.example", "https://*.shop.example"]
            .iter()
            .map(|origin| AllowedOrigin::parse(origin).unwrap())
            .collect(),
        allow_credentials: false,
        allow_methods: vec!["PUT".to_owned(), "DELETE".to_owned()],
        allow_headers: vec!["Authorization".to_owned(), "Content-Type".to_owned()],
        expose_headers: vec!["WWW-Authenticate".to_owned()],
        max_age: 5,
    }
}

fn for_everybody() -> Cors {
    Cors {
        allow_origins: vec![AllowedOrigin::Any],
        allow_methods: vec![ANY.to_owned()],
        allow_headers: vec![ANY.to_owned()],
        expose_headers: vec![ANY.to_owned()],
        ..config()
    }
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
        .collect()
}

/// What an answer to `origin` says, sorted.
fn shared(cors: &Cors, origin: Option<&str>, before: &[(&str, &str)]) -> Vec<String> {
    let origin = origin.map(|origin| HeaderValue::from_str(origin).unwrap());
    let mut headers = headers(before);
    ServedCors::new(cors).share(origin.as_ref(), &mut headers);
    lines(&headers)
}

fn preflight(cors: &Cors, origin: &str) -> Vec<String> {
    let origin = HeaderValue::from_str(origin).unwrap();
    lines(&ServedCors::new(cors).answer_preflight(Some(&origin)))
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort_unstable();
    lines
}

#[test]
fn an_allowed_origin_is_named_as_it_came() {
    for origin in [
        "https://app.example",
        "HTTPS://App.Example:443",
        "https://a.b.shop.example",
    ] {
        assert_eq!(
            shared(&config(), Some(origin), &[]),
            [
                &format!("access-control-allow-origin: {origin}"),
                "access-control-expose-headers: WWW-Authenticate",
                "vary: Origin",
            ]
        );
    }
}

#[test]
fn nobody_else_is_told_anything() {
    for origin in [
        None,
        Some("null"),
        Some("https://evil.example"),
        Some("http://app.example"),
    ] {
        assert_eq!(shared(&config(), origin, &[]), ["vary: Origin"], "{origin:?}");
    }
    assert_eq!(preflight(&config(), "https://evil.example"), ["vary: Origin"]);
}

#[test]
fn credentials_are_allowed_by_name_only() {
    let cors = Cors {
        allow_credentials: true,
        ..config()
    };
    let said = "access-control-allow-credentials: true".to_owned();
    assert!(shared(&cors, Some("https://app.example"), &[]).contains(&said));
    assert!(preflight(&cors, "https://app.example").contains(&said));
    assert!(!shared(&cors, Some("https://evil.example"), &[]).contains(&said));
}

#[test]
fn what_everybody_may_read_is_the_same_for_everybody() {
    let expected = [
        "access-control-allow-origin: *",
        "access-control-expose-headers: *",
    ];
    for origin in [None, Some("null"), Some("https://any.example")] {
        assert_eq!(shared(&for_everybody(), origin, &[]), expected);
    }
}

#[test]
fn preflights_are_told_what_is_allowed() {
    assert_eq!(
        preflight(&config(), "https://app.example"),
        [
            "access-control-allow-headers: Authorization, Content-Type",
            "access-control-allow-methods: PUT, DELETE",
            "access-control-allow-origin: https://app.example",
            "access-control-max-age: 5",
            "vary: Origin",
        ]
    );
    assert_eq!(
        preflight(&for_everybody(), "null"),
        [
            "access-control-allow-headers: *, Authorization",
            "access-control-allow-methods: *",
            "access-control-allow-origin: *",
            "access-control-max-age: 5",
        ]
    );
    let nothing_more = Cors {
        allow_methods: vec![],
        allow_headers: vec![],
        ..config()
    };
    assert_eq!(
        preflight(&nothing_more, "https://app.example"),
        [
            "access-control-allow-origin: https://app.example",
            "access-control-max-age: 5",
            "vary: Origin",
        ]
    );
}

#[test]
fn what_the_upstream_says_of_it_does_not_count() {
    let upstream = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-origin", "https://evil.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "*"),
        ("access-control-allow-headers", "*"),
        ("access-control-expose-headers", "*"),
        ("access-control-max-age", "86400"),
        ("access-control-allow-private-network", "true"),
        ("etag", "e"),
    ];
    assert_eq!(
        shared(&config(), Some("https://evil.example"), &upstream),
        ["etag: e", "vary: Origin"]
    );
    assert_eq!(
        shared(&config(), Some("https://app.example"), &upstream),
        [
            "access-control-allow-origin: https://app.example",
            "access-control-expose-headers: WWW-Authenticate",
            "etag: e",
            "vary: Origin",
        ]
    );
}

#[test]
fn vary_names_the_origin_once() {
    for (before, after) in [
        (&[][..], &["vary: Origin"][..]),
        (&[("vary", "Accept")], &["vary: Accept", "vary: Origin"]),
        (&[("vary", "Accept, ORIGIN")], &["vary: Accept, ORIGIN"]),
        (&[("vary", "*")], &["vary: *"]),
    ] {
        assert_eq!(shared(&config(), None, before), after, "{before:?}");
    }
}

#[test]
fn a_preflight_is_options_with_an_origin_and_one_method() {
    let whole = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "PUT"),
    ];
    let announced = |method: &Method, pairs: &[(&str, &str)]| announced_method(method, &headers(pairs));
    assert_eq!(announced(&Method::OPTIONS, &whole), Some(Method::PUT));
    assert_eq!(announced(&Method::GET, &whole), None);
    assert_eq!(announced(&Method::OPTIONS, &whole[..1]), None);
    assert_eq!(announced(&Method::OPTIONS, &whole[1..]), None);
    let two = [whole[0], whole[1], whole[1]];
    assert_eq!(announced(&Method::OPTIONS, &two), None);
    let bad = [whole[0], ("access-control-request-method", "P T")];
    assert_eq!(announced(&Method::OPTIONS, &bad), None);
}

#[test]
fn two_origins_are_none() {
    let one = ("origin", "https://app.example");
    assert_eq!(origin(&headers(&[one])).unwrap(), one.1);
    assert_eq!(origin(&headers(&[one, one])), None);
    assert_eq!(origin(&headers(&[])), None);
}

proptest! {
    /// Whatever is asked and whatever the upstream says, there is one verdict at most, and it is ours.
    #[test]
    fn an_answer_allows_the_origin_that_asked_or_none(
        origin in "(https?://)?[a-z.*]{0,12}(app[.]example|[.]shop[.]example)?(:[0-9]{1,5})?",
        said in proptest::collection::vec("[a-z:/.*]{0,20}", 0..3),
        everybody: bool,
    ) {
        let cors = if everybody { for_everybody() } else { config() };
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append(ACCESS_CONTROL_ALLOW_ORIGIN, value.parse().unwrap());
        }
        let asked = HeaderValue::from_str(&origin).unwrap();
        ServedCors::new(&cors).share(Some(&asked), &mut headers);
        let allowed: Vec<_> = headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect();
        let is_allowed = cors.allow_origins.iter().any(|allowed| allowed.matches(&origin));
        let expected = if everybody { "*" } else { &origin };
        let expected: Vec<_> = is_allowed.then_some(expected).into_iter().collect();
        prop_assert_eq!(&allowed[..], &expected[..]);
        prop_assert_eq!(headers.contains_key(VARY), !everybody);
        prop_assert_eq!(headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS), is_allowed);
    }
}
