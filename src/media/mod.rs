//! Media: pictures and sound that came in. Pictures are looked at, and decoded in the browser, where a sandbox is around
//! their decoder; sound is decoded here, because browsers differ in what they can, and workers have no decoder.

mod audio;
mod image;
mod resample;
mod wav;

use std::time::Duration;

pub use audio::{AudioError, decode_audio, samples};
pub use image::{ImageError, check_image, check_pixels};
pub use resample::resample;
pub use wav::wav;

/// How large pictures and sound may be.
#[derive(Clone, Copy, Debug)]
pub struct Media {
    /// Pixels of one picture.
    pub pixels: u64,
    /// Length of a sound.
    pub sound: Duration,
}

/// The length of so many samples.
pub fn duration(samples: usize, rate: u32) -> Duration {
    Duration::from_secs_f64(samples as f64 / f64::from(rate.max(1)))
}
