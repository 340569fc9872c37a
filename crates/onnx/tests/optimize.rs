//! Graphs with fewer nodes: what is fused in models of real architectures, that it is the same each time, and that a graph
//! made to do harm is refused. What the graphs compute is compared by `tests/optimize/check.py`, in ONNX Runtime.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost::Message;
use webinfer_onnx::{
    Model, Optimize, Optimized, optimize,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto},
};

const OWN: Optimize = Optimize { packed: false };

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models").join(name)
}

fn optimized(name: &str, to: &Path, options: Optimize) -> Optimized {
    optimize(&model(name), to, options).unwrap()
}

/// How many nodes of each operator there are, as `Operator 2, Other 1`.
fn fused(done: &Optimized) -> String {
    done.fused.iter().map(|(op, count)| format!("{op} {count}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn layers_of_real_architectures_become_a_few_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("model.onnx");
    let cases = [
        ("tiny-bert/onnx/model.onnx", "BiasGelu 2, MultiHeadAttention 2, SkipLayerNormalization 4", 35),
        ("tiny-bert-sentiment/onnx/model.onnx", "BiasGelu 2, MultiHeadAttention 2, SkipLayerNormalization 4", 45),
        ("tiny-vit/onnx/model.onnx", "BiasGelu 1, MultiHeadAttention 1, SkipLayerNormalization 2", 27),
        ("tiny-clip/onnx/vision_model.onnx", "MultiHeadAttention 1, QuickGelu 1, SkipLayerNormalization 1", 32),
        (
            "tiny-whisper/onnx/encoder_model.onnx",
            "BiasGelu 1, Gelu 2, MultiHeadAttention 1, SkipLayerNormalization 2",
            17,
        ),
    ];
    for (name, wanted, most) in cases {
        let done = optimized(name, &to, OWN);
        assert_eq!(fused(&done), wanted, "{name}");
        assert!(done.nodes_after <= most && done.nodes_after < done.nodes_before, "{name}: {done:?}");
        assert_eq!(fs::metadata(&to).unwrap().len(), done.bytes_after, "{name}");
        // Nothing is left to do, and the file can be read.
        let again = optimize(&to, &folder.path().join("again.onnx"), OWN).unwrap();
        assert!(again.fused.is_empty() && !folder.path().join("again.onnx").exists(), "{name}: {again:?}");
    }
}

#[test]
fn weights_are_put_side_by_side_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("model.onnx");
    let done = optimized("tiny-bert/onnx/model.onnx", &to, Optimize { packed: true });
    assert_eq!(fused(&done), "Attention 2, BiasGelu 2, SkipLayerNormalization 4");
    let written = ModelProto::decode(&fs::read(&to).unwrap()[..]).unwrap().graph.unwrap();
    let source = ModelProto::decode(&fs::read(model("tiny-bert/onnx/model.onnx")).unwrap()[..]).unwrap().graph.unwrap();
    let tensor = |graph: &GraphProto, name: &str| {
        graph.initializer.iter().find(|tensor| tensor.name().ends_with(name)).unwrap().clone()
    };
    let node = written.node.iter().find(|node| node.op_type() == "Attention").unwrap();
    let packed = tensor(&written, &node.input[1]);
    assert_eq!(packed.dims, [32, 96]);
    // The first row of each weight, one after the other.
    let first = |part: &str| tensor(&source, &format!("layer.0.{part}.weight")).raw_data.unwrap()[..128].to_vec();
    assert_eq!(packed.raw_data.unwrap()[..384], ["query", "key", "value"].map(first).concat());
}

#[test]
fn a_file_is_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("model.onnx");
    for name in ["tiny-bert-mlm/onnx/model.onnx", "tiny-clip/onnx/model.onnx"] {
        let files: Vec<_> = (0..3)
            .map(|_| {
                optimized(name, &to, OWN);
                fs::read(&to).unwrap()
            })
            .collect();
        assert!(files[0] == files[1] && files[1] == files[2], "{name}");
    }
}

#[test]
fn what_is_not_recognised_stays() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("model.onnx");
    for name in ["identity/onnx/model.onnx", "tiny-llama/onnx/model.onnx", "tiny-t5/onnx/decoder_model_merged.onnx"] {
        let done = optimized(name, &to, OWN);
        assert!(done.fused.is_empty() && done.nodes_before == done.nodes_after && !to.exists(), "{name}: {done:?}");
    }
}

/// A graph whose constants or shapes are not those of what they look like.
#[test]
fn what_only_looks_alike_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("near.onnx"), folder.path().join("model.onnx"));
    let change = |change: &dyn Fn(&mut GraphProto)| {
        let mut model = ModelProto::decode(&fs::read(model("tiny-bert/onnx/model.onnx")).unwrap()[..]).unwrap();
        change(model.graph.as_mut().unwrap());
        fs::write(&path, model.encode_to_vec()).unwrap();
        fused(&optimize(&path, &to, OWN).unwrap())
    };
    let scalar = |name: &'static str, value: f32| {
        move |graph: &mut GraphProto| {
            for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.name().ends_with(name)) {
                tensor.raw_data = Some(value.to_le_bytes().to_vec());
            }
        }
    };
    let all = "BiasGelu 2, MultiHeadAttention 2, SkipLayerNormalization 4";
    assert_eq!(change(&|_| {}), all);
    let rest = "MultiHeadAttention 2, SkipLayerNormalization 4";
    assert_eq!(change(&scalar(".sqrt2", 1.5)), rest);
    assert_eq!(change(&scalar(".half", 0.25)), rest);
    assert_eq!(change(&scalar(".plus", 2.0)), rest);
    let turned = |op: &'static str, from: &'static [i64], to: &'static [i64]| {
        move |graph: &mut GraphProto| {
            for node in graph.node.iter_mut().filter(|node| node.op_type() == op) {
                for attribute in node.attribute.iter_mut().filter(|attribute| attribute.ints == from) {
                    attribute.ints = to.to_vec();
                }
            }
        }
    };
    let without = "BiasGelu 2, SkipLayerNormalization 4";
    assert_eq!(change(&turned("Transpose", &[0, 2, 3, 1], &[0, 3, 2, 1])), without);
    // An output that others want stays, and so what makes it.
    let wanted = |graph: &mut GraphProto| {
        let name = graph.node.iter().find(|node| node.op_type() == "Softmax").unwrap().output[0].clone();
        graph.output.push(ValueInfoProto { name: Some(name), ..Default::default() });
    };
    assert_eq!(change(&wanted), "BiasGelu 2, MultiHeadAttention 1, SkipLayerNormalization 4");
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NodeProto { op_type: Some(op.into()), input: names(inputs), output: names(outputs), ..Default::default() }
}

