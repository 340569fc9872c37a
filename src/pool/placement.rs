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

/// How well a model fits a browser; the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    /// Backends that the registration likes better than the best of that browser.
    pub rank: usize,
    /// Whether another kind of browser is guessed to be faster.
    pub strange: bool,
}

/// A model that is to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Replicas asked for.
    pub wanted: usize,
    /// Replicas that serve.
    pub ready: usize,
    /// Replicas on their way.
    pub coming: usize,
    /// How it fits each browser; `None` where it cannot run.
    pub fits: Vec<Option<Fit>>,
}

/// The places of the workers to start for each model, in the order of `demands`.
///
/// The first replica of a model comes alone, so that it serves as soon as it can and a model that cannot be loaded
/// fails once; the others follow together. Each goes to the browsers where it runs on its best backend, of these to the one
/// with the fewest workers, and of these to one of the kind that is guessed to be fastest. What falls to a browser that is
/// only starting waits for that: a pool whose browsers come up at different times would stay uneven.
pub fn place(rooms: &mut [Room], demands: &[Demand]) -> Vec<Vec<usize>> {
    let missing = |demand: &Demand| match demand.ready {
        0 => demand.wanted.min(1).saturating_sub(demand.coming),
        ready => demand.wanted.saturating_sub(ready + demand.coming),
    };
    let mut next = |demand: &Demand| {
        let fits = rooms.iter_mut().zip(&demand.fits).filter_map(|(room, fit)| Some((room, (*fit)?)));
        let first = demand.ready == 0;
        let (room, _) =
            fits.min_by_key(|(room, fit)| (fit.rank, first && !room.up, room.workers, fit.strange, room.place))?;
        room.workers += 1;
        Some(*room)
    };
    let mut places = |demand: &Demand| {
        let chosen = (0..missing(demand)).map_while(|_| next(demand));
        chosen.filter(|room| room.up).map(|room| room.place).collect()
    };
    demands.iter().map(&mut places).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Demand, Fit, Room, place};

    proptest! {
        #[test]
        fn as_many_as_asked_and_evenly(
            workers in proptest::collection::vec((0usize..5, any::<bool>()), 0..5),
            demands in proptest::collection::vec((0usize..6, 0usize..6, 0usize..6), 0..5),
            ranks in proptest::collection::vec(proptest::option::of(0usize..3), 5),
            even in any::<bool>(),
        ) {
            let mut rooms: Vec<_> =
                workers.iter().enumerate().map(|(place, &(workers, up))| Room { place, up, workers }).collect();
            let all_up = !rooms.is_empty() && rooms.iter().all(|room| room.up);
            let fit = |rank| Fit { rank, strange: false };
            let fits: Vec<_> = ranks.iter().map(|rank| if even { Some(fit(0)) } else { rank.map(fit) }).collect();
            let best = rooms.iter().zip(&fits).filter_map(|(_, fit)| *fit).min();
            let demands: Vec<_> =
                demands.into_iter().map(|(wanted, ready, coming)| Demand { wanted, ready, coming, fits: fits.clone() }).collect();
            let most_before = workers.iter().map(|(workers, _)| *workers).max().unwrap_or(0);
            let placed = place(&mut rooms, &demands);
            prop_assert_eq!(placed.len(), demands.len());
            for (places, demand) in placed.iter().zip(&demands) {
                let after = demand.ready + demand.coming + places.len();
                prop_assert!(places.is_empty() || after <= demand.wanted);
                prop_assert!(demand.ready > 0 || demand.coming + places.len() <= 1.max(demand.coming));
                prop_assert!(!all_up || best.is_none() || demand.ready == 0 || after >= demand.wanted);
                prop_assert!(places.iter().all(|&place| workers[place].1 && fits[place] == best));
                // The first replica waits for a browser that starts only where that would run it on a better backend.
                let first = demand.ready + demand.coming == 0 && demand.wanted > 0;
                let one = rooms.iter().zip(&fits).any(|(room, fit)| room.up && fit.is_some() && *fit == best);
                prop_assert!(!first || places.len() == usize::from(one));
            }
            // Where all are up and alike, none goes above both its load before and the most even spread.
            let total: usize = rooms.iter().map(|room| room.workers).sum();
            let spread = if rooms.is_empty() { 0 } else { total.div_ceil(rooms.len()) };
            prop_assert!(!even || !all_up || rooms.iter().all(|room| room.workers <= most_before.max(spread)));
        }
    }
}
