//! Execution: the record of what really ran. It is in every answer.

use std::sync::Arc;

/// What computes a model inside a browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// ONNX Runtime's WebAssembly kernels, on the CPU.
    #[default]
    Wasm,
    /// ONNX Runtime's WebGPU kernels.
    WebGpu,
    /// The browser's WebNN on the CPU.
    WebNnCpu,
    /// The browser's WebNN on a GPU.
    WebNnGpu,
    /// The browser's WebNN on an NPU.
    WebNnNpu,
    /// Nothing: the answer is a placeholder. It is never asked for.
    Simulation,
}

impl Backend {
    /// Those that can be asked for.
    pub const ALL: [Self; 5] = [Self::Wasm, Self::WebGpu, Self::WebNnCpu, Self::WebNnGpu, Self::WebNnNpu];

    /// The name in flags, metrics and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::WebGpu => "webgpu",
            Self::WebNnCpu => "webnn-cpu",
            Self::WebNnGpu => "webnn-gpu",
            Self::WebNnNpu => "webnn-npu",
            Self::Simulation => "simulation",
        }
    }

    /// Whether it is WebNN, on whatever device.
    pub fn is_webnn(self) -> bool {
        matches!(self, Self::WebNnCpu | Self::WebNnGpu | Self::WebNnNpu)
    }
}

impl std::str::FromStr for Backend {
    type Err = String;

    /// A name, `cpu` for WebAssembly, or `webnn` for the device type that WebNN itself takes first.
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "cpu" => Ok(Self::Wasm),
            "webnn" => Ok(Self::WebNnCpu),
            _ => Self::ALL.into_iter().find(|backend| backend.name() == name).ok_or_else(|| {
                let known = Self::ALL.map(Self::name).join(", ");
                format!("{name:?} is not a backend; these are: {known}, cpu for wasm, and webnn for webnn-cpu")
            }),
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
/// Software wins over hardware: hardware needs both sources where the browser has both.
pub fn judge_adapter(adapter: &str, fallback: bool, gpu_devices: &[String]) -> Hardware {
    if fallback || names_software(adapter) || has_software_alone(gpu_devices) {
        Hardware::SoftwareAdapter
    } else if gpu_devices.is_empty() && adapter.trim().is_empty() {
        Hardware::Unknown
    } else {
        Hardware::Gpu
    }
}

/// Verdict on what WebNN runs on, which does not tell: the CPU by design, software where the browser has no GPU, or not
/// known.
pub fn judge_webnn(backend: Backend, gpu_devices: &[String]) -> Hardware {
    match backend {
        Backend::WebNnCpu => Hardware::Cpu,
        Backend::WebNnGpu if has_software_alone(gpu_devices) => Hardware::SoftwareAdapter,
        _ => Hardware::Unknown,
    }
}

fn names_software(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let names = ["swiftshader", "llvmpipe", "softpipe", "lavapipe", "warp", "basic render", "software"];
    names.iter().any(|name| text.contains(name))
}

fn has_software_alone(gpu_devices: &[String]) -> bool {
    !gpu_devices.is_empty() && gpu_devices.iter().all(|device| names_software(device))
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

impl std::ops::Add for Timings {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            queue_us: self.queue_us.saturating_add(other.queue_us),
            bridge_us: self.bridge_us.saturating_add(other.bridge_us),
            preprocess_us: self.preprocess_us.saturating_add(other.preprocess_us),
            inference_us: self.inference_us.saturating_add(other.inference_us),
            postprocess_us: self.postprocess_us.saturating_add(other.postprocess_us),
        }
    }
}

/// How the answers of a replica to its model's probes agree with those of a reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What was measured, such as "cosine".
    pub measure: &'static str,
    /// Of the probe that agrees least; 1 for the same.
    pub value: f64,
    /// It must not be below this.
    pub least: f64,
    /// What the reference is.
    pub against: Arc<str>,
}

impl std::fmt::Display for Check {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { measure, value, least, against } = self;
        write!(formatter, "{measure} of {value:.5} to {against}, where {least} is the least")
    }
}

/// What a replica is: the part of the record that is the same for all its runs.
#[derive(Clone, Debug, Default)]
pub struct Runtime {
    /// Id of the model.
    pub model: Arc<str>,
    /// Product name of the browser.
    pub browser: String,
    /// Full version of the browser.
    pub browser_version: String,
    /// Backend that the registration asked for first.
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
    /// Nodes of the graph by the execution provider that runs them, as far as the runtime tells.
    pub node_placements: Vec<(String, u32)>,
    /// How its answers agree with a reference; `None` where there is nothing to ask the model.
    pub check: Option<Check>,
}

