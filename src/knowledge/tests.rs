//! What is known survives a restart, and nothing that a file may be stops the service.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{Circumstance, Cost, Knowledge, Place, Verdict, VerdictRow, store::Store};
use crate::{
    execution::Backend,
    proto::v1::{Embedding, Generated, item_result::Output},
};

fn circumstance(model: &str, threads: u32) -> Circumstance {
    Circumstance {
        model_sha256: model.into(),
        browser: "Chrome".into(),
        browser_version: "150.0".into(),
        backend: Backend::WebGpu,
        dtype: "fp32".into(),
        adapter: "nvidia hopper".into(),
        threads,
    }
}

/// A time as precise as it is kept.
fn now() -> SystemTime {
    // One for all of a test: a second may end meanwhile.
    static NOW: OnceLock<SystemTime> = OnceLock::new();
    *NOW.get_or_init(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
    })
}

fn cost(model: &str, items: u32) -> Cost {
    let circumstance = circumstance(model, 2);
    Cost { circumstance, class: 9, items, micros_per_item: 12.5, runs: 3, measured: now() }
}

fn verdict(model: &str, threads: u32) -> VerdictRow {
    VerdictRow {
        circumstance: circumstance(model, threads),
        verdict: Verdict::Wrong,
        agreement: Some(("similarity".into(), 0.5, 0.99)),
        reason: "it differs".into(),
        load_ms: 1234,
        measured: now(),
    }
}

fn answers() -> Vec<Output> {
    let text = Generated { text: "a".into(), ..Generated::default() };
    vec![Output::Embedding(Embedding { values: vec![1.0, -2.0] }), Output::Generated(text)]
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("state/webinfer/knowledge.db")
}

fn open(path: &Path) -> Knowledge {
    Knowledge::open(Place::File(path.to_owned()))
}

/// Whether it keeps what it is told, wherever. What shows that a file is damaged may be lost.
async fn works(knowledge: &Knowledge) {
    knowledge.keep_cost(cost("lost", 1));
    knowledge.costs("works").await;
    knowledge.keep_cost(cost("works", 1));
    let costs = knowledge.costs("works").await;
    assert!(costs.contains(&cost("works", 1)), "{costs:?}");
}

#[tokio::test]
async fn what_is_kept_is_known_and_a_later_row_takes_the_place() {
    let knowledge = Knowledge::open(Place::Memory);
    assert_eq!(knowledge.reference("a").await, None);
    knowledge.keep_reference("a b".into(), &answers());
    knowledge.keep_reference("other".into(), &answers()[..1]);
    assert_eq!(knowledge.reference("a b").await, Some(answers()));
    knowledge.forget_references("a");
    assert_eq!(knowledge.reference("a b").await, None);
    assert_eq!(knowledge.reference("other").await, Some(answers()[..1].to_vec()));

    knowledge.keep_cost(cost("m", 1));
    knowledge.keep_cost(cost("m", 2));
    knowledge.keep_cost(Cost { micros_per_item: 99.0, ..cost("m", 1) });
    knowledge.keep_cost(Cost { micros_per_item: f64::NAN, ..cost("m", 2) });
    knowledge.keep_cost(cost("other", 1));
    let mut costs = knowledge.costs("m").await;
    costs.sort_by_key(|cost| cost.items);
    assert_eq!(costs, [Cost { micros_per_item: 99.0, ..cost("m", 1) }, cost("m", 2)]);

    let right = VerdictRow { verdict: Verdict::Right, agreement: None, reason: "x".repeat(9999), ..verdict("m", 1) };
    knowledge.keep_verdict(verdict("m", 1));
    knowledge.keep_verdict(right.clone());
    let unlike = VerdictRow { agreement: Some(("similarity".into(), f64::NAN, 0.9)), ..verdict("m", 2) };
    knowledge.keep_verdict(unlike);
    let verdicts = knowledge.verdicts("m").await;
    let of = |threads| verdicts.iter().find(|row| row.circumstance.threads == threads).unwrap();
    assert_eq!(*of(1), VerdictRow { reason: "x".repeat(1024), ..right });
    assert!(of(2).agreement.as_ref().unwrap().1.is_nan());
    assert_eq!(verdicts.len(), 2);
}

#[tokio::test]
async fn it_survives_a_restart_and_two_services_share_a_file() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    let (one, other) = (open(&path), open(&path));
    one.keep_cost(cost("m", 1));
    other.keep_verdict(verdict("m", 1));
    other.keep_reference("key".into(), &answers());
    one.flush().await;
    other.flush().await;
    assert_eq!(other.costs("m").await, [cost("m", 1)]);
    assert_eq!(one.verdicts("m").await, [verdict("m", 1)]);
    drop((one, other));
    let again = open(&path);
    assert_eq!(again.costs("m").await, [cost("m", 1)]);
    assert_eq!(again.reference("key").await, Some(answers()));
}

