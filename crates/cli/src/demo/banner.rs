//! What `splittoken demo` prints at start: what runs where, and commands to copy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{CLIENT_ID, CLIENT_SECRET, PASSWORD, Parts, USERNAME};

/// What is running, for the text that says so.
pub(crate) struct Running<'a> {
    /// Where the gateway listens, with the port that it really got.
    pub(crate) listen: SocketAddr,
    /// Where the admin server listens.
    pub(crate) admin: SocketAddr,
    /// The parts behind the gateway.
    pub(crate) parts: &'a Parts,
    /// The store in a word or two, without its password: `memory`, `redis://127.0.0.1:6379`.
    pub(crate) store: &'a str,
}

/// The text: plain lines, ending with a newline, every command on one line of its own.
pub(crate) fn banner(running: &Running<'_>) -> String {
    let gateway = format!("http://{}", reachable(running.listen));
    let Parts { provider, api, .. } = running.parts;
    let (admin, store) = (running.admin, running.store);
    let rest = if store == "memory" {
        "Nothing outlives this process."
    } else {
        "What it leaves in Redis is gone in minutes,\nand nobody can open it: the key lives in this process alone."
    };
    let jwt_of = |member: &str| format!(r#"sed -E 's/.*"{member}" *: *"([^"]*)".*/\1/'"#);
    let (token_of, issued_of) = (jwt_of("access_token"), jwt_of("jwt"));
    format!(
        r#"Split Token Gateway: the demo is running. {rest}

  page      {gateway}/
  gateway   {gateway}   (token endpoint /oauth/token, API /api/…)
  provider  {provider}   behind the gateway: issues JWTs
  API       {api}   behind the gateway: answers what it received
  store     {store}
  admin     http://{admin}   /metrics, /config

Open the page, or copy these lines into another terminal, in this order.

# 1. Get a token. The provider issues a JWT; you get its signature alone.
TOKEN=$(curl -s -u {CLIENT_ID}:{CLIENT_SECRET} -d grant_type=client_credentials {gateway}/oauth/token | {token_of}); echo "$TOKEN"

#    Or as the user {USERNAME}:
TOKEN=$(curl -s -u {CLIENT_ID}:{CLIENT_SECRET} -d grant_type=password -d username={USERNAME} -d password={PASSWORD} {gateway}/oauth/token | {token_of}); echo "$TOKEN"

# 2. Call the API with it. The answer shows what the API received: the whole JWT.
curl -s -H "Authorization: Bearer $TOKEN" {gateway}/api/orders

# 3. Send the JWT itself: 401. Only what the gateway handed out is good here.
JWT=$(curl -s {gateway}/demo/issued | {issued_of}); curl -si -w '\n' -H "Authorization: Bearer $JWT" {gateway}/api/orders

# 4. Send a wrong token: 401, and no word about what is wrong with it.
curl -si -w '\n' -H "Authorization: Bearer wrong$TOKEN" {gateway}/api/orders

Ctrl-C ends it.
"#
    )
}

/// An address that a client on this machine can connect to: a wildcard becomes loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(listen: &str) -> String {
        shown(listen, "memory")
    }

    fn shown(listen: &str, store: &str) -> String {
        let parts = Parts {
            provider: "http://127.0.0.1:4001".into(),
            api: "http://127.0.0.1:4002".into(),
            page: "http://127.0.0.1:4003".into(),
            servers: tokio::task::JoinSet::new(),
        };
        banner(&Running {
            listen: listen.parse().unwrap(),
            admin: "127.0.0.1:4004".parse().unwrap(),
            parts: &parts,
            store,
        })
    }

    #[test]
    fn says_what_runs_where() {
        let text = text("127.0.0.1:8080");
        for line in [
            "  page      http://127.0.0.1:8080/\n",
            "  provider  http://127.0.0.1:4001 ",
            "  API       http://127.0.0.1:4002 ",
            "  store     memory\n",
            "  admin     http://127.0.0.1:4004 ",
        ] {
            assert!(text.contains(line), "{line:?} is missing from:\n{text}");
        }
        assert!(
            !text.contains("4003"),
            "the page is reached through the gateway:\n{text}"
        );
    }

    #[test]
    fn promises_of_redis_no_more_than_it_keeps() {
        assert!(text("127.0.0.1:8080").contains("Nothing outlives this process."));
        let text = shown("127.0.0.1:8080", "redis://127.0.0.1:6379/0");
        assert!(!text.contains("Nothing outlives"), "{text}");
        assert!(text.contains("leaves in Redis"), "{text}");
    }

    #[test]
    fn every_command_goes_to_the_gateway() {
        let text = text("127.0.0.1:9123");
        let commands: Vec<&str> = text.lines().filter(|line| line.contains("curl ")).collect();
        assert_eq!(commands.len(), 5, "{text}");
        for command in commands {
            assert!(command.contains("http://127.0.0.1:9123/"), "{command}");
            assert!(!command.contains(":400"), "{command}");
        }
    }

    #[test]
    fn a_wildcard_is_shown_as_loopback() {
        assert!(text("0.0.0.0:8080").contains("http://127.0.0.1:8080/oauth/token"));
        assert!(text("[::]:8080").contains("http://[::1]:8080/oauth/token"));
    }
}
