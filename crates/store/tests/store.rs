//! The folder of models without a network: what is listed, what may go, and that no name leads out of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::{fs, path::Path};

use proptest::prelude::*;
use webinfer_store::{InUse, MANIFEST, Store, StoreError, Wrong};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What git calls a file of "hello\n".
const HELLO: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

fn manifest(paths: &[&str]) -> String {
    let file = |path: &&str| format!(r#"{{"path": {path:?}, "bytes": 6, "git_sha1": "{HELLO}"}}"#);
    let files = paths.iter().map(file).collect::<Vec<_>>().join(", ");
    format!(
        r#"{{"version": 1, "repo": "o/m", "revision": "main", "commit": "{COMMIT}", "endpoint": "http://h", "wanted": [],
        "files": [{files}]}}"#
    )
}

fn put(root: &Path, name: &str, pulled: bool) {
    fs::create_dir_all(root.join(name).join("onnx")).unwrap();
    for file in ["config.json", "onnx/model.onnx"] {
        fs::write(root.join(name).join(file), "hello\n").unwrap();
    }
    if pulled {
        fs::write(root.join(name).join(MANIFEST), manifest(&["config.json", "onnx/model.onnx"])).unwrap();
    }
}

fn names(store: &Store) -> Vec<String> {
    store.list().unwrap().into_iter().map(|held| held.name).collect()
}

#[test]
fn what_was_pulled_goes_and_what_was_not_stays() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path());
    put(root.path(), "pulled", true);
    put(root.path(), "by hand", false);
    assert_eq!(names(&store), ["by hand", "pulled"]);
    assert!(matches!(store.remove("by hand", false), Err(StoreError::NotPulled { .. })));
    assert!(matches!(store.remove("nobody", true), Err(StoreError::Missing { .. })));
    assert!(store.remove("pulled", false).unwrap() > 12);
    assert_eq!(names(&store), ["by hand"]);
    store.remove("by hand", true).unwrap();
    assert_eq!(names(&store), [""; 0]);
}

#[test]
fn a_model_in_use_stays_until_the_last_user_leaves() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path());
    put(root.path(), "m", true);
    put(root.path(), "by-hand", false);
    assert!(InUse::take(root.path(), "by-hand").unwrap().is_none());
    let users = [InUse::take(root.path(), "m").unwrap().unwrap(), InUse::take(root.path(), "m").unwrap().unwrap()];
    assert!(store.get("m").unwrap().in_use);
    for user in users {
        assert!(matches!(store.remove("m", true), Err(StoreError::InUse { .. })));
        drop(user);
    }
    assert!(!store.get("m").unwrap().in_use);
    store.remove("m", false).unwrap();
}

#[test]
fn each_kind_of_damage_is_told() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "m", true);
    let (store, folder) = (Store::new(root.path()), root.path().join("m"));
    let wrong = || {
        let manifest = store.get("m").unwrap().manifest.unwrap();
        manifest.verify(&folder).into_iter().map(|damage| damage.wrong).collect::<Vec<_>>()
    };
    assert_eq!(wrong(), []);
    fs::write(folder.join("config.json"), "hullo\n").unwrap();
    fs::write(folder.join("onnx/model.onnx"), "hello, all\n").unwrap();
    assert_eq!(wrong(), [Wrong::Hash, Wrong::Length { is: 11, must: 6 }]);
    fs::remove_file(folder.join("config.json")).unwrap();
    fs::remove_file(folder.join("onnx/model.onnx")).unwrap();
    fs::create_dir(folder.join("onnx/model.onnx")).unwrap();
    assert_eq!(wrong(), [Wrong::Missing, Wrong::NotAFile]);
}

#[cfg(unix)]
#[test]
fn links_that_lead_out_are_not_followed() {
    use std::os::unix::fs::symlink;
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(outside.path(), "m", true);
    put(root.path(), "m", true);
    let store = Store::new(root.path());
    symlink(outside.path().join("m"), root.path().join("link")).unwrap();
    let held = store.get("link").unwrap();
    assert!(held.manifest.is_none() && InUse::take(root.path(), "link").unwrap().is_none());
    // The link goes, and not what it leads to.
    store.remove("link", true).unwrap();
    assert!(outside.path().join("m/config.json").is_file() && !root.path().join("link").is_symlink());
    // A file that is the right one, elsewhere; and a folder on the way.
    let folder = root.path().join("m");
    fs::remove_file(folder.join("config.json")).unwrap();
    symlink(outside.path().join("m/config.json"), folder.join("config.json")).unwrap();
    fs::remove_dir_all(folder.join("onnx")).unwrap();
    symlink(outside.path().join("m/onnx"), folder.join("onnx")).unwrap();
    let damage = store.get("m").unwrap().manifest.unwrap().verify(&folder);
    assert!(damage.len() == 2 && damage.iter().all(|damage| damage.wrong == Wrong::NotAFile), "{damage:?}");
    store.remove("m", false).unwrap();
    assert!(outside.path().join("m/onnx/model.onnx").is_file());
    // A manifest that is a link is none.
    put(root.path(), "n", false);
    symlink(outside.path().join("m").join(MANIFEST), root.path().join("n").join(MANIFEST)).unwrap();
    assert!(store.get("n").unwrap().manifest.is_none());
}

#[test]
fn what_a_crash_left_is_ended_by_the_next() {
    let root = tempfile::tempdir().unwrap();
    let (store, own) = (Store::new(root.path()), root.path().join(".webinfer"));
    put(&own, "replaced.old", true);
    put(&own, "kept.old", true);
    put(root.path(), "kept", true);
    put(&own, "half.gone", true);
    fs::remove_file(own.join("half.gone/config.json")).unwrap();
    put(root.path(), "other", true);
    store.remove("other", false).unwrap();
    assert_eq!(names(&store), ["kept", "replaced"]);
    let left: Vec<_> =
        fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Shapes of names that were used against others.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[./\\\\~a-z]{0,12}",
        ".{0,30}",
        "(\\.\\./){0,3}(outside|n|\\.webinfer)(/config\\.json)?",
        Just("\0".to_owned()),
        "a{1,5000}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_name_leads_out(names in proptest::collection::vec(hostile(), 60)) {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("models");
        put(&root, "a model", false);
        put(place.path(), "outside", true);
        let store = Store::new(&root);
        for name in names {
            prop_assert!(store.get(&name).is_err() && store.remove(&name, true).is_err(), "{:?}", name);
            prop_assert!(InUse::take(&root, &name).unwrap().is_none());
        }
        prop_assert!(place.path().join("outside/onnx/model.onnx").is_file());
        prop_assert!(root.join("a model/onnx/model.onnx").is_file());
    }
}
