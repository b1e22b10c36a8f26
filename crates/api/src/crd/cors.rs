use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HttpMethod;
use crate::{cel_rules::rules, patterns};

/// Whether a list that may hold `*` holds nothing beside it.
const ALONE: &str = "!('*' in self) || self.size() == 1";

/// What pages of other origins may do with a route: the fields of Gateway API's CORS filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!self.allowCredentials || (!('*' in self.allowOrigins) && (!has(self.allowMethods) || !('*' in self.allowMethods)) && \
     (!has(self.allowHeaders) || !('*' in self.allowHeaders)) && (!has(self.exposeHeaders) || !('*' in self.exposeHeaders)))",
    "allowCredentials needs names: browsers do not take `*` together with credentials",
)])))]
pub struct Cors {
    /// Whose pages: `https://app.example.com`, with a port where it is not the scheme's own; `https://*.example.com` for
    /// everything below a host; or `*` alone for everybody.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 267), regex(pattern = patterns::WEB_ORIGIN)),
        extend("x-kubernetes-list-type" = "set"),
        extend("x-kubernetes-validations" = rules(&[(ALONE, "`*` stands for all origins: it must be alone")]))
    )]
    pub allow_origins: Vec<String>,
    /// Whether browsers may add cookies and client certificates, and show answers to requests that have them. A token in
    /// `Authorization` does not need it.
    #[serde(default)]
    pub allow_credentials: bool,
    /// Methods that pages may use beside `GET`, `HEAD` and `POST`, which need no permission; or `*` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 7),
        extend("x-kubernetes-list-type" = "set"),
        extend("x-kubernetes-validations" = rules(&[(ALONE, "`*` stands for all methods: it must be alone")]))
    )]
    pub allow_methods: Vec<CorsMethod>,
    /// Headers that requests may have, `Authorization` among them; or `*` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 256), regex(pattern = patterns::HEADER_NAME_OR_ANY)),
        extend("x-kubernetes-list-type" = "set"),
        extend("x-kubernetes-validations" = rules(&[(ALONE, "`*` stands for all request headers: it must be alone")]))
    )]
    pub allow_headers: Vec<String>,
    /// Headers of answers that pages may read beside the few that they always may; or `*` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 256), regex(pattern = patterns::HEADER_NAME_OR_ANY)),
        extend("x-kubernetes-list-type" = "set"),
        extend("x-kubernetes-validations" = rules(&[(ALONE, "`*` stands for all response headers: it must be alone")]))
    )]
    pub expose_headers: Vec<String>,
    /// How long browsers may remember the answer to a preflight, in seconds.
    #[serde(default = "default_max_age")]
    #[schemars(range(min = 1, max = 86_400))]
    pub max_age: i32,
}

fn default_max_age() -> i32 {
    5
}

/// A method that pages may use, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // The names are the registered ones and say all there is to say.
pub enum CorsMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    #[serde(rename = "*")]
    Any,
}

impl CorsMethod {
    /// As it stands in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => HttpMethod::Get.name(),
            Self::Head => HttpMethod::Head.name(),
            Self::Post => HttpMethod::Post.name(),
            Self::Put => HttpMethod::Put.name(),
            Self::Patch => HttpMethod::Patch.name(),
            Self::Delete => HttpMethod::Delete.name(),
            Self::Options => HttpMethod::Options.name(),
            Self::Any => "*",
        }
    }
}
