//! Rates: what models did in some seconds, added up.

use crate::proto::v1;

/// Where the time of a batch goes, in the order of its way.
pub const HOPS: [&str; 5] = ["queue", "bridge", "preprocess", "inference", "postprocess"];

/// What was done, by one model or by all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    /// Seconds in which it was done.
    pub seconds: u64,
    pub answered: u64,
    pub failed: u64,
    pub items: u64,
    pub batches: u64,
    pub tokens: u64,
    /// Items that waited at the end.
    pub queued: u64,
    /// Microseconds within which 50, 95 and 99 of 100 were answered, in the slowest second and by the slowest model;
    /// 0 where nothing was answered.
    pub quantiles_us: [u64; 3],
    /// Microseconds of all batches, by hop.
    pub hops_us: [u64; 5],
}

impl Did {
    /// What a model did in these seconds, or all did where none is named.
    pub fn of<'a>(seconds: impl IntoIterator<Item = &'a v1::Second>, model: Option<&str>) -> Self {
        let mut all = Self::default();
        for second in seconds {
            (all.seconds, all.queued) = (all.seconds + 1, 0);
            for did in second.models.iter().filter(|did| model.is_none_or(|model| did.model == model)) {
                all.add(did);
            }
        }
        all
    }

    fn add(&mut self, did: &v1::ModelActivity) {
        self.answered += u64::from(did.answered);
        self.failed += u64::from(did.failed);
        self.items += u64::from(did.items);
        self.batches += u64::from(did.batches);
        self.tokens += did.tokens;
        self.queued += u64::from(did.queue_items);
        for (most, us) in self.quantiles_us.iter_mut().zip([did.p50_us, did.p95_us, did.p99_us]) {
            *most = (*most).max(us);
        }
        let hops = did.timings.unwrap_or_default();
        let hops = [hops.queue_us, hops.bridge_us, hops.preprocess_us, hops.inference_us, hops.postprocess_us];
        for (sum, us) in self.hops_us.iter_mut().zip(hops) {
            *sum += us;
        }
    }

    /// So many a second.
    pub fn per_second(&self, many: u64) -> f64 {
        many as f64 / self.seconds.max(1) as f64
    }

    /// Each hop's time in a batch, and its part of the whole; none where nothing ran.
    pub fn hops(&self) -> Option<[(u64, f64); 5]> {
        let all: u64 = self.hops_us.iter().sum();
        (self.batches > 0 && all > 0).then(|| self.hops_us.map(|us| (us / self.batches, us as f64 / all as f64)))
    }
}

#[cfg(test)]
pub mod tests {
    use super::Did;
    use crate::proto::v1;

    /// A second in which models did so much.
    pub fn second(end: u64, models: Vec<v1::ModelActivity>) -> v1::Second {
        v1::Second { end_ms: end * 1000, models }
    }

    pub fn activity(model: &str, answered: u32, p95_us: u64) -> v1::ModelActivity {
        let timings = Some(v1::Timings { queue_us: 30, inference_us: 90, ..Default::default() });
        v1::ModelActivity {
            model: model.into(),
            answered,
            p95_us,
            batches: 3,
            queue_items: 2,
            timings,
            ..Default::default()
        }
    }

    #[test]
    fn what_was_done_is_added_up_and_what_waits_is_not() {
        let seconds = [
            second(1, vec![activity("a", 1, 10), activity("b", 2, 20)]),
            second(2, vec![activity("a", 3, 5), activity("b", 4, 15)]),
        ];
        let all = Did::of(&seconds, None);
        assert_eq!((all.seconds, all.answered, all.queued, all.quantiles_us[1]), (2, 10, 4, 20));
        assert!((all.per_second(all.answered) - 5.0).abs() < f64::EPSILON);
        let one = Did::of(&seconds, Some("a"));
        assert_eq!((one.answered, one.queued, one.quantiles_us[1]), (4, 2, 10));
        assert_eq!(one.hops().unwrap()[0], (10, 0.25));
        assert_eq!(one.hops().unwrap()[3], (30, 0.75));
        assert_eq!(Did::of(&seconds, Some("c")).hops(), None);
        assert_eq!(Did::of([], None).per_second(0), 0.0);
    }
}
