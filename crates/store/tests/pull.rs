//! Pulls into a folder of models: what is pinned, what is there already, who waits for whom, and what gives way.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod place;
mod standin;

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use place::{Place, QUANTISED, TOKEN, graph};
use standin::{COMMIT, Files, Piece, file, sha256};
use tokio::sync::Semaphore;
use webinfer_store::{InUse, Plan, StoreError, hub::Event};

#[tokio::test]
async fn a_model_is_pinned_and_a_second_pull_fetches_nothing() {
    let place = Place::with(|_| None).await;
    let outcome = place.pull().await.unwrap();
    place.has(QUANTISED);
    assert_eq!((outcome.fetched, outcome.manifest.commit.as_ref()), (3, COMMIT));
    assert_eq!(outcome.manifest.files[1].hash.digits(), sha256(&graph()));
    assert!(place.standin.seen().iter().all(|seen| seen.header("authorization") == Some(&format!("Bearer {TOKEN}"))));

    let before = place.standin.files_seen().len();
    assert_eq!(place.pull().await.unwrap().fetched, 0);
    assert_eq!(place.standin.files_seen().len(), before);
    // Another dtype of the same commit comes beside the first.
    assert_eq!(place.pull_of(&["config.json", "onnx/model.onnx"]).await.unwrap().fetched, 1);
    place.has(QUANTISED);
    place.has("onnx/model.onnx");
}

#[tokio::test]
async fn what_was_damaged_comes_again_alone() {
    let place = Place::with(|_| None).await;
    place.succeeds().await;
    let path = place.folder.path().join("m").join(QUANTISED);
    let mut damaged = graph();
    damaged[5] ^= 1;
    fs::write(&path, damaged).unwrap();
    assert_eq!(place.pull().await.unwrap().fetched, 1);
    place.has(QUANTISED);
}

#[tokio::test]
async fn what_was_made_of_a_model_stays_with_its_commit() {
    let place = Place::with(|_| None).await;
    place.succeeds().await;
    let folder = place.folder.path().join("m");
    let made = ["notes.txt", "onnx/model_q4.onnx", "onnx/more/model_q4.onnx_data"];
    fs::create_dir(folder.join("onnx/more")).unwrap();
    made.iter().for_each(|path| fs::write(folder.join(path), path).unwrap());
    let stays = || made.iter().all(|path| fs::read(folder.join(path)).is_ok_and(|bytes| bytes == path.as_bytes()));
    // Another dtype, and a file that is damaged: the folder is put together anew.
    place.pull_of(&["config.json", "onnx/model.onnx"]).await.unwrap();
    assert!(stays());
    fs::write(folder.join(QUANTISED), "damaged").unwrap();
    place.succeeds().await;
    assert!(stays());
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/hostname", folder.join("link")).unwrap();
    let left = Mutex::new(Vec::new());
    let tell = |event: Event<'_>| {
        if let Event::LeftOut(path) = event {
            left.lock().unwrap().push(path.display().to_string());
        }
    };
    let mut plan = place.plan("m", &[QUANTISED]).await.unwrap();
    plan.listing.commit = "1".repeat(40).parse().unwrap();
    place.store().pull(&place.hub, plan, &tell).await.unwrap();
    place.has(QUANTISED);
    assert!(made.iter().all(|path| !folder.join(path).exists()) && !folder.join("link").is_symlink());
    let mut left = left.into_inner().unwrap();
    left.retain(|path| path != "link");
    assert_eq!(left, made);
}

