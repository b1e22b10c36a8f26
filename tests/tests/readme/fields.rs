//! The fields of the custom resources: `docs/configuration.md` and the schemas that the program prints say the same.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use splittoken_tests::gateway;
use splittoken_tests::markdown::table;

use super::document;

const PAGE: &str = "docs/configuration.md";

/// A field that somebody can write or read, as the tables name it.
#[derive(Debug, Clone, PartialEq)]
struct Field {
    schema: Value,
    is_required: bool,
}

type Fields = BTreeMap<String, Field>;

/// The schemas of `spec` and `status` of a kind, as the program prints them.
fn schemas(kind: &str) -> Result<(Value, Value)> {
    let output = gateway::run(&["crd"])?;
    ensure!(output.status.success(), "{output:?}");
    let crds: Vec<Value> = serde_saphyr::from_multiple(std::str::from_utf8(&output.stdout)?)?;
    let crd = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == kind);
    let version = &crd.with_context(|| kind.to_owned())?["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"]["properties"];
    Ok((schema["spec"].clone(), schema["status"].clone()))
}

/// Every list and every field that holds a value. What only groups others needs no row.
fn fields(schema: &Value) -> Fields {
    fn walk(name: &str, field: Field, found: &mut Fields) {
        let members = |of: &Value, prefix: &str, found: &mut Fields| {
            let required: Vec<&Value> = of["required"].as_array().into_iter().flatten().collect();
            for (member, schema) in of["properties"].as_object().into_iter().flatten() {
                let field = Field {
                    schema: schema.clone(),
                    is_required: required.iter().any(|name| *name == member),
                };
                walk(&format!("{prefix}{member}"), field, found);
            }
        };
        let schema = field.schema.clone();
        if schema["type"] == "array" {
            found.insert(format!("{name}[]"), field);
            members(&schema["items"], &format!("{name}[]."), found);
        } else if schema["properties"].is_object() {
            let prefix = if name.is_empty() {
                String::new()
            } else {
                format!("{name}.")
            };
            members(&schema, &prefix, found);
        } else {
            found.insert(name.to_owned(), field);
        }
    }
    let mut found = Fields::new();
    let whole = Field {
        schema: schema.clone(),
        is_required: true,
    };
    walk("", whole, &mut found);
    found
}

/// What stands between backticks.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What a schema fills in, as the tables write it.
fn default(field: &Field) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match &field.schema["default"] {
        Value::Null => Vec::new(),
        Value::Array(list) => list.iter().map(text).collect(),
        value => vec![text(value)],
    }
}

/// The values of a closed set that a field may have.
fn choices(field: &Field) -> Vec<&str> {
    let schema = &field.schema;
    // A list has them in its elements.
    let found = schema["enum"]
        .as_array()
        .or_else(|| schema["items"]["enum"].as_array());
    found.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn rows(first: &str) -> Result<BTreeMap<String, (String, String)>> {
    let mut rows = BTreeMap::new();
    for row in table(&document(PAGE)?, first) {
        let [name, default, meaning] = row.as_slice() else {
            anyhow::bail!("not three cells: {row:?}");
        };
        ensure!(!meaning.is_empty(), "{name} is not explained");
        let name = name.trim_matches('`').to_owned();
        let before = rows.insert(name.clone(), (default.clone(), meaning.clone()));
        ensure!(before.is_none(), "{name} is there twice");
    }
    ensure!(rows.len() > 5, "{first}: {rows:?}");
    Ok(rows)
}

fn names<V>(map: &BTreeMap<String, V>) -> BTreeSet<&str> {
    map.keys().map(String::as_str).collect()
}

/// Both ways: nothing is left out, nothing is made up, and what is filled in for whoever says nothing is what is said here.
fn agree(first: &str, fields: &Fields) -> Result<()> {
    let rows = rows(first)?;
    let missing: Vec<_> = names(fields).difference(&names(&rows)).copied().collect();
    let unknown: Vec<_> = names(&rows).difference(&names(fields)).copied().collect();
    ensure!(missing.is_empty(), "{first}: not in {PAGE}: {missing:#?}");
    ensure!(unknown.is_empty(), "{first}: there is no {unknown:#?}");
    for (name, field) in fields {
        let (said, meaning) = &rows[name];
        let expected = default(field);
        ensure!(
            (said == "required") == field.is_required,
            "{name} is required: {}, but {PAGE} says {said}",
            field.is_required
        );
        // The default of a list of objects is told in words.
        if !field.schema["items"]["properties"].is_object() {
            assert_eq!(code(said), expected, "{name}");
        }
        let named = [code(said), code(meaning)].concat();
        for choice in choices(field) {
            ensure!(named.contains(&choice), "{name}: {choice} is not in {named:?}");
        }
    }
    Ok(())
}

#[test]
fn every_field_of_an_issuer_is_in_its_table_with_its_default_and_no_other() -> Result<()> {
    agree(
        "field of `SplitTokenIssuer.spec`",
        &fields(&schemas("SplitTokenIssuer")?.0),
    )
}

#[test]
fn every_field_of_a_route_is_in_its_table_with_its_default_and_no_other() -> Result<()> {
    let mut all = fields(&schemas("SplitTokenRoute")?.0);
    // An issuer of the route's own is told in one row: its fields are those of the other kind, less what only that can have.
    let inline: Fields = all
        .iter()
        .filter_map(|(name, field)| Some((name.strip_prefix("issuer.")?.to_owned(), field.clone())))
        .collect();
    let mut shared = fields(&schemas("SplitTokenIssuer")?.0);
    shared.retain(|name, _| name != "className" && !name.starts_with("allowedRoutes."));
    assert_eq!(inline, shared);
    all.retain(|name, _| !name.starts_with("issuer."));
    let whole = Field {
        schema: Value::Null,
        is_required: false,
    };
    all.insert("issuer".to_owned(), whole);
    agree("field of `SplitTokenRoute.spec`", &all)
}

#[test]
fn every_field_of_a_status_is_in_its_table_and_no_other() -> Result<()> {
    let (route, issuer) = (
        fields(&schemas("SplitTokenRoute")?.1),
        fields(&schemas("SplitTokenIssuer")?.1),
    );
    let mut expected = BTreeMap::new();
    for name in names(&route).union(&names(&issuer)) {
        let of = match (route.contains_key(*name), issuer.contains_key(*name)) {
            (true, false) => "routes",
            (false, true) => "issuers",
            _ => "both",
        };
        expected.insert((*name).to_owned(), of.to_owned());
    }
    let said: BTreeMap<String, String> = rows("field of `status`")?
        .into_iter()
        .map(|(name, (of, _))| (name, of))
        .collect();
    assert_eq!(said, expected);
    Ok(())
}
