//! Traffic that touches every metric: answers of all kinds, errors, cancelled calls, losses, and what comes of them.

use std::sync::Arc;

use futures_util::StreamExt;
use tonic::Code;
use webinfer::{
    pool::{ModelStatus, View, WorkerState, WorkerView},
    proto::v1::{self, Backend, Fallback},
    rpc::generated::{benchmark_service_client::BenchmarkServiceClient, pool_service_client::PoolServiceClient},
};

use super::{
    Service,
    collector::{Collector, Manner},
    details,
    fake::{BAD, Fake, Fault, POISON, STORY},
    soon, text,
};

const ARGUMENTS: [&str; 9] = [
    "--replicas=1",
    "--threads=1",
    "--max-batch=2",
    "--max-pending-items=32",
    "--answer-cache-bytes=100000",
    "--cancel-grace=50ms",
    "--allow-simulation",
    "--trace-share=1",
    "--hedge=1",
];
/// Half of what may be pending, which is what one client may have.
const SHARE: usize = 16;

/// A service on a fake browser, and what was asked of it.
pub struct Traffic {
    pub service: Service,
    fake: Arc<Fake>,
    rounds: u32,
}

impl Traffic {
    /// Starts a service, with a model that runs, one that writes, one that falls back, and one that only dreams.
    pub async fn start() -> Self {
        let fake = Fake::new();
        let endpoint = Collector::start(Manner::Takes).await.setting();
        let service = Service::start(&[&ARGUMENTS[..], &[&endpoint]].concat(), fake.driver()).await;
        let spec = |id: &str, source: &str, backends: &[Backend], fallback: Fallback| v1::ModelSpec {
            id: id.into(),
            source: source.into(),
            backends: backends.iter().map(|&backend| backend.into()).collect(),
            fallback: fallback.into(),
            ..Default::default()
        };
        for spec in [
            spec("writer", "tiny-llama", &[Backend::Wasm], Fallback::Exact),
            spec("falls", "tiny-bert", &[Backend::WebnnGpu, Backend::Wasm], Fallback::Backend),
            spec("dreams", "tiny-bert", &[Backend::WebnnNpu], Fallback::Simulation),
        ] {
            service.register(spec).await.unwrap();
        }
        let twice = v1::ModelSpec { replicas: 2, ..spec("twice", "tiny-bert", &[Backend::Wasm], Fallback::Exact) };
        service.register(twice).await.unwrap();
        for id in ["tiny-bert", "writer", "falls", "dreams", "twice"] {
            service.load(id).await.unwrap();
        }
        Self { service, fake, rounds: 0 }
    }

    /// One of everything. All that grows has grown, and what was lost is there again.
    pub async fn round(&mut self) {
        self.rounds += 1;
        self.break_loads().await;
        self.answer().await;
        self.measure().await;
        self.be_late().await;
        self.refuse().await;
        self.doubt().await;
        self.lose().await;
        self.leave().await;
        self.recover().await;
    }

    /// A text that was not sent before.
    fn word(&self, word: &str) -> String {
        format!("{word} {}", self.rounds)
    }

    async fn embed(&self, model: &str, word: &str) {
        self.service.embed(model, &[&self.word(word)]).await.unwrap();
    }

    async fn fails(&self, model: &str, word: &str, reason: &str) {
        let error = self.service.embed(model, &[&self.word(word)]).await.unwrap_err();
        assert_eq!(details(&error).1, reason);
    }

    /// A model whose loads fail until its breaker opens. Nothing else may load meanwhile.
    async fn break_loads(&self) {
        let id = format!("breaks-{}", self.rounds);
        let spec = v1::ModelSpec { id: id.clone(), source: "tiny-bert".into(), ..Default::default() };
        self.service.register(spec).await.unwrap();
        (0..3).for_each(|_| self.fake.fault_load(Fault::Break));
        let error = self.service.load(&id).await.unwrap_err();
        assert_eq!(details(&error).1, "CIRCUIT_OPEN");
        self.service.unload(&id).await;
        soon(self.service.models().unregister(v1::UnregisterRequest { id })).await.unwrap();
    }

    /// Answers: run, shared, kept, made and made up.
    async fn answer(&self) {
        for model in ["tiny-bert", "falls", "dreams"] {
            self.embed(model, "runs").await;
        }
        self.embed("tiny-bert", "runs").await;
        self.embed("writer", STORY).await;
        let twin = self.word("twin");
        self.service.embed("tiny-bert", &[&twin, &twin]).await.unwrap();
    }

