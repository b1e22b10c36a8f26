//! The lines that the demo prints for people to copy, run as they stand there.

use anyhow::Result;
use serde_json::Value;
use splittoken_tests::demo::Demo;

use super::{Copied, copy};

/// Base64url characters of an RSA signature of 2048 bits.
const SIGNATURE: usize = 342;

#[test]
fn the_lines_do_what_their_comments_say_in_bash_and_in_sh() -> Result<()> {
    let demo = Demo::start()?;
    for shell in ["bash", "sh"] {
        let copied = copy(&demo, shell)?;
        the_tokens_are_signatures(&copied);
        the_api_received_the_jwt_that_was_issued(&copied, &demo.issued()?);
        what_is_wrong_is_refused_alike(&copied);
    }
    Ok(())
}

fn the_tokens_are_signatures(copied: &Copied) {
    for token in [&copied.machine_token, &copied.alice_token] {
        assert_eq!(token.len(), SIGNATURE, "{token}");
        assert!(
            token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
            "a signature has no dot and nothing else beside base64url: {token}"
        );
    }
    assert_ne!(copied.machine_token, copied.alice_token);
}

/// `issued` is the last one, and the last line that asks for a token is Alice's.
fn the_api_received_the_jwt_that_was_issued(copied: &Copied, issued: &str) {
    let received = &copied.received;
    let line = Value::from(format!("authorization: Bearer {issued}"));
    let lines = received["headers"].as_array().cloned().unwrap_or_default();
    assert!(
        lines.contains(&line),
        "not the whole JWT, byte for byte: {received:#}"
    );
    assert_eq!(
        issued.rsplit('.').next(),
        Some(copied.alice_token.as_str()),
        "the token is another one's signature"
    );
    assert_eq!(received["path"], "/api/orders");
    assert_eq!(received["jwt"]["claims"]["sub"], "alice");
    assert_eq!(received["jwt"]["signature_valid"], true);
}

/// Only the first line, the challenge and the body: the date may differ.
fn what_is_wrong_is_refused_alike(copied: &Copied) {
    let told = |answer: &str| {
        let lines = answer.lines().map(str::trim_end).filter(|line| {
            line.starts_with("HTTP/") || line.starts_with("www-authenticate: ") || line.starts_with('{')
        });
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let [whole, wrong] = &copied.refused;
    assert_eq!(told(whole), told(wrong), "the answers tell what is wrong");
    assert_eq!(told(whole).len(), 3, "{whole}");
    assert_eq!(told(whole)[0], "HTTP/1.1 401 Unauthorized");
    assert!(
        told(whole)[1].starts_with("www-authenticate: Bearer realm="),
        "{whole}"
    );
    assert!(
        whole.ends_with('\n'),
        "the next prompt would stand behind the body"
    );
}
