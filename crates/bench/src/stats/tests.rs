//! What is told of rounds is so: of figures that are known, and of simulated machines whose truth is.

use proptest::prelude::*;

use super::{compare::holm, *};
use crate::fixtures::{Noise, row, run};

/// Requests of a simulated round.
const REQUESTS: usize = 100;
const PAIRS: u64 = 400;

fn near(one: f64, other: f64) {
    assert!((one - other).abs() < 1e-4 * other.abs().max(1.0), "{one} is not {other}");
}

#[test]
fn a_summary_is_what_its_rounds_are() {
    let summary = row(&[90.0, 100.0, 110.0, 95.0, 105.0]).summary().unwrap();
    let logs = [90.0_f64, 100.0, 110.0, 95.0, 105.0].map(f64::ln);
    let mean = logs.iter().sum::<f64>() / 5.0;
    let deviation = (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / 4.0).sqrt();
    // Neighbours differ here, so that each round counts; 2.776445 is the quantile of Student's t with 4 degrees of freedom.
    let reach = 2.776_445 * deviation / 5_f64.sqrt();
    let (low, high) = summary.throughput.interval.unwrap();
    near(summary.throughput.value, mean.exp());
    near(low, (mean - reach).exp());
    near(high, (mean + reach).exp());
    near(summary.variation, 7.905_694 / 100.0);
    assert_eq!(summary.rounds, 5);
    assert!((summary.median_us.value - 1e6 / mean.exp()).abs() < 20.0, "{:?}", summary.median_us);

    let one = row(&[50.0]).summary().unwrap();
    assert_eq!((one.throughput.interval, one.variation), (None, 0.0));
    assert_eq!(row(&[]).summary(), None);
}

#[test]
fn welch_is_as_in_the_literature() {
    let (one, other) = ([10.0, 12.0, 9.0, 11.0, 13.5], [14.0, 15.0, 13.0, 18.0, 16.0, 15.0]);
    let moments = |numbers: &[f64]| Moments { effective: numbers.len() as f64, ..Moments::of(numbers).unwrap() };
    let (one, other) = (moments(&one), moments(&other));
    let error = one.error_of_difference(&other);
    let p = error.chance(one.mean - other.mean).unwrap();
    // By an integral of the density, calculated elsewhere.
    assert!((p - 0.004_136_923).abs() < 1e-8 && (error.freedom - 8.594_961_953).abs() < 1e-8, "{p}, {error:?}");
}

#[test]
fn holm_is_as_it_was_written() {
    let adjusted = holm(&[Some(0.01), None, Some(0.04), Some(0.03), Some(0.005)]);
    let wanted = [Some(0.03), None, Some(0.06), Some(0.06), Some(0.02)];
    for (adjusted, wanted) in adjusted.iter().zip(wanted) {
        match (adjusted, wanted) {
            (Some(adjusted), Some(wanted)) => near(*adjusted, wanted),
            (adjusted, wanted) => assert_eq!(*adjusted, wanted),
        }
    }
}

#[test]
fn rows_that_cannot_be_compared_say_why() {
    let rule = Rule::default();
    let why = |base: &Row, new: &Row| match compare(&[(base, new)], false, &rule).remove(0) {
        Comparison { verdict: Verdict::Incomparable(why), change: None, p_adjusted: None, .. } => why,
        other => panic!("{other:?}"),
    };
    let full = row(&[10.0, 11.0, 12.0]);
    assert!(why(&row(&[10.0, 11.0]), &full).contains("the base has 2 rounds"));
    assert!(why(&full, &row(&[])).contains("the new row has 0 rounds"));
    let mut other = full.clone();
    other.conditions.as_mut().unwrap().asked.sha256 = "other".into();
    assert!(why(&full, &other).contains("inputs"));
    let same = compare(&[(&full, &full)], false, &rule).remove(0);
    assert_eq!((same.change.unwrap().value, same.p), (0.0, Some(1.0)));
    let still = row(&[10.0; 5]);
    assert_eq!(compare(&[(&still, &still)], true, &rule).remove(0).verdict, Verdict::Same);
    assert_eq!(compare(&[(&still, &row(&[9.0; 5]))], true, &rule).remove(0).verdict, Verdict::Slower);
}

