//! Models: each with its state, what it runs on, and how fast it answers.

use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    style::{Style, Stylize},
    text::Text,
    widgets::{Block, Cell, Row, Table},
};

use super::{
    draw::empty,
    rates::Did,
    state::{Known, State, id},
    words,
};
use crate::{cli::report, proto::v1};

/// What stands above the columns.
pub const HEADER: [&str; 11] =
    ["model", "task", "state", "runs on", "replicas", "req/s", "p50", "p95", "p99", "failed", "queue"];

pub fn draw(frame: &mut Frame, state: &mut State, area: Rect) {
    let models = state.models();
    if models.is_empty() {
        return frame.render_widget(empty("no model is registered").block(Block::bordered()), area);
    }
    let rows: Vec<_> = models.iter().map(|(model, did)| row(state.known(), model, did)).collect();
    let block = Block::bordered().title(format!(" models by {}, last 10 seconds ", state.sort().1));
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(10),
        Constraint::Fill(3),
        Constraint::Length(8),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(5),
    ];
    let header = HEADER.into_iter().enumerate().filter(is_shown).map(|(column, name)| cell(column, name.to_owned()));
    let table = Table::new(rows, widths)
        .header(Row::new(header).dim())
        .row_highlight_style(Style::new().reversed())
        .block(block);
    frame.render_stateful_widget(table, area, state.row());
}

fn row(known: &Known, model: &v1::Model, did: &Did) -> Row<'static> {
    let state = match model.state() {
        v1::ModelState::Ready => Style::new().green(),
        v1::ModelState::Failed | v1::ModelState::Simulated => Style::new().red().bold(),
        v1::ModelState::Loading => Style::new().yellow(),
        _ => Style::new().dim(),
    };
    let failed = if did.failed > 0 { Style::new().red().bold() } else { Style::new() };
    let cells = cells(known, model, did).into_iter().enumerate().filter(is_shown).map(|(column, text)| match column {
        2 => cell(column, text).style(state),
        9 => cell(column, text).style(failed),
        _ => cell(column, text),
    });
    Row::new(cells)
}

/// A terminal has no room for the task.
fn is_shown<T>((column, _): &(usize, T)) -> bool {
    *column != 1
}

/// Numbers stand on the right.
fn cell(column: usize, text: String) -> Cell<'static> {
    let text = Text::from(text);
    Cell::from(if column < 4 { text } else { text.right_aligned() })
}

/// What is told of a model.
pub fn cells(known: &Known, model: &v1::Model, did: &Did) -> [String; HEADER.len()] {
    let [p50, p95, p99] = did.quantiles_us.map(words::time);
    [
        id(model).to_owned(),
        model.spec.as_ref().map(|spec| spec.task.clone()).unwrap_or_default(),
        words::model_state(model.state).to_owned(),
        runs_on(known, id(model)),
        model.ready_replicas.to_string(),
        words::number(did.per_second(did.answered)),
        p50,
        p95,
        p99,
        did.failed.to_string(),
        did.queued.to_string(),
    ]
}

/// On what the replicas of a model really run.
fn runs_on(known: &Known, model: &str) -> String {
    let workers = known.pool.iter().flat_map(|pool| &pool.browsers).flat_map(|browser| &browser.workers);
    let loaded = workers.filter(|worker| worker.model == model && worker.backend != 0);
    let mut runs: Vec<_> = loaded
        .map(|worker| {
            let (backend, hardware) = (report::backend(worker.backend()), report::hardware(worker.hardware()));
            format!("{backend} {} on {hardware}", worker.dtype)
        })
        .collect();
    runs.sort();
    runs.dedup();
    runs.join(", ")
}
