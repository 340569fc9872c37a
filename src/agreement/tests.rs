//! What agreement has to be: the same is 1, honest rounding passes, and what broken backends make does not.

use proptest::{collection::vec, prelude::*};

use super::{Agreement, Precision, compare, worst};
use crate::proto::v1::{
    Answer, Answers, Chunk, Class, Classes, DataType, Detection, Detections, Embedding, Fill, Fills, Generated, Pixels,
    RankedDocument, Ranking, Samples, Segment, Segments, Span, Spans, Tensor, TensorMap, Transcript,
    item_result::Output,
};

/// Those in which what is broken has to be found.
const FINE: [Precision; 3] = [Precision::Bits32, Precision::Bits16, Precision::Bits8];

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(shape: Vec<i64>, values: &[f32]) -> Tensor {
    Tensor { data_type: DataType::Float32.into(), shape, data: bytes(values).into() }
}

/// The kinds of output that are made of numbers.
fn made_of(values: &[f32]) -> [Output; 3] {
    let count = values.len() as i64;
    let tensors = [("x".to_owned(), floats(vec![count], values))].into();
    [
        Output::Embedding(Embedding { values: values.to_vec() }),
        Output::Tensors(TensorMap { tensors }),
        Output::Depth(floats(vec![1, count], values)),
    ]
}

/// The kinds of output that are lists with scores: the softmax of the values.
fn scored(values: &[f32]) -> [Output; 4] {
    let powers: Vec<_> = values.iter().map(|value| value.exp()).collect();
    listed(&powers.iter().map(|power| power / powers.iter().sum::<f32>()).collect::<Vec<_>>())
}

fn listed(scores: &[f32]) -> [Output; 4] {
    let name = |at: usize| format!("label {at}");
    let all = || scores.iter().copied().enumerate();
    [
        Output::Classes(Classes { classes: all().map(|(at, score)| Class { label: name(at), score }).collect() }),
        Output::Answers(Answers {
            answers: all().map(|(at, score)| Answer { text: name(at), score: Some(score) }).collect(),
        }),
        Output::Fills(Fills {
            fills: all().map(|(at, score)| Fill { token_id: at as u32, score, ..Fill::default() }).collect(),
        }),
        Output::Ranking(Ranking {
            documents: all().map(|(at, score)| RankedDocument { index: at as u32, score }).collect(),
        }),
    ]
}

fn picture(data: &[u8]) -> Output {
    Output::Image(Pixels { width: data.len() as u32 / 3, height: 1, channels: 3, data: data.to_vec().into() })
}

fn mask(label: &str, data: &[u8]) -> Segment {
    let mask = Pixels { width: data.len() as u32, height: 1, channels: 1, data: data.to_vec().into() };
    Segment { label: label.into(), score: Some(0.9), mask: Some(mask) }
}

fn generated(text: &str) -> Output {
    Output::Generated(Generated { text: text.into(), ..Generated::default() })
}

fn transcript(text: &str) -> Output {
    Output::Transcript(Transcript { text: text.into(), ..Transcript::default() })
}

/// What a backend that is broken makes of numbers.
fn broken(values: &[f32]) -> Vec<(&'static str, Vec<f32>)> {
    let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let mapped = |with: &dyn Fn(usize, f32) -> f32| values.iter().enumerate().map(|(at, it)| with(at, *it)).collect();
    let half = values.len() / 2;
    let moved = |by: usize| values.iter().cycle().skip(by).take(values.len()).copied().collect::<Vec<_>>();
    vec![
        ("twice", mapped(&|_, value| 2.0 * value)),
        ("half as large", mapped(&|_, value| value / 2.0)),
        ("one replaced", mapped(&|at, value| if at == half { 10.0 * largest } else { value })),
        ("shifted", moved(1)),
        ("flipped", mapped(&|_, value| -value)),
        ("half zero", mapped(&|at, value| if at < half { 0.0 } else { value })),
        ("permuted", moved(half + 1)),
        ("not a number", mapped(&|at, value| if at == half { f32::NAN } else { value })),
        ("infinite", mapped(&|at, value| if at == half { f32::INFINITY } else { value })),
        ("all zero", vec![0.0; values.len()]),
        ("shorter", values[1..].to_vec()),
    ]
}

