//! The same cases on a real browser of each engine, and on a pool that mixes them.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tempfile::TempDir;
use webinfer::proto::v1::{self, Backend};

use crate::common::{
    Service, cosine, embedding,
    program::{self, Program},
    reference::Reference,
    repository, soon,
};

const MODEL: &str = "tiny-bert";

/// What is to be expected of a kind of browser on a machine without a GPU.
struct Expected {
    /// Its name in the settings; empty for the headless shell, whose program is not in the usual places.
    browser: &'static str,
    /// How it calls itself.
    product: &'static str,
    /// Whether it has WebGPU, in software.
    webgpu: bool,
    /// Whether it has WebNN, on the CPU.
    webnn: bool,
}

const CHROMIUM: Expected = Expected { browser: "chromium", product: "Chrome", webgpu: true, webnn: false };
const HEADLESS_SHELL: Expected = Expected { browser: "", product: "HeadlessChrome", webgpu: true, webnn: true };
const FIREFOX: Expected = Expected { browser: "firefox", product: "Firefox", webgpu: true, webnn: false };
const WEBKIT: Expected = Expected { browser: "webkit", product: "MiniBrowser", webgpu: false, webnn: false };

/// A service on one browser.
struct Running {
    service: Service,
    /// Where its program is, if that is a copy.
    _program: Option<TempDir>,
}

