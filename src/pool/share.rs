//! Share: how many replicas each model gets of the workers and the memory that there are. Pure.

use std::time::Instant;

/// A model that is to be loaded, or is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// Replicas that it has to have, at least 1.
    pub least: usize,
    /// Replicas that it may have.
    pub most: usize,
    /// Replicas that it has, or that are on their way.
    pub now: usize,
    /// Replicas that its work would keep busy.
    pub demand: f64,
    /// Bytes of memory of one replica, about.
    pub bytes: u64,
    /// When work for it was last there.
    pub used: Instant,
    /// Whether it has nothing to do, so that it may be put to sleep.
    pub idle: bool,
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Workers that the cores can keep busy.
    pub workers: usize,
    /// Bytes of memory for replicas.
    pub bytes: u64,
}

/// What a model gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many replicas, at least 1.
    Replicas(usize),
    /// None until it is asked for again: others need the memory, and it was not used for longest.
    Sleep,
    /// None: there is no memory for it, and nobody sleeps who could give way.
    NoRoom,
}

/// A replica that a model has counts this much more than one that it would get, so that none moves for a trifle.
const KEEP: f64 = 1.2;
/// Demand of a model that nobody asks: what is left over is spread evenly.
const IDLE: f64 = 0.01;

/// Shares out. Each model gets its least, as long as the memory allows: those that were not used for longest give way to
/// those that have no replica yet. What workers are left go one by one to the model that has most work for each of its
/// replicas, which is the rule of highest averages (d'Hondt).
pub fn share(claims: &[Claim], budget: Budget) -> Vec<Grant> {
    let mut grants: Vec<_> = claims.iter().map(|claim| Grant::Replicas(claim.least.max(1))).collect();
    while bytes(claims, &grants) > budget.bytes {
        let awake = |index: &usize| matches!(grants[*index], Grant::Replicas(_));
        let all = (0..claims.len()).filter(awake).collect::<Vec<_>>();
        let oldest = all.iter().copied().filter(|index| claims[*index].idle && claims[*index].now > 0);
        // Of those that have none yet the newest gives way: it has waited least.
        let newest = all.iter().copied().filter(|index| claims[*index].now == 0);
        if let Some(index) = oldest.min_by_key(|index| claims[*index].used) {
            grants[index] = Grant::Sleep;
        } else if let Some(index) = newest.max_by_key(|index| claims[*index].used) {
            grants[index] = Grant::NoRoom;
        } else {
            break;
        }
    }
    while workers(&grants) < budget.workers {
        let average = |index: usize| {
            let (claim, Grant::Replicas(replicas)) = (&claims[index], grants[index]) else { return None };
            let fits = bytes(claims, &grants) + claim.bytes <= budget.bytes;
            let kept = if claim.now > replicas { KEEP } else { 1.0 };
            (replicas < claim.most && fits).then_some(claim.demand.max(IDLE) * kept / (replicas + 1) as f64)
        };
        let best = (0..claims.len()).filter_map(|index| Some((average(index)?, index)));
        let Some((_, index)) = best.max_by(|left, right| left.0.total_cmp(&right.0)) else { break };
        if let Grant::Replicas(replicas) = &mut grants[index] {
            *replicas += 1;
        }
    }
    grants
}

fn workers(grants: &[Grant]) -> usize {
    grants.iter().map(|grant| if let Grant::Replicas(replicas) = grant { *replicas } else { 0 }).sum()
}

