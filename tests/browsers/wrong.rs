//! A real Chromium whose page was built to answer wrongly on WebGPU, as a broken backend would: it is caught before it
//! serves, and where it turns wrong later, by the checks.

use std::time::Instant;

use webinfer::{
    app,
    pool::WorkerState,
    proto::v1::{self, Backend, Fallback},
};

use crate::common::{Service, cosine, details, embedding, repository, settings, soon};

/// What the page's `wrong.ts` does to the vectors. One that is all zero, or not finite, never leaves the worker.
const WAYS: [&str; 7] = ["sign", "shift", "half", "noise", "stale", "zero", "nan"];

async fn start(arguments: &[&str]) -> Service {
    let mut serve = settings(arguments);
    serve.page = Some(repository("harness/dist-wrong"));
    assert!(repository("harness/dist-wrong/worker-webgpu.js.gz").exists(), "run `make page` first");
    let app = app::start(&serve, app::drivers(&serve)).await.unwrap();
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", app.address)).unwrap().connect_lazy();
    Service { app, channel }
}

async fn load(service: &Service, id: &str, backends: &[Backend], fallback: Fallback) {
    let spec = v1::ModelSpec {
        fallback: fallback.into(),
        id: id.into(),
        source: "tiny-bert".into(),
        dtype: "fp32".into(),
        backends: backends.iter().map(|&backend| backend.into()).collect(),
        replicas: 1,
        ..Default::default()
    };
    service.register(spec).await.unwrap();
    service.load(id).await.unwrap();
}

#[tokio::test]
async fn each_way_to_be_wrong_is_caught_at_the_load() {
    let service = start(&[]).await;
    for way in WAYS.into_iter().filter(|way| *way != "stale") {
        let id = format!("m.{way}.0.webgpu");
        load(&service, &id, &[Backend::Webgpu, Backend::Wasm], Fallback::Backend).await;
        let execution = service.embed(&id, &["hello"]).await.unwrap().executions.remove(0);
        assert_eq!(execution.backend_used(), Backend::Wasm, "{way}: {execution:?}");
        assert!(execution.fallback_reason.starts_with("webgpu: its answer"), "{way}: {}", execution.fallback_reason);
        println!("{way}: {}", execution.fallback_reason);
        service.unload(&id).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn each_way_to_turn_wrong_is_caught_within_a_hundred_requests() {
    let service = start(&["--cross-check=0.05"]).await;
    load(&service, "right", &[Backend::Wasm], Fallback::Exact).await;
    for way in WAYS {
        // Enough right answers to come through the examination; it serves and turns wrong then.
        let id = format!("m.{way}.20.webgpu");
        load(&service, &id, &[Backend::Webgpu], Fallback::Exact).await;
        service
            .until(|view| {
                let of_model = view.browsers[0].workers.iter().filter(|worker| *worker.model == *id);
                of_model.filter(|worker| worker.state == WorkerState::Ready).count() == 2
            })
            .await;
        let (mut wrong, mut first_wrong, mut asked) = (0, None, 0);
        loop {
            let text = format!("{way} {asked}");
            let right = soon(service.embed("right", &[&text])).await.unwrap();
            let Ok(response) = soon(service.embed(&id, &[&text])).await else { break };
            asked += 1;
            if cosine(embedding(&response.results[0]), embedding(&right.results[0])) < 0.999 {
                first_wrong.get_or_insert(Instant::now());
                wrong += 1;
            }
            assert!(wrong <= 100 && asked <= 200, "{way} was not caught");
        }
        let took = first_wrong.map(|first: Instant| first.elapsed());
        println!("{way}: caught after {wrong} wrong answers, {took:?}");
        let error = service.embed(&id, &["later"]).await.unwrap_err();
        assert_eq!(details(&error).1, "LOAD_FAILED", "{error}");
        service.unload(&id).await;
    }
    service.stop().await;
}
