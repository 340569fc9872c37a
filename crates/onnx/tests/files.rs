//! Files are read within bounds and written as they were: models of the tests, damaged ones, and ones made to do harm.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use std::{fs, path::Path};

use common::{models, tiny};
use proptest::prelude::*;
use prost::Message;
use webinfer_onnx::{
    Error, Model, Options, Precision, ReadError, Report,
    journal::Journal,
    proto::{
        AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
        tensor_proto::DataLocation,
    },
    quantize,
    write::{LARGEST_MESSAGE, Layout},
};

fn copy(model: &Model, to: &Path, largest: u64) -> u64 {
    let layout = Layout::new(model, to, largest).unwrap();
    let mut journal = Journal::open(to, "copy").unwrap();
    layout.write(model, &mut |_, _| unreachable!("nothing is made"), &mut journal, &mut |_| {}).unwrap();
    journal.close(Ok(())).unwrap();
    layout.bytes()
}

/// With all bytes of its tensors in the messages.
fn whole(path: &Path) -> ModelProto {
    let mut model = ModelProto::decode(&fs::read(path).unwrap()[..]).unwrap();
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        // To say that the data is where it always is says nothing.
        tensor.data_location.take_if(|location| *location == i32::from(DataLocation::Default));
    }
    model
}

#[test]
fn what_was_read_is_written_alike_and_in_the_size_that_was_said() {
    let folder = tempfile::tempdir().unwrap();
    for path in models() {
        let to = folder.path().join("copy.onnx");
        let bytes = copy(&Model::open(&path).unwrap(), &to, LARGEST_MESSAGE);
        assert_eq!(fs::metadata(&to).unwrap().len(), bytes, "{}", path.display());
        assert!(whole(&to) == whole(&path), "{}", path.display());
    }
}

#[test]
fn what_is_too_large_for_one_message_goes_into_a_second_file_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny("tiny-bert");
    let (apart, again) = (folder.path().join("apart.onnx"), folder.path().join("again.onnx"));
    let bytes = copy(&Model::open(&path).unwrap(), &apart, 10_000);
    let data = fs::metadata(folder.path().join("apart.onnx_data")).unwrap().len();
    assert_eq!(fs::metadata(&apart).unwrap().len() + data, bytes);
    assert!(data > 90_000);
    copy(&Model::open(&apart).unwrap(), &again, LARGEST_MESSAGE);
    assert!(whole(&again) == whole(&path));
    // One file takes the place of two.
    copy(&Model::open(&path).unwrap(), &apart, LARGEST_MESSAGE);
    assert!(!folder.path().join("apart.onnx_data").exists());
    assert!(fs::read_dir(folder.path()).unwrap().all(|entry| entry.unwrap().path().extension().unwrap() == "onnx"));
}

#[test]
fn constants_of_functions_are_written_with_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (to, again) = (folder.path().join("copy.onnx"), folder.path().join("again.onnx"));
    let tensor = TensorProto {
        name: Some("large".into()),
        dims: vec![512],
        data_type: Some(1),
        raw_data: Some(vec![7; 2048]),
        ..Default::default()
    };
    let attribute = AttributeProto { name: Some("value".into()), t: Some(Box::new(tensor)), ..Default::default() };
    let node = NodeProto { attribute: vec![attribute], ..named("Constant", &[], "y") };
    let function =
        FunctionProto { name: Some("own".into()), output: vec!["y".into()], node: vec![node], ..Default::default() };
    let source = ModelProto {
        producer_name: Some("test".into()),
        graph: Some(GraphProto::default()),
        functions: vec![function],
        ..Default::default()
    };
    let model = open(&source, folder.path()).unwrap();
    copy(&model, &to, LARGEST_MESSAGE);
    assert!(whole(&to) == source);
    copy(&model, &to, 0);
    copy(&Model::open(&to).unwrap(), &again, LARGEST_MESSAGE);
    assert!(whole(&again) == source);
    // What the function gives is of a type that is not followed.
    let refused = quantized(&source, Precision::Half).unwrap_err();
    assert!(matches!(&refused, Error::Options(why) if why.contains("functions")), "{refused}");
}

