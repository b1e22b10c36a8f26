use std::fmt;

use thiserror::Error;

/// What is wrong with one field of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// Where, as Kubernetes writes it: `spec.rules[0].matches[1].path.value`.
    pub field: String,
    /// What kind of fault.
    pub reason: FieldReason,
    /// The fault in plain words. Never quotes a value.
    pub message: String,
}

/// The kinds of fault a field can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldReason {
    /// It is missing.
    Required,
    /// No such field exists.
    Unknown,
    /// It has another JSON type.
    Type,
    /// It is none of the values that are allowed.
    Enum,
    /// Its text does not have the form it should have.
    Pattern,
    /// It is too short, too long, too small or too large, or has too few or too many entries.
    Bounds,
    /// An entry of a list is there twice.
    Duplicate,
    /// It breaks a rule over several fields.
    Rule,
    /// The object is of a version or kind that does not exist.
    Version,
}

impl FieldReason {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Unknown => "unknown_field",
            Self::Type => "type",
            Self::Enum => "enum",
            Self::Pattern => "pattern",
            Self::Bounds => "bounds",
            Self::Duplicate => "duplicate",
            Self::Rule => "rule",
            Self::Version => "version",
        }
    }
}

impl fmt::Display for FieldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, reason: FieldReason, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason,
            message: message.into(),
        }
    }

    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        self.reason.reason()
    }
}
