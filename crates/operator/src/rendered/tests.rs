use splittoken_api::{ClusterServices, CompileOptions, Compiled, Grants, Installation, Resources, compile};

use super::*;
use crate::anchor::Anchor;

/// All of a set, as an operator with the chart's defaults compiles it.
pub(crate) fn compiled(resources: &Resources) -> Compiled {
    let options = CompileOptions {
        class: Some("default"),
        installation: &Installation::default(),
        services: &ClusterServices::default(),
        grants: &Grants::default(),
        revision_key: &[1; 32],
    };
    compile(resources, &options)
}

/// Routes with these names, each with this HMAC key if there is one.
fn routes(names: &[&str], key: Option<&str>) -> Vec<CompiledRoute> {
    let mut resources = Resources::default();
    for name in names {
        let mut spec = json!({
            "hostnames": [format!("{name}.example")],
            "issuer": {"url": "https://iam.example"},
            "tokenEndpoints": {"token": {}},
        });
        if let Some(key) = key {
            spec["issuer"]["algorithms"] = json!(["HS256"]);
            spec["issuer"]["hmacSecretRef"] = json!({"name": "key"});
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "shop"},
                "stringData": {"hmac": key},
            });
            resources.put(&secret).unwrap();
        }
        let route = json!({
            "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenRoute",
            "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
        });
        resources.put(&route).unwrap();
    }
    let compiled = compiled(&resources);
    assert_eq!(compiled.routes.len(), names.len(), "{:?}", compiled.verdicts);
    compiled.routes
}

fn frame() -> Frame {
    Frame {
        class: "default".to_owned(),
        namespace: "system".to_owned(),
        owner: Some(Anchor::known("anchor", "uid-1")),
    }
}

/// What stands in the cluster after a plan was carried out, as watches would tell it.
fn carried_out(plan: &Plan<'_>, existing: &mut Existing) {
    for route in &plan.apply {
        let object = render(route).unwrap();
        existing.put_config(&object.config_map(&frame()));
        if let Some(secret) = object.secret(&frame()) {
            existing.put_secrets(&secret);
        }
    }
    existing
        .configs
        .retain(|name, _| !plan.delete_configs.contains(name));
    existing
        .secrets
        .retain(|name, _| !plan.delete_secrets.contains(name));
}

fn standing(routes: &[CompiledRoute]) -> Existing {
    let mut existing = Existing::default();
    carried_out(&plan(routes, &Existing::default()), &mut existing);
    existing
}

/// The plan of an operator that has just started.
fn plan<'r>(routes: &'r [CompiledRoute], existing: &Existing) -> Plan<'r> {
    super::plan(routes, &mut Outlines::default(), existing).unwrap()
}

fn object_names(routes: &[CompiledRoute]) -> Vec<String> {
    routes
        .iter()
        .map(|route| wire::object_name(&route.config.name))
        .collect()
}

