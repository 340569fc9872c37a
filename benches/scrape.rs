//! SCRAPE: time of a scrape of /metrics with 50 browsers and 100 models, on fake browsers.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{Service, fake::Fake};
use webinfer::proto::v1;

const MODELS: usize = 100;
const SCRAPES: usize = 100;
const GOAL: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() {
    let fake = Fake::new();
    let service =
        Service::start(&["--browsers=50", "--replicas=1", "--model-memory=1000000000000"], fake.driver()).await;
    service.until(|view| view.browsers.iter().filter(|browser| !browser.info.product.is_empty()).count() == 50).await;
    for number in 0..MODELS {
        let id = format!("model-{number}");
        let spec = v1::ModelSpec { id: id.clone(), source: "tiny-bert".into(), ..Default::default() };
        service.register(spec).await.unwrap();
        service.load(&id).await.unwrap();
        service.embed(&id, &["a text"]).await.unwrap();
    }
    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..SCRAPES {
        let begun = Instant::now();
        bytes = service.get_http("/metrics").await.len();
        times.push(begun.elapsed());
    }
    times.sort();
    let (median, least, most) = (times[SCRAPES / 2], times[0], times[SCRAPES - 1]);
    let word = if median <= GOAL { "met" } else { "short" };
    println!(
        "SCRAPE  50 browsers, {MODELS} models, {bytes} bytes: {median:.1?} ({least:.1?} .. {most:.1?}), goal {GOAL:?}, {word}"
    );
    service.stop().await;
}
