//! Drawings: files of what a model made: boxes on a copy of a picture, masks, depth, pictures and sound.

use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, ImageResult, Rgb, RgbImage};

use super::CommandError;
use crate::{
    media,
    proto::v1::{self, item_result::Output},
};

/// Where files go, and how they begin.
#[derive(Debug)]
pub struct Place<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// The name of the input.
    pub stem: String,
}

/// One colour after the other, easy to tell apart.
const COLOURS: [[u8; 3]; 6] =
    [[230, 25, 75], [0, 130, 200], [60, 180, 75], [245, 130, 48], [145, 30, 180], [0, 160, 160]];

impl Place<'_> {
    /// Writes what an output has of pictures and sound, in its order; of boxes a copy of the `picture` that they are on.
    pub fn write(&self, output: &Output, picture: Option<&Path>) -> Result<Vec<PathBuf>, CommandError> {
        let one = |path: Result<PathBuf, CommandError>| path.map(|path| vec![path]);
        match (output, picture) {
            (Output::Segments(v1::Segments { segments }), _) => {
                let mask = |(index, segment): (usize, &v1::Segment)| {
                    let empty = v1::Pixels::default();
                    self.mask(index + 1, &segment.label, segment.mask.as_ref().unwrap_or(&empty))
                };
                segments.iter().enumerate().map(mask).collect()
            }
            (Output::Detections(v1::Detections { detections }), Some(picture)) if !detections.is_empty() => {
                one(self.boxes(picture, detections))
            }
            (Output::Depth(depth), _) => one(self.depth(depth)),
            (Output::Image(pixels), _) => one(self.picture("out.png", pixels)),
            (Output::Audio(samples), _) => one(self.sound(samples)),
            _ => Ok(Vec::new()),
        }
    }

    /// A copy of the picture with the boxes on it.
    fn boxes(&self, picture: &Path, detections: &[v1::Detection]) -> Result<PathBuf, CommandError> {
        let mut copy = shown(picture).map_err(|error| usage(picture, &error))?.into_rgb8();
        let width = (copy.width().min(copy.height()) / 150).max(1);
        for (index, detection) in detections.iter().enumerate() {
            let v1::Detection { x_min, y_min, x_max, y_max, .. } = *detection;
            frame(&mut copy, [x_min, y_min, x_max, y_max], width, Rgb(COLOURS[index % COLOURS.len()]));
        }
        self.save("boxes.png", &copy.into())
    }

    /// The mask of a segment.
    fn mask(&self, number: usize, label: &str, mask: &v1::Pixels) -> Result<PathBuf, CommandError> {
        let plain: String = label.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
        self.picture(&format!("mask-{number}-{plain}.png"), mask)
    }

    /// A picture that was made.
    fn picture(&self, ending: &str, pixels: &v1::Pixels) -> Result<PathBuf, CommandError> {
        let v1::Pixels { width, height, channels, data } = pixels;
        let data = data.to_vec();
        let picture = match channels {
            1 => GrayImage::from_raw(*width, *height, data).map(DynamicImage::from),
            3 => RgbImage::from_raw(*width, *height, data).map(DynamicImage::from),
            _ => image::RgbaImage::from_raw(*width, *height, data).map(DynamicImage::from),
        };
        let picture =
            picture.ok_or_else(|| CommandError::Usage("the service sent a picture that is not whole".into()))?;
        self.save(ending, &picture)
    }

    /// Depth as shades of grey: what is greatest is white.
    fn depth(&self, depth: &v1::Tensor) -> Result<PathBuf, CommandError> {
        let values: Vec<f32> = floats(&depth.data).collect();
        let (least, most) =
            values.iter().fold((f32::MAX, f32::MIN), |(least, most), value| (least.min(*value), most.max(*value)));
        let span = if most > least { most - least } else { 1.0 };
        let shades: Vec<u8> = values.iter().map(|value| ((value - least) / span * 255.0) as u8).collect();
        let side = |index: usize| depth.shape.get(index).and_then(|&size| u32::try_from(size).ok()).unwrap_or_default();
        let pixels = v1::Pixels { width: side(1), height: side(0), channels: 1, data: shades.into() };
        self.picture("depth.png", &pixels)
    }

    /// Sound as a WAV file.
    fn sound(&self, samples: &v1::Samples) -> Result<PathBuf, CommandError> {
        let values: Vec<f32> = floats(&samples.data).collect();
        let path = self.path("wav");
        std::fs::write(&path, media::wav(&values, samples.rate)).map_err(|error| io(&path, error))?;
        Ok(path)
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.stem))
    }

    fn save(&self, ending: &str, picture: &DynamicImage) -> Result<PathBuf, CommandError> {
        let path = self.path(ending);
        picture.save(&path).map_err(|error| usage(&path, &error))?;
        Ok(path)
    }
}

