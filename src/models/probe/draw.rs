//! Draw: pictures and sounds that code makes. Pure.

use std::f32::consts::TAU;

use crate::proto::v1::{Audio, Image, Pixels, Samples, audio, image};

/// Size of a picture.
const WIDTH: u32 = 96;
const HEIGHT: u32 = 64;
/// Seconds of a sound; less where there are more samples than that.
const SECONDS: f32 = 1.0;
const MOST_SAMPLES: u32 = 192_000;

/// A picture: a disc and a square over a slope of colours, which each picture has elsewhere and otherwise.
pub fn picture(number: u32) -> Image {
    let (wide, high) = (WIDTH as f32, HEIGHT as f32);
    let middle = (0.3 + 0.4 * number as f32) * wide;
    let colour = |at: u32| {
        let (x, y) = ((at % WIDTH) as f32, (at / WIDTH) as f32);
        let is_disc = (x - middle).hypot(y - 0.4 * high) < 0.25 * high;
        let is_square = (x - (wide - middle)).abs() < 0.12 * wide && (y - 0.65 * high).abs() < 0.2 * high;
        match (is_disc, is_square) {
            (true, _) => [220, 40, 30],
            (_, true) => [30, 90, 40 + 150 * number.min(1)].map(|part| part as u8),
            _ => [255.0 * x / wide, 255.0 * y / high, 128.0 + 100.0 * (x * y / 300.0).sin()].map(|part| part as u8),
        }
    };
    let data: Vec<u8> = (0..WIDTH * HEIGHT).flat_map(colour).collect();
    let pixels = Pixels { width: WIDTH, height: HEIGHT, channels: 3, data: data.into() };
    Image { source: Some(image::Source::Pixels(pixels)) }
}

/// A sound: a tone that rises, with one above it that comes and goes, which each sound has at its own pitch.
pub fn sound(number: u32, rate: u32) -> Audio {
    let count = ((rate as f32 * SECONDS) as u32).min(MOST_SAMPLES);
    let pitch = 180.0 * (number + 1) as f32;
    let sample = |at: u32| {
        let second = at as f32 / rate.max(1) as f32;
        let rising = (TAU * pitch * (second + second * second)).sin();
        let pulse = (TAU * 4.0 * second).sin().max(0.0) * (TAU * 3.3 * pitch * second).sin();
        (0.4 * rising + 0.3 * pulse) * (1.0 - second / SECONDS)
    };
    let data: Vec<u8> = (0..count).map(sample).flat_map(f32::to_le_bytes).collect();
    Audio { source: Some(audio::Source::Samples(Samples { rate, data: data.into() })) }
}
