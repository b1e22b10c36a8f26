//! From resources to what gateways serve: one function for the operator, for files, for `check` and for the demo.

mod backends;
mod certificates;
mod claims;
mod client_certificate;
mod cors;
mod issuer;
mod revision;
mod route;
mod rules;

use splittoken_routing::CompiledRoute;

use crate::{
    crd::SplitTokenRoute,
    field_error::FieldError,
    grants::Grants,
    installation::Installation,
    object::ObjectName,
    resources::Resources,
    services::Services,
    verdict::{Problem, Verdict},
};
use claims::Claims;
use issuer::Issuers;

/// What `compile` must know besides the resources.
#[derive(Clone, Copy)]
pub struct CompileOptions<'a> {
    /// The class to serve; objects of others are not looked at. `None` takes all, each class for itself.
    pub class: Option<&'a str>,
    /// What may be used here at all.
    pub installation: &'a Installation,
    /// Where Services are.
    pub services: &'a dyn Services,
    /// Which Services of other namespaces may be referred to.
    pub grants: &'a Grants,
    /// Keys the revisions, so that nobody can guess a weak secret from a revision that all may read.
    pub revision_key: &'a [u8; 32],
}

/// What `compile` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// What gateways serve, oldest first.
    pub routes: Vec<CompiledRoute>,
    /// One for each route and issuer of the class, sorted by object.
    pub verdicts: Vec<Verdict>,
}

/// Compiles the whole set. Never fails: what is wrong with an object is said in its own verdict and changes
/// nothing for any other.
///
/// Hostnames and exact paths that several routes want go to the older route, so routes are gone through by age
/// (`creationTimestamp`, which files do not have, then `namespace/name`).
pub fn compile(resources: &Resources, options: &CompileOptions<'_>) -> Compiled {
    let issuers = Issuers::resolve(resources, options);
    let mut verdicts = issuers.verdicts();
    let mut candidates = Vec::new();
    for (name, admitted) in &resources.routes {
        match admitted {
            Ok(route) if is_served(options, &route.spec.class_name) => candidates.push((name, route)),
            Err(refused) if is_served(options, &refused.class) => {
                verdicts.push(refusal(name, &refused.errors));
            }
            Ok(_) | Err(_) => {}
        }
    }
    candidates.sort_by_key(|(name, route)| (route::created(route), &name.namespace, &name.name));

    let mut claims = Claims::default();
    let mut routes = Vec::new();
    for (name, route) in candidates {
        let (compiled, verdict) = route::compile(name, route, &issuers, &mut claims, options);
        routes.extend(compiled);
        verdicts.push(verdict);
    }
    verdicts.sort_by(|a, b| a.object.cmp(&b.object));
    Compiled { routes, verdicts }
}

fn is_served(options: &CompileOptions<'_>, class: &str) -> bool {
    options.class.is_none_or(|served| served == class)
}

/// The verdict on an object that the schema refuses.
fn refusal(name: &ObjectName, errors: &[FieldError]) -> Verdict {
    let problems = errors.iter().cloned().map(Problem::from).collect();
    Verdict {
        object: name.clone(),
        generation: None,
        problems,
        warnings: Vec::new(),
    }
}

/// Where in a route a rule's field stands.
fn rule_field(index: usize, rest: &str) -> String {
    format!("spec.rules[{index}]{rest}")
}

/// The issuer that a route names, as an object name.
pub(crate) fn issuer_name(route: &SplitTokenRoute, namespace: &str) -> Option<ObjectName> {
    let reference = route.spec.issuer_ref.as_ref()?;
    let namespace = reference.namespace.as_deref().unwrap_or(namespace);
    Some(ObjectName::new("SplitTokenIssuer", namespace, &reference.name))
}

#[cfg(test)]
mod tests;
