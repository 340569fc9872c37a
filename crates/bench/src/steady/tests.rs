//! The beginning of a series is found, whatever it looks like, and what never becomes steady is told.

use std::time::Duration;

use proptest::prelude::*;

use super::{warmup::steady_from, *};
use crate::{
    fixtures::{Noise, conditions, row},
    plan::WarmupLimits,
    record::WarmedUp,
};

/// Times around one, of which the first ones are longer, and less so with each.
fn series(seed: u64, beginning: usize, length: usize, longer: f64) -> Vec<f64> {
    let mut noise = Noise::new(seed, 0.5, 0.03);
    let extra = |index: usize| if index < beginning { longer * (1.0 - index as f64 / beginning as f64) } else { 0.0 };
    (0..length).map(|index| noise.draw().exp() + extra(index)).collect()
}

fn feed(limits: &WarmupLimits, times: impl Iterator<Item = f64>) -> Option<WarmedUp> {
    let mut warmup = Warmup::new(limits);
    let mut elapsed = 0.0;
    times.map(|time| time * 0.001).find_map(|time| {
        elapsed += time;
        warmup.push(Duration::from_secs_f64(time), Duration::from_secs_f64(elapsed))
    })
}

#[test]
fn a_beginning_is_cut_off() {
    for seed in 0..50 {
        let cut = truncation(&series(seed, 20, 200, 3.0)).unwrap();
        assert!((12..100).contains(&cut), "{seed}: {cut}");
        // Where the rest happens to move, it is not steady yet.
        let cut = steady_from(&series(seed, 20, 200, 3.0));
        assert!(cut.is_none_or(|cut| (10..100).contains(&cut)), "{seed}: {cut:?}");
    }
    assert_eq!(truncation(&[1.0; 20]), Some(0));
    assert_eq!(truncation(&[]), None);
    assert_eq!(truncation(&[1.0; 4]), None);
    // The first run compiles.
    let mut compiled = vec![1.0; 20];
    compiled[0] = 50.0;
    assert_eq!(truncation(&compiled), Some(1));
    // More than half of it is beginning.
    assert_eq!(truncation(&series(1, 30, 40, 3.0)), None);
}

#[test]
fn a_warm_up_ends_soon_after_times_are_steady_and_not_before() {
    let limits = WarmupLimits { time: Duration::from_secs(60), ..WarmupLimits::default() };
    for beginning in [0, 3, 20, 100] {
        for seed in 0..50 {
            let times = series(seed, beginning, 2000, 3.0);
            let over = feed(&limits, times.into_iter()).unwrap();
            assert!(over.steady, "{beginning}, {seed}: {over:?}");
            assert!(over.requests as usize >= beginning, "{beginning}, {seed}: {over:?}");
            assert!(over.requests as usize <= 60 + 4 * beginning, "{beginning}, {seed}: {over:?}");
        }
    }
}

#[test]
fn what_never_becomes_steady_ends_at_its_bounds() {
    let limits = WarmupLimits { most: 300, ..WarmupLimits::default() };
    let growing = |index: u32| 1.0 + 0.02 * f64::from(index);
    let over = feed(&limits, (0..).map(growing)).unwrap();
    assert_eq!((over.requests, over.unlike, over.steady), (300, 300, false));
    let limits = WarmupLimits { time: Duration::from_millis(100), ..limits };
    let over = feed(&limits, (0..).map(growing)).unwrap();
    assert!(!over.steady && over.requests < 100, "{over:?}");
}

