//! Queue: the jobs of one model in order of arrival, and how batches are cut from them. Pure.

use std::{collections::VecDeque, time::Instant};

use crate::job::Job;

/// What the queue has to know of a job.
pub trait Waiting {
    /// Whether nobody waits for it any more.
    fn is_dead(&self, now: Instant) -> bool;
}

impl Waiting for Job {
    fn is_dead(&self, now: Instant) -> bool {
        self.is_dead(now)
    }
}

/// Jobs of one model, first come, first served.
#[derive(Debug)]
pub struct Queue<J> {
    jobs: VecDeque<J>,
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        Self { jobs: VecDeque::new() }
    }
}

impl<J: Waiting> Queue<J> {
    /// Takes jobs in, behind all others.
    pub fn push(&mut self, jobs: impl IntoIterator<Item = J>) {
        self.jobs.extend(jobs);
    }

    /// Takes the jobs of a lost batch in again, before all others, in their old order.
    pub fn push_front(&mut self, jobs: Vec<J>) {
        for job in jobs.into_iter().rev() {
            self.jobs.push_front(job);
        }
    }

    /// Cuts a batch of up to `most` jobs off the front. Dead ones on the way are dropped.
    pub fn cut(&mut self, most: usize, now: Instant) -> Vec<J> {
        let mut batch = Vec::with_capacity(most.min(self.jobs.len()));
        while batch.len() < most
            && let Some(job) = self.jobs.pop_front()
        {
            if !job.is_dead(now) {
                batch.push(job);
            }
        }
        batch
    }

    /// Drops all dead jobs.
    pub fn purge(&mut self, now: Instant) {
        self.jobs.retain(|job| !job.is_dead(now));
    }

    /// All jobs, in order; the queue is empty then.
    pub fn drain(&mut self) -> impl Iterator<Item = J> {
        self.jobs.drain(..)
    }

    /// How many wait, dead ones counted.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Queue, Waiting};

    #[derive(Clone, Debug, PartialEq)]
    struct Fake {
        number: usize,
        deadline: Instant,
    }

    impl Waiting for Fake {
        fn is_dead(&self, now: Instant) -> bool {
            self.deadline <= now
        }
    }

    proptest! {
        /// Every living job leaves in exactly one batch, in order; no dead one does; no batch is too large.
        #[test]
        fn living_jobs_leave_once_and_in_order(
            lives in proptest::collection::vec(0u64..10, 0..60),
            most in 1usize..9,
            age in 0u64..10,
            lost in any::<bool>(),
        ) {
            let start = Instant::now();
            let job = |(number, life): (usize, &u64)| Fake { number, deadline: start + Duration::from_secs(*life) };
            let jobs: Vec<_> = lives.iter().enumerate().map(job).collect();
            let now = start + Duration::from_secs(age);
            let mut queue = Queue::default();
            queue.push(jobs.clone());
            if lost {
                let first = queue.cut(most, now);
                queue.push_front(first);
            }
            let mut left = Vec::new();
            loop {
                let batch = queue.cut(most, now);
                prop_assert!(batch.len() <= most);
                if batch.is_empty() {
                    break;
                }
                left.extend(batch);
            }
            prop_assert!(queue.is_empty());
            let living: Vec<_> = jobs.into_iter().filter(|job| !job.is_dead(now)).collect();
            prop_assert_eq!(left, living);
        }
    }
}
