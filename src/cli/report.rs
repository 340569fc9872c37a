//! Report: answers and execution records as people and programs read them.

use std::{fmt::Write, path::PathBuf};

use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use serde_json::{Value, json};

use super::inputs::Named;
use crate::proto::v1::{self, item_result::Output};

/// Widest text in a table.
const WIDEST: usize = 44;

/// The similarity of each pair of vectors.
pub fn similarities(items: &[Named], response: &v1::InferResponse) -> String {
    let embeddings: Vec<_> = response.results.iter().map(embedding).collect();
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    let mut header = vec![Cell::new(""), Cell::new("text")];
    header.extend((1..=items.len()).map(|number| Cell::new(number).set_alignment(CellAlignment::Right)));
    table.set_header(header);
    for (index, (named, left)) in items.iter().zip(&embeddings).enumerate() {
        let mut row = vec![Cell::new(index + 1), Cell::new(cut(&named.name))];
        row.extend(
            embeddings
                .iter()
                .map(|right| Cell::new(format!("{:.3}", cosine(left, right))).set_alignment(CellAlignment::Right)),
        );
        table.add_row(row);
    }
    let dimensions = embeddings.first().map_or(0, |embedding| embedding.len());
    format!("Cosine similarity of {} embeddings of {dimensions} dimensions:\n{table}\n", items.len())
}

/// What computed the answers.
pub fn records(response: &v1::InferResponse) -> String {
    response.executions.iter().map(record).collect()
}

fn record(execution: &v1::Execution) -> String {
    if execution.simulated {
        return format!("\nSIMULATED  nothing ran, these are placeholders: {}\n", execution.fallback_reason);
    }
    let timings = execution.timings.unwrap_or_default();
    let mut line = format!(
        "\nran on     {} {}, {}, {}",
        execution.browser,
        execution.browser_version,
        backend(execution.backend_used()),
        hardware(execution.hardware()),
    );
    if execution.threads > 0 {
        let _ = write!(line, ", {} thread{}", execution.threads, if execution.threads == 1 { "" } else { "s" });
    }
    if !execution.adapter.is_empty() {
        let _ = write!(line, "\nadapter    {}", execution.adapter);
    }
    if !execution.fallback_reason.is_empty() {
        let asked = backend(execution.backend_requested());
        let _ = write!(line, "\nfallback   {asked} was asked for: {}", execution.fallback_reason);
    }
    if !execution.node_placements.is_empty() {
        let nodes = execution.node_placements.iter().map(|node| format!("{} on {}", node.nodes, node.provider));
        let _ = write!(line, "\nnodes      {}", nodes.collect::<Vec<_>>().join(", "));
    }
    let _ = writeln!(
        line,
        "\nmodel      {}, sha256 {}…\nruntime    transformers.js {}, ONNX Runtime Web {}\n\
         batch      {} items in {}, {} retries, origin {}\n\
         time       queue {} + bridge {} + preprocess {} + inference {} + postprocess {} ms",
        execution.dtype,
        execution.model_sha256.get(..16).unwrap_or_default(),
        execution.transformers_version,
        execution.onnxruntime_version,
        execution.batch_size,
        execution.worker_id,
        execution.retries,
        origin(execution.origin()),
        millis(timings.queue_us),
        millis(timings.bridge_us),
        millis(timings.preprocess_us),
        millis(timings.inference_us),
        millis(timings.postprocess_us),
    );
    line
}

