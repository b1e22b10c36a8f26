use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use zeroize::Zeroizing;

/// The largest answer to a token request that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// A token request (RFC 6749 §3.2), as it goes to the provider.
pub struct TokenCall {
    /// The client's headers that the gateway lets through. Those that frame a message or concern one hop only
    /// are dropped, and `Accept-Encoding` is set.
    pub headers: HeaderMap,
    /// The form, sent byte for byte.
    pub body: Bytes,
}

/// What the provider answered: complete, uncompressed, no redirect. Any status else.
pub struct ProviderAnswer {
    /// The status.
    pub status: StatusCode,
    /// All its headers; which of them reach the client is for the gateway to say.
    pub headers: HeaderMap,
    /// At most [`MAX_ANSWER_BYTES`].
    pub body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for TokenCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TokenCall({} headers, {} bytes)",
            self.headers.len(),
            self.body.len()
        )
    }
}

impl fmt::Debug for ProviderAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ProviderAnswer({}, {} bytes)",
            self.status.as_u16(),
            self.body.len()
        )
    }
}

/// Makes headers fit for a request of our own.
pub(crate) fn own_headers(mut headers: HeaderMap) -> HeaderMap {
    /// What this hop decides itself (RFC 9110 §7.6.1); `Expect` would stall a body that is sent at once.
    const DROPPED: [HeaderName; 10] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::EXPECT,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for name in DROPPED {
        headers.remove(name);
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_sizes_only() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic secret"));
        let call = TokenCall {
            headers: headers.clone(),
            body: Bytes::from_static(b"secret"),
        };
        assert_eq!(format!("{call:?}"), "TokenCall(1 headers, 6 bytes)");
        let answer = ProviderAnswer {
            status: StatusCode::OK,
            headers,
            body: b"secret".to_vec().into(),
        };
        assert_eq!(format!("{answer:?}"), "ProviderAnswer(200, 6 bytes)");
    }

    #[test]
    fn framing_is_ours() {
        let mut headers = HeaderMap::new();
        for name in [
            "host",
            "content-length",
            "expect",
            "keep-alive",
            "accept-encoding",
            "authorization",
            "dpop",
        ] {
            headers.append(name, HeaderValue::from_static("x"));
        }
        headers.append("accept-encoding", HeaderValue::from_static("br"));
        let headers = own_headers(headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "authorization", "dpop"]);
        assert_eq!(
            headers.get_all("accept-encoding").iter().collect::<Vec<_>>(),
            ["identity"]
        );
    }
}
