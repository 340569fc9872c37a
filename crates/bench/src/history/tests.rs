//! What was measured stays, whatever becomes of the process, the disk or the file.

use std::{fs, path::PathBuf, sync::Barrier};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::{
    RowState, Run,
    fixtures::{self, BEGAN, round},
};

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("state/bench.db")
}

/// A run that has just begun.
fn begun(number: u32) -> Run {
    let began = BEGAN + u64::from(number) * 60_000;
    Run::new(RunId::new(began, number), began, fixtures::plan(), fixtures::machine())
}

fn latest() -> Selector {
    Selector::Latest(0)
}

#[test]
fn what_is_kept_is_there_when_the_process_is_gone() {
    let folder = TempDir::new().unwrap();
    let run = begun(0);
    let mut history = History::open(&file(&folder)).unwrap();
    history.begin(&run).unwrap();
    let mut row = run.rows[0].clone();
    (row.load_us, row.conditions) = (Some(7), Some(fixtures::conditions()));
    history.keep_row(&run.id, 0, &row).unwrap();
    history.keep_round(&run.id, 0, &round(1, 50.0), &row).unwrap();
    row.first_result_us = Some(8);
    history.keep_round(&run.id, 0, &round(0, 40.0), &row).unwrap();
    // As a process that is killed does: nothing is closed.
    std::mem::forget(history);

    let mut history = History::open(&file(&folder)).unwrap();
    let back = history.get(&latest()).unwrap();
    assert_eq!(back.state, RunState::Running);
    assert_eq!((back.rows[0].load_us, back.rows[0].first_result_us), (Some(7), Some(8)));
    assert_eq!(back.rows[0].rounds, [round(0, 40.0), round(1, 50.0)]);
    assert_eq!(back.remaining(), [(0, vec![2, 3, 4]), (1, vec![0, 1, 2, 3, 4])]);
    // Neither of the two is kept where one cannot be.
    let again = history.keep_round(&run.id, 0, &round(1, 60.0), &run.rows[0]).unwrap_err();
    assert!(matches!(again, BenchError::Exists { .. }), "{again}");
    assert_eq!(history.get(&latest()).unwrap(), back);

    history.keep_row(&run.id, 0, &Row { rounds: Vec::new(), ..row }).unwrap();
    assert_eq!(history.get(&latest()).unwrap().rows[0].rounds.len(), 2, "a row's rounds stay");
    history.set_state(&run.id, RunState::Interrupted, Some(BEGAN + 9)).unwrap();
    let back = history.get(&latest()).unwrap();
    assert_eq!((back.state, back.ended_ms), (RunState::Interrupted, Some(BEGAN + 9)));
}

#[test]
fn runs_are_found_by_place_and_prefix() {
    let mut history = History::in_memory().unwrap();
    assert!(matches!(history.get(&latest()), Err(BenchError::NoRun { .. })));
    let runs = [fixtures::run(1, 10.0), begun(0), fixtures::run(2, 12.0)];
    runs.iter().for_each(|run| history.begin(run).unwrap());
    assert!(matches!(history.begin(&runs[0]), Err(BenchError::Exists { .. })));
    assert_eq!(history.get(&latest()).unwrap(), runs[2]);
    assert_eq!(history.get(&"latest~1".parse().unwrap()).unwrap(), runs[0]);
    assert!(matches!(history.get(&Selector::Latest(3)), Err(BenchError::NoRun { .. })));
    assert_eq!(history.get(&Selector::Prefix(runs[1].id.to_string())).unwrap(), runs[1]);
    let shared: String = runs[0].id.as_str().chars().take(8).collect();
    assert!(matches!(history.find(&Selector::Prefix(shared)), Err(BenchError::Ambiguous { .. })));
    let listed = history.list(2).unwrap();
    assert_eq!(listed.iter().map(|it| &it.id).collect::<Vec<_>>(), [&runs[2].id, &runs[0].id]);
    assert_eq!((listed[0].cells, listed[0].measured), (2, 2));
    assert_eq!(history.delete(&latest()).unwrap(), runs[2].id);
    assert_eq!(history.find(&latest()).unwrap(), runs[0].id);
    let left: i64 = history.connection.query_row("SELECT count(*) FROM round", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 10, "what was of it is gone");
}

#[test]
fn names_of_runs_are_read() {
    assert_eq!("latest~12".parse(), Ok(Selector::Latest(12)));
    assert_eq!("20261130-1".parse(), Ok(Selector::Prefix("20261130-1".into())));
    for wrong in ["", "latest~", "latest~-1", "latest~99999999999", "%", "x' OR 1", "LATEST"] {
        assert!(wrong.parse::<Selector>().is_err(), "{wrong}");
    }
}

