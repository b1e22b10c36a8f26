//! Cheap frames in great number. Others are served meanwhile, and memory stays bounded.

use std::slice;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::frames::{
    self, CONTINUATION, END_HEADERS, Frame, Frames, HEADERS, Outcome, PING, PRIORITY, bytes, field,
};
use splittoken_tests::gate::Gate;
use splittoken_tests::hand::Listener;
use splittoken_tests::stand::Stand;
use splittoken_tests::wire::{Step, answer};

use super::{Hall, data, encoded};
use crate::policies;
use crate::witness::beside;

/// HTTP/2's error for those who exaggerate.
const ENHANCE_YOUR_CALM: u32 = 11;

impl Hall {
    /// Writes the same bytes so many times, as long as they are taken; gives how often that was.
    fn pour(client: &mut Frames, chunk: &[u8], times: usize) -> Result<usize> {
        client.write_patience(Duration::from_secs(2))?;
        let taken = (0..times).take_while(|_| client.write(chunk).is_ok()).count();
        println!("{taken} of {times} were taken, {:?}", client.gone());
        Ok(taken)
    }

    /// How many requests for `/a` arrived since the last look.
    fn arrived(&self) -> usize {
        let requests = self.gate.stand.upstream.take();
        requests.iter().filter(|request| request.target() == "/a").count()
    }

    /// From now on requests for `/a` get no answer.
    fn hold(&self) {
        self.gate.stand.upstream.script(|request| {
            if request.target() == "/a" {
                vec![Step::Hold]
            } else {
                vec![Step::Send(answer("200 OK", &[], "ok"))]
            }
        });
    }
}

fn calm(end: Option<u32>) -> Result<()> {
    ensure!(end == Some(ENHANCE_YOUR_CALM), "it was closed with {end:?}");
    Ok(())
}

/// 10,000 requests at once, each followed by a frame that ends it: the connection is closed before most of them arrive.
fn are_cut_off(what: &str, at_most: usize, ends: impl Fn(u32) -> Frame) -> Result<()> {
    let hall = Hall::open()?;
    hall.hold();
    beside(&hall.gate, what, || {
        let mut client = hall.connect()?;
        let frames = (0..10_000).flat_map(|at| [hall.request(2 * at + 1), ends(2 * at + 1)]);
        let all: Vec<Frame> = frames.collect();
        client.send(&all);
        calm(client.end()?)
    })?;
    let arrived = hall.arrived();
    println!("{arrived} of them arrived");
    ensure!(arrived < at_most, "{arrived} requests arrived");
    Ok(())
}

/// CVE-2023-44487.
#[test]
fn rapid_resets_end_the_connection() -> Result<()> {
    are_cut_off("10,000 requests, each given up at once", 500, Frame::cancel)
}

/// As slowly as they are begun: no more than a hundred at a time, and each ends at the upstream, too.
#[test]
fn paced_resets_are_as_good_as_requests() -> Result<()> {
    let hall = Hall::open()?;
    hall.hold();
    beside(&hall.gate, "1,000 requests, each given up soon", || {
        let mut client = hall.connect()?;
        for round in 0..20 {
            let streams = (0..50).map(|at| 2 * (50 * round + at) + 1);
            client.send(
                &streams
                    .clone()
                    .map(|stream| hall.request(stream))
                    .collect::<Vec<_>>(),
            );
            thread::sleep(Duration::from_millis(50));
            client.send(&streams.map(Frame::cancel).collect::<Vec<_>>());
        }
        Ok(())
    })
}

/// Errors that the client makes, for which the gateway resets: as good as a client's own resets.
#[test]
fn resets_that_are_provoked_end_the_connection() -> Result<()> {
    let too_much = |stream| Frame::window(stream, 0x7fff_ffff);
    are_cut_off("10,000 requests, each with an error", 1500, too_much)
}

