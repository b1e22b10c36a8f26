use splittoken_api::{ManifestFile, gather};
use splittoken_routing::wire::{object_name, write};

use super::*;
use crate::cluster::kept::Kept;

/// A route with an HMAC key, as the operator would render it.
fn rendered(name: &str, key: &str) -> (String, Texts) {
    let text = format!(
        "apiVersion: splittoken.dev/v1alpha1\nkind: SplitTokenRoute\nmetadata: {{name: {name}}}\nspec:\n  \
         hostnames: [{name}.example]\n  issuer: {{url: https://iam.example, algorithms: [HS256], \
         hmacSecretRef: {{name: key}}}}\n  rules:\n  - name: all\n    backendRefs: [{{url: 'http://10.0.0.1:80'}}]\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\nstringData: {{hmac: {key}}}\n"
    );
    let file = ManifestFile {
        name: "test.yaml".to_owned(),
        text,
    };
    let (compiled, report) = gather(&[file]).compile(None, &[1; 32]);
    assert_eq!(compiled.routes.len(), 1, "{report:?}");
    let written = write(&compiled.routes[0]).unwrap();
    let texts = Texts {
        config: written.config.into(),
        secrets: written.secrets.map(Arc::new),
    };
    (object_name(&compiled.routes[0].config.name), texts)
}

fn secrets(texts: &Texts) -> Zeroizing<String> {
    Zeroizing::clone(texts.secrets.as_ref().unwrap())
}

fn put(objects: &mut Objects, (name, texts): &(String, Texts)) {
    objects.put_secrets(name, secrets(texts));
    objects.put_config(name, texts.config.to_string());
}

/// Two of them, and a set with both.
fn two() -> (Objects, (String, Texts), (String, Texts)) {
    let [a, b] = ["a", "b"].map(|name| rendered(name, "0123456789abcdef0123456789abcdef"));
    let mut objects = Objects::default();
    put(&mut objects, &a);
    put(&mut objects, &b);
    (objects, a, b)
}

#[test]
fn only_a_set_of_another_format_awaits_the_operator() {
    let key = "0123456789abcdef0123456789abcdef";
    let (mine, other) = (rendered("a", key), "b".to_owned());
    let other_format = r#"{"revision": "1", "config": {"format": 99}}"#;
    let mut objects = Objects::default();
    assert!(!objects.await_the_operator(), "no routes are no reason to wait");
    objects.put_config(&other, "{}".to_owned());
    assert!(!objects.await_the_operator(), "no operator will mend that");
    objects.put_config(&other, other_format.to_owned());
    assert!(objects.await_the_operator());
    put(&mut objects, &mine);
    assert!(!objects.await_the_operator(), "the others go on");
}

fn revisions(objects: &Objects) -> Vec<String> {
    objects.routes().into_iter().map(|route| route.revision).collect()
}

#[test]
fn a_route_is_served_when_both_halves_are_there() {
    let (name, texts) = rendered("a", "0123456789abcdef0123456789abcdef");
    let mut objects = Objects::default();
    objects.put_config(&name, texts.config.to_string());
    assert!(objects.routes().is_empty());
    let rejected = &objects.rejected()[0];
    assert_eq!(
        (rejected.route.as_deref(), rejected.reason),
        (Some("default/a"), "wire_no_secrets")
    );
    objects.put_secrets(&name, secrets(&texts));
    assert_eq!(objects.routes().len(), 1);
    assert!(objects.rejected().is_empty());
}

/// Whichever half of an edit comes first, no request meets a route of two revisions.
#[test]
fn halves_of_two_revisions_leave_what_is_served() {
    let old = rendered("a", "0123456789abcdef0123456789abcdef");
    let new = rendered("a", "fedcba9876543210fedcba9876543210");
    for secrets_first in [true, false] {
        let mut objects = Objects::default();
        put(&mut objects, &old);
        let before = revisions(&objects);
        let name = &new.0;
        if secrets_first {
            objects.put_secrets(name, secrets(&new.1));
        } else {
            objects.put_config(name, new.1.config.to_string());
        }
        assert_eq!(revisions(&objects), before);
        assert_eq!(objects.rejected()[0].reason, "wire_no_secrets");
        put(&mut objects, &new);
        assert_ne!(revisions(&objects), before);
        assert!(objects.rejected().is_empty());
    }
}

#[test]
fn a_bad_object_hurts_only_itself_and_its_last_good_form_stays() {
    let (mut objects, a, _) = two();
    let before = revisions(&objects);
    for bad in ["", "{", "null", "{\"config\": {\"format\": 2}}"] {
        objects.put_config(&a.0, bad.to_owned());
        assert_eq!(revisions(&objects), before, "{bad}");
        assert_eq!(objects.rejected().len(), 1);
    }
    objects.remove_config(&a.0);
    assert_eq!(objects.routes().len(), 1);
    assert!(objects.rejected().is_empty());
}

#[test]
fn a_new_list_takes_away_what_is_not_in_it() {
    let (mut objects, _, b) = two();
    objects.replace_configs(BTreeMap::from([(b.0.clone(), b.1.config.to_string())]));
    objects.replace_secrets(BTreeMap::from([(b.0.clone(), secrets(&b.1))]));
    let names: Vec<_> = objects
        .routes()
        .iter()
        .map(|route| route.config.name.to_string())
        .collect();
    assert_eq!(names, ["default/b"]);
}

#[test]
fn what_was_served_is_served_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::in_folder(folder.path());
    assert!(kept.read().unwrap().is_empty(), "a first start");
    let mut objects = Objects::default();
    put(&mut objects, &rendered("a", "0123456789abcdef0123456789abcdef"));
    // A newer form that is no good is not what was served.
    objects.put_config("route-other", "no JSON".to_owned());
    kept.write(&objects.texts()).unwrap();
    let again = Objects::of_kept(kept.read().unwrap());
    assert_eq!(revisions(&again), revisions(&objects));
    assert!(again.rejected().is_empty());

    let file = folder.path().join("routes.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(&file, "{\"a\": \"secret").unwrap();
    let error = kept.read().unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}
