//! Chaos: browsers are harmed at random under load, and every answer is checked. The short form runs with the tests; the
//! long ones by `make chaos` and `make soak`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use webinfer::{
    pool::{BrowserState, BrowserView, Duty, View},
    proto::v1::{self, infer_stream_response::Result as StreamResult},
};

use crate::common::{self, Service, cosine, embedding, harm::Harm, text};

const MODEL: &str = "tiny-bert";
const CALLERS: usize = 8;
/// No answer may take longer; one that does is lost.
const DEADLINE: Duration = Duration::from_secs(30);
/// Answers differ a little with the batch that they run in: the model is quantised by the batch's largest value.
const LEAST_COSINE: f64 = 0.99;

/// What came of the requests.
#[derive(Debug)]
struct Tally {
    answered: u64,
    lost: u64,
    wrong: u64,
    duplicated: u64,
    errors: BTreeMap<String, u64>,
    micros: Histogram<u64>,
}

impl Tally {
    fn new() -> Self {
        let micros = Histogram::new_with_bounds(1, 120_000_000, 3).unwrap();
        Self { answered: 0, lost: 0, wrong: 0, duplicated: 0, errors: BTreeMap::new(), micros }
    }

    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.lost += other.lost;
        self.wrong += other.wrong;
        self.duplicated += other.duplicated;
        other.errors.iter().for_each(|(error, count)| *self.errors.entry(error.clone()).or_default() += count);
        self.micros.add(&other.micros).unwrap();
    }

    fn millis(&self, part: f64) -> f64 {
        self.micros.value_at_quantile(part) as f64 / 1e3
    }
}

/// Texts and what the model answers to them.
type References = Arc<Vec<(String, Vec<f32>)>>;

async fn references(service: &Service) -> References {
    let mut all = Vec::new();
    for number in 0..64 {
        let text = format!(
            "Sentence {number} of {}.",
            ["the chaos", "a quiet day", "many words and more of them"][number % 3]
        );
        let response = service.embed(MODEL, &[&text]).await.unwrap();
        all.push((text, embedding(&response.results[0]).to_vec()));
    }
    Arc::new(all)
}

