//! Drawings of a run: throughput, latency, distributions, and how it stands to another one.

use maud::{Markup, html};

use super::{
    chart::{Axis, Chart, Line, Shape, at, draw},
    words,
};
use crate::{
    Row, Summary,
    record::Latencies,
    stats::{Compared, Verdict},
};

/// Lines of a drawing; the tables have all.
const MOST: usize = 120;

/// Rows that have figures, with these.
pub fn told<'a>(rows: &[&'a Row]) -> Vec<(&'a Row, Summary)> {
    rows.iter().filter_map(|row| Some((*row, row.summary()?))).collect()
}

/// Throughput, a bar for each row.
pub fn throughput(told: &[(&Row, Summary)]) -> Markup {
    let lines = lines(told, |summary| {
        let throughput = summary.throughput;
        (throughput.value, throughput.interval, Vec::new(), words::figure(throughput.value))
    });
    let ends = lines.iter().map(|line| line.interval.map_or(line.value, |(_, high)| high.max(line.value)));
    let axis = Axis::from_zero(ends);
    let chart = Chart { name: "Throughput", unit: "items/s", axis, shape: Shape::Bar, word: words::figure };
    draw(chart, &lines)
}

/// Latency, from the median to 99 of 100 requests.
pub fn latency(told: &[(&Row, Summary)]) -> Markup {
    let lines = lines(told, |Summary { latency, .. }| {
        let points = [latency.p50_us, latency.p90_us, latency.p95_us, latency.p99_us].map(|micros| micros as f64);
        let words = format!("{} .. {}", words::millis(points[0]), words::millis(points[3]));
        (points[0], None, points.to_vec(), words)
    });
    let axis = Axis::logarithmic(lines.iter().flat_map(|line| line.points.iter().copied()));
    let name = "Time of a request: of 50, 90, 95 and 99 in 100";
    draw(Chart { name, unit: "ms", axis, shape: Shape::Points, word: words::millis }, &lines)
}

fn lines(
    told: &[(&Row, Summary)],
    figures: impl Fn(&Summary) -> (f64, Option<(f64, f64)>, Vec<f64>, String),
) -> Vec<Line> {
    let line = |(row, summary): &(&Row, Summary)| {
        let (value, interval, points, words) = figures(summary);
        let hatched = row.hardware() == crate::Hardware::Software;
        Line { label: words::cell(&row.cell), colour: words::colour(row), hatched, value, interval, points, words }
    };
    told.iter().take(MOST).map(line).collect()
}

/// Changes of throughput, with their intervals.
pub fn changes(compared: &Compared) -> Markup {
    let line = |comparison: &crate::Comparison| {
        let change = comparison.change?;
        let colour = match comparison.verdict {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            _ => "other",
        };
        let label = format!("{}: {}", comparison.new.model, words::cell(&comparison.new));
        let (value, interval, words) = (change.value, change.interval, words::percent(change.value));
        Some(Line { label, colour, hatched: false, value, interval, points: Vec::new(), words })
    };
    let lines: Vec<_> = compared.comparisons.iter().filter_map(line).take(MOST).collect();
    let ends = lines.iter().flat_map(|line| {
        let (low, high) = line.interval.unwrap_or((line.value, line.value));
        [low.max(-1.0), high.min(2.0), line.value.min(2.0)]
    });
    let axis = Axis::around_zero(ends);
    let name = "Change of throughput, with its 95 % interval";
    draw(Chart { name, unit: "", axis, shape: Shape::Point, word: words::percent }, &lines)
}

/// How the times of a row's requests are distributed: which part of them took no longer than what, and the throughput of
/// each round.
pub fn distribution(row: &Row) -> Markup {
    let Some(all) = Latencies::merged(row.rounds.iter().map(|round| &round.latencies)) else { return html! {} };
    let (first, last) = (all[0].0 as f64, all[all.len() - 1].0 as f64);
    let count: u64 = all.iter().map(|(_, count)| count).sum();
    let scale =
        |micros: f64| (micros.max(1.0).ln() - first.max(1.0).ln()) / (last / first.max(1.0)).ln().max(1e-9) * 380.0;
    let (mut path, mut sum) = ("M0 100".to_owned(), 0);
    for (micros, times) in &all {
        sum += times;
        path.push_str(&format!("H{}V{}", at(scale(*micros as f64)), at(100.0 - sum as f64 / count as f64 * 96.0)));
    }
    let throughputs: Vec<_> = row.rounds.iter().map(crate::Round::throughput).collect();
    let most = throughputs.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let wide = 380.0 / throughputs.len() as f64;
    html! {
        figure .small {
            figcaption {
                "Part of " (count) " requests, by time (" (words::millis(first)) " to " (words::millis(last))
                " ms, logarithmic)"
            }
            svg viewBox="0 0 380 104" role="img" aria-label="Cumulative distribution of the times of requests" {
                path class={ "curve " (words::colour(row)) } d=(path) {}
            }
        }
        figure .small {
            figcaption { "Throughput of each round, from 0 to " (words::figure(most)) " items/s" }
            svg viewBox="0 0 380 104" role="img" aria-label="Throughput of each round" {
                @for (index, throughput) in throughputs.iter().enumerate() {
                    @let tall = throughput / most * 100.0;
                    @let (left, top, width) = (index as f64 * wide, 102.0 - tall, wide * 0.8);
                    rect class=(words::colour(row)) x=(at(left)) y=(at(top)) width=(at(width)) height=(at(tall)) {
                        title { "round " (index) ": " (words::figure(*throughput)) " items/s" }
                    }
                }
            }
        }
    }
}
