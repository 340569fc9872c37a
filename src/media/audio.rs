//! Audio: encoded sound becomes samples of one channel, at the rate that a model takes. What is broken or cut off is refused:
//! an answer about the half of a sound would look like one about all of it.

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use bytes::Bytes;
use symphonia::core::{
    codecs::audio::AudioDecoderOptions,
    errors::Error,
    formats::{FormatOptions, FormatReader, TrackType, probe::Hint, well_known::FORMAT_ID_MP3},
    io::{MediaSource, MediaSourceStream, ReadOnlySource},
    meta::MetadataOptions,
};

use super::{Media, duration, resample::Resampler};

/// Rates that are taken, in samples a second.
const RATES: std::ops::RangeInclusive<u32> = 1000..=384_000;
/// Most channels.
const MOST_CHANNELS: usize = 32;

/// Why a sound is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// It is something else.
    #[error("is no sound of a kind that is taken, which are WAV, FLAC, MP3 and Ogg Vorbis ({0})")]
    Kind(String),
    /// Its rate is none.
    #[error("has a rate of {0} samples a second; {least} to {most} are taken", least = RATES.start(), most = RATES.end())]
    Rate(u32),
    /// It has so many channels.
    #[error("has {0} channels; 1 to {MOST_CHANNELS} are taken")]
    Channels(usize),
    /// Nothing is in it.
    #[error("is empty: it has no samples")]
    Empty,
    /// It is too long.
    #[error("is longer than its request may have of sound, or has left of that: {}, see --max-audio", humantime::format_duration(*.0))]
    TooLong(Duration),
    /// Its end is missing.
    #[error("is cut off: its head tells of more than there is")]
    Truncated,
    /// It cannot be decoded.
    #[error("is broken: {0}")]
    Broken(String),
    /// A sample is no number.
    #[error("has a sample that is not a finite number, at {at}")]
    NotFinite {
        /// Its index.
        at: usize,
    },
    /// Bytes are no samples.
    #[error("has {0} bytes, which are not 32-bit floats")]
    Length(usize),
}

/// Decodes a sound to the rate.
pub fn decode_audio(encoded: Bytes, rate: u32, most: Media) -> Result<Vec<f32>, AudioError> {
    if encoded.is_empty() {
        return Err(AudioError::Empty);
    }
    // What the decoder has not thought of is the sound's fault, not the service's.
    catch_unwind(AssertUnwindSafe(|| decode(encoded, rate, most)))
        .unwrap_or_else(|_| Err(AudioError::Broken("its decoder gave up".into())))
}

/// Samples that come as bytes: 32-bit floats, little-endian.
pub fn samples(data: &[u8]) -> Result<Vec<f32>, AudioError> {
    if !data.len().is_multiple_of(size_of::<f32>()) {
        return Err(AudioError::Length(data.len()));
    }
    let floats = data.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let samples: Vec<f32> = floats.collect();
    finite(&samples, 0)?;
    Ok(samples)
}

pub(super) fn check_rate(rate: u32) -> Result<(), AudioError> {
    if RATES.contains(&rate) { Ok(()) } else { Err(AudioError::Rate(rate)) }
}

