use std::error::Error as _;

/// Why hyper has ended a connection: a closed set of words for metrics. Nothing of this comes as far as a request.
pub(super) fn reason(error: &hyper::Error) -> &'static str {
    if error.is_parse_too_large() {
        return "too_large";
    }
    if error.is_parse() {
        return "malformed";
    }
    if error.is_incomplete_message() {
        return "incomplete";
    }
    let source = error.source();
    match source.and_then(|source| source.downcast_ref::<h2::Error>()) {
        Some(error) if error.is_remote() => "ended_by_client",
        Some(error) if !error.is_io() => "protocol",
        _ => "broken",
    }
}