fn outside(location: &str, offset: &str, length: &str) -> ModelProto {
    let entry =
        |(key, value): (&str, &str)| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
    let tensor = TensorProto {
        name: Some("weight".into()),
        dims: vec![2],
        data_type: Some(1),
        data_location: Some(DataLocation::External.into()),
        external_data: [("location", location), ("offset", offset), ("length", length)].map(entry).to_vec(),
        ..Default::default()
    };
    let graph = GraphProto { initializer: vec![tensor], ..Default::default() };
    ModelProto { graph: Some(graph), ..Default::default() }
}

fn open(model: &ModelProto, folder: &Path) -> Result<Model, ReadError> {
    let path = folder.join("model.onnx");
    fs::write(&path, model.encode_to_vec()).unwrap();
    Model::open(&path)
}

#[test]
fn external_data_stays_in_the_folder_of_the_graph() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("onnx");
    fs::create_dir(&folder).unwrap();
    fs::write(outer.path().join("secret"), [0; 8]).unwrap();
    fs::write(folder.join("data"), [0; 8]).unwrap();
    let absolute = outer.path().join("secret").display().to_string();
    for location in ["../secret", "data/../../secret", &absolute, "", ".", "da\\ta", "da\0ta", "data/"] {
        assert!(open(&outside(location, "0", "8"), &folder).is_err() || location == "data/", "{location:?}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outer.path().join("secret"), folder.join("link")).unwrap();
        assert!(matches!(open(&outside("link", "0", "8"), &folder), Err(ReadError::Outside { .. })));
    }
    assert!(matches!(open(&outside("missing", "0", "8"), &folder), Err(ReadError::External { .. })));
    for (offset, length) in [("1", "8"), ("0", "9"), ("18446744073709551615", "8"), ("-1", "8"), ("0", "4"), ("x", "8")]
    {
        assert!(
            matches!(open(&outside("data", offset, length), &folder), Err(ReadError::Tensor { .. })),
            "{offset} {length}"
        );
    }
    assert!(open(&outside("data", "0", "8"), &folder).is_ok());
}

#[test]
fn a_reference_of_the_reader_itself_cannot_be_brought_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = outside("data", "0", "8");
    let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
    tensor.external_data = vec![StringStringEntryProto { key: Some("data".into()), value: Some("0".into()) }];
    assert!(matches!(open(&model, folder.path()), Err(ReadError::Outside { .. })));
    // Without the mark of external data it means nothing, and is not followed either.
    let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
    (tensor.data_location, tensor.raw_data) = (None, Some(vec![0; 8]));
    // There is something that it could refer to.
    let large = TensorProto {
        name: Some("large".into()),
        dims: vec![512],
        data_type: Some(1),
        raw_data: Some(vec![0; 2048]),
        ..Default::default()
    };
    model.graph.as_mut().unwrap().initializer.push(large);
    let model = open(&model, folder.path()).unwrap();
    assert_eq!(model.data(&model.graph.initializer[0]), None);
    assert!(model.data(&model.graph.initializer[1]).is_some());
}

#[test]
fn graphs_in_graphs_end_somewhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut graph = GraphProto::default();
    for _ in 0..100 {
        let attribute = AttributeProto { g: Some(Box::new(graph)), ..Default::default() };
        let node = NodeProto { attribute: vec![attribute], ..Default::default() };
        graph = GraphProto { node: vec![node], ..Default::default() };
    }
    let error = open(&ModelProto { graph: Some(graph), ..Default::default() }, folder.path()).unwrap_err();
    assert!(matches!(error, ReadError::TooDeep), "{error}");
}

#[test]
fn a_graph_of_nothing_but_empty_nodes_is_refused_before_it_takes_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    // Two bytes each, which are hundreds in memory.
    let nodes = [0x0a, 0x00].repeat(4 << 20);
    let mut bytes = vec![0x3a];
    prost::encoding::encode_varint(nodes.len() as u64, &mut bytes);
    bytes.extend(nodes);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(Model::open(&path), Err(ReadError::TooLarge { .. })));
}

fn named(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

fn quantized(model: &ModelProto, precision: Precision) -> Result<Report, Error> {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("model.onnx"), folder.path().join("to.onnx"));
    fs::write(&path, model.encode_to_vec()).unwrap();
    let options = Options { precision, block: 32, asymmetric: false, tables: true, folder: None };
    quantize(&path, &to, &options, &mut |_| {})
}