/// One caller: a stream with one request at a time, `pause` apart, until it is told to stop.
async fn caller(service: Caller, number: usize, pause: Duration, stop: watch::Receiver<bool>) -> Tally {
    let mut tally = Tally::new();
    let mut ticks = interval(pause.max(Duration::from_micros(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stream = None;
    let mut round = number;
    while !*stop.borrow() {
        ticks.tick().await;
        if stream.is_none() {
            stream = Some(service.open().await);
        }
        let Some((sender, answers)) = &mut stream else { continue };
        round += 1;
        let id = format!("{number}/{round}");
        let (word, expected) = &service.references[round * 7 % service.references.len()];
        let request = v1::InferRequest { model: MODEL.into(), items: vec![text(word)], ..Default::default() };
        let begun = Instant::now();
        sender
            .send(v1::InferStreamRequest { request_id: id.clone(), request: Some(request), partials: false })
            .await
            .unwrap();
        let answer = loop {
            match timeout(DEADLINE, answers.message()).await {
                Err(_) => break None,
                Ok(Ok(Some(answer))) if answer.request_id != id => tally.duplicated += 1,
                Ok(Ok(Some(answer))) => break answer.result,
                Ok(other) => panic!("the stream broke: {other:?}"),
            }
        };
        match answer {
            None => {
                tally.lost += 1;
                stream = None;
            }
            Some(StreamResult::Partial(partial)) => panic!("not asked for: {partial:?}"),
            Some(StreamResult::Error(error)) => *tally.errors.entry(error.message).or_default() += 1,
            Some(StreamResult::Response(response)) => {
                tally.answered += 1;
                tally.wrong += u64::from(cosine(embedding(&response.results[0]), expected) < LEAST_COSINE);
                tally.micros.record(u64::try_from(begun.elapsed().as_micros()).unwrap()).unwrap();
            }
        }
    }
    tally
}

/// What a caller needs.
#[derive(Clone)]
struct Caller {
    client: common::Inference,
    references: References,
}

type Stream = (mpsc::Sender<v1::InferStreamRequest>, Streaming<v1::InferStreamResponse>);

impl Caller {
    async fn open(&self) -> Stream {
        let (sender, requests) = mpsc::channel(1);
        let mut client = self.client.clone();
        let answers = client.infer_stream(ReceiverStream::new(requests)).await.unwrap().into_inner();
        (sender, answers)
    }
}

/// Callers that ask all the while. Each waits `pause` from one request to the next.
struct Load {
    stop: watch::Sender<bool>,
    callers: JoinSet<Tally>,
}

impl Load {
    fn start(service: &Service, references: &References, pause: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let what = Caller { client: service.inference(), references: references.clone() };
            callers.spawn(caller(what, number, pause, stopped.clone()));
        }
        Self { stop, callers }
    }

    async fn end(mut self) -> Tally {
        self.stop.send_replace(true);
        let mut all = Tally::new();
        while let Some(tally) = self.callers.join_next().await {
            all.add(&tally.unwrap());
        }
        all
    }
}

/// Whether as many browsers serve as should, and all spares are warm.
fn is_at_full_strength(view: &View, browsers: usize, spares: usize, replicas: usize) -> bool {
    let up = |duty| {
        let on = view.browsers.iter().filter(move |browser| browser.duty == duty);
        on.filter(|browser| browser.state == BrowserState::Ready)
    };
    let loaded = |duty| up(duty).flat_map(|browser| &browser.workers).filter(|worker| worker.replica.is_some()).count();
    up(Duty::Serving).count() == browsers
        && up(Duty::Spare).count() == spares
        && loaded(Duty::Serving) >= replicas
        && (spares == 0 || loaded(Duty::Spare) >= spares)
}

/// Browsers that have a replica.
fn able(view: &View) -> usize {
    let has_replica = |browser: &&BrowserView| browser.workers.iter().any(|worker| worker.replica.is_some());
    view.browsers.iter().filter(has_replica).count()
}

/// Harms a browser now and then, for as long as it says; checks what became of the requests. `least` browsers have a
/// replica before each harm: where machines are slow, none would be left at some time.
async fn chaos(time: Duration, every: Duration, least: usize, seed: u64) {
    const BROWSERS: usize = 2;
    const SPARES: usize = 1;
    let service = Service::real(&["--browsers=2", "--spares=1", "--replicas=2", "--threads=1"]).await;
    service.load(MODEL).await.unwrap();
    let strong = |view: &View| is_at_full_strength(view, BROWSERS, SPARES, BROWSERS);
    service.until(|view| strong(view)).await;
    let references = references(&service).await;
    let quiet = Load::start(&service, &references, Duration::ZERO);
    sleep(Duration::from_secs(5)).await;
    let quiet = quiet.end().await;
    assert!(quiet.wrong == 0 && quiet.errors.is_empty(), "{quiet:?}");
    // Half of what the pool can do.
    let pause = Duration::from_secs_f64(5.0 * 2.0 * CALLERS as f64 / quiet.answered as f64);
    let calm = Load::start(&service, &references, pause);
    sleep(Duration::from_secs(5)).await;
    let calm = calm.end().await;
    let load = Load::start(&service, &references, pause);
    let begun = Instant::now();
    let mut dice = Dice(seed);
    let mut harms: BTreeMap<Harm, u32> = BTreeMap::new();
    let mut noticed = Histogram::<u64>::new(3).unwrap();
    while begun.elapsed() < time {
        let next = Instant::now() + every;
        service.until(|view| able(view) >= least).await;
        let victims: Vec<_> =
            service.app.pool.view().browsers.iter().filter(|browser| browser.info.pid != 0).cloned().collect();
        if let Some(victim) = victims.get(dice.roll(victims.len().max(1))) {
            let harm = Harm::ALL[dice.roll(Harm::ALL.len())];
            let struck = Instant::now();
            if !harm.inflict(victim.info.pid).await {
                continue;
            }
            *harms.entry(harm).or_default() += 1;
            let is_gone = |view: &Arc<View>| view.browsers.iter().all(|b| b.id != victim.id || b.info.pid == 0);
            if harm.ends_browser() {
                service.until(is_gone).await;
                noticed.record(u64::try_from(struck.elapsed().as_millis()).unwrap()).unwrap();
            }
        }
        sleep(next.saturating_duration_since(Instant::now())).await;
    }
    let last = Instant::now();
    service.until(|view| strong(view)).await;
    let strength = last.elapsed();
    let all = load.end().await;
    println!("harms              {}: {harms:?}", harms.values().sum::<u32>());
    println!("requests           {}", all.answered + all.lost + all.errors.values().sum::<u64>());
    println!("lost               {}", all.lost);
    println!("wrong              {}", all.wrong);
    println!("duplicated         {}", all.duplicated);
    println!("errors             {:?}", all.errors);
    println!("noticed            p50 {} ms, most {} ms", noticed.value_at_quantile(0.5), noticed.max());
    println!("full strength      {strength:?} after the last harm");
    for (name, tally) in [("latency before", &calm), ("latency in chaos", &all)] {
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|part| tally.millis(part));
        println!("{name:<18} p50 {p50:.1} ms, p99 {p99:.1} ms, most {most:.1} ms");
    }
    assert_eq!((all.lost, all.wrong, all.duplicated), (0, 0, 0), "seed {seed}");
    assert!(all.errors.is_empty(), "{:?}, seed {seed}", all.errors);
    assert!(all.answered > 0);
    service.stop().await;
}

/// Numbers that are the same for the same seed (xorshift64, G. Marsaglia).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        for shift in [(13, true), (7, false), (17, true)] {
            self.0 ^= if shift.1 { self.0 << shift.0 } else { self.0 >> shift.0 };
        }
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_chaos_loses_nothing() {
    chaos(Duration::from_secs(60), Duration::from_secs(3), 2, 0x5eed).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes: make chaos"]
async fn ten_minutes_of_chaos_lose_nothing() {
    chaos(Duration::from_secs(600), Duration::from_secs(2), 0, rand::random::<u64>() | 1).await;
}
