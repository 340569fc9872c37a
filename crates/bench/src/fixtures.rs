//! Runs for the tests.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{
    Cell, Conditions, Hardware, Latencies, Machine, Plan, Precision, Round, Row, RowState, Run, RunId, RunState,
    record::{Asked, Hops},
};

pub const BEGAN: u64 = 1_796_000_000_000;

pub fn plan() -> Plan {
    Plan { models: vec!["m".into()], batch: vec![1, 8], rounds: 5, ..Plan::default() }
}

pub fn machine() -> Machine {
    Machine { os: "Linux 6.1".into(), cpu: "a CPU".into(), cores: 2, memory_bytes: 1 << 34 }
}

pub fn cell() -> Cell {
    Cell {
        model: "m".into(),
        browser: String::new(),
        backend: "wasm".into(),
        precision: Precision::Auto,
        batch: 1,
        concurrency: 1,
        threads: 0,
        workers: 1,
    }
}

pub fn conditions() -> Conditions {
    Conditions {
        browser: "Chrome".into(),
        browser_version: "156.0".into(),
        driver: "chromium".into(),
        backend: "wasm".into(),
        hardware: Hardware::Cpu,
        workers: 1,
        dtype: "q8".into(),
        bits: 8,
        model_sha256: "ab".into(),
        asked: Asked { what: "probes".into(), count: 4, sha256: "cd".into() },
        load_before: Some(0.1),
        ..Conditions::default()
    }
}

/// A round of two seconds with so many items a second, each in a request of its own.
pub fn round(index: u32, throughput: f64) -> Round {
    let items = (throughput * 2.0).round().max(1.0) as u64;
    Round {
        index,
        started_ms: BEGAN + u64::from(index) * 4000,
        seconds: items as f64 / throughput,
        items,
        failed: 0,
        latencies: Latencies::try_from(vec![((1e6 / throughput).ceil() as u64, items)]).unwrap(),
        hops: Hops { batches: items, inference_us: items * 900, ..Hops::default() },
    }
}

/// A row with these throughputs.
pub fn row(throughputs: &[f64]) -> Row {
    let mut row = Row::new(crate::Planned { cell: cell(), skipped: None });
    row.conditions = Some(conditions());
    row.state = RowState::Measured;
    row.rounds = (0..).zip(throughputs).map(|(index, throughput)| round(index, *throughput)).collect();
    row
}

/// A run whose rows are all measured, with throughputs around one.
pub fn run(number: u32, throughput: f64) -> Run {
    let began = BEGAN + u64::from(number) * 60_000;
    let mut run = Run::new(RunId::new(began, number), began, plan(), machine());
    run.service_version = "0.1.0".into();
    let wobble = [1.0, 1.01, 0.99, 1.005, 0.995];
    for it in &mut run.rows {
        let factor = f64::from(it.cell.batch).sqrt();
        let measured = row(&wobble.map(|part| part * throughput * factor));
        *it = Row { cell: it.cell.clone(), ..measured };
    }
    run.state = RunState::Complete;
    run.ended_ms = Some(began + 50_000);
    run
}

/// Noise in which each value is like the one before: an autoregressive process of the first order.
pub struct Noise {
    random: Xoshiro256PlusPlus,
    alike: f64,
    deviation: f64,
    last: f64,
}

impl Noise {
    /// Noise with this correlation of neighbours, and this standard deviation.
    pub fn new(seed: u64, alike: f64, deviation: f64) -> Self {
        let mut noise = Self { random: Xoshiro256PlusPlus::seed_from_u64(seed), alike, deviation, last: 0.0 };
        noise.last = noise.draw();
        noise
    }

    /// The next value.
    pub fn draw(&mut self) -> f64 {
        // Box and Muller's way to a normal variable.
        let (one, other): (f64, f64) = (self.random.random(), self.random.random());
        let normal = (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos();
        self.last = self.alike * self.last + (1.0 - self.alike * self.alike).sqrt() * normal;
        self.last * self.deviation
    }
}
