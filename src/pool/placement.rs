//! Placement: which replica is started next, and in which browser. Pure.

/// A browser that can take workers, or soon can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Its place in the pool.
    pub place: usize,
    /// Whether it can now.
    pub up: bool,
    /// Workers that it has.
    pub workers: usize,
}

/// A model that is to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Replicas asked for.
    pub wanted: usize,
    /// Replicas that serve.
    pub ready: usize,
    /// Replicas on their way.
    pub coming: usize,
}

/// The places of the workers to start for each model, in the order of `demands`.
///
/// The first replica of a model comes alone, so that it serves as soon as it can and a model that cannot be loaded
/// fails once; the others follow together, each to the browser with the fewest workers. What falls to a browser that is
/// only starting waits for that: a pool whose browsers come up at different times would stay uneven.
pub fn place(rooms: &mut [Room], demands: &[Demand]) -> Vec<Vec<usize>> {
    let missing = |demand: &Demand| match demand.ready {
        0 => demand.wanted.min(1).saturating_sub(demand.coming),
        ready => demand.wanted.saturating_sub(ready + demand.coming),
    };
    let mut next = |first: bool| {
        let fit = rooms.iter_mut().filter(|room| room.up || !first);
        let room = fit.min_by_key(|room| (room.workers, room.place))?;
        room.workers += 1;
        Some(*room)
    };
    let mut places = |demand: &Demand| {
        let chosen = (0..missing(demand)).map_while(|_| next(demand.ready == 0));
        chosen.filter(|room| room.up).map(|room| room.place).collect()
    };
    demands.iter().map(&mut places).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Demand, Room, place};

    proptest! {
        #[test]
        fn as_many_as_asked_and_evenly(
            workers in proptest::collection::vec((0usize..5, any::<bool>()), 0..5),
            demands in proptest::collection::vec((0usize..6, 0usize..6, 0usize..6), 0..5),
        ) {
            let mut rooms: Vec<_> =
                workers.iter().enumerate().map(|(place, &(workers, up))| Room { place, up, workers }).collect();
            let all_up = !rooms.is_empty() && rooms.iter().all(|room| room.up);
            let demands: Vec<_> =
                demands.into_iter().map(|(wanted, ready, coming)| Demand { wanted, ready, coming }).collect();
            let most_before = workers.iter().map(|(workers, _)| *workers).max().unwrap_or(0);
            let placed = place(&mut rooms, &demands);
            prop_assert_eq!(placed.len(), demands.len());
            for (places, demand) in placed.iter().zip(&demands) {
                let after = demand.ready + demand.coming + places.len();
                prop_assert!(places.is_empty() || after <= demand.wanted);
                prop_assert!(demand.ready > 0 || demand.coming + places.len() <= 1.max(demand.coming));
                prop_assert!(!all_up || demand.ready == 0 || after >= demand.wanted);
                prop_assert!(places.iter().all(|&place| workers[place].1));
                // Nobody waits for a browser that starts, where another can have the first replica.
                let first = demand.ready + demand.coming == 0 && demand.wanted > 0;
                prop_assert!(!first || places.len() == usize::from(workers.iter().any(|(_, up)| *up)));
            }
            // Where all are up, none goes above both its load before and the most even spread.
            let total: usize = rooms.iter().map(|room| room.workers).sum();
            let even = if rooms.is_empty() { 0 } else { total.div_ceil(rooms.len()) };
            prop_assert!(!all_up || rooms.iter().all(|room| room.workers <= most_before.max(even)));
        }
    }
}
