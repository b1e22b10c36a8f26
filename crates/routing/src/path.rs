//! One canonical path, computed once: what is matched is what is forwarded.
//!
//! Two programs that read one path differently are how requests get past rules. So whatever has two readings is
//! refused, and spellings that RFC 3986 §6.2.2 calls equivalent become one.

use std::borrow::Cow;

use thiserror::Error;

/// A path that has one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    forward: Cow<'a, str>,
    matching: Option<String>,
}

/// Why a path is refused with 400.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with /")]
    NotAbsolute,
    /// A control character, a space, a byte outside ASCII, `\`, `"`, `<`, `>` or a backtick.
    #[error("the path holds a character that must be percent-encoded")]
    Character,
    /// `%` without two hexadecimal digits.
    #[error("the path holds a % without two hexadecimal digits")]
    Escape,
    /// An encoded slash, backslash or NUL.
    #[error("the path holds an encoded slash, backslash or NUL")]
    EncodedDelimiter,
    /// `.` or `..` as a segment, plain or encoded.
    #[error("the path holds a dot segment")]
    DotSegment,
    /// `//`.
    #[error("the path holds an empty segment")]
    EmptySegment,
}

impl PathError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path_not_absolute",
            Self::Character => "path_character",
            Self::Escape => "path_escape",
            Self::EncodedDelimiter => "path_encoded_delimiter",
            Self::DotSegment => "path_dot_segment",
            Self::EmptySegment => "path_empty_segment",
        }
    }
}

impl<'a> CanonicalPath<'a> {
    /// Checks `raw`, decodes escapes of unreserved characters and writes the others in upper case.
    pub fn parse(raw: &'a str) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        let (forward, matching) = if raw.contains('%') {
            decode(raw)?
        } else {
            (Cow::Borrowed(raw), None)
        };
        if !forward.bytes().all(is_path_byte) {
            return Err(PathError::Character);
        }
        check_segments(&forward)?;
        // `/..%3B/` is a dot segment for a server that decodes before it cuts the parameters off.
        matching.as_deref().map_or(Ok(()), check_segments)?;
        Ok(Self { forward, matching })
    }

    /// The bytes to forward.
    pub fn as_str(&self) -> &str {
        &self.forward
    }

    /// The same path with every character spelled plainly that may stand plainly in a segment.
    ///
    /// An upstream that decodes `%3A` before it looks sees `:`; matching this form, so do the rules.
    pub fn for_matching(&self) -> &str {
        self.matching.as_deref().unwrap_or(&self.forward)
    }

    /// Whether a segment carries parameters (`;`), which some servers cut off before they look at the path.
    pub fn has_parameters(&self) -> bool {
        self.for_matching().contains(';')
    }

    /// The path with the first `segments` of it replaced by `replacement`, as Gateway API's
    /// `ReplacePrefixMatch` says.
    pub fn replace_prefix(&self, segments: usize, replacement: &str) -> String {
        let rest = (0..segments).fold(&*self.forward, |rest, _| {
            let rest = rest.strip_prefix('/').unwrap_or(rest);
            rest.find('/').map_or("", |slash| &rest[slash..])
        });
        let replacement = replacement.trim_end_matches('/');
        match (replacement, rest) {
            ("", "") => "/".to_owned(),
            _ => format!("{replacement}{rest}"),
        }
    }
}

/// Decodes into the form to forward and, where that still holds escapes of plain characters, the form to match.
fn decode(raw: &str) -> Result<(Cow<'_, str>, Option<String>), PathError> {
    let mut forward = String::with_capacity(raw.len());
    let mut matching = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        let (plain, escape) = rest.split_at(at);
        let byte = escape.get(1..3).and_then(from_hex).ok_or(PathError::Escape)?;
        forward.push_str(plain);
        matching.push_str(plain);
        match byte {
            b'/' | b'\\' | 0 => return Err(PathError::EncodedDelimiter),
            _ if is_unreserved(byte) => {
                forward.push(char::from(byte));
                matching.push(char::from(byte));
            }
            _ => {
                let upper = escape[..3].to_ascii_uppercase();
                forward.push_str(&upper);
                if is_path_byte(byte) {
                    matching.push(char::from(byte));
                } else {
                    matching.push_str(&upper);
                }
            }
        }
        rest = &escape[3..];
    }
    forward.push_str(rest);
    matching.push_str(rest);
    let matching = (matching != forward).then_some(matching);
    Ok((Cow::Owned(forward), matching))
}

