//! R12: the answers of the service against those of the bare loop, bit for bit in the same batches; and of fp32 models
//! against native ONNX Runtime.

mod common;

use common::{
    Result,
    bare::Bare,
    cosine,
    load::text_items,
    minilm, reference,
    report::{Goal, Report},
    repository,
    service::{ONE_WORKER, Service, vector},
};
use serde_json::json;

const BATCHES: [usize; 2] = [1, 8];

#[tokio::main]
async fn main() -> Result<()> {
    let mut report = Report::new("R12", json!({"backend": "wasm", "threads": 1, "batches": BATCHES}));
    let mut models: Vec<_> = minilm().into_iter().map(|(dtype, folder)| ("all-MiniLM-L6-v2", dtype, folder)).collect();
    models.push(("tiny-bert", "fp32", repository("tests/models")));
    for (model, dtype, folder) in models {
        let (texts, right) = reference(&folder.join(model), dtype)?;
        let mut bare = Bare::start(folder.clone()).await?;
        bare.load(model, "feature-extraction", dtype).await?;
        for batch in BATCHES {
            let most = format!("--max-batch={batch}");
            let service = Service::start(&folder, &[&ONE_WORKER[..], &[&most]].concat()).await?;
            let id = service.load_as(model, dtype).await?;
            let mut ours = Vec::new();
            for texts in texts.chunks(batch) {
                let answer = Service::embed(&service.client, &id, texts).await?;
                for result in &answer.results {
                    ours.push(vector(result)?.to_vec());
                }
            }
            let bares = bare.embed(&text_items(&texts), batch).await?;
            let bits =
                |vectors: &[Vec<f32>]| -> Vec<u32> { vectors.iter().flatten().map(|value| value.to_bits()).collect() };
            let (ours_bits, bare_bits) = (bits(&ours), bits(&bares));
            let differing = ours_bits.iter().zip(&bare_bits).filter(|(left, right)| left != right).count()
                + ours_bits.len().abs_diff(bare_bits.len());
            let what = format!("floats that differ from the bare loop, {model} {dtype}, batch {batch}");
            report.figure(&what, &[differing as f64], Goal::AtMost(0.0), json!({"floats": ours_bits.len()}));
            if dtype == "fp32" {
                let cosines: Vec<_> = ours.iter().zip(&right).map(|(left, right)| cosine(left, right)).collect();
                let least = cosines.iter().copied().fold(f64::INFINITY, f64::min);
                let what = format!("least cosine to native ONNX Runtime, {model} fp32, batch {batch}");
                report.figure(&what, &[least], Goal::AtLeast(0.9999), json!(cosines));
            }
            service.stop().await?;
        }
        bare.stop().await?;
    }
    report.write()
}
