//! The patterns of the schema, each with the words that a person gets to read in place of it.
//!
//! They stay within what Go's RE2 (the API server) and the `regex` crate read alike: no look-around, no `\d`.

/// GEP-2257.
pub(crate) const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// RFC 1123 label, as Kubernetes uses it for namespaces and Services.
pub(crate) const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// RFC 1123 subdomain, as Kubernetes uses it for object names.
pub(crate) const DNS_SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A DNS name whose last label starts with a letter, `*.` and such a name, or the look of an IP address.
pub(crate) const HOSTNAME: &str = concat!(
    "^(([*][.])?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
    "|[0-9]{1,3}([.][0-9]{1,3}){3}",
    "|[0-9a-f:]*:[0-9a-f]*:[0-9a-f:.]*)$"
);

/// RFC 3986 §3.3 without `;`, which the request gate does not let through.
pub(crate) const PATH: &str = "^/([A-Za-z0-9._~!$&'()*+,:=@/-]|%[0-9A-F]{2})*$";

/// An absolute `http` or `https` URL without user, query or fragment.
pub(crate) const URL: &str = concat!(
    r"^https?://([A-Za-z0-9-]+([.][A-Za-z0-9-]+)*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?",
    "(/([A-Za-z0-9._~!$&'()*+,;:=@/-]|%[0-9A-Fa-f]{2})*)?$"
);

/// Scheme, host and port alone.
pub(crate) const ORIGIN: &str =
    r"^https?://([A-Za-z0-9-]+([.][A-Za-z0-9-]+)*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$";

/// `*`, or an origin (RFC 6454 §4) with or without a wildcard.
pub(crate) const WEB_ORIGIN: &str = concat!(
    "^([*]|https?://(([*][.])?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
    r"|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?)$"
);

/// RFC 9110 §5.1, cut to what is in use: the gate refuses `_`, and nobody names a header `~`.
pub(crate) const HEADER_NAME: &str = "^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$";

/// The same, or `*`.
pub(crate) const HEADER_NAME_OR_ANY: &str = "^([*]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)$";

/// RFC 9110 §5.5, ASCII only.
pub(crate) const HEADER_VALUE: &str = r"^[!-~]([ -~]*[!-~])?$";

/// RFC 6749 appendix A.4.
pub(crate) const SCOPE: &str = r"^[!#-\[\]-~]+$";

/// Printable ASCII without spaces.
pub(crate) const WORD: &str = "^[!-~]+$";

/// Printable text: no control characters.
pub(crate) const TEXT: &str = r"^[^\x00-\x1F\x7F]+$";

/// Claim names joined by dots.
pub(crate) const CLAIM: &str = "^[!-,/-~-]+([.][!-,/-~-]+)*$";

/// The key of a Secret or `ConfigMap`.
pub(crate) const DATA_KEY: &str = "^[-._a-zA-Z0-9]+$";

/// A label's value.
pub(crate) const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// A label's key: `name` or `prefix/name`.
pub(crate) const LABEL_KEY: &str =
    "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

const WORDS: &[(&str, &str)] = &[
    (DURATION, "a duration such as `30s`, `5m`, `1h30m` or `250ms`"),
    (
        DNS_LABEL,
        "lower-case letters, digits and `-`, beginning and ending with a letter or digit",
    ),
    (
        DNS_SUBDOMAIN,
        "lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit",
    ),
    (
        HOSTNAME,
        "a lower-case DNS name, `*.` and a DNS name, or an IP address, without port or path",
    ),
    (
        PATH,
        "an absolute path without query, fragment or `;`, with upper-case %-escapes",
    ),
    (
        URL,
        "an absolute http or https URL without user, query or fragment",
    ),
    (
        ORIGIN,
        "an http or https URL of host and port alone, without user, path, query or fragment",
    ),
    (
        WEB_ORIGIN,
        "`*`, or `http://` or `https://` with a lower-case host that may begin with `*.`, and a port, without path",
    ),
    (
        HEADER_NAME_OR_ANY,
        "`*`, or a header name of letters, digits, `-` and `.`",
    ),
    (HEADER_NAME, "a header name of letters, digits, `-` and `.`"),
    (
        HEADER_VALUE,
        "a header value of printable ASCII, without spaces around it",
    ),
    (
        SCOPE,
        "a scope (RFC 6749): printable ASCII without space, `\"` and `\\`",
    ),
    (WORD, "printable ASCII without spaces"),
    (TEXT, "text without control characters"),
    (CLAIM, "claim names of printable ASCII, joined by single dots"),
    (DATA_KEY, "letters, digits, `-`, `_` and `.`"),
    (LABEL_VALUE, "a label value: letters, digits, `-`, `_` and `.`"),
    (LABEL_KEY, "a label key: `name` or `prefix/name`"),
];