#[tokio::test]
async fn files_come_a_few_at_a_time() {
    let mut files = Files::model();
    for index in 0..12 {
        files.0.insert(format!("onnx/model.onnx_data_{index}"), vec![index; 5000]);
    }
    // A file is done before the next one is asked for.
    let (asked, done, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (finished, seen_most) = (done.clone(), most.clone());
    let place = Place::new(files, move |seen| {
        if seen.path.contains("/resolve/") {
            let at_once = asked.fetch_add(1, SeqCst) + 1 - finished.load(SeqCst);
            seen_most.fetch_max(at_once, SeqCst);
        }
        None
    });
    let place = place.await;
    let names: Vec<_> = (0..12).map(|index| format!("onnx/model.onnx_data_{index}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let plan = place.plan("m", &names).await.unwrap();
    let count = |event: Event<'_>| {
        if let Event::Done(_) = event {
            done.fetch_add(1, SeqCst);
        }
    };
    assert_eq!(place.store().pull(&place.hub, plan, &count).await.unwrap().fetched, 12);
    assert!((2..=3).contains(&most.load(SeqCst)));
}

#[tokio::test]
async fn of_two_pulls_of_one_name_one_goes_on() {
    let gate = Arc::new(Semaphore::new(0));
    let (wait, asked) = (gate.clone(), Arc::new(Semaphore::new(0)));
    let come = asked.clone();
    let place = Place::with(move |seen| {
        come.add_permits(1);
        Some(vec![Piece::Wait(wait.clone()), Piece::Bytes(file(seen, &graph(), "x"))])
    });
    let place = place.await;
    let second = async {
        let _ = asked.acquire().await.unwrap();
        let plan = place.plan("m", &[QUANTISED]).await.unwrap();
        assert!(matches!(place.store().pull(&place.hub, plan, &|_| ()).await, Err(StoreError::Pulling { .. })));
        gate.add_permits(1);
    };
    let (first, ()) = tokio::join!(place.pull(), second);
    first.unwrap();
    place.has(QUANTISED);
}

#[tokio::test]
async fn a_model_in_use_is_not_replaced_and_nothing_comes_twice() {
    let place = Place::with(|_| None).await;
    place.succeeds().await;
    let in_use = InUse::take(place.folder.path(), "m").unwrap().unwrap();
    let more = ["config.json", "onnx/model.onnx"];
    assert!(matches!(place.pull_of(&more).await, Err(StoreError::InUse { .. })));
    assert!(matches!(place.store().remove("m", true), Err(StoreError::InUse { .. })));
    assert_eq!(place.pull().await.unwrap().fetched, 0, "what is there already is no change");
    drop(in_use);
    let before = place.standin.files_seen().len();
    place.pull_of(&more).await.unwrap();
    assert_eq!(place.standin.files_seen().len(), before);
    place.has("onnx/model.onnx");
}

#[tokio::test]
async fn what_was_not_used_for_longest_gives_way() {
    let place = Place::with(|_| None).await;
    fs::create_dir_all(place.folder.path().join("by-hand/onnx")).unwrap();
    fs::write(place.folder.path().join("by-hand/onnx/model.onnx"), vec![0; 500_000]).unwrap();
    let quota = 350_000;
    let pull = async |name: &str, file: &str| {
        let plan = Plan { quota, ..place.plan(name, &[file]).await.unwrap() };
        place.store().pull(&place.hub, plan, &|_| ()).await
    };
    let names = || place.store().list().unwrap().into_iter().map(|held| held.name).collect::<Vec<_>>();
    for name in ["a", "b", "c"] {
        pull(name, QUANTISED).await.unwrap();
    }
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    InUse::take(place.folder.path(), "b").unwrap().unwrap().touch(long_ago);
    let using_a = InUse::take(place.folder.path(), "a").unwrap().unwrap();
    pull("d", QUANTISED).await.unwrap();
    assert_eq!(names(), ["a", "by-hand", "c", "d"]);
    pull("e", "onnx/model.onnx").await.unwrap();
    assert_eq!(names(), ["a", "by-hand", "e"]);
    let using_e = InUse::take(place.folder.path(), "e").unwrap().unwrap();
    let Err(StoreError::Quota(shortage)) = pull("f", QUANTISED).await else { panic!("there is no room") };
    assert_eq!((shortage.quota, shortage.wanted, shortage.could_go), (quota, 100_000, 0));
    assert_eq!(names(), ["a", "by-hand", "e"]);
    drop((using_a, using_e));
    pull("f", QUANTISED).await.unwrap();
    assert_eq!(names(), ["by-hand", "e", "f"]);
}

#[tokio::test]
async fn what_nobody_goes_on_with_gives_way_first() {
    let place = Place::new(Files::model(), |seen| seen.path.ends_with("/onnx/model.onnx").then(Vec::new)).await;
    place.succeeds().await;
    let plan = Plan {
        name: "half".parse().unwrap(),
        ..place.plan("half", &["config.json", "onnx/model.onnx"]).await.unwrap()
    };
    place.store().pull(&place.hub, plan, &|_| ()).await.unwrap_err();
    let part = place.folder.path().join(".webinfer/half.part");
    assert!(part.is_dir());
    let plan = Plan { quota: 200_800, ..place.plan("other", &[QUANTISED]).await.unwrap() };
    place.store().pull(&place.hub, plan, &|_| ()).await.unwrap();
    assert!(!part.exists() && place.folder.path().join("m").is_dir());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join(".webinfer/m.part");
    let (full, digits) = (part.clone(), sha256(&graph()));
    // While it waits for the answer, the disk fills up.
    let place = Place::with(move |_| {
        std::os::unix::fs::symlink("/dev/full", full.join(&digits)).unwrap();
        None
    });
    let place = Place { folder, ..place.await };
    assert!(matches!(place.fails().await, StoreError::Full { .. }));
    assert!(!part.exists());
}

#[tokio::test]
async fn what_does_not_fit_on_the_disk_is_not_begun() {
    let place = Place::with(|_| None).await;
    let mut plan = place.plan("m", &[QUANTISED]).await.unwrap();
    plan.files[0].bytes = u64::MAX / 2;
    let before = place.standin.seen().len();
    let error = place.store().pull(&place.hub, plan, &|_| ()).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { needed, .. } if needed == u64::MAX / 2), "{error}");
    assert_eq!(place.standin.seen().len(), before);
}

#[tokio::test]
async fn what_others_put_there_stays() {
    let place = Place::with(|_| None).await;
    let folder = place.folder.path().join("m");
    fs::create_dir(&folder).unwrap();
    assert!(matches!(place.pull().await, Err(StoreError::Taken { .. })));
    fs::remove_dir(&folder).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(elsewhere.path(), &folder).unwrap();
        assert!(matches!(place.pull().await, Err(StoreError::Taken { .. })));
        fs::remove_file(&folder).unwrap();
        // Nor is a link in the place of the store's own folder followed.
        fs::remove_dir_all(place.folder.path().join(".webinfer")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), place.folder.path().join(".webinfer")).unwrap();
        assert!(place.pull().await.is_err());
        assert_eq!(entries(elsewhere.path()), 0);
        fs::remove_file(place.folder.path().join(".webinfer")).unwrap();
    }
    place.succeeds().await;
    let mut plan = place.plan("m", &[QUANTISED]).await.unwrap();
    plan.listing.source = "other/repo".parse().unwrap();
    assert!(matches!(place.store().pull(&place.hub, plan, &|_| ()).await, Err(StoreError::OtherRepo { .. })));
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}
