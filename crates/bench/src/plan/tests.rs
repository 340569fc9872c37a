//! A plan says what it says, or where it does not; and its order favours nobody.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::fixtures::plan;

fn known() -> Known {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Known {
        models: names(&["m", "n"]),
        browsers: names(&["chromium", "firefox"]),
        backends: names(&["wasm", "webgpu"]),
        dtypes: vec![("fp32".into(), 32), ("q8".into(), 8), ("q4".into(), 4)],
    }
}

#[test]
fn a_plan_in_toml_has_defaults_and_names_the_place_of_what_it_cannot_have() {
    let plan = Plan::from_toml("models = ['m']\nround_time = '500ms'\nprecisions = ['q8', '4bit']\n[warmup]\nmost = 7")
        .unwrap();
    assert_eq!(plan.round_time, Duration::from_millis(500));
    assert_eq!(plan.precisions, [Precision::Dtype("q8".into()), Precision::Bits(4)]);
    assert_eq!(plan.warmup, WarmupLimits { most: 7, ..WarmupLimits::default() });
    assert_eq!(plan.rounds, Plan::default().rounds);
    for (text, place) in [
        ("models = ['m']\nround = 3", "line 2, column 1"),
        ("models = 'm'", "line 1, column 10"),
        ("models = ['m']\nbatch = [1, -2]", "line 2, column 13"),
        ("models = ['m']\nprecisions = ['4bits', 'xbit']", "line 2, column 14"),
        ("models = [", "line 1, column 11"),
        ("[warmup]\nround_time = '2 fortnights'", "line 2, column 1"),
    ] {
        let error = Plan::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(place), "{text:?}: {error}");
    }
    assert!(Plan::from_toml(&"#".repeat(Plan::MOST_BYTES + 1)).is_err());
}

/// What is changed, and the place that the error has.
type Case = (fn(&mut Plan), &'static str);

#[test]
fn a_plan_is_checked_at_each_place() {
    plan().check(&known()).unwrap();
    plan().check(&Known::default()).unwrap();
    let change = |change: fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        plan.check(&known()).unwrap_err().to_string()
    };
    let cases: [Case; 16] = [
        (|plan| plan.models.clear(), "models"),
        (|plan| plan.models.push("x".into()), "models[1]"),
        (|plan| plan.models.push("m".into()), "models[1]"),
        (|plan| plan.browsers = vec!["firefox".into(), "opera".into()], "browsers[1]"),
        (|plan| plan.backends = vec!["webnn".into()], "backends[0]"),
        (|plan| plan.backends.clear(), "backends"),
        (|plan| plan.precisions = vec![Precision::Auto, Precision::Dtype("fp64".into())], "precisions[1]"),
        (|plan| plan.precisions = vec![Precision::Bits(3)], "precisions[0]"),
        (|plan| plan.batch = vec![1, 0], "batch[1]"),
        (|plan| plan.threads = vec![65], "threads[0]"),
        (|plan| plan.workers = vec![0], "workers[0]"),
        (|plan| plan.rounds = 0, "rounds"),
        (|plan| plan.round_time = Duration::from_secs(601), "round_time"),
        (|plan| plan.warmup.least = plan.warmup.most + 1, "warmup.least"),
        (|plan| plan.inputs.images = vec!["x".repeat(5000).into()], "inputs.images[0]"),
        (|plan| (plan.batch, plan.concurrency) = ((1..=100).collect(), (1..=100).collect()), "its lists"),
    ];
    for (made, place) in cases {
        let error = change(made);
        assert!(error.contains(&format!("at {place}:")), "{place}: {error}");
    }
}

#[test]
fn what_cannot_be_is_there_and_says_why() {
    let plan = Plan {
        backends: vec!["wasm".into(), "webgpu".into()],
        threads: vec![1, 2],
        batch: vec![1],
        precisions: vec![Precision::Auto],
        ..plan()
    };
    let cells = plan.cells();
    let told: Vec<_> =
        cells.iter().map(|it| (it.cell.backend.as_str(), it.cell.threads, it.skipped.is_some())).collect();
    assert_eq!(told, [("wasm", 1, false), ("wasm", 2, false), ("webgpu", 0, false), ("webgpu", 2, true)]);
    assert!(cells[3].skipped.as_ref().unwrap().contains("no threads"));
}

