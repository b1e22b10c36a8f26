//! Secrets made at run time.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `N` random bytes.
///
/// # Panics
/// Where the system has no random numbers.
#[expect(
    clippy::expect_used,
    reason = "without the system's random numbers no test can go on"
)]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("random bytes");
    bytes
}

/// A client secret or password of 43 URL-safe characters.
pub fn text() -> String {
    base64url(&bytes::<32>())
}

/// Base64url without padding, RFC 7515 section 2.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of a base64url text without padding.
pub fn from_base64url(text: &str) -> anyhow::Result<Vec<u8>> {
    Ok(URL_SAFE_NO_PAD.decode(text)?)
}
