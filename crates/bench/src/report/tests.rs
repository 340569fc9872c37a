//! A report holds what a run does, asks for nothing, and is not led astray by names.

use proptest::prelude::*;

use super::*;
use crate::{
    Row, RowState, Rule, Run,
    fixtures::{conditions, run},
    stats::compare_runs,
};

/// A run with all that a page can have to say, under names that somebody may have chosen.
fn strange(name: &str) -> Run {
    let mut run = run(0, 100.0);
    run.plan.models = vec![name.into()];
    for row in &mut run.rows {
        row.cell.model = name.into();
        row.cell.browser = name.into();
        let hardware = crate::Hardware::Software;
        let (browser, adapter) = (name.to_owned(), name.to_owned());
        row.conditions =
            Some(crate::Conditions { browser, adapter, hardware, backend: "webgpu".into(), ..conditions() });
        row.rounds[0].failed = 1;
    }
    let reason = name.to_owned();
    run.rows[1] = Row { state: RowState::Failed { reason }, rounds: Vec::new(), ..run.rows[1].clone() };
    (run.machine.cpu, run.commit) = (name.into(), name.into());
    run
}

fn pages(name: &str) -> [String; 2] {
    let (base, new) = (strange(name), strange(name));
    let compared = compare_runs(&base, &new, &Rule::default());
    [html(&new, None), html(&new, Some(&compared))]
}

#[test]
fn names_are_text_and_nothing_else() {
    for name in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "</style><b>",
        "'&amp;<!--",
        "</title><svg onload=x>",
    ] {
        for page in pages(name) {
            assert!(!page.contains(name), "{name}");
            let escaped = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
            assert!(page.contains(&escaped), "{name}");
            assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("onload=x>"), "{name}");
        }
    }
}

#[test]
fn a_page_asks_for_nothing() {
    for page in pages("m") {
        for outside in ["http://", "https://", "src=", "href=", "@import", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src 'none'"));
    }
}

#[test]
fn a_page_says_what_was_found_and_never_calls_software_hardware() {
    let [page, compared] = pages("some-model");
    for said in
        ["some-model", "software, no GPU", "failing", "failed", "hatched", "<svg", "95 % interval", "Load average"]
    {
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains("<td>GPU</td>"));
    assert!(compared.contains("Against the run before") && compared.contains("the same"));
}

#[test]
fn a_run_of_nothing_has_a_page() {
    let mut run = run(0, 1.0);
    run.rows
        .iter_mut()
        .for_each(|row| *row = Row::new(crate::Planned { cell: row.cell.clone(), skipped: Some("why".into()) }));
    let compared = compare_runs(&run, &run, &Rule::default());
    assert!(html(&run, Some(&compared)).contains("Nothing was measured"));
    assert!(csv(&run).unwrap().contains("skipped,why"));
}

#[test]
fn a_table_has_a_line_for_each_row_and_no_formulas() {
    let text = csv(&strange("=cmd(\"x\"),\n+1")).unwrap();
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().unwrap().clone();
    let columns =
        ["model", "state", "items_per_second", "hardware"].map(|name| head.iter().position(|it| it == name).unwrap());
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let field = |row: usize, column: usize| &rows[row][columns[column]];
    assert_eq!(rows.len(), 2);
    assert_eq!(field(0, 0), "'=cmd(\"x\"),\n+1");
    assert_eq!((field(0, 1), field(1, 1)), ("measured", "failed"));
    assert!((field(0, 2).parse::<f64>().unwrap() - 100.0).abs() < 1.0);
    assert_eq!((field(1, 2), field(0, 3)), ("", "software, no GPU"));
}

#[test]
fn json_has_the_record_and_what_it_comes_to() {
    let run = strange("m");
    let value = json(&run).unwrap();
    assert!((value["rows"][0]["summary"]["throughput"]["value"].as_f64().unwrap() - 100.0).abs() < 1.0);
    assert_eq!(value["rows"][0]["marks"][0]["failing"]["failed"], 1);
    assert_eq!(value["rows"][0]["is_hardware"], false);
    assert!(value["rows"][1]["summary"].is_null());
    assert_eq!(value["rows"][1]["state"]["failed"]["reason"], "m");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_name_and_any_figure_has_a_page(name in "\\PC{0,40}", throughputs in prop::collection::vec(1e-3..1e9_f64, 1..6)) {
        let mut run = strange(&name);
        run.rows[0].rounds = crate::fixtures::row(&throughputs).rounds;
        let page = html(&run, Some(&compare_runs(&run, &run, &Rule::default())));
        prop_assert!(!page.contains("NaN") && !page.contains("inf\""), "a drawing has a place that is none");
        prop_assert!(page.ends_with("</html>"));
        csv(&run).unwrap();
    }
}
