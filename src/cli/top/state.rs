//! State: what is known of a service, and what of it is looked at.

use std::{collections::VecDeque, time::Instant};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::widgets::TableState;

use super::{feed::News, rates::Did};
use crate::proto::v1;

/// Seconds that are kept.
const SECONDS: usize = 300;
/// Failed requests that are kept.
const MOST_FAILED: usize = 50;
/// What is told of now is told of as many seconds.
pub const RECENT: usize = 10;

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub pool: Option<v1::PoolStatus>,
    pub models: Vec<v1::Model>,
    pub seconds: VecDeque<v1::Second>,
    /// The oldest first.
    pub failed: VecDeque<v1::FailedRequest>,
}

impl Known {
    /// The last seconds, the oldest first.
    pub fn last(&self, many: usize) -> impl Iterator<Item = &v1::Second> {
        self.seconds.range(self.seconds.len().saturating_sub(many)..)
    }

    /// What a model did of late, or all did.
    pub fn recent(&self, model: Option<&str>) -> Did {
        Did::of(self.last(RECENT), model)
    }

    /// The models in an order, with what each did of late. Those that are not loaded come last.
    pub fn models(&self, sort: Sort) -> Vec<(&v1::Model, Did)> {
        let mut models: Vec<_> = self.models.iter().map(|model| (model, self.recent(Some(id(model))))).collect();
        models.sort_by_key(|(model, did)| {
            let most = match sort {
                Sort::Name => 0,
                Sort::Requests => did.answered,
                Sort::Latency => did.quantiles_us[1],
                Sort::Queue => did.queued,
                Sort::Failed => did.failed,
            };
            (model.state() == v1::ModelState::Registered, std::cmp::Reverse(most), id(model))
        });
        models
    }

    /// Takes what came; what is too old goes.
    pub fn take(&mut self, message: v1::WatchActivityResponse, first: bool) {
        if first {
            // It tells all that it knows, also what was known before.
            self.seconds.clear();
            self.failed.clear();
        }
        self.seconds.extend(message.seconds);
        self.failed.extend(message.failed_requests);
        self.seconds.drain(..self.seconds.len().saturating_sub(SECONDS));
        self.failed.drain(..self.failed.len().saturating_sub(MOST_FAILED));
    }
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Overview,
    Models,
    Browsers,
    Failures,
}

/// All views, in their order.
pub const VIEWS: [(View, &str); 4] = [
    (View::Overview, "Overview"),
    (View::Models, "Models"),
    (View::Browsers, "Browsers"),
    (View::Failures, "Failures"),
];

/// By what models are sorted, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Name,
    Requests,
    Latency,
    Queue,
    Failed,
}

/// All orders, and what each is called.
pub const SORTS: [(Sort, &str); 5] = [
    (Sort::Requests, "requests"),
    (Sort::Latency, "p95"),
    (Sort::Queue, "queue"),
    (Sort::Failed, "failed"),
    (Sort::Name, "name"),
];

/// What comes after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    GoOn,
    End,
}

/// What is known, and what is looked at.
#[derive(Debug)]
pub struct State {
    pub address: String,
    now: Known,
    /// What is shown while it stands still.
    held: Option<Known>,
    /// Since when the service is gone, and why.
    pub lost: Option<(Instant, String)>,
    view: usize,
    sort: usize,
    /// The model that the overview is about.
    pub model: Option<String>,
    pub help: bool,
    /// The row of each view that is looked at.
    rows: [TableState; VIEWS.len()],
}

impl State {
    pub fn new(address: String) -> Self {
        let rows = VIEWS.map(|_| TableState::new().with_selected(0));
        Self {
            address,
            now: Known::default(),
            held: None,
            lost: None,
            view: 0,
            sort: 0,
            model: None,
            help: false,
            rows,
        }
    }

    /// What is shown.
    pub fn known(&self) -> &Known {
        self.held.as_ref().unwrap_or(&self.now)
    }

    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    pub fn view(&self) -> View {
        VIEWS[self.view].0
    }

    pub fn sort(&self) -> (Sort, &'static str) {
        SORTS[self.sort]
    }

    /// The row that is looked at; a table that is drawn with it scrolls there.
    pub fn row(&mut self) -> &mut TableState {
        &mut self.rows[self.view]
    }

    pub fn take(&mut self, news: News, at: Instant) {
        match news {
            News::Pool(pool) => self.now.pool = Some(pool),
            News::Models(models) => self.now.models = models,
            News::Activity { first, message } => {
                self.now.take(message, first);
                self.lost = None;
            }
            News::Lost(why) => {
                let since = self.lost.as_ref().map_or(at, |(since, _)| *since);
                self.lost = Some((since, why));
            }
        }
    }

    pub fn press(&mut self, event: &Event) -> Next {
        let Event::Key(key) = event else { return Next::GoOn };
        if key.kind == KeyEventKind::Release {
            return Next::GoOn;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return Next::End,
            _ if self.help => self.help = false,
            KeyCode::Char('q') => return Next::End,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Tab | KeyCode::Right => self.view = (self.view + 1) % VIEWS.len(),
            KeyCode::BackTab | KeyCode::Left => self.view = (self.view + VIEWS.len() - 1) % VIEWS.len(),
            KeyCode::Char(digit @ '1'..='4') => self.view = usize::from(digit as u8 - b'1'),
            KeyCode::Down | KeyCode::Char('j') => self.row().select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.row().select_previous(),
            KeyCode::Home => self.row().select_first(),
            KeyCode::End => self.row().select_last(),
            KeyCode::PageDown => self.row().scroll_down_by(10),
            KeyCode::PageUp => self.row().scroll_up_by(10),
            KeyCode::Char('s') => self.sort = (self.sort + 1) % SORTS.len(),
            KeyCode::Char('p' | ' ') => self.held = if self.is_held() { None } else { Some(self.now.clone()) },
            KeyCode::Enter if self.view() == View::Models => {
                let row = self.row().selected().unwrap_or(0);
                self.model = self.models().get(row).map(|(model, _)| id(model).to_owned());
                self.view = 0;
            }
            KeyCode::Esc => self.model = None,
            _ => {}
        }
        Next::GoOn
    }

