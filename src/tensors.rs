//! Tensors: whether those that came in agree with themselves.

use crate::{
    error::{Error, shorten},
    proto::v1::{DataType, Tensor, TensorMap},
};

/// Most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;

/// Bytes of one element; 0 where no type is said.
pub fn element_size(data_type: DataType) -> usize {
    match data_type {
        DataType::Unspecified => 0,
        DataType::Int64 => 8,
        DataType::Float32 | DataType::Int32 => 4,
        DataType::Float16 => 2,
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 1,
    }
}

/// Checks named tensors. The error names the field below `path`, that of the map.
pub fn check_all(path: &str, map: &TensorMap) -> Result<(), Error> {
    for (name, tensor) in &map.tensors {
        check(&format!("{path}.tensors[{:?}]", shorten(name)), tensor)?;
    }
    Ok(())
}

/// Checks a tensor. The error names the field below `path`, that of the tensor.
pub fn check(path: &str, tensor: &Tensor) -> Result<(), Error> {
    let wrong = |part: &str, message: String| Err(Error::invalid(format!("{path}.{part}"), message));
    let Tensor { shape, data, .. } = tensor;
    let data_type = tensor.data_type();
    if data_type == DataType::Unspecified {
        return wrong("data_type", "must be said".into());
    }
    if shape.len() > MOST_DIMENSIONS {
        return wrong("shape", format!("has {} dimensions; the most is {MOST_DIMENSIONS}", shape.len()));
    }
    if shape.iter().any(|&dimension| u32::try_from(dimension).is_err()) {
        return wrong("shape", format!("{shape:?} has a dimension below 0 or above 2^32 - 1"));
    }
    let bytes =
        shape.iter().try_fold(element_size(data_type), |product, &dimension| product.checked_mul(dimension as usize));
    if bytes != Some(data.len()) {
        let stated = bytes.map_or("more bytes than there are".to_owned(), |bytes| format!("{bytes} bytes"));
        return wrong("data", format!("has {} bytes, and {shape:?} of {data_type:?} needs {stated}", data.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Tensor, check, element_size};

    proptest! {
        #[test]
        fn only_tensors_that_agree_with_themselves_pass(
            data_type in -1..12i32,
            shape in proptest::collection::vec(prop_oneof![0..6i64, any::<i64>()], 0..10),
            length in 0..200usize,
        ) {
            let tensor = Tensor { data_type, shape: shape.clone(), data: vec![0; length].into() };
            if check("x", &tensor).is_ok() {
                let elements: i64 = shape.iter().product();
                prop_assert_eq!(elements as usize * element_size(tensor.data_type()), length);
                prop_assert!(length == 0 || data_type > 0);
            }
        }
    }
}
