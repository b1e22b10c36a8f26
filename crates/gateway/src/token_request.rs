//! What of a client's token request the gateway looks at: as little as it can. Pure.

use http::{HeaderMap, HeaderName, header, request::Parts};
use percent_encoding::percent_decode;
use splittoken_routing::TokenEndpoint;
use zeroize::Zeroizing;

use crate::failure::TokenRequestError;

/// The client's headers that the provider gets. `Authorization` is client authentication here (RFC 6749 §2.3.1);
/// `Origin` is what Entra asks of single-page applications; the trace goes on.
const FORWARDED: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::ACCEPT_LANGUAGE,
    header::USER_AGENT,
    header::ORIGIN,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// Checks what can be checked before the body is there.
pub(crate) fn check_head(request: &Parts) -> Result<(), TokenRequestError> {
    if request.uri.query().is_some() {
        return Err(TokenRequestError::Query);
    }
    let mut types = request.headers.get_all(header::CONTENT_TYPE).iter();
    let only = match (types.next(), types.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    };
    if only.is_some_and(is_form) {
        Ok(())
    } else {
        Err(TokenRequestError::ContentType)
    }
}

/// Whether the body is a form in UTF-8 (RFC 6749 appendix B). Under another name of a charset the provider would read
/// another grant in the same bytes than was judged here.
fn is_form(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        && parts.filter(|parameter| !parameter.is_empty()).all(is_utf8)
}

fn is_utf8(parameter: &str) -> bool {
    let value = parameter
        .split_once('=')
        .filter(|(name, _)| name.eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value.trim_matches('"'));
    value.is_some_and(|value| value.eq_ignore_ascii_case("utf-8"))
}

/// Checks the grant type. Two of them would let one be judged here and the other be used there.
pub(crate) fn check_grant(endpoint: &TokenEndpoint, body: &[u8]) -> Result<(), TokenRequestError> {
    let mut grants = parameters(body).filter(|(name, _)| **name == b"grant_type"[..]);
    let (Some((_, grant)), None) = (grants.next(), grants.next()) else {
        return Err(TokenRequestError::GrantTypeCount);
    };
    let is_allowed =
        endpoint.grant_types.is_empty() || endpoint.grant_types.iter().any(|g| g.as_bytes() == &**grant);
    if is_allowed {
        Ok(())
    } else {
        Err(TokenRequestError::GrantType)
    }
}

/// The headers that go to the provider.
pub(crate) fn provider_headers(client: &HeaderMap) -> HeaderMap {
    let mut headers: HeaderMap = FORWARDED
        .iter()
        .filter_map(|name| Some((name.clone(), client.get(name)?.clone())))
        .collect();
    headers.insert(
        header::ACCEPT,
        header::HeaderValue::from_static("application/json"),
    );
    headers
}

/// One parameter of the form, decoded.
pub(crate) fn parameter(body: &[u8], name: &str) -> Option<Zeroizing<String>> {
    let (_, value) = parameters(body).find(|(n, _)| **n == *name.as_bytes())?;
    String::from_utf8(value.to_vec()).ok().map(Zeroizing::new)
}

/// The decoded pairs of a form (WHATWG URL, `application/x-www-form-urlencoded` parsing).
fn parameters(body: &[u8]) -> impl Iterator<Item = (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>)> {
    body.split(|b| *b == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let mut halves = pair.splitn(2, |b| *b == b'=');
            (
                decode(halves.next().unwrap_or_default()),
                decode(halves.next().unwrap_or_default()),
            )
        })
}

fn decode(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let spaced = Zeroizing::new(
        text.iter()
            .map(|b| if *b == b'+' { b' ' } else { *b })
            .collect::<Vec<u8>>(),
    );
    Zeroizing::new(percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use splittoken_routing::{IdTokenPolicy, OnNonJwt, RefreshTokenPolicy};

    fn endpoint(grants: &[&str]) -> TokenEndpoint {
        TokenEndpoint {
            path: "/oauth/token".to_owned(),
            grant_types: grants.iter().map(|g| (*g).to_owned()).collect(),
            refresh_token: RefreshTokenPolicy::PassThrough,
            id_token: IdTokenPolicy::PassThrough,
            on_non_jwt: OnNonJwt::Reject,
        }
    }

    #[test]
    fn grants_are_judged_decoded_and_only_once() {
        use TokenRequestError::{GrantType, GrantTypeCount};
        let (any, some) = (endpoint(&[]), endpoint(&["client_credentials", "urn:x:y"]));
        for (endpoint, body, result) in [
            (&any, "grant_type=password&username=a", Ok(())),
            (&any, "username=a", Err(GrantTypeCount)),
            (&any, "", Err(GrantTypeCount)),
            (&any, "grant_type=a&grant_type=a", Err(GrantTypeCount)),
            (&any, "grant_type=a&grant%5Ftype=b", Err(GrantTypeCount)),
            (&some, "grant_type=client_credentials", Ok(())),
            (&some, "scope=a+b&grant%5ftype=client%5Fcredentials", Ok(())),
            (&some, "grant_type=urn%3Ax%3Ay", Ok(())),
            (&some, "grant_type=password", Err(GrantType)),
            (&some, "grant_type=", Err(GrantType)),
        ] {
            assert_eq!(check_grant(endpoint, body.as_bytes()), result, "{body}");
        }
    }

    #[test]
    fn heads() {
        let head = |uri: &str, content_type: &str| {
            let request = http::Request::post(uri)
                .header("content-type", content_type)
                .body(())
                .unwrap();
            check_head(&request.into_parts().0)
        };
        assert_eq!(head("/t", "application/x-www-form-urlencoded"), Ok(()));
        assert_eq!(
            head("/t", "Application/X-WWW-Form-URLEncoded; charset=UTF-8"),
            Ok(())
        );
        assert_eq!(
            head("/t", "application/json"),
            Err(TokenRequestError::ContentType)
        );
        assert_eq!(
            head("/t?x=1", "application/x-www-form-urlencoded"),
            Err(TokenRequestError::Query)
        );
    }

    #[test]
    fn a_form_is_one_in_utf_8() {
        for (content_type, is_one) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-Urlencoded ; Charset=\"UTF-8\";", true),
            ("application/x-www-form-urlencoded;charset=utf-8", true),
            ("application/x-www-form-urlencoded; charset=ibm037", false),
            (
                "application/x-www-form-urlencoded; charset=utf-8; charset=utf-16",
                false,
            ),
            ("application/x-www-form-urlencoded; boundary=x", false),
            ("application/x-www-form-urlencoded, application/json", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_form(content_type), is_one, "{content_type}");
        }
    }

    #[test]
    fn only_listed_headers_reach_the_provider() {
        let client: HeaderMap = [
            ("authorization", "Basic x"),
            ("cookie", "c"),
            ("dpop", "p"),
            ("origin", "o"),
            ("accept", "x"),
        ]
        .into_iter()
        .map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap()))
        .collect();
        let sent = provider_headers(&client);
        let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "authorization", "origin"]);
        assert_eq!(sent["accept"], "application/json");
    }

    #[test]
    fn parameters_are_decoded() {
        let body = b"client_id=a%2Bb&client_secret=x+y&empty";
        assert_eq!(parameter(body, "client_id").unwrap().as_str(), "a+b");
        assert_eq!(parameter(body, "client_secret").unwrap().as_str(), "x y");
        assert_eq!(parameter(body, "missing"), None);
    }
}