#[test]
fn what_is_no_graph_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let value = |name: &str| ValueInfoProto { name: Some(name.into()), ..Default::default() };
    let refused = |nodes: Vec<NodeProto>, constants: &[&str]| {
        let initializer = constants.iter().map(|name| TensorProto {
            name: Some((*name).into()),
            data_type: Some(1),
            ..Default::default()
        });
        let (input, output) = (vec![value("x")], vec![value("y")]);
        let graph = GraphProto { node: nodes, input, output, initializer: initializer.collect(), ..Default::default() };
        fs::write(&path, ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec()).unwrap();
        optimize(&path, &folder.path().join("to.onnx"), OWN).unwrap_err().to_string()
    };
    let circle = vec![node("Add", &["x", "b"], &["a"]), node("Relu", &["a"], &["b"]), node("Relu", &["b"], &["y"])];
    assert!(refused(circle, &[]).contains("made of itself"));
    assert!(refused(vec![node("Add", &["x", "nowhere"], &["y"])], &[]).contains("nobody makes"));
    assert!(refused(vec![node("Relu", &["x"], &["z"])], &[]).contains("nobody makes"));
    assert!(refused(vec![node("Relu", &["x"], &["y"]), node("Erf", &["x"], &["y"])], &[]).contains("two of its nodes"));
    assert!(refused(vec![node("Relu", &["x"], &["x"])], &[]).contains("two of its nodes"));
    assert!(refused(vec![node("Add", &["x", "w"], &["y"])], &["w", "w"]).contains("one name"));
}

#[test]
fn a_chain_of_many_nodes_takes_no_stack() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let names: Vec<_> = (0..5_000).map(|at| format!("v{at}")).collect();
    let mut nodes: Vec<_> = names.windows(2).map(|pair| node("Mul", &[&pair[0], &pair[0]], &[&pair[1]])).collect();
    nodes.push(node("Erf", &[&names[names.len() - 1]], &["y"]));
    let value = |name: &str| ValueInfoProto { name: Some(name.into()), ..Default::default() };
    let graph = GraphProto { node: nodes, input: vec![value("v0")], output: vec![value("y")], ..Default::default() };
    fs::write(&path, ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec()).unwrap();
    let done = optimize(&path, &folder.path().join("to.onnx"), OWN).unwrap();
    assert_eq!((done.nodes_before, done.nodes_after), (5_000, 5_000));
}

/// Changes a few bytes of models, and has what is still readable optimised.
fn damaged_models_are_optimised_or_refused(times: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("model.onnx"), folder.path().join("to.onnx"));
    let names = ["tiny-bert/onnx/model.onnx", "tiny-vit/onnx/model.onnx", "tiny-clip/onnx/text_model.onnx"];
    // Without their weights, so that what is damaged is the graph.
    let sources = names.map(|name| {
        let mut model = ModelProto::decode(&fs::read(model(name)).unwrap()[..]).unwrap();
        let graph = model.graph.as_mut().unwrap();
        for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.dims.iter().product::<i64>() > 64) {
            (tensor.dims, tensor.raw_data) = (tensor.dims.iter().map(|_| 1).collect(), Some(vec![0; 4]));
        }
        (model.encode_to_vec(), fs::read(self::model(name)).unwrap())
    });
    let (mut state, mut read, mut done) = (7u64, 0, 0);
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for number in 0..times {
        let (small, whole) = &sources[number % sources.len()];
        let mut bytes = if number % 8 == 0 { whole.clone() } else { small.clone() };
        for _ in 0..1 + random() % 6 {
            let at = random() % bytes.len();
            match random() % 3 {
                0 => bytes[at] = random() as u8,
                1 => bytes[at] = bytes[random() % bytes.len()],
                _ => bytes[at] ^= 1 << (random() % 8),
            }
        }
        fs::write(&path, bytes).unwrap();
        if Model::open(&path).is_ok() {
            read += 1;
            done += usize::from(optimize(&path, &to, Optimize { packed: number % 2 == 0 }).is_ok());
        }
    }
    println!("{times} damaged models, {read} of them readable, {done} of those graphs");
    assert!(done > 0 && done < times);
}

#[test]
fn a_few_damaged_models_are_optimised_or_refused() {
    damaged_models_are_optimised_or_refused(1000);
}

#[test]
#[ignore = "takes minutes"]
fn many_damaged_models_are_optimised_or_refused() {
    damaged_models_are_optimised_or_refused(100_000);
}
