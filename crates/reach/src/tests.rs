use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A cluster's API server by its Service and where it really is, and another by IPv6.
fn reach() -> Reach {
    Reach::Beyond(Refused {
        addresses: vec![ip("10.96.0.1"), ip("fd00:96::1")],
        sockets: vec![socket("172.18.0.2:6443"), socket("[fd00:18::2]:6443")],
    })
}

#[test]
fn what_is_the_machine_s_own_is_refused_in_every_form() {
    for text in [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.170.2",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "10.96.0.1",
        "::",
        "::1",
        "fe80::1",
        "febf::1",
        "ff02::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:96::1",
        // Mapped, compatible, translated.
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.96.0.1",
        "::ffff:0.0.0.0",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        // NAT64, 6to4.
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::a60:1",
        "64:ff9b:1::7f00:1",
        "64:ff9b:1:5::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
    ] {
        for port in [1, 443, 6443] {
            let socket = SocketAddr::new(ip(text), port);
            assert!(!reach().admits(socket), "{socket}");
            assert!(Reach::Anywhere.admits(socket), "{socket}");
        }
    }
}

#[test]
fn everything_else_may_be_reached() {
    for text in [
        "1.1.1.1",
        "10.96.0.2",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.255.255",
        "169.255.0.0",
        "223.255.255.255",
        // Class E, which some clouds give to pods.
        "240.0.0.1",
        "255.255.255.254",
        "2606:4700::1111",
        "fd00:96::2",
        "fd00:ec3::1",
        "fec0::1",
        "::ffff:10.0.0.1",
        "64:ff9b::101:101",
        "2002:a00:1::1",
    ] {
        assert!(reach().admits(SocketAddr::new(ip(text), 6443)), "{text}");
    }
}

#[test]
fn a_socket_is_refused_in_every_form_and_its_neighbours_are_not() {
    for text in [
        "172.18.0.2:6443",
        "[::ffff:172.18.0.2]:6443",
        "[::172.18.0.2]:6443",
        "[64:ff9b::ac12:2]:6443",
        "[2002:ac12:2::]:6443",
        "[fd00:18::2]:6443",
        "[fd00:18::2%3]:6443",
    ] {
        assert!(!reach().admits(socket(text)), "{text}");
        assert!(Reach::Anywhere.admits(socket(text)), "{text}");
        let neighbour = SocketAddr::new(socket(text).ip(), 443);
        assert!(reach().admits(neighbour), "{neighbour}");
    }
    assert!(reach().admits(socket("172.18.0.3:6443")));
    assert!(reach().depends_on_ports());
    assert!(!Reach::default().depends_on_ports() && !Reach::Anywhere.depends_on_ports());
}

#[test]
fn of_several_addresses_the_good_ones_are_used() {
    let sockets = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(ip(text), 443)).collect()
    };
    let mixed = sockets(&["127.0.0.1", "10.0.0.1", "::1", "fd00::1"]);
    assert_eq!(reach().pick(mixed.clone()), Ok(sockets(&["10.0.0.1", "fd00::1"])));
    assert_eq!(Reach::Anywhere.pick(mixed.clone()), Ok(mixed));
    assert_eq!(reach().pick(sockets(&["127.0.0.1", "10.96.0.1"])), Err(Forbidden));
    assert_eq!(reach().pick(sockets(&[])), Ok(vec![]), "no such name");
    let beside = vec![socket("172.18.0.2:6443"), socket("172.18.0.2:443")];
    assert_eq!(reach().pick(beside), Ok(vec![socket("172.18.0.2:443")]));
}

