//! Recordings: reads any format of `pilotage-dataset` as training data, and writes folders of
//! images with `data.csv`.
//!
//! The written format is that of JdeRobot's DeepLearningStudio: a header, and a line for each
//! image, `image_name,v,w,timestamp`, with v in m/s, w in rad/s (left positive) and the time in
//! seconds. What sensors measured follows: `measured_speed` and others.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};
use pilotage_dataset::{DatasetError, Note, Picture, Record, Recording, write_domain};
use pilotage_vehicle::{Domain, Measurement};
use pilotage_vision::{Crop, Preprocess, VisionError, resize_recorded};

use crate::dataset::{Dataset, Place, normalised, physical};
use crate::network::{HEIGHT, WIDTH};

/// The first line of `data.csv`.
const HEADER: &str = "image_name,v,w,timestamp";

/// Why a recording cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file cannot be read or written.
    #[error("cannot use {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The recording cannot be read, or too many of its pictures are bad.
    #[error(transparent)]
    Recording(#[from] DatasetError),
    /// A record has no speed or no yaw rate.
    #[error(
        "{}: the record of {} has no {missing}; this training learns v in m/s and w in rad/s, the \
         columns of a data.csv", folder.display(), picture.display()
    )]
    NoLabel {
        /// The recording.
        folder: PathBuf,
        /// The record's picture.
        picture: PathBuf,
        /// The missing value: v or w.
        missing: &'static str,
    },
    /// An image cannot be encoded.
    #[error("{}: {reason}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// The error of the encoder.
        reason: ImageError,
    },
    /// An image cannot be resized for the network.
    #[error("{}: {reason}", path.display())]
    Resize {
        /// The image.
        path: PathBuf,
        /// The error of resizing.
        reason: VisionError,
    },
}

/// What was added to a data set.
#[derive(Debug)]
pub struct Added {
    /// The number of frames.
    pub frames: usize,
    /// What an operator should know, such as pictures that are passed over.
    pub notes: Vec<String>,
}

/// Adds the recording in `folder` to `data`. Images of 200x66 are used unchanged; of other images
/// the lower half is resized, as of a camera's frame.
///
/// # Errors
/// When the recording cannot be read, too many of its pictures are bad, or a record has no speed or
/// yaw rate. `data` may then have a part of the recording.
pub fn read(folder: &Path, data: &mut Dataset) -> Result<Added, RecordingError> {
    let recording = Recording::open(folder)?;
    let records = recording.records();
    for record in records {
        label(folder, record)?;
    }
    let all: Vec<usize> = (0..records.len()).collect();
    let prepared = |record: &Record, picture| {
        let picture = resize(&folder.join(&record.picture), picture)?;
        Ok::<_, RecordingError>((picture, label(folder, record)?))
    };
    let decoded = recording.for_each_picture(&all, prepared, |index, (picture, (v, w))| {
        let (drive, frame) = (0, data.len());
        let measured = records[index].measured;
        data.push_at(Place { drive, frame }, &picture, normalised(v, w), measured);
    })?;
    let frames = decoded.used;
    let found = decoded.notes(&recording);
    let notes = recording.notes().iter().chain(&found).map(Note::to_string);
    let notes = notes.collect();
    Ok(Added { frames, notes })
}

/// The speed (m/s) and the yaw rate (rad/s) of a record.
fn label(folder: &Path, record: &Record) -> Result<(f64, f64), RecordingError> {
    let missing = |missing| RecordingError::NoLabel {
        folder: folder.to_owned(),
        picture: record.picture.clone(),
        missing,
    };
    let speed = record.speed.ok_or_else(|| missing("v"))?;
    let yaw_rate = record.yaw_rate.ok_or_else(|| missing("w"))?;
    Ok((speed, yaw_rate))
}

/// The pixels of the network's input.
fn resize(path: &Path, picture: Picture) -> Result<Vec<u8>, RecordingError> {
    let (width, height) = (picture.width, picture.height);
    if (width as usize, height as usize) == (WIDTH, HEIGHT) {
        return Ok(picture.rgb);
    }
    let mut preprocess = Preprocess::new(WIDTH as u32, HEIGHT as u32);
    preprocess.crop = Some(Crop {
        x: 0,
        y: height / 2,
        width,
        height: height - height / 2,
    });
    resize_recorded(&preprocess, (width, height), &picture.rgb).map_err(|reason| {
        RecordingError::Resize {
            path: path.to_owned(),
            reason,
        }
    })
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

/// The time between two frames of the simulator's camera, seconds.
const PERIOD: f64 = 0.05;
/// The time between two drives, seconds: enough for every reader to take them for two.
const PAUSE: f64 = 10.0;

/// Writes `data`, pictures of the simulator with the frames of each drive in order, to `folder`. A
/// measurement that every picture has gets a column, and so does the high-level `command`, which is
/// that of all of them.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    folder: &Path,
    data: &Dataset,
    encoding: Encoding,
    command: Option<&str>,
) -> Result<(), RecordingError> {
    fs::create_dir_all(folder).map_err(|reason| file_error(folder, reason))?;
    let path = folder.join("data.csv");
    let file = File::create(&path).map_err(|reason| file_error(&path, reason))?;
    let mut lines = BufWriter::new(file);
    let failed = |reason| file_error(&path, reason);
    let measured = Measurement::ALL.into_iter().filter(|&it| data.has(it));
    let measured: Vec<Measurement> = measured.collect();
    let columns = measured.iter().map(|it| it.column());
    let columns = columns.chain(command.map(|_| "command"));
    let columns: String = columns.map(|title| format!(",{title}")).collect();
    writeln!(lines, "{HEADER}{columns}").map_err(failed)?;
    let command = command.map_or(String::new(), |command| format!(",{command}"));
    let mut time = 0.0;
    for index in 0..data.len() {
        let name = format!("{index:06}.{}", encoding.extension());
        let (v, w) = physical(data.label(index));
        if let Some(before) = index.checked_sub(1).map(|before| data.place(before)) {
            let place = data.place(index);
            time += match place.drive == before.drive {
                true => place.frame.saturating_sub(before.frame) as f64 * PERIOD,
                false => PAUSE,
            };
        }
        let numbers = measured
            .iter()
            .filter_map(|&it| data.measured(index).get(it));
        let numbers: String = numbers.map(|number| format!(",{number}")).collect();
        writeln!(lines, "{name},{v},{w},{time:.3}{numbers}{command}").map_err(failed)?;
        let path = folder.join(name);
        let image = File::create(&path).map_err(|reason| file_error(&path, reason))?;
        let mut image = BufWriter::new(image);
        encoding
            .encode(data.picture(index), &mut image)
            .map_err(|reason| RecordingError::Image {
                path: path.clone(),
                reason,
            })?;
        image.flush().map_err(|reason| file_error(&path, reason))?;
    }
    lines.flush().map_err(failed)?;
    Ok(write_domain(folder, Domain::Simulated)?)
}

fn file_error(path: &Path, reason: io::Error) -> RecordingError {
    RecordingError::File {
        path: path.to_owned(),
        reason,
    }
}
