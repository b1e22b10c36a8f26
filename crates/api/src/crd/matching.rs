use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel_rules::rules, patterns};

/// One way to match a request. All that it names must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleMatch {
    /// The path.
    #[serde(default)]
    pub path: PathMatch,
    /// Any of these methods; all if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub methods: Vec<HttpMethod>,
    /// Headers that must be there with exactly these values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub headers: Vec<HeaderMatch>,
}

/// How a path matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "!self.value.contains('//') && !(self.value + '/').contains('/./') && !(self.value + '/').contains('/../')",
        "value must be canonical: no `//`, no dot segments",
    ),
])))]
pub struct PathMatch {
    /// `PathPrefix` matches whole segments, `Exact` the same bytes.
    #[serde(default, rename = "type")]
    pub kind: PathMatchType,
    /// An absolute path.
    #[serde(default = "root_path")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = patterns::PATH))]
    pub value: String,
}

impl Default for PathMatch {
    fn default() -> Self {
        Self {
            kind: PathMatchType::PathPrefix,
            value: root_path(),
        }
    }
}

fn root_path() -> String {
    "/".into()
}

/// How a path matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// Whole segments from the start.
    #[default]
    PathPrefix,
    /// The same bytes.
    Exact,
}

/// The methods that a gateway lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // The names are the registered ones and say all there is to say.
pub enum HttpMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl HttpMethod {
    /// The registered name (RFC 9110 §9.1, RFC 5789).
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

/// A header that must be there with this value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderMatch {
    /// Compared without case.
    #[schemars(length(min = 1, max = 256), regex(pattern = patterns::HEADER_NAME))]
    pub name: String,
    /// Compared byte for byte.
    #[schemars(length(min = 1, max = 4096), regex(pattern = patterns::HEADER_VALUE))]
    pub value: String,
}
