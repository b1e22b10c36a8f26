use std::time::Instant;

use serde_json::{Value, json};
use splittoken_api::Resources;

use super::*;
use crate::{
    error::OperatorError,
    refusals::Failed,
    rendered::{self, Standing},
};

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "splittoken.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
    })
}

/// Routes, each with its issuer; one called `broken` leads to a Service that is not there.
fn compiled(routes: &[(&str, &str)]) -> Compiled {
    let mut resources = Resources::default();
    for (name, issuer) in routes {
        let spec = json!({"url": format!("https://{issuer}.example")});
        resources.put(&object("SplitTokenIssuer", issuer, &spec)).unwrap();
        let mut spec = json!({
            "hostnames": [format!("{name}.example")],
            "issuerRef": {"name": issuer},
            "tokenEndpoints": {"token": {}},
        });
        if *name == "broken" {
            spec["rules"] = json!([{"name": "api", "backendRefs": [{"name": "gone", "port": 80}]}]);
        }
        resources.put(&object("SplitTokenRoute", name, &spec)).unwrap();
    }
    let compiled = rendered::tests::compiled(&resources);
    assert_eq!(compiled.routes.len(), routes.len(), "{:?}", compiled.verdicts);
    compiled
}

fn route(name: &str) -> RouteName {
    RouteName {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

fn short<'n>(routes: impl IntoIterator<Item = &'n RouteName>) -> Vec<String> {
    routes.into_iter().map(|name| name.name.clone()).collect()
}

fn of(routes: &[&CompiledRoute]) -> Vec<String> {
    short(routes.iter().map(|route| &route.config.name))
}

/// Everything but these routes stands.
fn all_but(compiled: &Compiled, new: &[&str]) -> Existing {
    let names = compiled.routes.iter().map(|route| &route.config.name);
    let standing = names.filter(|name| !new.contains(&name.name.as_str()));
    Existing {
        configs: standing
            .map(|name| (wire::object_name(name), Standing::default()))
            .collect(),
        ..Existing::default()
    }
}

fn plan<'r>(compiled: &'r Compiled, configs: &[&str], secrets: &[&str]) -> Plan<'r> {
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Plan {
        apply: compiled.routes.iter().collect(),
        delete_configs: texts(configs),
        delete_secrets: texts(secrets),
    }
}

fn refused(name: &str) -> Refusals {
    let mut refusals = Refusals::default();
    let tried = Tried::Apply(wire::object_name(&route(name)));
    let failed = Failed::new(tried, "", Kind::Config, &OperatorError::LeaseLost);
    refusals.settle(vec![failed], &BTreeSet::new(), Instant::now());
    refusals
}

/// Carries a plan out in parts of so many, and gives what each of them does.
fn parts(turns: &Turns<'_>, at_most: usize) -> Vec<[Vec<String>; 4]> {
    let mut plan = plan(turns.compiled, &["x", "y"], &["x"]);
    let mut parts = Vec::new();
    loop {
        let (part, left) = turns.first(plan, at_most);
        parts.push([
            of(&part.apply_first),
            part.delete_configs.clone(),
            of(&part.apply_then),
            part.delete_secrets.clone(),
        ]);
        if left.is_nothing() {
            return parts;
        }
        let untried = left.untried();
        let deletions = |of: Kind| {
            let untried = untried.iter();
            untried
                .filter_map(|tried| match tried {
                    Tried::Delete(kind, name) if *kind == of => Some(name.clone()),
                    _ => None,
                })
                .collect()
        };
        let routes = turns.compiled.routes.iter();
        plan = Plan {
            apply: routes
                .filter(|route| left.routes.contains(&route.config.name))
                .collect(),
            delete_configs: deletions(Kind::Config),
            delete_secrets: deletions(Kind::Secret),
        };
        assert_eq!(plan.writes(), untried.len(), "nothing is forgotten");
    }
}

#[test]
fn what_takes_or_gives_goes_before_what_is_only_written_anew() {
    let compiled = compiled(&[
        ("a", "many"),
        ("b", "many"),
        ("broken", "many"),
        ("c", "few"),
        ("edited", "many"),
        ("new", "many"),
        ("refused", "few"),
    ]);
    let turns = Turns {
        compiled: &compiled,
        existing: &all_but(&compiled, &["new"]),
        edited: &BTreeSet::from(["edited", "refused"].map(route)),
        refusals: &refused("refused"),
    };
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let in_twos: Vec<[Vec<String>; 4]> = vec![
        [names(&[]), names(&["x", "y"]), names(&[]), names(&[])],
        [names(&["edited", "broken"]), names(&[]), names(&[]), names(&[])],
        [names(&["new"]), names(&[]), names(&["c"]), names(&[])],
        [names(&[]), names(&[]), names(&["a", "b"]), names(&[])],
        // The last part is done as one.
        [names(&["refused"]), names(&[]), names(&[]), names(&["x"])],
    ];
    assert_eq!(parts(&turns, 2), in_twos);
    let in_fives = parts(&turns, 5);
    assert_eq!(
        in_fives[0],
        [
            names(&["edited", "broken", "new"]),
            names(&["x", "y"]),
            names(&[]),
            names(&[])
        ]
    );
    let last = [
        names(&["a", "b", "c", "refused"]),
        names(&[]),
        names(&[]),
        names(&["x"]),
    ];
    assert_eq!(in_fives[1..], [last]);
}

#[test]
fn a_plan_that_fits_is_one_part_that_applies_before_it_deletes() {
    let compiled = compiled(&[("a", "many"), ("b", "many")]);
    let turns = Turns {
        compiled: &compiled,
        existing: &all_but(&compiled, &[]),
        edited: &BTreeSet::new(),
        refusals: &Refusals::default(),
    };
    let (part, left) = turns.first(plan(&compiled, &["x"], &["x"]), 4);
    assert_eq!(of(&part.apply_first), ["a", "b"]);
    assert!(part.apply_then.is_empty() && left.is_nothing());
    assert_eq!((part.delete_configs.len(), part.delete_secrets.len()), (1, 1));
}

#[test]
fn many_deletions_leave_room_for_routes() {
    let compiled = compiled(&[("a", "many"), ("b", "many")]);
    let turns = Turns {
        compiled: &compiled,
        existing: &all_but(&compiled, &[]),
        edited: &BTreeSet::from([route("b")]),
        refusals: &Refusals::default(),
    };
    let gone = ["v", "w", "x", "y", "z"];
    let (part, _) = turns.first(plan(&compiled, &gone, &[]), 4);
    assert_eq!(
        (of(&part.apply_first), part.delete_configs.len()),
        (vec!["b".to_owned()], 3)
    );
    let only_deletions = Plan {
        apply: Vec::new(),
        ..plan(&compiled, &gone, &[])
    };
    let (part, left) = turns.first(only_deletions, 4);
    assert_eq!((part.delete_configs.len(), left.untried().len()), (4, 1));
}

#[test]
fn no_part_is_larger_than_it_may_be() {
    let compiled = compiled(&[("a", "many"), ("b", "many"), ("c", "many")]);
    let turns = Turns {
        compiled: &compiled,
        existing: &all_but(&compiled, &["b"]),
        edited: &BTreeSet::new(),
        refusals: &Refusals::default(),
    };
    for at_most in 1..8 {
        for [first, configs, then, secrets] in parts(&turns, at_most) {
            assert!(first.len() + configs.len() + then.len() + secrets.len() <= at_most);
        }
    }
}
