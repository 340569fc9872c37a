//! `webinfer models quantize`: a model's graphs in another precision, beside the ones in 32-bit floats.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use serde_json::json;
use webinfer_onnx::{Event, Layer, Limit, Options, Precision, Report, quantize};

use crate::{
    cli::CommandError,
    models::{Dtype, recipe},
};

/// Arguments of `models quantize`.
#[derive(Clone, Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    group = ArgGroup::new("limit"),
    after_help = "The graphs in 32-bit floats (onnx/model.onnx) are read, and the result is written beside them under the name that \
        stands for its precision: onnx/model_q4.onnx, onnx/model_quantized.onnx (q8), onnx/model_fp16.onnx.\n\n\
        q2, q4    weights in blocks of 2 or 4 bits; all else stays as it is\n\
        q8        weights and what they are multiplied with in 8 bits; int8 and uint8 say how the weights' codes are signed\n\
        fp16      16-bit floats, but for what does not fit into them\n\
        q4f16     both: blocks of 4 bits, the rest in 16-bit floats\n\
        mixed     blocks of 8, 4 or 2 bits for each weight, or none, by what they are measured to do to the output\n\n\
        The model is run on text (with the folder's tokenizer.json) or noise: half of it shows which inputs of the weights \
        matter, on the other half the result is measured. The error is 1 - cosine between the outputs, the mean over items. \
        A graph that cannot be run here is quantised by its weights alone, which is said; only --mixed needs the run. \
        With --max-error the other half decides as well, so that what is measured on it is within the limit.\n\n\
        What is interrupted goes on where it was when the same command is given again: NAME.part and NAME.journal beside the \
        result say how far it came, and are gone when it is whole. Weights go into NAME_data beside a graph where one file \
        would pass 2 GB, or where those of the source do.\n\n\
        Examples:\n  \
        webinfer models pull onnx-community/all-MiniLM-L6-v2-ONNX --as minilm --dtype fp32 --dtype q8\n  \
        webinfer models quantize models/minilm --bits 4\n  \
        webinfer models quantize models/whisper-tiny --dtype q4f16 --graph encoder_model\n  \
        webinfer models quantize models/minilm --mixed --max-error 0.005 --force\n  \
        webinfer models quantize models/minilm --mixed --max-size 16000000 --force"
)]
pub struct Quantize {
    /// The model's folder, in the Hub's layout
    folder: PathBuf,
    /// Bits of the weights: 2, 4, 8 or 16, which are q2, q4, q8 and fp16
    #[arg(long, value_name = "BITS", group = "what", value_parser = bits)]
    bits: Option<Dtype>,
    /// The precision by its name: q2, q4, q4f16, q8, int8, uint8 or fp16
    #[arg(long, value_name = "NAME", group = "what", value_parser = dtype)]
    dtype: Option<Dtype>,
    /// Choose bits for each weight within a limit; the result is named q4
    #[arg(long, group = "what", requires = "limit")]
    mixed: bool,
    /// What the output may be off by, as 1 - cosine
    #[arg(long, value_name = "ERROR", group = "limit", conflicts_with_all = ["bits", "dtype"])]
    max_error: Option<f64>,
    /// Bytes that each result may have
    #[arg(long, value_name = "BYTES", group = "limit", conflicts_with_all = ["bits", "dtype"])]
    max_size: Option<u64>,
    /// Values of a block that share a scale
    #[arg(long, value_name = "VALUES", default_value_t = 32)]
    block_size: usize,
    /// Give each block a zero point of its own: a little larger, and nearer
    #[arg(long)]
    asymmetric: bool,
    /// Leave tables that are looked up (embeddings) as they are, and not in rows of 8 bits
    #[arg(long)]
    keep_tables: bool,
    /// Do not run the model: nothing is measured, and all inputs of a weight matter alike
    #[arg(long, conflicts_with = "mixed")]
    no_run: bool,
    /// Graphs, by their names without a precision; all of the folder's where none is said
    #[arg(long, value_name = "NAME")]
    graph: Vec<String>,
    /// Write over what is there
    #[arg(long)]
    force: bool,
}

fn bits(text: &str) -> Result<Dtype, String> {
    match text {
        "2" => Ok(Dtype::Q2),
        "4" => Ok(Dtype::Q4),
        "8" => Ok(Dtype::Q8),
        "16" => Ok(Dtype::Fp16),
        _ => Err("must be 2, 4, 8 or 16".into()),
    }
}

fn dtype(text: &str) -> Result<Dtype, String> {
    match Dtype::parse(text) {
        Some(Dtype::Fp32) => Err("fp32 is what it is made from".into()),
        Some(Dtype::Bnb4) | None => Err("must be q2, q4, q4f16, q8, int8, uint8 or fp16".into()),
        Some(dtype) => Ok(dtype),
    }
}

fn usage(message: String) -> CommandError {
    CommandError::Usage(message)
}

/// Quantises a folder's graphs, one after the other.
pub async fn run(arguments: Quantize, json: bool) -> Result<(), CommandError> {
    let work = tokio::task::spawn_blocking(move || all(&arguments, json));
    work.await.map_err(|error| usage(error.to_string()))?
}

