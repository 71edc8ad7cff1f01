//! The pictures of a recording, as a camera.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_dataset::{
    BadPicture, BadPictures, DatasetError, Picture, PictureProblem, Record, Recording, evenly,
    tolerable,
};
use pilotage_vehicle::{Clock, Monotonic, Time};
use pilotage_vision::{Frame, PixelFormat};

use super::config::{CameraConfig, FolderSource};
use super::{Camera, CameraError, Counters};

/// The pictures that [`FolderCamera::check`] decodes.
const CHECKED: usize = 2000;
/// The pictures of which one must be usable when the folder is opened.
const FIRST: usize = 16;

/// Shows the pictures of a recording in its order, each at its due time. Without a list of records
/// the order is that of the pictures' names. A picture whose time has passed is skipped. Each
/// picture is decoded shortly before it is due, which allocates memory. Pictures that cannot be
/// decoded or have another size than the camera are passed over, each kind up to
/// [`BAD_SHARE_PERCENT`](pilotage_dataset::BAD_SHARE_PERCENT) percent of the recording.
pub struct FolderCamera {
    recording: Recording,
    passed_over: PassedOver,
    timeout: Duration,
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
    /// Fails if the folder has no recording that can be read, or none of sixteen of its pictures can
    /// be shown.
    pub fn open(source: &FolderSource, config: &CameraConfig) -> Result<Self, CameraError> {
        let recording = Recording::open(&source.folder)?;
        let camera = Self {
            passed_over: PassedOver::new(recording.folder()),
            recording,
            timeout: config.timeout,
            repeat: source.repeat,
            size: (config.width, config.height),
            period: config.period(),
            started: None,
            next: 0,
            counters: Counters::default(),
        };
        camera.check_some()?;
        Ok(camera)
    }

    fn check_some(&self) -> Result<(), CameraError> {
        let mut found = PassedOver::new(self.recording.folder());
        let (pixels, width, height) = self.format();
        let mut frame = Frame::new(pixels, width, height)?;
        let records = self.recording.records();
        let chosen = evenly(records.len(), FIRST);
        for &index in &chosen {
            match self.decode(&records[index], &mut frame) {
                Ok(()) => return Ok(()),
                Err(problem) => found.add(index, &records[index], problem),
            }
        }
        found.within(chosen.len(), self.size)
    }

    /// Decodes up to 2000 of the pictures, evenly spaced: without a drive, it is found that too many
    /// of them cannot be decoded or have another size than the camera. Fewer are logged as warnings.
    ///
    /// # Errors
    /// Fails if more than [`BAD_SHARE_PERCENT`](pilotage_dataset::BAD_SHARE_PERCENT) percent of them cannot be decoded, or have another
    /// size.
    pub fn check(&self) -> Result<(), CameraError> {
        let records = self.recording.records();
        let chosen = evenly(records.len(), CHECKED);
        let mut found = PassedOver::new(self.recording.folder());
        let size =
            |_: &Record, picture: Picture| Ok::<_, DatasetError>((picture.width, picture.height));
        let decoded = self
            .recording
            .for_each_picture(&chosen, size, |index, size| {
                if size != self.size {
                    found.add(index, &records[index], Unusable::Size(size));
                }
            })?;
        found.bad = decoded.bad;
        found.within(chosen.len(), self.size)?;
        if !found.bad.bad.is_empty() {
            log::warn!("{}", found.bad);
        }
        if let Some(sizes) = found.sizes_error(chosen.len(), self.size) {
            log::warn!("{sizes}; they are passed over");
        }
        Ok(())
    }

    fn moment(&self, started: Time, number: u64) -> Time {
        let period = self.period.as_nanos() as u64;
        started + Duration::from_nanos(number.saturating_mul(period))
    }

    fn decode(&self, record: &Record, frame: &mut Frame) -> Result<(), Unusable> {
        let picture = self.recording.decode(record).map_err(Unusable::Bad)?;
        let size = (picture.width, picture.height);
        if size != self.size {
            return Err(Unusable::Size(size));
        }
        frame.data_mut().copy_from_slice(&picture.rgb);
        Ok(())
    }