impl Runtime {
    /// Whether another one is the same model on the same backend of the same kind of browser.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.model, &self.browser, self.backend_used) == (&other.model, &other.browser, other.backend_used)
    }
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
    /// None was made.
    Simulated,
}

impl Origin {
    /// The name in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Coalesced => "coalesced",
            Self::Cache => "cache",
            Self::Simulated => "simulated",
        }
    }
}

/// What ran one item.
#[derive(Clone, Debug)]
pub struct Execution {
    /// The replica.
    pub runtime: Arc<Runtime>,
    /// Items in the same call.
    pub batch_size: u32,
    /// Workers lost before.
    pub retries: u32,
    /// Times by hop.
    pub timings: Timings,
    /// For whom the run was made.
    pub origin: Origin,
    /// Whether the batch was late, so that it began to run a second time elsewhere.
    pub hedged: bool,
    /// The shape for which it was recorded or made, where it was.
    pub shape: Arc<Shape>,
}

/// A shape of inputs for which what ran was recorded, as commands of a GPU, or made, as a session of WebNN. Empty where it
/// takes all shapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Dimensions of the first input.
    pub dimensions: Vec<u32>,
    /// Nodes of its session by execution provider; empty where they are as in the replica's record.
    pub node_placements: Vec<(String, u32)>,
}

impl Execution {
    /// Nodes of the graph that ran, by execution provider, as far as the runtime tells.
    pub fn node_placements(&self) -> &[(String, u32)] {
        let own = &self.shape.node_placements;
        if own.is_empty() { &self.runtime.node_placements } else { own }
    }

    /// The record of a placeholder: nothing ran.
    pub fn simulated(model: Arc<str>, backend_requested: Backend, dtype: &str, reason: String) -> Self {
        let runtime = Runtime {
            model,
            backend_requested,
            backend_used: Backend::Simulation,
            fallback_reason: reason,
            dtype: dtype.to_owned(),
            ..Runtime::default()
        };
        Self {
            runtime: Arc::new(runtime),
            batch_size: 0,
            retries: 0,
            timings: Timings::default(),
            origin: Origin::Simulated,
            hedged: false,
            shape: Arc::default(),
        }
    }

    /// Whether nothing ran.
    pub fn is_simulated(&self) -> bool {
        self.runtime.backend_used == Backend::Simulation
    }
}

#[cfg(test)]
mod tests {
    use super::{Backend, Hardware, judge_adapter, judge_webnn};

    #[test]
    fn software_is_never_called_a_gpu() {
        let gpu = vec!["NVIDIA H100 (vendor 0x10de)".to_owned()];
        let software = vec!["SwiftShader Device".to_owned()];
        assert_eq!(judge_adapter("google swiftshader", true, &gpu), Hardware::SoftwareAdapter);
        assert_eq!(judge_adapter("google SwiftShader", false, &[]), Hardware::SoftwareAdapter);
        assert_eq!(judge_adapter("", true, &[]), Hardware::SoftwareAdapter);
        assert_eq!(judge_adapter("nvidia hopper", false, &gpu), Hardware::Gpu);
        assert_eq!(judge_adapter("nvidia hopper", false, &[]), Hardware::Gpu);
        assert_eq!(judge_adapter("nvidia hopper", false, &software), Hardware::SoftwareAdapter);
        assert_eq!(judge_adapter("", false, &[]), Hardware::Unknown);
        assert_eq!(judge_webnn(Backend::WebNnGpu, &software), Hardware::SoftwareAdapter);
        assert_eq!(judge_webnn(Backend::WebNnGpu, &gpu), Hardware::Unknown);
        assert_eq!(judge_webnn(Backend::WebNnNpu, &gpu), Hardware::Unknown);
        assert_eq!(judge_webnn(Backend::WebNnCpu, &[]), Hardware::Cpu);
    }

    #[test]
    fn names_of_backends_are_read_back() {
        for backend in Backend::ALL {
            assert_eq!(backend.name().parse(), Ok(backend));
        }
        assert_eq!(("cpu".parse(), "webnn".parse()), (Ok(Backend::Wasm), Ok(Backend::WebNnCpu)));
        assert!("simulation".parse::<Backend>().unwrap_err().contains("webgpu"));
    }
}
