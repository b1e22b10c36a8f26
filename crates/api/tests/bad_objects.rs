//! Every object of `bad_objects.yaml` is refused for its reason, and accepted with the one change that mends it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a panic is how a failure is told"
)]

mod table;

use std::collections::BTreeSet;

use serde_json::Value;
use splittoken_api::{FieldError, admit_issuer, admit_route};
use table::table;

fn admit(object: &Value) -> Result<(), Vec<FieldError>> {
    match object["kind"].as_str() {
        Some("SplitTokenIssuer") => admit_issuer(object).map(drop),
        _ => admit_route(object).map(drop),
    }
}

#[test]
fn the_bases_are_good() {
    for (name, base) in table().bases {
        assert_eq!(admit(&base), Ok(()), "{name}");
    }
}

#[test]
fn every_case_bites_for_its_reason_and_for_no_other() {
    let table = table();
    for case in &table.cases {
        let errors = admit(&case.bad(&table)).expect_err(&case.name);
        let [error] = &errors[..] else {
            panic!("{}: {errors:#?}", case.name)
        };
        assert_eq!(
            (&*error.field, error.reason()),
            (&*case.field, &*case.reason),
            "{}: {error:?}",
            case.name
        );
        assert!(error.message.contains(&case.message), "{}: {error:?}", case.name);
    }
}

#[test]
fn every_case_passes_when_mended() {
    let table = table();
    for case in &table.cases {
        assert_eq!(admit(&case.good(&table)), Ok(()), "{}", case.name);
    }
}

/// A rule without a case is a rule that nobody has seen bite.
#[test]
fn every_rule_of_the_schema_has_a_case() {
    let mut messages = BTreeSet::new();
    for file in splittoken_api::crds().unwrap() {
        collect_messages(&serde_saphyr::from_str(&file.yaml).unwrap(), &mut messages);
    }
    assert!(messages.len() > 30, "{}", messages.len());
    let table = table();
    let rules: Vec<_> = table.cases.iter().filter(|case| case.reason == "rule").collect();
    for message in messages {
        assert!(
            rules.iter().any(|case| message.contains(&case.message)),
            "no case for: {message}"
        );
    }
}

fn collect_messages(node: &Value, messages: &mut BTreeSet<String>) {
    for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
        messages.insert(rule["message"].as_str().unwrap().to_owned());
    }
    match node {
        Value::Object(map) => map.values().for_each(|value| collect_messages(value, messages)),
        Value::Array(list) => list.iter().for_each(|value| collect_messages(value, messages)),
        _ => {}
    }
}

#[test]
fn all_faults_are_named_at_once() {
    let table = table();
    let mut object = table.bases["route"].clone();
    object["spec"]["hostnames"] = serde_json::json!(["A", "b:1"]);
    object["spec"]["rules"][0]["backendRefs"][0]["port"] = "x".into();
    object["metadata"]["name"] = "A".into();
    object["extra"] = 1.into();
    let fields: Vec<_> = admit(&object).unwrap_err().into_iter().map(|e| e.field).collect();
    let expected = [
        "metadata.name",
        "extra",
        "spec.hostnames[0]",
        "spec.hostnames[1]",
        "spec.rules[0].backendRefs[0].port",
    ];
    assert_eq!(fields, expected);
}
