//! Frames that may not be, or not there.

use anyhow::{Result, ensure};
use splittoken_tests::frames::{
    self, CONTINUATION, DATA, END_HEADERS, Frame, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITIZED,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, bytes,
};
use splittoken_tests::gate::report;
use splittoken_tests::hand::Peer;

use super::Verdict::{Ended, Reset, ResetOrEnded, Served, ServedLast};
use super::{Attempt, Hall, Verdict, data};

fn frames_of(name: &str, verdict: Verdict, frames: Vec<Frame>) -> Attempt {
    Attempt::new(name, verdict, frames)
}

#[test]
fn each_kind_of_frame_has_its_streams() -> Result<()> {
    let hall = Hall::open()?;
    let ended = |name: &str, frame: Frame| frames_of(name, Ended, vec![frame, hall.request(1)]);
    let block = hall.changed(&[]);
    hall.judge(&[
        ended("DATA on stream 0", data(0, b"abc")),
        ended("HEADERS on stream 0", Frame::headers(0, block.clone()).last()),
        ended("PRIORITY on stream 0", Frame::new(PRIORITY, 0, [0; 5])),
        ended("RST_STREAM on stream 0", Frame::cancel(0)),
        ended(
            "CONTINUATION on stream 0",
            Frame::new(CONTINUATION, 0, block.clone()).flags(END_HEADERS),
        ),
        ended("SETTINGS on a stream", Frame::new(SETTINGS, 1, [])),
        ended("PING on a stream", Frame::new(PING, 1, [0; 8])),
        ended("GOAWAY on a stream", Frame::new(GOAWAY, 1, [0; 8])),
        ended(
            "a promise of a client",
            Frame::new(PUSH_PROMISE, 1, [&[0, 0, 0, 2], &block[..]].concat()).flags(END_HEADERS),
        ),
        ended("DATA on an idle stream", data(5, b"abc")),
        ended("RST_STREAM on an idle stream", Frame::cancel(5)),
        ended("WINDOW_UPDATE on an idle stream", Frame::window(5, 1)),
        ended(
            "CONTINUATION of nothing",
            Frame::new(CONTINUATION, 1, block.clone()).flags(END_HEADERS),
        ),
        ended("a server's stream", Frame::headers(2, block.clone()).last()),
    ]);
    Ok(())
}

#[test]
fn each_kind_of_frame_has_its_length() -> Result<()> {
    let hall = Hall::open()?;
    let ended = |name: &str, frame: Frame| frames_of(name, Ended, vec![frame, hall.request(1)]);
    let settings = |number: u16, value: u32| Frame::settings(&[(number, value)]);
    let block = hall.changed(&[]);
    let padded = |length: u8| {
        Frame::headers(1, [&[length], &block[..]].concat())
            .flags(PADDED)
            .last()
    };
    hall.judge(&[
        ended("SETTINGS of five bytes", Frame::new(SETTINGS, 0, [0; 5])),
        ended("SETTINGS that answer and ask", settings(3, 1).flags(frames::ACK)),
        ended("PING of seven bytes", Frame::new(PING, 0, [0; 7])),
        ended("PING of nothing", Frame::new(PING, 0, [])),
        ended("GOAWAY of seven bytes", Frame::new(GOAWAY, 0, [0; 7])),
        ended(
            "WINDOW_UPDATE of three bytes",
            Frame::new(WINDOW_UPDATE, 0, [0; 3]),
        ),
        ended("RST_STREAM of three bytes", Frame::new(RST_STREAM, 1, [0; 3])),
        ended("PRIORITY of four bytes", Frame::new(PRIORITY, 1, [0; 4])),
        ended("more than a frame may hold", Frame::new(0x77, 0, vec![0; 16_385])),
        ended("far more", Frame::headers(1, vec![0; 1_000_000])),
        ended("more padding than frame", padded(255)),
        ended(
            "padding and no length",
            Frame::headers(1, []).flags(PADDED).last(),
        ),
        ended(
            "a priority and no room",
            Frame::headers(1, [0; 4]).flags(PRIORITIZED).last(),
        ),
        ended("a window of 2 GiB by settings", settings(4, 0x8000_0000)),
        ended("frames of one byte", settings(5, 1)),
        ended("frames of 32 MiB", settings(5, 0x0200_0000)),
        ended("push 2", settings(2, 2)),
        ended("no more room", Frame::window(0, 0)),
        ended("room beyond all bounds", Frame::window(0, 0x7fff_ffff)),
    ]);
    Ok(())
}

