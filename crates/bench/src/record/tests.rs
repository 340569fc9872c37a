//! A record says what it holds, in JSON as well, and refuses what cannot be.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fixtures;

#[test]
fn ids_sort_by_time_and_are_what_they_say() {
    let id = RunId::new(1_796_048_701_234, 0xff12_3456);
    assert_eq!(id.as_str(), "20261130-142501-123456");
    assert_eq!(id.as_str().parse(), Ok(id));
    assert!(RunId::new(u64::MAX, 0).as_str().starts_with("99991231"));
    for wrong in
        ["", "20261130-142501-12345", "20261130-142501-12345G", "2026113x-142501-123456", "../../../../../../etc/x"]
    {
        assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
    }
}

/// What is changed, and the place that the error has.
type Case = (fn(&mut Run), &'static str);

#[test]
fn a_run_survives_json_and_is_checked() {
    let run = fixtures::run(0, 100.0);
    run.check().unwrap();
    let text = serde_json::to_string(&run).unwrap();
    assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), run);
    let change = |change: fn(&mut Run)| {
        let mut run = fixtures::run(0, 100.0);
        change(&mut run);
        run.check().unwrap_err().to_string()
    };
    let cases: [Case; 14] = [
        (|run| run.commit = "x".repeat(5000), "commit"),
        (|run| run.started_ms = u64::MAX, "started_ms"),
        (|run| drop(run.rows.pop()), "rows"),
        (|run| run.rows[0].cell.batch = 3, "rows"),
        (|run| run.rows[1].state = RowState::Pending, "rows[1]"),
        (|run| drop(run.rows[1].rounds.pop()), "rows[1].state"),
        (|run| run.rows[1].conditions = None, "rows[1].state"),
        (|run| run.rows[0].rounds[2].seconds = -1.0, "rows[0].rounds[2].seconds"),
        (|run| run.rows[0].rounds[2].seconds = f64::NAN, "rows[0].rounds[2].seconds"),
        (|run| run.rows[0].rounds[2].items = 0, "rows[0].rounds[2].items"),
        (|run| run.rows[0].rounds[2].latencies = Latencies::default(), "rows[0].rounds[2].latencies"),
        (|run| run.rows[0].rounds.swap(0, 1), "rows[0].rounds"),
        (|run| run.rows[0].energy = Reading::Read(-1.0), "rows[0].energy"),
        (|run| run.plan.rounds = 0, "rounds"),
    ];
    for (made, place) in cases {
        let error = change(made);
        assert!(error.contains(place), "{place}: {error}");
    }
}

#[test]
fn a_resumed_run_does_what_is_missing() {
    let mut run = fixtures::run(0, 100.0);
    assert_eq!(run.remaining(), []);
    run.state = RunState::Interrupted;
    run.rows[1].state = RowState::Pending;
    run.rows[1].rounds.remove(2);
    assert_eq!(run.remaining(), [(1, vec![2])]);
    run.resumable_on(&fixtures::machine(), "0.1.0", "").unwrap();
    let other = Machine { cores: 4, ..fixtures::machine() };
    let differences = run.resumable_on(&other, "0.2.0", "").unwrap_err();
    assert_eq!(differences.iter().map(|it| it.what.as_str()).collect::<Vec<_>>(), ["cores", "service version"]);
}

#[test]
fn software_is_no_hardware_whatever_it_is_called() {
    let mut row = fixtures::row(&[1.0]);
    let hardware = |row: &mut Row, hardware| {
        row.conditions = Some(Conditions { hardware, ..fixtures::conditions() });
        row.is_hardware()
    };
    assert!(hardware(&mut row, Hardware::Gpu));
    for not in [Hardware::Software, Hardware::Unknown, Hardware::Cpu] {
        assert!(!hardware(&mut row, not));
    }
    row.conditions = None;
    assert!(!row.is_hardware());
}

#[test]
fn latencies_refuse_what_none_can_be() {
    for wrong in [
        "[[2,1],[1,1]]",
        "[[1,1],[1,1]]",
        "[[1,0]]",
        "[[1,281474976710657]]",
        "[[99999999999,1]]",
        "[[1,-1]]",
        "[[1]]",
        "[[1,18446744073709551615],[2,1]]",
    ] {
        assert!(serde_json::from_str::<Latencies>(wrong).is_err(), "{wrong}");
    }
    assert_eq!(Latencies::percentiles([]), None);
    assert_eq!(Latencies::percentiles([&Latencies::default()]), None);
}

proptest! {
    #[test]
    fn percentiles_are_those_of_all_rounds_together(
        rounds in prop::collection::vec(prop::collection::vec(1..5_000_000_u64, 1..40), 1..5)
    ) {
        let record = |round: &Vec<u64>| round.iter().map(|it| Duration::from_micros(*it)).collect();
        let records: Vec<Latencies> = rounds.iter().map(record).collect();
        let of_json: Vec<Latencies> = serde_json::from_str(&serde_json::to_string(&records).unwrap()).unwrap();
        prop_assert_eq!(&of_json, &records);
        let percentiles = Latencies::percentiles(&records).unwrap();
        let mut all: Vec<u64> = rounds.concat();
        all.sort_unstable();
        let near = |told: u64, true_: u64| told.abs_diff(true_) as f64 <= true_ as f64 * 0.001 + 1.0;
        let at = |quantile: f64| all[((all.len() as f64 * quantile).ceil() as usize).clamp(1, all.len()) - 1];
        prop_assert_eq!(percentiles.count, all.len() as u64);
        for (told, true_) in [(percentiles.min_us, all[0]), (percentiles.p50_us, at(0.5)), (percentiles.p90_us, at(0.9)),
            (percentiles.p99_us, at(0.99)), (percentiles.max_us, all[all.len() - 1])]
        {
            prop_assert!(near(told, true_), "{} for {}", told, true_);
        }
        let merged = Latencies::merged(&records).unwrap();
        prop_assert_eq!(merged.iter().map(|(_, count)| count).sum::<u64>(), percentiles.count);
    }

    #[test]
    fn any_json_is_a_run_or_an_error(text in "[\\[\\]{}\":,a-z0-9.-]{0,80}") {
        let _ = serde_json::from_str::<Run>(&text);
    }
}
