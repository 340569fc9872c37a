//! Cases of the tiny models: what PyTorch answered, in `reference.json` of each.

use std::fs;

use serde_json::{Value, json};
use webinfer::proto::v1::{self, item::Input, item_result::Output, part, question};

use super::{float_values, repository};

/// The cases of a model.
pub struct Cases {
    pub task: String,
    pub cases: Vec<Case>,
}

/// One item, and what should come of it.
pub struct Case {
    /// What it shows. One that is called by a pooling is of a registration with that.
    pub name: String,
    pub item: v1::Item,
    pub parameters: v1::Parameters,
    output: Value,
    tolerance: f64,
}

impl Cases {
    pub fn read(model: &str) -> Self {
        let text = fs::read_to_string(repository("tests/models").join(model).join("reference.json")).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        let case = |case: &Value| Case {
            name: text_of(&case["name"]),
            item: item(&case["item"]),
            parameters: parameters(&case["parameters"]),
            output: case["output"].clone(),
            tolerance: case["tolerance"].as_f64().unwrap(),
        };
        let cases: Vec<_> = all["cases"].as_array().unwrap().iter().map(case).collect();
        assert!(!cases.is_empty(), "{model} has no cases");
        Self { task: text_of(&all["task"]), cases }
    }
}

impl Case {
    /// Fails where the output is not the expected one.
    pub fn check(&self, result: &v1::ItemResult, of: &str) {
        let actual = value(result.output.as_ref().unwrap(), &self.output);
        if let Err(difference) = same(&self.output, &actual, self.tolerance) {
            panic!("{of}: {difference}\nexpected {}\ngot      {actual}", self.output);
        }
    }
}

/// A file of pictures and sounds.
pub fn media(name: &str) -> Vec<u8> {
    fs::read(repository("tests/media").join(name)).unwrap()
}

/// A picture as an item.
pub fn image(name: &str) -> v1::Item {
    v1::Item { input: Some(Input::Image(encoded_image(name))) }
}

/// A sound as an item.
pub fn audio(name: &str) -> v1::Item {
    let source = Some(v1::audio::Source::Encoded(media(name).into()));
    v1::Item { input: Some(Input::Audio(v1::Audio { source })) }
}

fn encoded_image(name: &str) -> v1::Image {
    v1::Image { source: Some(v1::image::Source::Encoded(media(name).into())) }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text_of).collect()
}

fn item(value: &Value) -> v1::Item {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let input = match kind.as_str() {
        "text" => Input::Text(text_of(value)),
        "image" => return image(value.as_str().unwrap()),
        "audio" => return audio(value.as_str().unwrap()),
        "question" => {
            let source = match value.get("document") {
                Some(name) => question::Source::Document(encoded_image(name.as_str().unwrap())),
                None => question::Source::Context(text_of(&value["context"])),
            };
            Input::Question(v1::Question { text: text_of(&value["text"]), source: Some(source) })
        }
        "query" => Input::Query(v1::Query { text: text_of(&value["text"]), documents: texts(&value["documents"]) }),
        "chat" => {
            let messages = value.as_array().unwrap().iter().map(|message| v1::ChatMessage {
                role: text_of(&message["role"]),
                parts: message["parts"].as_array().unwrap().iter().map(part).collect(),
            });
            Input::Chat(v1::Chat { messages: messages.collect() })
        }
        other => panic!("there is no item {other}"),
    };
    v1::Item { input: Some(input) }
}

fn part(value: &Value) -> v1::Part {
    let part = match value.get("image") {
        Some(name) => part::Part::Image(encoded_image(name.as_str().unwrap())),
        None => part::Part::Text(text_of(&value["text"])),
    };
    v1::Part { part: Some(part) }
}

fn parameters(value: &Value) -> v1::Parameters {
    let number = |value: &Value| value.as_u64().map(|number| number as u32);
    let float = |value: &Value| value.as_f64().map(|number| number as f32);
    let generation = value.get("generation").map(|it| v1::Generation {
        max_new_tokens: number(&it["max_new_tokens"]),
        do_sample: it["do_sample"].as_bool(),
        repetition_penalty: float(&it["repetition_penalty"]),
        no_repeat_ngram_size: number(&it["no_repeat_ngram_size"]),
        stop: texts(&it["stop"]),
        return_full_text: it["return_full_text"].as_bool().unwrap_or_default(),
        ..Default::default()
    });
    let transcription = value.get("transcription").map(|transcription| v1::Transcription {
        language: transcription["language"].as_str().unwrap_or_default().into(),
        timestamps: transcription["timestamps"]
            .as_str()
            .map_or(0, |name| v1::Timestamps::from_str_name(name).unwrap().into()),
        translate: transcription["translate"].as_bool().unwrap_or_default(),
    });
    v1::Parameters {
        top_k: number(&value["top_k"]),
        threshold: float(&value["threshold"]),
        candidate_labels: texts(&value["candidate_labels"]),
        hypothesis_template: value["hypothesis_template"].as_str().unwrap_or_default().into(),
        multi_label: value["multi_label"].as_bool().unwrap_or_default(),
        aggregation: value["aggregation"]
            .as_str()
            .map_or(0, |name| v1::Aggregation::from_str_name(name).unwrap().into()),
        generation,
        transcription,
        ..Default::default()
    }
}

