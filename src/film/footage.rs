//! What is filmed: the pictures of a drive log or a recording, and what the car did.

use std::path::{Path, PathBuf};

use image::RgbImage;
use pilotage_dataset::{
    DatasetError, LogOptions, LogProblem, Note, PictureProblem, Record, Recording,
};
use pilotage_drivelog::{Entry, Reader};

use super::FilmError;
use super::state::State;

/// Most iterations of a log: 4.6 hours at 60 Hz.
const MOST_STATES: usize = 1_000_000;
/// Pictures that are tried to find the first that can be used.
const TRIED: usize = 100;
/// The longest time between two pictures of a recording that is kept, and the time that replaces a
/// longer one, or none, seconds.
const LONGEST: f64 = 2.0;
const USUAL: f64 = 0.05;

/// Pictures and states, each in the order of time. There is at least one picture.
#[derive(Debug)]
pub(crate) struct Footage {
    recording: Recording,
    pictures: Vec<Shot>,
    states: Vec<State>,
    /// How much later than its picture a state is known, seconds.
    delay: f64,
    length: f64,
    is_log: bool,
}

/// When a picture was taken, seconds from the first one.
#[derive(Debug, Clone, Copy)]
struct Shot {
    time: f64,
    record: usize,
}

impl Footage {
    /// Reads a drive log, or else a recording in any format.
    ///
    /// # Errors
    /// When it cannot be read, or has no pictures.
    pub fn read(path: &Path) -> Result<Self, FilmError> {
        match Reader::open(path) {
            Ok(reader) => Self::of_log(path, reader),
            // What is no log may be a recording, whose errors say more.
            Err(_) => Self::of_recording(path),
        }
    }

    fn of_log<R: std::io::Read>(path: &Path, mut reader: Reader<R>) -> Result<Self, FilmError> {
        let options = LogOptions {
            idle: true,
            ..LogOptions::default()
        };
        let recording = Recording::open_with(path, &options).map_err(|error| match error {
            DatasetError::Log {
                problem: LogProblem::NoPictures(_),
                ..
            }
            | DatasetError::NoRecords { .. } => FilmError::NoPictures(path.to_owned()),
            other => other.into(),
        })?;
        let start = reader.start();
        let epoch = start.epoch_ns as f64 * 1e-9;
        let delay = (start.frame_period_ms * 1e-3).clamp(0.0, 0.1);
        let records = recording.records().iter().enumerate();
        // Seconds since 1970 are exact to a microsecond only; they are rounded below.
        let times = records.filter_map(|(index, record)| Some((index, record.time? - epoch)));
        let mut pictures: Vec<Shot> = times.map(|(record, time)| Shot { time, record }).collect();
        pictures.sort_by(|a, b| a.time.total_cmp(&b.time));
        let zero = pictures.first().map_or(0.0, |first| first.time);
        for shot in &mut pictures {
            shot.time = ((shot.time - zero) * 1e5).round() * 1e-5;
        }
        let states = states(path, &mut reader, zero)?;
        Self::new(recording, pictures, states, Some(delay))
    }

    fn of_recording(path: &Path) -> Result<Self, FilmError> {
        let recording = Recording::open(path)?;
        let mut pictures = Vec::with_capacity(recording.records().len());
        let mut states = Vec::with_capacity(recording.records().len());
        let (mut time, mut before) = (0.0, None);
        for (index, record) in recording.records().iter().enumerate() {
            if index > 0 {
                time += interval(before, record.time);
            }
            before = record.time;
            pictures.push(Shot {
                time,
                record: index,
            });
            states.push(State::of_record(record, time));
        }
        Self::new(recording, pictures, states, None)
    }

    fn new(
        recording: Recording,
        pictures: Vec<Shot>,
        states: Vec<State>,
        delay_of_log: Option<f64>,
    ) -> Result<Self, FilmError> {
        let Some(last) = pictures.last().map(|it| it.time) else {
            return Err(FilmError::NoPictures(recording.folder().to_owned()));
        };
        let delay = delay_of_log.unwrap_or(0.0);
        // A camera that is gone is shown as long as the log goes on.
        let end = states.last().map_or(0.0, |state| state.time - delay);
        Ok(Self {
            recording,
            pictures,
            states,
            delay,
            length: last.max(end),
            is_log: delay_of_log.is_some(),
        })
    }

