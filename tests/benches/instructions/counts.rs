//! What a file of callgrind says ("Callgrind Format Specification" in valgrind's manual).

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use splittoken_tests::wrk::exact;

/// Functions of the C library whose calls are told one by one.
const TOLD: [&str; 12] = [
    "malloc",
    "calloc",
    "realloc",
    "free",
    "epoll_wait",
    "read",
    "recv",
    "write",
    "send",
    "writev",
    "clock_gettime",
    "syscall",
];

/// Instructions, and calls on functions by their names.
pub(crate) struct Counts {
    instructions: u64,
    calls: HashMap<String, u64>,
}

impl Counts {
    pub(crate) fn read(text: &str) -> Result<Self> {
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        Ok(Self {
            instructions: total.context("no totals")?.trim().parse()?,
            calls: calls(text),
        })
    }

    pub(crate) fn print(&self, requests: usize) {
        let each = |count: u64| exact(count) / exact(requests as u64);
        println!("| for each of {requests} requests | count |\n|---|---|");
        println!("| instructions | {:.0} |", each(self.instructions));
        for name in TOLD {
            if let Some(count) = self.calls.get(name) {
                println!("| `{name}` | {:.2} |", each(*count));
            }
        }
    }
}

/// A name stands behind its number once, `cfn=(7) malloc`, and is left out after that. The number of calls follows.
fn calls(text: &str) -> HashMap<String, u64> {
    let mut names = HashMap::new();
    let mut calls = HashMap::new();
    let mut called = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("fn=").or(line.strip_prefix("cfn=")) {
            let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
            if !name.is_empty() {
                names.insert(number, name);
            }
            called = names.get(number).copied().unwrap_or_default();
        } else if let Some(rest) = line.strip_prefix("calls=") {
            let count = rest.split(' ').next().and_then(|count| count.parse::<u64>().ok());
            *calls.entry(plain(called)).or_default() += count.unwrap_or(0);
        }
    }
    calls
}

/// `malloc'2` is a call of malloc within one; versions stand behind an `@`.
fn plain(name: &str) -> String {
    name.split(['\'', '@']).next().unwrap_or_default().to_owned()
}
