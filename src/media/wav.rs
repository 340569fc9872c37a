//! WAV: sound as a file that every player reads. Pure.

/// Samples from -1 to 1 as a file of 16-bit numbers.
pub fn wav(samples: &[f32], rate: u32) -> Vec<u8> {
    const BYTES: u32 = 2;
    let size = u32::try_from(samples.len()).unwrap_or(u32::MAX).saturating_mul(BYTES);
    let mut file = Vec::with_capacity(44 + samples.len() * BYTES as usize);
    file.extend(b"RIFF");
    file.extend(size.saturating_add(36).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // Plain numbers, one channel.
    file.extend(1_u16.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend(rate.saturating_mul(BYTES).to_le_bytes());
    file.extend((BYTES as u16).to_le_bytes());
    file.extend(16_u16.to_le_bytes());
    file.extend(b"data");
    file.extend(size.to_le_bytes());
    for sample in samples {
        let value = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round();
        file.extend((value as i16).to_le_bytes());
    }
    file
}