    /// The log's file, or the recording's folder.
    pub fn path(&self) -> &Path {
        self.recording.folder()
    }

    /// What was passed over in reading. That pictures have no command is no matter in a log, whose
    /// states are read by their times.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        let is_log = self.is_log;
        let notes = self.recording.notes().iter();
        notes.filter(move |note| {
            !is_log || matches!(note, Note::LogEnd { .. } | Note::Malformed { .. })
        })
    }

    /// From the first picture to the end, seconds.
    pub fn length(&self) -> f64 {
        self.length
    }

    /// The newest picture at `time`, and its age in seconds.
    pub fn picture_at(&self, time: f64) -> (usize, f64) {
        // The times of a plan are multiples of its step, rounded.
        let after = self.pictures.partition_point(|it| it.time <= time + 1e-6);
        let place = after.saturating_sub(1);
        let taken = self.pictures.get(place).map_or(time, |it| it.time);
        (place, (time - taken).max(0.0))
    }

    /// What the car did at `time`; `None` before the first state.
    pub fn state_at(&self, time: f64) -> Option<&State> {
        let known = time + self.delay + 1e-6;
        let after = self.states.partition_point(|it| it.time <= known);
        self.states.get(after.checked_sub(1)?)
    }

    /// The name of the picture at `place`.
    pub fn name(&self, place: usize) -> PathBuf {
        let record = self.record(place);
        record.map_or_else(PathBuf::new, |record| record.picture.clone())
    }

    fn record(&self, place: usize) -> Option<&Record> {
        let shot = self.pictures.get(place)?;
        self.recording.records().get(shot.record)
    }

    /// The first picture that can be used.
    ///
    /// # Errors
    /// When there is none among the first hundred.
    pub fn first_picture(&self) -> Result<RgbImage, FilmError> {
        let mut places = 0..self.pictures.len().min(TRIED);
        let first = places.find_map(|place| self.decode(place).ok());
        first.ok_or_else(|| FilmError::NoneUsable(self.path().to_owned()))
    }

    /// Decodes the picture at `place`.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn decode(&self, place: usize) -> Result<RgbImage, PictureProblem> {
        let record = self.record(place).ok_or(PictureProblem::Missing)?;
        let decoded = self.recording.decode(record)?;
        let image = RgbImage::from_raw(decoded.width, decoded.height, decoded.rgb);
        image.ok_or(PictureProblem::Empty)
    }
}

/// The time from a record to the next one. Where a recording has no times, or a drive ends in it,
/// the usual one.
fn interval(before: Option<f64>, time: Option<f64>) -> f64 {
    let between = before.zip(time).map(|(before, time)| time - before);
    between
        .filter(|it| (1e-3..=LONGEST).contains(it))
        .unwrap_or(USUAL)
}

/// The iterations of a log, at seconds from `zero` on the drive's clock.
fn states<R: std::io::Read>(
    path: &Path,
    reader: &mut Reader<R>,
    zero: f64,
) -> Result<Vec<State>, FilmError> {
    let mut states = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let Entry::Frame(frame) = entry else {
            continue;
        };
        if states.len() >= MOST_STATES {
            return Err(FilmError::TooManyStates {
                path: path.to_owned(),
                most: MOST_STATES,
            });
        }
        states.push(State::of_frame(&frame, frame.published_ms * 1e-3 - zero));
    }
    states.sort_by(|a, b| a.time.total_cmp(&b.time));
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_two_drives_is_left_out() {
        assert!((interval(Some(1.0), Some(1.1)) - 0.1).abs() < 1e-9);
        for (before, time) in [
            (Some(1.0), Some(60.0)),
            (Some(60.0), Some(1.0)),
            (Some(1.0), Some(f64::NAN)),
            (Some(1.0), Some(1.0)),
            (None, Some(1.0)),
            (None, None),
        ] {
            assert_eq!(interval(before, time), USUAL, "{before:?} {time:?}");
        }
    }
}
