//! Edits of files arrive whole, or not at all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is how a failure is told"
)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use splittoken_feed::{FeedError, FeedOptions, FeedState, FileFeed, Loaded};
use tokio::sync::watch::Receiver;

/// Ten times the promise of a second.
const BOUND: Duration = Duration::from_secs(10);

fn route(name: &str, backend_port: u16) -> String {
    format!(
        "apiVersion: splittoken.dev/v1alpha1\nkind: SplitTokenRoute\nmetadata: {{name: {name}}}\nspec:\n  \
         hostnames: [{name}.example]\n  issuer: {{url: https://iam.example}}\n  rules:\n  - name: all\n    \
         backendRefs: [{{url: 'http://127.0.0.1:{backend_port}'}}]\n"
    )
}

fn feed(path: &Path) -> FileFeed {
    FileFeed::new(
        vec![path.to_owned()],
        FeedOptions {
            class: Some("default".into()),
            revision_key: [1; 32],
        },
    )
}

fn load(path: &Path) -> Result<Loaded, FeedError> {
    feed(path).load()
}

fn watch(path: &Path) -> Receiver<Arc<FeedState>> {
    feed(path).watch(load(path).unwrap()).unwrap()
}

async fn until(receiver: &mut Receiver<Arc<FeedState>>, what: impl Fn(&FeedState) -> bool) -> Arc<FeedState> {
    let state = tokio::time::timeout(BOUND, receiver.wait_for(|state| what(state))).await;
    Arc::clone(&state.expect("nothing arrived").unwrap())
}

fn names(state: &FeedState) -> Vec<String> {
    state
        .routes
        .iter()
        .map(|route| route.config.name.name.clone())
        .collect()
}

#[test]
fn a_folder_a_file_and_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(load(folder.path()).unwrap().routes.is_empty());
    fs::write(at("b.yaml"), route("b", 1)).unwrap();
    fs::write(at("a.yaml"), route("a", 1)).unwrap();
    assert_eq!(load(folder.path()).unwrap().routes.len(), 2);
    assert_eq!(load(&at("a.yaml")).unwrap().routes.len(), 1);
    assert_eq!(load(&at("c.yaml")).unwrap_err().reason(), "read");

    let service = route("c", 1).replace("{url: 'http://127.0.0.1:1'}", "{name: api, port: 80}");
    for (text, fragment) in [
        ("a: [", "c.yaml:1: error yaml"),
        (
            &*route("c", 1).replace("rules", "rule"),
            "spec.rule: no such field",
        ),
        (&*route("a", 1), "error duplicate"),
        (&*service, "BackendNotFound"),
    ] {
        fs::write(at("c.yaml"), text).unwrap();
        let error = load(folder.path()).unwrap_err();
        assert!(error.to_string().contains(fragment), "{error}");
        assert_eq!(error.reason(), "invalid");
    }
}

#[tokio::test]
async fn an_edit_arrives_and_a_bad_one_keeps_the_last_good_set() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, route("a", 1)).unwrap();
    let mut receiver = watch(folder.path());
    assert_eq!(receiver.borrow().generation, 1);

    let start = Instant::now();
    fs::write(&file, route("a", 2)).unwrap();
    let second = until(&mut receiver, |state| state.generation == 2).await;
    eprintln!("an edit took {:?}", start.elapsed());
    assert_eq!(
        second.routes[0].config.rules[0].backends[0].address,
        Ok("127.0.0.1:2".to_owned())
    );

    fs::write(folder.path().join("b.yaml"), "kind: [").unwrap();
    let bad = until(&mut receiver, |state| state.last_error.is_some()).await;
    assert_eq!(bad.generation, 2);
    assert!(Arc::ptr_eq(&bad.routes, &second.routes));
    assert!(bad.last_error.as_ref().unwrap().to_string().contains("b.yaml:1"));

    fs::write(folder.path().join("b.yaml"), route("b", 1)).unwrap();
    let third = until(&mut receiver, |state| state.last_error.is_none()).await;
    assert_eq!(
        (third.generation, names(&third)),
        (3, vec!["a".to_owned(), "b".to_owned()])
    );

    fs::remove_file(&file).unwrap();
    let fourth = until(&mut receiver, |state| state.generation == 4).await;
    assert_eq!(names(&fourth), ["b"]);
}

#[tokio::test]
async fn a_bad_edit_that_is_taken_back_leaves_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, route("a", 1)).unwrap();
    let mut receiver = watch(&file);
    fs::remove_file(&file).unwrap();
    let gone = until(&mut receiver, |state| state.last_error.is_some()).await;
    assert_eq!(
        (gone.last_error.as_ref().unwrap().reason(), names(&gone)),
        ("read", vec!["a".to_owned()])
    );
    fs::write(&file, route("a", 1)).unwrap();
    let back = until(&mut receiver, |state| state.last_error.is_none()).await;
    assert_eq!(back.routes[0].revision, gone.routes[0].revision);
}

#[tokio::test]
async fn editors_rename_and_volumes_swap_links() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, port) in [("v1", 1), ("v2", 2)] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("a.yaml"), route("a", port)).unwrap();
    }
    symlink("v1", at("..data")).unwrap();
    symlink("..data/a.yaml", at("a.yaml")).unwrap();
    let mut receiver = watch(folder.path());
    symlink("v2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    let swapped = until(&mut receiver, |state| state.generation == 2).await;
    assert_eq!(
        swapped.routes[0].config.rules[0].backends[0].address,
        Ok("127.0.0.1:2".to_owned())
    );

    fs::write(at("a.yaml.new"), route("a", 3)).unwrap();
    fs::rename(at("a.yaml.new"), at("a.yaml")).unwrap();
    let renamed = until(&mut receiver, |state| state.generation == 3).await;
    assert_eq!(
        renamed.routes[0].config.rules[0].backends[0].address,
        Ok("127.0.0.1:3".to_owned())
    );
}

#[tokio::test]
async fn a_file_that_is_rewritten_without_end_is_read_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, route("a", 1)).unwrap();
    let mut receiver = watch(&file);
    let start = Instant::now();
    let mut port = 1;
    while receiver.borrow_and_update().generation == 1 {
        port += 1;
        fs::write(folder.path().join("new"), route("a", port)).unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(start.elapsed() < BOUND, "no edit arrived");
    }
}

#[tokio::test]
async fn the_thread_ends_with_its_last_listener() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = watch(folder.path());
    let weak = Arc::downgrade(&*receiver.borrow());
    drop(receiver);
    // The thread holds the last sender, and with it the state.
    let start = Instant::now();
    while weak.strong_count() > 0 {
        assert!(start.elapsed() < BOUND, "the thread goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