/// An output as the references have it; of what is large, the places that the expected one names.
fn value(output: &Output, expected: &Value) -> Value {
    match output {
        Output::Embedding(v1::Embedding { values }) => json!({"embedding": values}),
        Output::Tensors(_) => panic!("tensors have no reference"),
        Output::Classes(v1::Classes { classes }) => {
            let class = |class: &v1::Class| json!({"label": class.label, "score": class.score});
            json!({"classes": classes.iter().map(class).collect::<Vec<_>>()})
        }
        Output::Spans(v1::Spans { spans }) => {
            let span = |span: &v1::Span| {
                let v1::Span { label, score, text, begin, end } = span;
                json!({"label": label, "score": score, "text": text, "begin": begin, "end": end})
            };
            json!({"spans": spans.iter().map(span).collect::<Vec<_>>()})
        }
        Output::Answers(v1::Answers { answers }) => {
            let answer = |answer: &v1::Answer| json!({"text": answer.text, "score": answer.score});
            json!({"answers": answers.iter().map(answer).collect::<Vec<_>>()})
        }
        Output::Fills(v1::Fills { fills }) => {
            let fill = |fill: &v1::Fill| {
                let v1::Fill { token, token_id, score, sequence } = fill;
                json!({"token": token, "token_id": token_id, "score": score, "sequence": sequence})
            };
            json!({"fills": fills.iter().map(fill).collect::<Vec<_>>()})
        }
        Output::Generated(generated) => {
            let v1::Usage { prompt_tokens, generated_tokens, first_token_us } = generated.usage.unwrap();
            assert!(first_token_us > 0 && generated.finish_reason != 0, "{generated:?}");
            let usage = json!({"prompt_tokens": prompt_tokens, "generated_tokens": generated_tokens});
            let mut value = json!({"text": generated.text});
            value.as_object_mut().unwrap().extend(usage.as_object().unwrap().clone());
            json!({"generated": value})
        }
        Output::Ranking(v1::Ranking { documents }) => {
            let document = |it: &v1::RankedDocument| json!({"index": it.index, "score": it.score});
            json!({"ranking": documents.iter().map(document).collect::<Vec<_>>()})
        }
        Output::Segments(v1::Segments { segments }) => {
            let segment = |segment: &v1::Segment| {
                let area = segment.mask.as_ref().unwrap().data.iter().filter(|value| **value > 127).count();
                json!({"label": segment.label, "score": segment.score, "area": area})
            };
            json!({"segments": segments.iter().map(segment).collect::<Vec<_>>()})
        }
        Output::Detections(v1::Detections { detections }) => {
            let detection = |it: &v1::Detection| json!({"label": it.label, "score": it.score, "box": [it.x_min, it.y_min, it.x_max, it.y_max]});
            json!({"detections": detections.iter().map(detection).collect::<Vec<_>>()})
        }
        Output::Depth(depth) => {
            let (values, width) = (float_values(depth), depth.shape[1] as usize);
            let sample = |place: &[usize]| values[place[0] * width + place[1]].into();
            json!({"depth": {"shape": depth.shape, "samples": samples(&expected["depth"], sample)}})
        }
        Output::Image(pixels) => {
            let (width, channels) = (pixels.width as usize, pixels.channels as usize);
            let sample = |at: &[usize]| f64::from(pixels.data[(at[0] * width + at[1]) * channels + at[2]]);
            let samples = samples(&expected["image"], sample);
            let v1::Pixels { width, height, channels, .. } = pixels;
            json!({"image": {"width": width, "height": height, "channels": channels, "samples": samples}})
        }
        Output::Transcript(transcript) => {
            let chunk = |it: &v1::Chunk| json!({"text": it.text, "begin": it.begin_s, "end": it.end_s});
            let chunks: Vec<_> = transcript.chunks.iter().map(chunk).collect();
            json!({"transcript": {"text": transcript.text, "chunks": chunks, "language": transcript.language}})
        }
        Output::Audio(samples_) => {
            let values: Vec<f32> =
                samples_.data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
            let sample = |place: &[usize]| values[place[0]].into();
            let samples = samples(&expected["audio"], sample);
            json!({"audio": {"rate": samples_.rate, "length": values.len(), "samples": samples}})
        }
    }
}

/// The values at the places that are expected to be looked at: each sample is a place, and the value at its end.
fn samples(expected: &Value, at: impl Fn(&[usize]) -> f64) -> Value {
    let sample = |sample: &Value| {
        let mut sample = sample.as_array().unwrap().clone();
        sample.pop();
        let place: Vec<_> = sample.iter().map(|index| index.as_u64().unwrap() as usize).collect();
        sample.push(at(&place).into());
        Value::Array(sample)
    };
    expected["samples"].as_array().into_iter().flatten().map(sample).collect()
}

/// Whether what is expected is there; of objects, what else is there does not matter.
fn same(expected: &Value, actual: &Value, tolerance: f64) -> Result<(), String> {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => expected.iter().try_for_each(|(name, value)| {
            same(value, actual.get(name).unwrap_or(&Value::Null), tolerance).map_err(|error| format!("{name}.{error}"))
        }),
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            pairs.into_iter().try_for_each(|(index, (left, right))| {
                same(left, right, tolerance).map_err(|error| format!("[{index}].{error}"))
            })
        }
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            let near = (left - right).abs() <= tolerance * left.abs().max(1.0);
            if near { Ok(()) } else { Err(format!(" {right} is not {left}")) }
        }
        _ if expected == actual => Ok(()),
        _ => Err(format!(" {actual} is not {expected}")),
    }
}
