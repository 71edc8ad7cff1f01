//! Reads frames for calibration and validation from a recording: any format that
//! `pilotage-dataset` reads, a folder of pictures among them.

mod numbers;
mod runs;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pilotage_dataset::{DatasetError, Picture, Record, Recording, evenly};
use pilotage_engine::{FrameSize, InputRules};
use pilotage_vision::{Preprocess, VisionError, resize_recorded, resized_already};

use crate::progress::Run;

pub use numbers::{FrameNumbers, Numbered, NumbersError};

/// With fewer frames than this, compilation gives a warning.
pub const FEW: usize = 100;
/// One of every `HELD_BACK` frames is held back from calibration.
const HELD_BACK: usize = 9;
/// The default of the largest number of frames that are read; of more, this many are chosen
/// evenly. Ranges change little with more frames, and the time to compile grows with each.
pub const MAX_FRAMES: usize = 1_000;

/// Images in the size and colour order of the network's input, before normalization.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    /// Each frame as rows of interleaved channels in the recipe's colour order, values from 0 to
    /// 255.
    pub pixels: Vec<Vec<u8>>,
    /// The size of the pictures before the crop, if all have one size and none was cropped and
    /// resized when it was recorded.
    pub size: Option<FrameSize>,
    /// The index of the first frame of each run of consecutive frames, if they were read as such: for
    /// a network with more inputs than a picture.
    pub runs: Vec<usize>,
    /// What was measured and commanded at each frame, for a network that gets it; else empty.
    pub numbers: Vec<FrameNumbers>,
    /// What an operator should know about the recording: pictures that are passed over or not
    /// chosen, pictures of several sizes.
    pub notes: Vec<String>,
}

/// Why frames cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// The recording cannot be read, or too many of its pictures are bad.
    #[error(transparent)]
    Recording(#[from] DatasetError),
    /// The recording lacks numbers that the network gets.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// The folder has only one image.
    #[error(
        "{}: {found} picture(s) are too few: some are for calibration, others for validation; \
         record some hundred", path.display()
    )]
    TooFew {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// All frames are identical.
    #[error(
        "{}: all {found} pictures or scans are the same; ranges chosen from them would be wrong on the \
         road: record frames of driving", path.display()
    )]
    Constant {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// An image has neither a camera frame's size nor the input's size.
    #[error(
        "{}: {width} x {height} pixels: neither a camera frame that the recipe's crop lies within \
         nor {} x {}, the input's own size; frames have to be as the car's camera gives them",
        path.display(), expected.0, expected.1
    )]
    Size {
        /// The image.
        path: PathBuf,
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// Width and height of the network's input.
        expected: (u32, u32),
    },
    /// An image cannot be converted to an input.
    #[error("{}: {reason}", path.display())]
    Vision {
        /// The image.
        path: PathBuf,
        /// The conversion's error.
        reason: VisionError,
    },
}

impl Frames {
    /// Reads a recording and crops and resizes each picture as `preprocess` specifies. A picture
    /// that the crop does not fit is used unchanged if it has the input's size. Of more than
    /// [`MAX_FRAMES`] pictures, so many are chosen evenly.
    ///
    /// # Errors
    /// The error names the file.
    pub fn read(folder: &Path, preprocess: &Preprocess) -> Result<Self, FramesError> {
        Self::read_chosen(folder, preprocess, Choice::Evenly(MAX_FRAMES), Run::ALONE)
    }