#[test]
fn what_is_wrong_is_not_kept() {
    let mut history = History::in_memory().unwrap();
    let run = begun(0);
    history.begin(&run).unwrap();
    let mut wrong = round(0, 1.0);
    wrong.seconds = f64::INFINITY;
    assert!(matches!(history.keep_round(&run.id, 0, &wrong, &run.rows[0]), Err(BenchError::Record { .. })));
    for (id, index) in [(&run.id, 9), (&begun(3).id, 0)] {
        assert!(matches!(history.keep_round(id, index, &round(0, 1.0), &run.rows[0]), Err(BenchError::NoRun { .. })));
    }
    assert!(matches!(history.keep_row(&run.id, 1, &run.rows[0]), Err(BenchError::NoRun { .. })), "it is another cell");
    let failed = Row { state: RowState::Failed { reason: "x".repeat(9999) }, ..run.rows[0].clone() };
    assert!(matches!(history.keep_row(&run.id, 0, &failed), Err(BenchError::Record { .. })));
    assert!(matches!(history.set_state(&begun(3).id, RunState::Complete, None), Err(BenchError::NoRun { .. })));
    assert_eq!(history.get(&latest()).unwrap(), run);
}

#[test]
fn a_file_of_a_later_version_or_another_program_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    History::open(&path).unwrap().begin(&begun(0)).unwrap();
    let newer = |error: &BenchError| matches!(error, BenchError::Newer { found: 9, .. });
    let foreign = |error: &BenchError| matches!(error, BenchError::Foreign { .. });
    for pragma in ["PRAGMA user_version = 9", "PRAGMA application_id = 7"] {
        for mode in ["WAL", "DELETE"] {
            let connection = Connection::open(&path).unwrap();
            connection.execute_batch(&format!("{pragma}; PRAGMA journal_mode = {mode}")).unwrap();
            drop(connection);
            let before = fs::read(&path).unwrap();
            let error = History::open(&path).unwrap_err();
            assert!(if pragma.ends_with('9') { newer(&error) } else { foreign(&error) }, "{error}");
            assert_eq!(fs::read(&path).unwrap(), before, "{pragma}");
        }
    }
    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(foreign(&History::open(&other).unwrap_err()));
}

#[test]
fn a_damaged_file_says_so_and_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    let mut history = History::open(&path).unwrap();
    (0..20).for_each(|number| history.begin(&fixtures::run(number, 10.0)).unwrap());
    drop(history);
    let whole = fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn[5000..9000].fill(0x5a);
    for damaged in [
        b"not a database at all, but longer than a header has to be".repeat(40),
        torn,
        whole[..whole.len() / 2].to_vec(),
    ] {
        fs::write(&path, &damaged).unwrap();
        let error = History::open(&path).unwrap_err();
        assert!(matches!(error, BenchError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
    fs::write(&path, &whole).unwrap();
    let history = History::open(&path).unwrap();
    let broken = "UPDATE row SET body = '{\"state\": 3}' WHERE number = 0";
    history.connection.execute_batch(broken).unwrap();
    assert!(matches!(history.get(&latest()), Err(BenchError::Damaged { .. })));
}

#[test]
fn a_full_disk_leaves_what_was_there_whole() {
    let folder = TempDir::new().unwrap();
    let mut history = History::open(&file(&folder)).unwrap();
    let run = begun(0);
    history.begin(&run).unwrap();
    let pages: i64 = history.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    history.connection.query_row(&format!("PRAGMA max_page_count = {}", pages + 3), [], |_| Ok(())).unwrap();
    let mut kept = 0;
    let error = loop {
        let mut large = round(kept, 100.0);
        large.latencies = (1..200).map(|micros| std::time::Duration::from_micros(micros * 1000)).collect();
        match history.keep_round(&run.id, 0, &large, &run.rows[0]) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, BenchError::Full { .. }), "{error}");
    assert!(kept > 0);
    let rounds = |history: &History| history.rounds(run.id.as_str(), 0).unwrap().len();
    assert_eq!(rounds(&history), kept as usize);
    drop(history);
    let mut history = History::open(&file(&folder)).unwrap();
    assert_eq!(rounds(&history), kept as usize);
    history.keep_round(&run.id, 0, &round(kept, 100.0), &run.rows[0]).unwrap();
}

#[test]
fn two_processes_keep_runs_in_one_file() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (path, ready) = (&path, &ready);
            scope.spawn(move || {
                ready.wait();
                let mut history = History::open(path).unwrap();
                let run = begun(number);
                history.begin(&run).unwrap();
                (0..5).for_each(|index| history.keep_round(&run.id, 0, &round(index, 10.0), &run.rows[0]).unwrap());
            });
        }
    });
    let history = History::open(&path).unwrap();
    for back in 0..2 {
        assert_eq!(history.get(&Selector::Latest(back)).unwrap().rows[0].rounds.len(), 5);
    }
}
