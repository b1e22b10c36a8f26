//! Paths and hosts.

use splittoken_fuzz::run;
use splittoken_routing::{CanonicalPath, Host, Hostname};

/// What is matched is what is forwarded, and nobody reads it in another way.
#[test]
fn path() {
    run("path", |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        let Ok(path) = CanonicalPath::parse(text) else {
            return;
        };
        let canonical = path.as_str();
        assert!(canonical.starts_with('/') && canonical.bytes().all(|byte| byte.is_ascii_graphic()));
        let again = CanonicalPath::parse(canonical).unwrap();
        assert_eq!(again.as_str(), canonical, "canonical twice is another path");
        let lower = canonical.to_ascii_lowercase();
        for trick in ["//", "/../", "/./", "%2f", "%5c", "%2e", "%00", "\\"] {
            assert!(!lower.contains(trick), "{trick} in {canonical}");
        }
        assert!(
            !canonical.ends_with("/..") && !canonical.ends_with("/."),
            "{canonical}"
        );
        let replaced = path.replace_prefix(1, "/x");
        assert!(CanonicalPath::parse(&replaced).is_ok(), "{replaced}");
    });
}

#[test]
fn host() {
    run("host", |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        if Host::parse(text).is_ok() {
            assert!(
                text.bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"/@?#\\%,".contains(&byte)),
                "{text}"
            );
        }
        if let Ok(name) = Hostname::parse(text) {
            assert!(name.covers(&name), "{text} does not cover itself");
        }
    });
}