/// A copy of the headless shell where the user that browsers run as can read it, which a checkout's folder may not allow.
fn headless_shell() -> TempDir {
    let built = repository("target/tools/headless-shell");
    assert!(built.is_dir(), "it is not there; run: make target/tools/headless-shell/headless_shell");
    let copy = tempfile::tempdir().unwrap();
    fs::set_permissions(copy.path(), Permissions::from_mode(0o755)).unwrap();
    for file in fs::read_dir(built).unwrap().flatten() {
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

impl Expected {
    /// The setting that names it, and where its program is, if that is a copy.
    fn find(&self) -> (String, Option<TempDir>) {
        if !self.browser.is_empty() {
            return (format!("--browser={}", self.browser), None);
        }
        let copy = headless_shell();
        (format!("--browser=chromium={}", copy.path().join("headless_shell").display()), Some(copy))
    }

    async fn service(&self, more: &[&str]) -> Running {
        let (browser, program) = self.find();
        let service = Service::real(&[&[&*browser, "--replicas=1"][..], more].concat()).await;
        Running { service, _program: program }
    }

    /// Loads the model on a backend, or on WASM where that is not there, has it answer, and compares with native ONNX
    /// Runtime. Returns the record.
    async fn answers(&self, service: &Service, backend: Backend) -> v1::Execution {
        let id = format!("on-{backend:?}");
        let (source, dtype) = (MODEL.to_owned(), "fp32".to_owned());
        let mut backends = vec![backend.into(), Backend::Wasm.into()];
        backends.dedup();
        let spec = v1::ModelSpec { id: id.clone(), source, dtype, backends, ..Default::default() };
        service.register(spec).await.unwrap();
        service.load(&id).await.unwrap();
        let reference = Reference::read(&repository("tests/models").join(MODEL));
        let sentences: Vec<_> = reference.sentences.iter().map(String::as_str).collect();
        let response = service.embed(&id, &sentences).await.unwrap();
        for (result, right) in response.results.iter().zip(&reference.fp32) {
            let cosine = cosine(embedding(result), right);
            assert!(cosine >= 0.9999, "{} {backend:?}: {cosine}", self.product);
        }
        let execution = response.executions[0].clone();
        assert_eq!(execution.browser, self.product);
        assert!(execution.browser_version.contains('.'), "{}", execution.browser_version);
        assert_eq!(execution.backend_requested(), backend);
        assert!(!execution.simulated);
        execution
    }

    async fn runs_on_threads_of_wasm(&self) {
        let running = self.service(&["--threads=2"]).await;
        let execution = self.answers(&running.service, Backend::Wasm).await;
        assert_eq!((execution.backend_used(), execution.hardware()), (Backend::Wasm, v1::Hardware::Cpu));
        assert_eq!((execution.threads, execution.fallback_reason.as_str()), (2, ""));
        let [nodes] = &execution.node_placements[..] else { panic!("{execution:?}") };
        assert!(nodes.provider == "CPUExecutionProvider" && nodes.nodes > 10, "{nodes:?}");
        running.service.stop().await;
    }

    async fn calls_software_software_or_falls_back(&self) {
        let running = self.service(&["--threads=1"]).await;
        let execution = self.answers(&running.service, Backend::Webgpu).await;
        let ran = (execution.backend_used(), execution.hardware());
        if self.webgpu {
            assert_eq!(ran, (Backend::Webgpu, v1::Hardware::SoftwareAdapter));
            assert_eq!(execution.fallback_reason, "");
            let on_webgpu = execution.node_placements.iter().find(|nodes| nodes.provider == "WebGpuExecutionProvider");
            assert!(on_webgpu.is_some_and(|nodes| nodes.nodes > 10), "{execution:?}");
        } else {
            assert_eq!(ran, (Backend::Wasm, v1::Hardware::Cpu));
            assert!(execution.fallback_reason.contains("webgpu: WebGPU is not available"), "{execution:?}");
        }
        running.service.stop().await;
    }

    async fn runs_on_webnn_or_falls_back(&self) {
        let running = self.service(&["--threads=1"]).await;
        let execution = self.answers(&running.service, Backend::WebnnCpu).await;
        if self.webnn {
            assert_eq!((execution.backend_used(), execution.hardware()), (Backend::WebnnCpu, v1::Hardware::Cpu));
            let on_webnn = execution.node_placements.iter().find(|nodes| nodes.provider.contains("WebNN"));
            assert!(on_webnn.is_some_and(|nodes| nodes.nodes > 0), "{execution:?}");
        } else {
            assert_eq!(execution.backend_used(), Backend::Wasm);
            assert!(execution.fallback_reason.contains("webnn-cpu: WebNN is not available"), "{execution:?}");
        }
        running.service.stop().await;
    }

    async fn tells_where_its_time_goes(&self) {
        let running = self.service(&["--debug", "--threads=1"]).await;
        let service = &running.service;
        service.load(MODEL).await.unwrap();
        let response = service.profile(MODEL, &["where does the time go"], 2).await.unwrap();
        let profile = response.profile.unwrap();
        let softmax = profile.operators.iter().find(|operator| operator.name == "Softmax");
        let softmax = softmax.unwrap_or_else(|| panic!("{}: {:?}", self.product, profile.operators));
        assert!(softmax.provider == "CPUExecutionProvider" && softmax.count % 2 == 0, "{softmax:?}");
        let trace: Vec<serde_json::Value> = serde_json::from_slice(&profile.trace).unwrap();
        assert!(trace.iter().any(|event| event["args"]["op_name"] == "Softmax"));
        running.service.stop().await;
    }

    async fn tells_what_it_can_do(&self) {
        let running = self.service(&[]).await;
        let service = &running.service;
        service.until(|view| view.browsers.iter().all(|browser| !browser.info.product.is_empty())).await;
        let response = soon(service.capabilities().detect(v1::DetectRequest {})).await.unwrap().into_inner();
        let [browser] = &response.browsers[..] else { panic!("{response:?}") };
        assert_eq!(browser.product, self.product);
        assert!(browser.sandboxed, "{} runs without its sandbox", self.product);
        assert!(browser.cross_origin_isolated && browser.wasm_simd && browser.wasm_threads, "{browser:?}");
        assert!(browser.wasm_relaxed_simd, "{browser:?}");
        let webgpu = browser.webgpu.clone().unwrap();
        assert_eq!(webgpu.available, self.webgpu, "{}", webgpu.unavailable_reason);
        assert_ne!(webgpu.hardware(), v1::Hardware::Gpu, "there is none");
        let webnn = browser.webnn.iter().find(|context| context.device_type == "cpu" && context.available);
        assert_eq!(webnn.is_some(), self.webnn, "{:?}", browser.webnn);
        assert!(webnn.is_none_or(|context| context.operators.iter().any(|name| name == "matmul")), "{webnn:?}");
        running.service.stop().await;
    }

    async fn is_replaced_when_it_is_killed(&self) {
        let running = self.service(&[]).await;
        let service = &running.service;
        service.load(MODEL).await.unwrap();
        let pid = service.pool().await[0].pid;
        signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        service.until(|view| view.browsers[0].restarts == 1).await;
        let response = service.embed(MODEL, &["after the fall"]).await.unwrap();
        assert_eq!(embedding(&response.results[0]).len(), 32);
        running.service.stop().await;
    }

    async fn leaves_nothing(&self) {
        let (browser, _program) = self.find();
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            let folder = program::folder();
            let mut service = Program::start(folder.path(), &["--load=identity", &browser]).await;
            let tree = program::tree(service.pid);
            assert!(tree.len() >= 4, "a browser has more processes than that: {tree:?}");
            service.send(signal);
            soon(service.child.wait()).await.unwrap();
            program::gone(&tree).await;
            program::nothing_left(folder.path()).await;
        }
    }
}

macro_rules! cases {
    ($($engine:ident: $expected:ident),*) => { $(
        mod $engine {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn runs_on_threads_of_wasm() {
                $expected.runs_on_threads_of_wasm().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn calls_software_software_or_falls_back() {
                $expected.calls_software_software_or_falls_back().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn runs_on_webnn_or_falls_back() {
                $expected.runs_on_webnn_or_falls_back().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn tells_where_its_time_goes() {
                $expected.tells_where_its_time_goes().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn tells_what_it_can_do() {
                $expected.tells_what_it_can_do().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn is_replaced_when_it_is_killed() {
                $expected.is_replaced_when_it_is_killed().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn leaves_nothing() {
                $expected.leaves_nothing().await;
            }
        }
    )* };
}

cases!(chromium: CHROMIUM, headless_shell: HEADLESS_SHELL, firefox: FIREFOX, webkit: WEBKIT);

#[tokio::test(flavor = "multi_thread")]
async fn webnn_that_is_switched_off_is_told_and_passed_over() {
    let off = "--browser-arg=chromium:--disable-features=WebMachineLearningNeuralNetwork";
    let running = HEADLESS_SHELL.service(&["--threads=1", off]).await;
    let execution = HEADLESS_SHELL.answers(&running.service, Backend::WebnnCpu).await;
    assert_eq!(execution.backend_used(), Backend::Wasm);
    assert!(execution.fallback_reason.contains("webnn-cpu: WebNN is not available"), "{execution:?}");
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shapes_have_sessions_of_their_own_on_webnn_and_answer_as_one_that_takes_all() {
    let running = HEADLESS_SHELL.service(&["--threads=1"]).await;
    let service = &running.service;
    let on_webnn = |execution: &v1::Execution| {
        let nodes = |provider: &str| execution.node_placements.iter().find(|nodes| nodes.provider == provider);
        let count = |provider| nodes(provider).map_or(0, |nodes| nodes.nodes);
        (count("WebNNExecutionProvider"), count("CPUExecutionProvider"))
    };
    for (id, capture) in [("all", v1::GraphCapture::Off), ("shapes", v1::GraphCapture::Auto)] {
        let spec = v1::ModelSpec {
            id: id.into(),
            source: MODEL.into(),
            dtype: "fp32".into(),
            backends: vec![Backend::WebnnCpu.into()],
            graph_capture: capture.into(),
            max_batch: 4,
            ..Default::default()
        };
        service.register(spec).await.unwrap();
        service.load(id).await.unwrap();
    }
    let long = "the dog runs ".repeat(6);
    let texts = [
        &["a cat"][..],
        &["the moon is white and the dog runs", "a", "b", "c"],
        &["a", "how do i read this book?"],
        &[&long],
    ];
    for (texts, shape) in texts.into_iter().zip([&[1, 16][..], &[4, 16], &[], &[1, 32]]) {
        let all = service.embed("all", texts).await.unwrap();
        let shapes = service.embed("shapes", texts).await.unwrap();
        for (right, result) in all.results.iter().zip(&shapes.results) {
            let cosine = cosine(embedding(right), embedding(result));
            assert!(cosine >= 0.99999, "{texts:?}: {cosine}");
        }
        let (all, execution) = (&all.executions[0], &shapes.executions[0]);
        assert_eq!((all.replayed_shape.len(), &execution.replayed_shape[..]), (0, shape), "{texts:?}");
        let (free, fixed) = (on_webnn(all), on_webnn(execution));
        if shape.is_empty() {
            assert_eq!(fixed, free, "{texts:?}");
        } else {
            assert!(
                fixed.0 > free.0 && fixed.1 == 0,
                "{texts:?}: {fixed:?} and {free:?} of nodes on WebNN and the CPU"
            );
        }
    }
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_several_engines_serves_from_each() {
    let browsers = ["--browser=chromium", "--browser=firefox", "--browser=webkit", "--browsers=3"];
    let service = Service::real(&[&browsers[..], &["--replicas=3", "--threads=1"]].concat()).await;
    let spec = v1::ModelSpec { id: "everywhere".into(), source: MODEL.into(), replicas: 3, ..Default::default() };
    service.register(spec).await.unwrap();
    service.load("everywhere").await.unwrap();
    let served = |view: &std::sync::Arc<webinfer::pool::View>| {
        let replicas =
            view.browsers.iter().flat_map(|browser| &browser.workers).filter_map(|worker| worker.replica.as_ref());
        let mut products: Vec<_> = replicas.map(|replica| replica.runtime.browser.clone()).collect();
        products.sort();
        products == ["Chrome", "Firefox", "MiniBrowser"]
    };
    service.until(served).await;
    let response = service.embed("everywhere", &["one of them answers"]).await.unwrap();
    assert_eq!(embedding(&response.results[0]).len(), 32);
    service.stop().await;
}
