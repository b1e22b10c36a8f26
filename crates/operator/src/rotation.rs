//! The keyring changes in three steps, none of which may be taken before every gateway has followed the last one:
//! a second key is added, all write with it, the first one goes.

use std::time::Duration;

use crate::{asking::Reports, pods::KeyringReport};

/// A key, without what makes it one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) id: u8,
    /// Tells it from another key of the same id, as of a keyring that was made anew.
    pub(crate) mark: String,
}

/// What the keyring's Secret says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The key that is written.
    pub(crate) write: Key,
    /// The other key, if there is one.
    pub(crate) other: Option<Key>,
    /// Somebody asked for a rotation that has not begun.
    pub(crate) is_wanted: bool,
    /// For how long the key that is written has been written; `None` where that is not known: before a switch.
    pub(crate) written_for: Option<Duration>,
    /// The longest life of a token that was seen since the second key came.
    pub(crate) longest: Option<Duration>,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Rest,
    /// Not yet: some gateway has not followed, or tokens of the old key live on.
    Wait,
    /// Add a key.
    Add,
    /// Note that tokens live as long as this: if that is shortened, those that are there live on.
    Remember(Duration),
    /// Write with the other key.
    Switch,
    /// Take the old key out.
    Drop,
}

/// Decides the next step. `longest` is the longest life of a token now; `None` while that is not known.
pub(crate) fn next(state: &State, pods: &Reports, longest: Option<Duration>) -> Step {
    let Some(other) = &state.other else {
        return if state.is_wanted { Step::Add } else { Step::Rest };
    };
    let everybody = |holds: &dyn Fn(&KeyringReport) -> bool| {
        !pods.is_empty()
            && pods
                .values()
                .all(|pod| pod.as_ref().is_some_and(|pod| holds(&pod.keyring)))
    };
    if let Some(longest) = longest.filter(|longest| state.longest.is_none_or(|known| known < *longest)) {
        return Step::Remember(longest);
    }
    match state.written_for {
        // A pod that does not know a key refuses every token sealed with it.
        None if everybody(&|keyring| keyring.holds(other)) => Step::Switch,
        // A pod that still writes the old key makes tokens that live as long as any.
        Some(age)
            if is_over(age, state.longest, longest) && everybody(&|keyring| keyring.writes(&state.write)) =>
        {
            Step::Drop
        }
        _ => Step::Wait,
    }
}

/// Whether no token of before the switch lives any more. As long as it is not known how long tokens live now, that is
/// not known either: they may live longer than any did before.
fn is_over(age: Duration, remembered: Option<Duration>, longest: Option<Duration>) -> bool {
    longest.is_some_and(|longest| age > longest.max(remembered.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pods::Report;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const FRESH: Option<Duration> = Some(Duration::from_secs(60));

    fn key(id: u8) -> Key {
        Key {
            id,
            mark: format!("key {id}"),
        }
    }

    /// Pods that write the first of these keys each.
    fn pods(keyrings: &[&[Key]]) -> Reports {
        let report = |keys: &&[Key]| Report {
            keyring: KeyringReport {
                write: keys[0].id,
                marks: keys.iter().map(|key| (key.id, key.mark.clone())).collect(),
            },
            ..Report::default()
        };
        let reports = keyrings.iter().map(report).map(Arc::new).map(Some);
        reports
            .enumerate()
            .map(|(number, report)| (format!("pod-{number}"), report))
            .collect()
    }

    fn state(other: Option<u8>, is_wanted: bool, written_for: Option<Duration>) -> State {
        State {
            write: key(1),
            other: other.map(key),
            is_wanted,
            written_for,
            longest: Some(DAY),
        }
    }

    #[test]
    fn each_step_waits_for_every_pod() {
        let (old, both, switched) = (&[key(1)][..], &[key(2), key(1)][..], &[key(1), key(2)][..]);
        for (state, pods, expected) in [
            (state(None, false, None), pods(&[old]), Step::Rest),
            (state(None, true, None), pods(&[old]), Step::Add),
            (state(Some(2), false, None), pods(&[switched, old]), Step::Wait),
            (state(Some(2), false, None), pods(&[]), Step::Wait),
            (
                state(Some(2), false, None),
                pods(&[switched, switched]),
                Step::Switch,
            ),
            (state(Some(2), true, None), pods(&[switched]), Step::Switch),
            (
                state(Some(2), false, FRESH),
                pods(&[switched, switched]),
                Step::Wait,
            ),
            (
                state(Some(2), false, Some(DAY * 2)),
                pods(&[switched, both]),
                Step::Wait,
            ),
            (
                state(Some(2), false, Some(DAY * 2)),
                pods(&[switched, switched]),
                Step::Drop,
            ),
        ] {
            assert_eq!(next(&state, &pods, Some(DAY)), expected, "{state:?} {pods:?}");
        }
        let mut silent = pods(&[switched]);
        silent.insert("silent".to_owned(), None);
        assert_eq!(next(&state(Some(2), false, None), &silent, Some(DAY)), Step::Wait);
    }

    #[test]
    fn another_key_of_the_same_id_is_another_key() {
        let stranger = |id| Key {
            mark: "of another keyring".to_owned(),
            ..key(id)
        };
        let before = state(Some(2), false, None);
        let pod = pods(&[&[key(1), stranger(2)]]);
        assert_eq!(next(&before, &pod, Some(DAY)), Step::Wait);
        let after = state(Some(2), false, Some(DAY * 2));
        let pod = pods(&[&[stranger(1), key(2)]]);
        assert_eq!(next(&after, &pod, Some(DAY)), Step::Wait);
    }

    #[test]
    fn an_old_key_goes_when_the_longest_life_that_was_ever_seen_is_over() {
        let pods = pods(&[&[key(1), key(2)]]);
        let after = |age, longest| State {
            longest,
            ..state(Some(2), false, Some(age))
        };
        for (age, remembered, longest, expected) in [
            // After a restart, before the routes were looked at.
            (DAY * 9, Some(DAY), None, Step::Wait),
            (DAY * 9, None, None, Step::Wait),
            (DAY * 9, None, Some(DAY), Step::Remember(DAY)),
            (DAY * 2, Some(DAY), Some(DAY * 3), Step::Remember(DAY * 3)),
            // It was shortened meanwhile.
            (DAY * 2, Some(DAY * 3), Some(DAY), Step::Wait),
            (DAY * 4, Some(DAY * 3), Some(DAY), Step::Drop),
        ] {
            assert_eq!(
                next(&after(age, remembered), &pods, longest),
                expected,
                "{age:?} {remembered:?} {longest:?}"
            );
        }
    }
}
