//! What a precision takes is known before it is made, for all models of the tests and for all options.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use std::fs;

use common::{models, tiny};
use webinfer_onnx::{Error, Limit, Model, Options, Precision, predict, quantize};

const PRECISIONS: [Precision; 7] = [
    Precision::Blocks { bits: 2 },
    Precision::Blocks { bits: 4 },
    Precision::Blocks { bits: 8 },
    Precision::BlocksHalf { bits: 4 },
    Precision::Dynamic { signed: false },
    Precision::Dynamic { signed: true },
    Precision::Half,
];

#[test]
fn what_is_predicted_is_what_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("made.onnx");
    let mut made = 0;
    for (number, path) in models().into_iter().enumerate() {
        let source = Model::open(&path).unwrap();
        for (turn, precision) in PRECISIONS.into_iter().enumerate() {
            let (asymmetric, tables) = ((number + turn) % 2 == 0, (number + turn) % 3 > 0);
            let options = Options { precision, block: 16 << (turn % 3), asymmetric, tables, folder: None };
            let predicted = predict(&source, &options).map_err(|error| error.to_string());
            let report = quantize(&path, &to, &options, &mut |_| {}).map_err(|error| error.to_string());
            let bytes = report.map(|report| report.bytes_after);
            assert_eq!(predicted, bytes, "{} as {options:?}", path.display());
            made += usize::from(bytes.is_ok_and(|bytes| fs::metadata(&to).unwrap().len() == bytes));
        }
    }
    assert!(made > 100, "{made}");
}

#[test]
fn what_has_to_be_measured_is_not_predicted() {
    let source = Model::open(&tiny("tiny-bert")).unwrap();
    let precision = Precision::Mixed(Limit::Bytes(1000));
    let options = Options { precision, block: 32, asymmetric: false, tables: true, folder: None };
    assert!(matches!(predict(&source, &options), Err(Error::Options(_))));
}
