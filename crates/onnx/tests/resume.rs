//! What was interrupted goes on where it was, and comes to the same bytes as what was not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use common::tiny;
use proptest::prelude::*;
use webinfer_onnx::{Error, Event, Limit, Options, Precision, Report, quantize};

const PRECISIONS: [Precision; 4] = [
    Precision::Blocks { bits: 4 },
    Precision::BlocksHalf { bits: 4 },
    Precision::Dynamic { signed: false },
    Precision::Half,
];

fn options(precision: Precision) -> Options {
    Options { precision, block: 32, asymmetric: true, tables: true, folder: None }
}

/// Quantises, and is killed at that event.
fn killed(source: &Path, to: &Path, options: &Options, at: usize) -> Result<Option<Report>, Error> {
    let mut events = 0;
    let mut tell = |_| {
        events += 1;
        if events > at {
            resume_unwind(Box::new(()));
        }
    };
    catch_unwind(AssertUnwindSafe(|| quantize(source, to, options, &mut tell).map(Some))).unwrap_or(Ok(None))
}

fn made(source: &Path, to: &Path, options: &Options) -> (Vec<u8>, Report, Vec<Event>) {
    let mut events = Vec::new();
    let report = quantize(source, to, options, &mut |event| events.push(event)).unwrap();
    (fs::read(to).unwrap(), report, events)
}

fn first_written(events: &[Event]) -> u64 {
    let first =
        events.iter().find_map(|event| if let Event::Wrote { bytes, .. } = event { Some(*bytes) } else { None });
    first.unwrap()
}

fn beside(to: &Path, end: &str) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Names of what lies in a folder.
fn left(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a loss of power, or somebody else, does to a file.
fn damage(path: &Path, cut: f64, flip: Option<f64>) {
    let Ok(mut bytes) = fs::read(path) else { return };
    bytes.truncate((bytes.len() as f64 * cut) as usize);
    let at = flip.map(|at| (bytes.len() as f64 * at) as usize);
    if let Some(byte) = at.and_then(|at| bytes.get_mut(at)) {
        *byte ^= 0x10;
    }
    fs::write(path, bytes).unwrap();
}

fn part() -> impl Strategy<Value = f64> {
    prop_oneof![3 => Just(1.0), 2 => 0.0..1.0]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn an_interrupted_run_comes_to_the_same_bytes(
        precision in prop::sample::select(&PRECISIONS),
        stops in prop::collection::vec((0usize..40, part(), part(), prop::option::weighted(0.2, 0.0..1.0f64)), 1..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (source, to, options) = (tiny("tiny-bert"), folder.path().join("made.onnx"), options(precision));
        let (bytes, report, _) = made(&source, &folder.path().join("whole.onnx"), &options);
        for (at, cut, cut_journal, flip) in stops {
            killed(&source, &to, &options, at).unwrap();
            damage(&beside(&to, ".part"), cut, flip);
            damage(&beside(&to, ".journal"), cut_journal, flip.filter(|at| *at > 0.5));
        }
        let (again, report_again, _) = made(&source, &to, &options);
        prop_assert!(again == bytes);
        prop_assert_eq!(report_again.layers, report.layers);
        prop_assert_eq!(left(folder.path()), ["made.onnx", "whole.onnx"]);
    }
}

#[test]
fn what_was_written_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (source, to) = (tiny("tiny-bert"), folder.path().join("made.onnx"));
    let options = options(Precision::Blocks { bits: 4 });
    assert!(killed(&source, &to, &options, 20).unwrap().is_none());
    let there = fs::metadata(beside(&to, ".part")).unwrap().len();
    let (_, _, events) = made(&source, &to, &options);
    assert!(matches!(&events[0], Event::Begins(what) if what.contains("interrupted")), "{events:?}");
    let first = first_written(&events);
    assert!(first > 1000 && (there / 2..=there).contains(&first), "{there}, {events:?}");
    // Another option is another file: it begins anew.
    assert!(killed(&source, &to, &options, 20).unwrap().is_none());
    let (_, _, events) = made(&source, &to, &Options { block: 64, ..options.clone() });
    assert_eq!(first_written(&events), 0);
    // And so is another source under the same name.
    let own = folder.path().join("own.onnx");
    fs::copy(&source, &own).unwrap();
    assert!(killed(&own, &to, &options, 20).unwrap().is_none());
    let mut bytes = fs::read(&own).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&own, bytes).unwrap();
    let (_, _, events) = made(&own, &to, &options);
    assert_eq!(first_written(&events), 0);
}

#[test]
fn what_was_measured_is_not_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let (source, to) = (tiny("tiny-bert"), folder.path().join("made.onnx"));
    let model = source.parent().unwrap().parent().unwrap().to_owned();
    let options = Options { folder: Some(model), ..options(Precision::Mixed(Limit::Error(0.01))) };
    let (bytes, report, all) = made(&source, &folder.path().join("whole.onnx"), &options);
    assert!(report.output_error.unwrap() <= 0.01);
    let measured = |events: &[Event]| {
        events.iter().filter(|event| matches!(event, Event::Measured(_))).cloned().collect::<Vec<_>>()
    };
    assert!(killed(&source, &to, &options, 12).unwrap().is_none());
    let journal = fs::read_to_string(beside(&to, ".journal")).unwrap();
    assert!(journal.lines().count() > 8, "{journal}");
    let (again, _, events) = made(&source, &to, &options);
    assert!(again == bytes);
    assert_eq!(measured(&events), measured(&all));
    assert!(events.iter().any(|event| matches!(event, Event::Begins(what) if what.contains("interrupted"))));
}

#[cfg(unix)]
#[test]
fn what_a_link_leads_to_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (source, to, other) = (tiny("tiny-bert"), folder.path().join("made.onnx"), folder.path().join("other"));
    fs::write(&other, "another file").unwrap();
    for end in [".journal", ".part"] {
        std::os::unix::fs::symlink(&other, beside(&to, end)).unwrap();
        let error = quantize(&source, &to, &options(Precision::Half), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("it is a link; remove it"), "{error}");
        assert_eq!(fs::read(&other).unwrap(), b"another file");
        fs::remove_file(beside(&to, end)).unwrap();
    }
}

#[test]
fn two_do_not_write_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (source, to) = (tiny("tiny-bert"), folder.path().join("made.onnx"));
    for end in [".part", ".journal"] {
        let held = fs::File::create(beside(&to, end)).unwrap();
        held.lock().unwrap();
        let error = quantize(&source, &to, &options(Precision::Half), &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error}");
    }
}
