//! Outputs: answers as people read them. Pure.

use std::{fmt::Write, path::PathBuf};

use super::inputs::Named;
use crate::proto::v1::{self, item::Input, item_result::Output};

/// Widest bar, in characters.
const BAR: usize = 24;
/// Widest label.
const LABEL: usize = 64;

/// One answer, in lines. `files` are what was written of it.
pub fn describe(named: &Named, output: &Output, files: &[PathBuf]) -> String {
    let mut text = format!("{}\n", named.name);
    match output {
        Output::Classes(v1::Classes { classes }) => {
            classes.iter().for_each(|it| bar(&mut text, &it.label, it.score));
        }
        Output::Spans(v1::Spans { spans }) => spans.iter().for_each(|span| describe_span(&mut text, span)),
        Output::Answers(v1::Answers { answers }) if answers.is_empty() => text += "  no answer was found\n",
        Output::Answers(v1::Answers { answers }) => {
            for answer in answers {
                match answer.score {
                    Some(score) => bar(&mut text, &answer.text, score),
                    None => line(&mut text, &answer.text),
                }
            }
        }
        Output::Fills(v1::Fills { fills }) => {
            fills.iter().for_each(|fill| bar(&mut text, &fill.sequence, fill.score));
        }
        Output::Generated(generated) => describe_generated(&mut text, generated),
        Output::Ranking(v1::Ranking { documents: ranked }) => {
            let documents = documents(named);
            for it in ranked {
                let document = documents.get(it.index as usize).map_or("", String::as_str);
                bar(&mut text, document, it.score);
            }
        }
        Output::Segments(v1::Segments { segments }) => {
            for (index, segment) in segments.iter().enumerate() {
                let mask = segment.mask.as_ref().map(|mask| &mask.data[..]).unwrap_or_default();
                let covered = mask.iter().filter(|value| **value > 127).count();
                let part = 100.0 * covered as f64 / mask.len().max(1) as f64;
                // There is none where it could not be written.
                let file = files.get(index).map(|file| format!(" → {}", file.display())).unwrap_or_default();
                line(&mut text, &format!("{}  {part:.1} % of the picture{file}", segment.label));
            }
        }
        Output::Detections(v1::Detections { detections }) => {
            for it in detections {
                let corners = format!("({:.0}, {:.0}) to ({:.0}, {:.0})", it.x_min, it.y_min, it.x_max, it.y_max);
                bar(&mut text, &format!("{} {corners}", it.label), it.score);
            }
            if detections.is_empty() {
                text += "  nothing was found; a lower --threshold finds more\n";
            }
            written(&mut text, "boxes", files);
        }
        Output::Depth(_) => written(&mut text, "depth", files),
        Output::Image(_) => written(&mut text, "picture", files),
        Output::Transcript(transcript) => describe_transcript(&mut text, transcript),
        Output::Audio(samples) => {
            let seconds = (samples.data.len() / 4) as f64 / f64::from(samples.rate.max(1));
            written(&mut text, &format!("{seconds:.1} s of sound"), files);
        }
        Output::Embedding(embedding) => describe_vector(&mut text, &embedding.values),
        Output::Tensors(v1::TensorMap { tensors }) => {
            for (name, tensor) in tensors {
                line(&mut text, &format!("{name}: {} {:?}", tensor.data_type().as_str_name(), tensor.shape));
            }
        }
    }
    text
}

/// What a query ranks.
fn documents(named: &Named) -> &[String] {
    match &named.item.input {
        Some(Input::Query(query)) => &query.documents,
        _ => &[],
    }
}

fn written(text: &mut String, what: &str, files: &[PathBuf]) {
    files.iter().for_each(|file| line(text, &format!("{what} → {}", file.display())));
}

/// What a text took to make.
pub fn usage(usage: &v1::Usage) -> String {
    let v1::Usage { prompt_tokens, generated_tokens, first_token_us } = usage;
    let first = *first_token_us as f64 / 1000.0;
    format!("{prompt_tokens} tokens in, {generated_tokens} out, the first after {first:.1} ms")
}

