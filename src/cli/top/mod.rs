//! `webinfer top`: what a running service does, in a terminal, or once as text.

mod browsers;
mod draw;
mod feed;
mod findings;
mod models;
mod once;
mod overview;
mod rates;
mod state;
mod words;

use std::{
    io::{IsTerminal, stdout},
    time::{Duration, Instant},
};

use clap::Args;
use crossterm::event::EventStream;
use futures_util::StreamExt;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::interval,
};

use super::CommandError;
use crate::rpc::client::Client;
use state::{Next, State};

/// Arguments of `top`.
#[derive(Debug, Args)]
#[command(
    after_help = "Keys: Tab and arrows move, s sorts, Enter takes one model, p holds, ? tells the rest, q ends.\n\n\
    Examples:\n  \
    webinfer top\n  \
    webinfer top --once"
)]
pub struct Top {
    /// Address of the service
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    address: String,
    /// Print how it is now, and end; needs no terminal
    #[arg(long)]
    once: bool,
}

/// News that wait to be shown.
const NEWS: usize = 64;
/// How often ages are told anew.
const TICK: Duration = Duration::from_secs(1);

/// Shows until it is told to end.
pub async fn run(top: Top) -> Result<(), CommandError> {
    // A service that was never there is not waited for.
    let client = Client::connect(&top.address).await?;
    if top.once {
        println!("{}", once::text(&client).await?);
        return Ok(());
    }
    if !stdout().is_terminal() {
        return Err(CommandError::Usage("top needs a terminal; `webinfer top --once` prints how it is now".into()));
    }
    let failed = |error| CommandError::Io { what: "the terminal".into(), error };
    let mut ended = signal(SignalKind::terminate()).map_err(failed)?;
    let (sender, mut news) = mpsc::channel(NEWS);
    let follow = tokio::spawn(feed::follow(top.address.clone(), client, sender));
    let mut state = State::new(top.address);
    let (mut keys, mut ticks) = (EventStream::new(), interval(TICK));
    // It gives the terminal back also where the program panics.
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let _given_back = GiveBack;
    let result = loop {
        if let Err(error) = terminal.draw(|frame| draw::screen(frame, &mut state, Instant::now())) {
            break Err(failed(error));
        }
        tokio::select! {
            event = keys.next() => match event {
                Some(Ok(event)) if state.press(&event) == Next::End => break Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(failed(error)),
                None => break Ok(()),
            },
            Some(news) = news.recv() => state.take(news, Instant::now()),
            _ = ticks.tick() => {}
            _ = ended.recv() => break Ok(()),
        }
    };
    follow.abort();
    result
}

/// Gives the terminal back, however it ends.
struct GiveBack;

impl Drop for GiveBack {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
