//! What was exported comes in elsewhere, once; and no file harms.

use proptest::prelude::*;

use super::*;
use crate::fixtures::run;

fn exported(runs: &[Run]) -> Vec<u8> {
    let mut file = Vec::new();
    export(runs, &mut file).unwrap();
    file
}

#[test]
fn runs_come_in_once_and_another_of_the_same_id_is_named() {
    let runs = [run(0, 10.0), run(1, 20.0)];
    let mut history = History::in_memory().unwrap();
    let outcomes = |history: &mut History, file: &[u8]| -> Vec<Outcome> {
        import(file, history).unwrap().into_iter().map(|(_, outcome)| outcome).collect()
    };
    assert_eq!(outcomes(&mut history, &exported(&runs[..1])), [Outcome::Added]);
    let twice = [runs[0].clone(), runs[1].clone(), runs[0].clone()];
    assert_eq!(outcomes(&mut history, &exported(&twice)), [Outcome::Same, Outcome::Added]);
    let mut other = runs[0].clone();
    other.rows[0].rounds[0].items += 1;
    assert_eq!(import(exported(&[other]).as_slice(), &mut history).unwrap(), [(runs[0].id.clone(), Outcome::Conflict)]);
    assert_eq!(history.get(&Selector::Latest(0)).unwrap(), runs[1]);
    assert_eq!(history.get(&Selector::Latest(1)).unwrap(), runs[0]);
}

#[test]
fn a_file_that_is_not_right_adds_nothing() {
    let runs = [run(0, 10.0), run(1, 20.0)];
    let whole = String::from_utf8(exported(&runs)).unwrap();
    let line = |number: usize| whole.lines().nth(number).unwrap();
    let cases = [
        (String::new(), "line 1"),
        ("{}".into(), "line 1"),
        (whole.replacen("webinfer-bench", "something", 1), "says that it is"),
        (whole.replacen("\"version\":1", "\"version\":2", 1), "version 2"),
        (whole.replacen("\"runs\":2", "\"runs\":99999999", 1), "announces"),
        (whole.replacen("\"runs\":2", "\"runs\":-1", 1), "line 1"),
        (whole.replacen("\"runs\":2", "\"runs\":1", 1), "line 3"),
        (format!("{}\n{}\n", line(0), line(1)), "cut off"),
        (whole[..whole.len() - 100].into(), "line 3"),
        (format!("{}\n{}\n{}\n", line(0), line(1), line(1)), "again"),
        (whole.replacen("\"items\":20", "\"items\":-20", 1), "line 2"),
        (whole.replacen("\"items\":20", "\"items\":\"20\"", 1), "line 2"),
        (whole.replacen("\"items\":20", "\"items\":0", 1), "items"),
        (whole.replacen("\"seconds\":2.0", "\"seconds\":1e999", 1), "line 2"),
        (whole.replacen("\"seconds\":2.0", "\"seconds\":-2.0", 1), "seconds"),
        (whole.replacen("\"cell\":", "\"cell\":{},\"cell\":", 1), "line 2"),
        (whole.replacen(runs[0].id.as_str(), "../../x", 1), "line 2"),
        (format!("{}\n{}", line(0), "[".repeat(100_000)), "line 2"),
    ];
    for (file, says) in cases {
        assert_ne!(file, whole, "{says}: the case changed nothing");
        let mut history = History::in_memory().unwrap();
        let error = import(file.as_bytes(), &mut history).unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, BenchError::Import { .. }) && told.contains(says), "{says}: {told}");
        assert_eq!(history.list(9).unwrap(), []);
    }
}

#[test]
fn a_file_without_end_is_left_at_the_bound() {
    let error = import(io::repeat(b' '), &mut History::in_memory().unwrap()).unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_file_that_was_changed_somewhere_comes_in_whole_or_not_at_all(at in any::<prop::sample::Index>(), byte: u8) {
        let mut file = exported(&[run(0, 10.0)]);
        let at = at.index(file.len());
        file[at] = byte;
        let mut history = History::in_memory().unwrap();
        let outcome = import(file.as_slice(), &mut history);
        let there = history.list(9).unwrap();
        prop_assert_eq!(there.len(), usize::from(outcome.is_ok()));
        if outcome.is_ok() {
            history.get(&Selector::Latest(0)).unwrap().check().unwrap();
        }
    }
}
