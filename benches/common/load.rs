//! Load: a closed loop over the service, and inputs that are unlike all others, so that none shares another's run.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use prost::Message;
use webinfer::{
    proto::{
        bridge,
        v1::{self, item::Input},
    },
    rpc::client::Client,
};

use super::Result;

/// Bytes of each text: about 24 tokens.
const TEXT_BYTES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// So many texts of one length, no two alike, from the words of some sentences.
pub fn texts(sentences: &[String], count: usize) -> Vec<String> {
    let words: Vec<&str> = sentences.iter().flat_map(|sentence| sentence.split_whitespace()).collect();
    let text = |number: usize| {
        let mut text = format!("{number}");
        for word in words.iter().cycle().skip(number * 7 % words.len()) {
            if text.len() > TEXT_BYTES {
                break;
            }
            text = format!("{text} {word}");
        }
        text.chars().take(TEXT_BYTES).collect()
    };
    (0..count).map(text).collect()
}

/// An item of so many floats, the first of which is its number.
pub fn tensor(number: u64, floats: usize) -> v1::Item {
    let mut data = vec![0; floats * 4];
    data[..8].copy_from_slice(&number.to_le_bytes());
    let tensor = v1::Tensor { data_type: v1::DataType::Float32.into(), shape: vec![floats as i64], data: data.into() };
    let tensors = v1::TensorMap { tensors: [("x".to_owned(), tensor)].into() };
    v1::Item { input: Some(Input::Tensors(tensors)) }
}

/// The frame by which the service hands such an item to a worker.
pub fn tensor_frame(floats: usize) -> bytes::Bytes {
    let item = bridge::RunItem { item: Some(tensor(1, floats)), parameters: None, steps: false };
    let body = bridge::service_frame::Body::Run(bridge::Run { items: vec![item], probe: false });
    bridge::ServiceFrame { call: 1, body: Some(body) }.encode_to_vec().into()
}

/// A text as an item.
pub fn text(text: &str) -> v1::Item {
    v1::Item { input: Some(Input::Text(text.to_owned())) }
}

/// Texts as items.
pub fn text_items(texts: &[String]) -> Vec<v1::Item> {
    texts.iter().map(|it| text(it)).collect()
}

/// What a closed loop achieved.
pub struct Achieved {
    /// Items a second.
    pub items_per_s: f64,
    /// Mean number of items in the batches that ran.
    pub batch: f64,
    /// Hash of the model that ran.
    pub model_sha256: String,
    /// Backend, kind of hardware and adapter that ran it.
    pub hardware: String,
}

/// A closed loop: each caller sends its next request when it has the answer to its last. `items` makes the items of the
/// request of a number. Fails where an item had no run of its own.
pub async fn closed(
    client: &Client,
    model: &str,
    callers: usize,
    time: Duration,
    items: impl Fn(u64) -> Vec<v1::Item>,
) -> Result<Achieved> {
    let request = v1::InferRequest { model: model.to_owned(), ..Default::default() };
    closed_as(client, &request, callers, time, items).await
}

/// The same, with all that a request says besides.
pub async fn closed_as(
    client: &Client,
    request: &v1::InferRequest,
    callers: usize,
    time: Duration,
    items: impl Fn(u64) -> Vec<v1::Item>,
) -> Result<Achieved> {
    let (next, done, begun) = (AtomicU64::new(0), AtomicU64::new(0), Instant::now());
    let caller = async || -> Result<(f64, String, String)> {
        let (mut batches, mut hash, mut hardware) = (0.0, String::new(), String::new());
        while begun.elapsed() < time {
            let items = items(next.fetch_add(1, Ordering::Relaxed));
            let request = v1::InferRequest { items, ..request.clone() };
            let response = client.infer(request, PATIENCE).await.map_err(|failure| failure.message)?;
            for result in &response.results {
                let execution = &response.executions[result.execution as usize];
                if execution.origin() != v1::Origin::Run {
                    return Err("an item shared another's run".into());
                }
                batches += 1.0 / f64::from(execution.batch_size);
            }
            let ran = &response.executions[0];
            hash.clone_from(&ran.model_sha256);
            let (backend, kind) = (ran.backend_used().as_str_name(), ran.hardware().as_str_name());
            hardware = format!("{backend}, {kind}, {}", ran.adapter);
            done.fetch_add(response.results.len() as u64, Ordering::Relaxed);
        }
        Ok((batches, hash, hardware))
    };
    let ends = futures_util::future::try_join_all((0..callers).map(|_| caller())).await?;
    let (seconds, items) = (begun.elapsed().as_secs_f64(), done.load(Ordering::Relaxed) as f64);
    let batches: f64 = ends.iter().map(|(batches, ..)| batches).sum();
    let (_, model_sha256, hardware) = ends.into_iter().next().unwrap_or_default();
    Ok(Achieved { items_per_s: items / seconds, batch: items / batches, model_sha256, hardware })
}

/// Samples of two sides in turn, A B B A: the ratio of each round, and both figures.
pub async fn in_turn(
    rounds: usize,
    mut left: impl AsyncFnMut() -> Result<f64>,
    mut right: impl AsyncFnMut() -> Result<f64>,
) -> Result<(Vec<f64>, Vec<[f64; 2]>)> {
    // One unmeasured turn of each.
    left().await?;
    right().await?;
    let (mut ratios, mut raw) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (a, b) = if round % 2 == 0 {
            let a = left().await?;
            (a, right().await?)
        } else {
            let b = right().await?;
            (left().await?, b)
        };
        ratios.push(a / b);
        raw.push([a, b]);
    }
    Ok((ratios, raw))
}
