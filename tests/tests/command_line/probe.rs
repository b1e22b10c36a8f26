//! `probe`: the client of `helm test`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use anyhow::{Result, ensure};

use super::{address, run};

/// Answers one after another, whatever it is asked.
fn server(answers: Vec<String>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for (connection, answer) in listener.incoming().zip(answers) {
            let Ok(mut connection) = connection else { return };
            let mut request = [0; 1024];
            // What was asked is of no matter, and who is gone needs no answer.
            let _ = connection.read(&mut request);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    Ok(format!("http://{address}/readyz"))
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn it_is_done_when_every_server_says_that_it_is_ready() -> Result<()> {
    let late = vec![
        answer("503 Service Unavailable", "not ready: configuration\n"),
        answer("200 OK", "ready\n"),
    ];
    let (one, other) = (server(late)?, server(vec![answer("204 No Content", "")])?);
    let ran = run(&["probe", &one, &other], &[])?;
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(0), "", "")
    );
    Ok(())
}

#[test]
fn it_says_what_was_missing_when_the_time_is_over() -> Result<()> {
    let busy = || {
        let answer = answer("503 Service Unavailable", "not ready: configuration\n");
        server(vec![answer; 100])
    };
    let nobody = format!("http://{}/readyz", address()?);
    for (url, words) in [
        (busy()?, "503 Service Unavailable not ready: configuration"),
        (server(vec![answer("404 Not Found", ""); 100])?, "404 Not Found"),
        (server(vec!["hello\r\n".to_owned(); 100])?, "no HTTP answer"),
        (nobody, "cannot connect"),
        ("http://host.invalid/".to_owned(), "no such host"),
    ] {
        let ran = run(&["probe", "--within", "1s", &url], &[])?;
        ran.is_refusal(&[&url.replace(".invalid/", ".invalid:80/"), words])?;
    }
    Ok(())
}

#[test]
fn an_address_that_is_none_is_refused() -> Result<()> {
    for url in ["https://gateway:9090/readyz", "gateway:9090", ""] {
        let ran = run(&["probe", url], &[])?;
        ran.is_refusal(&["http://HOST:PORT/PATH"])?;
    }
    ensure!(run(&["probe"], &[])?.code == Some(2));
    Ok(())
}
