//! Which pages there are, and where.

use anyhow::Result;
use splittoken_tests::http::Client;
use splittoken_tests::stand::Stand;

#[test]
fn every_page_says_what_it_is() -> Result<()> {
    let stand = Stand::start()?;
    for (path, kind, content) in [
        ("/healthz", "text/plain", "ok\n"),
        ("/readyz", "text/plain", "ready\n"),
        (
            "/metrics",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "# EOF\n",
        ),
        ("/config", "application/json", "}"),
    ] {
        let answer = stand.gateway.admin(path)?;
        assert_eq!(answer.status, 200, "{path}");
        let found = answer.header("content-type").unwrap_or_default();
        assert!(found.starts_with(kind), "{path}: {found}");
        assert!(answer.text().ends_with(content), "{path}: {}", answer.text());
    }
    for path in [
        "/",
        "/Metrics",
        "/metrics/",
        "/config/routes",
        "/debug/pprof",
        "/quitquitquit",
    ] {
        assert_eq!(stand.gateway.admin(path)?.status, 404, "{path}");
    }
    Ok(())
}

/// Nothing can be changed there, by whatever method.
#[test]
fn pages_are_only_read() -> Result<()> {
    let stand = Stand::start()?;
    let client = Client::new()?;
    // The harness tells the address of the admin server by its pages alone; the process by its command line.
    let line = std::fs::read(format!("/proc/{}/cmdline", stand.gateway.pid()))?;
    let words: Vec<_> = line
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    let at = words.iter().position(|word| word == "--admin").expect("--admin");
    for path in ["/healthz", "/readyz", "/metrics", "/config"] {
        let url = format!("http://{}{path}", words[at + 1]);
        for request in [
            client.inner().post(&url),
            client.inner().put(&url),
            client.inner().delete(&url),
        ] {
            assert_eq!(request.send()?.status().as_u16(), 405, "{path}");
        }
        assert_eq!(client.inner().head(&url).send()?.status().as_u16(), 200, "{path}");
    }
    Ok(())
}

/// The public port knows none of it: these are paths like any others there.
#[test]
fn the_public_port_has_none_of_them() -> Result<()> {
    let stand = Stand::start()?;
    for path in ["/healthz", "/readyz", "/metrics", "/config"] {
        let answer = stand.ask(&format!("GET {path}"), &[])?;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(
            stand.ask_at("admin.example", &format!("GET {path}"), &[])?.status,
            404,
            "{path}"
        );
    }
    Ok(())
}
