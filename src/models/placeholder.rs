//! Placeholder: what stands for an answer where nothing can run a model and its registration allows that: zeros, in the
//! shape and type of what the model would answer.

use super::onnx::{Dimension, Value};
use crate::{
    proto::v1::{DataType, Embedding, Tensor, TensorMap, item::Input, item_result::Output},
    tensors::element_size,
};

/// What the answers of a model look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// A vector of so many components.
    Embedding(usize),
    /// The graph's inputs, which give the named dimensions their sizes, and its outputs.
    Tensors {
        /// Inputs.
        inputs: Vec<Value>,
        /// Outputs.
        outputs: Vec<Value>,
    },
}

impl Placeholder {
    /// What stands for the answer to an input. It takes its bytes from the `room` that is left. The error says why nothing
    /// can.
    pub fn of(&self, input: &Input, room: &mut usize) -> Result<Output, String> {
        match (self, input) {
            (Self::Embedding(size), _) => {
                take(room, size.checked_mul(size_of::<f32>())).ok_or("the placeholders together would be too large")?;
                Ok(Output::Embedding(Embedding { values: vec![0.0; *size] }))
            }
            (Self::Tensors { inputs, outputs }, Input::Tensors(given)) => {
                let zeros = outputs.iter().map(|output| zeros(output, |name| dimension_of(name, inputs, given), room));
                Ok(Output::Tensors(TensorMap { tensors: zeros.collect::<Result<_, _>>()? }))
            }
            (Self::Tensors { .. }, _) => Err("the model takes tensors".into()),
        }
    }
}

/// The size that the given tensors have in a dimension of that name.
fn dimension_of(name: &str, inputs: &[Value], given: &TensorMap) -> Option<u32> {
    inputs.iter().find_map(|input| {
        let tensor = given.tensors.get(&input.name)?;
        let named = |dimension: &Dimension| matches!(dimension, Dimension::Named(known) if known == name);
        let index = input.dimensions.iter().position(named)?;
        tensor.shape.get(index).and_then(|&size| u32::try_from(size).ok())
    })
}

/// Takes so many bytes from what is left; `None` where there is less.
fn take(room: &mut usize, bytes: Option<usize>) -> Option<usize> {
    let bytes = bytes?;
    *room = room.checked_sub(bytes)?;
    Some(bytes)
}

fn zeros(output: &Value, size_of: impl Fn(&str) -> Option<u32>, room: &mut usize) -> Result<(String, Tensor), String> {
    let Value { name, data_type, dimensions } = output;
    let data_type = data_type.ok_or_else(|| format!("the type of its output {name:?} is not one that is served"))?;
    let shape = dimensions.iter().map(|dimension| match dimension {
        Dimension::Fixed(size) => Ok(*size),
        Dimension::Named(dimension) => size_of(dimension)
            .ok_or_else(|| format!("the size of dimension {dimension:?} of its output {name:?} depends on the run")),
        Dimension::Unknown => Err(format!("the shape of its output {name:?} depends on the run")),
    });
    let shape = shape.collect::<Result<Vec<_>, _>>()?;
    let bytes = shape.iter().try_fold(element_size(data_type), |bytes, &size| bytes.checked_mul(size as usize));
    let bytes = take(room, bytes).ok_or_else(|| format!("its output {name:?} would be too large"))?;
    let shape = shape.into_iter().map(i64::from).collect();
    Ok((name.clone(), Tensor { data_type: data_type.into(), shape, data: vec![0; bytes].into() }))
}

/// The type that a number of ONNX's `TensorProto.DataType` stands for.
pub fn data_type(number: u64) -> Option<DataType> {
    match number {
        1 => Some(DataType::Float32),
        2 => Some(DataType::Uint8),
        3 => Some(DataType::Int8),
        6 => Some(DataType::Int32),
        7 => Some(DataType::Int64),
        9 => Some(DataType::Bool),
        10 => Some(DataType::Float16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Dimension, Placeholder, Value};
    use crate::proto::v1::{DataType, Tensor, TensorMap, item::Input, item_result::Output};

    fn value(name: &str, dimensions: Vec<Dimension>) -> Value {
        Value { name: name.into(), data_type: Some(DataType::Int32), dimensions }
    }

    #[test]
    fn its_shape_follows_the_input() {
        let named = |name: &str| Dimension::Named(name.into());
        let inputs = vec![value("x", vec![named("batch"), Dimension::Fixed(4)])];
        let outputs = |dimension| vec![value("y", vec![named("batch"), dimension])];
        let tensor = Tensor { data_type: DataType::Int32.into(), shape: vec![3, 4], data: vec![1; 48].into() };
        let input = Input::Tensors(TensorMap { tensors: [("x".into(), tensor)].into() });
        let of = |dimension| {
            Placeholder::Tensors { inputs: inputs.clone(), outputs: outputs(dimension) }.of(&input, &mut 100)
        };
        let Output::Tensors(answer) = of(Dimension::Fixed(2)).unwrap() else { panic!("it takes tensors") };
        let (name, tensor) = answer.tensors.first_key_value().unwrap();
        assert_eq!((name.as_str(), &tensor.shape[..]), ("y", &[3, 2][..]));
        assert_eq!(tensor.data, vec![0; 24]);
        for wrong in [named("tokens"), Dimension::Unknown, Dimension::Fixed(9), Dimension::Fixed(u32::MAX)] {
            of(wrong).unwrap_err();
        }
        let mut room = 20;
        let Output::Embedding(vector) = Placeholder::Embedding(3).of(&input, &mut room).unwrap() else {
            panic!("none")
        };
        assert_eq!((vector.values, room), (vec![0.0; 3], 8));
        Placeholder::Embedding(3).of(&input, &mut room).unwrap_err();
    }
}