#[test]
fn no_more_than_a_hundred_requests_are_served_at_a_time() -> Result<()> {
    let hall = Hall::open()?;
    hall.hold();
    beside(&hall.gate, "300 requests at once", || {
        let mut client = hall.connect()?;
        client.send(&(0..300).map(|at| hall.request(2 * at + 1)).collect::<Vec<_>>());
        let outcome = client.outcome(599)?;
        ensure!(
            matches!(outcome, Outcome::Reset(_) | Outcome::GoAway(_)),
            "{outcome:?}"
        );
        Ok(())
    })?;
    let arrived = hall.arrived();
    ensure!(arrived <= 100, "{arrived} requests arrived");
    Ok(())
}

#[test]
fn header_blocks_end() -> Result<()> {
    let hall = Hall::open()?;
    let begin = Frame::new(HEADERS, 1, hall.changed(&[])).last();
    let endless = field(b"x-a", &[b'y'; 16_000]);
    for (name, piece) in [
        ("full CONTINUATIONs", endless),
        ("empty CONTINUATIONs", Vec::new()),
        ("CONTINUATIONs of a byte", vec![0]),
    ] {
        beside(&hall.gate, name, || {
            let mut client = hall.connect()?;
            client.send(slice::from_ref(&begin));
            let chunk = bytes(&vec![Frame::new(CONTINUATION, 1, piece); 100]);
            Hall::pour(&mut client, &chunk, 1000)?;
            client.end()?.map_or(Ok(()), |error| {
                ensure!(error != 0, "closed without an error");
                Ok(())
            })
        })?;
    }
    ensure!(hall.arrived() == 0, "a request arrived");
    Ok(())
}

/// A small block that unpacks to a large one: each of its bytes stands for four thousand.
#[test]
fn header_lists_do_not_unpack_beyond_their_limit() -> Result<()> {
    let hall = Hall::open()?;
    let mut block = hall.changed(&[]);
    // A literal that is to be remembered, and then is referred to.
    let mut literal = field(b"x-a", &[b'y'; 3900]);
    literal[0] = 0x40;
    block.extend(literal);
    block.extend([0xbe; 8000]);
    beside(&hall.gate, "100 header lists of 31 MB", || {
        let mut client = hall.connect()?;
        let frames: Vec<Frame> = (0..100)
            .map(|at| Frame::headers(2 * at + 1, block.clone()).last())
            .collect();
        client.send(&frames);
        let outcome = client.outcome(1)?;
        ensure!(outcome != Outcome::Status(200), "served");
        Ok(())
    })?;
    ensure!(hall.arrived() == 0, "a request arrived");
    Ok(())
}

