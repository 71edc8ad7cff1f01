//! Frames of recordings at the network's input size, with the recorded controls.

use std::path::{Path, PathBuf};

use pilotage_dataset::{DatasetError, Note, Picture, Record, Recording};
use pilotage_vehicle::Measurement;
use pilotage_vision::{Preprocess, VisionError, resize_recorded};

use super::recipe::LearnedOutput;

/// The time between two frames of a recording without times, seconds.
pub const PERIOD: f64 = 0.05;
/// A longer pause between two records begins another drive, seconds.
const PAUSE: f64 = 2.0;

/// Where a frame lies in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The number of the drive: a part of a recording without a pause.
    pub drive: usize,
    /// Seconds from any start, increasing within a drive.
    pub time: f64,
}

/// Why frames cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// A recording cannot be read, or too many of its pictures are bad.
    #[error(transparent)]
    Recording(#[from] DatasetError),
    /// Most records of a recording lack a value that is to be learned.
    #[error(
        "{}: {without} of {of} records have no {missing}, which the network is to learn; leave \
         this recording out, or change [[output]]", folder.display()
    )]
    NoLabel {
        /// The recording.
        folder: PathBuf,
        /// Records without the value.
        without: usize,
        /// Records in all.
        of: usize,
        /// The missing control.
        missing: &'static str,
    },
    /// Most records of a recording lack a number that the network is to get.
    #[error(
        "{}: {without} of {of} records have no {}, which the network is to get; leave this recording \
         out, or {} out of `measure`", folder.display(), missing.column(), missing.name()
    )]
    NotMeasured {
        /// The recording.
        folder: PathBuf,
        /// Records without the number.
        without: usize,
        /// Records in all.
        of: usize,
        /// The missing number.
        missing: Measurement,
    },
    /// A picture cannot be converted to the network's input.
    #[error("{}: {reason}", path.display())]
    Vision {
        /// The picture.
        path: PathBuf,
        /// The conversion's error.
        reason: VisionError,
    },
    /// The pictures do not fit into memory.
    #[error(
        "{frames} frames of {width} x {height} need {} MiB of memory, which this machine does not \
         have available; reduce the input, or use fewer recordings", bytes >> 20
    )]
    Memory {
        /// The number of frames.
        frames: usize,
        /// The input's width, pixels.
        width: u32,
        /// The input's height, pixels.
        height: u32,
        /// The bytes of the pictures.
        bytes: usize,
    },
}

/// Frames with their controls, in the order of the drives.
#[derive(Debug, Default)]
pub struct Frames {
    /// Bytes of a picture.
    picture: usize,
    /// Rows of interleaved channels in the recipe's colour order, one picture after another.
    pictures: Vec<u8>,
    outputs: usize,
    /// The recorded controls in the car's units, one frame after another.
    labels: Vec<f32>,
    /// What is kept of what sensors measured.
    measurements: Vec<Measurement>,
    /// The measured numbers, one frame after another.
    numbers: Vec<f32>,
    /// Where each frame lies in time.
    pub places: Vec<Place>,
    /// Whether each frame is that of a camera at the side.
    sides: Vec<bool>,
}

impl Frames {
    /// No frames yet, for a network's input and the number of its outputs.
    pub fn new(input: &Preprocess, outputs: usize) -> Self {
        let [_, a, b, c] = input.shape();
        Self {
            picture: a * b * c,
            outputs,
            ..Self::default()
        }
    }

