//! Pooled: what makes one vector of a text's token vectors, as nodes that go behind a graph. On a GPU the tokens' vectors then
//! stay there: they are some hundred times as many bytes.
//!
//! Of messages of one kind that follow one another protobuf makes one, so that a graph's file with these bytes behind it is the
//! graph with more nodes. The operators are those that mean the same in every version that models use.

use bytes::Bytes;
use prost::Message;
use webinfer_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType,
    tensor_proto::DataType,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};

use super::{
    Pooling,
    onnx::{self, Scan, Value},
};
use crate::proto::v1;

/// The output, [texts, 1, numbers], in fp32. A node that computes has to make it: where a node only gives numbers another shape
/// they are copied, which the runtime does not record.
const VECTOR: &str = "webinfer.vector";
/// Outputs that have the vectors of tokens, the best first; they are those that the page takes.
const TOKENS: [&str; 3] = ["last_hidden_state", "logits", "token_embeddings"];
const MASK: &str = "attention_mask";

/// The nodes for a graph, or nothing where it has no token vectors with a mask.
pub fn nodes(scan: &Scan, pooling: Pooling, unnormalized: bool) -> Option<Bytes> {
    let tokens = TOKENS.into_iter().find_map(|name| scan.outputs.iter().find(|value| value.name == name))?;
    let mask = scan.inputs.iter().find(|value| value.name == MASK)?;
    let is = |value: &Value, types: &[v1::DataType], rank| {
        value.data_type.is_some_and(|found| types.contains(&found)) && value.dimensions.len() == rank
    };
    if !is(tokens, &[v1::DataType::Float32, v1::DataType::Float16], 3) || !is(mask, &[v1::DataType::Int64], 2) {
        return None;
    }
    let mut graph = Nodes::default();
    let floats = graph.cast(&tokens.name, "tokens");
    let vector = match pooling {
        Pooling::Mean => {
            let kept = graph.cast(MASK, "mask");
            let (row, column) = (graph.reshape(&kept, &[0, 1, -1], "row"), graph.reshape(&kept, &[0, -1, 1], "column"));
            // What is kept counts 1 each, so that its square is how many there are.
            let (sum, count) =
                (graph.add("MatMul", &[&row, &floats], "sum"), graph.add("MatMul", &[&row, &column], "count"));
            graph.add("Div", &[&sum, &count], "mean")
        }
        Pooling::Cls => {
            let first = graph.constant("first", &[1], &[0]);
            let vector = graph.add("Gather", &[&floats, &first], "cls");
            graph.attribute("axis", 1);
            vector
        }
    };
    let vector = if unnormalized {
        vector
    } else {
        let column = graph.reshape(&vector, &[0, -1, 1], "vector_column");
        let square = graph.add("MatMul", &[&vector, &column], "square");
        let norm = graph.add("Sqrt", &[&square], "norm");
        graph.add("Div", &[&vector, &norm], "unit")
    };
    graph.rename(&vector);
    let one = onnx::Dimension::Fixed(1);
    let dims = [tokens.dimensions.first()?, &one, tokens.dimensions.last()?].map(dimension);
    let message = ModelProto { graph: Some(graph.end(dims.to_vec())), ..ModelProto::default() };
    Some(message.encode_to_vec().into())
}

fn dimension(of: &onnx::Dimension) -> Dimension {
    let value = match of {
        onnx::Dimension::Fixed(size) => Some(dimension::Value::DimValue(i64::from(*size))),
        onnx::Dimension::Named(name) => Some(dimension::Value::DimParam(name.clone())),
        onnx::Dimension::Unknown => None,
    };
    Dimension { value, ..Dimension::default() }
}

/// Nodes that are added one after the other. Their values have names that no exporter gives.
#[derive(Default)]
struct Nodes(GraphProto);

impl Nodes {
    fn add(&mut self, operator: &str, inputs: &[&str], name: &str) -> String {
        let output = format!("{VECTOR}/{name}");
        self.0.node.push(NodeProto {
            op_type: Some(operator.to_owned()),
            name: Some(output.clone()),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.clone()],
            ..NodeProto::default()
        });
        output
    }

    /// Gives the last node an attribute.
    fn attribute(&mut self, name: &str, value: i64) {
        let r#type = Some(AttributeType::Int.into());
        let attribute = AttributeProto { name: Some(name.to_owned()), i: Some(value), r#type, ..Default::default() };
        if let Some(node) = self.0.node.last_mut() {
            node.attribute.push(attribute);
        }
    }

    /// Has a value, which the last node makes, be the output.
    fn rename(&mut self, value: &str) {
        let outputs = self.0.node.iter_mut().flat_map(|node| &mut node.output);
        outputs.filter(|output| *output == value).for_each(|output| VECTOR.clone_into(output));
    }

    fn cast(&mut self, value: &str, name: &str) -> String {
        let output = self.add("Cast", &[value], name);
        self.attribute("to", i64::from(i32::from(DataType::Float)));
        output
    }

    fn reshape(&mut self, value: &str, shape: &[i64], name: &str) -> String {
        let rank = i64::try_from(shape.len()).unwrap_or_default();
        let shape = self.constant(&format!("{name}_shape"), &[rank], shape);
        self.add("Reshape", &[value, &shape], name)
    }

    fn constant(&mut self, name: &str, dims: &[i64], values: &[i64]) -> String {
        let name = format!("{VECTOR}/{name}");
        self.0.initializer.push(TensorProto {
            name: Some(name.clone()),
            data_type: Some(DataType::Int64.into()),
            dims: dims.to_vec(),
            int64_data: values.to_vec(),
            ..TensorProto::default()
        });
        name
    }

    fn end(mut self, dim: Vec<Dimension>) -> GraphProto {
        let tensor =
            type_proto::Tensor { elem_type: Some(DataType::Float.into()), shape: Some(TensorShapeProto { dim }) };
        let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        self.0.output.push(ValueInfoProto {
            name: Some(VECTOR.to_owned()),
            r#type: Some(r#type),
            ..Default::default()
        });
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::nodes;
    use crate::models::{
        Pooling,
        onnx::{Dimension, scan},
    };

    #[test]
    fn a_graph_with_them_behind_it_has_one_output_more() {
        let mut file = include_bytes!("../../tests/models/tiny-bert/onnx/model.onnx").to_vec();
        let before = scan(Cursor::new(&file)).unwrap();
        file.extend(nodes(&before, Pooling::Mean, false).unwrap());
        let after = scan(Cursor::new(&file)).unwrap();
        assert_eq!(after.inputs, before.inputs);
        let [_, vector] = after.outputs.as_slice() else { panic!("{:?}", after.outputs) };
        assert_eq!(vector.name, "webinfer.vector");
        let tokens = &before.outputs[0].dimensions;
        assert_eq!(vector.dimensions, [tokens[0].clone(), Dimension::Fixed(1), tokens[2].clone()]);
    }

    #[test]
    fn what_has_no_token_vectors_gets_none() {
        let file = include_bytes!("../../tests/models/tiny-vit/onnx/model.onnx");
        assert_eq!(nodes(&scan(Cursor::new(file)).unwrap(), Pooling::Mean, false), None);
    }
}
