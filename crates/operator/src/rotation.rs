//! The keyring changes in three steps, none of which may be taken before every gateway has followed the last one:
//! a second key is added, all write with it, the first one goes.

use std::time::Duration;

use crate::{asking::Reports, pods::KeyringReport};

/// What the keyring's Secret says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The id of the key that is written.
    pub(crate) write: u8,
    /// The id of the other key, if there is one.
    pub(crate) other: Option<u8>,
    /// Somebody asked for a rotation that has not begun.
    pub(crate) is_wanted: bool,
    /// For how long the key that is written has been written; `None` where that is not known: before a switch.
    pub(crate) written_for: Option<Duration>,
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
    /// Write with the other key.
    Switch,
    /// Take the old key out.
    Drop,
}

/// Decides the next step. `longest` is the longest life of a token.
pub(crate) fn next(state: State, pods: &Reports, longest: Duration) -> Step {
    let Some(other) = state.other else {
        return if state.is_wanted { Step::Add } else { Step::Rest };
    };
    let everybody = |holds: &dyn Fn(&KeyringReport) -> bool| {
        !pods.is_empty()
            && pods
                .values()
                .all(|pod| pod.as_ref().is_some_and(|pod| holds(&pod.keyring)))
    };
    match state.written_for {
        // A pod that does not know a key refuses every token sealed with it.
        None if everybody(&|keyring| keyring.ids.contains(&other)) => Step::Switch,
        // A pod that still writes the old key makes tokens that live as long as any.
        Some(age) if age > longest && everybody(&|keyring| keyring.write == state.write) => Step::Drop,
        _ => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::Report;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn pods(keyrings: &[(u8, &[u8])]) -> Reports {
        let report = |(write, ids): &(u8, &[u8])| Report {
            keyring: KeyringReport {
                write: *write,
                ids: ids.to_vec(),
            },
            ..Report::default()
        };
        let reports = keyrings.iter().map(report).map(Some);
        reports
            .enumerate()
            .map(|(number, report)| (format!("pod-{number}"), report))
            .collect()
    }

    fn state(other: Option<u8>, is_wanted: bool, written_for: Option<Duration>) -> State {
        State {
            write: 1,
            other,
            is_wanted,
            written_for,
        }
    }

    #[test]
    fn each_step_waits_for_every_pod() {
        let (old, both, switched) = ((2, &[2][..]), (2, &[1, 2][..]), (1, &[1, 2][..]));
        let fresh = Some(Duration::from_secs(60));
        for (state, pods, expected) in [
            (state(None, false, None), pods(&[old]), Step::Rest),
            (state(None, true, None), pods(&[old]), Step::Add),
            (state(Some(2), false, None), pods(&[both, (1, &[1])]), Step::Wait),
            (state(Some(2), false, None), pods(&[]), Step::Wait),
            (state(Some(2), false, None), pods(&[both, both]), Step::Switch),
            (
                state(Some(2), false, fresh),
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
            assert_eq!(next(state, &pods, DAY), expected, "{state:?} {pods:?}");
        }
        let mut silent = pods(&[both]);
        silent.insert("silent".to_owned(), None);
        assert_eq!(next(state(Some(2), false, None), &silent, DAY), Step::Wait);
    }
}
