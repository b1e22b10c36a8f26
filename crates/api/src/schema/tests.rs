use kube_cel::CompiledSchema;
use serde_json::json;

use super::*;
use crate::{
    crd::{SplitTokenIssuer, SplitTokenRoute},
    field_error::FieldReason,
    generate,
};

fn schema() -> Schema {
    Schema::new(&json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": 3},
            "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 4},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1},
            "deep": {
                "type": "object",
                "default": {},
                "properties": {"inner": {"type": "string", "enum": ["A", "B"], "default": "A"}}
            },
            "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "maxItems": 3},
            "map": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}
            }
        },
        "x-kubernetes-validations": [{"rule": "self.count != 7", "message": "seven is taken"}]
    }))
    .unwrap()
}

fn errors(mut object: Value) -> Vec<(String, FieldReason)> {
    let result = schema().admit(&mut object);
    result
        .err()
        .into_iter()
        .flatten()
        .map(|e| (e.field, e.reason))
        .collect()
}

#[test]
fn defaults_fill_in_all_the_way_down_and_nulls_are_left_out() {
    let mut object = json!({"name": "a", "count": null, "labels": null});
    schema().admit(&mut object).unwrap();
    assert_eq!(object, json!({"name": "a", "count": 4, "deep": {"inner": "A"}}));
}

#[test]
fn every_fault_is_found_at_its_place() {
    let object = json!({
        "name": "four", "count": 10, "labels": {"a": "b", "c": 1}, "deep": {"inner": "C", "other": 1},
        "set": ["a", "b", "a", "d"], "map": [{"k": "a"}, {"k": "a"}, {}]
    });
    let mut expected = vec![
        ("name", FieldReason::Bounds),
        ("count", FieldReason::Bounds),
        ("labels", FieldReason::Bounds),
        ("labels.c", FieldReason::Type),
        ("deep.inner", FieldReason::Enum),
        ("deep.other", FieldReason::Unknown),
        ("set", FieldReason::Bounds),
        ("set[2]", FieldReason::Duplicate),
        ("map[1]", FieldReason::Duplicate),
        ("map[2].k", FieldReason::Required),
    ];
    expected.sort();
    let found = errors(object);
    let found: Vec<_> = found
        .iter()
        .map(|(field, reason)| (field.as_str(), *reason))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn numbers_are_whole_and_no_texts() {
    for bad in [json!(1.5), json!(1.0), json!("1"), json!(true), json!([1])] {
        assert_eq!(
            errors(json!({"name": "a", "count": bad})),
            [("count".to_owned(), FieldReason::Type)],
            "{bad}"
        );
    }
    let huge = json!({"name": "a", "count": u64::MAX});
    assert_eq!(errors(huge), [("count".to_owned(), FieldReason::Bounds)]);
    assert_eq!(
        errors(json!({"name": 1})),
        [("name".to_owned(), FieldReason::Type)]
    );
    assert_eq!(
        errors(json!({"name": "a", "set": [null]})),
        [("set[0]".to_owned(), FieldReason::Type)]
    );
}

#[test]
fn rules_run_over_the_defaulted_object() {
    assert_eq!(
        errors(json!({"name": "a", "count": 7})),
        [(String::new(), FieldReason::Rule)]
    );
    assert!(errors(json!({"name": "a", "count": 8})).is_empty());
}

#[test]
fn a_keyword_that_is_not_checked_is_no_schema() {
    for keyword in [
        "oneOf",
        "multipleOf",
        "nullable",
        "x-kubernetes-preserve-unknown-fields",
    ] {
        let error = Schema::new(&json!({"type": "object", keyword: true}))
            .err()
            .unwrap();
        assert!(error.to_string().contains(keyword), "{error}");
    }
}

#[test]
fn every_rule_of_the_crds_compiles() {
    fn count(schema: &CompiledSchema) -> usize {
        assert!(!schema.has_errors(), "{:?}", schema.compilation_errors());
        let below = schema
            .properties
            .values()
            .chain(schema.items.as_deref())
            .chain(schema.additional_properties.as_deref());
        schema.validations.len() + below.map(count).sum::<usize>()
    }
    for crd in [
        generate::crd::<SplitTokenRoute>().unwrap(),
        generate::crd::<SplitTokenIssuer>().unwrap(),
    ] {
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert!(count(&kube_cel::compile_schema(schema)) > 10);
        Schema::new(schema).unwrap();
    }
}

#[test]
fn rules_bite_in_entries_of_lists_and_maps() {
    let text =
        json!({"type": "string", "x-kubernetes-validations": [{"rule": "self != 'a'", "message": "no a"}]});
    let schema = json!({
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": text},
            "map": {"type": "object", "additionalProperties": text},
        },
    });
    let mut object = json!({"list": ["b", "a"], "map": {"x": "a", "y": "b"}});
    let errors = Schema::new(&schema).unwrap().admit(&mut object).unwrap_err();
    let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(fields, ["list[1]", "map.x"]);
}