    /// The same, which keeps these numbers that sensors measured, too.
    #[must_use]
    pub fn with_numbers(self, measurements: &[Measurement]) -> Self {
        Self {
            measurements: measurements.to_owned(),
            ..self
        }
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no frames.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The picture of a frame: rows of interleaved channels.
    pub fn picture(&self, index: usize) -> &[u8] {
        &self.pictures[index * self.picture..][..self.picture]
    }

    /// The recorded controls of a frame, in the car's units.
    pub fn label(&self, index: usize) -> &[f32] {
        &self.labels[index * self.outputs..][..self.outputs]
    }

    /// What sensors measured with a frame, in the order of [`with_numbers`](Self::with_numbers).
    pub fn numbers(&self, index: usize) -> &[f32] {
        let count = self.measurements.len();
        let numbers = self.numbers.get(index * count..(index + 1) * count);
        numbers.unwrap_or_default()
    }

    /// Whether a frame is that of a camera at the side, which the car does not drive by.
    pub fn is_side(&self, index: usize) -> bool {
        self.sides.get(index).copied().unwrap_or(false)
    }

    /// The index behind a frame and those of the cameras at its sides.
    pub fn next(&self, index: usize) -> usize {
        let sides = (index + 1..self.len()).take_while(|&next| self.is_side(next));
        index + 1 + sides.count()
    }

    /// The frame `count` frames before one, or the first of its drive.
    pub fn before(&self, index: usize, count: usize) -> usize {
        let drive = self.places[index].drive;
        let earlier = (index.saturating_sub(count)..=index).rev();
        earlier
            .take_while(|&it| self.places[it].drive == drive)
            .last()
            .unwrap_or(index)
    }

    /// Adds a frame of the camera that the car drives by.
    pub fn push(&mut self, picture: &[u8], label: &[f32], place: Place) {
        debug_assert_eq!((picture.len(), label.len()), (self.picture, self.outputs));
        self.pictures.extend_from_slice(picture);
        self.labels.extend_from_slice(label);
        self.places.push(place);
        self.sides.push(false);
    }

    /// Adds the frames of a recording. `progress` is called for every frame. Returns what an
    /// operator should know of its pictures.
    ///
    /// # Errors
    /// When the recording's pictures cannot be used, or most records lack a value.
    pub fn add(
        &mut self,
        recording: &Recording,
        input: &Preprocess,
        outputs: &[LearnedOutput],
        mut progress: impl FnMut(),
    ) -> Result<Vec<String>, FramesError> {
        let folder = recording.folder();
        let records = recording.records();
        let labelled = labelled(folder, records, outputs, &self.measurements)?;
        let first = self.places.last().map_or(0, |place| place.drive + 1);
        let places = places(records, first);
        let resized = |record: &Record, picture| {
            let picture = resize(&folder.join(&record.picture), &picture, input)?;
            let values = outputs.iter().map(|output| output.of_record(record));
            // Records without a value were left out above.
            let label: Vec<f32> = values.map(|value| value.unwrap_or(0.0) as f32).collect();
            Ok::<_, FramesError>((picture, label))
        };
        let decoded =
            recording.for_each_picture(&labelled, resized, |index, (picture, label)| {
                self.push(&picture, &label, places[index]);
                let measured = &records[index].measured;
                let numbers = self.measurements.iter().filter_map(|&it| measured.get(it));
                self.numbers.extend(numbers);
                if let Some(is_side) = self.sides.last_mut() {
                    *is_side = records[index].is_side;
                }
                progress();
            })?;
        let found = decoded.notes(recording);
        let mut notes: Vec<String> = found.iter().map(Note::to_string).collect();
        let without = records.len() - labelled.len();
        if without > 0 {
            notes.push(format!(
                "{}: {without} records without a value to learn, or a measured number, are passed over",
                folder.display()
            ));
        }
        Ok(notes)
    }

    /// Reserves the memory for `frames` more frames.
    ///
    /// # Errors
    /// When this machine has not that much memory available.
    pub fn reserve(&mut self, frames: usize, input: &Preprocess) -> Result<(), FramesError> {
        let bytes = frames.saturating_mul(self.picture);
        let available = available_memory().unwrap_or(u64::MAX);
        let fits = bytes as u64 <= available && self.pictures.try_reserve_exact(bytes).is_ok();
        match fits {
            true => Ok(()),
            false => Err(FramesError::Memory {
                frames,
                width: input.width,
                height: input.height,
                bytes,
            }),
        }
    }
}

/// The memory that programs can have without swapping, bytes; `None` on systems without
/// `/proc/meminfo` (proc_meminfo(5)).
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The records that have every value and every number.
fn labelled(
    folder: &Path,
    records: &[Record],
    outputs: &[LearnedOutput],
    measurements: &[Measurement],
) -> Result<Vec<usize>, FramesError> {
    for &missing in measurements {
        let lacks = |record: &&Record| record.measured.get(missing).is_none();
        let without = records.iter().filter(lacks).count();
        if without * 2 > records.len() {
            return Err(FramesError::NotMeasured {
                folder: folder.to_owned(),
                without,
                of: records.len(),
                missing,
            });
        }
    }
    for output in outputs {
        let lacks = |record: &&Record| output.of_record(record).is_none();
        let without = records.iter().filter(lacks).count();
        if without * 2 > records.len() {
            return Err(FramesError::NoLabel {
                folder: folder.to_owned(),
                without,
                of: records.len(),
                missing: output.meaning.name(),
            });
        }
    }
    let complete = |record: &Record| {
        let mut measured = measurements.iter().map(|&it| record.measured.get(it));
        outputs.iter().all(|o| o.of_record(record).is_some()) && measured.all(|it| it.is_some())
    };
    let all = records.iter().enumerate();
    Ok(all
        .filter(|(_, record)| complete(record))
        .map(|(index, _)| index)
        .collect())
}

/// Where the records lie in time; the first drive has the number `first`.
fn places(records: &[Record], first: usize) -> Vec<Place> {
    let mut drive = first;
    let mut last: Option<f64> = None;
    records
        .iter()
        .enumerate()
        .map(|(index, record)| {
            let time = record.time.unwrap_or(match last {
                // At the same time as the picture of the centre.
                Some(last) if record.is_side => last,
                Some(last) => last + PERIOD,
                None => index as f64 * PERIOD,
            });
            if last.is_some_and(|last| time < last || time - last > PAUSE) {
                drive += 1;
            }
            last = Some(time);
            Place { drive, time }
        })
        .collect()
}

/// The pixels of the network's input, as `pilotage compile` makes them of calibration frames.
fn resize(path: &Path, picture: &Picture, input: &Preprocess) -> Result<Vec<u8>, FramesError> {
    let resized = resize_recorded(input, (picture.width, picture.height), &picture.rgb);
    resized.map_err(|reason| FramesError::Vision {
        path: path.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_and_a_jump_back_begin_a_drive() {
        let record = |time| Record {
            time,
            ..Record::default()
        };
        let records = [
            record(Some(5.0)),
            record(Some(5.1)),
            record(None),
            record(Some(8.0)),
            record(Some(1.0)),
        ];
        let drives: Vec<usize> = places(&records, 3)
            .iter()
            .map(|place| place.drive)
            .collect();
        assert_eq!(drives, [3, 3, 3, 4, 5]);
        let times: Vec<f64> = places(&vec![record(None); 3], 0)
            .iter()
            .map(|p| p.time)
            .collect();
        assert_eq!(times, [0.0, PERIOD, 2.0 * PERIOD]);
    }

    #[test]
    fn frames_before_the_first_of_a_drive_are_the_first() {
        let input = Preprocess::new(1, 1);
        let mut frames = Frames::new(&input, 1);
        for drive in [0, 0, 0, 1, 1] {
            frames.push(&[0; 3], &[0.0], Place { drive, time: 0.0 });
        }
        let before = |index| [0, 1, 2].map(|count| frames.before(index, count));
        assert_eq!(before(0), [0, 0, 0]);
        assert_eq!(before(2), [2, 1, 0]);
        assert_eq!(before(4), [4, 3, 3]);
    }

    #[test]
    fn more_frames_than_memory_are_refused() {
        let input = Preprocess::new(200, 66);
        let mut frames = Frames::new(&input, 2);
        assert!(frames.reserve(10, &input).is_ok());
        let error = frames.reserve(1 << 40, &input).unwrap_err();
        assert!(matches!(error, FramesError::Memory { .. }), "{error}");
    }
}
