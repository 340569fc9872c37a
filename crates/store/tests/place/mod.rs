//! A place for pulls: a folder of models, a stand-in for the Hub, and who asks it.

#![allow(dead_code, reason = "each test that includes it uses some of it")]

use std::{fs, time::Duration};

use webinfer_store::{
    Manifest, Outcome, Plan, Source, Store, StoreError,
    hub::{Hub, Settings, Token, Waits, Why},
};

use crate::standin::{Files, Piece, Seen, Standin, answer, file, git};

pub const QUANTISED: &str = "onnx/model_quantized.onnx";
pub const TOKEN: &str = "hf_a_secret_of_the_tests";
/// Tries of each thing that does not get further.
pub const TRIES: u32 = 3;

pub fn settings(standin: &Standin) -> Settings {
    Settings {
        endpoint: standin.endpoint().parse().unwrap(),
        hosts: Vec::new(),
        token: Some(Token::parse(TOKEN).unwrap()),
        at_once: 3,
        waits: Waits {
            answer: Duration::from_secs(20),
            stall: Duration::from_secs(20),
            pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(1500),
            tries: TRIES,
            whole: Duration::from_secs(60),
        },
    }
}

/// A folder of models, a stand-in, and who asks it.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub standin: Standin,
    pub hub: Hub,
}

impl Place {
    pub async fn new(files: Files, misbehave: impl Fn(&Seen) -> Option<Vec<Piece>> + Send + Sync + 'static) -> Self {
        let standin = Standin::start(files, misbehave).await;
        let hub = Hub::new(settings(&standin)).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), standin, hub }
    }

    /// One that misbehaves when it is asked for the quantised graph.
    pub async fn with(misbehave: impl Fn(&Seen) -> Option<Vec<Piece>> + Send + Sync + 'static) -> Self {
        let graph = move |seen: &Seen| if seen.path.ends_with(QUANTISED) { misbehave(seen) } else { None };
        Self::new(Files::model(), graph).await
    }

    pub fn store(&self) -> Store {
        Store::new(self.folder.path())
    }

    pub async fn plan(&self, name: &str, files: &[&str]) -> Result<Plan, StoreError> {
        let source: Source = "o/m".parse().unwrap();
        let listing = self.hub.list(&source, &|_| ()).await?;
        let files = files.iter().map(|path| listing.file(path).unwrap().clone()).collect();
        Ok(Plan { name: name.parse().unwrap(), listing, files, wanted: vec!["q8".into()], quota: 0 })
    }

    pub async fn pull(&self) -> Result<Outcome, StoreError> {
        self.pull_of(&["config.json", "tokenizer.json", QUANTISED]).await
    }

    pub async fn pull_of(&self, files: &[&str]) -> Result<Outcome, StoreError> {
        let plan = self.plan("m", files).await?;
        self.store().pull(&self.hub, plan, &|_| ()).await
    }

    /// What went wrong with a pull, of which nothing is to be seen.
    pub async fn fails(&self) -> StoreError {
        let error = self.pull().await.unwrap_err();
        let names: Vec<_> = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name == ".webinfer"), "{names:?} are there after {error}");
        let words = format!("{error} {error:?}");
        assert!(!words.contains("secret"), "{words}");
        error
    }

    pub async fn fails_by(&self) -> Why {
        match self.fails().await {
            StoreError::Hub(error) => error.why,
            error => panic!("{error}"),
        }
    }

    pub async fn succeeds(&self) {
        self.pull().await.unwrap();
        self.has(QUANTISED);
    }

    pub fn has(&self, path: &str) {
        let folder = self.folder.path().join("m");
        assert!(fs::read(folder.join(path)).unwrap() == Files::model().0[path], "{path} has other bytes");
        let manifest = Manifest::read(&folder).unwrap().unwrap();
        assert_eq!(manifest.verify(&folder), []);
        assert!(!self.folder.path().join(".webinfer/m.part").exists());
    }

    /// From where on the quantised graph was asked for, each time.
    pub fn ranges(&self) -> Vec<Option<usize>> {
        self.graphs_seen().iter().map(Seen::from).collect()
    }

    pub fn graphs_seen(&self) -> Vec<Seen> {
        self.standin.seen().into_iter().filter(|seen| seen.path.ends_with(QUANTISED)).collect()
    }
}

pub fn graph() -> Vec<u8> {
    Files::model().0[QUANTISED].clone()
}

pub fn bytes(bytes: Vec<u8>) -> Option<Vec<Piece>> {
    Some(vec![Piece::Bytes(bytes)])
}

/// The first half of what should come.
pub fn half(seen: &Seen) -> Option<Vec<Piece>> {
    let (graph, all) = (graph(), file(seen, &graph(), &git(&graph())));
    bytes(all[..all.len() - graph.len() / 2].to_vec())
}

pub fn status(line: &'static str, headers: &'static [(&str, &str)]) -> impl Fn(&Seen) -> Option<Vec<Piece>> {
    move |_| bytes(answer(line, headers, b"no"))
}