fn bytes(claims: &[Claim], grants: &[Grant]) -> u64 {
    let one = |(claim, grant): (&Claim, &Grant)| match grant {
        Grant::Replicas(replicas) => claim.bytes.saturating_mul(*replicas as u64),
        Grant::Sleep | Grant::NoRoom => 0,
    };
    claims.iter().zip(grants).map(one).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Budget, Claim, Grant, bytes, share, workers};

    fn claim(most: usize, now: usize, demand: f64) -> Claim {
        Claim { least: 1, most, now, demand, bytes: 100, used: Instant::now(), idle: demand == 0.0 }
    }

    const PLENTY: u64 = 1 << 40;

    #[test]
    fn workers_go_where_the_work_is() {
        let shared = |claims: &[Claim], workers| share(claims, Budget { workers, bytes: PLENTY });
        let replicas = |counts: &[usize]| counts.iter().map(|count| Grant::Replicas(*count)).collect::<Vec<_>>();
        assert_eq!(shared(&[claim(4, 0, 0.0)], 4), replicas(&[4]));
        assert_eq!(shared(&[claim(4, 2, 0.0), claim(4, 0, 0.0)], 4), replicas(&[2, 2]));
        assert_eq!(shared(&[claim(4, 3, 0.0), claim(4, 1, 3.0)], 4), replicas(&[1, 3]));
        // Nobody is without, though the workers do not suffice; and nothing moves for a trifle.
        assert_eq!(shared(&[claim(4, 1, 3.0), claim(4, 1, 0.0), claim(4, 1, 0.0)], 2), replicas(&[1, 1, 1]));
        assert_eq!(shared(&[claim(4, 2, 1.9), claim(4, 1, 2.0)], 3), replicas(&[2, 1]));
        assert_eq!(shared(&[claim(4, 2, 1.0), claim(4, 1, 2.0)], 3), replicas(&[1, 2]));
    }

    #[test]
    fn what_was_not_used_for_longest_gives_way() {
        let now = Instant::now();
        let at = |seconds, used| Claim { used: now + Duration::from_secs(seconds), ..used };
        let memory = Budget { workers: 2, bytes: 200 };
        let claims = [at(5, claim(1, 1, 0.0)), at(3, claim(1, 1, 0.0)), at(9, claim(1, 0, 1.0))];
        assert_eq!(share(&claims, memory), [Grant::Replicas(1), Grant::Sleep, Grant::Replicas(1)]);
        let claims = [at(5, claim(1, 1, 1.0)), at(3, claim(1, 1, 1.0)), at(9, claim(1, 0, 1.0))];
        assert_eq!(share(&claims, memory), [Grant::Replicas(1), Grant::Replicas(1), Grant::NoRoom]);
    }

    proptest! {
        /// Nobody gets more than it may have, or none without need; workers and memory are neither overrun nor wasted.
        #[test]
        fn what_there_is_is_shared_out(
            claims in proptest::collection::vec((1usize..4, 0usize..4, 0usize..5, 0.0f64..5.0, 1u64..1000, 0u64..100), 0..8),
            workers_there in 0usize..12,
            memory in 0u64..5000,
        ) {
            let start = Instant::now();
            let claims: Vec<_> = claims.into_iter().map(|(least, more, now, demand, bytes, age)| {
                let used = start + Duration::from_secs(age);
                Claim { least, most: least + more, now, demand, bytes, used, idle: demand < 1.0 }
            }).collect();
            let budget = Budget { workers: workers_there, bytes: memory };
            let grants = share(&claims, budget);
            let least: usize = claims.iter().map(|claim| claim.least).sum();
            prop_assert!(workers(&grants) <= workers_there.max(least));
            let busy = |claim: &Claim| claim.now > 0 && !claim.idle;
            prop_assert!(bytes(&claims, &grants) <= memory || claims.iter().any(busy));
            for (claim, grant) in claims.iter().zip(&grants) {
                match grant {
                    Grant::Replicas(replicas) => {
                        prop_assert!((claim.least..=claim.most).contains(replicas));
                        let one_more = bytes(&claims, &grants) + claim.bytes <= memory;
                        prop_assert!(*replicas == claim.most || workers(&grants) >= workers_there || !one_more);
                    }
                    Grant::Sleep => prop_assert!(claim.idle && claim.now > 0),
                    Grant::NoRoom => prop_assert_eq!(claim.now, 0),
                }
            }
        }
    }
}
