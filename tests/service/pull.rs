//! `webinfer models` against a stand-in for the Hub, and a service beside it: what is pulled can be served, mended, and
//! removed when nobody has it.

use std::{fs, path::Path};

use serde_json::Value;
use tokio::process::Command;
use webinfer::proto::v1;

use crate::common::{Service, fake::Fake, repository, soon};
use crate::standin::{self, Files, Standin};

/// A folder of models, and a stand-in that has the repository `o/m`.
struct Place {
    folder: tempfile::TempDir,
    standin: Standin,
}

impl Place {
    async fn new() -> Self {
        let paths =
            ["config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx", "onnx/model_quantized.onnx"];
        let folder = repository("tests/models/tiny-bert");
        let mut files = Files(paths.map(|path| (path.to_owned(), fs::read(folder.join(path)).unwrap())).into());
        files.0.insert("model.safetensors".into(), vec![0; 5000]);
        Self { folder: tempfile::tempdir().unwrap(), standin: Standin::start(files, |_| None).await }
    }

    /// Runs `webinfer models` with these arguments; returns whether it went well, and what it wrote.
    async fn models(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_webinfer"))
            .arg("models")
            .args(arguments)
            .arg("--models")
            .arg(self.folder.path())
            .args(["--hub-endpoint", &self.standin.endpoint()])
            .output();
        let output = soon(output).await.unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.success(), out, err)
    }

    /// The same where it must go well, and prints JSON.
    async fn json(&self, arguments: &[&str]) -> Value {
        let (done, out, err) = self.models(&[arguments, &["--json"]].concat()).await;
        assert!(done, "{arguments:?}: {err}");
        serde_json::from_str(&out).unwrap()
    }

    async fn fails(&self, arguments: &[&str]) -> (String, String) {
        let (done, out, err) = self.models(arguments).await;
        assert!(!done, "{arguments:?}: {out}");
        (out, err)
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_pulled_is_listed_and_verified_and_mended() {
    let place = Place::new().await;
    let pulled = place.json(&["pull", "o/m", "--as", "tiny"]).await;
    assert_eq!((pulled["dtypes"][0].as_str(), pulled["fetched_files"].as_u64()), (Some("q8"), Some(4)));
    assert_eq!(files(&place.path("tiny/onnx")), ["model_quantized.onnx"]);
    // Of what the repository has besides, nothing came.
    assert!(
        place
            .standin
            .seen()
            .iter()
            .all(|seen| !seen.path.contains("safetensors") && !seen.path.ends_with("/model.onnx"))
    );

    let before = place.standin.seen().len();
    assert_eq!(place.json(&["pull", "o/m", "--as", "tiny"]).await["fetched_files"], 0);
    assert_eq!(place.json(&["pull", "o/m", "--as", "tiny", "--bits", "8", "--offline"]).await["fetched_files"], 0);
    assert_eq!(place.standin.seen().len(), before, "what is pinned and whole is not asked for");
    let (_, error) = place.fails(&["pull", "o/m", "--as", "tiny", "--dtype", "fp32", "--offline"]).await;
    assert!(error.contains("--offline") && error.contains("dtype fp32"), "{error}");
    assert_eq!(place.json(&["pull", "o/m", "--as", "tiny", "--dtype", "fp32"]).await["fetched_files"], 1);

    let list = place.json(&["list"]).await;
    let model = &list["models"][0];
    assert_eq!((model["name"].as_str(), model["task"].as_str()), (Some("tiny"), Some("feature-extraction")));
    assert_eq!((model["pulled"]["commit"].as_str(), model["in_use"].as_bool()), (Some(standin::COMMIT), Some(false)));
    assert_eq!(model["dtypes"].as_array().unwrap().len(), 2);
    let (_, table, _) = place.models(&["list"]).await;
    assert!(table.contains("tiny") && table.contains("o/m@0123456789ab"), "{table}");

    place.json(&["verify"]).await;
    fs::write(place.path("tiny/onnx/model.onnx"), "not a graph").unwrap();
    fs::remove_file(place.path("tiny/config.json")).unwrap();
    let (wrong, error) = place.fails(&["verify", "tiny"]).await;
    assert!(wrong.contains("config.json is missing") && wrong.contains("onnx/model.onnx has 11 bytes"), "{wrong}");
    assert!(error.contains("1 of 1 models are damaged"), "{error}");
    let (_, command) = wrong.split_once("to mend it: webinfer models ").unwrap();
    let mended = place.json(&command.split_whitespace().collect::<Vec<_>>()).await;
    assert_eq!(mended["fetched_files"], 2);
    place.json(&["verify"]).await;
    // It still is what was asked for first, and not the commit that was named to mend it.
    assert_eq!(place.json(&["list"]).await["models"][0]["pulled"]["revision"], "main");
    assert_eq!(place.json(&["pull", "o/m", "--as", "tiny"]).await["fetched_files"], 0);
    // One precision more, or brought up to date, costs none of the others.
    let updated = place.json(&["pull", "o/m", "--as", "tiny", "--dtype", "fp32", "--update"]).await;
    assert_eq!(updated["dtypes"].as_array().unwrap().len(), 2, "{updated}");
    assert_eq!(files(&place.path("tiny/onnx")), ["model.onnx", "model_quantized.onnx"]);
}

#[tokio::test]
async fn a_service_keeps_what_it_has_and_names_the_command_for_what_it_has_not() {
    let place = Place::new().await;
    place.json(&["pull", "o/m", "--as", "tiny"]).await;
    let folder = format!("--models={}", place.folder.path().display());
    let service = Service::start(&[&folder], Fake::new().driver()).await;
    service.load("tiny").await.unwrap();
    assert_eq!(place.json(&["list"]).await["models"][0]["in_use"], true);
    let (_, error) = place.fails(&["rm", "tiny", "--force"]).await;
    assert!(error.contains("in use by a service"), "{error}");
    for source in ["o/m", "hub:o/m@main"] {
        let spec = v1::ModelSpec { id: "other".into(), source: source.into(), ..Default::default() };
        let error = service.register(spec).await.unwrap_err().message().to_owned();
        assert!(error.contains("`webinfer models pull o/m@main`"), "{error}");
    }
    service.stop().await;
    place.json(&["rm", "tiny"]).await;
    assert_eq!(files(place.folder.path()), [".webinfer"]);
    // What was optimised of a model that is gone already can be removed, once.
    let made = place.path(".optimized/tiny-0123456789abcdef");
    fs::create_dir_all(&made).unwrap();
    fs::write(made.join("config.json"), "{}").unwrap();
    place.json(&["rm", "tiny"]).await;
    assert!(!made.exists());
    place.fails(&["rm", "tiny"]).await;
}

#[tokio::test]
async fn what_was_not_pulled_stays() {
    let place = Place::new().await;
    fs::create_dir_all(place.path("m/onnx")).unwrap();
    fs::write(place.path("m/onnx/model.onnx"), "not a graph").unwrap();
    let (_, error) = place.fails(&["pull", "o/m"]).await;
    assert!(error.contains("--as"), "{error}");
    let (_, error) = place.fails(&["rm", "m"]).await;
    assert!(error.contains("--force"), "{error}");
    let (wrong, _) = place.fails(&["verify"]).await;
    assert!(wrong.contains("onnx/model.onnx") && wrong.contains("was not pulled"), "{wrong}");
    place.json(&["rm", "m", "--force"]).await;
    assert!(!place.path("m").exists());
}

#[tokio::test]
async fn a_token_is_read_from_a_file_and_is_seen_nowhere() {
    let place = Place::new().await;
    let file = place.folder.path().join("token");
    fs::write(&file, "hf_a_secret_of_the_tests\n").unwrap();
    let file = file.to_str().unwrap();
    let (done, out, err) = place.models(&["pull", "o/m", "--hub-token-file", file]).await;
    assert!(done && !format!("{out}{err}").contains("secret"), "{out}{err}");
    assert!(
        place.standin.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer hf_a_secret_of_the_tests"))
    );
    let (_, error) = place.fails(&["pull", "o/nobody", "--hub-token-file", file]).await;
    assert!(error.contains("404") && !error.contains("secret"), "{error}");
    fs::write(file, "hf_a_secret\nof two lines").unwrap();
    let (_, error) = place.fails(&["pull", "o/nobody", "--hub-token-file", file]).await;
    assert!(error.contains("--hub-token-file") && !error.contains("secret"), "{error}");
}
