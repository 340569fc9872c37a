//! Findings: what is broken, and what does not run as it was asked to, in words.

use crate::{
    cli::{pool, report},
    proto::v1,
};

use super::{
    rates::{Did, HOPS},
    state::Known,
    words,
};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// It is broken.
    Bad,
    /// It is slow, or not what was asked for.
    Warn,
    /// It passes by itself.
    Note,
}

/// Failures are counted over as many seconds.
const FAILED_SECONDS: usize = 60;
/// What is slow is judged by as many seconds.
const SLOW_SECONDS: usize = 10;
/// Waiting that takes this part of the time, and this long, is worth a word.
const WAITING: (f64, u64) = (0.5, 250_000);

/// All there is, the worst first.
pub fn all(known: &Known) -> Vec<(Tone, String)> {
    let mut found = Vec::new();
    if let Some(pool) = &known.pool {
        browsers(pool, &mut found);
        let workers = pool.browsers.iter().flat_map(|browser| &browser.workers);
        workers.for_each(|worker| runs(worker, &known.models, &mut found));
    }
    for model in &known.models {
        let id = model.spec.as_ref().map_or("", |spec| &spec.id);
        match model.state() {
            v1::ModelState::Failed => found.push((Tone::Bad, model.error.clone())),
            v1::ModelState::Simulated => found.push((Tone::Bad, format!("{id} is simulated: {}", model.error))),
            v1::ModelState::Loading => found.push((Tone::Note, format!("{id} is being loaded"))),
            _ => {}
        }
        let failed = Did::of(known.last(FAILED_SECONDS), Some(id)).failed;
        if failed > 0 {
            found.push((Tone::Bad, format!("{failed} requests of {id} failed in the last minute")));
        }
        if let Some([(us, part), ..]) = Did::of(known.last(SLOW_SECONDS), Some(id)).hops()
            && part >= WAITING.0
            && us >= WAITING.1
        {
            let time = words::time(us);
            found.push((Tone::Warn, format!("{id} waits for workers: {time} of each batch's time in the {}", HOPS[0])));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn browsers(pool: &v1::PoolStatus, found: &mut Vec<(Tone, String)>) {
    for browser in pool.browsers.iter().filter(|browser| browser.state() == v1::BrowserState::BackingOff) {
        found.push((Tone::Bad, format!("{} is down: {}", browser.id, browser.reason)));
    }
    let is = |state| pool.browsers.iter().any(|browser| browser.state() == state);
    if !is(v1::BrowserState::Ready) {
        found.push(if pool.wanted_browsers == 0 {
            (Tone::Note, "the pool sleeps: the next request starts a browser".into())
        } else if is(v1::BrowserState::Starting) {
            (Tone::Warn, "no browser serves yet: one is being started".into())
        } else {
            (Tone::Bad, "no browser serves".into())
        });
    }
    for breaker in &pool.breakers {
        let (state, backend) = (pool::breaker_state(breaker.state()), report::backend(breaker.backend()));
        let (model, browser) = (&breaker.model, &breaker.browser);
        found.push((Tone::Warn, format!("{model} keeps failing to load on {backend} in {browser}: breaker {state}")));
    }
}

/// What a worker runs on, where that is not what it was to run on.
fn runs(worker: &v1::Worker, models: &[v1::Model], found: &mut Vec<(Tone, String)>) {
    let model = &worker.model;
    if worker.hardware() == v1::Hardware::SoftwareAdapter {
        found.push((Tone::Warn, format!("{model} runs on a software adapter ({}), not on a GPU", worker.adapter)));
    }
    let specs = models.iter().filter_map(|model| model.spec.as_ref());
    let wanted = specs.filter(|spec| spec.id == *model).find_map(|spec| spec.backends().next());
    if let Some(wanted) = wanted.filter(|&wanted| worker.backend != 0 && wanted != worker.backend()) {
        let [wanted, runs] = [wanted, worker.backend()].map(report::backend);
        found.push((Tone::Warn, format!("{model} was to run on {wanted}, and runs on {runs}")));
    }
}

#[cfg(test)]
mod tests {
    use super::{Tone, all};
    use crate::{
        cli::top::{
            rates::tests::{activity, second},
            state::Known,
        },
        proto::v1,
    };

    fn known() -> Known {
        let browser = v1::Browser { state: v1::BrowserState::Ready.into(), ..Default::default() };
        let pool = v1::PoolStatus { browsers: vec![browser], wanted_browsers: 1, ..Default::default() };
        let spec = v1::ModelSpec { id: "a".into(), backends: vec![v1::Backend::Wasm.into()], ..Default::default() };
        let model = v1::Model { spec: Some(spec), state: v1::ModelState::Ready.into(), ..Default::default() };
        Known { pool: Some(pool), models: vec![model], ..Known::default() }
    }

    #[test]
    fn nothing_is_found_where_all_is_well() {
        let mut known = known();
        known.seconds.push_back(second(1, vec![activity("a", 5, 10)]));
        assert_eq!(all(&known), []);
        assert_eq!(all(&Known::default()), []);
    }

    #[test]
    fn what_is_wrong_is_told_once_and_the_worst_first() {
        let mut known = known();
        let worker = v1::Worker {
            model: "a".into(),
            backend: v1::Backend::Webgpu.into(),
            hardware: v1::Hardware::SoftwareAdapter.into(),
            adapter: "SwiftShader".into(),
            ..Default::default()
        };
        known.pool.as_mut().unwrap().browsers[0].workers = vec![worker.clone(), worker];
        known.models[0].state = v1::ModelState::Loading.into();
        known.seconds.push_back(second(1, vec![v1::ModelActivity { failed: 3, ..activity("a", 1, 1) }]));
        let tones = all(&known).into_iter().map(|(tone, _)| tone).collect::<Vec<_>>();
        assert_eq!(tones, [Tone::Bad, Tone::Warn, Tone::Warn, Tone::Note]);
        known.pool = Some(v1::PoolStatus { wanted_browsers: 1, ..Default::default() });
        assert!(all(&known).contains(&(Tone::Bad, "no browser serves".into())));
    }
}
