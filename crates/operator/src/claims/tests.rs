use super::*;

const LIFE: Duration = Duration::from_secs(15);

/// A Lease made at second `created`, in the form that its holder gave it for the `renewals`th time.
fn claim(namespace: &str, created: i64, renewals: i64) -> Claim {
    Claim {
        namespace: namespace.to_owned(),
        created: Timestamp::from_second(created).unwrap(),
        holder: format!("operator of {namespace}"),
        renewed: Timestamp::from_second(renewals).ok(),
        life: LIFE,
    }
}

fn given_back(claim: Claim) -> Claim {
    Claim {
        holder: String::new(),
        ..claim
    }
}

fn theirs(namespace: &str) -> Standing {
    Standing::Theirs(namespace.to_owned())
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn an_installation_that_is_alone_has_its_class() {
    let (mut claims, start) = (Claims::new("a"), Instant::now());
    assert_eq!(claims.look([], start), Standing::Free);
    assert_eq!(
        claims.look([given_back(claim("b", 1, 1))], start),
        Standing::Free,
        "nobody has it"
    );
    assert_eq!(claims.look([claim("a", 2, 1)], start), Standing::Ours);
}

#[test]
fn the_oldest_has_it_and_of_one_second_the_first_by_name() {
    for (ours, others, expected) in [
        (2, vec![claim("b", 1, 1)], "b"),
        (2, vec![claim("c", 1, 1), claim("b", 1, 1)], "b"),
        (2, vec![claim("c", 0, 1), claim("b", 1, 1)], "c"),
        (1, vec![claim("a", 1, 1)], "a"),
        (2, vec![given_back(claim("a", 1, 1)), claim("c", 1, 1)], "c"),
    ] {
        let mut claims = Claims::new("m");
        let listed = others.into_iter().chain([claim("m", ours, 1)]);
        assert_eq!(claims.look(listed, Instant::now()), theirs(expected));
    }
    // One that has not got its own Lease yet is the youngest.
    let mut claims = Claims::new("a");
    assert_eq!(
        claims.look([claim("b", 9, 1)], Instant::now()),
        theirs("b"),
        "our own comes later"
    );
}

/// Whatever its timestamps say: they are of another machine.
#[test]
fn a_lease_is_alive_while_changes_of_it_are_seen() {
    let (mut claims, start) = (Claims::new("b"), Instant::now());
    for step in 0..20 {
        let renewed = i64::try_from(step).unwrap() - 1_000_000;
        let listed = [claim("a", 1, renewed), claim("b", 2, renewed)];
        assert_eq!(claims.look(listed, start + seconds(step * 20)), theirs("a"));
    }
}

#[test]
fn one_that_ended_was_given_back_or_is_gone_is_followed_by_the_next() {
    let renewed = claim("a", 1, 1);
    for after in [vec![renewed.clone()], vec![given_back(renewed.clone())], vec![]] {
        let (mut claims, start) = (Claims::new("b"), Instant::now());
        claims.look([renewed.clone(), claim("b", 2, 1)], start);
        let mut at = |second: u64| {
            let own = claim("b", 2, i64::try_from(second).unwrap() + 2);
            claims.look(after.iter().cloned().chain([own]), start + seconds(second))
        };
        assert_eq!(at(20), theirs("a"), "its operator may be replaced just now");
        assert_eq!(at(25), theirs("a"));
        assert_eq!(at(26), Standing::Ours, "nobody writes: at once");
    }
}

#[test]
fn one_that_comes_back_waits_until_the_other_has_seen_it() {
    let (mut claims, start) = (Claims::new("a"), Instant::now());
    let mut at = |second: u64, renewals: i64| {
        let listed = [claim("a", 1, renewals), claim("b", 2, renewals)];
        claims.look(listed, start + seconds(second))
    };
    let coming = Standing::Coming {
        from: "b".to_owned(),
        at: start + HANDOVER,
    };
    assert_eq!(at(0, 1), coming);
    assert_eq!(at(14, 2), coming);
    assert_eq!(at(15, 3), Standing::Ours);
    assert_eq!(at(20, 4), Standing::Ours, "and stays");
    // That a younger one appears is no reason to pause.
    let (mut claims, start) = (Claims::new("a"), Instant::now());
    claims.look([claim("a", 1, 1)], start);
    let listed = [claim("a", 1, 2), claim("b", 2, 2)];
    assert_eq!(claims.look(listed, start + seconds(5)), Standing::Ours);
}

#[test]
fn a_lease_that_is_made_anew_is_the_youngest() {
    let (mut claims, start) = (Claims::new("b"), Instant::now());
    claims.look([claim("a", 1, 1), claim("b", 2, 1)], start);
    let listed = || [claim("a", 3, 2), claim("b", 2, 2)];
    assert!(matches!(
        claims.look(listed(), start + seconds(5)),
        Standing::Coming { .. }
    ));
    let (mut claims, start) = (Claims::new("a"), Instant::now());
    claims.look([claim("a", 1, 1), claim("b", 2, 1)], start);
    assert_eq!(claims.look(listed(), start + seconds(5)), theirs("b"));
}

/// Three installations that look every five seconds, each at its own time, and come, crash, stop and go at any moment.
#[test]
fn two_never_have_it_at_once() {
    let start = Instant::now();
    for round in 0..500_u64 {
        let names = ["a", "b", "c"];
        let mut dice = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut roll = move |sides: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % sides
        };
        let mut claims: Vec<Option<Claims>> = vec![None, None, None];
        let mut leases: Vec<Option<Claim>> = vec![None, None, None];
        let mut standing = vec![Standing::Free; 3];
        for second in 0..300_u64 {
            let clock = i64::try_from(second).unwrap();
            for who in 0..3 {
                if roll(60) == 0 {
                    standing[who] = Standing::Free;
                    let is_clean = roll(2) == 0;
                    claims[who] = match claims[who].take() {
                        None => Some(Claims::new(names[who])),
                        Some(_) => {
                            if is_clean {
                                leases[who] = leases[who].take().map(given_back);
                            }
                            None
                        }
                    };
                }
                if claims[who].is_some() && second % 2 == 0 {
                    let created = leases[who].as_ref().map(|lease| lease.created.as_second());
                    leases[who] = Some(claim(names[who], created.unwrap_or(clock), clock));
                }
                if roll(200) == 0 && claims[who].is_none() {
                    leases[who] = None;
                }
                let turn = u64::try_from(who).unwrap() * 2;
                if let Some(claims) = claims[who].as_mut().filter(|_| (second + turn) % 5 == 0) {
                    standing[who] = claims.look(leases.iter().flatten().cloned(), start + seconds(second));
                }
            }
            let owners = standing.iter().filter(|one| **one == Standing::Ours).count();
            assert!(owners <= 1, "round {round}, second {second}: {standing:?}");
        }
    }
}
