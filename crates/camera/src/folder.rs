//! The pictures of a recording, as a camera.

use std::time::Duration;

use pilotage_dataset::{Record, Recording, evenly};
use pilotage_vehicle::{Clock, Monotonic, Time};
use pilotage_vision::{Frame, PixelFormat};

use super::config::{CameraConfig, FolderSource};
use super::{Camera, CameraError, Counters};

/// Shows the pictures of a recording in its order, each at its due time. Without a list of records
/// the order is that of the pictures' names. A picture whose time has passed is skipped. Each
/// picture is decoded shortly before it is due, which allocates memory.
pub struct FolderCamera {
    recording: Recording,
    repeat: bool,
    size: (u32, u32),
    period: Duration,
    started: Option<Time>,
    next: u64,
    counters: Counters,
}

impl FolderCamera {
    /// Reads the list of pictures.
    ///
    /// # Errors
    /// Fails if the folder has no recording that can be read.
    pub fn open(source: &FolderSource, config: &CameraConfig) -> Result<Self, CameraError> {
        Ok(Self {
            recording: Recording::open(&source.folder)?,
            repeat: source.repeat,
            size: (config.width, config.height),
            period: config.period(),
            started: None,
            next: 0,
            counters: Counters::default(),
        })
    }

    /// Decodes some of the pictures, evenly spaced: without a drive, it is found that they cannot be
    /// read or have another size than the camera's.
    ///
    /// # Errors
    /// Fails if one of them cannot be shown.
    pub fn check(&self) -> Result<(), CameraError> {
        const MOST: usize = 16;
        let (pixels, width, height) = self.format();
        let mut frame = Frame::new(pixels, width, height)?;
        let records = self.recording.records();
        let mut chosen = evenly(records.len(), MOST).into_iter();
        chosen.try_for_each(|index| self.decode(&records[index], &mut frame))
    }

    fn moment(&self, started: Time, number: u64) -> Time {
        let period = self.period.as_nanos() as u64;
        started + Duration::from_nanos(number.saturating_mul(period))
    }

    fn decode(&self, record: &Record, frame: &mut Frame) -> Result<(), CameraError> {
        let failed = |problem: String| CameraError::Picture {
            picture: self.recording.folder().join(&record.picture),
            problem,
        };
        let (width, height) = self.size;
        let picture = self.recording.decode(record);
        let picture = picture.map_err(|problem| failed(problem.to_string()))?;
        let (w, h) = (picture.width, picture.height);
        if (w, h) != self.size {
            return Err(failed(format!(
                "is {w}x{h} pixels, but `camera.width` and `camera.height` say {width}x{height}"
            )));
        }
        frame.data_mut().copy_from_slice(&picture.rgb);
        Ok(())
    }
}

impl Camera for FolderCamera {
    fn describe(&self) -> String {
        let (width, height) = self.size;
        let rate = 1.0 / self.period.as_secs_f64();
        format!(
            "{} pictures in {}, {width}x{height} at {rate:.4} Hz",
            self.recording.records().len(),
            self.recording.folder().display()
        )
    }

    fn format(&self) -> (PixelFormat, u32, u32) {
        (PixelFormat::Rgb8, self.size.0, self.size.1)
    }

    fn frame_period(&self) -> Duration {
        self.period
    }

    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        self.check_format(frame)?;
        let now = Monotonic.now();
        let started = *self.started.get_or_insert(now);
        let passed = now.since(started).as_nanos() / self.period.as_nanos().max(1);
        let number = self.next.max(passed as u64);
        let pictures = self.recording.records().len();
        if !self.repeat && number >= pictures as u64 {
            return Err(CameraError::Ended {
                folder: self.recording.folder().to_owned(),
                pictures,
            });
        }
        let picture = (number % pictures as u64) as usize;
        self.decode(&self.recording.records()[picture], frame)?;
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

#[cfg(test)]
mod tests;
