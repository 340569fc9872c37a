//! Matrix: how models fare where, as messages.

use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tonic::Status;

use crate::{
    error::{Error, shorten},
    execution::{Backend, Hardware, judge_adapter, judge_webnn},
    knowledge::{self, Circumstance, Cost, VerdictRow},
    models::{Dtype, Model},
    pool::{Candidate, Figure, Shot, Tried, Verdict},
    proto::v1,
    scheduler::{Explanation, Standing, Why},
    size::Size,
    wire::{backend_from_wire, backend_to_wire, check_to_wire, hardware_to_wire},
};

/// The backends and precisions that a request names, each once, or all.
pub fn wanted(request: &v1::MatrixRequest, model: &Model) -> Result<(Vec<Backend>, Vec<Dtype>), Error> {
    let backend = |(index, number): (usize, &i32)| {
        let backend = v1::Backend::try_from(*number).ok().and_then(backend_from_wire);
        let known = backend.filter(|backend| Backend::ALL.contains(backend));
        known.ok_or_else(|| Error::invalid(format!("backends[{index}]"), format!("{number} is not a backend to try")))
    };
    let backends = request.backends.iter().enumerate().map(backend).collect::<Result<Vec<_>, _>>()?;
    let dtype = |(index, name): (usize, &String)| {
        let dtype = Dtype::parse(name).filter(|dtype| model.available.contains(dtype));
        dtype.ok_or_else(|| {
            let has = model.available.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(", ");
            Error::invalid(format!("dtypes[{index}]"), format!("the model has no {:?}; it has {has}", shorten(name)))
        })
    };
    let dtypes = request.dtypes.iter().enumerate().map(dtype).collect::<Result<Vec<_>, _>>()?;
    // However often one is named: it is tried once.
    let named = |it: &Backend| backends.is_empty() || backends.contains(it);
    let among = |it: &Dtype| dtypes.is_empty() || dtypes.contains(it);
    Ok((Backend::ALL.into_iter().filter(named).collect(), model.available.iter().copied().filter(among).collect()))
}

/// How many rows there will be, and each when it is there.
pub fn rows(total: usize, tried: mpsc::Receiver<Tried>) -> impl Stream<Item = Result<v1::MatrixResponse, Status>> {
    let total = u32::try_from(total).unwrap_or(u32::MAX);
    let response = move |row, done| Ok(v1::MatrixResponse { row, done, total });
    let rows = stream::unfold((tried, 0), move |(mut tried, done)| async move {
        let row = row(tried.recv().await?);
        Some((response(Some(row), done + 1), (tried, done + 1)))
    });
    stream::once(async move { response(None, 0) }).chain(rows)
}

fn row(tried: Tried) -> v1::MatrixRow {
    let row = v1::MatrixRow {
        browser: tried.info.name(),
        backend: backend_to_wire(tried.backend).into(),
        dtype: tried.dtype,
        ..v1::MatrixRow::default()
    };
    let (verdict, reason) = match tried.verdict {
        Verdict::Right(right) => {
            let verdict = if right.check.is_some() { v1::Verdict::Right } else { v1::Verdict::Unknown };
            return v1::MatrixRow {
                verdict: verdict.into(),
                check: right.check.as_ref().map(check_to_wire),
                costs: right.costs.iter().map(|&shot| cost(&Figure { shot, age: Duration::ZERO })).collect(),
                load_ms: u64::try_from(right.took.as_millis()).unwrap_or(u64::MAX),
                adapter: right.adapter,
                hardware: hardware_to_wire(right.hardware).into(),
                threads: right.threads,
                ..row
            };
        }
        Verdict::Wrong(reason) => (v1::Verdict::Wrong, reason),
        Verdict::Failed(reason) => (v1::Verdict::Failed, reason),
        Verdict::Lacking(reason) => (v1::Verdict::Lacking, reason),
        Verdict::Lost(reason) => (v1::Verdict::Lost, reason),
    };
    v1::MatrixRow { verdict: verdict.into(), reason, ..row }
}