    /// The models in their order, with what each did of late.
    pub fn models(&self) -> Vec<(&v1::Model, Did)> {
        self.known().models(self.sort().0)
    }
}

/// The id of a model.
pub fn id(model: &v1::Model) -> &str {
    model.spec.as_ref().map_or("", |spec| &spec.id)
}

#[cfg(test)]
pub mod tests {
    use std::time::{Duration, Instant};

    use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

    use super::{Next, SORTS, State, VIEWS, View, id};
    use crate::{
        cli::top::{
            feed::News,
            rates::tests::{activity, second},
        },
        proto::v1,
    };

    pub fn key(code: KeyCode) -> Event {
        Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    /// A service with two models, of which b is the slower and a the busier one.
    pub fn state() -> State {
        let mut state = State::new("127.0.0.1:50051".into());
        let model = |id: &str| v1::Model {
            spec: Some(v1::ModelSpec { id: id.into(), task: "feature-extraction".into(), ..Default::default() }),
            state: v1::ModelState::Ready.into(),
            ready_replicas: 1,
            ..Default::default()
        };
        let seconds =
            (1..=20).map(|end| second(end, vec![activity("a", 50, 1000), activity("b", 5, 90_000)])).collect();
        let failed = v1::FailedRequest {
            time_ms: 20_000,
            model: "b".into(),
            reason: "OVERLOADED".into(),
            message: "too much is pending".into(),
        };
        let worker = v1::Worker {
            id: "worker-1".into(),
            model: "a".into(),
            state: v1::WorkerState::Ready.into(),
            backend: v1::Backend::Webgpu.into(),
            hardware: v1::Hardware::SoftwareAdapter.into(),
            adapter: "google swiftshader".into(),
            dtype: "fp32".into(),
            batches_run: 7,
            ..Default::default()
        };
        let browser = v1::Browser {
            id: "browser-0-1".into(),
            product: "Chrome".into(),
            version: "156.0".into(),
            state: v1::BrowserState::Ready.into(),
            duty: v1::BrowserDuty::Serving.into(),
            memory_bytes: 400 << 20,
            workers: vec![worker],
            ..Default::default()
        };
        let pool =
            v1::PoolStatus { browsers: vec![browser], wanted_browsers: 1, max_browsers: 2, ..Default::default() };
        let now = Instant::now();
        state.take(News::Pool(pool), now);
        state.take(News::Models(vec![model("a"), model("b")]), now);
        let message = v1::WatchActivityResponse { seconds, failed_requests: vec![failed] };
        state.take(News::Activity { first: true, message }, now);
        state
    }

    #[test]
    fn keys_move_sort_and_end() {
        let mut state = state();
        for (view, _) in VIEWS {
            assert_eq!(state.view(), view);
            state.press(&key(KeyCode::Tab));
        }
        assert_eq!(state.view(), View::Overview);
        state.press(&key(KeyCode::Left));
        assert_eq!(state.view(), View::Failures);
        let order =
            |state: &State| state.models().into_iter().map(|(model, _)| id(model).to_owned()).collect::<Vec<_>>();
        assert_eq!(order(&state), ["a", "b"]);
        state.press(&key(KeyCode::Char('s')));
        assert_eq!((state.sort(), order(&state)), (SORTS[1], vec!["b".to_owned(), "a".to_owned()]));
        state.press(&key(KeyCode::Char('2')));
        state.press(&key(KeyCode::Enter));
        assert_eq!((state.model.as_deref(), state.view()), (Some("b"), View::Overview));
        state.press(&key(KeyCode::Esc));
        assert_eq!(state.model, None);
        state.press(&key(KeyCode::Char('?')));
        assert_eq!(state.press(&key(KeyCode::Char('q'))), Next::GoOn, "it closes the help");
        assert_eq!(state.press(&key(KeyCode::Char('q'))), Next::End);
        let control_c = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert_eq!(state.press(&control_c), Next::End);
    }

    #[test]
    fn what_is_held_stands_still_while_news_come() {
        let mut state = state();
        state.press(&key(KeyCode::Char('p')));
        let news = || News::Activity {
            first: false,
            message: v1::WatchActivityResponse { seconds: vec![second(21, Vec::new())], failed_requests: Vec::new() },
        };
        state.take(news(), Instant::now());
        assert_eq!(state.known().seconds.len(), 20);
        state.press(&key(KeyCode::Char('p')));
        assert_eq!(state.known().seconds.len(), 21);
    }

    #[test]
    fn a_service_is_gone_since_it_was_first_missed() {
        let mut state = state();
        let now = Instant::now();
        state.take(News::Lost("it has ended".into()), now);
        state.take(News::Lost("refused".into()), now + Duration::from_secs(3));
        assert_eq!(state.lost, Some((now, "refused".to_owned())));
        state.take(News::Activity { first: true, message: Default::default() }, now);
        assert_eq!((state.lost.is_none(), state.known().seconds.len()), (true, 0));
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut state = state();
        let message = v1::WatchActivityResponse {
            seconds: (0..1000).map(|end| second(end, Vec::new())).collect(),
            failed_requests: vec![v1::FailedRequest::default(); 1000],
        };
        state.take(News::Activity { first: false, message }, Instant::now());
        assert_eq!((state.known().seconds.len(), state.known().failed.len()), (300, 50));
    }
}
