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

/// Pixels of a row, and rows.
type Size = (u64, u64);
/// A file's size, where it can be read.
type SizeOf = fn(&[u8]) -> Option<Size>;
/// Something, where a file has its end.
type WholeCheck = fn(&[u8]) -> Option<()>;

/// Checks an encoded picture.
pub fn check_image(encoded: &[u8], most: Media) -> Result<(), ImageError> {
    let (name, size, is_whole): (_, SizeOf, WholeCheck) = match imagesize::image_type(encoded) {
        Ok(ImageType::Png) => ("PNG", stated_size, png_is_whole),
        Ok(ImageType::Jpeg) => ("JPEG", jpeg_size, jpeg_is_whole),
        Ok(ImageType::Webp) => ("WebP", stated_size, webp_is_whole),
        Ok(ImageType::Gif) => ("GIF", gif_size, gif_is_whole),
        Ok(ImageType::Bmp) => return Err(ImageError::Kind("a BMP file")),
        Ok(ImageType::Tiff) => return Err(ImageError::Kind("a TIFF file")),
        Ok(ImageType::Heif(_)) => return Err(ImageError::Kind("a HEIF or AVIF file")),
        Ok(_) => return Err(ImageError::Kind("a file of a kind that is not taken")),
        Err(_) if encoded.is_empty() => return Err(ImageError::Kind("empty")),
        Err(_) => return Err(ImageError::Kind("no picture of a known kind")),
    };
    let (width, height) = size(encoded).ok_or_else(|| match is_whole(encoded) {
        Some(()) => ImageError::Broken(name),
        None => ImageError::Truncated(name),
    })?;
    check_size(width, height, most)?;
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

/// The size in a head that a browser reads in the same way.
fn stated_size(file: &[u8]) -> Option<Size> {
    let size = imagesize::blob_size(file).ok()?;
    Some((size.width as u64, size.height as u64))
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

fn jpeg_size(file: &[u8]) -> Option<Size> {
    jpeg_scan(file)?.0
}

/// The segments lead to a scan, and an end of the image comes after it.
fn jpeg_is_whole(file: &[u8]) -> Option<()> {
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    jpeg_scan(file)?.1.windows(2).any(|pair| pair == END_OF_IMAGE).then_some(())
}

/// The size, and what comes after the head of the first scan (ITU-T T.81, annex B). A file that decoders could read in
/// more than one way has no size: it could be larger than it looks.
fn jpeg_scan(file: &[u8]) -> Option<(Option<Size>, &[u8])> {
    const START_OF_SCAN: u8 = 0xda;
    let mut rest = file.get(2..)?;
    let mut size = None;
    loop {
        let [0xff, marker] = *rest.get(..2)? else { return Some((None, rest)) };
        // Any number of these may fill up what is in front of a marker.
        if marker == 0xff {
            rest = &rest[1..];
            continue;
        }
        let length = usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?));
        // Such a marker has no length, or none that all agree on, and no place in front of a scan.
        if matches!(marker, 0x00..=0xbf | 0xd0..=0xd9) || length < 2 {
            return Some((None, rest));
        }
        let segment = rest.get(4..length + 2)?;
        rest = &rest[length + 2..];
        match marker {
            START_OF_SCAN => return Some((size, rest)),
            // Two kinds of tables, and what is reserved: they have no size in them.
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => {
                let [_, y1, y0, x1, x0, ..] = *segment else { return Some((None, rest)) };
                let this = (u64::from(u16::from_be_bytes([x1, x0])), u64::from(u16::from_be_bytes([y1, y0])));
                if *size.get_or_insert(this) != this {
                    return Some((None, rest));
                }
            }
            _ => {}
        }
    }
}

/// All bytes are there that its head tells of.
fn webp_is_whole(file: &[u8]) -> Option<()> {
    let stated = u32::from_le_bytes(file.get(4..8)?.try_into().ok()?) as usize;
    (stated.checked_add(8)? <= file.len()).then_some(())
}

