//! Recordings: a data set on disk as a folder of images with `data.csv`.
//!
//! The format is that of JdeRobot's DeepLearningStudio: a header, and a line for each image,
//! `image_name,v,w,timestamp`, with v in m/s, w in rad/s (left positive) and the time in seconds.
//! Further columns, such as those of `pilotage record`, are ignored.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError, ImageReader};
use pilotage_vehicle::Time;
use pilotage_vision::{Crop, FrameView, PixelFormat, Preprocess, Vision, VisionError};

use crate::dataset::{Dataset, normalised, physical};
use crate::network::{HEIGHT, PICTURE, WIDTH};

/// The first line of `data.csv`.
const HEADER: &str = "image_name,v,w,timestamp";
/// The most pixels along one side of an image.
const MOST_PIXELS: u32 = 8192;
/// The longest line that is accepted, in bytes.
const LONGEST_LINE: u64 = 4096;

/// Why a recording cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The first line does not begin with the header.
    #[error("{}: the first line must begin with `{HEADER}`, not `{found}`", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The line.
        found: String,
    },
    /// A line does not describe an image.
    #[error("{}, line {line}: {problem}; expected `{HEADER}` with v in m/s and w in rad/s", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The error in the line.
        problem: &'static str,
    },
    /// An image cannot be decoded or encoded.
    #[error("{}: {source}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// The error of the decoder or encoder.
        source: ImageError,
    },
    /// An image cannot be resized for the network.
    #[error("{}: {source}", path.display())]
    Resize {
        /// The image.
        path: PathBuf,
        /// The error of resizing.
        source: VisionError,
    },
}

/// Adds the recording in `folder` to `data`. Images of 200x66 are used unchanged; of other images
/// the lower half is resized, as of a camera's frame.
///
/// # Errors
/// When a file is missing or invalid; the error states file and line.
pub fn read(folder: &Path, data: &mut Dataset) -> Result<usize, RecordingError> {
    let path = folder.join("data.csv");
    let file = File::open(&path).map_err(|source| file_error(&path, source))?;
    let mut lines = BufReader::new(file);
    let mut text = String::new();
    let mut line = 0;
    let mut images = Images::default();
    let before = data.len();
    loop {
        text.clear();
        line += 1;
        let taken = io::Read::take(&mut lines, LONGEST_LINE).read_line(&mut text);
        if taken.map_err(|source| file_error(&path, source))? == 0 {
            return Ok(data.len() - before);
        }
        let content = text.trim_start_matches('\u{feff}').trim();
        if line == 1 {
            let more = content.strip_prefix(HEADER);
            if !more.is_some_and(|more| more.is_empty() || more.starts_with(',')) {
                let (path, found) = (path, content.chars().take(60).collect());
                return Err(RecordingError::Header { path, found });
            }
            continue;
        }
        if content.is_empty() {
            continue;
        }
        let (name, speed, yaw_rate) = fields(content).map_err(|problem| RecordingError::Line {
            path: path.clone(),
            line,
            problem,
        })?;
        let picture = images.read(&folder.join(name))?;
        data.push(picture, normalised(speed, yaw_rate));
    }
}

fn fields(line: &str) -> Result<(&str, f64, f64), &'static str> {
    let mut fields = line.split(',').map(str::trim);
    let name = fields.next().filter(|name| !name.is_empty());
    let name = name.ok_or("the image's name is missing")?;
    if Path::new(name).is_absolute() || name.split(['/', '\\']).any(|part| part == "..") {
        return Err("the image must lie in the data set's folder");
    }
    let mut number = |problem| {
        let number = fields.next().and_then(|field| field.parse::<f64>().ok());
        number.filter(|n| n.abs() < 1e3).ok_or(problem)
    };
    let speed = number("v is missing or not a speed")?;
    let yaw_rate = number("w is missing or not a yaw rate")?;
    Ok((name, speed, yaw_rate))
}

/// Reads images, and reuses the resizer while the size stays the same.
#[derive(Default)]
struct Images {
    resize: Option<(u32, u32, Vision)>,
    picture: Vec<u8>,
}

