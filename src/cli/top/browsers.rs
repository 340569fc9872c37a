//! Browsers: each with its state and reason, and its workers with what they really run on.

use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    style::{Style, Stylize},
    widgets::{Block, Cell, Row, Table},
};

use super::{draw::empty, state::State, words};
use crate::{
    cli::{pool, report},
    proto::v1,
};

pub fn draw(frame: &mut Frame, state: &mut State, area: Rect) {
    let Some(pool) = state.known().pool.as_ref().filter(|pool| !pool.browsers.is_empty()) else {
        let asleep = state.known().pool.as_ref().is_some_and(|pool| pool.wanted_browsers == 0);
        let why = if asleep { "the pool sleeps: the next request starts a browser" } else { "no browser is there" };
        return frame.render_widget(empty(why).block(Block::bordered()), area);
    };
    let (wanted, least, most) = (pool.wanted_browsers, pool.min_browsers, pool.max_browsers);
    let block = Block::bordered().title(format!(" {wanted} browsers should serve, of {least} to {most} "));
    let rows: Vec<_> =
        pool.browsers.iter().flat_map(|it| std::iter::once(browser(it)).chain(it.workers.iter().map(worker))).collect();
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(12),
        Constraint::Fill(2),
        Constraint::Fill(3),
        Constraint::Length(9),
        Constraint::Length(9),
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(["browser, worker", "state", "what", "on", "memory", "batches"]).style(Style::new().dim()))
        .row_highlight_style(Style::new().reversed())
        .block(block);
    frame.render_stateful_widget(table, area, state.row());
}

fn browser(browser: &v1::Browser) -> Row<'static> {
    let tone = match browser.state() {
        v1::BrowserState::Ready => Style::new().green(),
        v1::BrowserState::BackingOff => Style::new().red().bold(),
        _ => Style::new().yellow(),
    };
    let restarts = match browser.restarts {
        0 => String::new(),
        restarts => format!(", {restarts} restarts"),
    };
    Row::new([
        Cell::from(browser.id.clone()),
        Cell::from(pool::state(browser.state())).style(tone),
        Cell::from(format!("{} {}", browser.product, browser.version)),
        Cell::from(format!("{}{restarts} {}", pool::duty(browser.duty()), browser.reason)),
        Cell::from(words::mebibytes(browser.memory_bytes)),
        Cell::from(""),
    ])
    .bold()
}

fn worker(worker: &v1::Worker) -> Row<'static> {
    let runs = match worker.backend() {
        v1::Backend::Unspecified => String::new(),
        backend => {
            let (backend, hardware) = (report::backend(backend), report::hardware(worker.hardware()));
            format!("{backend} {} on {hardware} {}", worker.dtype, worker.adapter).trim_end().to_owned()
        }
    };
    let tone = match worker.hardware() {
        v1::Hardware::SoftwareAdapter => Style::new().yellow(),
        _ => Style::new(),
    };
    Row::new([
        Cell::from(format!("  {}", worker.id)),
        Cell::from(pool::worker_state(worker.state())),
        Cell::from(worker.model.clone()),
        Cell::from(runs).style(tone),
        Cell::from(format!("{} now", worker.batches_in_flight)),
        Cell::from(worker.batches_run.to_string()),
    ])
}
