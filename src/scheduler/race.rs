//! Race: the runs of one batch, of which there may be two. The first answer wins; the other run is left.

use std::{
    fmt,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    bridge::{Ran, RunItem},
    job::Job,
    pool::{Lease, Patience, Replica, RunError},
};

/// Time in which a browser that was killed is found to have been, before an item is taken for the cause.
const VERDICT_DEADLINE: Duration = Duration::from_secs(2);

/// Where a batch ran, and since when.
pub type By = (Arc<Replica>, Instant);

/// What came of one run.
pub type Outcome = Result<Ran, RunError>;

/// A batch that has its answer, or will have none.
#[derive(Debug)]
pub struct Finished {
    /// Its jobs.
    pub jobs: Vec<Job>,
    /// What came of it.
    pub result: Outcome,
    /// Whether it began to run a second time.
    pub hedged: bool,
    /// Where it ran the second time, and since when, where that is what gave the answer.
    pub by: Option<By>,
    /// What became of its first run.
    pub first: First,
}

/// What became of a batch's first run.
pub enum First {
    /// It gave the result.
    Gave,
    /// It failed, or lost its worker, before the second one answered.
    Fell(RunError),
    /// It goes on until its worker has left it.
    Goes(BoxFuture<'static, Outcome>),
}

impl fmt::Debug for First {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gave => "Gave",
            Self::Fell(_) => "Fell",
            Self::Goes(_) => "Goes",
        })
    }
}

/// The second run of a batch, for who waits for the first.
pub struct Second<B = By> {
    /// Its answer; nothing where it gave none.
    pub answer: oneshot::Receiver<Ran>,
    /// Where it runs, and since when.
    pub by: B,
    /// Tells its worker to leave it.
    pub leave: CancellationToken,
}

impl<B> Drop for Second<B> {
    fn drop(&mut self) {
        self.leave.cancel();
    }
}

/// One run of a batch, to its end. `leave` tells the worker that nobody waits for it any more. The lease is held until the
/// worker has answered.
pub async fn leg(items: Vec<RunItem>, lease: Lease, leave: CancellationToken, patience: Patience) -> Outcome {
    lease.run(&items, leave.cancelled(), patience).await
}

/// Runs a batch, whose run so many `others` share. Where a second run of it begins, that comes by `second`.
pub async fn run(
    mut jobs: Vec<Job>,
    mut others: watch::Receiver<usize>,
    (lease, patience): (Lease, Patience),
    second: oneshot::Receiver<Second>,
) -> Finished {
    let items = jobs.iter().map(item).collect();
    let leave = CancellationToken::new();
    let replica = lease.replica().clone();
    let first = leg(items, lease, leave.clone(), patience).boxed();
    let abandoned = async {
        for job in &mut jobs {
            job.reply.closed().await;
        }
        let _ = others.wait_for(|others| *others == 0).await;
    };
    let Raced { mut result, hedged, by, first } = race(first, second, abandoned, leave).await;
    // Who is suspected already is judged by the true cause.
    if let Err(RunError::Lost(loss)) = &mut result
        && jobs.iter().any(|job| !job.strikes.is_empty())
    {
        *loss = replica.true_cause(loss.clone(), VERDICT_DEADLINE).await;
    }
    Finished { jobs, result, hedged, by, first }
}

/// What of a job goes to a worker.
pub fn item(job: &Job) -> RunItem {
    RunItem { input: job.input.clone(), teller: job.teller.clone() }
}

struct Raced<B> {
    result: Outcome,
    hedged: bool,
    by: Option<B>,
    first: First,
}

/// The first answer of two runs, or the error of the first one where neither has one. Once all callers have left, both are
/// told to be.
async fn race<B: Clone>(
    mut first: BoxFuture<'static, Outcome>,
    mut coming: oneshot::Receiver<Second<B>>,
    abandoned: impl Future<Output = ()>,
    leave: CancellationToken,
) -> Raced<B> {
    tokio::pin!(abandoned);
    let mut second: Option<Second<B>> = None;
    let (mut fell, mut hedged, mut may_come, mut left) = (None, false, true, false);
    loop {
        tokio::select! {
            biased;
            result = &mut first, if fell.is_none() => match (result, &second) {
                (Err(error), Some(_)) => fell = Some(error),
                (result, _) => return Raced { result, hedged, by: None, first: First::Gave },
            },
            answer = answer(&mut second) => match (answer, fell.take()) {
                (Some((ran, by)), fell) => {
                    leave.cancel();
                    let first = fell.map_or_else(|| First::Goes(first), First::Fell);
                    return Raced { result: Ok(ran), hedged, by: Some(by), first };
                }
                (None, Some(error)) => return Raced { result: Err(error), hedged, by: None, first: First::Gave },
                (None, None) => second = None,
            },
            came = &mut coming, if may_come => {
                may_come = false;
                second = came.ok();
                hedged = second.is_some();
                if let Some(second) = second.as_ref().filter(|_| left) {
                    second.leave.cancel();
                }
            }
            () = &mut abandoned, if !left => {
                left = true;
                leave.cancel();
                if let Some(second) = &second {
                    second.leave.cancel();
                }
            }
        }
    }
}

