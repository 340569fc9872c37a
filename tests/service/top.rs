//! `webinfer top`: once as text, and in a terminal, with a service that comes and goes.

use std::process::Stdio;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use crate::common::{Service, fake::Fake, soon};

const PROGRAM: &str = env!("CARGO_BIN_EXE_webinfer");
const SIZE: (u16, u16) = (30, 110);

/// The program in a terminal of its own.
struct Terminal {
    child: Child,
    screen: vt100::Parser,
}

impl Terminal {
    fn open(address: &str) -> Self {
        let (rows, columns) = SIZE;
        let command = format!("stty rows {rows} cols {columns}; exec {PROGRAM} top --address {address}");
        let child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &command, "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, screen: vt100::Parser::new(rows, columns, 0) }
    }

    async fn press(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).await.unwrap();
        stdin.flush().await.unwrap();
    }

    /// Waits until the screen shows something.
    async fn until(&mut self, text: &str) {
        let mut bytes = [0; 4096];
        while !self.screen.screen().contents().contains(text) {
            let read = soon(self.child.stdout.as_mut().unwrap().read(&mut bytes)).await.unwrap();
            assert!(read > 0, "it ended before it showed {text:?}:\n{}", self.screen.screen().contents());
            self.screen.process(&bytes[..read]);
        }
    }

    /// Waits for the end, after which the terminal is as it was.
    async fn end(mut self) {
        let mut rest = Vec::new();
        soon(self.child.stdout.as_mut().unwrap().read_to_end(&mut rest)).await.unwrap();
        self.screen.process(&rest);
        assert!(soon(self.child.wait()).await.unwrap().success());
        assert!(!self.screen.screen().alternate_screen(), "it has not given the screen back");
        assert!(!self.screen.screen().hide_cursor(), "it has not given the cursor back");
    }
}

async fn once(address: &str) -> (bool, String, String) {
    let output = Command::new(PROGRAM).args(["top", "--once", "--address", address]).output();
    let output = soon(output).await.unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.success(), out, err)
}

#[tokio::test]
async fn once_tells_what_there_is() {
    let service = Service::start(&["--max-text-bytes=100"], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    service.embed("tiny-bert", &["four"]).await.unwrap();
    service.embed("tiny-bert", &["long".repeat(100).as_str()]).await.unwrap_err();
    let (ended, out, err) = once(&service.app.address.to_string()).await;
    assert!(ended, "{err}");
    for words in ["requests/s", "tiny-bert", "ready", "browser-0-1", "wasm", "failed: tiny-bert: INVALID_FIELD"] {
        assert!(out.contains(words), "{words}:\n{out}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told() {
    let (ended, _, err) = once("127.0.0.1:1").await;
    assert!(!ended && err.contains("no webinfer service answers at 127.0.0.1:1"), "{err}");
    // A terminal is asked for where there is none.
    let service = Service::start(&[], Fake::new().driver()).await;
    let output = Command::new(PROGRAM).args(["top", "--address", &service.app.address.to_string()]).output();
    let output = soon(output).await.unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("--once"));
}

#[tokio::test]
async fn it_shows_the_service_and_says_when_it_is_gone() {
    let service = Service::start(&[], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    let mut terminal = Terminal::open(&service.app.address.to_string());
    terminal.until(" live ").await;
    terminal.until("where the time of a batch goes").await;
    terminal.press("2").await;
    terminal.until("models by requests").await;
    terminal.until("tiny-bert").await;
    terminal.press("\t").await;
    terminal.until("browser-0-1").await;
    terminal.press("?").await;
    terminal.until("close this help").await;
    terminal.press("?").await;
    service.stop().await;
    terminal.until("trying again").await;
    terminal.press("q").await;
    terminal.end().await;
}

#[tokio::test]
async fn ctrl_c_gives_the_terminal_back() {
    let service = Service::start(&[], Fake::new().driver()).await;
    let mut terminal = Terminal::open(&service.app.address.to_string());
    terminal.until(" live ").await;
    terminal.press("\u{3}").await;
    terminal.end().await;
}
