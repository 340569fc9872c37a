//! Runs: plans of benchmarks and what was found, between messages and the types of `webinfer_bench`.

use std::time::Duration;

use webinfer_bench::{
    Cell, Comparison, Conditions, Estimate, Hardware, Inputs, Listed, Plan, Precision, Row, RowState, Run, RunState,
    Summary, plan::WarmupLimits, stats::Verdict, steady::marks,
};

use crate::{
    benchmark::{Given, Phase, Step, What},
    error::{Error, shorten},
    execution::{self, Backend},
    proto::v1,
    wire::{backend_from_wire, backend_to_wire, hardware_to_wire},
};

/// The plan of a message, with its defaults filled in. Whether it can be meant is checked later.
pub fn plan(message: v1::BenchmarkPlan) -> Result<Plan, Error> {
    let own = Plan::default();
    let backends = message.backends.iter().enumerate().map(|(index, number)| {
        let backend = v1::Backend::try_from(*number).ok().and_then(backend_from_wire);
        let known = backend.filter(|backend| Backend::ALL.contains(backend));
        let wrong =
            || Error::invalid(format!("plan.backends[{index}]"), format!("{number} is not a backend to measure"));
        known.map(|backend| backend.name().to_owned()).ok_or_else(wrong)
    });
    let precisions = message.precisions.iter().enumerate().map(|(index, text)| {
        let wrong = |message| Error::invalid(format!("plan.precisions[{index}]"), message);
        shorten(text).parse::<Precision>().map_err(wrong)
    });
    let paths = |names: Vec<String>| names.into_iter().map(Into::into).collect();
    Ok(Plan {
        models: message.models,
        browsers: message.browsers,
        backends: or(backends.collect::<Result<_, _>>()?, own.backends),
        precisions: or(precisions.collect::<Result<_, _>>()?, own.precisions),
        batch: or(message.batch, own.batch),
        concurrency: or(message.concurrency, own.concurrency),
        threads: or(message.threads, own.threads),
        workers: or(message.workers, own.workers),
        repeats: if message.repeats == 0 { own.repeats } else { message.repeats },
        rounds: if message.rounds == 0 { own.rounds } else { message.rounds },
        round_time: time(message.round_ms, own.round_time),
        warmup: WarmupLimits {
            least: if message.warm_up_least == 0 { own.warmup.least } else { message.warm_up_least },
            most: if message.warm_up_most == 0 { own.warmup.most } else { message.warm_up_most },
            time: time(message.warm_up_ms, own.warmup.time),
        },
        at_once: if message.at_once == 0 { own.at_once } else { message.at_once },
        inputs: Inputs {
            texts: paths(message.text_files),
            images: paths(message.image_files),
            audio: paths(message.audio_files),
        },
        seed: message.seed,
    })
}

/// The same as a message.
pub fn plan_to_wire(plan: &Plan) -> Result<v1::BenchmarkPlan, String> {
    let backends =
        plan.backends.iter().map(|name| -> Result<i32, String> { Ok(backend_to_wire(name.parse()?).into()) });
    let names = |paths: &[std::path::PathBuf]| paths.iter().map(|path| path.display().to_string()).collect();
    Ok(v1::BenchmarkPlan {
        models: plan.models.clone(),
        browsers: plan.browsers.clone(),
        backends: backends.collect::<Result<_, String>>()?,
        precisions: plan.precisions.iter().map(Precision::to_string).collect(),
        batch: plan.batch.clone(),
        concurrency: plan.concurrency.clone(),
        threads: plan.threads.clone(),
        workers: plan.workers.clone(),
        repeats: plan.repeats,
        rounds: plan.rounds,
        round_ms: millis(plan.round_time),
        warm_up_least: plan.warmup.least,
        warm_up_most: plan.warmup.most,
        warm_up_ms: millis(plan.warmup.time),
        at_once: plan.at_once,
        seed: plan.seed,
        text_files: names(&plan.inputs.texts),
        image_files: names(&plan.inputs.images),
        audio_files: names(&plan.inputs.audio),
    })
}

/// What the models are asked, with the names of the files that it is of.
pub fn given(what: &What, items: Vec<v1::Item>, parameters: Option<v1::Parameters>) -> Given {
    let names = match what {
        What::Plan(plan) => {
            let Inputs { texts, images, audio } = &plan.inputs;
            let all = texts.iter().chain(images).chain(audio);
            all.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        }
        What::Resume(_) => String::new(),
    };
    let what = if names.is_empty() { "the caller's inputs".to_owned() } else { shorten(&names) };
    Given { items, parameters, what }
}