#[test]
fn streams_have_an_order_and_an_end() -> Result<()> {
    let hall = Hall::open()?;
    let block = hall.changed(&[]);
    let open = || Frame::headers(1, hall.changed(&[(":method", Some("POST"))]));
    let begun = Frame::new(HEADERS, 1, block.clone()).last();
    let (first, second) = block.split_at(20);
    let opening = |stream: u32| Frame::new(HEADERS, stream, first).last();
    let on_itself = [&[0, 0, 0, 1, 16], &block[..]].concat();
    hall.judge(&[
        frames_of(
            "a lower number",
            Ended,
            vec![
                Frame::headers(3, hall.changed(&[(":path", Some("/admin"))])).last(),
                hall.request(1),
            ],
        ),
        frames_of(
            "a block that another frame breaks",
            Ended,
            vec![opening(1), Frame::new(PING, 0, [0; 8])],
        ),
        frames_of(
            "a block that data breaks",
            Ended,
            vec![opening(1), data(1, b"abc")],
        ),
        frames_of(
            "a block that another stream breaks",
            Ended,
            vec![opening(1), hall.request(3)],
        ),
        frames_of(
            "a block that goes on elsewhere",
            Ended,
            vec![opening(1), Frame::new(CONTINUATION, 3, second).flags(END_HEADERS)],
        ),
        frames_of(
            "a block that an unknown frame breaks",
            Ended,
            vec![begun, Frame::new(0x77, 1, [])],
        ),
        frames_of(
            "data behind the end",
            Ended,
            vec![hall.request(1), data(1, b"abc")],
        ),
        frames_of(
            // The stream's room ends before the connection's, unless the upstream has taken nothing yet (RFC 9113 §6.9.1).
            "data that there is no room for",
            ResetOrEnded,
            [vec![open()], vec![data(1, &[0; 16_384]); 80]].concat(),
        ),
        frames_of(
            "no more room on a stream",
            Ended,
            vec![open(), Frame::window(1, 0)],
        ),
        frames_of(
            "room beyond all bounds on a stream",
            Reset,
            vec![open(), Frame::window(1, 0x7fff_ffff)],
        ),
        frames_of(
            "a stream that waits for itself",
            Reset,
            vec![Frame::headers(1, on_itself).flags(PRIORITIZED).last()],
        ),
        frames_of(
            "in two frames",
            Served("GET /a"),
            vec![opening(1), Frame::new(CONTINUATION, 1, second).flags(END_HEADERS)],
        ),
    ]);
    Ok(())
}

/// RFC 9113 §5.5 and §4.1: what nobody knows is no error.
#[test]
fn the_unknown_is_left_out() -> Result<()> {
    let hall = Hall::open()?;
    let served = |name: &str, frame: Frame| frames_of(name, Served("GET /a"), vec![frame, hall.request(1)]);
    hall.judge(&[
        served("a kind of frame", Frame::new(0xfe, 0, [1, 2, 3])),
        served("a kind of frame on a stream", Frame::new(0xfe, 9, [1, 2, 3])),
        served("a setting", Frame::settings(&[(0x99, 7)])),
        served("flags", Frame::new(PING, 0, [0; 8]).flags(0xfe)),
        served("a PRIORITY", Frame::new(PRIORITY, 1, [0, 0, 0, 0, 1])),
        frames_of(
            "a good-bye without an error",
            ServedLast("GET /a"),
            vec![Frame::new(GOAWAY, 0, [0; 8]), hall.request(1)],
        ),
        served("HTTP/1's cookies", Frame::new(0x0a, 0, b"evil".to_vec())),
        served("the reserved bit", Frame::window(0x8000_0000, 1)),
    ]);
    Ok(())
}

#[test]
fn compression_refers_to_what_there_is() -> Result<()> {
    let hall = Hall::open()?;
    let good = hall.changed(&[]);
    let then = |bytes: &[u8]| [&good[..], bytes].concat();
    let ended = |name: &str, block: Vec<u8>| frames_of(name, Ended, vec![Frame::headers(1, block).last()]);
    hall.judge(&[
        ended("index 0", then(&[0x80])),
        ended("an index that nobody has", then(&[0xfe])),
        ended(
            "an index beyond all numbers",
            then(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ),
        ended("a name that nobody has", then(&[0x7e, 1, b'x'])),
        ended("a text that ends early", then(&[0, 5, b'x', b'y'])),
        ended(
            "a length beyond all numbers",
            then(&[0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ),
        ended("half a number", then(&[0, 0x7f])),
        ended("half a field", then(&[0, 1, b'x'])),
        ended(
            "Huffman's end within a text",
            then(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 0]),
        ),
        ended(
            "a table of 2 GiB",
            [&[0x3f, 0xff, 0xff, 0xff, 0xff, 7], &good[..]].concat(),
        ),
        ended("a table resized in the middle", then(&[0x20])),
    ]);
    Ok(())
}

/// Each is closed without a request, and nobody waits for long.
#[test]
fn a_connection_begins_as_it_has_to() -> Result<()> {
    let hall = Hall::open()?;
    let request = hall.request(1).bytes();
    let settings = Frame::settings(&[]).bytes();
    let http1 = hall.gate.bytes("GET /a HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎");
    let cases: [(&str, Vec<u8>); 7] = [
        ("HTTP/1.1 behind the preface", [PREFACE, &http1].concat()),
        (
            "the preface twice",
            [PREFACE, PREFACE, &settings, &request].concat(),
        ),
        (
            "half a preface and a request",
            [&PREFACE[..18], &request].concat(),
        ),
        (
            "another preface",
            [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &settings[..], &request].concat(),
        ),
        (
            "a preface in small letters",
            [b"pri * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &request].concat(),
        ),
        (
            "HTTP/3",
            [b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n", &settings[..], &request].concat(),
        ),
        ("noise", bytes(&[Frame::new(DATA, 0x7fff_ffff, [0xff; 100])])),
    ];
    println!("{} cases", cases.len());
    let failures = cases
        .iter()
        .filter_map(|(name, sent)| Some((*name, hall.closes(sent).err()?)));
    report(failures.collect());
    Ok(())
}

impl Hall {
    fn closes(&self, sent: &[u8]) -> Result<()> {
        let mut client = Peer::connect(self.gate.stand.gateway.address())?;
        client.send(sent)?;
        let answer = client.rest()?;
        let arrived = self.gate.good_request()?;
        ensure!(arrived.is_empty(), "arrived: {arrived:?}");
        ensure!(!answer.starts_with(b"HTTP/1.1 200"), "served");
        Ok(())
    }
}