fn all(arguments: &Quantize, json: bool) -> Result<(), CommandError> {
    let Quantize { folder, bits, dtype, .. } = arguments;
    let dtype = bits.or(*dtype).unwrap_or(Dtype::Q4);
    let graphs = if arguments.graph.is_empty() { graphs(folder)? } else { arguments.graph.clone() };
    if let Some(there) = graphs.iter().map(|graph| folder.join(dtype.file(graph))).find(|file| file.exists())
        && !arguments.force
    {
        return Err(usage(format!(
            "{} is there already; --force writes over it, and --graph chooses others",
            there.display()
        )));
    }
    for graph in graphs {
        let (source, destination) = (folder.join(Dtype::Fp32.file(&graph)), folder.join(dtype.file(&graph)));
        let options = Options {
            precision: precision(arguments, dtype)?,
            block: arguments.block_size,
            asymmetric: arguments.asymmetric,
            tables: !arguments.keep_tables,
            folder: (!arguments.no_run).then(|| folder.clone()),
        };
        let mut part = 0;
        let report = quantize(&source, &destination, &options, &mut |event| tell(&graph, event, &mut part));
        let report = report.map_err(|error| usage(format!("{}: {error}", source.display())))?;
        if json {
            println!("{}", to_json(&destination, &report));
        } else {
            println!("{}", describe(&destination, &report));
        }
    }
    Ok(())
}

fn precision(arguments: &Quantize, dtype: Dtype) -> Result<Precision, CommandError> {
    if let Some(error) = arguments.max_error {
        return Ok(Precision::Mixed(Limit::Error(error)));
    }
    if let Some(bytes) = arguments.max_size {
        return Ok(Precision::Mixed(Limit::Bytes(bytes)));
    }
    recipe(dtype).ok_or_else(|| usage(format!("{} cannot be made", dtype.name())))
}

/// The folder's graphs in 32-bit floats: those whose names have no precision.
fn graphs(folder: &Path) -> Result<Vec<String>, CommandError> {
    let onnx = folder.join("onnx");
    let entries =
        std::fs::read_dir(&onnx).map_err(|error| CommandError::Io { what: onnx.display().to_string(), error })?;
    let name = |path: PathBuf| (path.extension()? == "onnx").then(|| Some(path.file_stem()?.to_str()?.to_owned()))?;
    let mut names: Vec<_> = entries.flatten().filter_map(|entry| name(entry.path())).collect();
    names.retain(|name| {
        let is = |dtype: &Dtype| dtype.file("").trim_start_matches("onnx/").trim_end_matches(".onnx").to_owned();
        !Dtype::ALL.iter().filter(|dtype| **dtype != Dtype::Fp32).any(|dtype| name.ends_with(&is(dtype)))
    });
    names.sort();
    if names.is_empty() {
        return Err(usage(format!("{} has no graph in 32-bit floats, such as onnx/model.onnx", folder.display())));
    }
    Ok(names)
}

/// Tells what goes on, a line each, and each tenth that is written.
fn tell(graph: &str, event: Event, part: &mut u64) {
    match event {
        Event::Begins(what) => eprintln!("{graph}: {what}"),
        Event::Measured(one) => {
            eprintln!(
                "{graph}: {} in {} bits: {} bytes, output off by {:.6}",
                one.name, one.bits, one.bytes, one.error
            );
        }
        Event::Wrote { bytes, all } => {
            let now = 10 * bytes / all.max(1);
            if now > *part {
                *part = now;
                eprintln!("{graph}: {}0 % of {} written", now, size(all));
            }
        }
    }
}

fn size(bytes: u64) -> String {
    if bytes < 1_000_000 { format!("{:.1} kB", bytes as f64 / 1e3) } else { format!("{:.1} MB", bytes as f64 / 1e6) }
}

/// What came of it, a line for programs. What was not measured is null.
fn to_json(file: &Path, report: &Report) -> serde_json::Value {
    let layer = |layer: &Layer| json!({"name": layer.name, "bits": layer.bits, "relative_error": layer.error.sqrt()});
    let measured = report.output_error.as_ref().ok();
    json!({
        "file": file, "bytes_before": report.bytes_before, "bytes_after": report.bytes_after,
        "output_error": measured, "measured_on": report.calibration.as_ref().ok().map(|run| &run.what),
        "layers": report.layers.iter().map(layer).collect::<Vec<_>>(), "seconds": report.took.as_secs_f64(),
    })
}

/// What came of it, in lines for people.
fn describe(file: &Path, report: &Report) -> String {
    let mut lines: Vec<String> = Vec::new();
    for layer in &report.layers {
        lines.push(format!(
            "  {} in {} bits, its values off by {:.2} %",
            layer.name,
            layer.bits,
            100.0 * layer.error.sqrt()
        ));
    }
    if let Some(floats) = &report.floats {
        lines.push(format!("  {} nodes in 16-bit floats, {} in 32", floats.half, floats.full));
    }
    lines.push(format!("written   {}", file.display()));
    let (before, after) = (report.bytes_before, report.bytes_after);
    let parts = 100.0 * after as f64 / before.max(1) as f64;
    lines.push(format!("size      {} before, {} after ({parts:.1} %)", size(before), size(after)));
    lines.push(match (&report.output_error, &report.calibration) {
        (Ok(error), Ok(run)) => {
            let (chosen_by, held_out) = (run.chosen_by, run.held_out);
            let what = &run.what;
            format!("error     output off by {error:.6} (1 - cosine), on {held_out} of {what}; {chosen_by} others showed what matters")
        }
        (Err(why), _) | (_, Err(why)) => format!("error     of the output not measured: {why}"),
    });
    lines.push(format!("time      {:.2} s", report.took.as_secs_f64()));
    lines.join("\n")
}