/// How far a run is.
pub fn step(step: Step) -> v1::RunResponse {
    let phase = match step.phase {
        Phase::Load => v1::BenchmarkPhase::Load,
        Phase::WarmUp => v1::BenchmarkPhase::WarmUp,
        Phase::Round => v1::BenchmarkPhase::Round,
        Phase::Done => v1::BenchmarkPhase::Done,
    };
    let (done_rows, rows) = (number(step.rows.0), number(step.rows.1));
    let (done_rounds, rounds) = (number(step.rounds.0), number(step.rounds.1));
    v1::RunResponse {
        id: step.id.to_string(),
        phase: phase.into(),
        cell: step.cell.as_ref().map(cell),
        done_rows,
        rows,
        done_rounds,
        rounds,
        remaining_ms: step.remaining.map_or(0, millis),
        row: step.row.map(|row| self::row(&row, step.cores)),
    }
}

/// A run with its rows.
pub fn run(run: &Run) -> v1::BenchmarkRun {
    let measured = run.rows.iter().filter(|row| row.state == RowState::Measured).count();
    v1::BenchmarkRun {
        id: run.id.to_string(),
        started_ms: run.started_ms,
        ended_ms: run.ended_ms.unwrap_or(0),
        state: state(run.state).into(),
        models: run.plan.models.clone(),
        row_count: number(run.rows.len()),
        measured_rows: number(measured),
        rows: run.rows.iter().map(|row| self::row(row, run.machine.cores)).collect(),
    }
}

/// All that is kept of a run, as JSON.
pub fn record(run: &Run) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(run).map_err(|error| Error::Internal(error.to_string()))
}

/// A run of a list.
pub fn listed(listed: Listed) -> v1::BenchmarkRun {
    v1::BenchmarkRun {
        id: listed.id.to_string(),
        started_ms: listed.started_ms,
        ended_ms: listed.ended_ms.unwrap_or(0),
        state: state(listed.state).into(),
        models: listed.models,
        row_count: listed.cells,
        measured_rows: listed.measured,
        rows: Vec::new(),
    }
}

/// How a row stands to an earlier one.
pub fn comparison(comparison: Comparison) -> v1::BenchmarkComparison {
    let (verdict, reason) = match comparison.verdict {
        Verdict::Faster => (v1::BenchmarkVerdict::Faster, String::new()),
        Verdict::Slower => (v1::BenchmarkVerdict::Slower, String::new()),
        Verdict::Same => (v1::BenchmarkVerdict::Same, String::new()),
        Verdict::Unclear => (v1::BenchmarkVerdict::Unclear, String::new()),
        Verdict::Incomparable(reason) => (v1::BenchmarkVerdict::Incomparable, reason),
    };
    let differences =
        comparison.differences.iter().map(|it| format!("{} was {:?} and is {:?}", it.what, it.was, it.is));
    v1::BenchmarkComparison {
        cell: Some(cell(&comparison.new)),
        verdict: verdict.into(),
        change: comparison.change.as_ref().map(estimate),
        p: comparison.p_adjusted.unwrap_or(1.0),
        reason,
        differences: differences.collect(),
    }
}

fn row(row: &Row, cores: u32) -> v1::BenchmarkRow {
    let (state, reason) = match &row.state {
        RowState::Pending => (v1::BenchmarkRowState::Pending, ""),
        RowState::Measured => (v1::BenchmarkRowState::Measured, ""),
        RowState::Skipped { reason } => (v1::BenchmarkRowState::Skipped, reason.as_str()),
        RowState::Failed { reason } => (v1::BenchmarkRowState::Failed, reason.as_str()),
        RowState::Lost { reason } => (v1::BenchmarkRowState::Lost, reason.as_str()),
    };
    v1::BenchmarkRow {
        cell: Some(cell(&row.cell)),
        state: state.into(),
        reason: reason.to_owned(),
        conditions: row.conditions.as_ref().map(conditions),
        load_us: row.load_us.unwrap_or(0),
        first_result_us: row.first_result_us.unwrap_or(0),
        warm_up_requests: row.warmed_up.map_or(0, |warmed_up| warmed_up.requests),
        summary: row.summary().map(|summary| self::summary(row, &summary)),
        memory_bytes: row.memory.value().map_or(0, |memory| memory.bytes),
        check: row.agreement.as_ref().map(|it| v1::Check {
            measure: it.measure.clone(),
            value: it.value,
            least: it.least,
            against: it.against.clone(),
        }),
        marks: marks(row, cores).iter().map(|mark| format!("{}: {mark}", mark.name())).collect(),
    }
}

