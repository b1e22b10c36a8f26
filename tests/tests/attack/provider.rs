//! A hostile provider's answers, as far as they are bombs: refused without being opened.

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::cpu;
use splittoken_tests::gate::report;
use splittoken_tests::scene::Scene;
use splittoken_tests::wire::{Step, answer};

/// The most that refusing one may take, in bytes.
const MEMORY: u64 = 16 * 1024 * 1024;

/// Some bits, the first one lowest, as DEFLATE has them.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    /// Adds the lowest bits of a number.
    fn add(&mut self, number: u32, count: u32) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("just added");
            *last |= u8::from(number >> bit & 1 == 1) << (self.used % 8);
            self.used += 1;
        }
    }

    /// A code of DEFLATE's fixed table, whose bits come highest first.
    fn code(&mut self, code: u32, length: u32) {
        self.add(code.reverse_bits() >> (32 - length), length);
    }
}

/// A gzip file of about 200 kB that unpacks to 32 MB of spaces (RFC 1951 §3.2.6): one space, and the same 258 times,
/// again and again. Its checksum is wrong: whoever gets there has unpacked it.
fn bomb() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.add(0b011, 3);
    bits.code(0x30 + u32::from(b' '), 8);
    for _ in 0..125_000 {
        bits.code(0b1100_0101, 8);
        bits.code(0, 5);
    }
    bits.code(0, 7);
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &bits.bytes, &[0; 8]].concat()
}

#[test]
fn bombs_are_not_opened() -> Result<()> {
    let scene = Scene::start()?;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let wide = format!("{{{}\"x\":1}}", "\"x\":0,".repeat(30_000));
    let number = format!("{{\"expires_in\":1{}}}", "0".repeat(200_000));
    let zipped = |coding: &str| {
        answer(
            "200 OK",
            &[("Content-Type", "application/json"), ("Content-Encoding", coding)],
            bomb(),
        )
    };
    let plain = |body: &str| answer("200 OK", &[("Content-Type", "application/json")], body);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("gzip", zipped("gzip")),
        ("x-gzip", zipped("x-gzip")),
        ("GZIP", zipped("GZIP")),
        ("deflate", zipped("deflate")),
        ("br", zipped("br")),
        ("zstd", zipped("zstd")),
        ("gzip twice", zipped("gzip, gzip")),
        ("identity and gzip", zipped("identity, gzip")),
        ("an unknown coding", zipped("evil")),
        (
            "no word of it",
            answer("200 OK", &[("Content-Type", "application/json")], bomb()),
        ),
        (
            "by transfer",
            [
                &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"[..],
                &bomb(),
            ]
            .concat(),
        ),
        (
            "by transfer, in chunks",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_vec(),
        ),
        ("brackets", plain(&deep)),
        ("members", plain(&wide)),
        ("a number", plain(&number)),
        (
            "a member of a megabyte",
            plain(&json!({"x": "y".repeat(1_000_000)}).to_string()),
        ),
    ];
    println!("{} cases", cases.len());
    let pid = scene.gateway.pid();
    let before = cpu::memory(pid)?;
    let failures = cases.iter().filter_map(|(name, bytes)| {
        let refused = || {
            let mut steps = vec![Step::Send(bytes.clone())];
            if *name == "by transfer" {
                // The end of the connection is that of the answer.
                steps.push(Step::Close);
            }
            scene.provider.answer_steps(steps);
            let got = scene.ask()?;
            ensure!(got.status == 502, "{}: {}", got.status, got.text());
            let grown = cpu::memory(pid)?.saturating_sub(before);
            ensure!(grown < MEMORY, "{} KiB more", grown / 1024);
            scene.works().map(drop)
        };
        Some((*name, refused().err()?))
    });
    report(failures.collect());
    Ok(())
}
