//! Conditions: all that a figure depends on besides what was measured.

use serde::{Deserialize, Serialize};

/// Where a run was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Name and version of the system.
    pub os: String,
    /// Model of the CPU.
    pub cpu: String,
    /// Cores that the service may use.
    pub cores: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// What computed, as far as a figure may claim it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hardware {
    /// Nothing told.
    #[default]
    Unknown,
    /// The CPU, by design.
    Cpu,
    /// A software adapter that stands in for a GPU.
    Software,
    /// A GPU.
    Gpu,
}

impl Hardware {
    /// How tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Cpu => "CPU",
            Self::Software => "software, no GPU",
            Self::Gpu => "GPU",
        }
    }
}

/// What the model was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// In words, such as `probes` or the files' names.
    pub what: String,
    /// How many different inputs.
    pub count: u32,
    /// Hash of them all, in their order. Figures of different inputs are not compared.
    pub sha256: String,
}

impl Asked {
    /// Whether something else was asked.
    pub fn difference(&self, is: &Self) -> Option<Difference> {
        differences([("inputs", &self.sha256, &is.sha256)]).pop()
    }
}

/// What one row was measured under: what really ran, and not what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// Product name of the browser.
    pub browser: String,
    /// Its full version.
    pub browser_version: String,
    /// What started it: `chromium`, `firefox` or `webdriver`.
    pub driver: String,
    /// Arguments that it was started with, its profile and its page apart.
    pub browser_arguments: Vec<String>,
    /// Backend that ran.
    pub backend: String,
    /// WebGPU adapter as the browser names it; empty where there is none.
    pub adapter: String,
    /// What that is.
    pub hardware: Hardware,
    /// Driver of the GPU and its version; empty where nobody tells.
    pub gpu_driver: String,
    /// WebAssembly threads of a worker; 0 where it has none.
    pub threads: u32,
    /// Workers that had the model.
    pub workers: u32,
    /// The transformers.js dtype that ran.
    pub dtype: String,
    /// Bits of its weights.
    pub bits: u32,
    /// Hash of the model's files.
    pub model_sha256: String,
    /// Version of transformers.js.
    pub transformers_version: String,
    /// Version of ONNX Runtime Web.
    pub onnxruntime_version: String,
    /// Bytes that what is recorded for the shapes of a worker's runs may take; 0 where nothing is recorded.
    pub capture_bytes: u64,
    /// What the model was asked.
    pub asked: Asked,
    /// Load average of the machine over a minute, before the run's first load. `None` where the system has none.
    pub load_before: Option<f64>,
    /// The same after the last one.
    pub load_after: Option<f64>,
}

/// What was one thing and is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Of what, such as `browser version`.
    pub what: String,
    /// What it was.
    pub was: String,
    /// What it is.
    pub is: String,
}

impl Machine {
    /// What differs from another one.
    pub fn differences(&self, is: &Self) -> Vec<Difference> {
        differences([
            ("system", &self.os, &is.os),
            ("CPU", &self.cpu, &is.cpu),
            ("cores", &self.cores.to_string(), &is.cores.to_string()),
            ("memory", &self.memory_bytes.to_string(), &is.memory_bytes.to_string()),
        ])
    }
}

/// Differences of where a model runs, whichever it is.
const OF_A_PLACE: [&str; 7] =
    ["browser version", "driver", "browser arguments", "adapter", "hardware", "GPU driver", "capture memory"];

impl Conditions {
    /// What differs from those of another model that ran in the same browser on the same backend. Nothing where it did not.
    pub fn differences_of_place(&self, is: &Self) -> Vec<Difference> {
        if (&self.browser, &self.backend) != (&is.browser, &is.backend) {
            return Vec::new();
        }
        let mut differences = self.differences(is);
        differences.retain(|difference| OF_A_PLACE.contains(&&*difference.what));
        differences
    }

    /// What differs from others, the load of the machine apart.
    pub fn differences(&self, is: &Self) -> Vec<Difference> {
        let mut all = differences([
            ("browser", &self.browser, &is.browser),
            ("browser version", &self.browser_version, &is.browser_version),
            ("driver", &self.driver, &is.driver),
            ("browser arguments", &self.browser_arguments.join(" "), &is.browser_arguments.join(" ")),
            ("backend", &self.backend, &is.backend),
            ("adapter", &self.adapter, &is.adapter),
            ("hardware", &self.hardware.name().into(), &is.hardware.name().into()),
            ("GPU driver", &self.gpu_driver, &is.gpu_driver),
            ("threads", &self.threads.to_string(), &is.threads.to_string()),
            ("workers", &self.workers.to_string(), &is.workers.to_string()),
            ("dtype", &self.dtype, &is.dtype),
            ("model hash", &self.model_sha256, &is.model_sha256),
            ("transformers.js", &self.transformers_version, &is.transformers_version),
            ("ONNX Runtime Web", &self.onnxruntime_version, &is.onnxruntime_version),
            ("capture memory", &self.capture_bytes.to_string(), &is.capture_bytes.to_string()),
        ]);
        all.extend(self.asked.difference(&is.asked));
        all
    }
}

/// Those of triples of what, was and is that differ.
pub(crate) fn differences<const N: usize>(all: [(&str, &String, &String); N]) -> Vec<Difference> {
    let differ = all.into_iter().filter(|(_, was, is)| was != is);
    differ.map(|(what, was, is)| Difference { what: what.into(), was: was.clone(), is: is.clone() }).collect()
}
