//! Gateway API's `ReferenceGrant`: a namespace lets others refer to what is in it.

use serde_json::Value;

use crate::{by_name::ByName, crd::GROUP};

/// The grants of a cluster, as far as routes need them.
#[derive(Clone, Debug, Default)]
pub struct Grants(ByName<Vec<Grant>>);

/// Routes of one namespace may refer to Services of the grant's own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    from: String,
    /// `None` means all of them.
    service: Option<String>,
}

impl Grants {
    /// Takes in a `ReferenceGrant`, in place of the one that had its name. Says whether that changes anything.
    pub fn put(&mut self, raw: &Value) -> bool {
        let grants = read(&raw["spec"]);
        self.0.put(raw, (!grants.is_empty()).then_some(grants))
    }

    /// Forgets a grant. Says whether it was known.
    pub fn remove(&mut self, namespace: &str, name: &str) -> bool {
        self.0.remove(namespace, name)
    }

    /// Forgets those that are not there any more. Says whether there was any.
    pub fn keep(&mut self, is_there: impl Fn(&str, &str) -> bool) -> bool {
        self.0.keep(is_there)
    }

    /// Whether routes of namespace `from` may refer to the Service.
    pub(crate) fn allow(&self, from: &str, namespace: &str, service: &str) -> bool {
        let mut own = self.0.within(namespace).flatten();
        own.any(|grant| grant.from == from && grant.service.as_deref().is_none_or(|named| named == service))
    }
}

/// Every pair of a `from` that is a route's namespace and a `to` that is a Service. What is malformed grants nothing.
fn read(spec: &Value) -> Vec<Grant> {
    let list = |name: &str| spec[name].as_array().into_iter().flatten();
    let is = |entry: &Value, group: &str, kind: &str| entry["group"] == group && entry["kind"] == kind;
    let from = list("from").filter(|from| is(from, GROUP, "SplitTokenRoute"));
    let from = from.filter_map(|from| from["namespace"].as_str());
    from.flat_map(|from| {
        let to = list("to").filter(|to| is(to, "", "Service"));
        to.map(|to| Grant {
            from: from.to_owned(),
            // An empty name is one that is left out, as the API server sees it.
            service: to["name"]
                .as_str()
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        })
        .collect::<Vec<_>>()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grant(from: &Value, to: &Value) -> Value {
        json!({"metadata": {"namespace": "backends", "name": "grant"}, "spec": {"from": from, "to": to}})
    }

    fn route_of(namespace: &str) -> Value {
        json!({"group": GROUP, "kind": "SplitTokenRoute", "namespace": namespace})
    }

    #[test]
    fn a_grant_is_for_one_namespace_and_one_kind() {
        let service = json!({"group": "", "kind": "Service"});
        let named = json!({"group": "", "kind": "Service", "name": "orders"});
        let http = json!({"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"});
        let secret = json!({"group": "", "kind": "Secret"});
        for (from, to, orders, other) in [
            (route_of("shop"), service.clone(), true, true),
            (route_of("shop"), named, true, false),
            (route_of("elsewhere"), service.clone(), false, false),
            (http, service, false, false),
            (route_of("shop"), secret, false, false),
        ] {
            let mut grants = Grants::default();
            grants.put(&grant(&json!([from]), &json!([to])));
            assert_eq!(grants.allow("shop", "backends", "orders"), orders, "{from} {to}");
            assert_eq!(grants.allow("shop", "backends", "other"), other, "{from} {to}");
            assert!(!grants.allow("shop", "backend", "orders"), "another namespace");
        }
    }

    #[test]
    fn what_goes_grants_nothing_and_what_is_malformed_never_did() {
        let mut grants = Grants::default();
        let good = grant(
            &json!([route_of("shop")]),
            &json!([{"group": "", "kind": "Service"}]),
        );
        assert!(grants.put(&good));
        assert!(!grants.put(&good), "nothing new");
        assert!(grants.remove("backends", "grant"));
        assert!(!grants.allow("shop", "backends", "orders"));
        assert!(!grants.put(&grant(&json!("all"), &json!(null))));
        assert!(!grants.put(&json!({"spec": 5})));
        assert!(grants.put(&good));
        let emptied = grant(&json!([]), &json!([]));
        assert!(grants.put(&emptied), "it granted something before");
        assert!(!grants.allow("shop", "backends", "orders"));
        assert!(!grants.put(&emptied) && !grants.remove("backends", "grant"));
    }
}