/// Browsers make the screen as large as the first frame needs it.
fn gif_size(file: &[u8]) -> Option<Size> {
    let frame = gif_frame(file)?;
    let number = |bytes: &[u8], at: usize| Some(u64::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    // The numbers of the rows come after those of the columns.
    let side = |at: usize| Some(number(file, 6 + at)?.max(number(frame, 1 + at)? + number(frame, 5 + at)?));
    Some((side(0)?, side(2)?))
}

/// The first frame's data come to their end.
fn gif_is_whole(file: &[u8]) -> Option<()> {
    let frame = gif_frame(file)?;
    let flags = *frame.get(9)?;
    after_blocks(frame.get(11 + gif_table(flags)..)?).map(drop)
}

/// The file from its first frame on (GIF89a, sections 18 to 23).
fn gif_frame(file: &[u8]) -> Option<&[u8]> {
    const EXTENSION: u8 = 0x21;
    const IMAGE: u8 = 0x2c;
    let mut rest = file.get(13 + gif_table(*file.get(10)?)..)?;
    loop {
        match *rest.first()? {
            EXTENSION => rest = after_blocks(rest.get(2..)?)?,
            IMAGE => return Some(rest),
            _ => return None,
        }
    }
}

/// Bytes of the table of colours.
fn gif_table(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
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
    fn a_gif_is_as_large_as_its_first_frame_makes_it() {
        // Where the first frame is in the file.
        const FRAME: usize = 0x34;
        let with = |at: usize, bytes: [u8; 4]| {
            let mut gif = read("animated.gif");
            assert_eq!(gif[FRAME], 0x2c);
            gif[at..at + 4].copy_from_slice(&bytes);
            check_image(&gif, MOST)
        };
        with(6, [1, 0, 1, 0]).unwrap();
        for (at, bytes, size) in [
            (6, [0, 8, 0, 8], (2048, 2048)),
            (FRAME + 1, [0xff, 0xff, 1, 0], (65_599, 65)),
            (FRAME + 5, [0, 8, 0, 8], (2048, 2048)),
        ] {
            let error = with(at, bytes).unwrap_err();
            assert!(
                matches!(error, ImageError::TooLarge { width, height, .. } if (width, height) == size),
                "{size:?}: {error}"
            );
        }
    }

    #[test]
    fn a_jpeg_has_one_size_wherever_decoders_look_for_it() {
        // Where the size's segment is in the file, and the size in it.
        const SEGMENT: usize = 0x9e;
        const SIZE: usize = SEGMENT + 5;
        let photo = read("photo-like.jpg");
        assert_eq!(photo[SEGMENT..SEGMENT + 2], [0xff, 0xc0]);
        let with = |at: usize, bytes: &[u8]| [&photo[..at], bytes, &photo[at..]].concat();
        let sized = |width: u8, height: u8| [0xff, 0xc0, 0, 11, 8, 0, height, 0, width, 1, 1, 0x11, 0];

        let mut progressive = photo.clone();
        progressive[SEGMENT + 1] = 0xc2;
        let two = photo.repeat(2);
        for whole in [with(2, &[0xff; 5]), with(SEGMENT, &[0xff; 4]), with(2, &sized(160, 120)), progressive, two] {
            check_image(&whole, MOST).unwrap();
        }

        let mut large = with(SEGMENT, &[0xff; 3]);
        large[SIZE + 3..SIZE + 7].copy_from_slice(&[0x10, 0, 0x20, 0]);
        let error = check_image(&large, MOST).unwrap_err();
        assert!(matches!(error, ImageError::TooLarge { width: 8192, height: 4096, .. }), "{error}");

        let mut without = photo.clone();
        without[SEGMENT + 1] = 0xfe;
        let short = with(2, &[0xff, 0xc0, 0, 4, 8, 0]);
        let mut broken = vec![without, short, with(2, &sized(1, 1)), with(2, &[0xff, 0xe1, 0, 1]), with(SEGMENT, &[0])];
        broken.extend([0x00, 0x01, 0xd0, 0xd7, 0xd8, 0xd9].map(|marker| with(2, &[0xff, marker])));
        for file in broken {
            let error = check_image(&file, MOST).unwrap_err();
            assert!(matches!(error, ImageError::Broken("JPEG")), "{error}: {:x?}", &file[..8]);
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
