//! A recorded request.

use super::{find_head_end, header_lines};

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// Its bytes: head, and body with its framing.
    pub raw: Vec<u8>,
}

impl Request {
    pub(crate) fn new(connection: usize, raw: Vec<u8>) -> Self {
        Self { connection, raw }
    }

    /// The request line and header fields, up to and including the empty line.
    pub fn head(&self) -> &[u8] {
        &self.raw[..find_head_end(&self.raw).unwrap_or(self.raw.len())]
    }

    /// What follows the head, chunk framing included.
    pub fn body(&self) -> &[u8] {
        &self.raw[find_head_end(&self.raw).unwrap_or(self.raw.len())..]
    }

    /// The request line, without its CR LF.
    pub fn line(&self) -> String {
        String::from_utf8_lossy(self.head())
            .split("\r\n")
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// The method.
    pub fn method(&self) -> String {
        self.line().split(' ').next().unwrap_or_default().to_owned()
    }

    /// The request target, as it was sent.
    pub fn target(&self) -> String {
        self.line().split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// The header fields in order, names as they were written.
    pub fn headers(&self) -> Vec<(String, String)> {
        header_lines(self.head())
    }

    /// All values of one header field, by its name in any case.
    pub fn header_all(&self, name: &str) -> Vec<String> {
        let named = |(found, value): (String, String)| found.eq_ignore_ascii_case(name).then_some(value);
        self.headers().into_iter().filter_map(named).collect()
    }

    /// The first value of one header field.
    pub fn header(&self, name: &str) -> Option<String> {
        self.header_all(name).into_iter().next()
    }
}
