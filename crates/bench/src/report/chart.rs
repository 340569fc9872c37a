//! Charts: axes and marks in SVG. Each has its figures in a table as well, so that nobody needs to see it.

use maud::{Markup, html};

/// Units of a drawing: width, where its labels end, height of a line, and room for the axis.
const WIDTH: f64 = 960.0;
const LABELS: f64 = 380.0;
const LINE: f64 = 22.0;
const FOOT: f64 = 26.0;
/// Room for a figure behind a bar.
const BEHIND: f64 = 70.0;
/// Letters of a label that have room.
const LETTERS: usize = 56;

/// One line of a chart.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is of.
    pub label: String,
    /// Its colour.
    pub colour: &'static str,
    /// Whether it is hatched: no hardware.
    pub hatched: bool,
    /// Where its figure is.
    pub value: f64,
    /// What is known of where it is.
    pub interval: Option<(f64, f64)>,
    /// Further points.
    pub points: Vec<f64>,
    /// Its figure in words.
    pub words: String,
}

/// How values come to places.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// One from 0 on that has room for values.
    pub fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        Self { low: 0.0, high: most(values).max(f64::MIN_POSITIVE), logarithmic: false }
    }

    /// One with 0 in its middle.
    pub fn around_zero(values: impl Iterator<Item = f64>) -> Self {
        let most = most(values.map(f64::abs)).max(0.01);
        Self { low: -most, high: most, logarithmic: false }
    }

    /// One of powers, for values above 0.
    pub fn logarithmic(values: impl Iterator<Item = f64> + Clone) -> Self {
        let least = values.clone().filter(|value| value.is_finite()).fold(f64::INFINITY, f64::min);
        let least = if least.is_finite() { least.max(1e-6) } else { 1.0 };
        let high = most(values).max(least * 2.0);
        Self { low: least / 1.1, high: high * 1.1, logarithmic: true }
    }

    /// Where a value is, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        ((scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))).clamp(0.0, 1.0)
    }

    /// Values that are told at the axis.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let exponents = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let all = exponents.flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(exponent)));
            let inside: Vec<_> = all.filter(|tick| (self.low..=self.high).contains(tick)).collect();
            return if inside.len() > 9 { inside.into_iter().step_by(3).collect() } else { inside };
        }
        let rough = (self.high - self.low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).take(32).map(|number| number as f64 * step).collect()
    }
}

fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.filter(|value| value.is_finite()).fold(0.0, f64::max)
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A bar from 0, and its interval.
    Bar,
    /// A line through its points.
    Points,
    /// A point with its interval.
    Point,
}

/// How lines are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Chart {
    /// Its title.
    pub name: &'static str,
    /// What stands at its axis.
    pub unit: &'static str,
    /// How values come to places.
    pub axis: Axis,
    /// How a line is drawn.
    pub shape: Shape,
    /// Puts a value of the axis in words.
    pub word: fn(f64) -> String,
}

/// A drawing of lines.
pub fn draw(Chart { name, unit, axis, shape, word }: Chart, lines: &[Line]) -> Markup {
    let height = lines.len() as f64 * LINE + FOOT;
    let x = |value: f64| LABELS + axis.place(value) * (WIDTH - LABELS - BEHIND);
    html! {
        figure {
            figcaption { (name) }
            svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label={ (name) ". The table has the same figures." } {
                @for tick in axis.ticks() {
                    line .grid x1=(at(x(tick))) x2=(at(x(tick))) y1="0" y2=(at(height - FOOT)) {}
                    text .tick x=(at(x(tick))) y=(at(height - 10.0)) text-anchor="middle" { (word(tick)) }
                }
                text .tick x=(at(WIDTH)) y=(at(height - 10.0)) text-anchor="end" { (unit) }
                @for (index, line) in lines.iter().enumerate() {
                    (one(line, index as f64 * LINE, &x, shape))
                }
            }
        }
    }
}

fn one(line: &Line, top: f64, x: &impl Fn(f64) -> f64, shape: Shape) -> Markup {
    let middle = top + LINE / 2.0;
    let class = if line.hatched { format!("{} hatched", line.colour) } else { line.colour.to_owned() };
    let (left, right) = (x(0.0), x(line.value));
    let ends = line.points.first().zip(line.points.last());
    let behind = line.interval.map_or(right, |(_, high)| x(high).max(right));
    let behind = ends.map_or(behind, |(_, last)| x(*last).max(behind));
    html! {
        g {
            title { (line.label) ": " (line.words) }
            text .label x=(at(LABELS - 8.0)) y=(at(middle + 4.0)) text-anchor="end" { (cut(&line.label)) }
            @if shape == Shape::Bar {
                rect class=(class) x=(at(left)) y=(at(top + 4.0)) width=(at(right - left)) height=(at(LINE - 8.0)) {}
            }
            @if let (Shape::Points, Some((first, last))) = (shape, ends) {
                line class={ "span " (class) } x1=(at(x(*first))) x2=(at(x(*last))) y1=(at(middle)) y2=(at(middle)) {}
                @for point in &line.points {
                    circle class=(class) cx=(at(x(*point))) cy=(at(middle)) r="3.5" {}
                }
            }
            @if let Some((low, high)) = line.interval {
                path .whisker d={
                    "M" (at(x(low))) " " (at(middle)) "H" (at(x(high)))
                    "M" (at(x(low))) " " (at(middle - 4.0)) "v8M" (at(x(high))) " " (at(middle - 4.0)) "v8"
                } {}
            }
            @if shape == Shape::Point {
                circle class=(class) cx=(at(right)) cy=(at(middle)) r="4" {}
            }
            text .figure x=(at(behind + 6.0)) y=(at(middle + 4.0)) { (line.words) }
        }
    }
}

/// A place in a drawing, to a tenth.
pub fn at(place: f64) -> String {
    format!("{place:.1}")
}

fn cut(label: &str) -> String {
    if label.chars().count() <= LETTERS {
        return label.into();
    }
    label.chars().take(LETTERS - 1).chain(['…']).collect()
}