/// Answers and records as JSON; `files` are those that were written of each answer.
pub fn json(model: &str, items: &[Named], response: &v1::InferResponse, files: &[Vec<PathBuf>]) -> String {
    let result = |((named, result), files): ((&Named, &v1::ItemResult), &Vec<PathBuf>)| {
        let mut all = output_json(result.output.as_ref());
        all["input"] = json!(named.name);
        all["execution"] = json!(result.execution);
        if !files.is_empty() {
            all["files"] = json!(files);
        }
        all
    };
    let results: Vec<Value> = items.iter().zip(&response.results).zip(files).map(result).collect();
    let executions: Vec<Value> = response.executions.iter().map(execution_json).collect();
    let document = json!({"model": model, "results": results, "executions": executions});
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// An output under the name that its field has. Of what is made of bytes, the shape alone.
fn output_json(output: Option<&Output>) -> Value {
    let score = |label: &str, score: f32| json!({"label": label, "score": score});
    match output {
        None => json!({}),
        Some(Output::Embedding(it)) => json!({"embedding": it.values}),
        Some(Output::Tensors(it)) => json!({"tensors": it.tensors.iter().map(tensor_json).collect::<Vec<_>>()}),
        Some(Output::Classes(it)) => {
            json!({"classes": it.classes.iter().map(|it| score(&it.label, it.score)).collect::<Vec<_>>()})
        }
        Some(Output::Spans(it)) => json!({"spans": it.spans.iter().map(|it| {
            json!({"label": it.label, "score": it.score, "text": it.text, "begin": it.begin, "end": it.end})
        }).collect::<Vec<_>>()}),
        Some(Output::Answers(it)) => json!({"answers": it.answers.iter().map(|it| {
            json!({"text": it.text, "score": it.score})
        }).collect::<Vec<_>>()}),
        Some(Output::Fills(it)) => json!({"fills": it.fills.iter().map(|it| {
            json!({"token": it.token, "token_id": it.token_id, "score": it.score, "sequence": it.sequence})
        }).collect::<Vec<_>>()}),
        Some(Output::Generated(it)) => json!({"generated": {
            "text": it.text, "finish_reason": it.finish_reason().as_str_name(), "usage": it.usage.as_ref().map(usage_json),
        }}),
        Some(Output::Ranking(it)) => json!({"ranking": it.documents.iter().map(|it| {
            json!({"index": it.index, "score": it.score})
        }).collect::<Vec<_>>()}),
        Some(Output::Segments(it)) => {
            let area = |mask: &v1::Pixels| mask.data.iter().filter(|value| **value > 127).count();
            json!({"segments": it.segments.iter().map(|it| {
                json!({"label": it.label, "score": it.score, "area": it.mask.as_ref().map(area)})
            }).collect::<Vec<_>>()})
        }
        Some(Output::Detections(it)) => json!({"detections": it.detections.iter().map(|it| {
            json!({"label": it.label, "score": it.score, "box": [it.x_min, it.y_min, it.x_max, it.y_max]})
        }).collect::<Vec<_>>()}),
        Some(Output::Depth(it)) => json!({"depth": {"shape": it.shape}}),
        Some(Output::Image(it)) => {
            json!({"image": {"width": it.width, "height": it.height, "channels": it.channels}})
        }
        Some(Output::Transcript(it)) => json!({"transcript": {
            "text": it.text,
            "language": it.language,
            "chunks": it.chunks.iter().map(|it| {
                json!({"text": it.text, "begin_s": it.begin_s, "end_s": it.end_s})
            }).collect::<Vec<_>>(),
            "usage": it.usage.as_ref().map(usage_json),
        }}),
        Some(Output::Audio(it)) => json!({"audio": {"rate": it.rate, "samples": it.data.len() / size_of::<f32>()}}),
    }
}

fn tensor_json((name, tensor): (&String, &v1::Tensor)) -> Value {
    json!({"name": name, "data_type": tensor.data_type().as_str_name(), "shape": tensor.shape})
}

fn usage_json(usage: &v1::Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "generated_tokens": usage.generated_tokens,
        "first_token_us": usage.first_token_us,
    })
}

fn execution_json(execution: &v1::Execution) -> Value {
    let timings = execution.timings.unwrap_or_default();
    json!({
        "browser": execution.browser,
        "browser_version": execution.browser_version,
        "backend_requested": backend(execution.backend_requested()),
        "backend_used": backend(execution.backend_used()),
        "fallback_reason": execution.fallback_reason,
        "adapter": execution.adapter,
        "hardware": hardware(execution.hardware()),
        "dtype": execution.dtype,
        "threads": execution.threads,
        "transformers_version": execution.transformers_version,
        "onnxruntime_version": execution.onnxruntime_version,
        "model_sha256": execution.model_sha256,
        "worker_id": execution.worker_id,
        "batch_size": execution.batch_size,
        "origin": origin(execution.origin()),
        "retries": execution.retries,
        "node_placements": execution
            .node_placements
            .iter()
            .map(|node| json!({"provider": node.provider, "nodes": node.nodes}))
            .collect::<Vec<_>>(),
        "simulated": execution.simulated,
        "timings": {
            "queue_us": timings.queue_us,
            "bridge_us": timings.bridge_us,
            "preprocess_us": timings.preprocess_us,
            "inference_us": timings.inference_us,
            "postprocess_us": timings.postprocess_us,
        },
    })
}

/// The name of a backend.
pub fn backend(backend: v1::Backend) -> &'static str {
    match backend {
        v1::Backend::Unspecified => "unknown",
        v1::Backend::Wasm => "wasm",
        v1::Backend::Webgpu => "webgpu",
        v1::Backend::WebnnCpu => "webnn-cpu",
        v1::Backend::WebnnGpu => "webnn-gpu",
        v1::Backend::WebnnNpu => "webnn-npu",
        v1::Backend::Simulation => "simulation",
    }
}

/// The name of a kind of hardware.
pub fn hardware(hardware: v1::Hardware) -> &'static str {
    match hardware {
        v1::Hardware::Unspecified => "unknown hardware",
        v1::Hardware::Cpu => "cpu",
        v1::Hardware::SoftwareAdapter => "software adapter",
        v1::Hardware::Gpu => "gpu",
    }
}

/// For whom a run was made.
pub fn origin(origin: v1::Origin) -> &'static str {
    match origin {
        v1::Origin::Unspecified => "unknown",
        v1::Origin::Run => "run",
        v1::Origin::Coalesced => "coalesced",
        v1::Origin::Cache => "cache",
        v1::Origin::Simulated => "simulated",
    }
}

fn embedding(result: &v1::ItemResult) -> &[f32] {
    match &result.output {
        Some(Output::Embedding(embedding)) => &embedding.values,
        _ => &[],
    }
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |left: &[f32], right: &[f32]| {
        left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum::<f64>()
    };
    let lengths = dot(left, left).sqrt() * dot(right, right).sqrt();
    if lengths == 0.0 { 0.0 } else { dot(left, right) / lengths }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn millis(micros: u64) -> String {
    format!("{:.1}", micros as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::{cosine, cut};

    #[test]
    fn similarity_of_known_vectors() {
        assert!((cosine(&[1.0, 0.0], &[2.0, 0.0]) - 1.0).abs() < 1e-12);
        assert!(cosine(&[1.0, 0.0], &[0.0, 3.0]).abs() < 1e-12);
        assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"ü".repeat(50)).chars().count(), 45);
    }
}
