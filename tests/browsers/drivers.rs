//! Browsers and drivers that are not there, hang, break or are too old: each start fails with what to do next.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use webinfer::{app, config::Serve};

use crate::common::{self, Service, program, soon};

/// Why the browser of the settings does not start.
async fn failure(serve: &Serve) -> String {
    let drivers = app::drivers(serve);
    // An address where nothing listens: none of them gets so far.
    let started = soon(drivers[0].start("http://127.0.0.1:9/".into())).await;
    started.map(|running| running.info).unwrap_err().to_string()
}

/// A program that does what the script says.
fn script(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

async fn assert_fails(arguments: &[&str], says: &str) {
    let error = failure(&common::settings(arguments)).await;
    assert!(error.contains(says), "{arguments:?}: {error}");
}

#[tokio::test]
async fn a_browser_that_is_not_there_is_named_with_how_to_get_it() {
    let mut serve = common::settings(&["--browser=edge"]);
    serve.search_path.clear();
    let error = failure(&serve).await;
    assert!(error.contains("no edge was found") && error.contains("install Microsoft Edge"), "{error}");
    assert_fails(&["--browser=/no/such/firefox"], "there is no program at /no/such/firefox").await;
    assert_fails(&["--browser=http://127.0.0.1:9"], "the WebDriver at http://127.0.0.1:9 gave no session").await;
}

#[tokio::test]
async fn one_that_is_too_old_is_told_from_the_first_that_works() {
    let folder = program::folder();
    let firefox = script(folder.path(), "firefox", "exec sleep 60");
    fs::write(folder.path().join("application.ini"), "[App]\nVersion=102.9.0\n").unwrap();
    assert_fails(&[&format!("--browser={firefox}")], "firefox 102.9.0 is too old: 114 or later is needed").await;
}

#[tokio::test]
async fn one_that_hangs_is_given_up_at_the_deadline() {
    let folder = program::folder();
    let hangs = script(folder.path(), "hangs", "exec sleep 60");
    for kind in ["chromium", "webkit"] {
        let browser = format!("--browser={kind}={hangs}");
        let arguments = [&*browser, "--browser-start-deadline=300ms"];
        assert_fails(&arguments, "was not up within 300ms; see --browser-start-deadline").await;
    }
}

#[tokio::test]
async fn one_that_ends_at_once_is_quoted() {
    let folder = program::folder();
    let breaks = script(folder.path(), "breaks", "echo cannot open shared library >&2; exit 127");
    for kind in ["chromium", "webkit"] {
        assert_fails(&[&format!("--browser={kind}={breaks}")], "cannot open shared library").await;
    }
}

#[tokio::test]
async fn without_a_display_it_is_said_what_is_missing() {
    let mut serve = common::settings(&["--browser=webkit=/bin/true"]);
    serve.search_path.clear();
    let error = failure(&serve).await;
    assert!(error.contains("it needs a display: install Xvfb"), "{error}");
    let mut serve = common::settings(&["--show-browser"]);
    serve.display = false;
    let error = failure(&serve).await;
    assert!(error.contains("--show-browser needs a display"), "{error}");
}

#[tokio::test]
async fn a_folder_for_profiles_that_is_not_there_is_named() {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_webinfer"));
    let command = command.args(["doctor", "--browser=chromium"]).env("TMPDIR", "/no/such/folder").kill_on_drop(true);
    let output = soon(command.output()).await.unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("no profile folder can be made in /no/such/folder") && text.contains("see TMPDIR"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_one_kind_serve_side_by_side() {
    let arguments = ["--browser=chromium", "--browser=chromium", "--browsers=2", "--replicas=2"];
    let service = Service::real(&arguments).await;
    service.load("identity").await.unwrap();
    let is_up = |browser: &webinfer::pool::BrowserView| browser.info.product == "Chrome";
    service.until(|view| view.browsers.len() == 2 && view.browsers.iter().all(is_up)).await;
    service.stop().await;
}

#[test]
fn edge_and_safari_are_driven_as_their_engines_are() {
    let serve = common::settings(&["--browser=edge=/opt/edge", "--browser=safari=/usr/bin/safaridriver"]);
    let names: Vec<_> = serve.browser.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["edge: /opt/edge", "safari: /usr/bin/safaridriver"]);
}