fn describe_generated(text: &mut String, generated: &v1::Generated) {
    line(text, &generated.text);
    let why = match generated.finish_reason() {
        v1::FinishReason::Stop | v1::FinishReason::Unspecified => "ended by the model",
        v1::FinishReason::StopText => "ended at a --stop",
        v1::FinishReason::Length => "ended at --max-new-tokens, or where the model has no more room",
    };
    if let Some(usage) = &generated.usage {
        line(text, &format!("({}; {why})", self::usage(usage)));
    }
}

fn describe_transcript(text: &mut String, transcript: &v1::Transcript) {
    if !transcript.language.is_empty() {
        line(text, &format!("language: {}", transcript.language));
    }
    if transcript.chunks.is_empty() {
        line(text, &transcript.text);
    }
    for chunk in &transcript.chunks {
        line(text, &timed(chunk));
    }
}

/// A stretch of speech with its times.
pub fn timed(chunk: &v1::Chunk) -> String {
    let end = chunk.end_s.map_or("  …    ".into(), clock);
    format!("[{} → {end}] {}", clock(chunk.begin_s), chunk.text)
}

fn clock(seconds: f32) -> String {
    let minutes = (seconds / 60.0).floor();
    format!("{minutes:02}:{:05.2}", seconds - minutes * 60.0)
}

fn describe_span(text: &mut String, span: &v1::Span) {
    let place = match (span.begin, span.end) {
        (Some(begin), Some(end)) => format!(" at {begin} to {end}"),
        _ => String::new(),
    };
    bar(text, &format!("{} {:?}{place}", span.label, span.text), span.score);
}

fn describe_vector(text: &mut String, values: &[f32]) {
    let first: Vec<_> = values.iter().take(6).map(|value| format!("{value:.4}")).collect();
    line(text, &format!("{} dimensions: {}, …", values.len(), first.join(", ")));
}

fn line(text: &mut String, words: &str) {
    let _ = writeln!(text, "  {words}");
}

fn bar(text: &mut String, label: &str, score: f32) {
    let full = (score.clamp(0.0, 1.0) * BAR as f32).round() as usize;
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR - full));
    let _ = writeln!(text, "  {bar} {score:.3}  {}", cut(label));
}

fn cut(label: &str) -> String {
    match label.char_indices().nth(LABEL) {
        Some((end, _)) => format!("{}…", &label[..end]),
        None => label.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, Named, Output, bar, clock, describe, timed};
    use crate::proto::v1::{self, Chunk};

    fn named(input: Option<Input>) -> Named {
        Named { name: "name".into(), item: v1::Item { input }, picture: None }
    }

    #[test]
    fn a_ranking_names_the_documents_of_its_query() {
        let query = v1::Query { text: "which?".into(), documents: vec!["one".into(), "two".into()] };
        let ranking = v1::Ranking { documents: vec![v1::RankedDocument { index: 1, score: 0.5 }] };
        let text = describe(&named(Some(Input::Query(query))), &Output::Ranking(ranking), &[]);
        assert!(text.contains("0.500  two") && !text.contains("one"), "{text}");
    }

    #[test]
    fn a_segment_is_told_of_though_its_mask_is_not_written() {
        let segment = v1::Segment { label: "cat".into(), ..Default::default() };
        let text = describe(&named(None), &Output::Segments(v1::Segments { segments: vec![segment] }), &[]);
        assert_eq!(text, "name\n  cat  0.0 % of the picture\n");
    }

    #[test]
    fn bars_are_as_long_as_their_score() {
        let mut text = String::new();
        bar(&mut text, "half", 0.5);
        bar(&mut text, "more than there is", 1.5);
        let full: Vec<_> = text.lines().map(|line| line.matches('█').count()).collect();
        assert_eq!(full, [12, 24]);
    }

    #[test]
    fn times_are_minutes_and_seconds() {
        assert_eq!(clock(61.5), "01:01.50");
        let chunk = Chunk { text: "word".into(), begin_s: 0.25, end_s: None };
        assert_eq!(timed(&chunk), "[00:00.25 →   …    ] word");
    }
}
