//! Checkpoints of a run on disk, from which it can be resumed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_compiler::read_model;
use pilotage_config::{WriteError, write_atomically};
use pilotage_graph::Graph;
use pilotage_vehicle::{Measurement, Measurements};

use crate::dataset::{Dataset, Place};
use crate::network::{OUTPUTS, PICTURE};
use crate::student::{Student, StudentError};

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file cannot be read or written.
    #[error("cannot use the checkpoint file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The model cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The model cannot be read.
    #[error("{0}: delete it, or train without --resume")]
    Model(Box<StudentError>),
    /// The model has no entry of a checkpoint.
    #[error(
        "{}: the metadata has no number of {entry}, so it is no checkpoint: delete it, or train \
         without --resume", path.display()
    )]
    NoEntry {
        /// The model.
        path: PathBuf,
        /// What the missing entry counts.
        entry: &'static str,
    },
    /// The checkpoint is of an earlier version of this program.
    #[error(
        "{} is a checkpoint of an earlier version, whose trainer is not a part of this one: train \
         without --resume, or continue with the earlier version", .0.display()
    )]
    Earlier(PathBuf),
}

/// The keys of the model's metadata for the numbers of finished rounds and of gathered frames.
const ROUNDS: (&str, &str) = ("pilotage.training.rounds", "finished rounds");
const FRAMES: (&str, &str) = ("pilotage.training.measured_frames", "gathered frames");
/// The key of the drives' latency, in milliseconds.
const LATENCY: &str = "pilotage.training.latency_ms";
/// The measurements of a frame.
const NUMBERS: usize = Measurement::ALL.len();
/// The file of earlier versions that had the weights, and its first bytes.
const EARLIER: (&str, &[u8]) = ("weights", b"PLTGWT01");

/// A folder of checkpoints: `model.onnx` (of the last finished round), `model-N.onnx` of every round,
/// and `frames` (all frames gathered so far, with their drives, labels and measurements).
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    /// The number of finished rounds.
    pub rounds: usize,
    /// The network after those rounds.
    pub student: Option<Student>,
    /// The latency of the drives, if all have the same.
    pub latency: Option<Duration>,
    /// The number of frames in the file.
    frames: usize,
}

impl Checkpoint {
    /// Opens the folder of checkpoints. With `resume`, reads the checkpoint in it, if there is one.
    ///
    /// # Errors
    /// When the folder cannot be made, or its checkpoint cannot be read or is of an earlier version.
    pub fn open(folder: &Path, resume: bool) -> Result<Self, CheckpointError> {
        fs::create_dir_all(folder).map_err(|reason| at(folder, reason))?;
        let mut checkpoint = Self {
            folder: folder.to_owned(),
            rounds: 0,
            student: None,
            latency: None,
            frames: 0,
        };
        let path = folder.join("model.onnx");
        if resume && path.exists() {
            let not_read = |error: StudentError| CheckpointError::Model(Box::new(error));
            let read = read_model(&path).map_err(StudentError::from);
            let (graph, entries) = read.map_err(not_read)?;
            checkpoint.rounds = number(&path, &entries, ROUNDS)?;
            checkpoint.frames = number(&path, &entries, FRAMES)?;
            let millis = entries.get(LATENCY).and_then(|text| text.parse().ok());
            checkpoint.latency = millis.map(Duration::from_millis);
            checkpoint.student = Some(Student::of_graph(&path, &graph).map_err(not_read)?);
        } else if resume && is_earlier(&folder.join(EARLIER.0)) {
            return Err(CheckpointError::Earlier(folder.join(EARLIER.0)));
        }
        Ok(checkpoint)
    }