#[test]
fn a_url_is_looked_at_however_its_address_is_written() {
    for (host, early, literal) in [
        ("127.0.0.1", false, false),
        ("127.1", false, false),
        ("2130706433", false, false),
        ("0x7f.0.0.1", false, false),
        ("0177.0.0.1", false, false),
        ("127.0.0.1.", false, false),
        ("%31%32%37.0.0.1", false, false),
        ("①②⑦.0.0.1", false, false),
        ("[::1]", false, false),
        ("[::ffff:7f00:1]", false, false),
        ("[0:0:0:0:0:0:127.0.0.1]", false, false),
        ("169.254.169.254", false, false),
        ("10.96.0.1", false, false),
        // Names are known by what they resolve to; these always mean the same.
        ("localhost", false, true),
        ("LOCALHOST.", false, true),
        ("a.localhost", false, true),
        ("localhost.example", true, true),
        ("notlocalhost", true, true),
        ("kubernetes.default.svc", true, true),
        ("iam.example", true, true),
        ("10.0.0.1", true, true),
        ("[fd00::1]", true, true),
    ] {
        let url = Url::parse(&format!("https://{host}:8443/x")).unwrap();
        assert_eq!(reach().check_url(&url).is_ok(), early, "{host}");
        assert_eq!(reach().check_literal(&url).is_ok(), literal, "{host}");
        assert!(Reach::Anywhere.check_url(&url).is_ok(), "{host}");
    }
}

#[test]
fn a_url_without_a_port_has_that_of_its_scheme() {
    let reach = Reach::Beyond(Refused {
        sockets: vec![socket("172.18.0.2:443"), socket("[fd00:18::2]:80")],
        ..Refused::default()
    });
    for (url, expected) in [
        ("https://172.18.0.2/x", false),
        ("https://172.18.0.2:443", false),
        ("http://172.18.0.2:443", false),
        ("https://[::ffff:172.18.0.2]", false),
        ("http://[fd00:18::2]/", false),
        ("http://172.18.0.2", true),
        ("https://172.18.0.2:8443", true),
        ("https://[fd00:18::2]", true),
    ] {
        let url = Url::parse(url).unwrap();
        assert_eq!(reach.check_url(&url).is_ok(), expected, "{url}");
        assert_eq!(reach.check_literal(&url).is_ok(), expected, "{url}");
    }
}

#[test]
fn nothing_said_is_the_narrower_one_and_the_wire_keeps_both() {
    assert!(!Reach::default().admits(socket("127.0.0.1:80")));
    assert_eq!(serde_json::from_str::<Reach>("{}").unwrap(), Reach::default());
    for reach in [Reach::Anywhere, Reach::default(), reach()] {
        let text = serde_json::to_string(&reach).unwrap();
        assert_eq!(serde_json::from_str::<Reach>(&text).unwrap(), reach, "{text}");
    }
}

/// The member that every version reads, and the one that only some do.
#[test]
fn versions_that_know_of_sockets_and_others_read_each_other() {
    #[derive(Deserialize)]
    struct Former {
        reach: FormerReach,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    enum FormerReach {
        Anywhere,
        Beyond(Vec<IpAddr>),
    }
    let read = |reach: &Reach| {
        let text = serde_json::to_string(reach).unwrap();
        serde_json::from_str::<Former>(&text).unwrap().reach
    };
    let addresses = vec![ip("10.96.0.1"), ip("fd00:96::1")];
    assert_eq!(read(&reach()), FormerReach::Beyond(addresses.clone()));
    assert_eq!(read(&Reach::Anywhere), FormerReach::Anywhere);
    let former = r#"{"reach": {"Beyond": ["10.96.0.1", "fd00:96::1"]}}"#;
    let expected = Reach::Beyond(Refused {
        addresses,
        sockets: vec![],
    });
    assert_eq!(serde_json::from_str::<Reach>(former).unwrap(), expected);
    let former = serde_json::to_string(&expected).unwrap();
    assert!(!former.contains("sockets"), "the same text as ever: {former}");
}

#[test]
fn the_refusal_names_no_address() {
    assert!(!Forbidden.to_string().contains(|c: char| c.is_ascii_digit()));
}