#[test]
fn the_chance_of_a_trend_is_exact_for_few_rounds() {
    let trend = |values: &[f64]| Trend::of(values).unwrap();
    // One order of 120 in each direction.
    assert!((trend(&[1.0, 2.0, 3.0, 4.0, 5.0]).p - 2.0 / 120.0).abs() < 1e-12);
    // And those that are one exchange of neighbours away from it: four more.
    assert!((trend(&[2.0, 1.0, 3.0, 4.0, 5.0]).p - 10.0 / 120.0).abs() < 1e-12);
    assert!((trend(&[1.0, 2.0, 3.0]).change - 1.0).abs() < 1e-12);
    assert_eq!(trend(&[3.0; 6]), Trend { change: 0.0, p: 1.0 });
    assert_eq!(Trend::of(&[1.0, 2.0]), None);
    assert_eq!(Trend::of(&[0.0; 5]), None);
    // Where it is no longer exact it goes on as before.
    let swapped = |length: u32| {
        (0..length).map(|index| f64::from(if index % 3 == 0 { index + 9 } else { index })).collect::<Vec<_>>()
    };
    let (exact, near) = (trend(&swapped(20)).p, trend(&swapped(21)).p);
    assert!((near.ln() - exact.ln()).abs() < 1.0, "{exact}, {near}");
}

#[test]
fn marks_tell_what_is_against_a_row() {
    let names = |row: &crate::Row| marks(row, 2).iter().map(Mark::name).collect::<Vec<_>>();
    let good = row(&[100.0, 101.0, 99.0, 100.5, 99.5]);
    assert_eq!(names(&good), Vec::<&str>::new());
    assert_eq!(names(&row(&[100.0, 130.0, 90.0, 120.0, 85.0])), ["noisy"]);
    assert_eq!(names(&row(&[100.0, 99.0, 98.0, 96.0, 95.0])), ["throttled"]);
    assert_eq!(names(&row(&[95.0, 96.0, 98.0, 99.0, 100.0])), Vec::<&str>::new(), "to become faster is no throttling");
    assert_eq!(names(&row(&[100.0, 90.0])), ["noisy"]);
    let mut warming = good.clone();
    warming.warmed_up = Some(WarmedUp { requests: 9, unlike: 9, seconds: 1.0, steady: false });
    warming.conditions = Some(crate::Conditions { load_before: Some(1.5), ..conditions() });
    warming.rounds[0].failed = 3;
    assert_eq!(names(&warming), ["warming", "busy", "failing"]);
    assert!(marks(&warming, 8).iter().all(|mark| mark.name() != "busy"));
}

#[test]
fn rounds_that_are_alike_are_seldom_called_throttled() {
    let told = |seed: &u64| {
        let mut noise = Noise::new(*seed, 0.0, 0.03);
        let throughputs: Vec<_> = (0..10).map(|_| 100.0 * noise.draw().exp()).collect();
        marks(&row(&throughputs), 2).iter().any(|mark| mark.name() == "throttled")
    };
    let share = (0..400).filter(told).count();
    assert!(share <= 400 / 20, "{share}");
}

proptest! {
    #[test]
    fn a_cut_leaves_half_and_depends_on_no_scale(
        values in prop::collection::vec(0.001..1000.0_f64, 0..200), scale in 1..9_u32
    ) {
        let cut = truncation(&values);
        prop_assert!(cut.is_none_or(|cut| cut < values.len() / 2));
        // A power of two, so that nothing is rounded.
        let scaled: Vec<_> = values.iter().map(|value| value * f64::from(1 << scale)).collect();
        prop_assert_eq!(truncation(&scaled), cut);
    }

    #[test]
    fn a_warm_up_always_ends(times in prop::collection::vec(0.0..100.0_f64, 100), least in 1..20_u32, more in 0..80_u32) {
        let limits = WarmupLimits { least, most: least + more, time: Duration::from_secs(3600) };
        let over = feed(&limits, times.into_iter()).unwrap();
        prop_assert!(over.requests >= least && over.requests <= least + more && over.unlike <= over.requests);
    }

    #[test]
    fn the_reverse_of_a_series_has_the_opposite_trend(values in prop::collection::vec(1.0..2.0_f64, 3..40)) {
        let reverse: Vec<_> = values.iter().rev().copied().collect();
        let (trend, back) = (Trend::of(&values).unwrap(), Trend::of(&reverse).unwrap());
        prop_assert!((trend.p - back.p).abs() < 1e-9 && (0.0..=1.0).contains(&trend.p));
        prop_assert!((trend.change + back.change).abs() < 1e-9);
    }
}