#[tokio::test]
async fn a_file_of_a_later_version_or_another_program_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    let knowledge = open(&path);
    works(&knowledge).await;
    drop(knowledge);
    for (pragma, table) in [("PRAGMA user_version = 2", "t"), ("PRAGMA application_id = 7", "u")] {
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(&format!("{pragma}; PRAGMA journal_mode = DELETE; CREATE TABLE {table} (x)")).unwrap();
        drop(connection);
        let before = fs::read(&path).unwrap();
        works(&open(&path)).await;
        assert_eq!(fs::read(&path).unwrap(), before, "{pragma}");
    }
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    works(&open(&foreign)).await;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let count: i64 = Connection::open(&foreign).unwrap().query_row(tables, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, vec![b'x'; 5000]).unwrap();
    let knowledge = open(&path);
    works(&knowledge).await;
    drop(knowledge);
    assert_eq!(fs::read(path.with_extension("db.damaged")).unwrap(), vec![b'x'; 5000]);
    assert_eq!(open(&path).costs("works").await, [cost("works", 1)]);

    Connection::open(&path).unwrap().execute_batch("DROP TABLE verdict").unwrap();
    let knowledge = open(&path);
    assert_eq!(knowledge.costs("works").await, []);
    knowledge.keep_verdict(verdict("m", 1));
    knowledge.flush().await;
    assert_eq!(open(&path).verdicts("m").await, [verdict("m", 1)]);
}

#[tokio::test]
async fn where_nothing_can_be_written_it_goes_on_in_memory() {
    let folder = TempDir::new().unwrap();
    let in_the_way = folder.path().join("file");
    fs::write(&in_the_way, "").unwrap();
    works(&open(&in_the_way.join("knowledge.db"))).await;
    works(&open(folder.path())).await;
}

#[tokio::test]
async fn a_file_that_can_be_written_no_more_is_gone_on_with_in_memory() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    let knowledge = open(&path);
    knowledge.keep_cost(cost("m", 1));
    knowledge.flush().await;
    // As on a full disk, a write fails from now on.
    let fail = "CREATE TRIGGER full BEFORE INSERT ON verdict BEGIN SELECT RAISE(ABORT, 'full'); END";
    Connection::open(&path).unwrap().execute_batch(fail).unwrap();
    knowledge.keep_verdict(verdict("m", 1));
    knowledge.keep_cost(cost("m", 2));
    assert_eq!(knowledge.costs("m").await.len(), 2);
    drop(knowledge);
    assert_eq!(open(&path).costs("m").await, [cost("m", 1)]);
}

#[test]
fn what_is_old_or_too_much_is_removed() {
    let store = Store::in_memory().unwrap();
    let day = Duration::from_secs(24 * 3600);
    for (model, measured) in [("old", now() - 200 * day), ("ahead", now() + 9 * day), ("new", now() - 9 * day)] {
        store.keep_cost(&Cost { measured, ..cost(model, 1) }).unwrap();
    }
    for number in 0..5000 {
        let measured = now() - Duration::from_secs(number);
        store.keep_verdict(&VerdictRow { measured, ..verdict("m", number as u32) }).unwrap();
    }
    for number in 0..40 {
        let then = now() - Duration::from_secs(number);
        store.keep_reference(&format!("{number:03}"), &vec![0; 4 * 1024 * 1024], then).unwrap();
    }
    store.age(now()).unwrap();
    let counts = ["old", "ahead", "new"].map(|model| store.costs(model).unwrap().len());
    assert_eq!(counts, [0, 0, 1]);
    let verdicts = store.verdicts("m").unwrap();
    assert_eq!(verdicts.len(), 4096);
    assert!(verdicts.iter().all(|row| row.circumstance.threads < 4096), "the latest are kept");
    let has = |number: u32| store.reference(&format!("{number:03}")).unwrap().is_some();
    assert!((0..16).all(has) && !(16..40).any(has));
}

#[test]
fn rows_that_others_wrote_wrongly_are_left_out() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("knowledge.db");
    let store = Store::in_file(&path).unwrap();
    store.keep_cost(&cost("m", 1)).unwrap();
    store.keep_cost(&cost("m", 2)).unwrap();
    store.keep_verdict(&verdict("m", 1)).unwrap();
    let change = "UPDATE cost SET class = 'long' WHERE items = 1; UPDATE verdict SET verdict = 'perhaps'";
    Connection::open(&path).unwrap().execute_batch(change).unwrap();
    assert_eq!(store.costs("m").unwrap(), [cost("m", 2)]);
    assert_eq!(store.verdicts("m").unwrap(), []);
}

/// The bytes of a file with something in it.
fn whole(folder: &TempDir) -> (PathBuf, Vec<u8>) {
    let path = folder.path().join("knowledge.db");
    let store = Store::in_file(&path).unwrap();
    (0..50).for_each(|items| store.keep_cost(&cost("m", items)).unwrap());
    drop(store);
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_file_stops_the_service(cut in 0usize..60_000, changes in proptest::collection::vec((0usize..60_000, any::<u8>()), 0..20)) {
        let folder = TempDir::new().unwrap();
        let (path, mut bytes) = whole(&folder);
        bytes.truncate(cut.max(1));
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        fs::write(&path, bytes).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let knowledge = open(&path);
            knowledge.costs("m").await;
            works(&knowledge).await;
        });
    }
}