/// What a second run answers; for ever nothing where there is none.
async fn answer<B: Clone>(second: &mut Option<Second<B>>) -> Option<(Ran, B)> {
    match second {
        Some(second) => {
            let ran = (&mut second.answer).await.ok()?;
            Some((ran, second.by.clone()))
        }
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, poll};
    use tokio::sync::oneshot;
    use tokio_util::sync::CancellationToken;

    use super::{First, Outcome, Raced, Second, race};
    use crate::{
        bridge::Ran,
        loss::{Cause, Loss},
        pool::RunError,
    };

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Event {
        /// The first run answers, or fails.
        First(bool),
        /// The second run begins.
        Comes,
        /// The second run answers, or does not.
        Second(bool),
        /// The callers leave.
        Leave,
    }

    /// An answer that tells where it is from.
    fn ran(tokens: u64) -> Ran {
        Ran { tokens, ..Ran::default() }
    }

    fn lost() -> RunError {
        RunError::Lost(Loss::new(Cause::Exited, "it is gone"))
    }

    /// What should have come of the events until now: the answer's origin or none, and what became of the first run.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Expected {
        First,
        SecondWhileFirstGoes,
        SecondAfterFirstFell,
        Neither,
    }

    fn expected(events: &[Event]) -> Option<Expected> {
        let (mut second, mut fell) = (false, false);
        for event in events {
            match event {
                Event::First(true) => return Some(Expected::First),
                Event::First(false) if second => fell = true,
                Event::First(false) => return Some(Expected::Neither),
                Event::Comes => second = true,
                Event::Second(true) if fell => return Some(Expected::SecondAfterFirstFell),
                Event::Second(true) => return Some(Expected::SecondWhileFirstGoes),
                Event::Second(false) if fell => return Some(Expected::Neither),
                Event::Second(false) => second = false,
                Event::Leave => {}
            }
        }
        None
    }

    async fn play(events: &[Event]) {
        let (first_ends, first) = oneshot::channel::<Outcome>();
        let (comes, coming) = oneshot::channel();
        let (answers, answer) = oneshot::channel();
        let (leaves, left) = oneshot::channel::<()>();
        let (leave, second_leave) = (CancellationToken::new(), CancellationToken::new());
        let first = async { first.await.unwrap() }.boxed();
        let mut race = Box::pin(race(first, coming, left.map(drop), leave.clone()));
        let (mut first_ends, mut answers) = (Some(first_ends), Some(answers));
        let (mut comes, mut leaves) = (Some(comes), Some(leaves));
        let mut second = Some(Second { answer, by: "second", leave: second_leave.clone() });
        assert!(poll!(&mut race).is_pending());
        for (index, event) in events.iter().enumerate() {
            match event {
                Event::First(true) => first_ends.take().unwrap().send(Ok(ran(1))).unwrap(),
                Event::First(false) => first_ends.take().unwrap().send(Err(lost())).unwrap(),
                Event::Comes => comes.take().unwrap().send(second.take().unwrap()).ok().unwrap(),
                Event::Second(true) => answers.take().unwrap().send(ran(2)).unwrap(),
                Event::Second(false) => drop(answers.take()),
                Event::Leave => leaves.take().unwrap().send(()).unwrap(),
            }
            let past = &events[..=index];
            let expected = expected(past);
            let came = past.contains(&Event::Comes);
            let std::task::Poll::Ready(Raced { result, hedged, by, first }) = poll!(&mut race) else {
                assert_eq!(expected, None, "{past:?}");
                let left = past.contains(&Event::Leave);
                assert_eq!(leave.is_cancelled(), left, "{past:?}");
                let second_ended = past.iter().any(|event| matches!(event, Event::Second(_)));
                assert!(second_ended || second_leave.is_cancelled() == (left && came), "{past:?}");
                continue;
            };
            let is = match (result.map(|ran| ran.tokens), by, first) {
                (Ok(1), None, First::Gave) => Expected::First,
                (Ok(2), Some("second"), First::Goes(_)) => Expected::SecondWhileFirstGoes,
                (Ok(2), Some("second"), First::Fell(_)) => Expected::SecondAfterFirstFell,
                (Err(_), None, First::Gave) => Expected::Neither,
                other => panic!("{past:?}: {other:?}"),
            };
            assert_eq!((Some(is), hedged), (expected, came), "{past:?}");
            // The run that goes on is told to be left.
            assert!(leave.is_cancelled() || is != Expected::SecondWhileFirstGoes, "{past:?}");
            assert!(second_leave.is_cancelled() || !came, "{past:?}");
            return;
        }
        assert_eq!(expected(events), None, "{events:?}");
    }

    /// All orders of a list.
    fn orders(events: &[Event]) -> Vec<Vec<Event>> {
        if events.is_empty() {
            return vec![Vec::new()];
        }
        let with = |index: usize| {
            let mut rest = events.to_vec();
            let event = rest.remove(index);
            orders(&rest).into_iter().map(move |mut order| {
                order.insert(0, event);
                order
            })
        };
        (0..events.len()).flat_map(with).collect()
    }

    /// Whatever the order in which two runs and their callers end, there is one result, and nothing is left to run unasked.
    #[tokio::test]
    async fn each_order_of_ends_has_one_result() {
        let mut played = 0;
        for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
            let all = [Event::First(first), Event::Comes, Event::Second(second), Event::Leave];
            for kept in 0..16 {
                let events: Vec<_> = (0..4).filter(|bit| kept & (1 << bit) != 0).map(|bit| all[bit]).collect();
                for order in orders(&events) {
                    let place = |event: &Event| order.iter().position(|other| other == event);
                    // A run that has not begun does not end.
                    if place(&Event::Second(second))
                        .is_some_and(|ends| place(&Event::Comes).is_none_or(|begins| begins > ends))
                    {
                        continue;
                    }
                    tokio::task::unconstrained(play(&order)).await;
                    played += 1;
                }
            }
        }
        assert!(played > 100, "{played}");
    }
}