#[test]
fn blocks_are_of_a_size_that_the_runtime_has() {
    let (folder, source) = (tempfile::tempdir().unwrap(), tiny("tiny-bert"));
    let done = |block| {
        let precision = Precision::Blocks { bits: 4 };
        let options = Options { precision, block, asymmetric: false, tables: true, folder: None };
        quantize(&source, &folder.path().join("to.onnx"), &options, &mut |_| {})
    };
    for block in [0, 8, 24, 512, 1024] {
        assert!(matches!(done(block), Err(Error::Options(_))), "{block}");
    }
    for block in [16, 256] {
        assert!(done(block).is_ok(), "{block}");
    }
}

#[test]
fn a_shape_without_numbers_takes_no_memory() {
    let weight =
        TensorProto { name: Some("w".into()), dims: vec![1024, 1 << 40], data_type: Some(1), ..Default::default() };
    for node in [named("MatMul", &["x", "w"], "y"), named("Gather", &["w", "x"], "y")] {
        let graph = GraphProto { node: vec![node], initializer: vec![weight.clone()], ..Default::default() };
        let model = ModelProto { graph: Some(graph), ..Default::default() };
        for precision in [Precision::Blocks { bits: 4 }, Precision::Dynamic { signed: false }] {
            let done = quantized(&model, precision);
            assert!(matches!(done, Err(Error::Nothing)), "{precision:?}: {done:?}");
        }
    }
}

#[test]
fn a_loop_whose_body_gives_nothing_ends_in_an_answer() {
    let attribute = AttributeProto { g: Some(Box::default()), ..Default::default() };
    let node = NodeProto { attribute: vec![attribute], ..named("Loop", &["n", "go"], "y") };
    let graph = GraphProto { node: vec![node], ..Default::default() };
    let done = quantized(&ModelProto { graph: Some(graph), ..Default::default() }, Precision::Half);
    assert!(matches!(done, Err(Error::Nothing)), "{done:?}");
}

const PRECISIONS: [Precision; 5] = [
    Precision::Blocks { bits: 4 },
    Precision::Blocks { bits: 2 },
    Precision::BlocksHalf { bits: 4 },
    Precision::Dynamic { signed: false },
    Precision::Half,
];

/// Changes a few bytes, takes some out, or doubles some.
fn damage(bytes: &mut Vec<u8>, random: &mut impl FnMut() -> usize) {
    for _ in 0..1 + random() % 4 {
        let at = random() % bytes.len().max(1);
        match random() % 4 {
            0 => bytes.truncate(at),
            1 => {
                let end = bytes.len().min(at + random() % 64);
                let piece = bytes[at.min(end)..end].to_vec();
                bytes.splice(at.min(end)..at.min(end), piece);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = [0, 1, 0x7f, 0x80, 0xff, random() as u8][random() % 6];
                }
            }
        }
    }
}

/// A model that was damaged is read, or refused; what is read can be written again.
fn damaged_models_are_read_or_refused(times: usize, largest: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut sources: Vec<_> = models().iter().map(|path| fs::read(path).unwrap()).collect();
    sources.retain(|bytes| bytes.len() <= largest);
    let (path, to) = (folder.path().join("model.onnx"), folder.path().join("copy.onnx"));
    let (mut state, mut read) = (1u64, 0);
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for number in 0..times {
        let mut bytes = sources[number % sources.len()].clone();
        damage(&mut bytes, &mut random);
        fs::write(&path, bytes).unwrap();
        if let Ok(model) = Model::open(&path) {
            read += 1;
            let layout = Layout::new(&model, &to, LARGEST_MESSAGE);
            // What cannot be written or made smaller after all is not to end the program.
            let _ = layout.map(|layout| layout.to_vec(&model));
            let precision = PRECISIONS[number % PRECISIONS.len()];
            let options = Options { precision, block: 32, asymmetric: number % 2 == 0, tables: true, folder: None };
            let _ = quantize(&path, &to, &options, &mut |_| {});
        }
    }
    println!("{times} damaged models, {read} of them readable");
    assert!(read > 0 && read < times);
}

#[test]
fn a_few_damaged_models_are_read_or_refused() {
    damaged_models_are_read_or_refused(2000, 120_000);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_damaged_models_are_read_or_refused() {
    damaged_models_are_read_or_refused(1_000_000, 10_000);
}

proptest! {
    #[test]
    fn garbage_ends_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        fs::write(&path, bytes).unwrap();
        let _ = Model::open(&path);
    }
}
