//! Downloads from a stand-in for the Hub that misbehaves: each ends in the right file or in a clear error, and in nothing else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod place;
mod standin;

use std::{sync::Mutex, time::Duration};

use place::{Place, QUANTISED, TRIES, bytes, graph, half, settings, status};
use standin::{Files, Piece, Seen, Standin, answer, chunk, file, git, head};
use webinfer_store::{
    StoreError,
    hub::{Event, Hub, HubError, Settings, Waits, Why},
};

#[tokio::test]
async fn a_cut_file_goes_on_where_it_was_cut() {
    let place = Place::with(|seen| if seen.nth == 0 { half(seen) } else { None }).await;
    place.succeeds().await;
    assert_eq!(place.ranges(), [None, Some(graph().len() / 2)]);
    let etag = format!("\"{}\"", git(&graph()));
    assert_eq!(place.graphs_seen()[1].header("if-range"), Some(etag.as_str()));
}

#[tokio::test]
async fn a_pull_that_failed_goes_on_with_the_next() {
    let place = Place::with(|seen| match seen.nth {
        0 => half(seen),
        1..=2 => Some(Vec::new()),
        _ => None,
    });
    let place = place.await;
    assert!(matches!(place.fails_by().await, Why::Cut { .. }));
    assert_eq!(place.ranges().len(), TRIES as usize);
    place.succeeds().await;
    assert_eq!(place.ranges()[3..], [Some(graph().len() / 2)]);
    // What was whole did not come again.
    assert_eq!(place.standin.seen().iter().filter(|seen| seen.path.ends_with("/config.json")).count(), 1);
}

#[tokio::test]
async fn a_pull_that_is_dropped_goes_on_with_the_next() {
    let place = Place::with(|seen| match seen.nth {
        0 => half(seen).map(|half| [half, vec![Piece::Hang]].concat()),
        _ => None,
    });
    let place = place.await;
    let (sender, mut came) = tokio::sync::mpsc::unbounded_channel();
    let plan = place.plan("m", &[QUANTISED]).await.unwrap();
    let (store, tell) = (place.store(), move |event: Event<'_>| {
        if let Event::Came(bytes) = event {
            let _ = sender.send(bytes as usize);
        }
    });
    let wait = async {
        let mut all = 0;
        while all < graph().len() / 2 {
            all += came.recv().await.unwrap();
        }
    };
    tokio::select! {
        done = store.pull(&place.hub, plan, &tell) => panic!("{done:?}"),
        () = wait => {}
    }
    place.succeeds().await;
    assert!(place.ranges()[1].is_some_and(|from| from > 0));
}

#[tokio::test]
async fn corrupted_bytes_never_count() {
    let corrupted = |seen: &Seen| {
        let mut graph = graph();
        let last = graph.len() - 1;
        graph[last] ^= 1;
        bytes(file(seen, &graph, "x"))
    };
    let place = Place::with(corrupted).await;
    assert_eq!(place.fails_by().await, Why::Hash);
    assert_eq!(place.ranges(), [None; TRIES as usize]);
    let place = Place::with(move |seen| if seen.nth == 0 { corrupted(seen) } else { None }).await;
    place.succeeds().await;
    // A first part of other bytes is found out at the end, and all comes again.
    let place = Place::with(|seen| match seen.nth {
        0 => bytes([head("200 OK", &[("content-length", "100000")]), vec![7; 50_000]].concat()),
        _ => None,
    });
    let place = place.await;
    place.succeeds().await;
    assert_eq!(place.ranges(), [None, Some(50_000), None]);
}

#[tokio::test]
async fn wrong_lengths_never_count() {
    let place = Place::with(|seen| bytes(file(seen, &graph()[1..], "x"))).await;
    assert!(matches!(place.fails_by().await, Why::Length { is: 99_999, must: 100_000, .. }));
    // Without a length, it is the bytes that count.
    let chunked = head("200 OK", &[("transfer-encoding", "chunked")]);
    let (longer, shorter) = ([graph(), vec![0]].concat(), graph()[1..].to_vec());
    let begin = chunked.clone();
    let place = Place::with(move |_| bytes([begin.clone(), chunk(&longer)].concat())).await;
    assert!(matches!(place.fails_by().await, Why::Length { .. }));
    let place = Place::with(move |_| bytes([chunked.clone(), chunk(&shorter)].concat())).await;
    assert!(matches!(place.fails_by().await, Why::Cut { .. } | Why::Changed { .. } | Why::Hash));
}