    /// Decodes the picture with this number, or the next one behind it that can be shown. Returns
    /// its number. One that is due after `latest` is not waited for.
    fn decode_next(
        &mut self,
        mut number: u64,
        latest: Time,
        frame: &mut Frame,
    ) -> Result<u64, CameraError> {
        let pictures = self.recording.records().len();
        loop {
            if !self.repeat && number >= pictures as u64 {
                return Err(CameraError::Ended {
                    folder: self.recording.folder().to_owned(),
                    pictures,
                });
            }
            let index = (number % pictures as u64) as usize;
            let record = &self.recording.records()[index];
            let Err(problem) = self.decode(record, frame) else {
                return Ok(number);
            };
            self.counters.broken += 1;
            self.passed_over.add(index, record, problem);
            self.passed_over.within(pictures, self.size)?;
            number += 1;
            let started = self.started.unwrap_or(latest);
            if self.moment(started, number) > latest {
                self.next = number;
                std::thread::sleep(latest.since(Monotonic.now()));
                return Err(CameraError::NoFrame {
                    camera: self.recording.folder().display().to_string(),
                    waited: self.timeout,
                    hint: ": the pictures that were due cannot be shown",
                });
            }
        }
    }
}

/// Why a picture cannot be shown.
enum Unusable {
    /// It cannot be decoded.
    Bad(PictureProblem),
    /// Its width and height, pixels, are not the camera's.
    Size((u32, u32)),
}

/// The pictures that were passed over.
struct PassedOver {
    bad: BadPictures,
    /// Those of another size: how many, and the first with its size.
    sizes: usize,
    first: Option<(PathBuf, (u32, u32))>,
    /// The indices of all: a picture that is shown again counts once.
    seen: BTreeSet<usize>,
}

impl PassedOver {
    fn new(folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self {
            bad: BadPictures {
                folder,
                ..BadPictures::default()
            },
            sizes: 0,
            first: None,
            seen: BTreeSet::new(),
        }
    }

    fn add(&mut self, index: usize, record: &Record, problem: Unusable) {
        if !self.seen.insert(index) {
            return;
        }
        let picture = record.picture.clone();
        match problem {
            Unusable::Bad(problem) => self.bad.bad.push(BadPicture { picture, problem }),
            Unusable::Size(size) => {
                self.sizes += 1;
                self.first.get_or_insert((picture, size));
            }
        }
    }

    /// Checks that the share of each kind `of` so many pictures is small enough to continue. After an
    /// error, counting begins again.
    fn within(&mut self, of: usize, wanted: (u32, u32)) -> Result<(), CameraError> {
        self.bad.of = of;
        let folder = self.bad.folder.clone();
        let error = if !self.bad.tolerable() {
            Some(DatasetError::BadPictures(std::mem::take(&mut self.bad)).into())
        } else if tolerable(self.sizes, of) {
            None
        } else {
            self.sizes_error(of, wanted)
        };
        let Some(error) = error else {
            return Ok(());
        };
        *self = Self::new(&folder);
        Err(error)
    }

    /// The error of the pictures of another size, if there are any.
    fn sizes_error(&self, of: usize, wanted: (u32, u32)) -> Option<CameraError> {
        let (picture, size) = self.first.clone()?;
        Some(CameraError::Sizes {
            folder: self.bad.folder.clone(),
            count: self.sizes,
            of,
            picture,
            size,
            wanted,
        })
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
        let skipped = number - self.next;
        let latest = now + self.timeout;
        let number = self.decode_next(number, latest, frame)?;
        let moment = self.moment(started, number);
        std::thread::sleep(moment.since(Monotonic.now()));
        frame.captured = moment;
        frame.sequence = number;
        self.counters.frames += 1;
        self.counters.skipped += skipped;
        self.next = number + 1;
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests;
