//! Draw: the screen as a whole; each view has a file of its own.

use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize},
    text::{Line, Span},
    widgets::{Block, Cell, Clear, Paragraph, Row, Table, Wrap},
};

use super::{
    browsers,
    findings::{self, Tone},
    models, overview,
    state::{State, VIEWS, View},
    words,
};
use crate::proto::v1;

/// Findings that are shown at once.
const MOST_FINDINGS: usize = 5;

/// The keys, and what they do.
const KEYS: [(&str, &str); 10] = [
    ("Tab, left, right", "the next view, or the one before"),
    ("1 2 3 4", "a view"),
    ("up, down, PgUp, PgDn", "another row"),
    ("s", "sort the models by another number"),
    ("Enter", "look at the model of the row alone"),
    ("Esc", "look at all models again"),
    ("p, space", "hold the screen, and let it go on"),
    ("?", "this help"),
    ("q, Ctrl-C", "end"),
    ("any key", "close this help"),
];

/// Draws the screen.
pub fn screen(frame: &mut Frame, state: &mut State, now: Instant) {
    let mut found = findings::all(state.known());
    if let Some((_, why)) = &state.lost {
        found.insert(0, (Tone::Bad, format!("{why}; what is shown was so before")));
    }
    let rows = found.len().clamp(1, MOST_FINDINGS) as u16;
    let [head, list, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(rows), Constraint::Fill(1), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(title(state, now), head);
    frame.render_widget(Paragraph::new(lines(&found)), list);
    match state.view() {
        View::Overview => overview::draw(frame, state, body),
        View::Models => models::draw(frame, state, body),
        View::Browsers => browsers::draw(frame, state, body),
        View::Failures => failures(frame, state, body),
    }
    let keys = " q end   Tab view   ↑↓ row   s sort   Enter model   p hold   ? help";
    frame.render_widget(Line::from(keys).dim(), foot);
    if state.help {
        help(frame);
    }
}

/// Which service it is, whether it is there, and the views.
fn title(state: &State, now: Instant) -> Line<'static> {
    let mut spans = vec![" webinfer ".bold().reversed(), format!(" {} ", state.address).into()];
    spans.push(match &state.lost {
        Some((since, _)) => {
            let age = words::age(now.saturating_duration_since(*since));
            format!("gone for {age}, trying again ").red().bold()
        }
        None if state.known().seconds.is_empty() => "connecting ".yellow(),
        None => "live ".green(),
    });
    if state.is_held() {
        spans.push("held ".yellow().bold());
    }
    for (number, (view, name)) in VIEWS.iter().enumerate() {
        let name = format!(" {} {name} ", number + 1);
        spans.push(if *view == state.view() { name.reversed() } else { name.dim() });
    }
    Line::from(spans)
}

fn lines(found: &[(Tone, String)]) -> Vec<Line<'static>> {
    if found.is_empty() {
        return vec![Line::from(" nothing is broken, and nothing waits for long").green()];
    }
    let left = found.len().saturating_sub(MOST_FINDINGS - 1);
    let shown = if left > 1 { MOST_FINDINGS - 1 } else { found.len() };
    let line = |(tone, text): &(Tone, String)| {
        let (mark, style) = match tone {
            Tone::Bad => (" broken    ", Style::new().red().bold()),
            Tone::Warn => (" attention ", Style::new().yellow()),
            Tone::Note => (" note      ", Style::new().blue()),
        };
        Line::from(vec![Span::styled(mark, style), Span::raw(text.clone())])
    };
    let mut lines: Vec<_> = found.iter().take(shown).map(line).collect();
    if shown < found.len() {
        lines.push(Line::from(format!(" and {left} more")).dim());
    }
    lines
}

