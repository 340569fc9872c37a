//! What became slower is told with what changed, and what did not is not.

use super::*;
use crate::{Hardware, fixtures::run};

fn with(number: u32, throughput: f64, change: fn(&mut Run)) -> Run {
    let mut run = run(number, throughput);
    change(&mut run);
    run
}

fn version(run: &mut Run, version: &str) {
    run.rows.iter_mut().filter_map(|row| row.conditions.as_mut()).for_each(|it| it.browser_version = version.into());
}

#[test]
fn a_slower_row_is_told_against_the_last_one_before_a_change() {
    let mut history = History::in_memory().unwrap();
    history.begin(&with(0, 50.0, |run| version(run, "154"))).unwrap();
    history.begin(&with(1, 100.0, |run| version(run, "155"))).unwrap();
    history.begin(&with(2, 80.0, |run| version(run, "156"))).unwrap();
    let new = with(3, 80.0, |run| version(run, "156"));
    let changes = follow(&history, &new, &Rule::default()).unwrap();
    assert_eq!(changes.len(), 2);
    for change in &changes {
        assert!(change.is_regression(), "{change:?}");
        assert_eq!(change.since, crate::fixtures::run(1, 1.0).id, "that of 154 was longer ago");
        let told: Vec<_> =
            change.changed.iter().map(|it| (it.what.as_str(), it.was.as_str(), it.is.as_str())).collect();
        assert_eq!(told, [("browser version", "155", "156")]);
    }
    let faster = with(3, 120.0, |run| version(run, "156"));
    assert!(follow(&history, &faster, &Rule::default()).unwrap().iter().all(|change| !change.is_regression()));
}

#[test]
fn only_what_can_be_compared_is() {
    let mut history = History::in_memory().unwrap();
    history.begin(&run(0, 100.0)).unwrap();
    let nothing = |change: fn(&mut Run)| follow(&history, &with(1, 50.0, change), &Rule::default()).unwrap();
    assert_eq!(nothing(|_| {}), [], "nothing changed");
    assert_eq!(nothing(|run| (run.machine.cores, run.service_version) = (8, "2".into())), [], "another machine");
    let other_inputs = |run: &mut Run| {
        run.service_version = "2".into();
        run.rows.iter_mut().filter_map(|row| row.conditions.as_mut()).for_each(|it| it.asked.sha256 = "x".into());
    };
    assert_eq!(nothing(other_inputs), [], "other inputs");
    let in_software = |run: &mut Run| {
        run.service_version = "2".into();
        run.rows.iter_mut().filter_map(|row| row.conditions.as_mut()).for_each(|it| it.hardware = Hardware::Software);
    };
    assert_eq!(nothing(in_software), [], "on other hardware");
    assert_eq!(nothing(|run| run.service_version = "2".into()).len(), 2);
}
