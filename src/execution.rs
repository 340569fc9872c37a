//! Execution: the record of what really ran. It is in every answer.

/// What computes a model inside a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// ONNX Runtime's WebAssembly kernels, on the CPU.
    Wasm,
    /// ONNX Runtime's WebGPU kernels.
    WebGpu,
}

impl Backend {
    /// The name in flags, metrics and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::WebGpu => "webgpu",
        }
    }
}

/// Whether an accelerator is real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Hardware {
    /// The sources said nothing, or contradicted one another.
    #[default]
    Unknown,
    /// The CPU, by design.
    Cpu,
    /// A software adapter that stands in for a GPU.
    SoftwareAdapter,
    /// A GPU.
    Gpu,
}

impl Hardware {
    /// The name in metrics and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Cpu => "cpu",
            Self::SoftwareAdapter => "software_adapter",
            Self::Gpu => "gpu",
        }
    }
}

/// Verdict on a WebGPU adapter from two sources: what it says of itself, and the GPUs that the browser process names.
///
/// Software wins over hardware, and hardware needs both sources where the browser has both.
pub fn judge_adapter(adapter: &str, fallback: bool, gpu_devices: &[String]) -> Hardware {
    let names_software = |text: &str| {
        let text = text.to_ascii_lowercase();
        ["swiftshader", "llvmpipe", "lavapipe", "warp", "basic render", "software"]
            .iter()
            .any(|name| text.contains(name))
    };
    if fallback || names_software(adapter) {
        return Hardware::SoftwareAdapter;
    }
    if gpu_devices.is_empty() {
        return if adapter.trim().is_empty() { Hardware::Unknown } else { Hardware::Gpu };
    }
    if gpu_devices.iter().all(|device| names_software(device)) { Hardware::Unknown } else { Hardware::Gpu }
}

/// Times by hop, in microseconds. What each covers is said in `execution.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Admission to hand-over.
    pub queue_us: u64,
    /// Round trip less the time in the worker.
    pub bridge_us: u64,
    /// Tokenising and making tensors.
    pub preprocess_us: u64,
    /// The session's run.
    pub inference_us: u64,
    /// Pooling, normalising, cutting.
    pub postprocess_us: u64,
}

/// What a replica is: the part of the record that is the same for all its runs.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Id of the model.
    pub model: std::sync::Arc<str>,
    /// Product name of the browser.
    pub browser: String,
    /// Full version of the browser.
    pub browser_version: String,
    /// Backend that the registration asked for.
    pub backend_requested: Backend,
    /// Backend that runs.
    pub backend_used: Backend,
    /// Why the two differ; empty where they do not.
    pub fallback_reason: String,
    /// WebGPU adapter; empty on WASM.
    pub adapter: String,
    /// What kind of hardware that is.
    pub hardware: Hardware,
    /// transformers.js dtype.
    pub dtype: String,
    /// WASM threads; 0 on WebGPU.
    pub threads: u32,
    /// Version of transformers.js.
    pub transformers_version: String,
    /// Version of ONNX Runtime Web.
    pub onnxruntime_version: String,
    /// Hash of the model's files.
    pub model_sha256: String,
    /// Worker that holds the replica.
    pub worker_id: String,
}

/// For whom a run was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// For the item itself.
    Run,
    /// For an identical item that was in flight.
    Coalesced,
    /// For an identical item, earlier; its answer was kept.
    Cache,
}

/// What ran one item.
#[derive(Clone, Debug)]
pub struct Execution {
    /// The replica.
    pub runtime: std::sync::Arc<Runtime>,
    /// Items in the same call.
    pub batch_size: u32,
    /// Workers lost before.
    pub retries: u32,
    /// Times by hop.
    pub timings: Timings,
    /// For whom the run was made.
    pub origin: Origin,
}

#[cfg(test)]
mod tests {
    use super::{Hardware, judge_adapter};

    #[test]
    fn software_is_never_called_a_gpu() {
        let gpu = vec!["NVIDIA H100 (vendor 0x10de)".to_owned()];
        let software = vec!["SwiftShader Device".to_owned()];
        assert_eq!(judge_adapter("google swiftshader", true, &gpu), Hardware::SoftwareAdapter);
        assert_eq!(judge_adapter("google SwiftShader", false, &[]), Hardware::SoftwareAdapter);
        assert_eq!(judge_adapter("", true, &[]), Hardware::SoftwareAdapter);
        assert_eq!(judge_adapter("nvidia hopper", false, &gpu), Hardware::Gpu);
        assert_eq!(judge_adapter("nvidia hopper", false, &[]), Hardware::Gpu);
        assert_eq!(judge_adapter("nvidia hopper", false, &software), Hardware::Unknown);
        assert_eq!(judge_adapter("", false, &[]), Hardware::Unknown);
    }
}