#[test]
fn keys_tell_cells_apart_whatever_their_names() {
    let mut one = crate::fixtures::cell();
    one.model = "a\" \"b".into();
    let mut other = crate::fixtures::cell();
    (other.model, other.browser) = ("a".into(), "b".into());
    assert_ne!(one.key(), other.key());
}

fn list<T: std::fmt::Debug + Clone + 'static>(values: impl Into<Vec<T>>) -> impl Strategy<Value = Vec<T>> {
    let values = values.into();
    let count = values.len();
    proptest::sample::subsequence(values, 1..=count)
}

prop_compose! {
    fn plans()(
        models in list(["m".to_owned(), "n".to_owned()]),
        browsers in proptest::sample::subsequence(vec!["chromium".to_owned(), "firefox".to_owned()], 0..=2),
        backends in list(["wasm".to_owned(), "webgpu".to_owned()]),
        precisions in list([Precision::Auto, Precision::Dtype("q8".into()), Precision::Bits(4)]),
        (batch, concurrency, threads, workers) in (list([1, 8]), list([1, 4]), list([0, 1, 2]), list([1, 2])),
        (rounds, repeats, seed) in (1..6_u32, 1..3_u32, any::<u32>()),
    ) -> Plan {
        let plan = Plan { models, browsers, backends, precisions, batch, concurrency, ..Plan::default() };
        Plan { threads, workers, rounds, repeats, seed, ..plan }
    }
}

proptest! {
    #[test]
    fn a_plan_survives_toml_and_has_each_combination(plan in plans()) {
        plan.check(&known()).unwrap();
        let text = toml::to_string(&plan).unwrap();
        prop_assert_eq!(&Plan::from_toml(&text).unwrap(), &plan);
        let cells = plan.cells();
        let names = plan.models.len() * plan.browsers.len().max(1) * plan.backends.len() * plan.precisions.len();
        let numbers = plan.batch.len() * plan.concurrency.len() * plan.threads.len() * plan.workers.len();
        prop_assert_eq!(cells.len(), names * numbers * plan.repeats as usize);
        let measured: Vec<_> = cells.iter().filter(|it| it.skipped.is_none()).map(|it| it.cell.key()).collect();
        let distinct: BTreeSet<_> = measured.iter().collect();
        prop_assert_eq!(distinct.len() * plan.repeats as usize, measured.len(), "the same is measured once");
    }

    #[test]
    fn a_schedule_has_each_round_once_and_mirrors_each_pair_of_passes(
        (count, rounds, at_once) in (0..20_usize, 1..7_u32, 1..5_u32), seed: u32
    ) {
        let cells: Vec<_> = (0..count).map(|index| index * 3).collect();
        let schedule = Schedule::new(&cells, rounds, at_once, seed);
        prop_assert_eq!(&schedule, &Schedule::new(&cells, rounds, at_once, seed));
        let turns = schedule.blocks.iter().flat_map(|block| &block.turns);
        let all: BTreeSet<_> = turns.map(|turn| (turn.cell, turn.round)).collect();
        let wanted: BTreeSet<_> = cells.iter().flat_map(|cell| (0..rounds).map(|round| (*cell, round))).collect();
        prop_assert_eq!(all.len(), schedule.blocks.iter().map(|block| block.turns.len()).sum::<usize>());
        prop_assert_eq!(all, wanted);
        for block in &schedule.blocks {
            prop_assert!(block.cells.len() <= at_once as usize);
            for passes in block.turns.chunks_exact(2 * block.cells.len()) {
                let order: Vec<_> = passes.iter().map(|turn| turn.cell).collect();
                let mirrored: Vec<_> = order.iter().rev().copied().collect();
                prop_assert_eq!(order, mirrored);
            }
        }
    }

    #[test]
    fn any_text_is_a_plan_or_an_error(text in ".{0,200}") {
        let _ = Plan::from_toml(&text);
    }
}