fn from_hex(digits: &str) -> Option<u8> {
    // A sign would be taken by the parser.
    digits
        .bytes()
        .all(|b| b.is_ascii_hexdigit())
        .then(|| u8::from_str_radix(digits, 16).ok())?
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar`, `/` and `%` (RFC 3986 §3.3). A `%` is left only before two digits.
fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b'%'
                | b':'
                | b'@'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

fn check_segments(path: &str) -> Result<(), PathError> {
    if path.contains("//") {
        return Err(PathError::EmptySegment);
    }
    // A dot segment with parameters (`/..;/`) is one for servers that cut the parameters off.
    let name = |segment: &'_ str| -> bool { matches!(segment.split(';').next(), Some("." | "..")) };
    if path.contains("/.") && path.split('/').any(name) {
        return Err(PathError::DotSegment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equivalent_spellings_become_one() {
        for (raw, forward, matching) in [
            ("/", "/", "/"),
            ("/api/v1", "/api/v1", "/api/v1"),
            ("/%61pi/%7e", "/api/~", "/api/~"),
            ("/a%3ab", "/a%3Ab", "/a:b"),
            ("/a%20b%c3%a9", "/a%20b%C3%A9", "/a%20b%C3%A9"),
            ("/a%25b", "/a%25b", "/a%b"),
            ("/a%2541", "/a%2541", "/a%41"),
            ("/a/", "/a/", "/a/"),
            ("/...", "/...", "/..."),
            ("/.well-known/x", "/.well-known/x", "/.well-known/x"),
        ] {
            let path = CanonicalPath::parse(raw).unwrap();
            assert_eq!((path.as_str(), path.for_matching()), (forward, matching), "{raw}");
        }
    }

    #[test]
    fn refuses_whatever_has_two_readings() {
        use PathError as E;
        for (raw, error) in [
            ("", E::NotAbsolute),
            ("*", E::NotAbsolute),
            ("a/b", E::NotAbsolute),
            ("/a//b", E::EmptySegment),
            ("//a", E::EmptySegment),
            ("/a/../b", E::DotSegment),
            ("/a/./b", E::DotSegment),
            ("/a/..", E::DotSegment),
            ("/a/%2e%2E/b", E::DotSegment),
            ("/a/.%2e", E::DotSegment),
            ("/a/..;x=1/b", E::DotSegment),
            ("/a/.;/b", E::DotSegment),
            ("/a/%2e%2e%3b/b", E::DotSegment),
            ("/a%2fb", E::EncodedDelimiter),
            ("/a%5Cb", E::EncodedDelimiter),
            ("/a%00b", E::EncodedDelimiter),
            ("/a\\b", E::Character),
            ("/a b", E::Character),
            ("/a\u{7f}", E::Character),
            ("/é", E::Character),
            ("/a\"", E::Character),
            ("/a%", E::Escape),
            ("/a%4", E::Escape),
            ("/a%zz", E::Escape),
            ("/a%+4", E::Escape),
            ("/a%é", E::Escape),
        ] {
            assert_eq!(CanonicalPath::parse(raw).unwrap_err(), error, "{raw}");
        }
    }

    #[test]
    fn parameters_are_seen_however_they_are_spelled() {
        for (raw, has) in [("/a;x", true), ("/a%3bx", true), ("/a", false)] {
            assert_eq!(CanonicalPath::parse(raw).unwrap().has_parameters(), has, "{raw}");
        }
    }

    #[test]
    fn prefixes_are_replaced_by_whole_segments() {
        for (path, segments, replacement, result) in [
            ("/foo/bar", 1, "/xyz", "/xyz/bar"),
            ("/foo/bar", 1, "/xyz/", "/xyz/bar"),
            ("/foo/", 1, "/xyz", "/xyz/"),
            ("/foo", 1, "/xyz", "/xyz"),
            ("/foo", 1, "/", "/"),
            ("/foo/", 1, "/", "/"),
            ("/foo/bar", 1, "/", "/bar"),
            ("/foo/bar", 0, "/xyz", "/xyz/foo/bar"),
            ("/", 0, "/xyz", "/xyz/"),
            ("/a%3Ab/c", 1, "/x", "/x/c"),
        ] {
            assert_eq!(
                CanonicalPath::parse(path)
                    .unwrap()
                    .replace_prefix(segments, replacement),
                result,
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn canonical_paths_are_their_own_canonical_form(raw in "/([a-c%/.;:0-9A-F]{0,12})") {
            if let Ok(path) = CanonicalPath::parse(&raw) {
                let again = CanonicalPath::parse(path.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), path.as_str());
                prop_assert_eq!(again.for_matching(), path.for_matching());
            }
        }

        #[test]
        fn never_panics(raw in "\\PC{0,60}") {
            let _ = CanonicalPath::parse(&raw);
        }
    }
}
