//! Route: which of the replicas with room gets the next batch. Pure.

use crate::pool::Load;

/// The one with the fewest batches in hand; among equals the one that has run least, so that all stay warm.
pub fn choose(loads: &[Load]) -> Option<usize> {
    let least = loads.iter().enumerate().min_by_key(|(_, load)| (load.in_flight, load.batches_run))?;
    Some(least.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::choose;
    use crate::pool::Load;

    proptest! {
        #[test]
        fn nobody_is_less_busy_than_the_chosen(loads in proptest::collection::vec((0u32..4, 0u64..9), 0..9)) {
            let loads: Vec<_> =
                loads.into_iter().map(|(in_flight, batches_run)| Load { in_flight, batches_run }).collect();
            match choose(&loads) {
                None => prop_assert!(loads.is_empty()),
                Some(chosen) => {
                    let chosen = loads[chosen];
                    prop_assert!(loads.iter().all(|load| load.in_flight >= chosen.in_flight));
                }
            }
        }
    }
}