/// What is to be answered, by a client that reads none of it: in the end nothing more is taken.
#[test]
fn frames_that_ask_for_answers_fill_nothing() -> Result<()> {
    let hall = Hall::open()?;
    for (name, frame) in [
        ("SETTINGS", Frame::settings(&[(3, 7)])),
        ("PING", Frame::new(PING, 0, [7; 8])),
        ("SETTINGS of many", Frame::settings(&[(4, 65_535); 100])),
    ] {
        beside(&hall.gate, &format!("{name}, 100,000 times"), || {
            let mut client = hall.connect()?;
            let chunk = bytes(&vec![frame; 1000]);
            Hall::pour(
                &mut client,
                &chunk,
                if name == "SETTINGS of many" { 10 } else { 100 },
            )?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn frames_that_say_nothing_cost_little() -> Result<()> {
    let hall = Hall::open()?;
    let open = Frame::headers(1, hall.changed(&[(":method", Some("POST"))]));
    for (name, frame) in [
        ("empty DATA", data(1, b"")),
        ("padding", Frame::new(frames::DATA, 1, [0]).flags(frames::PADDED)),
        ("PRIORITY", Frame::new(PRIORITY, 3, [0, 0, 0, 1, 9])),
        ("room of one byte", Frame::window(0, 1)),
        ("room of one byte on a stream", Frame::window(1, 1)),
        ("unknown frames", Frame::new(0x99, 1, [])),
        ("resets of a stream that has ended", Frame::cancel(1)),
    ] {
        beside(&hall.gate, &format!("{name}, 300,000 times"), || {
            let mut client = hall.connect()?;
            client.send(slice::from_ref(&open));
            let chunk = bytes(&vec![frame; 1000]);
            Hall::pour(&mut client, &chunk, 300)?;
            Ok(())
        })?;
    }
    Ok(())
}

/// A body for an upstream that takes nothing: what is kept is what there is a window for, in as small pieces as may be.
#[test]
fn bodies_that_nobody_takes_fill_nothing() -> Result<()> {
    let stuck = Listener::start()?;
    let stand = Stand::built(
        |to| {
            let mut text: String = policies(to);
            text = text.replacen(
                "\"rules\":[",
                &format!(
                    "\"rules\":[{{\"name\":\"stuck\",\"matches\":[{{\"path\":{{\"value\":\"/stuck\"}}}}],\"backendRefs\":[{{\"url\":\"{}\"}}]}},",
                    stuck.url()
                ),
                1,
            );
            text
        },
        |gateway| gateway.arguments(&["--http2-cleartext"]),
    )?;
    let hall = Hall {
        gate: Gate::of(stand)?,
    };
    let open = |stream| {
        let block = hall.changed(&[(":method", Some("POST")), (":path", Some("/stuck"))]);
        Frame::headers(stream, block)
    };
    for (name, frame, number) in [
        ("empty DATA", data(1, b""), 1_000_000),
        ("DATA of a byte", data(1, b"x"), 1_000_000),
        (
            "DATA of a byte and padding",
            Frame::new(frames::DATA, 1, [1, b'x', 0]).flags(frames::PADDED),
            300_000,
        ),
    ] {
        beside(&hall.gate, &format!("{name}, {number} times"), || {
            let mut client = hall.connect()?;
            client.send(&[open(1)]);
            let chunk = bytes(&vec![frame; 1000]);
            Hall::pour(&mut client, &chunk, number / 1000)?;
            Ok(())
        })?;
    }
    Ok(())
}

/// Nobody reads: what is kept for each stream are pieces, and not an answer.
#[test]
fn answers_that_nobody_has_room_for_fill_nothing() -> Result<()> {
    let hall = Hall::open()?;
    let large = answer("200 OK", &[], vec![b'x'; 1_000_000]);
    hall.gate.stand.upstream.script(move |request| {
        let is_attack = request.target() == "/a";
        vec![Step::Send(if is_attack {
            large.clone()
        } else {
            answer("200 OK", &[], "ok")
        })]
    });
    // Connections to the upstream that have become used to large answers.
    let mut reader = Frames::connect_with(hall.gate.stand.gateway.address(), &[(4, 0x7fff_ffff)])?;
    reader.send(&[Frame::window(0, 0x7fff_0000)]);
    reader.send(&(0..100).map(|at| hall.request(2 * at + 1)).collect::<Vec<_>>());
    let mut left = 100;
    while left > 0 {
        let frame = reader.read()?.context("closed")?;
        left -= u32::from(frame.kind == frames::DATA && frame.flags & frames::END_STREAM != 0);
    }
    for (name, window) in [
        ("no room at all", 0),
        ("room for a byte", 1),
        ("room for 64 KiB", 65_535),
    ] {
        beside(&hall.gate, &format!("100 answers of a megabyte, {name}"), || {
            let settings = [(4, window)];
            let mut client = Frames::connect_with(hall.gate.stand.gateway.address(), &settings)?;
            client.send(&(0..100).map(|at| hall.request(2 * at + 1)).collect::<Vec<_>>());
            ensure!(client.outcome(1)? == Outcome::Status(200), "no head");
            thread::sleep(Duration::from_secs(2));
            Ok(())
        })?;
    }
    Ok(())
}

/// Many at once, each with a hello and a request that is never whole.
#[test]
fn many_connections_are_many_connections() -> Result<()> {
    let hall = Hall::open()?;
    let begun = Frame::new(HEADERS, 1, encoded(&hall.good())).flags(0);
    beside(&hall.gate, "400 connections", || {
        let mut clients = Vec::new();
        for _ in 0..400 {
            let mut client = hall.connect()?;
            client.send(slice::from_ref(&begun));
            clients.push(client);
        }
        let last = clients.last_mut().context("no client")?;
        last.send(&[Frame::new(CONTINUATION, 1, []).flags(END_HEADERS).last()]);
        Ok(())
    })?;
    Ok(())
}
