use serde_json::json;
use splittoken_api::Installation;

use super::*;

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "splittoken.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "generation": 1, "uid": format!("uid-{name}")},
        "spec": spec,
    })
}

fn references(world: &World) -> BTreeSet<ObjectName> {
    let open = Installation::default();
    world.resources.references("default", &open)
}

fn route(name: &str) -> Value {
    object(
        "SplitTokenRoute",
        name,
        &json!({
            "hostnames": [format!("{name}.example")],
            "issuer": {"url": "https://iam.example", "algorithms": ["HS256"], "hmacSecretRef": {"name": name}},
            "tokenEndpoints": {"token": {}},
        }),
    )
}

fn issuer(name: &str) -> Value {
    object(
        "SplitTokenIssuer",
        name,
        &json!({"url": "https://iam.example", "algorithms": ["HS256"], "hmacSecretRef": {"name": name}}),
    )
}

/// One of a kind without group, with what this kind is looked at for.
fn plain(kind: Kind, name: &str) -> Value {
    let (api_version, kind_name) = kind.type_meta();
    let mut raw = json!({
        "apiVersion": api_version, "kind": kind_name, "metadata": {"name": name, "namespace": "shop"},
    });
    match kind {
        Kind::Service => {
            raw["spec"] = json!({"clusterIP": "10.0.0.1", "selector": {"a": "b"}, "ports": [{"port": 80}]});
        }
        Kind::Grant => {
            raw["spec"] = json!({
                "from": [{"group": "splittoken.dev", "kind": "SplitTokenRoute", "namespace": "a"}],
                "to": [{"group": "", "kind": "Service"}],
            });
        }
        Kind::Pod => {
            raw["status"] = json!({"podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]});
        }
        Kind::Config => raw["data"] = json!({"route.json": "a route"}),
        Kind::Secret => raw["data"] = json!({"secrets.json": "c2VjcmV0"}),
        _ => {}
    }
    raw
}

fn one(kind: Kind, name: &str) -> Value {
    match kind {
        Kind::Route => route(name),
        Kind::Issuer => issuer(name),
        _ => plain(kind, name),
    }
}

/// A whole list, as a watch tells of it. Says whether anything is new.
fn list(world: &mut World, kind: Kind, objects: Vec<Value>) -> bool {
    let text = |raw: &Value, field: &str| raw["metadata"][field].as_str().unwrap_or_default().to_owned();
    let keys = objects.iter().map(|raw| {
        let namespace = if kind == Kind::Namespace {
            String::new()
        } else {
            text(raw, "namespace")
        };
        (namespace, text(raw, "name"))
    });
    let keys = keys.collect();
    let news: Vec<bool> = objects
        .into_iter()
        .map(|raw| world.apply(Change::Put(kind, raw)))
        .collect();
    world.apply(Change::Only(kind, keys)) || news.contains(&true)
}

/// Everything that is known, as text: what two worlds have in common they show alike.
fn shown(world: &World) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        world.objects.keys().collect::<Vec<_>>(),
        world.resources,
        world.services,
        world.grants,
        world.pods,
        world
            .existing
            .configs
            .keys()
            .chain(world.existing.secrets.keys())
            .collect::<Vec<_>>(),
    )
}

#[test]
fn of_every_kind_what_comes_is_known_and_what_goes_is_not() {
    for kind in Kind::ALL {
        let mut world = World::default();
        let empty = shown(&world);
        assert!(world.apply(Change::Put(kind, one(kind, "a"))), "{kind:?}");
        let with_one = shown(&world);
        assert_ne!(with_one, empty, "{kind:?}");
        assert!(world.apply(Change::Gone(kind, one(kind, "a"))), "{kind:?}");
        assert_eq!(shown(&world), empty, "{kind:?}");
        assert!(
            !world.apply(Change::Gone(kind, one(kind, "a"))),
            "{kind:?}: gone twice"
        );
    }
}

#[test]
fn of_every_kind_a_new_list_takes_away_what_is_not_in_it() {
    for kind in Kind::ALL {
        let mut world = World::default();
        list(&mut world, kind, vec![one(kind, "b")]);
        let only_b = shown(&world);
        let mut world = World::default();
        // Another kind's objects are none of this list's business.
        list(&mut world, kind, vec![one(kind, "a"), one(kind, "b")]);
        assert_ne!(shown(&world), only_b, "{kind:?}");
        assert!(list(&mut world, kind, vec![one(kind, "b")]), "{kind:?}");
        assert_eq!(shown(&world), only_b, "{kind:?}");
    }
}

#[test]
fn a_list_of_routes_leaves_the_issuers() {
    let mut world = World::default();
    world.apply(Change::Put(Kind::Issuer, issuer("login")));
    list(&mut world, Kind::Route, vec![route("orders")]);
    list(&mut world, Kind::Route, vec![]);
    let left: Vec<String> = world.objects.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["SplitTokenIssuer/shop/login"]);
    assert_eq!(references(&world).len(), 1);
}

