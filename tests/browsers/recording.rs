//! What a GPU is asked, recorded and replayed: the answers are those of runs that are made anew. On a real Chromium.

use webinfer::proto::v1::{self, Backend, GraphCapture};

use crate::common::{Service, embedding};

fn spec(id: &str, capture: GraphCapture) -> v1::ModelSpec {
    v1::ModelSpec {
        id: id.into(),
        source: "tiny-bert".into(),
        backends: vec![Backend::Webgpu.into()],
        dtype: "fp32".into(),
        graph_capture: capture.into(),
        max_batch: 2,
        ..Default::default()
    }
}

async fn ask(service: &Service, model: &str, texts: &[&str]) -> (Vec<Vec<f32>>, v1::Execution) {
    let mut response = service.embed(model, texts).await.unwrap();
    (response.results.iter().map(|result| embedding(result).to_vec()).collect(), response.executions.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_answers_as_a_run_does() {
    let service = Service::real(&[]).await;
    for (id, capture) in [("anew", GraphCapture::Off), ("replayed", GraphCapture::On)] {
        let model = service.register(spec(id, capture)).await.unwrap();
        assert_eq!(model.spec.unwrap().graph_capture(), capture);
        service.load(id).await.unwrap();
    }
    let long = "the dog runs ".repeat(40);
    for round in 0..2 {
        for texts in [&["a cat"][..], &["the moon is white"], &["a", "how do i read this book?"], &[&long]] {
            let (right, execution) = ask(&service, "anew", texts).await;
            assert_eq!(execution.replayed_shape, [0; 0]);
            let (answers, execution) = ask(&service, "replayed", texts).await;
            // Rows and tokens of a bucket: at least as many as ran.
            let [rows, tokens] = execution.replayed_shape[..] else {
                panic!("{texts:?} in round {round}: {execution:?}")
            };
            assert!(rows >= execution.batch_size && [16, 32, 64].contains(&tokens), "{execution:?}");
            for (answer, right) in answers.iter().zip(&right) {
                let apart = answer.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
                assert!(apart < 1e-5, "{texts:?} in round {round} is {apart} apart");
            }
        }
        // Another worker records anew.
        service.unload("replayed").await;
        service.load("replayed").await.unwrap();
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_software_adapter_records_nothing_unless_it_is_told_to() {
    let service = Service::real(&[]).await;
    service.register(spec("m", GraphCapture::Auto)).await.unwrap();
    service.load("m").await.unwrap();
    for _ in 0..3 {
        let (_, execution) = ask(&service, "m", &["a cat"]).await;
        assert_eq!((execution.hardware(), execution.replayed_shape.len()), (v1::Hardware::SoftwareAdapter, 0));
    }
    service.stop().await;
}
