use std::collections::{BTreeMap, btree_map::Entry};

use serde_json::Value;

/// What a cluster's objects of one kind say, by namespace and name.
#[derive(Clone, Debug)]
pub(crate) struct ByName<T>(BTreeMap<(String, String), T>);

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> ByName<T> {
    /// Takes in what an object says, in place of what it said; nothing is as if it were not there. Says whether that
    /// changes anything.
    pub(crate) fn put(&mut self, raw: &Value, says: Option<T>) -> bool
    where
        T: PartialEq,
    {
        let text = |pointer| raw.pointer(pointer).and_then(Value::as_str);
        let (Some(namespace), Some(name)) = (text("/metadata/namespace"), text("/metadata/name")) else {
            return false;
        };
        let Some(says) = says else {
            return self.remove(namespace, name);
        };
        match self.0.entry((namespace.to_owned(), name.to_owned())) {
            Entry::Vacant(place) => {
                place.insert(says);
                true
            }
            Entry::Occupied(mut known) => {
                let is_new = *known.get() != says;
                known.insert(says);
                is_new
            }
        }
    }

    /// Forgets an object. Says whether it was known.
    pub(crate) fn remove(&mut self, namespace: &str, name: &str) -> bool {
        self.0.remove(&(namespace.to_owned(), name.to_owned())).is_some()
    }

    /// Forgets those that are not there any more. Says whether there was any.
    pub(crate) fn keep(&mut self, is_there: impl Fn(&str, &str) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|(namespace, name), _| is_there(namespace, name));
        self.0.len() < before
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&T> {
        self.0.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// All of one namespace.
    pub(crate) fn within<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a T> {
        let from = (namespace.to_owned(), String::new());
        let own = self
            .0
            .range(from..)
            .take_while(move |((of, _), _)| of == namespace);
        own.map(|(_, known)| known)
    }
}
