//! Overview: rates, latency and queue as lines over time, and where the time of a batch goes.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize},
    text::{Line, Span},
    widgets::{Block, Paragraph, Sparkline},
};

use super::{
    rates::{Did, HOPS},
    state::{Known, State},
    words,
};

const COLOURS: [Color; 5] = [Color::Blue, Color::Yellow, Color::Magenta, Color::Green, Color::Gray];

/// A line over time: what it is called, how it is now, what it is of each second.
struct Curve {
    name: &'static str,
    now: String,
    of: fn(&Did) -> u64,
    colour: Color,
}

pub fn draw(frame: &mut Frame, state: &State, area: Rect) {
    let (known, model) = (state.known(), state.model.as_deref());
    let did = known.recent(model);
    let [p50, p95, p99] = did.quantiles_us.map(words::time);
    let rate = |many| words::number(did.per_second(many));
    let curve = |name, now, of, colour| Curve { name, now, of, colour };
    let curves = [
        [
            curve("requests/s", rate(did.answered), |did| did.answered, Color::Blue),
            curve("p95", format!("{p95}, p50 {p50}, p99 {p99}"), |did| did.quantiles_us[1], Color::Yellow),
        ],
        [
            curve(
                "items/s",
                format!("{}, {} tokens/s", rate(did.items), rate(did.tokens)),
                |did| did.items,
                Color::Green,
            ),
            curve("queue", format!("{} items", did.queued), |did| did.queued, Color::Magenta),
        ],
        [
            curve("batches/s", rate(did.batches), |did| did.batches, Color::Cyan),
            curve("failed/s", rate(did.failed), |did| did.failed, Color::Red),
        ],
    ];
    let about = model.map_or(" all models, last 10 seconds ".to_owned(), |model| format!(" {model}, last 10 seconds "));
    let block = Block::bordered().title(about);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [grid, hops] = Layout::vertical([Constraint::Fill(1), Constraint::Length(3)]).areas(inner);
    let rows = Layout::vertical([Constraint::Fill(1); 3]).split(grid);
    for (row, pair) in rows.iter().zip(curves) {
        let columns = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).split(*row);
        for (cell, curve) in columns.iter().zip(pair) {
            line(frame, known, model, &curve, *cell);
        }
    }
    frame.render_widget(Paragraph::new(time_of(&did, usize::from(hops.width))), hops);
}

/// The newest second is on the right.
fn line(frame: &mut Frame, known: &Known, model: Option<&str>, curve: &Curve, area: Rect) {
    let [name, plot] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Line::from(vec![curve.name.dim(), " ".into(), curve.now.clone().bold()]), name);
    let width = usize::from(plot.width);
    let values = known.last(width).map(|second| (curve.of)(&Did::of([second], model)));
    let mut data = vec![0; width.saturating_sub(known.seconds.len())];
    data.extend(values);
    frame.render_widget(Sparkline::default().data(data).style(Style::new().fg(curve.colour)), plot);
}

/// A bar of the hops, each as long as its part, and their times.
fn time_of(did: &Did, width: usize) -> Vec<Line<'static>> {
    let title = Line::from("where the time of a batch goes").dim();
    let Some(hops) = did.hops() else { return vec![title, Line::from("nothing ran").dim()] };
    let (mut bar, mut legend, mut drawn, mut upto) = (Vec::new(), Vec::new(), 0, 0.0);
    for (((us, part), name), colour) in hops.into_iter().zip(HOPS).zip(COLOURS) {
        // The ends are rounded, so that the bar is as long as the row.
        upto += part * width as f64;
        let end = (upto.round() as usize).min(width);
        bar.push(Span::from("█".repeat(end - drawn)).fg(colour));
        drawn = end;
        legend.push(Span::from("■ ").fg(colour));
        legend.push(Span::from(format!("{name} {}   ", words::time(us))));
    }
    vec![title, Line::from(bar), Line::from(legend)]
}