fn fails(reference: &Output, answer: &Output, how: &str) -> Result<(), TestCaseError> {
    for precision in FINE {
        let agreement = compare(reference, answer, precision);
        prop_assert!(!agreement.holds(), "{how} passes in {precision:?}: {agreement:?} of {reference:?}, {answer:?}");
    }
    Ok(())
}

fn same(output: &Output) -> Result<(), TestCaseError> {
    for precision in Precision::ALL {
        let agreement = compare(output, output, precision);
        prop_assert!(agreement.value > 1.0 - 1e-9 && agreement.holds(), "{agreement:?} of {output:?}");
    }
    Ok(())
}

/// Numbers as models give them: around 0, each its own.
fn values(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<f32>> {
    vec((0.2f32..1.0, any::<bool>()), count)
        .prop_map(|all| all.into_iter().map(|(value, negative)| if negative { -value } else { value }).collect())
}

fn detection(at: f32, size: f32, label: &str) -> Detection {
    let label = label.to_owned();
    Detection { label, score: 0.8, x_min: at, y_min: at, x_max: at + size, y_max: at + size }
}

proptest! {
    #[test]
    fn an_answer_agrees_with_itself(
        values in values(1..200),
        data in vec(any::<u8>(), 3..300),
        text in ".{0,100}",
        begin in any::<f32>(),
    ) {
        let data = &data[..data.len() / 3 * 3];
        let spans = values.iter().map(|value| Span { score: value.abs(), text: text.clone(), ..Span::default() });
        let boxes = [detection(begin.clamp(-1e9, 1e9), 5.0, "a"), detection(3.0, 4.0, &text)];
        let integers = Tensor { data_type: DataType::Int64.into(), shape: vec![], data: vec![7; 8].into() };
        let others = [
            picture(data),
            Output::Tensors(TensorMap { tensors: [("n".into(), integers)].into() }),
            Output::Segments(Segments { segments: vec![mask("a", data), mask("", data), mask("b", &[0, 0])] }),
            Output::Detections(Detections { detections: boxes.into() }),
            Output::Spans(Spans { spans: spans.collect() }),
            Output::Audio(Samples { rate: 16_000, data: bytes(&values).into() }),
            generated(&text),
            transcript(&text),
        ];
        for output in made_of(&values).into_iter().chain(scored(&values)).chain(others) {
            same(&output)?;
        }
    }

    #[test]
    fn anything_is_compared_with_anything(left in hostile(), right in hostile(), precision in 0usize..5) {
        let precision = Precision::ALL[precision];
        let (there, back) = (compare(&left, &right, precision), compare(&right, &left, precision));
        prop_assert!((0.0..=1.0).contains(&there.value), "{there:?}");
        prop_assert!((0.0..1.0).contains(&there.least));
        prop_assert!((there.value - back.value).abs() < 1e-6, "{there:?} and {back:?}");
    }

    #[test]
    fn broken_numbers_are_found(values in values(16..400), other in values(400)) {
        // A vector whose halves agree is no test of what moves them.
        for (how, wrong) in broken(&values).into_iter().chain([("stale", other[..values.len()].to_vec())]) {
            let moves = ["shifted", "permuted", "stale"].contains(&how);
            let dot: f32 = values.iter().zip(&wrong).map(|(left, right)| left * right).sum();
            prop_assume!(!moves || dot < 0.7 * values.iter().map(|value| value * value).sum::<f32>());
            for (reference, answer) in made_of(&values).iter().zip(made_of(&wrong)) {
                fails(reference, &answer, how)?;
            }
        }
    }

    #[test]
    fn broken_scores_are_found(logits in vec(-1f32..1.0, 8..40)) {
        // One that is sure of what it says, and gives the rest something.
        let mut logits = logits;
        logits[3] = 4.0 + (logits.len() as f32).ln();
        let Output::Classes(Classes { classes }) = &scored(&logits)[0] else { unreachable!() };
        let scores: Vec<_> = classes.iter().map(|class| class.score).collect();
        for (how, wrong) in broken(&scores) {
            for (reference, answer) in listed(&scores).iter().zip(listed(&wrong)) {
                fails(reference, &answer, how)?;
            }
        }
    }

    #[test]
    fn broken_pictures_are_found(data in vec(any::<u8>(), 120), other in vec(any::<u8>(), 120)) {
        let mapped = |with: &dyn Fn(u8) -> u8| data.iter().map(|value| with(*value)).collect::<Vec<_>>();
        let moved: Vec<_> = data.iter().cycle().skip(1).take(data.len()).copied().collect();
        let reversed: Vec<_> = data.iter().rev().copied().collect();
        let all = [mapped(&|value| value / 2), mapped(&|value| !value), mapped(&|_| 0), moved, reversed, other];
        for wrong in all {
            fails(&picture(&data), &picture(&wrong), "a picture")?;
        }
        let covered = mapped(&|value| if value > 99 { 255 } else { 0 });
        prop_assume!(covered.iter().filter(|value| **value > 0).count() > 20);
        let hidden: Vec<_> = covered.iter().map(|value| !value).collect();
        let segments = |label: &str, data: &[u8]| Output::Segments(Segments { segments: vec![mask(label, data)] });
        for wrong in [segments("a", &hidden), segments("b", &covered), segments("a", &[0; 120]), segments("a", &[1, 2])] {
            fails(&segments("a", &covered), &wrong, "a mask")?;
        }
    }

    #[test]
    fn broken_boxes_are_found(at in 0f32..100.0, size in 1f32..100.0) {
        let one = |it: Detection| Output::Detections(Detections { detections: vec![it] });
        let right = one(detection(at, size, "a"));
        for (how, wrong) in [
            ("twice", detection(2.0 * at, 2.0 * size, "a")),
            ("shifted", detection(at + size, size, "a")),
            ("flipped", detection(-at, -size, "a")),
            ("not a number", detection(f32::NAN, size, "a")),
            ("all zero", detection(0.0, 0.0, "a")),
            ("another label", detection(at, size, "b")),
            ("half as likely", Detection { score: 0.4, ..detection(at, size, "a") }),
        ] {
            fails(&right, &one(wrong), how)?;
        }
        fails(&right, &Output::Detections(Detections::default()), "none")?;
    }

    #[test]
    fn other_texts_and_spans_are_found(words in vec("[a-m]{3,8}", 4..30), others in vec("[n-z]{3,8}", 4..30)) {
        let (text, other) = (words.join(" "), others.join(" "));
        for (how, wrong) in [("other", other.as_str()), ("none", ""), ("noise", "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!")] {
            fails(&generated(&text), &generated(wrong), how)?;
            fails(&transcript(&text), &transcript(wrong), how)?;
            let made = |text: &str| {
                Output::Answers(Answers { answers: vec![Answer { text: text.into(), score: None }] })
            };
            fails(&made(&text), &made(wrong), how)?;
        }
        let spans = |words: &[String], by: u32| {
            let span = |(at, word): (usize, &String)| {
                let begin = Some(at as u32 + by);
                Span { label: "X".into(), score: 0.9, text: word.clone(), begin, end: begin }
            };
            Output::Spans(Spans { spans: words.iter().enumerate().map(span).collect() })
        };
        fails(&spans(&words, 0), &spans(&others, 0), "other spans")?;
        fails(&spans(&words, 0), &spans(&words, 1), "shifted spans")?;
        fails(&spans(&words, 0), &spans(&[], 0), "no spans")?;
    }

    /// Rounding as large as was measured passes.
    #[test]
    fn honest_rounding_passes(values in values(64..400), noise in vec(-1f32..1.0, 400)) {
        for (precision, size) in [
            (Precision::Bits32, 0.000_1),
            (Precision::Bits16, 0.005),
            (Precision::Bits8, 0.2),
            (Precision::Bits4, 0.45),
        ] {
            let rough: Vec<_> = values.iter().zip(&noise).map(|(value, noise)| value + size * noise).collect();
            for (reference, answer) in made_of(&values).iter().zip(made_of(&rough)) {
                let agreement = compare(reference, &answer, precision);
                prop_assert!(agreement.holds(), "{precision:?}: {agreement:?}");
            }
            for (reference, answer) in scored(&values).iter().zip(scored(&rough)) {
                let agreement = compare(reference, &answer, precision);
                prop_assert!(agreement.holds(), "{precision:?}: {agreement:?}");
            }
        }
    }
}

/// Whatever a message can hold.
fn hostile() -> impl Strategy<Value = Output> {
    let number = || prop_oneof![any::<f32>(), Just(f32::NAN), Just(f32::INFINITY), Just(0.0), -1f32..2.0];
    let data = || vec(any::<u8>(), 0..40);
    let pixels = (0u32..6, 0..6u32, prop_oneof![0..6u32, any::<u32>()], data())
        .prop_map(|(width, height, channels, data)| Pixels { width, height, channels, data: data.into() });
    let tensor = (-1..9i32, vec(prop_oneof![0..4i64, any::<i64>()], 0..3), data())
        .prop_map(|(data_type, shape, data)| Tensor { data_type, shape, data: data.into() });
    let detection = (vec(number(), 5), "[ab]?").prop_map(|(it, label)| Detection {
        label,
        score: it[0],
        x_min: it[1],
        y_min: it[2],
        x_max: it[3],
        y_max: it[4],
    });
    let segment =
        ("[ab]?", proptest::option::of(pixels.clone())).prop_map(|(label, mask)| Segment { label, score: None, mask });
    let chunk = Chunk { text: "a".into(), begin_s: f32::NAN, end_s: None };
    prop_oneof![
        vec(number(), 0..9).prop_map(|values| Output::Embedding(Embedding { values })),
        proptest::collection::btree_map("[ab]", tensor.clone(), 0..3)
            .prop_map(|tensors| Output::Tensors(TensorMap { tensors })),
        tensor.prop_map(Output::Depth),
        pixels.prop_map(Output::Image),
        (any::<u32>(), data()).prop_map(|(rate, data)| Output::Audio(Samples { rate, data: data.into() })),
        (vec(number(), 0..9), 0usize..4).prop_map(|(scores, kind)| listed(&scores)[kind].clone()),
        vec(segment, 0..4).prop_map(|segments| Output::Segments(Segments { segments })),
        vec(detection, 0..4).prop_map(|detections| Output::Detections(Detections { detections })),
        ".{0,20}".prop_map(|text| generated(&text)),
        ".{0,20}".prop_map(move |text| {
            Output::Transcript(Transcript { text, chunks: vec![chunk.clone()], ..Transcript::default() })
        }),
        (number(), any::<u32>(), ".{0,4}").prop_map(|(score, at, text)| {
            let label = text.clone();
            Output::Spans(Spans { spans: vec![Span { label, score, text, begin: Some(at), end: None }] })
        }),
    ]
}

#[test]
fn large_outputs_are_compared_soon() {
    let large = vec![1u8; 1 << 22];
    let segments = Output::Segments(Segments { segments: vec![mask("a", &large[..1 << 17]); 200] });
    let boxes = Output::Detections(Detections { detections: vec![detection(1.0, 2.0, "a"); 5000] });
    let sound = Output::Audio(Samples { rate: u32::MAX, data: bytes(&vec![0.5; 1 << 20]).into() });
    for output in [segments, boxes, sound, generated(&"word ".repeat(1 << 18)), picture(&large[..3 << 20])] {
        assert!(compare(&output, &output, Precision::Bits32).holds());
    }
}

#[test]
fn kinds_are_never_alike_and_the_worst_is_found() {
    let text = generated("a");
    let other = transcript("a");
    assert!(Precision::ALL.iter().all(|&precision| !compare(&text, &other, precision).holds()));
    let of = |value| Agreement { measure: "m", value, least: 0.9 };
    assert_eq!(worst([of(1.0), of(0.95), of(0.97)]), Some(of(0.95)));
    assert!(worst([of(0.5), of(f64::NAN), of(1.0)]).is_some_and(|it| it.value.is_nan() && !it.holds()));
    assert_eq!(worst([]), None);
    let bits = [32, 16, 8, 4, 2].map(Precision::of_bits);
    assert_eq!(bits, Precision::ALL);
}