fn failures(frame: &mut Frame, state: &mut State, area: Rect) {
    let row = |failed: &v1::FailedRequest| {
        let model = if failed.model.is_empty() { "-" } else { &failed.model };
        Row::new(vec![
            Cell::from(clock(failed.time_ms)),
            Cell::from(model.to_owned()),
            Cell::from(failed.reason.clone()).style(Style::new().red()),
            Cell::from(failed.message.clone()),
        ])
    };
    let rows: Vec<_> = state.known().failed.iter().rev().map(row).collect();
    if rows.is_empty() {
        return frame.render_widget(empty("no request has failed").block(Block::bordered()), area);
    }
    let widths = [Constraint::Length(8), Constraint::Max(28), Constraint::Length(20), Constraint::Fill(1)];
    let table = Table::new(rows, widths)
        .header(Row::new(["when", "model", "reason", "what its caller was told"]).style(Style::new().dim()))
        .row_highlight_style(Style::new().reversed())
        .block(Block::bordered().title(" last failed requests, UTC "));
    frame.render_stateful_widget(table, area, state.row());
}

/// The time of the day.
fn clock(ms: u64) -> String {
    let seconds = ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Says why nothing is shown.
pub fn empty(why: &str) -> Paragraph<'_> {
    Paragraph::new(why).centered().wrap(Wrap { trim: true }).dim()
}

fn help(frame: &mut Frame) {
    let area = frame.area();
    let [area] = Layout::horizontal([Constraint::Max(64)]).flex(ratatui::layout::Flex::Center).areas(area);
    let height = Constraint::Max(KEYS.len() as u16 + 2);
    let [area] = Layout::vertical([height]).flex(ratatui::layout::Flex::Center).areas(area);
    let row = |(keys, what)| Row::new([Cell::from(keys).style(Style::new().bold()), Cell::from(what)]);
    let table = Table::new(KEYS.map(row), [Constraint::Length(22), Constraint::Fill(1)]);
    frame.render_widget(Clear, area);
    frame.render_widget(table.block(Block::bordered().title(" keys ").border_style(Color::Blue)), area);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crossterm::event::KeyCode;
    use ratatui::{Terminal, backend::TestBackend};

    use super::screen;
    use crate::cli::top::{
        feed::News,
        state::{
            State,
            tests::{key, state},
        },
    };

    fn drawn(state: &mut State, width: u16, height: u16, now: Instant) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen(frame, state, now)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn each_view_shows_what_it_is_about() {
        let mut state = state();
        for words in [
            &["live", "attention", "software adapter", "requests/s", "55", "p95", "90.0 ms", "queue", "inference"][..],
            &["a", "ready", "webgpu fp32 on software", "b", "50", "by requests"],
            &["browser-0-1", "Chrome 156.0", "400 MiB", "worker-1", "software adapter", "google swiftshader"],
            &["00:00:20", "OVERLOADED", "too much is pending"],
        ] {
            let screen = drawn(&mut state, 110, 36, Instant::now());
            for word in words {
                assert!(screen.contains(word), "{word}:\n{screen}");
            }
            state.press(&key(KeyCode::Tab));
        }
        state.press(&key(KeyCode::Char('?')));
        assert!(drawn(&mut state, 110, 36, Instant::now()).contains("close this help"));
    }

    #[test]
    fn a_service_that_is_gone_is_told_with_its_time() {
        let mut state = state();
        let now = Instant::now();
        state.take(News::Lost("it has ended".into()), now);
        let screen = drawn(&mut state, 100, 30, now + Duration::from_secs(7));
        assert!(screen.contains("gone for 7 s") && screen.contains("it has ended"), "{screen}");
    }

    #[test]
    fn any_size_and_any_state_can_be_drawn() {
        let empty = || State::new("localhost:1".into());
        for (width, height) in [(1, 1), (5, 3), (20, 8), (300, 100)] {
            for mut state in [empty(), state()] {
                for _ in 0..4 {
                    drawn(&mut state, width, height, Instant::now());
                    state.press(&key(KeyCode::Tab));
                    state.press(&key(KeyCode::Down));
                }
                state.press(&key(KeyCode::Char('?')));
                drawn(&mut state, width, height, Instant::now());
            }
        }
    }
}
