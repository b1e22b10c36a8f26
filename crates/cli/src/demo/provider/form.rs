//! A strict reader of `application/x-www-form-urlencoded`: one value for a name, valid escapes,
//! valid UTF-8. Lenient readers pick the first or the last of two values; RFC 6749 forbids both.

use axum::http::{HeaderMap, header};

use super::error::OAuthError;

/// A form's parameters, each name once. Values may be secrets: no `Debug`.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = split_once(pair, b'=');
            let broken = OAuthError::InvalidRequest("a parameter is not form-encoded");
            let name = decode(name).ok_or(broken)?;
            let value = decode(value).ok_or(broken)?;
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(OAuthError::InvalidRequest("a parameter was sent twice"));
            }
            fields.push((name, value));
        }
        Ok(Self(fields))
    }

    /// The value of `name`. One without a value counts as not sent (RFC 6749, section 3.2).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        (!value.is_empty()).then_some(value)
    }
}

/// Reads the form of a request whose `Content-Type` says that there is one.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Form, OAuthError> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    match media_type {
        Some(found) if found.eq_ignore_ascii_case("application/x-www-form-urlencoded") => Form::parse(body),
        _ => Err(OAuthError::InvalidRequest(
            "the body must be application/x-www-form-urlencoded",
        )),
    }
}

/// Undoes `+` and `%xx`. `None` for a broken escape or bytes that are not UTF-8.
pub(super) fn decode(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(*rest.next()?)? << 4 | hex(*rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn split_once(pair: &[u8], at: u8) -> (&[u8], &[u8]) {
    match pair.iter().position(|&byte| byte == at) {
        Some(position) => (&pair[..position], &pair[position + 1..]),
        None => (pair, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plus_and_escapes_are_undone() {
        assert_eq!(decode(b"a+b%2Bc%c3%A9").as_deref(), Some("a b+cé"));
    }

    #[test]
    fn broken_escapes_and_bytes_are_refused() {
        for broken in [&b"%"[..], b"%4", b"%zz", b"%+1", b"%ff"] {
            assert_eq!(decode(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_parameter_may_come_once_even_under_another_spelling() {
        assert!(Form::parse(b"scope=a&%73cope=b").is_err());
        assert!(Form::parse(b"scope=&scope=").is_err());
    }

    #[test]
    fn an_empty_value_counts_as_not_sent() {
        let form = Form::parse(b"scope=&user=a=b&&flag").unwrap_or_else(|_| Form(Vec::new()));
        assert_eq!(form.get("scope"), None);
        assert_eq!(form.get("flag"), None);
        assert_eq!(form.get("user"), Some("a=b"));
    }
}
