//! Resample: sound of one rate as sound of another, piece by piece.

use rubato::{Fft, FixedSync, Resampler as _, audioadapter_buffers::direct::InterleavedSlice};

use super::{AudioError, Media, audio::check_rate, duration};

/// Samples of a piece.
const PIECE: usize = 1024;

/// Takes samples and gives them at another rate: as long, and in step.
pub struct Resampler {
    /// `None` where the rates are the same.
    fft: Option<Fft<f32>>,
    rates: (u32, u32),
    /// What is not a whole piece yet.
    waiting: Vec<f32>,
    taken: usize,
    made: Vec<f32>,
    /// What the filter puts in front.
    delay: usize,
}

impl Resampler {
    /// One from a rate to another.
    pub fn new(from: u32, to: u32) -> Result<Self, AudioError> {
        check_rate(from)?;
        check_rate(to)?;
        let new = || Fft::new(from as usize, to as usize, PIECE, 1, FixedSync::Input);
        let fft = if from == to { None } else { Some(new().map_err(|error| broken(&error))?) };
        let delay = fft.as_ref().map_or(0, |fft| fft.output_delay());
        Ok(Self { fft, rates: (from, to), waiting: Vec::new(), taken: 0, made: Vec::new(), delay })
    }

    /// Takes samples.
    pub fn push(&mut self, samples: &[f32]) -> Result<(), AudioError> {
        self.taken += samples.len();
        let Some(fft) = &mut self.fft else {
            self.made.extend_from_slice(samples);
            return Ok(());
        };
        self.waiting.extend_from_slice(samples);
        let mut done = 0;
        while self.waiting.len() - done >= fft.input_frames_next() {
            let frames = fft.input_frames_next();
            process(fft, &self.waiting[done..done + frames], &mut self.made)?;
            done += frames;
        }
        self.waiting.drain(..done);
        Ok(())
    }

    /// How long what came in is, in samples that come out.
    fn expected(&self) -> usize {
        let (from, to) = (u128::from(self.rates.0), u128::from(self.rates.1));
        let samples = (2 * self.taken as u128 * to + from) / (2 * from);
        usize::try_from(samples).unwrap_or(usize::MAX)
    }

    /// All that came in.
    pub fn finish(mut self) -> Result<Vec<f32>, AudioError> {
        let expected = self.expected();
        if let Some(fft) = &mut self.fft {
            // Silence pushes the last samples out of the filter.
            while self.made.len() < expected + self.delay {
                process(fft, &self.waiting, &mut self.made)?;
                self.waiting.clear();
            }
            self.made.drain(..self.delay);
        }
        self.made.truncate(expected);
        Ok(self.made)
    }
}

/// Runs one piece; one that is not whole is filled up with silence.
fn process(fft: &mut Fft<f32>, piece: &[f32], made: &mut Vec<f32>) -> Result<(), AudioError> {
    let frames = fft.input_frames_next();
    let mut whole = piece.to_vec();
    whole.resize(frames, 0.0);
    let input = InterleavedSlice::new(&whole, 1, frames).map_err(|error| broken(&error))?;
    let output = fft.process(&input, None).map_err(|error| broken(&error))?;
    made.extend_from_slice(&output.take_data());
    Ok(())
}

fn broken(error: &dyn std::fmt::Display) -> AudioError {
    AudioError::Broken(error.to_string())
}

/// Samples at another rate.
pub fn resample(samples: Vec<f32>, from: u32, to: u32, most: Media) -> Result<Vec<f32>, AudioError> {
    check_rate(from)?;
    if samples.is_empty() {
        return Err(AudioError::Empty);
    }
    if duration(samples.len(), from) > most.sound {
        return Err(AudioError::TooLong(most.sound));
    }
    if from == to {
        return Ok(samples);
    }
    let mut resampler = Resampler::new(from, to)?;
    resampler.push(&samples)?;
    resampler.finish()
}