    /// Like [`read`](Self::read), with another choice of pictures. `run` is informed of each.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_chosen(
        folder: &Path,
        preprocess: &Preprocess,
        choice: Choice,
        run: Run<'_>,
    ) -> Result<Self, FramesError> {
        Self::read_for(folder, (preprocess, &InputRules::default()), choice, run)
    }

    /// Like [`read_chosen`](Self::read_chosen), with the numbers that `rules` name.
    ///
    /// # Errors
    /// As [`read`](Self::read), and if the recording lacks one of the numbers.
    pub fn read_for(
        folder: &Path,
        (preprocess, rules): (&Preprocess, &InputRules),
        choice: Choice,
        run: Run<'_>,
    ) -> Result<Self, FramesError> {
        let recording = Recording::open(folder)?;
        let numbered = Numbered::new(&recording, rules)?;
        let all = recording.records().len();
        let (chosen, starts) = match choice {
            Choice::Evenly(most) => (evenly(all, most), BTreeSet::new()),
            Choice::Single(most) => {
                let chosen = evenly(all, most);
                (chosen.clone(), chosen.into_iter().collect())
            }
            Choice::Runs(most) => runs::choose(recording.records(), most),
        };
        let mut notes: Vec<_> = recording.notes().iter().map(ToString::to_string).collect();
        if chosen.len() < all {
            let how = match choice {
                Choice::Evenly(_) | Choice::Single(_) => "evenly chosen",
                Choice::Runs(_) => "in runs of consecutive ones, evenly chosen",
            };
            notes.push(format!(
                "{}: {} of {all} pictures are used, {how} (`max_frames` of [calibration], \
                 --max-frames)",
                folder.display(),
                chosen.len()
            ));
        }
        let mut pixels = Vec::new();
        let mut sizes = Vec::new();
        run.pass(chosen.len());
        let resized = |record: &Record, picture| {
            let frame = resize(&folder.join(&record.picture), &picture, preprocess)?;
            let numbers = numbered.of(record)?;
            run.frame();
            Ok::<_, FramesError>((frame_size(&picture, preprocess), frame, numbers))
        };
        let (mut runs, mut before, mut numbers) = (Vec::new(), None, Vec::new());
        let take = |index: usize, (size, frame, given)| {
            // A picture that was passed over ends a run.
            let follows = index.checked_sub(1).is_some_and(|it| before == Some(it));
            if !starts.is_empty() && (!follows || starts.contains(&index)) {
                runs.push(pixels.len());
            }
            before = Some(index);
            pixels.push(frame);
            numbers.push(given);
            if !sizes.contains(&size) {
                sizes.push(size);
            }
        };
        let decoded = recording.for_each_picture(&chosen, resized, take)?;
        notes.extend(decoded.notes(&recording).iter().map(ToString::to_string));
        let (path, found) = (folder.to_owned(), pixels.len());
        if found < 2 {
            return Err(FramesError::TooFew { path, found });
        }
        let is_one = match preprocess.is_none() {
            true => numbers.windows(2).all(|pair| pair[0] == pair[1]),
            false => pixels.windows(2).all(|pair| pair[0] == pair[1]),
        };
        if is_one {
            return Err(FramesError::Constant { path, found });
        }
        let size = match sizes[..] {
            [size] => size,
            _ => None,
        };
        Ok(Self {
            pixels,
            size,
            runs,
            numbers: match rules.has_numbers() {
                true => numbers,
                false => Vec::new(),
            },
            notes,
        })
    }

    /// The frames for calibration, and the frames for validation: the last of every nine frames.
    pub fn split(&self) -> (Vec<&[u8]>, Vec<&[u8]>) {
        let each = HELD_BACK.min(self.pixels.len());
        let mut calibration = Vec::new();
        let mut held_back = Vec::new();
        for (index, frame) in self.pixels.iter().enumerate() {
            match (index + 1) % each {
                0 => held_back.push(&frame[..]),
                _ => calibration.push(&frame[..]),
            }
        }
        (calibration, held_back)
    }

    /// The same for runs of consecutive frames: the last of every nine runs is held back.
    pub(crate) fn split_runs(&self) -> [Vec<Vec<Taken<'_>>>; 2] {
        let ends = self.runs.iter().skip(1).copied().chain([self.pixels.len()]);
        let runs = self.runs.iter().zip(ends);
        let taken = |index: usize| {
            Some(Taken {
                pixels: self.pixels.get(index)?,
                numbers: self.numbers.get(index),
            })
        };
        let frames = |(&start, end): (&usize, usize)| (start..end).filter_map(taken).collect();
        let runs: Vec<Vec<Taken<'_>>> = runs.map(frames).collect();
        let each = HELD_BACK.min(runs.len()).max(1);
        let mut split = [Vec::new(), Vec::new()];
        for (index, run) in runs.into_iter().enumerate() {
            split[usize::from((index + 1) % each == 0)].push(run);
        }
        split
    }
}

impl Frames {
    /// How many frames are for calibration, and for validation.
    pub(crate) fn counts(&self) -> [usize; 2] {
        if self.runs.is_empty() {
            let (calibration, held_back) = self.split();
            return [calibration.len(), held_back.len()];
        }
        let frames = |runs: Vec<Vec<Taken<'_>>>| runs.iter().map(Vec::len).sum();
        self.split_runs().map(frames)
    }
}

/// A frame of a drive: its picture, and what was measured and commanded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Taken<'a> {
    /// As in [`Frames::pixels`].
    pub(crate) pixels: &'a [u8],
    pub(crate) numbers: Option<&'a FrameNumbers>,
}

/// Which pictures of a recording are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// So many at most, evenly chosen.
    Evenly(usize),
    /// The same, each as a run of its own.
    Single(usize),
    /// So many at most, in runs of consecutive pictures, evenly chosen.
    Runs(usize),
}

/// The size of the camera's frames that `picture` shows, if it is one of them.
fn frame_size(picture: &Picture, preprocess: &Preprocess) -> Option<FrameSize> {
    let (width, height) = (picture.width, picture.height);
    let is_frame = !resized_already(preprocess, (width, height)) && !preprocess.is_none();
    is_frame.then_some(FrameSize { width, height })
}

/// The pixels of the network's input.
fn resize(path: &Path, picture: &Picture, preprocess: &Preprocess) -> Result<Vec<u8>, FramesError> {
    if preprocess.is_none() {
        return Ok(vec![0]);
    }
    let (width, height) = (picture.width, picture.height);
    let resized = resize_recorded(preprocess, (width, height), &picture.rgb);
    resized.map_err(|reason| match reason {
        VisionError::CropOutside { .. } => FramesError::Size {
            path: path.to_owned(),
            width,
            height,
            expected: (preprocess.width, preprocess.height),
        },
        reason => FramesError::Vision {
            path: path.to_owned(),
            reason,
        },
    })
}

#[cfg(test)]
mod tests;
