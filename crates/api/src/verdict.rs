use crate::{closed_set, field_error::FieldError, object::ObjectName};

/// What is to be said about one object. Pure data: the operator makes a status of it, `check` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// About which object.
    pub object: ObjectName,
    /// The `metadata.generation` that was looked at.
    pub generation: Option<i64>,
    /// What keeps it, or a part of it, from being served.
    pub problems: Vec<Problem>,
    /// What somebody should know who reads its status.
    pub warnings: Vec<Warning>,
}

/// One thing that keeps an object, or a part of it, from being served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `spec.rules[0].backendRefs[0].name`.
    pub field: String,
    /// What kind of thing.
    pub reason: Reason,
    /// The thing in plain words. Never quotes a secret.
    pub message: String,
    /// It refers to something that was not given, and that may exist where the object is going to be.
    pub unresolved: bool,
}

/// Something to know about an object that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub field: String,
    /// What kind of thing.
    pub reason: WarningReason,
    /// The thing in plain words.
    pub message: String,
}

/// A condition of an object's status, still without a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionType,
    /// `True` or `False`.
    pub status: bool,
    /// Why.
    pub reason: Reason,
    /// The same in plain words.
    pub message: String,
}

/// The conditions that can be told from the resources alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The object is valid and none takes precedence over it.
    Accepted,
    /// Everything that it refers to is there and may be referred to.
    ResolvedRefs,
}

closed_set! {
    /// The reasons of conditions. A closed set: they are part of the API.
    pub enum Reason {
        /// All is well with `Accepted`.
        Accepted = "Accepted",
        /// The schema or one of its rules refuses it, or a value means nothing.
        Invalid = "Invalid",
        /// A value that this version, or this installation, does not serve.
        UnsupportedValue = "UnsupportedValue",
        /// A hostname belongs to another namespace.
        HostnameConflict = "HostnameConflict",
        /// The installation gives a hostname to other namespaces.
        HostnameNotAllowed = "HostnameNotAllowed",
        /// The installation does not serve routes of this namespace.
        NamespaceNotAllowed = "NamespaceNotAllowed",
        /// An exact path of an older route on the same host.
        PathConflict = "PathConflict",
        /// All is well with `ResolvedRefs`.
        ResolvedRefs = "ResolvedRefs",
        /// No such issuer of this class, or one that is not valid.
        IssuerNotFound = "IssuerNotFound",
        /// The issuer does not allow routes of this namespace.
        IssuerNotAllowed = "IssuerNotAllowed",
        /// No such Service.
        BackendNotFound = "BackendNotFound",
        /// An object of another namespace, without leave.
        RefNotPermitted = "RefNotPermitted",
        /// No such Secret, or not the entry that is needed.
        SecretNotFound = "SecretNotFound",
        /// No CA certificate, or one that is none.
        InvalidCertificate = "InvalidCertificate",
    }
}

closed_set! {
    /// The kinds of warning. A closed set.
    pub enum WarningReason {
        /// An ID token goes to clients whose `at_hash` covers a token that they never get.
        IdTokenPassThrough = "IdTokenPassThrough",
        /// Pages of other origins may call the API, but not with a token.
        CorsWithoutAuthorization = "CORSWithoutAuthorization",
        /// A provider is spoken to over plain HTTP, and not on this machine.
        PlainHttp = "PlainHTTP",
        /// An older rule matches exactly the same requests.
        ShadowedMatch = "ShadowedMatch",
        /// An older route has the same token endpoint, alike in everything.
        SharedTokenEndpoint = "SharedTokenEndpoint",
        /// An HMAC key shorter than its hash (RFC 7518 §3.2).
        ShortHmacKey = "ShortHMACKey",
        /// A rule whose backends all have the weight 0.
        NoWeight = "NoWeight",
    }
}

impl Verdict {
    /// Whether nothing keeps the object from being served in full.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether the object takes part at all.
    pub fn is_accepted(&self) -> bool {
        !self
            .problems
            .iter()
            .any(|p| p.reason.condition() == ConditionType::Accepted)
    }

