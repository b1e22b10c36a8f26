//! What other servers make of a path: nginx, Go's net/http, Node.js, and a servlet container's way with parameters.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::nginx::Nginx;
use crate::process::Process;
use crate::{parts, raw, wait};

/// Servers that answer with the path, or the paths, that they would serve.
pub struct Readers {
    nginx: Nginx,
    others: Vec<(Process, SocketAddr)>,
}

impl Readers {
    /// Starts them.
    pub fn start() -> Result<Self> {
        let mut node = Command::new(parts::path("SPLITTOKEN_NODE")?);
        node.arg(parts::source("paths").join("server.mjs"));
        let go = Command::new(parts::path("SPLITTOKEN_GO_PATHS")?);
        Ok(Self {
            nginx: Nginx::reading_paths()?,
            others: vec![start("Node.js", &node)?, start("net/http", &go)?],
        })
    }

    /// All paths that some server reads in this target, sent to it as it is. Servers that refuse it read none.
    pub fn readings(&self, target: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        if let Some(body) = asked(self.nginx.address(), target)? {
            found.push(body);
        }
        for (_, address) in &self.others {
            if let Some(body) = asked(*address, target)? {
                let more: Vec<String> = serde_json::from_str(&body).with_context(|| body.clone())?;
                found.extend(more);
            }
        }
        found.push(without_parameters(target));
        Ok(found)
    }
}

fn start(name: &str, command: &Command) -> Result<(Process, SocketAddr)> {
    let mut process = Process::start(name, command)?;
    let address = process.ready(wait::START, |text| {
        let line = text.lines().find_map(|line| line.strip_prefix("listening on "));
        line.and_then(|address| address.parse().ok())
    })?;
    Ok((process, address))
}

fn asked(server: SocketAddr, target: &str) -> Result<Option<String>> {
    let bytes = |text: String| -> Vec<u8> {
        let byte = |c| u8::try_from(u32::from(c)).unwrap_or(b'?');
        text.chars().map(byte).collect()
    };
    let request = format!("GET {target} HTTP/1.1\r\nHost: host.example\r\nConnection: close\r\n\r\n");
    let answer = raw::exchange(server, bytes(request))?;
    Ok(answer
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.text()))
}

/// Servlet containers cut parameters off each segment before they look at its dots.
fn without_parameters(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let mut kept: Vec<&str> = Vec::new();
    for segment in path
        .split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default())
    {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_cut_off_before_dots_are_looked_at() {
        for (target, read) in [
            ("/a;x/b", "/a/b"),
            ("/a/..;/b", "/b"),
            ("/a/;x/..;y/b?c", "/b"),
            ("/..;/", "/"),
        ] {
            assert_eq!(without_parameters(target), read, "{target}");
        }
    }
}
