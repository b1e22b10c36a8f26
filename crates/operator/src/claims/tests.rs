use super::*;

const LIFE: Duration = Duration::from_secs(15);

/// What the operator knows that [`claim`] names.
fn seen_by(namespace: &str) -> Claims {
    Claims::new(namespace, &format!("operator of {namespace}"))
}

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
    let (mut claims, start) = (seen_by("a"), Instant::now());
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
        let mut claims = seen_by("m");
        let listed = others.into_iter().chain([claim("m", ours, 1)]);
        assert_eq!(claims.look(listed, Instant::now()), theirs(expected));
    }
    // One that has not got its own Lease yet is the youngest.
    let mut claims = seen_by("a");
    assert_eq!(
        claims.look([claim("b", 9, 1)], Instant::now()),
        theirs("b"),
        "our own comes later"
    );
}

/// Whatever its timestamps say: they are of another machine.
#[test]
fn a_lease_is_alive_while_changes_of_it_are_seen() {
    let (mut claims, start) = (seen_by("b"), Instant::now());
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
        let (mut claims, start) = (seen_by("b"), Instant::now());
        claims.look([renewed.clone(), claim("b", 2, 1)], start);
        let mut at = |second: u64| {
            let own = claim("b", 2, i64::try_from(second).unwrap() + 2);
            claims.look(after.iter().cloned().chain([own]), start + seconds(second))
        };
        assert_eq!(at(20), theirs("a"), "its operator may be replaced just now");
        assert_eq!(at(25), theirs("a"));
        assert_eq!(at(26), Standing::Ours, "nobody writes: at once");
        assert_eq!(at(31), Standing::Ours, "and it stays so");
    }
}

#[test]
fn one_that_comes_back_waits_until_the_other_has_seen_it() {
    let (mut claims, start) = (seen_by("a"), Instant::now());
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
    let (mut claims, start) = (seen_by("a"), Instant::now());
    claims.look([claim("a", 1, 1)], start);
    let listed = [claim("a", 1, 2), claim("b", 2, 2)];
    assert_eq!(claims.look(listed, start + seconds(5)), Standing::Ours);
}

/// What one that crashed has left, nobody else takes for alive by then.
#[test]
fn the_own_lease_counts_once_somebody_holds_it() {
    let held_by = |holder: &str, renewals| Claim {
        holder: holder.to_owned(),
        ..claim("a", 1, renewals)
    };
    let (mut claims, start) = (seen_by("a"), Instant::now());
    assert_eq!(
        claims.look([held_by("crashed", 1), claim("b", 2, 1)], start),
        Standing::Free,
        "it is the oldest, and soon held again"
    );
    // If it is not, the other one has the class.
    let mut idle = seen_by("a");
    idle.look([held_by("crashed", 1), claim("b", 2, 1)], start);
    let later = [held_by("crashed", 1), claim("b", 2, 9)];
    assert_eq!(idle.look(later, start + seconds(26)), theirs("b"));
    // Another one of ours has it.
    let listed = [held_by("another", 2), claim("b", 2, 2)];
    assert!(matches!(
        claims.look(listed, start + seconds(5)),
        Standing::Coming { .. }
    ));
}

#[test]
fn a_lease_that_is_made_anew_is_the_youngest() {
    let (mut claims, start) = (seen_by("b"), Instant::now());
    claims.look([claim("a", 1, 1), claim("b", 2, 1)], start);
    let listed = || [claim("a", 3, 2), claim("b", 2, 2)];
    assert!(matches!(
        claims.look(listed(), start + seconds(5)),
        Standing::Coming { .. }
    ));
    let (mut claims, start) = (seen_by("a"), Instant::now());
    claims.look([claim("a", 1, 1), claim("b", 2, 1)], start);
    assert_eq!(claims.look(listed(), start + seconds(5)), theirs("b"));
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// An installation, whose operator may be down.
struct Player {
    name: &'static str,
    operator: Option<Claims>,
    lease: Option<Claim>,
    standing: Standing,
    looks_at: u64,
    /// When it may take its own Lease: at once, unless one that crashed has it.
    holds_at: u64,
}

impl Player {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            operator: None,
            lease: None,
            standing: Standing::Free,
            looks_at: 0,
            holds_at: 0,
        }
    }

    /// Starts, stops or crashes, or is removed while it is down.
    fn fate(&mut self, second: u64, dice: &mut Dice) {
        if dice.roll(60) == 0 {
            self.standing = Standing::Free;
            if self.operator.take().is_none() {
                self.operator = Some(Claims::new(self.name, &second.to_string()));
                self.looks_at = second;
                let is_held = self.lease.as_ref().is_some_and(|lease| !lease.holder.is_empty());
                self.holds_at = second + if is_held { LIFE.as_secs() } else { 0 };
            } else if dice.roll(2) == 0 {
                self.lease = self.lease.take().map(given_back);
            }
        }
        if self.operator.is_none() && dice.roll(200) == 0 {
            self.lease = None;
        }
    }

    fn renew(&mut self, second: u64) {
        let Some(claims) = self.operator.as_ref().filter(|_| self.holds_at <= second) else {
            return;
        };
        if second.is_multiple_of(2) {
            let now = i64::try_from(second).unwrap();
            let created = self.lease.as_ref().map(|lease| lease.created.as_second());
            self.lease = Some(Claim {
                holder: claims.me.clone(),
                ..claim(self.name, created.unwrap_or(now), now)
            });
        }
    }

    /// Looks, and again some time later, but within the time of a handover.
    fn look(&mut self, leases: &[Claim], start: Instant, second: u64, dice: &mut Dice) {
        if let Some(claims) = self.operator.as_mut().filter(|_| self.looks_at <= second) {
            self.standing = claims.look(leases.iter().cloned(), start + seconds(second));
            self.looks_at = second + 1 + dice.roll(HANDOVER.as_secs() - 1);
        }
    }
}

/// Whenever they start, stop, crash and are removed; and left alone, one of those that run has it soon.
#[test]
fn two_never_have_it_at_once() {
    let start = Instant::now();
    for round in 1..500_u64 {
        let mut dice = Dice(round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut players = ["a", "b", "c"].map(Player::new);
        for second in 0..400 {
            for one in 0..players.len() {
                if second < 300 {
                    players[one].fate(second, &mut dice);
                }
                players[one].renew(second);
                let leases: Vec<Claim> = players.iter().filter_map(|player| player.lease.clone()).collect();
                players[one].look(&leases, start, second, &mut dice);
            }
            let owners = players
                .iter()
                .filter(|player| player.standing == Standing::Ours)
                .count();
            assert!(owners <= 1, "round {round}, second {second}");
            let is_quiet = second == 399 && players.iter().any(|player| player.operator.is_some());
            assert!(!is_quiet || owners == 1, "round {round}: nobody has it");
        }
    }
}
