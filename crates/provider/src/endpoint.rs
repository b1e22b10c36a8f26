use splittoken_reach::{Forbidden, Reach};
use thiserror::Error;
use url::Url;

/// Why a URL is none to talk to. Never quotes it: user information and queries may hold secrets.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum UrlError {
    /// Relative, without a host, or no URL at all.
    #[error("not an absolute URL")]
    NotAbsolute(#[source] Option<url::ParseError>),
    /// Neither `https` nor `http`.
    #[error("the scheme is not https")]
    Scheme,
    /// `http` where only `https` may be spoken.
    #[error("plain HTTP is not allowed for this issuer")]
    PlainHttp,
    /// `user:password@`.
    #[error("user information in a URL is not allowed")]
    UserInfo,
    /// `#…` (RFC 6749 §3.2: endpoints must not have one).
    #[error("a fragment in a URL is not allowed")]
    Fragment,
    /// `?…` in an issuer (OpenID Connect Discovery §3, RFC 8414 §2).
    #[error("a query in an issuer URL is not allowed")]
    Query,
    /// An address that may not be connected to, or a name that always stands for one.
    #[error(transparent)]
    Address(#[from] Forbidden),
}

/// What an endpoint's URL may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed<'a> {
    pub(crate) plain_http: bool,
    pub(crate) reach: &'a Reach,
}

impl UrlError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotAbsolute(_) => "url_not_absolute",
            Self::Scheme => "url_scheme",
            Self::PlainHttp => "url_plain_http",
            Self::UserInfo => "url_user_info",
            Self::Fragment => "url_fragment",
            Self::Query => "url_query",
            Self::Address(_) => "url_address",
        }
    }
}

/// The endpoints that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) token: Option<Url>,
    pub(crate) jwks: Option<Url>,
    pub(crate) revocation: Option<Url>,
}

/// Reads the URL of an endpoint. A query is fine there (RFC 6749 §3.2).
pub(crate) fn parse_endpoint(text: &str, allowed: Allowed<'_>) -> Result<Url, UrlError> {
    let url = Url::parse(text).map_err(|e| UrlError::NotAbsolute(Some(e)))?;
    match url.scheme() {
        "https" => {}
        "http" if allowed.plain_http => {}
        "http" => return Err(UrlError::PlainHttp),
        _ => return Err(UrlError::Scheme),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(UrlError::NotAbsolute(None));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    allowed.reach.check_url(&url)?;
    Ok(url)
}

/// Reads the URL of an issuer whose metadata is to be found.
pub(crate) fn parse_issuer(text: &str, allowed: Allowed<'_>) -> Result<Url, UrlError> {
    let url = parse_endpoint(text, allowed)?;
    if url.query().is_some() {
        Err(UrlError::Query)
    } else {
        Ok(url)
    }
}

/// `text` as it may stand in an error: without user information and query, without control characters, short.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let text = &text[..end];
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let separator = if scheme.is_empty() { "" } else { "://" };
    let all = [scheme, separator, host, path].concat();
    all.chars().take(LONGEST).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(plain_http: bool) -> Allowed<'static> {
        Allowed {
            plain_http,
            reach: &Reach::Anywhere,
        }
    }

    #[test]
    fn endpoints_are_absolute_and_https() {
        let cases = [
            ("https://a.example/token?p=1", false, None),
            ("http://a.example/token", true, None),
            ("http://a.example/token", false, Some("url_plain_http")),
            ("/token", false, Some("url_not_absolute")),
            ("//a.example/token", false, Some("url_not_absolute")),
            ("https:///", true, Some("url_not_absolute")),
            ("", false, Some("url_not_absolute")),
            ("ftp://a.example/", true, Some("url_scheme")),
            ("file:///etc/passwd", true, Some("url_scheme")),
            ("https://u@a.example/", false, Some("url_user_info")),
            ("https://u:p@a.example/", false, Some("url_user_info")),
            ("https://:p@a.example/", false, Some("url_user_info")),
            ("https://a.example/#x", false, Some("url_fragment")),
        ];
        for (text, plain, reason) in cases {
            assert_eq!(
                parse_endpoint(text, allowed(plain)).err().map(UrlError::reason),
                reason,
                "{text}"
            );
        }
    }

    #[test]
    fn endpoints_are_not_on_this_machine_where_that_is_not_allowed() {
        let beyond = Allowed {
            plain_http: true,
            reach: &Reach::default(),
        };
        for host in ["127.0.0.1", "localhost", "[::1]", "169.254.169.254"] {
            let text = format!("http://{host}/token");
            assert!(parse_endpoint(&text, allowed(true)).is_ok());
            assert_eq!(parse_endpoint(&text, beyond), Err(UrlError::Address(Forbidden)));
            assert!(parse_issuer(&text, beyond).is_err());
        }
    }

    #[test]
    fn an_issuer_has_no_query() {
        let allowed = allowed(false);
        assert_eq!(
            parse_issuer("https://a.example/?x", allowed),
            Err(UrlError::Query)
        );
        assert!(parse_issuer("https://a.example/realms/x", allowed).is_ok());
    }

    #[test]
    fn shown_hides_user_information_and_query() {
        let cases = [
            ("https://a.example/x", "https://a.example/x"),
            ("https://a.example", "https://a.example"),
            (
                "https://u:secret@a.example/x?token=secret#secret",
                "https://a.example/x",
            ),
            ("https://a.example?secret", "https://a.example"),
            ("accounts.example", "accounts.example"),
            ("a\nb", "a\\nb"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown(&"x".repeat(9999)).len(), 200);
    }
}
