//! Image: what a picture's bytes say of it, without decoding it: its kind, its size, and whether it is whole. Pure.

use imagesize::ImageType;

use super::Media;

/// Why a picture is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is something else.
    #[error("is {0}; PNG, JPEG, WebP and GIF are taken")]
    Kind(&'static str),
    /// Its head makes no sense.
    #[error("is a broken {0} file: its size cannot be read")]
    Broken(&'static str),
    /// Its end is missing.
    #[error("is a {0} file that is cut off: its end is missing")]
    Truncated(&'static str),
    /// It is too large.
    #[error("has {width} x {height} pixels; the most is {most} together, see --max-image-pixels")]
    TooLarge {
        /// Pixels of a row.
        width: u64,
        /// Rows.
        height: u64,
        /// Most pixels.
        most: u64,
    },
    /// It has no pixels.
    #[error("has no pixels: {width} x {height}")]
    Empty {
        /// Pixels of a row.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// A pixel has a number of bytes that none has.
    #[error("has {0} channels; 1 (grey), 3 (red, green, blue) and 4 (with alpha) are taken")]
    Channels(u32),
    /// The bytes are not those of the size.
    #[error("has {bytes} bytes, and {width} x {height} pixels of {channels} channels need {needed}")]
    Length {
        /// Bytes that are there.
        bytes: usize,
        /// Pixels of a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes of a pixel.
        channels: u32,
        /// Bytes that are needed.
        needed: u64,
    },
}

/// Something, where a file has its end.
type WholeCheck = fn(&[u8]) -> Option<()>;

/// Checks an encoded picture.
pub fn check_image(encoded: &[u8], most: Media) -> Result<(), ImageError> {
    let (name, is_whole): (_, WholeCheck) = match imagesize::image_type(encoded) {
        Ok(ImageType::Png) => ("PNG", png_is_whole),
        Ok(ImageType::Jpeg) => ("JPEG", jpeg_is_whole),
        Ok(ImageType::Webp) => ("WebP", webp_is_whole),
        Ok(ImageType::Gif) => ("GIF", gif_is_whole),
        Ok(ImageType::Bmp) => return Err(ImageError::Kind("a BMP file")),
        Ok(ImageType::Tiff) => return Err(ImageError::Kind("a TIFF file")),
        Ok(ImageType::Heif(_)) => return Err(ImageError::Kind("a HEIF or AVIF file")),
        Ok(_) => return Err(ImageError::Kind("a file of a kind that is not taken")),
        Err(_) if encoded.is_empty() => return Err(ImageError::Kind("empty")),
        Err(_) => return Err(ImageError::Kind("no picture of a known kind")),
    };
    let size = imagesize::blob_size(encoded).map_err(|_| match is_whole(encoded) {
        Some(()) => ImageError::Broken(name),
        None => ImageError::Truncated(name),
    })?;
    check_size(size.width as u64, size.height as u64, most)?;
    is_whole(encoded).ok_or(ImageError::Truncated(name))
}

/// Checks a picture that comes as its pixels.
pub fn check_pixels(width: u32, height: u32, channels: u32, bytes: usize, most: Media) -> Result<(), ImageError> {
    check_size(width.into(), height.into(), most)?;
    if !matches!(channels, 1 | 3 | 4) {
        return Err(ImageError::Channels(channels));
    }
    let needed = u64::from(width) * u64::from(height) * u64::from(channels);
    if needed == bytes as u64 { Ok(()) } else { Err(ImageError::Length { bytes, width, height, channels, needed }) }
}

fn check_size(width: u64, height: u64, most: Media) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { width, height });
    }
    if width.checked_mul(height).is_none_or(|pixels| pixels > most.pixels) {
        return Err(ImageError::TooLarge { width, height, most: most.pixels });
    }
    Ok(())
}

/// The chunks lead to IEND (ISO/IEC 15948, section 5).
fn png_is_whole(file: &[u8]) -> Option<()> {
    let mut rest = file.get(8..)?;
    loop {
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let kind = rest.get(4..8)?;
        rest = rest.get(length.checked_add(12)?..)?;
        if kind == b"IEND" {
            return Some(());
        }
    }
}