    /// The conditions for its status. References of an object that is not valid are not looked at, nor those of one
    /// whose namespace is not served.
    pub fn conditions(&self) -> Vec<Condition> {
        let accepted = self.condition(ConditionType::Accepted);
        if matches!(accepted.reason, Reason::Invalid | Reason::NamespaceNotAllowed) {
            return vec![accepted];
        }
        vec![accepted, self.condition(ConditionType::ResolvedRefs)]
    }

    fn condition(&self, kind: ConditionType) -> Condition {
        let problems: Vec<_> = self
            .problems
            .iter()
            .filter(|p| p.reason.condition() == kind)
            .collect();
        let Some(first) = problems.first() else {
            let (reason, message) = match kind {
                ConditionType::Accepted => (Reason::Accepted, self.advice()),
                ConditionType::ResolvedRefs => (Reason::ResolvedRefs, String::new()),
            };
            return Condition {
                kind,
                status: true,
                reason,
                message,
            };
        };
        Condition {
            kind,
            status: false,
            reason: first.reason,
            message: summary(problems.iter().map(|p| (p.field.as_str(), p.message.as_str()))),
        }
    }

    /// The warnings that whoever owns the object can do something about.
    fn advice(&self) -> String {
        let warnings = self.warnings.iter().filter(|w| w.reason.asks_for_a_change());
        summary(warnings.map(|w| (w.field.as_str(), w.message.as_str())))
    }
}

/// A few lines in full and the number of the others: a status is no place for a thousand.
fn summary<'l>(all: impl Iterator<Item = (&'l str, &'l str)>) -> String {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = all
        .map(|(field, message)| format!("{field}: {message}"))
        .collect();
    if lines.len() > SHOWN {
        let more = format!("and {} more", lines.len() - SHOWN);
        lines.truncate(SHOWN);
        lines.push(more);
    }
    lines.join("; ")
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason,
            message: message.into(),
            unresolved: false,
        }
    }

    pub(crate) fn unresolved(field: impl Into<String>, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            unresolved: true,
            ..Self::new(field, reason, message)
        }
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::new(error.field, Reason::Invalid, error.message)
    }
}

impl WarningReason {
    /// Routes that share a token endpoint are alike in all that it does, and mostly so on purpose.
    fn asks_for_a_change(self) -> bool {
        self != Self::SharedTokenEndpoint
    }
}

impl Warning {
    pub(crate) fn new(field: impl Into<String>, reason: WarningReason, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason,
            message: message.into(),
        }
    }
}

impl ConditionType {
    /// As it stands in a status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
        }
    }
}

impl Reason {
    /// Which condition it belongs to.
    pub fn condition(self) -> ConditionType {
        match self {
            Self::Accepted
            | Self::Invalid
            | Self::UnsupportedValue
            | Self::HostnameConflict
            | Self::HostnameNotAllowed
            | Self::NamespaceNotAllowed
            | Self::PathConflict => ConditionType::Accepted,
            Self::ResolvedRefs
            | Self::IssuerNotFound
            | Self::IssuerNotAllowed
            | Self::BackendNotFound
            | Self::RefNotPermitted
            | Self::SecretNotFound
            | Self::InvalidCertificate => ConditionType::ResolvedRefs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(reasons: &[WarningReason]) -> Condition {
        let warning = |reason: &WarningReason| Warning::new("spec.rules[0]", *reason, reason.name());
        let verdict = Verdict {
            object: ObjectName::new("SplitTokenRoute", "shop", "orders"),
            generation: Some(1),
            problems: Vec::new(),
            warnings: reasons.iter().map(warning).collect(),
        };
        verdict.condition(ConditionType::Accepted)
    }

    #[test]
    fn what_is_accepted_says_what_its_owner_should_know() {
        assert_eq!(warned(&[]).message, "");
        assert_eq!(warned(&[WarningReason::SharedTokenEndpoint]).message, "");
        let one = warned(&[WarningReason::NoWeight]);
        assert!(one.status && one.reason == Reason::Accepted);
        assert_eq!(one.message, "spec.rules[0]: NoWeight");
        let many = warned(&[WarningReason::ShadowedMatch; 7]).message;
        assert!(many.ends_with("; and 2 more"), "{many}");
    }
}
