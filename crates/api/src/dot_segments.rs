//! `.` and `..` in the paths of URLs, however they are written.

/// How often a text is decoded in search of them: nobody decodes more often, and each round shortens it.
const ROUNDS: usize = 8;

/// Whether a server, or anything before it, may take a segment of this URL for `.` or `..`.
///
/// A URL parser resolves the plain ones and `%2e`, but the text stays what tokens are compared with; and servers differ
/// in what they take for a slash (`%2f`, `\`) and whether a segment ends at `;`. So whatever looks like one is one.
pub(crate) fn has_dot_segments(url: &str) -> bool {
    let mut bytes = url.as_bytes().to_vec();
    for _ in 0..ROUNDS {
        if segments(&bytes).any(|segment| matches!(segment, b"." | b"..")) {
            return true;
        }
        let decoded = decode(&bytes);
        if decoded == bytes {
            return false;
        }
        bytes = decoded;
    }
    // Still not at an end: nobody means well by that.
    true
}

/// What lies between slashes, without parameters.
fn segments(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = bytes.split(|byte| matches!(byte, b'/' | b'\\' | b'?' | b'#'));
    parts.filter_map(|part| part.split(|byte| *byte == b';').next())
}

/// Resolves each %-escape once; whatever is none stays.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escape = (*byte == b'%')
            .then(|| Some(digit(bytes.get(at + 1))? << 4 | digit(bytes.get(at + 2))?))
            .flatten()
            .and_then(|code| u8::try_from(code).ok());
        decoded.push(escape.unwrap_or(*byte));
        at += if escape.is_some() { 3 } else { 1 };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_found_in_every_spelling() {
        for path in [
            "..",
            ".",
            "../other",
            "a/..",
            "a/./b",
            "%2e%2e/other",
            ".%2E/other",
            "a%2f..%2Fb",
            "a%5c..%5Cb",
            "%252e%252e/other",
            "..;x=y/other",
            "%2e%2e%3bx/other",
            "..%3fx",
            "%25252525252525252e",
        ] {
            let url = format!("https://iam.example/realms/{path}");
            assert!(has_dot_segments(&url), "{url}");
        }
    }

    #[test]
    fn dots_within_names_are_none() {
        for path in [
            "",
            "a.b",
            "...",
            ".well-known",
            "a..",
            "%2e%2e%2e",
            "a%2Fb.",
            "%",
            "%2",
            "%zz",
            "a;..",
        ] {
            let url = format!("https://iam.example/realms/{path}");
            assert!(!has_dot_segments(&url), "{url}");
        }
    }
}