fn is_empty(plan: &Plan<'_>) -> bool {
    plan.apply.is_empty() && plan.delete_configs.is_empty() && plan.delete_secrets.is_empty()
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn what_stands_is_not_written_again() {
    for key in [None, Some(KEY)] {
        let before = routes(&["a", "b"], key);
        assert_eq!(plan(&before, &Existing::default()).apply.len(), 2);
        assert!(is_empty(&plan(&before, &standing(&before))), "{key:?}");
        // Nor after our own write, before a watch has told of it.
        let mut settled = Existing::default();
        for route in &before {
            render(route).unwrap().settle(&mut settled);
        }
        assert!(is_empty(&plan(&before, &settled)));
        // The same set renders to the same bytes.
        let again = routes(&["a", "b"], key);
        assert!(is_empty(&plan(&again, &standing(&before))));
    }
}

#[test]
fn what_was_worked_out_for_a_revision_stays_and_goes_with_its_route() {
    let mut outlines = Outlines::default();
    let (before, edited) = (routes(&["a", "b"], None), routes(&["a"], Some(KEY)));
    let existing = standing(&before);
    for _ in 0..2 {
        assert!(is_empty(&super::plan(&before, &mut outlines, &existing).unwrap()));
    }
    let plan = super::plan(&edited, &mut outlines, &existing).unwrap();
    assert_eq!((plan.apply.len(), plan.delete_configs.len()), (1, 1));
    assert_eq!(outlines.0.len(), 1);
}

#[test]
fn what_is_distrusted_is_written_anew_or_goes() {
    let routes = routes(&["a", "b"], Some(KEY));
    let mut existing = standing(&routes);
    existing.distrust();
    let plan = plan(&routes[..1], &existing);
    assert_eq!(plan.apply.len(), 1);
    let gone = object_names(&routes[1..]);
    assert_eq!((&plan.delete_configs, &plan.delete_secrets), (&gone, &gone));
}

#[test]
fn an_edit_touches_only_its_own_objects() {
    let before = routes(&["a", "b", "c"], None);
    let after = routes(&["a", "b", "d"], None);
    let existing = standing(&before);
    let plan = plan(&after, &existing);
    let applied: Vec<String> = plan
        .apply
        .iter()
        .map(|route| route.config.name.to_string())
        .collect();
    assert_eq!(applied, ["shop/d"]);
    assert_eq!(plan.delete_configs, object_names(&before[2..]));
    assert!(plan.delete_secrets.is_empty());
}

#[test]
fn orphans_go_and_a_secret_that_is_no_longer_needed_too() {
    let with = routes(&["a", "b"], Some(KEY));
    let without = routes(&["a"], None);
    let existing = standing(&with);
    let plan = plan(&without, &existing);
    assert_eq!(plan.delete_configs, object_names(&with[1..]));
    let mut secrets = object_names(&with);
    secrets.sort_unstable();
    assert_eq!(plan.delete_secrets, secrets);
    assert_eq!(plan.apply.len(), 1, "the route that needs no secrets any more");
}

#[test]
fn what_somebody_changed_by_hand_is_put_right() {
    let routes = routes(&["a", "b"], Some(KEY));
    let name = object_names(&routes)[0].clone();
    let tampered = |change: &dyn Fn(&mut Existing)| {
        let mut existing = standing(&routes);
        change(&mut existing);
        let plan = plan(&routes, &existing);
        let applied = plan
            .apply
            .iter()
            .map(|route| wire::object_name(&route.config.name));
        let applied: Vec<String> = applied.collect();
        assert!(plan.delete_configs.is_empty() && plan.delete_secrets.is_empty());
        applied
    };
    let config = |data: Value| json!({"metadata": {"name": name}, "data": data});
    for data in [json!({"route.json": "{}"}), json!({}), json!(null)] {
        let applied = tampered(&|existing| {
            existing.put_config(&config(data.clone()));
        });
        assert_eq!(applied, [name.as_str()], "{data}");
        let applied = tampered(&|existing| {
            existing.put_secrets(&config(data.clone()));
        });
        assert_eq!(applied, [name.as_str()], "{data}");
    }
    let applied = tampered(&|existing| {
        existing.secrets.remove(&name);
    });
    assert_eq!(applied, [name.as_str()]);
}

#[test]
fn a_route_that_nothing_can_be_said_of_stays_as_it_is() {
    let before = routes(&["a", "b"], Some(KEY));
    let existing = standing(&before);
    let after = routes(&["b"], None);
    let mut plan = plan(&after, &existing);
    let held = |name: &str| ObjectName::new("SplitTokenRoute", "shop", name);
    plan.spare(&BTreeSet::from([held("a")]));
    assert!(plan.delete_configs.is_empty());
    assert_eq!(plan.delete_secrets, object_names(&before[1..]));
    plan.spare(&BTreeSet::from([held("b")]));
    assert!(is_empty(&plan));
}

#[test]
fn both_objects_say_whose_they_are_and_only_one_holds_the_key() {
    let rendered = render(&routes(&["a"], Some(KEY))[0]).unwrap();
    let config = rendered.config_map(&frame());
    let secret = rendered.secret(&frame()).unwrap();
    for object in [&config, &secret] {
        assert_eq!(object["metadata"]["namespace"], "system");
        assert_eq!(object["metadata"]["labels"][CLASS_LABEL], "default");
        assert_eq!(object["metadata"]["labels"][PART_LABEL], PART_ROUTE);
        assert_eq!(object["metadata"]["annotations"][ROUTE_ANNOTATION], "shop/a");
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "uid-1");
    }
    assert_eq!(config["metadata"]["name"], secret["metadata"]["name"]);
    let encoded = base64(KEY.as_bytes());
    for text in [KEY, encoded.as_str()] {
        assert!(!config.to_string().contains(text));
    }
    let without = render(&routes(&["a"], None)[0]).unwrap();
    assert!(without.secret(&frame()).is_none());
}

#[test]
fn what_gateways_can_know_of_is_what_stands() {
    let before = routes(&["a", "b"], None);
    let existing = standing(&before);
    let revisions = existing.revisions();
    let found: Vec<_> = revisions
        .iter()
        .map(|(route, revision)| (route.to_string(), *revision))
        .collect();
    let expected: Vec<_> = before
        .iter()
        .map(|route| (route.config.name.to_string(), route.revision.as_str()))
        .collect();
    assert_eq!(found, expected);
    let after = routes(&["a"], Some(KEY));
    assert_ne!(after[0].revision, before[0].revision);
    assert_eq!(
        plan(&after, &existing).apply.len(),
        1,
        "planned, and not there yet"
    );
}

#[test]
fn a_revision_that_somebody_changed_by_hand_is_put_right() {
    let routes = routes(&["a"], None);
    let mut existing = standing(&routes);
    let mut object = render(&routes[0]).unwrap().config_map(&frame());
    object["metadata"]["labels"][REVISION_LABEL] = json!("other");
    assert!(existing.put_config(&object));
    assert_eq!(plan(&routes, &existing).apply.len(), 1);
}
