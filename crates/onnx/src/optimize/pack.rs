//! Constants put together: biases one after the other, and weights side by side.

use super::net::Net;
use crate::{
    error::{Error, ReadError},
    model::{Data, Model},
    proto::{TensorProto, tensor_proto::DataType},
    tensor::{data_type, elements, header, wrong},
};

/// The weights of new constants that are made while they are written.
#[derive(Default)]
pub struct Packs(Vec<Pack>);

/// A constant that is made of three, side by side.
struct Pack {
    name: String,
    weights: [TensorProto; 3],
}

impl Packs {
    /// Has their bytes made when they are written.
    pub fn promise(&self, model: &mut Model) -> Result<(), ReadError> {
        for (number, pack) in self.0.iter().enumerate() {
            let Some(at) = model.graph.initializer.iter().position(|tensor| tensor.name() == pack.name) else {
                continue;
            };
            let mut tensor = std::mem::take(&mut model.graph.initializer[at]);
            model.make(&mut tensor, number, 0)?;
            model.graph.initializer[at] = tensor;
        }
        Ok(())
    }

    /// The bytes of one: rows of the first, the second and the third in turn.
    pub fn make(&self, model: &Model, pack: usize) -> Result<Vec<Vec<u8>>, Error> {
        let Some(pack) = self.0.get(pack) else { return Ok(Vec::new()) };
        let mut parts = Vec::new();
        for weight in &pack.weights {
            let rows = weight.dims.first().and_then(|rows| usize::try_from(*rows).ok()).unwrap_or(1).max(1);
            let bytes = bytes(model, weight)?;
            parts.push((bytes.len() / rows, bytes));
        }
        let mut all = Vec::with_capacity(parts.iter().map(|(_, bytes)| bytes.len()).sum());
        let rows = parts.first().map_or(0, |(row, bytes)| bytes.len().checked_div(*row).unwrap_or(0));
        for at in 0..rows {
            for (row, bytes) in &parts {
                all.extend_from_slice(&bytes[at * row..(at + 1) * row]);
            }
        }
        Ok(vec![all])
    }
}

/// A constant of three biases one after the other, and zeros where there is none. `None` where that cannot be.
pub fn vectors(
    net: &mut Net,
    model: &Model,
    name: &str,
    biases: &[Option<&str>; 3],
    widths: &[i64; 3],
) -> Option<String> {
    let tensors = biases.map(|bias| bias.and_then(|bias| net.tensor(bias)));
    let kind = net.facts.get(name)?.kind?;
    let width = match kind {
        DataType::Float => 4,
        DataType::Float16 => 2,
        _ => return None,
    };
    let mut read = Vec::new();
    for (tensor, count) in tensors.iter().zip(widths) {
        read.push(match tensor {
            Some(tensor) if data_type(tensor) == kind && tensor.dims == [*count] => Some(bytes(model, tensor).ok()?),
            Some(_) => return None,
            None => None,
        });
    }
    // A graph may state any width: it is believed as far as one that is there has it.
    let longest = read.iter().flatten().map(|bytes| bytes.len()).max()?;
    let mut raw = Vec::new();
    for (bytes, count) in read.iter().zip(widths) {
        match bytes {
            Some(bytes) => raw.extend_from_slice(bytes),
            None => {
                let lacks = usize::try_from(*count).ok()?.checked_mul(width).filter(|lacks| *lacks <= longest)?;
                raw.resize(raw.len() + lacks, 0);
            }
        }
    }
    let all = u64::try_from(widths.iter().sum::<i64>()).ok()?;
    let name = net.names.fresh(format!("{name}_bias"));
    net.insert_tensor(TensorProto { raw_data: Some(raw), ..header(name.clone(), kind, &[all]) });
    Some(name)
}

/// A constant of three weights of one shape, side by side. It has no bytes yet.
pub fn beside(net: &mut Net, model: &Model, packs: &mut Packs, names: &[String; 3]) -> Option<String> {
    let weights = names.each_ref().map(|name| net.tensor(name).cloned());
    let [Some(query), Some(key), Some(value)] = weights else { return None };
    let [rows, columns] = query.dims[..] else { return None };
    let kind = data_type(&query);
    let alike = |other: &TensorProto| other.dims == query.dims && data_type(other) == kind;
    let known = matches!(kind, DataType::Float | DataType::Float16);
    let (rows, columns) = (u64::try_from(rows).ok()?, u64::try_from(columns).ok()?);
    if !known || !alike(&key) || !alike(&value) || rows == 0 || columns == 0 {
        return None;
    }
    // Each has to have its bytes, so that they can be made for certain.
    for weight in [&query, &key, &value] {
        if model.data(weight).is_none() && bytes(model, weight).is_err() {
            return None;
        }
    }
    let name = net.names.fresh(format!("{}_with_key_and_value", names[0]));
    let head = header(name.clone(), kind, &[rows, columns.checked_mul(3)?]);
    packs.0.push(Pack { name: name.clone(), weights: [query, key, value] });
    net.insert_tensor(head);
    Some(name)
}

/// A tensor's bytes.
fn bytes(model: &Model, tensor: &TensorProto) -> Result<Vec<u8>, ReadError> {
    let bytes = match (model.data(tensor), &tensor.raw_data) {
        (Some(Data::Stored { file, offset, length }), _) => {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            model.read(file, offset, &mut bytes)?;
            bytes
        }
        (Some(Data::Made { .. }), _) => return Err(wrong(tensor, "its bytes are not made yet")),
        (None, Some(raw)) => raw.clone(),
        (None, None) if data_type(tensor) == DataType::Float => {
            tensor.float_data.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        (None, None) => tensor.int32_data.iter().flat_map(|bits| (*bits as u16).to_le_bytes()).collect(),
    };
    let width = if data_type(tensor) == DataType::Float { 4 } else { 2 };
    if elements(&tensor.dims).and_then(|count| count.checked_mul(width)) != Some(bytes.len() as u64) {
        return Err(wrong(tensor, "it has not as many numbers as its shape"));
    }
    Ok(bytes)
}
