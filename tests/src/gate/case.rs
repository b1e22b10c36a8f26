//! A case with its verdict: which answers, which requests at the upstream, and whether the connection ends.

use anyhow::{Context as _, Result, ensure};

use super::{Gate, report};
use crate::raw;
use crate::wire::Request;

/// What is sent on a connection of its own, and what is to come of it.
#[derive(Debug, Clone)]
pub struct Case {
    name: String,
    sent: String,
    end: End,
    answers: Vec<u16>,
    arrives: Vec<String>,
}

/// How the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The gateway closes it.
    Closed,
    /// It would go on: the client is the one who closes it, once it has its answers.
    GoesOn,
    /// The client closes its half at once, in the middle of a message.
    CutOff,
}

impl Case {
    /// One answer, after which the gateway closes the connection; nothing arrives.
    pub fn refused(name: impl Into<String>, status: u16, sent: impl Into<String>) -> Self {
        Self::new(name, sent, End::Closed, &[status])
    }

    /// One answer on a connection that may go on; nothing arrives.
    pub fn denied(name: impl Into<String>, status: u16, sent: impl Into<String>) -> Self {
        Self::new(name, sent, End::GoesOn, &[status])
    }

    /// One answer of 200; the upstream gets one request, with this request line.
    pub fn passed(name: impl Into<String>, line: &str, sent: impl Into<String>) -> Self {
        Self::new(name, sent, End::GoesOn, &[200]).arriving(&[line])
    }

    /// A message that its sender breaks off: no answer, or 400 where there was a head; nothing whole arrives.
    pub fn broken_off(name: impl Into<String>, sent: impl Into<String>) -> Self {
        Self::new(name, sent, End::CutOff, &[])
    }

    /// Some answers, after which the gateway closes the connection.
    pub fn answered(name: impl Into<String>, answers: &[u16], sent: impl Into<String>) -> Self {
        Self::new(name, sent, End::Closed, answers)
    }

    /// Request lines that arrive, in this order, and no others.
    #[must_use]
    pub fn arriving(mut self, lines: &[&str]) -> Self {
        self.arrives = lines.iter().map(|line| (*line).to_owned()).collect();
        self
    }

    /// More answers behind those.
    #[must_use]
    pub fn then(mut self, answers: &[u16]) -> Self {
        self.answers.extend(answers);
        self
    }

    fn new(name: impl Into<String>, sent: impl Into<String>, end: End, answers: &[u16]) -> Self {
        Self {
            name: name.into(),
            sent: sent.into(),
            end,
            answers: answers.to_vec(),
            arrives: Vec::new(),
        }
    }
}

impl Gate {
    /// Judges every case, and names all that fail.
    pub fn judge(&self, cases: &[Case]) {
        self.judge_with(cases, |_, _| Ok(()));
    }

    /// [`Self::judge`], with another look at each request that arrived.
    pub fn judge_with(&self, cases: &[Case], look: impl Fn(&Case, &Request) -> Result<()>) {
        println!("{} cases", cases.len());
        let judged = cases.iter().filter_map(|case| {
            let outcome = self.outcome(case);
            let looked =
                outcome.and_then(|requests| requests.iter().try_for_each(|request| look(case, request)));
            Some((case.name.as_str(), looked.err()?))
        });
        report(judged.collect());
    }

    fn outcome(&self, case: &Case) -> Result<Vec<Request>> {
        let answers = self.answers(case);
        let requests = self.good_request()?;
        let lines: Vec<String> = requests.iter().map(Request::line).collect();
        let answers = answers.with_context(|| format!("the upstream got {lines:?}"))?;
        let is_as_said = answers == case.answers || case.end == End::CutOff && answers == [400];
        ensure!(
            is_as_said && lines == case.arrives,
            "answers {answers:?} in place of {:?}, arrived {lines:?} in place of {:?}",
            case.answers,
            case.arrives
        );
        Ok(requests)
    }

    /// The statuses of all answers up to the end of the connection.
    fn answers(&self, case: &Case) -> Result<Vec<u16>> {
        let mut client = raw::Client::connect(self.stand.gateway.address())?;
        client.send(self.bytes(&case.sent))?;
        let mut statuses = Vec::new();
        if case.end == End::CutOff {
            client.finish()?;
        } else {
            for _ in &case.answers {
                statuses.extend(client.read()?.map(|answer| answer.status));
            }
        }
        if case.end == End::Closed {
            ensure!(client.closed()?, "after {statuses:?} the connection goes on");
            return Ok(statuses);
        }
        // It may be closed already.
        let _ = client.finish();
        while let Some(more) = client.read().ok().flatten() {
            statuses.push(more.status);
        }
        Ok(statuses)
    }
}