#[test]
fn runs_are_compared_cell_by_cell_and_none_is_dropped() {
    let (base, mut new) = (run(0, 100.0), run(1, 80.0));
    new.rows[1].cell.batch = 3;
    new.service_version = "0.2.0".into();
    let compared = compare_runs(&base, &new, &Rule::default());
    assert_eq!(compared.comparisons.len(), 1);
    assert_eq!(compared.comparisons[0].verdict, Verdict::Slower);
    assert_eq!(compared.only_base, [base.rows[1].cell.clone()]);
    assert_eq!(compared.only_new, [new.rows[1].cell.clone()]);
    assert_eq!(compared.differences.len(), 1);
}

/// Throughputs of the rounds of two cells on one simulated machine, in turn (A B B A): requests take a time whose logarithm
/// is noise in which each is like the one before, and the second cell's take longer by a factor.
fn in_turn(seed: u64, rounds: usize, variation: f64, slower: f64) -> [Vec<f64>; 2] {
    // The mean of so many requests varies by so much less than one of them.
    let alike: f64 = 0.9;
    let deviation = variation / ((1.0 + alike) / (1.0 - alike) / REQUESTS as f64).sqrt();
    let mut noise = Noise::new(seed, alike, deviation);
    let mut cells = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for cell in order {
            let factor = if cell == 1 { slower } else { 1.0 };
            let seconds: f64 = (0..REQUESTS).map(|_| 0.01 * factor * noise.draw().exp()).sum();
            cells[cell].push(REQUESTS as f64 / seconds);
        }
    }
    cells
}

/// How many of `PAIRS` pairs of rows have such a verdict.
fn told(cells: impl Fn(u64) -> [Vec<f64>; 2], paired: bool, rule: &Rule, verdicts: &[Verdict]) -> f64 {
    let is = |seed: &u64| {
        let [base, new] = cells(*seed).map(|throughputs| row(&throughputs));
        verdicts.contains(&compare(&[(&base, &new)], paired, rule).remove(0).verdict)
    };
    (0..PAIRS).filter(is).count() as f64 / PAIRS as f64
}

const DIFFERENT: [Verdict; 2] = [Verdict::Faster, Verdict::Slower];

#[test]
fn of_pairs_that_are_alike_one_in_twenty_at_most_is_called_different() {
    let told_all = Rule { least: 0.0, ..Rule::default() };
    for rounds in [5, 10] {
        for variation in [0.01, 0.03, 0.05] {
            for paired in [true, false] {
                let cells = |seed| in_turn(seed, rounds, variation, 1.0);
                let case = format!("{rounds} rounds, {variation}, {paired}");
                let usual = told(cells, paired, &Rule::default(), &DIFFERENT);
                assert!(usual <= 0.05, "{case}: {usual}");
                let all = told(cells, paired, &told_all, &DIFFERENT);
                assert!(all <= 0.05, "{case}: {all}");
            }
        }
    }
}

#[test]
fn rounds_that_are_like_the_one_before_are_not_taken_for_more_than_they_are() {
    for alike in [0.0, 0.3, 0.5] {
        let cells = |seed: u64| {
            [2 * seed, 2 * seed + 1].map(|seed| {
                let mut noise = Noise::new(seed, alike, 0.03);
                (0..10).map(|_| 100.0 * noise.draw().exp()).collect()
            })
        };
        let usual = told(cells, false, &Rule::default(), &DIFFERENT);
        assert!(usual <= 0.05, "{alike}: {usual}");
    }
}

#[test]
fn a_slowdown_of_5_percent_is_found_and_has_its_size() {
    for (rounds, variation) in [(5, 0.005), (10, 0.01), (20, 0.02)] {
        let slower = told(|seed| in_turn(seed, rounds, variation, 1.05), true, &Rule::default(), &[Verdict::Slower]);
        assert!(slower >= 0.95, "{rounds} rounds, {variation}: {slower}");
    }
    let holds = |seed: &u64| {
        let [base, new] = in_turn(*seed, 10, 0.02, 1.05).map(|throughputs| row(&throughputs));
        let (low, high) = compare(&[(&base, &new)], true, &Rule::default())[0].change.unwrap().interval.unwrap();
        (low..=high).contains(&(1.0 / 1.05 - 1.0))
    };
    let coverage = (0..PAIRS).filter(holds).count() as f64 / PAIRS as f64;
    assert!(coverage >= CONFIDENCE - 0.022, "{coverage}");
}