/// What was measured of a precision of a model.
pub fn measured(verdicts: Vec<VerdictRow>, costs: &[Cost]) -> Vec<v1::MatrixRow> {
    let now = SystemTime::now();
    let row = |row: VerdictRow| {
        let own = costs.iter().filter(|cost| cost.circumstance == row.circumstance);
        let figure = |it: &Cost| {
            let shot = Shot { class: it.class, items: it.items, micros: it.micros_per_item, runs: it.runs };
            Figure { shot, age: now.duration_since(it.measured).unwrap_or_default() }
        };
        let it = &row.circumstance;
        v1::MatrixRow {
            browser: format!("{} {}", it.browser, it.browser_version),
            backend: backend_to_wire(it.backend).into(),
            dtype: it.dtype.clone(),
            verdict: verdict(row.verdict).into(),
            check: row.agreement.map(|(measure, value, least)| v1::Check {
                measure,
                value,
                least,
                ..Default::default()
            }),
            costs: own.map(|it| cost(&figure(it))).collect(),
            load_ms: row.load_ms,
            hardware: hardware_to_wire(kept_hardware(it)).into(),
            adapter: it.adapter.clone(),
            threads: it.threads,
            reason: row.reason,
        }
    };
    verdicts.into_iter().map(row).collect()
}

/// How far answers of a precision were from the reference at most, on these backends; `None` where none was measured.
pub fn error(verdicts: &[VerdictRow], backends: &[Backend]) -> Option<f64> {
    let measured = verdicts.iter().filter(|row| backends.contains(&row.circumstance.backend));
    let errors = measured.filter_map(|row| match row.verdict {
        knowledge::Verdict::Right => row.agreement.as_ref().map(|(_, value, _)| 1.0 - value),
        knowledge::Verdict::Wrong => Some(1.0),
        knowledge::Verdict::Failed => None,
    });
    errors.reduce(f64::max)
}

fn verdict(verdict: knowledge::Verdict) -> v1::Verdict {
    match verdict {
        knowledge::Verdict::Right => v1::Verdict::Right,
        knowledge::Verdict::Wrong => v1::Verdict::Wrong,
        knowledge::Verdict::Failed => v1::Verdict::Failed,
    }
}

/// What it ran on, as far as the name of an adapter tells.
fn kept_hardware(circumstance: &Circumstance) -> Hardware {
    match circumstance.backend {
        Backend::Wasm => Hardware::Cpu,
        Backend::WebGpu => judge_adapter(&circumstance.adapter, false, &[]),
        backend => judge_webnn(backend, &[]),
    }
}

/// What is known of a backend in a browser.
pub fn candidate(candidate: Candidate) -> v1::Candidate {
    let Candidate { browser_id, browser, backend, chosen, reason, costs, workers } = candidate;
    let costs = costs.iter().map(cost).collect();
    v1::Candidate { browser_id, browser, backend: backend_to_wire(backend).into(), chosen, reason, costs, workers }
}

/// Where the next usual batch of a model would go.
pub fn routes(explanation: Explanation) -> Vec<v1::Route> {
    let best = explanation.best;
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let route = |(index, standing): (usize, Standing)| v1::Route {
        worker: standing.worker_id,
        browser: standing.kind.browser,
        backend: backend_to_wire(standing.kind.backend).into(),
        dtype: standing.kind.dtype,
        batch_items: number(standing.pays),
        predicted_us: standing.predicted.map(micros).unwrap_or_default(),
        through_us: micros(standing.through),
        slowness: standing.slowness,
        in_hand: number(standing.in_hand),
        runs: standing.runs,
        chosen_because: match best {
            Some((chosen, why)) if chosen == index => because(why).to_owned(),
            _ => String::new(),
        },
    };
    explanation.workers.into_iter().enumerate().map(route).collect()
}

fn because(why: Why) -> &'static str {
    match why {
        Why::Alone => "it is the only one",
        Why::Unknown => "nothing is known of its kind, so it is tried",
        Why::Fastest => "it takes the least time",
        Why::Free => "those that take less time have more in hand",
        Why::Turn => "several are equal, and it has run the least",
    }
}

fn cost(Figure { shot, age }: &Figure) -> v1::Cost {
    v1::Cost {
        length: Size::longest(shot.class),
        items: shot.items,
        item_us: shot.micros,
        runs: shot.runs,
        age_s: age.as_secs(),
    }
}
