//! Passwords that stand in URLs are not for messages, wherever somebody put the URL.

/// `text` without what stands between `://` and the last `@` after it on the same line: everything that may be a user
/// or a password, whatever characters it holds.
pub(crate) fn redact(text: &str) -> String {
    text.split('\n').map(redact_line).collect::<Vec<_>>().join("\n")
}

fn redact_line(line: &str) -> String {
    let Some((before, rest)) = line.split_once("://") else {
        return line.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((_, after)) => format!("{before}://…@{after}"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords_are_left_out() {
        for (text, shown) in [
            ("nothing to hide", "nothing to hide"),
            ("'http://a.example/b'", "'http://a.example/b'"),
            ("a@b c://d", "a@b c://d"),
            ("cannot read redis://u:p@h:1: no", "cannot read redis://…@h:1: no"),
            ("redis://:p@h", "redis://…@h"),
            ("redis://u:p a/s?s#w@o\"r'd@h'", "redis://…@h'"),
            (
                "one redis://u:p@h\ntwo redis://u:q@h",
                "one redis://…@h\ntwo redis://…@h",
            ),
        ] {
            assert_eq!(redact(text), shown);
        }
    }
}
