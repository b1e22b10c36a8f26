//! Reads `bad_objects.yaml`: for the tests beside it, and for those that ask a real API server the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Good objects, and what makes them bad.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) bases: BTreeMap<String, Value>,
    pub(crate) cases: Vec<Case>,
}

/// One fault. See the head of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    base: String,
    #[serde(default)]
    with: BTreeMap<String, Value>,
    at: String,
    /// Nothing stands for taking the field out; null stands for null.
    #[serde(default, deserialize_with = "even_null")]
    bad: Option<Value>,
    good: Option<Value>,
    pub(crate) field: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

pub(crate) fn table() -> Table {
    serde_saphyr::from_str(include_str!("../bad_objects.yaml")).unwrap()
}

impl Case {
    /// The object with its fault.
    pub(crate) fn bad(&self, table: &Table) -> Value {
        self.object(table, self.bad.as_ref())
    }

    /// The object without it.
    pub(crate) fn good(&self, table: &Table) -> Value {
        self.object(table, self.good.as_ref())
    }

    fn object(&self, table: &Table, value: Option<&Value>) -> Value {
        let mut object = table.bases[&self.base].clone();
        for (pointer, value) in &self.with {
            set(&mut object, pointer, Some(value).filter(|value| !value.is_null()));
        }
        set(&mut object, &self.at, value);
        object
    }
}

fn set(object: &mut Value, pointer: &str, value: Option<&Value>) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match (object.pointer_mut(parent).unwrap(), value) {
        (Value::Object(map), Some(value)) => drop(map.insert(name.to_owned(), value.clone())),
        (Value::Object(map), None) => drop(map.remove(name)),
        (Value::Array(list), Some(value)) => list[name.parse::<usize>().unwrap()] = value.clone(),
        (parent, value) => panic!("{pointer}: {parent} {value:?}"),
    }
}
