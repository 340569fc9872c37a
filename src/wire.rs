//! Wire: the way between messages and the crate's own types, for what both the public API and the bridge carry.

use crate::{
    execution::{Backend, Check, Hardware},
    models::{Dtype, Fallback, GraphCapture, Pooling, Spec},
    proto::v1,
};

/// The backend, or `None` where none was said.
pub fn backend_from_wire(backend: v1::Backend) -> Option<Backend> {
    match backend {
        v1::Backend::Unspecified => None,
        v1::Backend::Wasm => Some(Backend::Wasm),
        v1::Backend::Webgpu => Some(Backend::WebGpu),
        v1::Backend::WebnnCpu => Some(Backend::WebNnCpu),
        v1::Backend::WebnnGpu => Some(Backend::WebNnGpu),
        v1::Backend::WebnnNpu => Some(Backend::WebNnNpu),
        v1::Backend::Simulation => Some(Backend::Simulation),
    }
}

/// The backend as it travels.
pub fn backend_to_wire(backend: Backend) -> v1::Backend {
    match backend {
        Backend::Wasm => v1::Backend::Wasm,
        Backend::WebGpu => v1::Backend::Webgpu,
        Backend::WebNnCpu => v1::Backend::WebnnCpu,
        Backend::WebNnGpu => v1::Backend::WebnnGpu,
        Backend::WebNnNpu => v1::Backend::WebnnNpu,
        Backend::Simulation => v1::Backend::Simulation,
    }
}

/// A registration with its defaults filled in, as it travels.
pub fn spec_to_wire(spec: &Spec) -> v1::ModelSpec {
    v1::ModelSpec {
        id: spec.id.to_string(),
        source: spec.source.clone(),
        task: spec.task.name.to_owned(),
        backends: spec.backends.iter().map(|&backend| backend_to_wire(backend).into()).collect(),
        fallback: fallback_to_wire(spec.fallback).into(),
        dtype: spec.dtypes.common().map(Dtype::name).unwrap_or_default().to_owned(),
        bits: 0,
        dtypes: spec.dtypes.graphs().map(|(graph, dtype)| (graph.to_owned(), dtype.name().to_owned())).collect(),
        max_error: 0.0,
        replicas: spec.replicas,
        threads: spec.threads,
        pooling: pooling_to_wire(spec.pooling).into(),
        unnormalized: spec.unnormalized,
        max_batch: spec.max_batch,
        graph_capture: capture_to_wire(spec.graph_capture).into(),
        optimize: Some(spec.optimize),
        probes: spec.probes.clone(),
        browser: spec.browser.clone(),
    }
}

/// How a replica agrees with the reference, as it travels.
pub fn check_to_wire(check: &Check) -> v1::Check {
    let Check { measure, value, least, against } = check;
    v1::Check { measure: (*measure).to_owned(), value: *value, least: *least, against: against.to_string() }
}

/// The kind of hardware as it travels.
pub fn hardware_to_wire(hardware: Hardware) -> v1::Hardware {
    match hardware {
        Hardware::Unknown => v1::Hardware::Unspecified,
        Hardware::Cpu => v1::Hardware::Cpu,
        Hardware::SoftwareAdapter => v1::Hardware::SoftwareAdapter,
        Hardware::Gpu => v1::Hardware::Gpu,
    }
}

/// The fall-back policy, or `None` where none was said.
pub fn fallback_from_wire(fallback: v1::Fallback) -> Option<Fallback> {
    match fallback {
        v1::Fallback::Unspecified => None,
        v1::Fallback::Exact => Some(Fallback::Exact),
        v1::Fallback::Backend => Some(Fallback::Backend),
        v1::Fallback::Simulation => Some(Fallback::Simulation),
    }
}

/// The fall-back policy as it travels.
pub fn fallback_to_wire(fallback: Fallback) -> v1::Fallback {
    match fallback {
        Fallback::Exact => v1::Fallback::Exact,
        Fallback::Backend => v1::Fallback::Backend,
        Fallback::Simulation => v1::Fallback::Simulation,
    }
}

/// Whether the GPU's commands are recorded, or `None` where nothing was said.
pub fn capture_from_wire(capture: v1::GraphCapture) -> Option<GraphCapture> {
    match capture {
        v1::GraphCapture::Unspecified => None,
        v1::GraphCapture::Auto => Some(GraphCapture::Auto),
        v1::GraphCapture::On => Some(GraphCapture::On),
        v1::GraphCapture::Off => Some(GraphCapture::Off),
    }
}

fn capture_to_wire(capture: GraphCapture) -> v1::GraphCapture {
    match capture {
        GraphCapture::Auto => v1::GraphCapture::Auto,
        GraphCapture::On => v1::GraphCapture::On,
        GraphCapture::Off => v1::GraphCapture::Off,
    }
}

/// The pooling, or `None` where none was said.
pub fn pooling_from_wire(pooling: v1::Pooling) -> Option<Pooling> {
    match pooling {
        v1::Pooling::Unspecified => None,
        v1::Pooling::Mean => Some(Pooling::Mean),
        v1::Pooling::Cls => Some(Pooling::Cls),
    }
}

/// The pooling as it travels.
pub fn pooling_to_wire(pooling: Pooling) -> v1::Pooling {
    match pooling {
        Pooling::Mean => v1::Pooling::Mean,
        Pooling::Cls => v1::Pooling::Cls,
    }
}