fn conditions(it: &Conditions) -> v1::BenchmarkConditions {
    let hardware = match it.hardware {
        Hardware::Unknown => execution::Hardware::Unknown,
        Hardware::Cpu => execution::Hardware::Cpu,
        Hardware::Software => execution::Hardware::SoftwareAdapter,
        Hardware::Gpu => execution::Hardware::Gpu,
    };
    v1::BenchmarkConditions {
        browser: it.browser.clone(),
        browser_version: it.browser_version.clone(),
        backend: backend(&it.backend).into(),
        adapter: it.adapter.clone(),
        hardware: hardware_to_wire(hardware).into(),
        dtype: it.dtype.clone(),
        threads: it.threads,
        workers: it.workers,
        model_sha256: it.model_sha256.clone(),
        transformers_version: it.transformers_version.clone(),
        onnxruntime_version: it.onnxruntime_version.clone(),
        items_sha256: it.asked.sha256.clone(),
    }
}

fn summary(row: &Row, it: &Summary) -> v1::BenchmarkSummary {
    let (hops, items) = (it.hops, row.rounds.iter().map(|round| round.items).sum::<u64>());
    let batches = hops.batches.max(1);
    v1::BenchmarkSummary {
        rounds: it.rounds,
        throughput: Some(estimate(&it.throughput)),
        median_us: Some(estimate(&it.median_us)),
        p90_us: it.latency.p90_us,
        p99_us: it.latency.p99_us,
        variation: it.variation,
        hops: Some(v1::Timings {
            queue_us: hops.queue_us / batches,
            bridge_us: hops.bridge_us / batches,
            preprocess_us: hops.preprocess_us / batches,
            inference_us: hops.inference_us / batches,
            postprocess_us: hops.postprocess_us / batches,
        }),
        batch_items: items as f64 / batches as f64,
        joules_per_item: it.joules_per_item.unwrap_or(0.0),
    }
}

fn cell(cell: &Cell) -> v1::BenchmarkCell {
    v1::BenchmarkCell {
        model: cell.model.clone(),
        browser: cell.browser.clone(),
        backend: backend(&cell.backend).into(),
        precision: cell.precision.to_string(),
        batch: cell.batch,
        concurrency: cell.concurrency,
        threads: cell.threads,
        workers: cell.workers,
    }
}

/// A backend of a record; not said, where another version knew others.
fn backend(name: &str) -> v1::Backend {
    name.parse().map_or(v1::Backend::Unspecified, backend_to_wire)
}

fn estimate(it: &Estimate) -> v1::BenchmarkEstimate {
    let (low, high) = it.interval.unwrap_or_default();
    v1::BenchmarkEstimate { value: it.value, low, high }
}

fn state(state: RunState) -> v1::BenchmarkState {
    match state {
        RunState::Running => v1::BenchmarkState::Running,
        RunState::Complete => v1::BenchmarkState::Complete,
        RunState::Interrupted => v1::BenchmarkState::Interrupted,
    }
}

fn or<T>(given: Vec<T>, own: Vec<T>) -> Vec<T> {
    if given.is_empty() { own } else { given }
}

fn time(millis: u64, own: Duration) -> Duration {
    if millis == 0 { own } else { Duration::from_millis(millis) }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use webinfer_bench::{Known, Plan};

    use super::{plan, plan_to_wire};

    #[test]
    fn a_plan_is_the_same_after_its_way_and_one_that_says_little_has_the_defaults() {
        let text = "models = ['a']\nbackends = ['wasm', 'webnn-gpu']\nprecisions = ['auto', 'q8', '4bit']\nbatch = [1, 8]\n\
                    threads = [0, 2]\nrounds = 3\nround_time = '1s'\nseed = 7\n[inputs]\nimages = ['x.png']\n";
        let own = Plan::from_toml(text).unwrap();
        assert_eq!(plan(plan_to_wire(&own).unwrap()).unwrap(), own);
        let short = crate::proto::v1::BenchmarkPlan { models: vec!["a".into()], ..Default::default() };
        assert_eq!(plan(short).unwrap(), Plan { models: vec!["a".into()], ..Plan::default() });
    }

    #[test]
    fn what_is_no_backend_or_precision_is_named() {
        let wrong = crate::proto::v1::BenchmarkPlan { backends: vec![6], ..Default::default() };
        assert!(plan(wrong).unwrap_err().to_string().contains("plan.backends[0]"));
        let wrong = crate::proto::v1::BenchmarkPlan { precisions: vec!["x4bit".into()], ..Default::default() };
        assert!(plan(wrong).unwrap_err().to_string().contains("plan.precisions[0]"));
        let empty = plan(Default::default()).unwrap();
        assert!(empty.check(&Known::default()).unwrap_err().to_string().contains("models"));
    }
}