#[test]
fn quiet_rows_that_are_alike_are_called_the_same() {
    let same = told(|seed| in_turn(seed, 20, 0.005, 1.0), true, &Rule::default(), &[Verdict::Same]);
    assert!(same >= 0.95, "{same}");
    let unclear = told(|seed| in_turn(seed, 5, 0.05, 1.0), true, &Rule::default(), &[Verdict::Unclear]);
    assert!(unclear >= 0.8, "{unclear}");
}

#[test]
fn many_cells_at_once_raise_no_more_false_alarms_than_one() {
    let families = 100;
    let alarmed = |family: &u64| {
        let rows: Vec<_> = (0..20)
            .map(|cell| in_turn(family * 1000 + cell, 5, 0.03, 1.0).map(|throughputs| row(&throughputs)))
            .collect();
        let pairs: Vec<_> = rows.iter().map(|[base, new]| (base, new)).collect();
        compare(&pairs, true, &Rule::default()).iter().any(|one| DIFFERENT.contains(&one.verdict))
    };
    let share = (0..families).filter(alarmed).count() as f64 / families as f64;
    assert!(share <= 0.05 + 2.0 * (0.05 * 0.95 / families as f64).sqrt(), "{share}");
}

#[test]
fn a_calibration_tells_what_is_found_here() {
    let mut run = run(0, 1.0);
    run.plan.repeats = 2;
    let [one, other] = in_turn(7, 10, 0.01, 1.0).map(|throughputs| row(&throughputs));
    run.rows = vec![one, other];
    let calibration = calibrate(&run, &Rule::default()).unwrap();
    assert_eq!((calibration.pairs, calibration.false_alarms), (1, 0));
    // So much is found in four of five such pairs.
    let found = calibration.found;
    assert!((0.02..0.04).contains(&found), "{found}");
    run.rows.pop();
    assert_eq!(calibrate(&run, &Rule::default()), None);
}

fn some<S: Strategy>(values: S) -> impl Strategy<Value = Vec<S::Value>> {
    prop::collection::vec(values, 1..12)
}

proptest! {
    #[test]
    fn figures_are_whole_for_all_rounds(throughputs in some(0.01..1e6_f64), others in some(0.01..1e6_f64)) {
        let (base, new) = (row(&throughputs), row(&others));
        let summary = base.summary().unwrap();
        let value = summary.throughput.value;
        prop_assert!(value.is_finite() && value > 0.0);
        if let Some((low, high)) = summary.throughput.interval {
            prop_assert!(low <= value && value <= high);
        }
        for paired in [true, false] {
            let one = compare(&[(&base, &new)], paired, &Rule::default()).remove(0);
            let back = compare(&[(&new, &base)], paired, &Rule::default()).remove(0);
            prop_assert_eq!(one.p.is_some(), one.change.is_some());
            prop_assert!(one.p.is_none_or(|p| (0.0..=1.0).contains(&p)));
            if let (Some(p), Some(q)) = (one.p, back.p) {
                prop_assert!((p - q).abs() < 1e-9, "{} and {}", p, q);
            }
        }
    }

    #[test]
    fn a_correction_never_makes_a_chance_smaller_and_keeps_their_order(chances in some(prop::option::of(0.0..=1.0_f64))) {
        let adjusted = holm(&chances);
        let both = chances.iter().zip(&adjusted);
        let known: Vec<_> = both.filter_map(|(p, adjusted)| Some(((*p)?, (*adjusted)?))).collect();
        for (p, adjusted) in &known {
            prop_assert!(p <= adjusted && *adjusted <= 1.0);
            prop_assert!(known.iter().all(|(q, other)| p >= q || adjusted <= other));
        }
    }
}
