//! A tensor's shape, type and bytes.

use half::{bf16, f16};

use crate::{
    error::ReadError,
    proto::{StringStringEntryProto, TensorProto, tensor_proto::DataLocation, tensor_proto::DataType},
};

/// What stands in a tensor whose bytes are kept elsewhere for where they are. No file can bring it along: the reader
/// takes out what a file says of external data.
const REFERENCE: &str = "data";

/// A tensor that is not as it should be.
pub fn wrong(tensor: &TensorProto, what: impl Into<String>) -> ReadError {
    ReadError::Tensor { name: tensor.name().to_owned(), what: what.into() }
}

/// The type of its elements.
pub fn data_type(tensor: &TensorProto) -> DataType {
    DataType::try_from(tensor.data_type()).unwrap_or(DataType::Undefined)
}

/// Bits of an element; `None` for texts and what is not known.
fn bits(data_type: DataType) -> Option<u64> {
    use DataType as D;
    Some(match data_type {
        D::Undefined | D::String => return None,
        D::Uint2 | D::Int2 => 2,
        D::Uint4 | D::Int4 | D::Float4e2m1 => 4,
        D::Float6e2m3 | D::Float6e3m2 => 6,
        D::Uint8 | D::Int8 | D::Bool | D::Float8e4m3fn | D::Float8e4m3fnuz | D::Float8e5m2 | D::Float8e5m2fnuz => 8,
        D::Float8e8m0 => 8,
        D::Uint16 | D::Int16 | D::Float16 | D::Bfloat16 => 16,
        D::Float | D::Int32 | D::Uint32 => 32,
        D::Double | D::Int64 | D::Uint64 | D::Complex64 => 64,
        D::Complex128 => 128,
    })
}

/// Elements of a shape; `None` for one that cannot be.
pub fn elements(dims: &[i64]) -> Option<u64> {
    dims.iter().try_fold(1u64, |all, dim| all.checked_mul(u64::try_from(*dim).ok()?))
}

/// Bytes that the shape and type need.
fn needed(tensor: &TensorProto) -> Option<u64> {
    let bits = bits(data_type(tensor))?;
    Some(elements(&tensor.dims)?.checked_mul(bits)?.div_ceil(8))
}

/// Bytes that a tensor of its shape and type has.
pub fn length(tensor: &TensorProto) -> Result<u64, ReadError> {
    needed(tensor).ok_or_else(|| wrong(tensor, "its shape or its type cannot be"))
}

/// Whether so many bytes are what the shape needs.
pub fn check_length(tensor: &TensorProto, length: u64) -> Result<(), ReadError> {
    match self::length(tensor)? {
        needed if needed == length => Ok(()),
        needed => Err(wrong(tensor, format!("it has {length} bytes, and its shape needs {needed}"))),
    }
}

/// Whether a tensor that has its bytes with it has the right number of them, where it has raw ones.
pub fn check_kept(tensor: &TensorProto) -> Result<(), ReadError> {
    tensor.raw_data.as_ref().map_or(Ok(()), |raw| check_length(tensor, raw.len() as u64))
}

/// Has a tensor stand for bytes that are kept elsewhere.
pub fn refer(tensor: &mut TensorProto, index: usize) {
    tensor.raw_data = None;
    tensor.data_location = Some(DataLocation::External.into());
    let (key, value) = (Some(REFERENCE.to_owned()), Some(index.to_string()));
    tensor.external_data = vec![StringStringEntryProto { key, value }];
}

/// Where a tensor's bytes are kept, if not with it.
pub fn reference(tensor: &TensorProto) -> Option<usize> {
    match &tensor.external_data[..] {
        [entry] if entry.key() == REFERENCE => entry.value().parse().ok(),
        _ => None,
    }
}

/// A tensor without its bytes.
pub fn header(name: String, data_type: DataType, dims: &[u64]) -> TensorProto {
    let dims = dims.iter().map(|dim| dim.cast_signed()).collect();
    TensorProto { name: Some(name), data_type: Some(data_type.into()), dims, ..Default::default() }
}

/// A tensor of floats with its bytes.
pub fn of_floats(name: String, dims: &[u64], values: &[f32]) -> TensorProto {
    let raw_data = Some(values.iter().flat_map(|value| value.to_le_bytes()).collect());
    TensorProto { raw_data, ..header(name, DataType::Float, dims) }
}

/// Whether it has 32-bit floats.
pub fn is_float(tensor: &TensorProto) -> bool {
    data_type(tensor) == DataType::Float
}

/// The floats that the bytes of a tensor of that type are.
pub fn floats(data_type: DataType, bytes: &[u8]) -> Vec<f32> {
    let two = |convert: fn([u8; 2]) -> f32| bytes.as_chunks::<2>().0.iter().map(|two| convert(*two)).collect();
    match data_type {
        DataType::Float16 => two(|two| f16::from_le_bytes(two).to_f32()),
        DataType::Bfloat16 => two(|two| bf16::from_le_bytes(two).to_f32()),
        _ => bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DataType, check_length, elements, header, refer, reference};

    #[test]
    fn shapes_that_cannot_be_are_none() {
        assert_eq!(elements(&[2, 3]), Some(6));
        assert_eq!(elements(&[]), Some(1));
        assert_eq!(elements(&[-1]), None);
        assert_eq!(elements(&[i64::MAX, i64::MAX]), None);
    }

    #[test]
    fn narrow_types_share_bytes() {
        assert!(check_length(&header("x".into(), DataType::Int4, &[3]), 2).is_ok());
        assert!(check_length(&header("x".into(), DataType::Float, &[3]), 2).is_err());
        assert!(check_length(&header("x".into(), DataType::String, &[3]), 2).is_err());
    }

    proptest! {
        #[test]
        fn references_are_read_back(index in any::<usize>()) {
            let mut tensor = header("x".into(), DataType::Float, &[1]);
            prop_assert_eq!(reference(&tensor), None);
            refer(&mut tensor, index);
            prop_assert_eq!(reference(&tensor), Some(index));
        }
    }
}
