//! The same cases on a real browser of each engine, and on a pool that mixes them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use common::{
    Service, cosine, embedding,
    program::{self, Program},
    reference::Reference,
    repository, soon,
};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use webinfer::proto::v1;

const MODEL: &str = "tiny-bert";

/// What is to be expected of a kind of browser on a machine without a GPU.
struct Expected {
    /// Its name in the settings.
    browser: &'static str,
    /// How it calls itself.
    product: &'static str,
    /// Whether it has WebGPU, in software.
    webgpu: bool,
}

const CHROMIUM: Expected = Expected { browser: "chromium", product: "Chrome", webgpu: true };
const FIREFOX: Expected = Expected { browser: "firefox", product: "Firefox", webgpu: true };
const WEBKIT: Expected = Expected { browser: "webkit", product: "MiniBrowser", webgpu: false };

impl Expected {
    async fn service(&self, more: &[&str]) -> Service {
        let browser = format!("--browser={}", self.browser);
        Service::real(&[&[&*browser, "--replicas=1"][..], more].concat()).await
    }

    /// Loads the model on a backend, has it answer, and compares with native ONNX Runtime. Returns the record.
    async fn answers(&self, service: &Service, backend: v1::Backend) -> v1::Execution {
        let id = format!("on-{backend:?}");
        let (source, dtype) = (MODEL.to_owned(), "fp32".to_owned());
        let spec = v1::ModelSpec { id: id.clone(), source, dtype, allow_fallback: true, ..Default::default() };
        service.register(v1::ModelSpec { backend: backend.into(), ..spec }).await.unwrap();
        service.load(&id).await.unwrap();
        let reference = Reference::read(&repository("tests/models").join(MODEL));
        let sentences: Vec<_> = reference.sentences.iter().map(String::as_str).collect();
        let response = service.embed(&id, &sentences).await.unwrap();
        for (result, right) in response.results.iter().zip(&reference.fp32) {
            let cosine = cosine(embedding(result), right);
            assert!(cosine >= 0.9999, "{} {backend:?}: {cosine}", self.browser);
        }
        let execution = response.executions[0].clone();
        assert_eq!(execution.browser, self.product);
        assert!(execution.browser_version.contains('.'), "{}", execution.browser_version);
        assert_eq!(execution.backend_requested(), backend);
        execution
    }

    async fn runs_on_threads_of_wasm(&self) {
        let service = self.service(&["--threads=2"]).await;
        let execution = self.answers(&service, v1::Backend::Wasm).await;
        assert_eq!((execution.backend_used(), execution.hardware()), (v1::Backend::Wasm, v1::Hardware::Cpu));
        assert_eq!((execution.threads, execution.fallback_reason.as_str()), (2, ""));
        service.stop().await;
    }

    async fn calls_software_software_or_falls_back(&self) {
        let service = self.service(&["--threads=1"]).await;
        let execution = self.answers(&service, v1::Backend::Webgpu).await;
        let ran = (execution.backend_used(), execution.hardware());
        if self.webgpu {
            assert_eq!(ran, (v1::Backend::Webgpu, v1::Hardware::SoftwareAdapter));
            assert_eq!(execution.fallback_reason, "");
        } else {
            assert_eq!(ran, (v1::Backend::Wasm, v1::Hardware::Cpu));
            assert!(execution.fallback_reason.contains("WebGPU is not available"), "{}", execution.fallback_reason);
        }
        service.stop().await;
    }

    async fn tells_what_it_can_do(&self) {
        let service = self.service(&[]).await;
        service.until(|view| view.browsers.iter().all(|browser| !browser.info.product.is_empty())).await;
        let response = soon(service.capabilities().detect(v1::DetectRequest {})).await.unwrap().into_inner();
        let [browser] = &response.browsers[..] else { panic!("{response:?}") };
        assert_eq!(browser.product, self.product);
        assert!(browser.sandboxed, "{} runs without its sandbox", self.browser);
        assert!(browser.cross_origin_isolated && browser.wasm_simd && browser.wasm_threads, "{browser:?}");
        let webgpu = browser.webgpu.clone().unwrap();
        assert_eq!(webgpu.available, self.webgpu, "{}", webgpu.unavailable_reason);
        assert_ne!(webgpu.hardware(), v1::Hardware::Gpu, "there is none");
        service.stop().await;
    }

    async fn is_replaced_when_it_is_killed(&self) {
        let service = self.service(&[]).await;
        service.load(MODEL).await.unwrap();
        let pid = service.pool().await[0].pid;
        signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        service.until(|view| view.browsers[0].restarts == 1).await;
        let response = service.embed(MODEL, &["after the fall"]).await.unwrap();
        assert_eq!(embedding(&response.results[0]).len(), 32);
        service.stop().await;
    }

    async fn leaves_nothing(&self) {
        let browser = format!("--browser={}", self.browser);
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            let folder = program::folder();
            let mut service = Program::start(folder.path(), &["--load=identity", &browser]).await;
            assert!(program::users_of(folder.path()) >= 3, "a browser has more processes than that");
            service.send(signal);
            soon(service.child.wait()).await.unwrap();
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

cases!(chromium: CHROMIUM, firefox: FIREFOX, webkit: WEBKIT);

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
