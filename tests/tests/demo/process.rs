//! How the demo starts, where it listens, and how it ends.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use splittoken_tests::demo::Demo;
use splittoken_tests::{gateway, ports, sockets, wait};

/// Ten times the promise that it ends within a second.
const END: Duration = Duration::from_secs(10);

#[test]
fn nothing_listens_on_anything_but_loopback_and_all_of_it_is_named() -> Result<()> {
    let demo = Demo::start()?;
    let mut listening = sockets::listening(demo.pid())?;
    listening.sort();
    // The gateway, its admin server, the provider, the API, and the page, which is reached through the gateway.
    assert_eq!(listening.len(), 5, "{listening:?}");
    assert!(
        listening.iter().all(|address| address.ip().is_loopback()),
        "{listening:?}"
    );
    assert!(listening.contains(&demo.address()), "{listening:?}");
    let text = demo.text();
    let named = listening
        .iter()
        .filter(|address| text.contains(&format!("http://{address}")));
    assert_eq!(named.count(), 4, "{listening:?} in:\n{text}");
    Ok(())
}

#[test]
fn a_port_in_use_is_one_line_that_names_it_and_exit_code_2() -> Result<()> {
    let demo = Demo::start()?;
    let address = demo.address().to_string();
    let second = gateway::run(&["demo", "--listen", &address])?;
    assert_eq!(second.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&second.stdout), "");
    let said = String::from_utf8(second.stderr)?;
    assert_eq!(said.lines().count(), 1, "{said}");
    for words in ["--listen", &address, "Address already in use"] {
        assert_eq!(said.matches(words).count(), 1, "{words} once in: {said}");
    }
    assert_eq!(demo.get("/")?.status, 200, "the first one goes on");
    Ok(())
}

#[test]
fn what_cannot_be_used_is_one_line_and_exit_code_2() -> Result<()> {
    for (arguments, words) in [
        (&["--listen", "8080"][..], "--listen"),
        (&["--store", "redis:/typo"], "--store"),
        (
            &["--store-ca", "/nowhere/ca.pem"],
            "--store-ca /nowhere/ca.pem: No such file",
        ),
        (&["--port", "8080"], "'--port'"),
    ] {
        let ended = gateway::run(&[&["demo"], arguments].concat())?;
        let said = String::from_utf8(ended.stderr)?;
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(words), "{words} in: {said}");
    }
    Ok(())
}

#[test]
fn sigint_and_sigterm_end_it_at_once_and_well() -> Result<()> {
    for (signal, send) in [
        ("SIGINT", Demo::interrupt as fn(&Demo) -> Result<()>),
        ("SIGTERM", Demo::terminate),
    ] {
        let mut demo = Demo::start()?;
        // A browser's connection that idles, and one in the middle of a request.
        let _idle = idle(demo.address())?;
        let mut half = TcpStream::connect(demo.address())?;
        half.write_all(b"GET / HTTP/1.1\r\nHost: 127")?;
        let start = Instant::now();
        send(&demo)?;
        let status = demo.wait(END)?;
        println!("{signal}: ended in {:?}; the promise is 1 s", start.elapsed());
        assert_eq!(status.code(), Some(0), "{signal}: {status}\n{}", demo.text());
        assert!(
            !demo.text().contains("ERROR"),
            "it ends with a complaint:\n{}",
            demo.text()
        );
    }
    Ok(())
}

/// A connection that had one answer and stays open.
fn idle(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(format!("GET /demo/icon.svg HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut first = [0; 12];
    stream.read_exact(&mut first)?;
    assert_eq!(&first, b"HTTP/1.1 200");
    Ok(stream)
}

/// 127.0.0.2 stands for any address that is not in the example's routes, such as `[::1]`, which not every machine has.
#[test]
fn it_answers_at_the_address_that_it_was_told_to_listen_on() -> Result<()> {
    let ip: IpAddr = "127.0.0.2".parse()?;
    let address = SocketAddr::new(ip, ports::free()?);
    let demo = Demo::on(address, &[])?;
    let page = demo.get("/")?;
    assert_eq!(page.status, 200, "{}", page.text());
    let copied = super::copy(&demo, "bash")?;
    assert_eq!(copied.received["jwt"]["claims"]["sub"], "alice");
    Ok(())
}

/// The port is open before there are routes: whoever comes that early waits, and is not told that nothing is there.
#[test]
fn nobody_comes_too_early() -> Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
    let early = thread::spawn(move || -> Result<String> {
        let mut stream = wait::until(wait::START, "the open port", || TcpStream::connect(address).ok())?;
        stream.set_read_timeout(Some(wait::START))?;
        stream.write_all(
            format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    });
    let _demo = Demo::on(address, &[])?;
    let status = early
        .join()
        .map_err(|_| anyhow::anyhow!("the early client panicked"))??;
    assert_eq!(status, "HTTP/1.1 200 OK");
    Ok(())
}

#[test]
fn its_admin_server_says_that_it_is_ready() -> Result<()> {
    let demo = Demo::start()?;
    let text = demo.text();
    let admin = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("admin ")?.split_whitespace().next())
        .context("no admin line")?;
    let http = splittoken_tests::http::Client::new()?;
    wait::until_true(wait::START, "the demo's readiness", || {
        http.get(&format!("{admin}/readyz"))
            .is_ok_and(|answer| answer.status == 200)
    })?;
    assert_eq!(http.get(&format!("{admin}/config"))?.status, 200);
    let metrics = http.get(&format!("{admin}/metrics"))?.text();
    assert!(metrics.contains("splittoken_"), "{metrics}");
    Ok(())
}
