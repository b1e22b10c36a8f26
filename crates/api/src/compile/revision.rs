use aws_lc_rs::hmac;
use splittoken_routing::{RouteConfig, RouteSecrets};

/// Names a route's configuration and secrets: the first 16 hexadecimal digits of an HMAC-SHA-256 over both as
/// JSON, whose members always come in the order of the types.
///
/// 64 bits tell the revisions of one route apart. A plain hash would let whoever reads a revision try out weak
/// secrets against it.
///
/// Beside it comes how long that JSON is.
pub(super) fn revision(
    key: &[u8; 32],
    config: &RouteConfig,
    secrets: &RouteSecrets,
) -> Result<(String, usize), serde_json::Error> {
    let json = serde_json::to_vec(&(config, secrets))?;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &json);
    let first = tag
        .as_ref()
        .iter()
        .take(8)
        .fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    Ok((format!("{first:016x}"), json.len()))
}