    /// A benchmark of a cell that can be measured, and of one that cannot.
    async fn measure(&self) {
        let plan = v1::BenchmarkPlan {
            models: vec!["tiny-bert".into()],
            backends: vec![Backend::Wasm.into(), Backend::WebnnNpu.into()],
            rounds: 2,
            round_ms: 10,
            warm_up_least: 3,
            warm_up_most: 5,
            ..Default::default()
        };
        let request = v1::RunRequest { plan: Some(plan), ..Default::default() };
        let mut client = BenchmarkServiceClient::new(self.service.channel.clone());
        let steps: Vec<_> = client.run(request).await.unwrap().into_inner().collect().await;
        assert!(steps.iter().all(Result::is_ok), "{steps:?}");
    }

    /// A batch that is late, after enough were not, and runs a second time.
    async fn be_late(&self) {
        let serves = |worker: &WorkerView| *worker.model == *"twice" && worker.state == WorkerState::Ready;
        let both = |view: &Arc<View>| view.browsers[0].workers.iter().filter(|worker| serves(worker)).count() == 2;
        self.service.until(both).await;
        for number in 0..30 {
            self.embed("twice", &format!("in time {number}")).await;
        }
        self.fake.fault_run(Fault::Hang);
        self.embed("twice", "late").await;
    }

    /// Errors.
    async fn refuse(&self) {
        self.fails("tiny-bert", BAD, "BAD_INPUT").await;
        self.fails("no-such", "x", "MODEL_NOT_FOUND").await;
    }

    /// A backend that turns wrong under checks: another service has it, whose metrics are the same process's.
    async fn doubt(&self) {
        let fake = Fake::new();
        let service = Service::start(&["--cross-check=1"], fake.driver()).await;
        let id = "doubted";
        let backends = vec![Backend::Webgpu.into()];
        let spec =
            v1::ModelSpec { id: id.into(), source: "tiny-bert".into(), backends, replicas: 1, ..Default::default() };
        service.register(spec).await.unwrap();
        service.load(id).await.unwrap();
        service
            .until(|view| view.browsers[0].workers.iter().filter(|worker| worker.replica.is_some()).count() == 2)
            .await;
        let agreed = format!("webinfer_cross_checks_total{{model=\"{id}\",outcome=\"agreed\"}}");
        soon(async {
            while !service.get_http("/metrics").await.contains(&agreed) {
                service.embed(id, &["right"]).await.unwrap();
            }
            *fake.wrong_on.lock().unwrap() = Some(Backend::Webgpu);
            while service.embed(id, &["wrong"]).await.is_ok() {}
        })
        .await;
        service.stop().await;
    }

    /// Workers and browsers that are lost, and a browser that is replaced.
    async fn lose(&self) {
        self.fails("tiny-bert", POISON, "QUARANTINED").await;
        self.fake.fault_run(Fault::EndBrowser);
        self.embed("tiny-bert", "held").await;
        self.embed("falls", "held").await;
        let old = self.service.app.pool.view().browsers[0].id.clone();
        let mut pool = PoolServiceClient::new(self.service.channel.clone());
        pool.recycle(v1::RecycleRequest { browser: old.clone() }).await.unwrap();
        self.service.until(|view| view.browsers.len() == 1 && view.browsers[0].id != old).await;
    }

    /// A caller that leaves while its worker hangs, and one for which there is no room meanwhile.
    async fn leave(&self) {
        self.settled().await;
        let before = self.fake.batches(0).await.len();
        // A worker has one batch more than it runs.
        (0..2).for_each(|_| self.fake.fault_run(Fault::Hang));
        let items = (0..SHARE).map(|number| text(&self.word(&format!("waits {number}")))).collect();
        let request = v1::InferRequest { model: "tiny-bert".into(), items, ..Default::default() };
        let mut client = self.service.inference();
        let call = tokio::spawn(async move { client.infer(request).await });
        self.fake.batches(before + 2).await;
        let error = self.service.embed("tiny-bert", &["no room"]).await.unwrap_err();
        assert_eq!((error.code(), details(&error).1.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
        call.abort();
    }

    /// Waits until nothing is left of the round.
    async fn recover(&self) {
        let cancelled = format!("outcome=\"CANCELLED\"}} {}", self.rounds);
        let unsent = "webinfer_spans_total{result=\"sent\"} 0\n";
        soon(async {
            loop {
                let metrics = self.service.get_http("/metrics").await;
                let is_told = ["webinfer_pending_items 0", &cancelled].iter().all(|line| metrics.contains(line));
                if is_told && !metrics.contains(unsent) {
                    return;
                }
            }
        })
        .await;
        // The worker that hung was lost.
        self.settled().await;
        self.embed("tiny-bert", "recovered").await;
        self.settled().await;
    }

    /// Waits until every model is as it should be.
    async fn settled(&self) {
        let is_settled = |view: &Arc<View>| {
            let status = |id: &str| view.models.get(id);
            ["tiny-bert", "writer", "falls", "twice"].iter().all(|id| matches!(status(id), Some(ModelStatus::Ready(_))))
                && matches!(status("dreams"), Some(ModelStatus::Simulated(_)))
        };
        self.service.until(is_settled).await;
    }
}