#[tokio::test]
async fn a_small_file_is_checked_too() {
    let place = Place::new(Files::model(), |seen| {
        seen.path
            .ends_with("/config.json")
            .then(|| vec![Piece::Bytes(file(seen, br#"{"architectures": ["EvilModel"]}"#, "x"))])
    });
    let place = place.await;
    assert_eq!(place.fails_by().await, Why::Hash);
    let listing = place.hub.list(&"o/m".parse().unwrap(), &|_| ()).await.unwrap();
    let read = place.hub.read(&listing, listing.file("config.json").unwrap(), &|_| ()).await;
    assert_eq!(read.unwrap_err().why, Why::Hash);
}

#[tokio::test]
async fn it_is_sent_on_to_allowed_hosts_alone_and_they_see_no_token() {
    let cdn = Standin::at("127.0.0.2:0", Files::model(), |_| None).await;
    let to = format!("http://{}/cdn/{QUANTISED}", cdn.address);
    let place = Place::with(move |_| bytes(answer("302 Found", &[("location", &to)], b""))).await;
    let Why::Elsewhere { host } = place.fails_by().await else { panic!() };
    assert_eq!((host, place.ranges().len(), cdn.seen().len()), (cdn.address.to_string(), 1, 0));

    let hosts = vec![cdn.address.to_string().parse().unwrap()];
    let hub = Hub::new(Settings { hosts, ..settings(&place.standin) }).unwrap();
    let place = Place { hub, ..place };
    place.succeeds().await;
    assert!(!cdn.seen().is_empty() && cdn.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert!(place.standin.seen().iter().all(|seen| seen.header("authorization").is_some()));
}

#[tokio::test]
async fn going_on_works_behind_a_redirect() {
    let cdn = Standin::at("127.0.0.2:0", Files::model(), |seen| if seen.nth == 0 { half(seen) } else { None }).await;
    let to = format!("http://{}/cdn/{QUANTISED}", cdn.address);
    let place = Place::with(move |_| bytes(answer("302 Found", &[("location", &to)], b""))).await;
    let hosts = vec![cdn.address.to_string().parse().unwrap()];
    let place = Place { hub: Hub::new(Settings { hosts, ..settings(&place.standin) }).unwrap(), ..place };
    place.succeeds().await;
    assert_eq!(cdn.seen().iter().map(Seen::from).collect::<Vec<_>>(), [None, Some(graph().len() / 2)]);
}

#[tokio::test]
async fn loops_of_redirects_end() {
    let place = Place::with(|seen| bytes(answer("307 Temporary Redirect", &[("location", &seen.path)], b""))).await;
    assert!(matches!(place.fails_by().await, Why::Loop { .. }));
    assert_eq!(place.ranges().len(), 9);
    let place = Place::with(|_| bytes(answer("302 Found", &[("location", "file:///etc/passwd")], b""))).await;
    assert!(matches!(place.fails_by().await, Why::Elsewhere { .. }));
    let place = Place::with(|_| bytes(answer("302 Found", &[], b""))).await;
    assert!(matches!(place.fails_by().await, Why::Nonsense { .. }));
}

#[tokio::test]
async fn a_refusal_is_not_asked_again() {
    for line in ["401 Unauthorized", "403 Forbidden"] {
        let place = Place::with(status(line, &[])).await;
        let error = place.fails().await.to_string();
        assert!(error.contains("--hub-token-file"), "{error}");
        assert_eq!(place.ranges().len(), 1);
    }
    let place = Place::with(status("404 Not Found", &[])).await;
    assert!(matches!(place.fails_by().await, Why::NotFound { .. }));
    assert_eq!(place.ranges().len(), 1);
    let place = Place::with(status("418 I'm a teapot", &[])).await;
    assert!(matches!(place.fails_by().await, Why::Status { code: 418, .. }));
    assert_eq!(place.ranges().len(), 1);
}

#[tokio::test]
async fn what_may_pass_is_asked_again_and_not_for_ever() {
    for (line, code) in [("500 Internal Server Error", 500), ("503 Service Unavailable", 503)] {
        let place = Place::with(status(line, &[])).await;
        assert!(matches!(place.fails_by().await, Why::Status { code: is, .. } if is == code));
        assert_eq!(place.ranges().len(), TRIES as usize);
        let place = Place::with(move |seen| status(line, &[])(seen).filter(|_| seen.nth == 0)).await;
        place.succeeds().await;
    }
}

#[tokio::test]
async fn who_is_told_to_wait_waits_or_says_for_how_long() {
    let later = status("429 Too Many Requests", &[("retry-after", "1")]);
    let place = Place::with(move |seen| later(seen).filter(|_| seen.nth == 0)).await;
    let pauses = Mutex::new(Vec::new());
    let plan = place.plan("m", &[QUANTISED]).await.unwrap();
    let tell = |event: Event<'_>| {
        if let Event::Again { pause, .. } = event {
            pauses.lock().unwrap().push(pause);
        }
    };
    place.store().pull(&place.hub, plan, &tell).await.unwrap();
    assert_eq!(*pauses.lock().unwrap(), [Duration::from_secs(1)]);

    let place = Place::with(status("429 Too Many Requests", &[("retry-after", "3600")])).await;
    let error = place.fails().await.to_string();
    assert!(error.contains("come back in 3600 s"), "{error}");
    assert_eq!(place.ranges().len(), 1);
}

#[tokio::test]
async fn what_is_slow_or_silent_is_given_up() {
    let slow = async |place: Place| {
        let mut settings = settings(&place.standin);
        let short = Duration::from_millis(200);
        settings.waits = Waits { answer: short, stall: short, ..settings.waits };
        let plan = place.plan("m", &[QUANTISED]).await.unwrap();
        let impatient = Hub::new(settings).unwrap();
        let error = place.store().pull(&impatient, plan, &|_| ()).await.unwrap_err();
        assert!(matches!(error, StoreError::Hub(HubError { why: Why::Slow { .. }, tries: TRIES, .. })), "{error}");
        assert_eq!(place.ranges().len(), TRIES as usize);
    };
    slow(Place::with(|_| Some(vec![Piece::Hang])).await).await;
    let begin = || Piece::Bytes(head("200 OK", &[("content-length", "100000")]));
    slow(Place::with(move |_| Some(vec![begin(), Piece::Hang])).await).await;
    let place = Place::with(move |seen| match seen.from() {
        None => Some(vec![begin(), Piece::Drip]),
        Some(from) => {
            let (range, length) = (format!("bytes {from}-99999/100000"), (100_000 - from).to_string());
            let headers = [("content-range", range.as_str()), ("content-length", &length)];
            Some(vec![Piece::Bytes(head("206 Partial Content", &headers)), Piece::Drip])
        }
    });
    slow(place.await).await;
}

#[tokio::test]
async fn all_of_it_has_a_deadline() {
    let place = Place::with(|_| Some(vec![Piece::Hang])).await;
    let mut settings = settings(&place.standin);
    settings.waits.whole = Duration::from_millis(50);
    let place = Place { hub: Hub::new(settings).unwrap(), ..place };
    assert!(matches!(place.fails_by().await, Why::Deadline(_)));
}

#[tokio::test]
async fn answers_of_the_hub_have_a_limit_and_make_sense() {
    let of_api = |answer: Vec<Piece>| {
        Place::new(Files::model(), move |seen| seen.path.starts_with("/api/").then(|| answer.clone()))
    };
    let endless = Piece::Bytes(chunk(&vec![b' '; 17 << 20]));
    let place = of_api(vec![Piece::Bytes(head("200 OK", &[("transfer-encoding", "chunked")])), endless]).await;
    assert!(matches!(place.fails_by().await, Why::TooLong { .. }));
    for text in
        ["", "[]", "{\"sha\": \"main\", \"siblings\": []}", "<html>", "{\"sha\": \"../../x\", \"siblings\": []}"]
    {
        let place = of_api(vec![Piece::Bytes(answer("200 OK", &[], text.as_bytes()))]).await;
        assert!(matches!(place.fails_by().await, Why::Nonsense { .. }), "{text}");
    }
    let place = of_api(vec![Piece::Bytes(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec())]).await;
    assert!(matches!(place.fails_by().await, Why::Cut { .. }));
}

#[tokio::test]
async fn without_ranges_it_begins_anew() {
    let place = Place::with(|seen| match seen.nth {
        0 => half(seen),
        _ => bytes(answer("200 OK", &[], &graph())),
    });
    let place = place.await;
    place.succeeds().await;
    assert_eq!(place.ranges(), [None, Some(graph().len() / 2)]);
}

#[tokio::test]
async fn a_file_that_changed_begins_anew() {
    // It keeps to If-Range, or it does not and its ETag tells, or its Content-Range does.
    let half_way = graph().len() / 2;
    let part = move |etag: &'static str, range: &'static str| {
        let headers = [("etag", etag), ("content-range", range)];
        bytes(answer("206 Partial Content", &headers, &vec![9; graph().len() - half_way]))
    };
    let place = Place::with(|seen| match seen.nth {
        0 => half(seen),
        _ => bytes(file(seen, &graph(), "other")),
    });
    let place = place.await;
    place.succeeds().await;
    for (etag, range) in [("\"other\"", "bytes 50000-99999/100000"), ("W/\"x\"", "bytes 0-49999/100000")] {
        let place = Place::with(move |seen| match seen.nth {
            0 => half(seen),
            1 => part(etag, range),
            _ => None,
        });
        let place = place.await;
        place.succeeds().await;
        assert_eq!(place.ranges(), [None, Some(half_way), None]);
    }
    let place = Place::with(|seen| match seen.nth {
        0 => half(seen),
        1 => bytes(answer("416 Range Not Satisfiable", &[], b"")),
        _ => None,
    });
    let place = place.await;
    place.succeeds().await;
}