fn decode(encoded: Bytes, rate: u32, most: Media) -> Result<Vec<f32>, AudioError> {
    let (is_cut_off, is_endless) = (ogg_is_cut_off(&encoded), wav_is_endless(&encoded));
    let mut format = open(Box::new(Cursor::new(encoded.clone())))?;
    // Of an MP3 whose head states no length, one is guessed from its first frames where the source can seek, and what is
    // behind it is dropped.
    if format.format_info().format == FORMAT_ID_MP3 {
        format = open(Box::new(ReadOnlySource::new(Cursor::new(encoded))))?;
    }
    let track =
        format.default_track(TrackType::Audio).ok_or_else(|| AudioError::Kind("it has no sound in it".into()))?;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let parameters = parameters.ok_or_else(|| AudioError::Kind("its codec is not known".into()))?;
    let (id, stated) = (track.id, track.num_frames);
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(kind)?;
    let mut sound = Sound::new(rate, most);
    while let Some(packet) = next_packet(&mut *format, sound.frames)? {
        if packet.track_id != id {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(|error| broken(&error, &sound))?;
        let (from, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
        sound.interleaved.resize(decoded.samples_interleaved(), 0.0);
        decoded.copy_to_slice_interleaved(&mut sound.interleaved);
        sound.take(from, channels)?;
    }
    if is_cut_off || (!is_endless && stated.is_some_and(|stated| (sound.frames as u64) < stated)) {
        return Err(AudioError::Truncated);
    }
    sound.finish()
}

fn open(source: Box<dyn MediaSource>) -> Result<Box<dyn FormatReader>, AudioError> {
    let source = MediaSourceStream::new(source, Default::default());
    let options = (FormatOptions::default(), MetadataOptions::default());
    symphonia::default::get_probe().probe(&Hint::new(), source, options.0, options.1).map_err(kind)
}

fn kind(error: Error) -> AudioError {
    AudioError::Kind(error.to_string())
}

fn next_packet(
    format: &mut dyn FormatReader,
    frames: usize,
) -> Result<Option<symphonia::core::packet::Packet>, AudioError> {
    match format.next_packet() {
        Ok(packet) => Ok(packet),
        Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof && frames > 0 => Ok(None),
        Err(error) => Err(AudioError::Broken(error.to_string())),
    }
}

fn broken(error: &Error, sound: &Sound) -> AudioError {
    let seconds = duration(sound.frames, sound.from).as_secs_f64();
    AudioError::Broken(format!("{error}, at {seconds:.2} s"))
}

/// What was decoded so far.
struct Sound {
    rate: u32,
    most: Media,
    /// Rate of what is decoded.
    from: u32,
    /// Samples of each channel that were decoded.
    frames: usize,
    resampler: Option<Resampler>,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
}

impl Sound {
    fn new(rate: u32, most: Media) -> Self {
        Self { rate, most, from: 0, frames: 0, resampler: None, interleaved: Vec::new(), mono: Vec::new() }
    }

    /// Takes what lies in `interleaved`.
    fn take(&mut self, from: u32, channels: usize) -> Result<(), AudioError> {
        check_rate(from)?;
        if !(1..=MOST_CHANNELS).contains(&channels) {
            return Err(AudioError::Channels(channels));
        }
        if self.from != from && self.from != 0 {
            return Err(AudioError::Broken("its rate changes".into()));
        }
        self.from = from;
        self.mono.clear();
        let frames = self.interleaved.chunks_exact(channels);
        self.mono.extend(frames.map(|frame| frame.iter().sum::<f32>() / channels as f32));
        finite(&self.mono, self.frames)?;
        self.frames += self.mono.len();
        if duration(self.frames, from) > self.most.sound {
            return Err(AudioError::TooLong(self.most.sound));
        }
        let resampler = match &mut self.resampler {
            Some(resampler) => resampler,
            none => none.insert(Resampler::new(from, self.rate)?),
        };
        resampler.push(&self.mono)
    }

    fn finish(self) -> Result<Vec<f32>, AudioError> {
        let samples = self.resampler.map(Resampler::finish).transpose()?.unwrap_or_default();
        if samples.is_empty() { Err(AudioError::Empty) } else { Ok(samples) }
    }
}

fn finite(samples: &[f32], before: usize) -> Result<(), AudioError> {
    match samples.iter().position(|sample| !sample.is_finite()) {
        Some(at) => Err(AudioError::NotFinite { at: before + at }),
        None => Ok(()),
    }
}

/// Whether an Ogg file's last page is not the last one of its stream (RFC 3533, section 6), which its decoder does not mind.
fn ogg_is_cut_off(file: &[u8]) -> bool {
    const HEAD: usize = 27;
    const LAST: u8 = 4;
    let (mut rest, mut ended) = (file, true);
    while let Some(head) = rest.get(..HEAD).filter(|head| head.starts_with(b"OggS")) {
        let segments = usize::from(head[26]);
        let body =
            rest.get(HEAD..HEAD + segments).map(|lengths| lengths.iter().map(|&length| usize::from(length)).sum());
        let Some(after) = body.and_then(|body: usize| rest.get(HEAD + segments + body..)) else { return true };
        ended = head[5] & LAST != 0;
        rest = after;
    }
    !ended || (!rest.is_empty() && file.starts_with(b"OggS") && rest.starts_with(b"Ogg"))
}

/// Whether a WAV file's head could not know its length: what writes into a pipe states about 2 GiB (sox, arecord) or 4 GiB.
fn wav_is_endless(file: &[u8]) -> bool {
    const LEAST: u32 = 0x7fff_f000;
    let mut rest = file.get(12..).filter(|_| file.starts_with(b"RIFF")).unwrap_or_default();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if head.starts_with(b"data") {
            return length >= LEAST;
        }
        // A chunk takes an even number of bytes.
        let length = length as usize;
        rest = after.get(length.saturating_add(length % 2)..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{f32::consts::TAU, fs, time::Duration};

    use proptest::prelude::*;

    use super::{super::wav, AudioError, Media, decode_audio, samples};
    use crate::media::resample;

    const MOST: Media = Media { pixels: 0, sound: Duration::from_secs(60) };

    fn read(name: &str) -> Vec<u8> {
        fs::read(format!("{}/tests/media/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn decode(name: &str, rate: u32) -> Result<Vec<f32>, AudioError> {
        decode_audio(read(name).into(), rate, MOST)
    }

    /// How much of a tone is in a sound: the amplitude of its part of the Fourier transform.
    fn tone(samples: &[f32], rate: u32, hertz: f32) -> f32 {
        let (mut cosine, mut sine) = (0.0, 0.0);
        for (at, sample) in samples.iter().enumerate() {
            let angle = TAU * hertz * at as f32 / rate as f32;
            cosine += sample * angle.cos();
            sine += sample * angle.sin();
        }
        2.0 * cosine.hypot(sine) / samples.len() as f32
    }

    fn distance(left: &[f32], right: &[f32]) -> f32 {
        let squares: f32 = left.iter().zip(right).map(|(left, right)| (left - right).powi(2)).sum();
        (squares / left.len() as f32).sqrt()
    }

    #[test]
    fn all_kinds_give_the_same_sound() {
        let plain = decode("tones-16k.wav", 16_000).unwrap();
        assert_eq!(plain.len(), 16_000);
        for (name, far) in [("tones-44k-stereo.flac", 0.03), ("tones.mp3", 0.05), ("tones.ogg", 0.05)] {
            let sound = decode(name, 16_000).unwrap();
            assert!((15_900..=18_500).contains(&sound.len()), "{name}: {}", sound.len());
            // An encoder may put some silence in front.
            let least = (0..=2400.min(sound.len() - 15_000))
                .map(|shift| distance(&plain[..15_000], &sound[shift..shift + 15_000]))
                .fold(f32::MAX, f32::min);
            assert!(least < far, "{name}: {least}");
        }
        assert!(decode("silence.wav", 8000).unwrap().iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn what_is_empty_cut_off_too_long_or_something_else_is_refused() {
        assert!(matches!(decode("empty.wav", 16_000), Err(AudioError::Empty)));
        for name in ["truncated.wav", "truncated.flac", "truncated.mp3"] {
            let error = decode(name, 16_000).unwrap_err();
            assert!(matches!(error, AudioError::Truncated | AudioError::Broken(_)), "{name}: {error}");
        }
        let ogg = read("tones.ogg");
        decode_audio(ogg[..ogg.len() - 20].to_vec().into(), 16_000, MOST).unwrap_err();
        for name in ["not-media.bin", "shapes-32.png"] {
            assert!(matches!(decode(name, 16_000), Err(AudioError::Kind(_))), "{name}");
        }
        let short = Media { sound: Duration::from_millis(900), ..MOST };
        let error = decode_audio(read("tones.ogg").into(), 16_000, short).unwrap_err();
        assert!(error.to_string().contains("900ms") && error.to_string().contains("--max-audio"), "{error}");
        assert!(matches!(samples(&[0; 7]), Err(AudioError::Length(7))));
        assert!(matches!(samples(&f32::NAN.to_le_bytes()), Err(AudioError::NotFinite { at: 0 })));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let sound: Vec<f32> = (0..8000).map(|at| (at as f32 / 9.0).sin() * 0.9).collect();
        let back = decode_audio(wav(&sound, 8000).into(), 8000, MOST).unwrap();
        assert!(back.len() == sound.len() && distance(&sound, &back) < 1e-4);
    }

    #[test]
    fn a_whole_mp3_without_a_head_that_states_its_length_is_taken_whole() {
        const FRAME: usize = 1152;
        // The first frame is the head; the 40 after it are sound, the first of them larger than the others.
        let bare = read("tones.mp3").split_off(417);
        // Frames of nothing, smaller than those of the sound.
        let mut nothing = [0_u8; 104];
        nothing[..4].copy_from_slice(&[0xff, 0xfb, 0x10, 0x64]);
        for (file, frames) in [(bare.clone(), 40), ([nothing.repeat(20), bare].concat(), 60)] {
            let sound = decode_audio(file.into(), 44_100, MOST).unwrap();
            assert!(sound.len().abs_diff(frames * FRAME) < 100, "{} of {frames} frames", sound.len());
        }
    }

    #[test]
    fn a_wav_of_unknown_length_is_taken_and_one_that_is_cut_off_is_not() {
        let sound = vec![0.5; 16_000];
        let stating = |length: u32| {
            let mut file = wav(&sound, 16_000);
            file[4..8].copy_from_slice(&length.saturating_add(36).to_le_bytes());
            file[40..44].copy_from_slice(&length.to_le_bytes());
            decode_audio(file.into(), 16_000, MOST)
        };
        for unknown in [0x7fff_f000, 0x8000_0000, u32::MAX] {
            assert_eq!(stating(unknown).unwrap().len(), sound.len(), "{unknown:x}");
        }
        for known in [32_002, 0x7fff_effe] {
            assert!(matches!(stating(known), Err(AudioError::Truncated)), "{known:x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_tone_keeps_its_pitch_its_strength_and_its_length(
            from in prop::sample::select(vec![8000_u32, 11_025, 16_000, 22_050, 44_100, 48_000]),
            to in prop::sample::select(vec![16_000_u32, 24_000, 48_000]),
            hertz in 100.0..3000.0_f32,
        ) {
            let sound: Vec<f32> = (0..from).map(|at| (TAU * hertz * at as f32 / from as f32).sin() / 2.0).collect();
            let there = resample(sound, from, to, MOST).unwrap();
            prop_assert_eq!(there.len(), to as usize);
            let strength = tone(&there, to, hertz);
            prop_assert!((strength - 0.5).abs() < 0.03, "{}", strength);
        }

        #[test]
        fn no_bytes_panic(
            name in prop::sample::select(vec!["tones-16k.wav", "tones.mp3", "tones.ogg", "tones-44k-stereo.flac"]),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
            end: prop::sample::Index,
        ) {
            let mut bytes = read(name);
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            bytes.truncate(bytes.len() - end.index(bytes.len() / 2));
            let _ = decode_audio(bytes.into(), 16_000, MOST);
        }
    }
}