impl Images {
    fn read(&mut self, path: &Path) -> Result<&[u8], RecordingError> {
        let image = |source| RecordingError::Image {
            path: path.to_owned(),
            source,
        };
        let reader = ImageReader::open(path).map_err(|source| file_error(path, source))?;
        let mut reader = reader
            .with_guessed_format()
            .map_err(|source| file_error(path, source))?;
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(MOST_PIXELS);
        limits.max_image_height = Some(MOST_PIXELS);
        reader.limits(limits);
        let pixels = reader.decode().map_err(image)?.into_rgb8();
        let (width, height) = pixels.dimensions();
        if (width as usize, height as usize) == (WIDTH, HEIGHT) {
            self.picture = pixels.into_raw();
            return Ok(&self.picture);
        }
        let resize = |source| RecordingError::Resize {
            path: path.to_owned(),
            source,
        };
        let known = self.resize.take().filter(|r| (r.0, r.1) == (width, height));
        let (.., vision) = match known {
            Some(known) => self.resize.insert(known),
            None => {
                let mut preprocess = Preprocess::new(WIDTH as u32, HEIGHT as u32);
                preprocess.crop = Some(Crop {
                    x: 0,
                    y: height / 2,
                    width,
                    height: height - height / 2,
                });
                let vision = Vision::new(&preprocess, width, height, PixelFormat::Rgb8);
                self.resize.insert((width, height, vision.map_err(resize)?))
            }
        };
        self.picture.resize(PICTURE, 0);
        let frame = FrameView {
            format: PixelFormat::Rgb8,
            width,
            height,
            data: pixels.as_raw(),
            captured: Time::ZERO,
            sequence: 0,
        };
        vision
            .resize_to_u8(frame, &mut self.picture)
            .map_err(resize)?;
        Ok(&self.picture)
    }
}

/// The encoding of a recording's images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// PNG, which is lossless.
    Png,
    /// JPEG of this quality, 1 to 100, with full colour resolution.
    Jpeg(u8),
}

impl Encoding {
    fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg(_) => "jpg",
        }
    }

    /// Encodes a picture of the network's input size.
    fn encode(self, picture: &[u8], to: impl Write) -> Result<(), ImageError> {
        let (width, height) = (WIDTH as u32, HEIGHT as u32);
        let colour = ExtendedColorType::Rgb8;
        match self {
            Self::Png => PngEncoder::new(to).write_image(picture, width, height, colour),
            Self::Jpeg(quality) => JpegEncoder::new_with_quality(to, quality)
                .write_image(picture, width, height, colour),
        }
    }
}

/// Writes `data` to `folder`, with `period` seconds between the images' times.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    folder: &Path,
    data: &Dataset,
    period: f64,
    encoding: Encoding,
) -> Result<(), RecordingError> {
    fs::create_dir_all(folder).map_err(|source| file_error(folder, source))?;
    let path = folder.join("data.csv");
    let file = File::create(&path).map_err(|source| file_error(&path, source))?;
    let mut lines = BufWriter::new(file);
    let failed = |source| file_error(&path, source);
    writeln!(lines, "{HEADER}").map_err(failed)?;
    for index in 0..data.len() {
        let name = format!("{index:06}.{}", encoding.extension());
        let (v, w) = physical(data.label(index));
        let time = index as f64 * period;
        writeln!(lines, "{name},{v},{w},{time:.3}").map_err(failed)?;
        let path = folder.join(name);
        let image = File::create(&path).map_err(|source| file_error(&path, source))?;
        let mut image = BufWriter::new(image);
        encoding
            .encode(data.picture(index), &mut image)
            .map_err(|source| RecordingError::Image {
                path: path.clone(),
                source,
            })?;
        image.flush().map_err(|source| file_error(&path, source))?;
    }
    lines.flush().map_err(failed)
}

fn file_error(path: &Path, source: io::Error) -> RecordingError {
    RecordingError::File {
        path: path.to_owned(),
        source,
    }
}