/// The segments lead to a scan, and an end of the image comes after it (ITU-T T.81, annex B).
fn jpeg_is_whole(file: &[u8]) -> Option<()> {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let mut rest = file.get(2..)?;
    loop {
        let [0xff, marker] = *rest.get(..2)? else { return None };
        // Any number of these may fill up what is in front of a marker.
        if marker == 0xff {
            rest = &rest[1..];
            continue;
        }
        let length = usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?));
        rest = rest.get(length.checked_add(2)?..)?;
        if marker == START_OF_SCAN {
            return rest.windows(2).any(|pair| pair == END_OF_IMAGE).then_some(());
        }
    }
}

/// All bytes are there that its head tells of.
fn webp_is_whole(file: &[u8]) -> Option<()> {
    let stated = u32::from_le_bytes(file.get(4..8)?.try_into().ok()?) as usize;
    (stated.checked_add(8)? <= file.len()).then_some(())
}

/// The first frame's data come to their end (GIF89a, sections 18 to 23).
fn gif_is_whole(file: &[u8]) -> Option<()> {
    const EXTENSION: u8 = 0x21;
    const IMAGE: u8 = 0x2c;
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut rest = file.get(13 + table(*file.get(10)?)..)?;
    loop {
        match *rest.first()? {
            EXTENSION => rest = after_blocks(rest.get(2..)?)?,
            IMAGE => {
                let flags = *rest.get(9)?;
                return after_blocks(rest.get(11 + table(flags)..)?).map(drop);
            }
            _ => return None,
        }
    }
}

fn after_blocks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let length = usize::from(*rest.first()?);
        rest = rest.get(1 + length..)?;
        if length == 0 {
            return Some(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use proptest::prelude::*;

    use super::{ImageError, Media, check_image, check_pixels};

    const MOST: Media = Media { pixels: 1 << 20, sound: Duration::ZERO };
    const WHOLE: [&str; 7] =
        ["shapes-32.png", "photo-like.jpg", "picture.webp", "animated.gif", "grey.png", "alpha.png", "form.png"];

    fn read(name: &str) -> Vec<u8> {
        fs::read(format!("{}/tests/media/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn whole_pictures_pass_and_none_that_is_cut_off_does() {
        for name in WHOLE {
            let whole = read(name);
            check_image(&whole, MOST).unwrap();
            // A GIF is whole with its first frame.
            let most = if name.ends_with("gif") { whole.len() / 4 } else { whole.len() - 1 };
            for end in (0..most).step_by(7).chain([most]) {
                check_image(&whole[..end], MOST).expect_err(name);
            }
        }
    }

    #[test]
    fn what_is_too_large_or_something_else_is_named() {
        let error = check_image(&read("bomb.png"), MOST).unwrap_err();
        assert!(matches!(error, ImageError::TooLarge { width: 30_000, height: 30_000, .. }), "{error}");
        let error = check_image(b"BM0123456789012345678901234567890", MOST).unwrap_err().to_string();
        assert!(error.contains("BMP") && error.contains("JPEG"), "{error}");
        for name in ["not-media.bin", "tones.mp3", "truncated.png", "truncated.jpg"] {
            check_image(&read(name), MOST).unwrap_err();
        }
    }

    #[test]
    fn pixels_agree_with_their_size() {
        check_pixels(4, 3, 3, 36, MOST).unwrap();
        for (width, height, channels, bytes) in
            [(0, 3, 3, 0), (4, 3, 2, 24), (4, 3, 3, 35), (u32::MAX, u32::MAX, 4, 4), (1025, 1024, 1, 1_049_600)]
        {
            check_pixels(width, height, channels, bytes, MOST).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(name in prop::sample::select(&WHOLE[..]), changes: Vec<(prop::sample::Index, u8)>) {
            let mut bytes = read(name);
            for (place, value) in changes {
                let place = place.index(bytes.len().min(64));
                bytes[place] = value;
            }
            let _ = check_image(&bytes, MOST);
        }
    }
}
