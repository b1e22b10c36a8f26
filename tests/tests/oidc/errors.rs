//! The provider's refusals come back as they are: status, body and challenge.

use anyhow::Result;
use splittoken_tests::answers::same_refusal;
use splittoken_tests::http::Answer;
use splittoken_tests::oidc::{OidcProvider, Pkce};

use super::{Front, SCOPE, code_form, refresh_form};

/// One login, whose code is spoilt by `spoil` before it is used.
fn spoilt(
    provider: &OidcProvider,
    spoil: impl FnOnce(&mut String, &mut String),
    ask: impl FnOnce(&[(&str, &str)]) -> Result<Answer>,
) -> Result<Answer> {
    let Pkce {
        mut verifier,
        challenge,
    } = Pkce::new();
    let pkce = Pkce {
        verifier: verifier.clone(),
        challenge,
    };
    let mut code = provider.login(&pkce, SCOPE)?;
    spoil(&mut code, &mut verifier);
    ask(&code_form(&code, &verifier))
}

#[test]
fn a_wrong_client_secret() -> Result<()> {
    let front = Front::start()?;
    let id = front.provider.service().id.clone();
    let form = [("grant_type", "client_credentials")];
    let in_body = [form[0], ("client_id", id.as_str()), ("client_secret", "wrong")];
    let wrong = Some((id.as_str(), "wrong"));
    let unknown = Some(("nobody", "wrong"));
    for (basic, form) in [
        (wrong, &form[..]),
        (unknown, &form),
        (None, &in_body),
        (None, &form),
    ] {
        let directly = front.http.post_form(&front.provider.token_url(), basic, form)?;
        let through = front.gateway.token(basic, form)?;
        same_refusal(&directly, &through)?;
        // The provider challenges those who tried Basic.
        let challenged = directly.status == 401 && basic.is_some();
        assert_eq!(through.header("www-authenticate").is_some(), challenged);
    }
    front.restores(&front.service(&[])?.member("access_token")?)?;
    Ok(())
}

#[test]
fn a_wrong_code_and_a_wrong_verifier() -> Result<()> {
    let front = Front::start()?;
    let wrong_code = |code: &mut String, _: &mut String| *code = "x".repeat(code.len());
    let wrong_verifier = |_: &mut String, verifier: &mut String| *verifier = "x".repeat(verifier.len());
    let provider = &front.provider;
    same_refusal(
        &spoilt(provider, wrong_code, |form| front.directly(form))?,
        &spoilt(provider, wrong_code, |form| front.through(form))?,
    )?;
    same_refusal(
        &spoilt(provider, wrong_verifier, |form| front.directly(form))?,
        &spoilt(provider, wrong_verifier, |form| front.through(form))?,
    )
}

#[test]
fn a_code_used_twice() -> Result<()> {
    let front = Front::start()?;
    let twice = |form: &[(&str, &str)]| -> Result<[Answer; 2]> {
        let first = front.through(form)?;
        front.restores(&first.member("access_token")?)?;
        Ok([front.directly(form)?, front.through(form)?])
    };
    let mut answers = None;
    front.log_in(|form| {
        let [directly, through] = twice(form)?;
        answers = Some((directly, through.clone()));
        Ok(through)
    })?;
    let (directly, through) = answers.unwrap_or_else(|| unreachable!("the login calls"));
    same_refusal(&directly, &through)?;
    assert_eq!(through.member("error")?, "invalid_grant");
    Ok(())
}

#[test]
fn a_rotated_refresh_token_used_again() -> Result<()> {
    let front = Front::start()?;
    let first = front
        .log_in(|form| front.through(form))?
        .member("refresh_token")?;
    let second = front.through(&refresh_form(&first))?.member("refresh_token")?;
    let (directly, through) = (
        front.directly(&refresh_form(&first))?,
        front.through(&refresh_form(&first))?,
    );
    same_refusal(&directly, &through)?;
    assert_eq!(through.member("error")?, "invalid_grant");
    // By which the provider takes the whole family for stolen; the gateway does not stand in its way.
    same_refusal(
        &front.directly(&refresh_form(&second))?,
        &front.through(&refresh_form(&second))?,
    )
}

#[test]
fn grants_and_scopes_that_the_provider_does_not_allow() -> Result<()> {
    let front = Front::start()?;
    let cases: [&[(&str, &str)]; 4] = [
        &[
            ("grant_type", "password"),
            ("username", "alice"),
            ("password", "wrong"),
        ],
        &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", "x"),
        ],
        // Not registered for this client.
        &[("grant_type", "client_credentials")],
        &[("grant_type", "refresh_token")],
    ];
    for form in cases {
        same_refusal(&front.directly(form)?, &front.through(form)?)?;
    }
    Ok(())
}
