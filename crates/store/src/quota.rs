//! Quota: which models give way to a new one. Pure.

use std::time::SystemTime;

/// There is too little room for what is wanted, whatever gives way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{wanted} bytes do not fit: --models-quota allows {quota}, pulled models take {taken}, and {could_go} of these could give \
    way; the others are in use. Raise the quota, choose a smaller dtype, or see `webinfer models rm`"
)]
pub struct Shortage {
    /// What pulled models may take.
    pub quota: u64,
    /// What they take.
    pub taken: u64,
    /// What was wanted.
    pub wanted: u64,
    /// What of it nobody uses.
    pub could_go: u64,
}

/// What takes room, and may give way.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub name: String,
    /// A download that did not end, and that nobody goes on with. Such go first.
    pub unfinished: bool,
    pub bytes: u64,
    pub last_used: SystemTime,
    pub in_use: bool,
}

/// What has to go, in order, so that so many bytes more are within the quota.
pub(crate) fn give_way(quota: u64, wanted: u64, mut candidates: Vec<Candidate>) -> Result<Vec<Candidate>, Shortage> {
    let total = |candidates: &[Candidate]| candidates.iter().fold(0, |sum: u64, it| sum.saturating_add(it.bytes));
    let taken = total(&candidates);
    candidates.retain(|candidate| !candidate.in_use);
    let could_go = total(&candidates);
    let mut too_much = taken.saturating_add(wanted).saturating_sub(quota);
    if too_much > could_go {
        return Err(Shortage { quota, taken, wanted, could_go });
    }
    candidates.sort_by(|a, b| (!a.unfinished, a.last_used, &a.name).cmp(&(!b.unfinished, b.last_used, &b.name)));
    let go = candidates.into_iter().take_while(|candidate| {
        let goes = too_much > 0;
        too_much = too_much.saturating_sub(candidate.bytes);
        goes
    });
    Ok(go.collect())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::{Candidate, Shortage, give_way};

    fn candidate(index: usize, (bytes, age, in_use, unfinished): (u64, u64, bool, bool)) -> Candidate {
        let last_used = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age);
        Candidate { name: format!("m{index}"), unfinished, bytes, last_used, in_use }
    }

    proptest! {
        #[test]
        fn who_is_in_use_stays_and_nobody_goes_in_vain(
            models in proptest::collection::vec((0u64..100, 0u64..1000, any::<bool>(), any::<bool>()), 0..12),
            quota in 0u64..600,
            wanted in 0u64..300,
        ) {
            let all: Vec<_> = models.iter().enumerate().map(|(index, model)| candidate(index, *model)).collect();
            let taken: u64 = all.iter().map(|it| it.bytes).sum();
            match give_way(quota, wanted, all.clone()) {
                Ok(go) => {
                    let gone: u64 = go.iter().map(|it| it.bytes).sum();
                    prop_assert!(go.iter().all(|it| !it.in_use));
                    prop_assert!(go.is_empty() || taken - gone + wanted <= quota || gone == 0);
                    prop_assert!(taken - gone + wanted <= quota || taken + wanted <= quota);
                    if let Some((last, before)) = go.split_last() {
                        let before: u64 = before.iter().map(|it| it.bytes).sum();
                        prop_assert!(taken - before + wanted > quota, "{last:?} need not have gone");
                    }
                    let stays = |it: &&Candidate| !it.in_use && !go.iter().any(|gone| gone.name == it.name);
                    let order = |it: &Candidate| (!it.unfinished, it.last_used);
                    for (stays, goes) in all.iter().filter(stays).flat_map(|it| go.iter().map(move |gone| (it, gone))) {
                        prop_assert!(order(stays) >= order(goes));
                    }
                }
                Err(Shortage { could_go, .. }) => prop_assert!(taken - could_go + wanted > quota),
            }
        }
    }
}
