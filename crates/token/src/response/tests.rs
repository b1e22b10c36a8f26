use super::*;
use crate::base64url::encode;

const PASS: ResponsePolicy = ResponsePolicy {
    refresh_token: MemberPolicy::PassThrough,
    id_token: MemberPolicy::PassThrough,
};
const REMOVE: ResponsePolicy = ResponsePolicy {
    refresh_token: MemberPolicy::Remove,
    id_token: MemberPolicy::Remove,
};

fn jwt(n: u8) -> String {
    format!(
        "{}.{}.{}",
        encode(br#"{"alg":"HS256"}"#),
        encode(format!(r#"{{"sub":"{n}"}}"#).as_bytes()),
        encode(&[n; 32])
    )
}

fn opaque() -> Opaque {
    Opaque::parse(&encode(&[7; 32])).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn only_the_access_token_changes() {
    let at = jwt(7);
    let body = format!(
        r#"{{"z":1.10,"access_token":"{at}","expires_in":3e2,"big":123456789012345678901234567890,"n":{{"b": 1,"a":[ ]}},"refresh_token":"r","é\n":"\u00e9"}}"#
    );
    let response = TokenResponse::parse(body.as_bytes()).unwrap();
    response.check_leaks(PASS).unwrap();
    let out = response.split(PASS, &opaque(), None);
    assert_eq!(text(&out), body.replace(&at, opaque().expose()));
    let out = response.split(REMOVE, &opaque(), None);
    assert_eq!(
        text(&out),
        body.replace(&at, opaque().expose())
            .replace(r#","refresh_token":"r""#, "")
    );
}

#[test]
fn expires_in_is_shortened_or_added() {
    let with =
        TokenResponse::parse(format!(r#"{{"expires_in":"3600","access_token":"{}"}}"#, jwt(7)).as_bytes())
            .unwrap();
    assert_eq!(with.expires_in(), Some(3600));
    assert!(text(&with.split(PASS, &opaque(), Some(60))).starts_with(r#"{"expires_in":60,"#));
    let without = TokenResponse::parse(format!(r#"{{"access_token":"{}"}}"#, jwt(7)).as_bytes()).unwrap();
    assert!(text(&without.split(PASS, &opaque(), Some(60))).ends_with(r#","expires_in":60}"#));
}

#[test]
fn a_life_that_is_not_understood_is_not_taken_for_none() {
    let parsed = |life: &str| {
        let body = format!(r#"{{"access_token":"{}","expires_in":{life}}}"#, jwt(7));
        TokenResponse::parse(body.as_bytes()).map(|response| response.expires_in())
    };
    for (life, seconds) in [
        ("10.9", Some(10)),
        ("3e2", Some(300)),
        ("-5", Some(0)),
        ("-0.5", Some(0)),
        ("0", Some(0)),
        ("1e300", Some(u64::MAX)),
        ("null", None),
    ] {
        assert_eq!(parsed(life), Ok(seconds), "{life}");
    }
    for life in [r#""""#, r#""soon""#, r#""-5""#, r#""1.5""#, "true", "[60]", "{}"] {
        assert_eq!(parsed(life), Err(ResponseError::ExpiresIn), "{life}");
    }
}

/// A provider chooses what it answers, and the worker has other connections to serve.
#[test]
fn an_answer_of_very_many_members_is_read_at_once() {
    let members: Vec<String> = (0..25_000).map(|n| format!(r#""{n:05}":1,"#)).collect();
    let members = members.concat();
    let body = format!(r#"{{{members}"access_token":"{}"}}"#, jwt(7));
    let started = std::time::Instant::now();
    TokenResponse::parse(body.as_bytes()).unwrap();
    let took = started.elapsed();
    assert!(took < std::time::Duration::from_millis(500), "{took:?}");
}

#[test]
fn no_claims_leave_in_another_member_without_their_header() {
    let at = jwt(7);
    let claims = at.split('.').nth(1).unwrap();
    for member in [
        format!(r#""x":"{claims}""#),
        format!(r#""x":[{{"y":"a{claims}b"}}]"#),
        format!(r#""x":{{"{claims}":1}}"#),
        format!(r#""{claims}":1"#),
        format!(r#""refresh_token":"{claims}""#),
    ] {
        let body = format!(r#"{{"access_token":"{at}",{member}}}"#);
        let response = TokenResponse::parse(body.as_bytes()).unwrap();
        assert_eq!(response.check_leaks(PASS), Err(ResponseError::Leak), "{body}");
    }
}

/// Some providers give a token under two names, and some tokens have dots.
#[test]
fn an_opaque_token_may_stand_in_other_members_too() {
    for token in ["opaque", "ya29.a", "a.b.c.d"] {
        let body = format!(r#"{{"access_token":"{token}","token":"{token}","refresh_token":"xax"}}"#);
        let response = TokenResponse::parse(body.as_bytes()).unwrap();
        assert_eq!(response.check_leaks(PASS), Ok(()), "{token}");
    }
}

#[test]
fn no_jwt_leaves_in_another_member() {
    let at = jwt(7);
    let bodies = [
        format!(r#"{{"access_token":"{at}","extra":"{at}"}}"#),
        format!(
            r#"{{"access_token":"{at}","extra":{{"deep":["x {} y"]}}}}"#,
            jwt(8)
        ),
        format!(r#"{{"access_token":"{at}","{}":1}}"#, jwt(8)),
        format!(r#"{{"access_token":"{at}","id_token":"{at}"}}"#),
        format!(r#"{{"access_token":"{at}","refresh_token":"{at}"}}"#),
        format!(
            r#"{{"access_token":"{at}","x":"{}"}}"#,
            jwt(8).replacen('e', "\\u0065", 1)
        ),
    ];
    for body in bodies {
        let response = TokenResponse::parse(body.as_bytes()).unwrap();
        assert_eq!(response.check_leaks(PASS), Err(ResponseError::Leak), "{body}");
    }
    let fine = format!(
        r#"{{"access_token":"{at}","refresh_token":"{}","id_token":"{}"}}"#,
        jwt(8),
        jwt(9)
    );
    let response = TokenResponse::parse(fine.as_bytes()).unwrap();
    assert_eq!(response.check_leaks(PASS), Ok(()));
    assert!(!contains_jwt(text(&response.split(REMOVE, &opaque(), None))));
}

#[test]
fn refuses_what_two_readers_could_read_differently() {
    for (body, reason) in [
        (
            r#"{"access_token":"a","access_token":"b"}"#,
            "json_duplicate_member",
        ),
        (
            r#"{"access_token":"a","acc\u0065ss_token":"b"}"#,
            "json_duplicate_member",
        ),
        (
            r#"{"access_token":"a","x":{"y":1,"y":2}}"#,
            "json_duplicate_member",
        ),
        (r#"{"access_token":7}"#, "token_not_text"),
        (r#"{"access_token":"a","refresh_token":{}}"#, "token_not_text"),
        (r#"{"access_token":"a","id_token":null}"#, "token_not_text"),
        (r#"{"access_token":""}"#, "no_access_token"),
        (r#"{"token":"a"}"#, "no_access_token"),
        (r#"["access_token"]"#, "json_not_object"),
        (r#"{"access_token":"a""#, "json_syntax"),
        ("", "json_syntax"),
    ] {
        assert_eq!(
            TokenResponse::parse(body.as_bytes()).unwrap_err().reason(),
            reason,
            "{body}"
        );
    }
}

#[test]
fn an_opaque_token_passes_only_if_it_holds_no_jwt() {
    let response = TokenResponse::parse(br#"{"access_token":"opaque-at","scope":"x"}"#).unwrap();
    assert_eq!(
        text(&response.pass(PASS).unwrap()),
        r#"{"access_token":"opaque-at","scope":"x"}"#
    );
    let sly = TokenResponse::parse(format!(r#"{{"access_token":"v1.{}"}}"#, jwt(7)).as_bytes()).unwrap();
    assert_eq!(sly.pass(PASS).unwrap_err(), ResponseError::Leak);
}

#[test]
fn error_bodies() {
    assert!(error_response_is_safe(br#"{"error":"invalid_grant"}"#));
    assert!(!error_response_is_safe(b"<html>"));
    assert!(!error_response_is_safe(
        format!(r#"{{"error":"x","debug":"{}"}}"#, jwt(1)).as_bytes()
    ));
}

#[test]
fn debug_shows_names_only() {
    let response = TokenResponse::parse(br#"{"access_token":"s3cret"}"#).unwrap();
    assert_eq!(format!("{response:?}"), r#"TokenResponse(["access_token"])"#);
}

proptest::proptest! {
    #[test]
    fn parsing_never_panics(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = TokenResponse::parse(&body);
    }
}
