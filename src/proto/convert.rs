//! The way between wire and crate for what both the public API and the bridge carry.

use super::v1;
use crate::{
    execution::{Backend, Hardware},
    job::{DataType, Tensor},
    models::{Fallback, Pooling},
};

/// Most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;

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

/// Tensors as they travel.
pub fn tensors_to_wire(tensors: impl IntoIterator<Item = (String, Tensor)>) -> v1::TensorMap {
    let tensor_to_wire = |tensor: Tensor| {
        let data_type = match tensor.data_type {
            DataType::Float32 => v1::DataType::Float32,
            DataType::Float16 => v1::DataType::Float16,
            DataType::Int64 => v1::DataType::Int64,
            DataType::Int32 => v1::DataType::Int32,
            DataType::Int8 => v1::DataType::Int8,
            DataType::Uint8 => v1::DataType::Uint8,
            DataType::Bool => v1::DataType::Bool,
        };
        let shape = tensor.shape.into_iter().map(i64::from).collect();
        v1::Tensor { data_type: data_type.into(), shape, data: tensor.data }
    };
    v1::TensorMap { tensors: tensors.into_iter().map(|(name, tensor)| (name, tensor_to_wire(tensor))).collect() }
}

/// Tensors that came in, in the order of their names. The error names the field below the map and what is wrong.
pub fn tensors_from_wire(map: v1::TensorMap) -> Result<Vec<(String, Tensor)>, (String, String)> {
    let mut tensors = Vec::with_capacity(map.tensors.len());
    for (name, tensor) in map.tensors {
        match tensor_from_wire(tensor) {
            Ok(tensor) => tensors.push((name, tensor)),
            Err((part, message)) => {
                return Err((format!("tensors[{:?}].{part}", crate::error::shorten(&name)), message));
            }
        }
    }
    tensors.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(tensors)
}

fn tensor_from_wire(tensor: v1::Tensor) -> Result<Tensor, (&'static str, String)> {
    let data_type = match tensor.data_type() {
        v1::DataType::Unspecified => return Err(("data_type", "must be said".into())),
        v1::DataType::Float32 => DataType::Float32,
        v1::DataType::Float16 => DataType::Float16,
        v1::DataType::Int64 => DataType::Int64,
        v1::DataType::Int32 => DataType::Int32,
        v1::DataType::Int8 => DataType::Int8,
        v1::DataType::Uint8 => DataType::Uint8,
        v1::DataType::Bool => DataType::Bool,
    };
    if tensor.shape.len() > MOST_DIMENSIONS {
        return Err(("shape", format!("has {} dimensions; the most is {MOST_DIMENSIONS}", tensor.shape.len())));
    }
    let shape: Result<Vec<u32>, _> = tensor.shape.iter().map(|&dimension| u32::try_from(dimension)).collect();
    let Ok(shape) = shape else {
        return Err(("shape", format!("{:?} has a dimension below 0 or above 2^32 - 1", tensor.shape)));
    };
    let elements = shape.iter().try_fold(1_usize, |product, &dimension| product.checked_mul(dimension as usize));
    let bytes = elements.and_then(|elements| elements.checked_mul(data_type.size()));
    if bytes != Some(tensor.data.len()) {
        let stated = bytes.map_or("more bytes than there are".to_owned(), |bytes| format!("{bytes} bytes"));
        return Err((
            "data",
            format!("has {} bytes, and {shape:?} of {data_type:?} needs {stated}", tensor.data.len()),
        ));
    }
    Ok(Tensor { data_type, shape, data: tensor.data })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{tensors_from_wire, tensors_to_wire, v1};

    proptest! {
        #[test]
        fn only_tensors_that_agree_with_themselves_pass(
            data_type in -1..12i32,
            shape in proptest::collection::vec(prop_oneof![0..6i64, any::<i64>()], 0..10),
            length in 0..200usize,
        ) {
            let tensor = v1::Tensor { data_type, shape: shape.clone(), data: vec![0; length].into() };
            let map = v1::TensorMap { tensors: [("x".to_owned(), tensor)].into() };
            if let Ok(tensors) = tensors_from_wire(map.clone()) {
                let (_, tensor) = &tensors[0];
                let elements: i64 = shape.iter().product();
                prop_assert_eq!(elements as usize * tensor.data_type.size(), length);
                prop_assert_eq!(tensors_to_wire(tensors), map);
            }
        }
    }
}