/// What a pattern of this module asks for, in plain words.
pub(crate) fn in_words(pattern: &str) -> Option<&'static str> {
    WORDS
        .iter()
        .find(|(known, _)| *known == pattern)
        .map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn table(pattern: &str, good: &[&str], bad: &[&str]) {
        let regex = Regex::new(pattern).unwrap();
        for text in good {
            assert!(regex.is_match(text), "{text} should be {:?}", in_words(pattern));
        }
        for text in bad {
            assert!(
                !regex.is_match(text),
                "{text} should not be {:?}",
                in_words(pattern)
            );
        }
    }

    #[test]
    fn every_pattern_compiles() {
        for (pattern, words) in WORDS {
            assert!(Regex::new(pattern).is_ok(), "{words}");
        }
    }

    #[test]
    fn hostnames() {
        table(
            HOSTNAME,
            &[
                "api.example.com",
                "*.example.com",
                "localhost",
                "127.0.0.1",
                "::1",
                "xn--bcher-kva.example",
            ],
            &[
                "",
                "*",
                "API.example.com",
                "a..b",
                "a.b:80",
                "b:1",
                "a/b",
                "a.*.b",
                "-a.b",
                "a.b.",
                "1.2.3",
                "a_b.c",
                "https://a.b",
            ],
        );
    }

    #[test]
    fn urls_and_origins() {
        table(
            URL,
            &[
                "https://iam.example.com/realms/shop",
                "http://127.0.0.1:9400",
                "https://[::1]:8443/a%2Fb",
                "https://a/",
            ],
            &[
                "iam.example.com",
                "ftp://a",
                "https://u:p@a/",
                "https://a/?q",
                "https://a/#f",
                "https://",
                "https://a b/",
            ],
        );
        table(
            ORIGIN,
            &["http://127.0.0.1:9401", "https://a.example/", "http://[::1]:80"],
            &["http://a/b", "http://u@a", "http://a?x", "http://a//", "//a"],
        );
    }

    #[test]
    fn origins_of_pages() {
        table(
            WEB_ORIGIN,
            &[
                "*",
                "https://app.example.com",
                "http://localhost:3000",
                "https://*.example.com",
                "https://*.example.com:8443",
                "http://127.0.0.1",
                "http://[::1]:3000",
            ],
            &[
                "",
                "null",
                "app.example.com",
                "ftp://a",
                "https://A.example",
                "https://*",
                "https://*a.example",
                "https://a.*.example",
                "https://a.example/",
                "https://u@a.example",
                "https://a.example:0",
                "https://a.example:",
                "https://a_b.example",
            ],
        );
        table(HEADER_NAME_OR_ANY, &["*", "X-User"], &["", "*-A", "X_User"]);
    }

    #[test]
    fn paths_headers_and_claims() {
        table(
            PATH,
            &["/", "/a/b", "/a%20b", "/a:b@c"],
            &["", "a", "/a?b", "/a#b", "/a;b", "/a%2", "/a%2f", "/a b", "/ä"],
        );
        table(
            HEADER_NAME,
            &["X-User", "a"],
            &["", "X_User", "X User", "X:", "-a", "ü"],
        );
        table(HEADER_VALUE, &["a", "a b"], &["", " a", "a ", "a\nb", "ü"]);
        table(
            CLAIM,
            &["sub", "realm_access.roles", "a-b"],
            &["", ".", "a.", ".a", "a..b", "a b"],
        );
        table(SCOPE, &["orders:read", "a!"], &["", "a b", "a\"b", "a\\b"]);
    }
}
