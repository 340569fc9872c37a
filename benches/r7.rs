//! R7: from the start of the service to the first right answer of MiniLM, against starting a browser on a bare page,
//! loading the same model there and embedding the same sentence.

mod common;

use std::time::Instant;

use common::{
    Result,
    bare::Bare,
    cosine,
    load::text_items,
    reference,
    report::{Goal, Report},
    repository,
    service::{Service, vector},
};
use serde_json::json;

const MODEL: &str = "all-MiniLM-L6-v2";
const ROUNDS: usize = 6;

#[tokio::main]
async fn main() -> Result<()> {
    let models = repository("models");
    let (texts, vectors) = reference(&models.join(MODEL), "q8")?;
    let (texts, right) = (&texts[..1], &vectors[0]);
    let check = |vector: &[f32]| match cosine(vector, right) {
        good if good > 0.99 => Ok(()),
        bad => Err(format!("the answer is wrong: cosine {bad}")),
    };
    let conditions =
        json!({"model": MODEL, "dtype": "q8", "backend": "wasm", "threads": 1, "rounds": ROUNDS, "order": "A B B A"});
    let mut report = Report::new("R7", conditions);
    let (mut ratios, mut raw) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut seconds = [0.0; 2];
        for turn in 0..2 {
            let begun = Instant::now();
            let side = (round + turn) % 2;
            if side == 0 {
                let service = Service::start(&models, &["--replicas=1", "--threads=1"]).await?;
                service.load(MODEL).await?;
                let answer = Service::embed(&service.client, MODEL, texts).await?;
                check(vector(answer.results.first().ok_or("no result")?)?)?;
                seconds[side] = begun.elapsed().as_secs_f64();
                service.stop().await?;
            } else {
                let mut bare = Bare::start(models.clone()).await?;
                bare.load(MODEL, "feature-extraction", "q8").await?;
                check(&bare.embed(&text_items(texts), 1).await?[0])?;
                seconds[side] = begun.elapsed().as_secs_f64();
                bare.stop().await?;
            }
        }
        // The first round fills the system's file cache.
        if round > 0 {
            let [service, bare] = seconds;
            ratios.push(service / bare);
            raw.push(json!({"service_s": service, "bare_s": bare}));
        }
    }
    report.figure("start to first right answer, service / bare page", &ratios, Goal::AtMost(1.15), json!(raw));
    report.write()
}