/// We write statuses ourselves: if that were news, every write would make the next.
#[test]
fn a_status_is_remembered_but_changes_nothing() {
    let mut world = World::default();
    let mut raw = route("orders");
    assert!(world.apply(Change::Put(Kind::Route, raw.clone())));
    raw["status"] = json!({"observedGeneration": 1});
    raw["metadata"]["resourceVersion"] = json!("7");
    assert!(!world.apply(Change::Put(Kind::Route, raw.clone())));
    let name = ObjectName::of(&raw).unwrap();
    assert_eq!(world.objects[&name].status(), raw["status"]);

    raw["metadata"]["generation"] = json!(2);
    assert!(world.apply(Change::Put(Kind::Route, raw.clone())), "an edit");
    raw["metadata"]["annotations"] = json!({"look": "again"});
    assert!(world.apply(Change::Put(Kind::Route, raw.clone())), "a touch");
    raw["metadata"]["uid"] = json!("another");
    assert!(
        world.apply(Change::Put(Kind::Route, raw)),
        "deleted and made anew"
    );
}

#[test]
fn a_pod_that_is_no_longer_ready_is_gone() {
    let mut world = World::default();
    let mut pod = plain(Kind::Pod, "a");
    assert!(world.apply(Change::Put(Kind::Pod, pod.clone())));
    assert!(!world.apply(Change::Put(Kind::Pod, pod.clone())), "nothing new");
    pod["status"]["conditions"][0]["status"] = json!("False");
    assert!(world.apply(Change::Put(Kind::Pod, pod)));
    assert!(world.pods.is_empty());
}

#[test]
fn an_edit_that_cannot_be_looked_at_takes_its_predecessor_along() {
    let mut world = World::default();
    world.apply(Change::Put(Kind::Route, route("orders")));
    assert_eq!(references(&world).len(), 1);
    let mut later = route("orders");
    later["apiVersion"] = json!("splittoken.dev/v2");
    later["metadata"]["generation"] = json!(2);
    assert!(world.apply(Change::Put(Kind::Route, later)));
    assert!(references(&world).is_empty());
}

/// Clusters are full of Services and namespaces that change all the time.
#[test]
fn only_what_routes_lead_to_is_a_reason_to_look_at_them() {
    let mut raw = route("orders");
    raw["spec"]["rules"] = json!([
        {"name": "own", "backendRefs": [{"name": "near", "port": 80}]},
        {"name": "other", "backendRefs": [{"name": "far", "namespace": "depot", "port": 80}, {"url": "http://a.example"}]},
    ]);
    let mut world = World::default();
    let service = |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name}});
    let near = Change::Put(Kind::Service, service("shop", "near"));
    assert!(!world.is_of_use(&near), "there is no route yet");
    assert!(world.apply(Change::Put(Kind::Route, raw)));
    for (namespace, name, expected) in [
        ("shop", "near", true),
        ("depot", "far", true),
        ("shop", "far", false),
        ("depot", "near", false),
        ("shop", "", false),
    ] {
        for change in [Change::Put, Change::Gone] {
            let change = change(Kind::Service, service(namespace, name));
            assert_eq!(world.is_of_use(&change), expected, "{change:?}");
        }
    }
    for (name, expected) in [("shop", true), ("depot", false)] {
        let change = Change::Put(Kind::Namespace, json!({"metadata": {"name": name}}));
        assert_eq!(world.is_of_use(&change), expected, "{name}");
    }
    assert!(!world.is_of_use(&Change::Put(Kind::Pod, plain(Kind::Pod, "a"))));
    assert!(world.is_of_use(&Change::Put(Kind::Issuer, issuer("login"))));
}

#[test]
fn a_namespace_is_its_labels() {
    let mut world = World::default();
    let namespace = |labels: Value, notes: Value| {
        let mut raw = plain(Kind::Namespace, "shop");
        raw["metadata"] = json!({"name": "shop", "labels": labels, "annotations": notes});
        Change::Put(Kind::Namespace, raw)
    };
    assert!(world.apply(namespace(json!({}), json!({}))));
    assert!(!world.apply(namespace(json!({}), json!({"a": "b"}))));
    assert!(world.apply(namespace(json!({"team": "shop"}), json!({}))));
    assert!(world.apply(namespace(json!({"team": "depot"}), json!({}))));
}

#[test]
fn what_is_malformed_stops_nothing() {
    let mut world = World::default();
    for kind in Kind::ALL {
        for raw in [
            json!(null),
            json!(5),
            json!([]),
            json!({}),
            json!({"metadata": 5}),
            json!({"metadata": {"name": 5}}),
        ] {
            world.apply(Change::Put(kind, raw.clone()));
            world.apply(Change::Gone(kind, raw.clone()));
            list(&mut world, kind, vec![raw, one(kind, "good")]);
        }
    }
    assert_eq!(world.objects.len(), 2);
    assert_eq!(
        (world.existing.configs.len(), world.existing.secrets.len()),
        (1, 1)
    );
    assert_eq!(world.pods.len(), 1);
}

#[test]
fn an_object_that_is_not_valid_stays_for_its_verdict() {
    let mut world = World::default();
    let mut bad = route("bad");
    bad["spec"]["hostnames"] = json!("no list");
    assert!(world.apply(Change::Put(Kind::Route, bad)));
    assert!(world.apply(Change::Put(Kind::Route, route("good"))));
    assert_eq!(world.objects.len(), 2);
    assert_eq!(references(&world).len(), 1);
}

#[test]
fn that_there_are_still_no_grants_is_nothing_new() {
    let mut world = World::default();
    assert!(!list(&mut world, Kind::Grant, vec![]));
    assert!(list(&mut world, Kind::Grant, vec![plain(Kind::Grant, "a")]));
    assert!(list(&mut world, Kind::Grant, vec![]));
    assert!(!list(&mut world, Kind::Grant, vec![]));
}