/// A picture as a browser shows it, which the boxes are measured on: read by what it holds, whatever its name says, and
/// turned as its camera noted.
fn shown(picture: &Path) -> ImageResult<DynamicImage> {
    let mut decoder = ImageReader::open(picture)?.with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

fn io(path: &Path, error: std::io::Error) -> CommandError {
    CommandError::Io { what: path.display().to_string(), error }
}

fn usage(path: &Path, error: &dyn std::error::Error) -> CommandError {
    CommandError::Usage(format!("{}: {error}", path.display()))
}

fn floats(data: &[u8]) -> impl Iterator<Item = f32> {
    data.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Draws the lines of a box, so many pixels wide, as far as they are on the picture.
fn frame(picture: &mut RgbImage, [left, top, right, bottom]: [f32; 4], width: u32, colour: Rgb<u8>) {
    let inside = |value: f32, size: u32| (value.max(0.0) as u32).min(size.saturating_sub(1));
    let (left, right) = (inside(left, picture.width()), inside(right, picture.width()));
    let (top, bottom) = (inside(top, picture.height()), inside(bottom, picture.height()));
    for y in top..=bottom {
        for x in left..=right {
            let on_line = x < left + width || x + width > right || y < top + width || y + width > bottom;
            if on_line {
                picture.put_pixel(x, y, colour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, ImageEncoder, Luma, Rgb, RgbImage, codecs::jpeg::JpegEncoder};
    use proptest::prelude::*;

    use super::{frame, shown};

    /// EXIF data that says: to be turned to the right.
    const TURNED: &[u8] = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";

    #[test]
    fn a_picture_is_turned_and_read_by_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jpeg.png");
        let mut encoder = JpegEncoder::new(std::fs::File::create(&path).unwrap());
        encoder.set_exif_metadata(TURNED.to_vec()).unwrap();
        let left_is_white = GrayImage::from_fn(16, 8, |x, _| Luma([if x < 8 { 255 } else { 0 }]));
        DynamicImage::from(left_is_white).write_with_encoder(encoder).unwrap();
        let picture = shown(&path).unwrap().into_luma8();
        assert_eq!(picture.dimensions(), (8, 16));
        let [top, bottom] = [4, 12].map(|y| picture.get_pixel(4, y)[0]);
        assert!(top > 200 && bottom < 50, "{top} {bottom}");
    }

    #[test]
    fn a_frame_has_its_lines_and_leaves_its_middle() {
        let mut picture = RgbImage::new(20, 20);
        let red = Rgb([255, 0, 0]);
        frame(&mut picture, [2.0, 3.0, 12.0, 13.0], 2, red);
        let is_red = |x, y| *picture.get_pixel(x, y) == red;
        assert!(is_red(2, 3) && is_red(3, 8) && is_red(12, 13) && is_red(7, 13));
        assert!(!is_red(7, 8) && !is_red(1, 3) && !is_red(13, 8));
    }

    proptest! {
        #[test]
        fn no_box_is_drawn_outside(edges: [f32; 4], width in 1u32..50) {
            frame(&mut RgbImage::new(9, 7), edges, width, Rgb([1, 2, 3]));
        }
    }
}
