//! Where a request carries its token: in `Authorization`, and nowhere else (RFC 6750 §2).

use http::{HeaderMap, HeaderValue, header};
use percent_encoding::percent_decode_str;

/// What a request brings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credential<'r> {
    /// Nothing.
    None,
    /// A bearer token, not yet looked at.
    Bearer(&'r str),
    /// A credential of another scheme, or one that is malformed.
    Other,
}

/// Reads the credential of a request. The gate has made sure that there is at most one `Authorization`.
pub(crate) fn credential(headers: &HeaderMap) -> Credential<'_> {
    headers
        .get(header::AUTHORIZATION)
        .map_or(Credential::None, credential_in)
}

/// Reads the value of `Authorization`.
pub(crate) fn credential_in(value: &HeaderValue) -> Credential<'_> {
    let mut parts = value.as_bytes().splitn(2, |byte| *byte == b' ');
    match (parts.next(), parts.next()) {
        (Some(scheme), Some(token)) if scheme.eq_ignore_ascii_case(b"bearer") => {
            // What is no text is no token, and as bad as any other that is none.
            let token = str::from_utf8(token).unwrap_or_default();
            Credential::Bearer(token.trim_matches(' '))
        }
        _ => Credential::Other,
    }
}

/// Whether the query holds a parameter `access_token`, however it is spelled (RFC 6750 §2.3, forbidden here).
pub(crate) fn has_query_token(query: Option<&str>) -> bool {
    let names = query
        .into_iter()
        .flat_map(|query| query.split(['&', ';']))
        .map(|pair| pair.split('=').next());
    names.flatten().any(|name| {
        let decoded = percent_decode_str(name);
        decoded.eq(b"access_token".iter().copied())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn schemes() {
        assert_eq!(credential(&HeaderMap::new()), Credential::None);
        for (value, expected) in [
            ("Bearer abc", Credential::Bearer("abc")),
            ("bEARER abc", Credential::Bearer("abc")),
            ("Bearer   abc ", Credential::Bearer("abc")),
            ("Bearer a b", Credential::Bearer("a b")),
            ("Bearer ", Credential::Bearer("")),
            ("Bearer é", Credential::Bearer("é")),
            ("Bearer", Credential::Other),
            ("Basic abc", Credential::Other),
            ("abc", Credential::Other),
        ] {
            // A header's value has no white space at its ends when it comes off the wire.
            assert_eq!(credential(&headers(value)), expected, "{value:?}");
        }
    }

    #[test]
    fn tokens_in_queries() {
        for (query, found) in [
            ("access_token=x", true),
            ("a=b&access%5Ftoken=x", true),
            ("a=b;access_token", true),
            ("access_token_hint=x", false),
            ("a=access_token", false),
        ] {
            assert_eq!(has_query_token(Some(query)), found, "{query}");
        }
        assert!(!has_query_token(None));
    }
}
