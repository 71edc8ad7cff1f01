//! Pictures in a folder, as a camera.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image::{ImageReader, Limits};
use pilotage_vehicle::{Clock, Monotonic, Time};
use pilotage_vision::{Frame, PixelFormat};

use super::config::{CameraConfig, FolderSource};
use super::{Camera, CameraError, Counters};

/// Shows the pictures of a folder in the order of their names, each at its due time. A picture
/// whose time has passed is skipped. Each picture is decoded when it is due, which allocates
/// memory.
pub struct FolderCamera {
    folder: PathBuf,
    pictures: Vec<PathBuf>,
    repeat: bool,
    size: (u32, u32),
    period: Duration,
    started: Option<Time>,
    next: u64,
    counters: Counters,
}

impl FolderCamera {
    /// Lists the pictures.
    ///
    /// # Errors
    /// Fails if the folder cannot be read, or if it has no pictures.
    pub fn open(source: &FolderSource, config: &CameraConfig) -> Result<Self, CameraError> {
        Ok(Self {
            pictures: list(&source.folder)?,
            folder: source.folder.clone(),
            repeat: source.repeat,
            size: (config.width, config.height),
            period: config.period(),
            started: None,
            next: 0,
            counters: Counters::default(),
        })
    }

    fn moment(&self, started: Time, number: u64) -> Time {
        let period = self.period.as_nanos() as u64;
        started + Duration::from_nanos(number.saturating_mul(period))
    }

    fn decode(&self, path: &Path, frame: &mut Frame) -> Result<(), CameraError> {
        let failed = |problem: String| CameraError::Picture {
            picture: path.to_owned(),
            problem,
        };
        let (width, height) = self.size;
        let mut reader = ImageReader::open(path)
            .and_then(ImageReader::with_guessed_format)
            .map_err(|error| failed(error.to_string()))?;
        let mut limits = Limits::default();
        limits.max_image_width = Some(width);
        limits.max_image_height = Some(height);
        reader.limits(limits);
        let picture = reader.decode().map_err(|error| failed(error.to_string()))?;
        let (w, h) = (picture.width(), picture.height());
        if (w, h) != self.size {
            return Err(failed(format!(
                "is {w}x{h} pixels, but `camera.width` and `camera.height` say {width}x{height}"
            )));
        }
        frame
            .data_mut()
            .copy_from_slice(picture.into_rgb8().as_raw());
        Ok(())
    }
}

impl Camera for FolderCamera {
    fn describe(&self) -> String {
        let (width, height) = self.size;
        let rate = 1.0 / self.period.as_secs_f64();
        format!(
            "{} pictures in {}, {width}x{height} at {rate:.4} Hz",
            self.pictures.len(),
            self.folder.display()
        )
    }

    fn format(&self) -> (PixelFormat, u32, u32) {
        (PixelFormat::Rgb8, self.size.0, self.size.1)
    }

    fn frame_period(&self) -> Duration {
        self.period
    }

    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        let (width, height) = self.size;
        if (frame.format(), frame.width(), frame.height()) != self.format() {
            return Err(CameraError::FrameSize { width, height });
        }
        let now = Monotonic.now();
        let started = *self.started.get_or_insert(now);
        let passed = now.since(started).as_nanos() / self.period.as_nanos().max(1);
        let number = self.next.max(passed as u64);
        let pictures = self.pictures.len();
        if !self.repeat && number >= pictures as u64 {
            return Err(CameraError::Ended {
                folder: self.folder.clone(),
                pictures,
            });
        }
        let picture = (number % pictures as u64) as usize;
        self.decode(&self.pictures[picture], frame)?;
        let moment = self.moment(started, number);
        std::thread::sleep(moment.since(Monotonic.now()));
        frame.captured = moment;
        frame.sequence = number;
        self.counters.frames += 1;
        self.counters.skipped += number - self.next;
        self.next = number + 1;
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, CameraError> {
    let failed = |reason| CameraError::Folder {
        folder: folder.to_owned(),
        reason,
    };
    let mut pictures = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let extension = extension.unwrap_or("").to_ascii_lowercase();
        if ["png", "jpg", "jpeg"].contains(&extension.as_str()) {
            pictures.push(path);
        }
    }
    pictures.sort();
    if pictures.is_empty() {
        let folder = folder.to_owned();
        return Err(CameraError::Empty { folder });
    }
    Ok(pictures)
}

#[cfg(test)]
mod tests;
