use splittoken_routing::{AllowedOrigin, Cors};

use crate::{
    crd,
    verdict::{Problem, Reason},
};

/// The compiled form. Only an origin can be a problem: the schema does not see whether a port is too large, say.
pub(super) fn compile(from: &crd::Cors, problems: &mut Vec<Problem>) -> Cors {
    let mut allow_origins = Vec::new();
    for (index, text) in from.allow_origins.iter().enumerate() {
        match AllowedOrigin::parse(text) {
            Ok(origin) => allow_origins.push(origin),
            Err(error) => {
                let field = format!("spec.cors.allowOrigins[{index}]");
                problems.push(Problem::new(field, Reason::Invalid, error.to_string()));
            }
        }
    }
    Cors {
        allow_origins,
        allow_credentials: from.allow_credentials,
        allow_methods: from
            .allow_methods
            .iter()
            .map(|method| method.name().to_owned())
            .collect(),
        allow_headers: from.allow_headers.clone(),
        expose_headers: from.expose_headers.clone(),
        max_age: u32::try_from(from.max_age).unwrap_or(0),
    }
}