    /// Adds the frames gathered so far to `data`.
    ///
    /// # Errors
    /// When the frames cannot be read.
    pub fn restore(&self, data: &mut Dataset) -> Result<(), CheckpointError> {
        if self.frames == 0 {
            return Ok(());
        }
        let path = self.folder.join("frames");
        let file = File::open(&path).map_err(|reason| at(&path, reason))?;
        let mut file = BufReader::new(file);
        let mut picture = vec![0; PICTURE];
        for _ in 0..self.frames {
            let mut place = [[0; 8]; 2];
            let mut label = [[0; 4]; OUTPUTS];
            let mut measured = [[0; 4]; NUMBERS];
            file.read_exact(place.as_flattened_mut())
                .and_then(|()| file.read_exact(label.as_flattened_mut()))
                .and_then(|()| file.read_exact(measured.as_flattened_mut()))
                .and_then(|()| file.read_exact(&mut picture))
                .map_err(|reason| at(&path, reason))?;
            let [drive, frame] = place.map(u64::from_le_bytes);
            let frame = usize::try_from(frame).unwrap_or(usize::MAX);
            let label = label.map(f32::from_le_bytes);
            // What was not measured is written as NaN.
            let measured = Measurements::new(measured.map(f32::from_le_bytes).map(Some));
            data.push_at(Place { drive, frame }, &picture, label, measured);
        }
        Ok(())
    }

    /// Writes the network and the new frames of `round`. The first `recorded` frames of `data` come
    /// from recordings and are not written.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(
        &mut self,
        round: usize,
        graph: &Graph,
        data: &Dataset,
        recorded: usize,
    ) -> Result<(), CheckpointError> {
        let path = self.folder.join("frames");
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(self.frames == 0)
            .append(false)
            .open(&path)
            .map_err(|reason| at(&path, reason))?;
        let record = (2 * 8 + 4 * (OUTPUTS + NUMBERS) + PICTURE) as u64;
        append(
            file,
            record * self.frames as u64,
            data,
            recorded + self.frames,
        )
        .map_err(|reason| at(&path, reason))?;
        self.frames = data.len() - recorded;
        self.rounds = round + 1;
        let [rounds, frames] = [self.rounds, self.frames].map(|number| number.to_string());
        let latency = self.latency.map(|latency| latency.as_millis().to_string());
        let mut entries = vec![(ROUNDS.0, &*rounds), (FRAMES.0, &*frames)];
        entries.extend(latency.as_deref().map(|millis| (LATENCY, millis)));
        let model = graph.write_with_metadata(&entries);
        write_atomically(&self.folder.join(format!("model-{round}.onnx")), &model)?;
        Ok(write_atomically(&self.folder.join("model.onnx"), &model)?)
    }
}

/// Whether a file is a checkpoint's weights of an earlier version.
pub fn is_earlier(path: &Path) -> bool {
    let mut magic = [0; EARLIER.1.len()];
    // Opening a FIFO would wait.
    let file = path.is_file().then(|| File::open(path));
    let Some(Ok(mut file)) = file else {
        return false;
    };
    file.read_exact(&mut magic).is_ok() && magic == EARLIER.1
}

fn number(
    path: &Path,
    entries: &BTreeMap<String, String>,
    (key, entry): (&str, &'static str),
) -> Result<usize, CheckpointError> {
    let found = entries.get(key).and_then(|text| text.parse().ok());
    found.ok_or_else(|| CheckpointError::NoEntry {
        path: path.to_owned(),
        entry,
    })
}

fn append(mut file: File, start: u64, data: &Dataset, first: usize) -> io::Result<()> {
    use std::io::Seek;
    file.set_len(start)?;
    file.seek(io::SeekFrom::Start(start))?;
    let mut file = BufWriter::new(file);
    for index in first..data.len() {
        let Place { drive, frame } = data.place(index);
        file.write_all(&drive.to_le_bytes())?;
        file.write_all(&(frame as u64).to_le_bytes())?;
        let measured = data.measured(index);
        let measured = Measurement::ALL.map(|it| measured.get(it).unwrap_or(f32::NAN));
        for value in data.label(index).into_iter().chain(measured) {
            file.write_all(&value.to_le_bytes())?;
        }
        file.write_all(data.picture(index))?;
    }
    file.flush()
}

fn at(path: &Path, reason: io::Error) -> CheckpointError {
    CheckpointError::File {
        path: path.to_owned(),
        reason,
    }
}
