//! Tests: what is learned is near what ran, and follows it.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Cost, Learned, OLD};

/// Microseconds of a batch.
type Price = fn(usize) -> f64;

const LINEAR: Price = |items| 1000.0 * items as f64;
const MOSTLY_FIXED: Price = |items| 1000.0 + 10.0 * items as f64;
const UP_TO_EIGHT: Price = |items| 1000.0 * (items as f64).max(1.0) / (items.min(8) as f64).powf(0.3);

/// The size that most of the last batches had: now and then another one is tried.
fn settle(cost: Price, most: usize, noise: &[f64]) -> usize {
    let (mut learned, now) = (Learned::default(), Instant::now());
    let mut sizes = Vec::new();
    for noise in noise {
        let items = learned.pays(7, most);
        assert!((1..=most).contains(&items));
        learned.cut_full(7);
        learned.record((7, items), Duration::from_secs_f64(cost(items) * noise / 1e6), false, now);
        sizes.push(items);
    }
    let last = &mut sizes[noise.len() - 21..];
    last.sort_unstable();
    last[10]
}

#[test]
fn the_size_that_pays_is_found() {
    let quiet = [1.0; 60];
    assert_eq!(settle(LINEAR, 64, &quiet), 1);
    assert_eq!(settle(MOSTLY_FIXED, 64, &quiet), 64);
    assert_eq!(settle(UP_TO_EIGHT, 64, &quiet), 8);
    assert_eq!(settle(MOSTLY_FIXED, 1, &quiet), 1);
    assert_eq!(settle(MOSTLY_FIXED, 12, &quiet), 12);
}

#[test]
fn a_first_run_is_a_guess_and_costs_have_bounds() {
    let (now, mut learned) = (Instant::now(), Learned::default());
    learned.record_cold((8, 4), Duration::from_secs(2), false, now);
    assert_eq!(learned.predict(8, 4), Some(Duration::from_secs(2)));
    learned.record((8, 4), Duration::from_millis(20), false, now);
    assert_eq!(learned.predict(8, 4), Some(Duration::from_millis(20)));
    let cost = Cost { class: 200, items: u32::MAX, micros_per_item: f64::NAN, runs: 0, age: Duration::MAX };
    learned.seed(cost, now);
    learned.seed(Cost { class: 8, ..cost }, now);
    learned.seed(Cost { class: 8, micros_per_item: 5.0, ..cost }, now);
    assert_eq!(learned.item_us(8, 5000), Some(5.0));
    // What has run is not overwritten.
    learned.seed(Cost { class: 8, micros_per_item: 5.0, items: 4, ..cost }, now);
    assert_eq!(learned.predict(8, 4), Some(Duration::from_millis(20)));
}

#[test]
fn a_size_that_was_slow_once_gets_another_chance() {
    let (mut learned, now) = (Learned::default(), Instant::now());
    let mut most_seen = 0;
    for run in 0..1000 {
        let items = learned.pays(0, 64);
        learned.cut_full(0);
        // Whatever is larger than one is slow at first.
        let us = if items > 1 && run < 20 { 1e7 } else { MOSTLY_FIXED(items) };
        learned.record((0, items), Duration::from_secs_f64(us / 1e6), false, now);
        most_seen = most_seen.max(items);
    }
    assert_eq!(most_seen, 64);
}

proptest! {
    #[test]
    fn a_prediction_is_near_what_ran(class in 0u8..64, items in 1usize..4096, us in 1u64..10_000_000) {
        let mut learned = Learned::default();
        prop_assert_eq!(learned.predict(class, items), None);
        let took = Duration::from_micros(us);
        learned.record((class, items), took, false, Instant::now());
        let predicted = learned.predict(class, items).unwrap();
        prop_assert!(predicted.abs_diff(took) <= Duration::from_micros(1), "{predicted:?}");
        // Every other batch has a prediction, too.
        prop_assert!(learned.predict(63 - class, 1 + items / 2).is_some());
    }

    /// What is read out can be taken over, and is then known from the start.
    #[test]
    fn what_was_learned_is_kept(runs in proptest::collection::vec((0u8..64, 1usize..4096, 1u64..10_000_000), 1..40)) {
        let (now, mut learned, mut again) = (Instant::now(), Learned::default(), Learned::default());
        for (class, items, us) in &runs {
            learned.record((*class, *items), Duration::from_micros(*us), false, now);
        }
        let later = now + Duration::from_secs(1);
        let costs: Vec<_> = learned.costs(later).collect();
        costs.iter().for_each(|cost| again.seed(*cost, later));
        prop_assert_eq!(again.costs(later).collect::<Vec<_>>(), costs);
        for (class, items, _) in runs {
            prop_assert_eq!(again.predict(class, items), learned.predict(class, items));
        }
    }

    /// A mean that is old gives way at once to a run that is faster, and by a good part to one that is slower; one that
    /// is fresh does so by and by, and no single run moves it far.
    #[test]
    fn what_is_known_ages(before in 10u64..1_000_000, after in 10u64..1_000_000) {
        let (now, mut learned) = (Instant::now(), Learned::default());
        let took = Duration::from_micros;
        (0..5).for_each(|_| learned.record((3, 1), took(before), false, now));
        let item_us = |learned: &Learned| learned.item_us(3, 1).unwrap();
        let (before, after_us) = (item_us(&learned), after as f64);
        learned.record((3, 1), took(after), false, now);
        prop_assert!((0.75..1.33).contains(&(item_us(&learned) / before)));
        (0..60).for_each(|_| learned.record((3, 1), took(after), false, now));
        prop_assert!((0.99..1.01).contains(&(item_us(&learned) / after_us)), "{}", item_us(&learned));
        let later = now + OLD + Duration::from_secs(1);
        learned.record((3, 1), took(after / 3), false, later);
        prop_assert!((item_us(&learned) / (after / 3) as f64 - 1.0).abs() < 0.01);
    }

    #[test]
    fn noise_does_not_hide_what_pays(noise in proptest::collection::vec(0.8f64..1.25, 400)) {
        prop_assert!(settle(MOSTLY_FIXED, 64, &noise) >= 8);
    }
}
