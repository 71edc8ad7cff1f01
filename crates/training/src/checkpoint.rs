//! Checkpoints of a run on disk, from which it can be resumed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::dataset::Dataset;
use crate::network::{OUTPUTS, PICTURE, Statistics, TRAINED, Weights};

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
    /// A file is not a valid weights file.
    #[error("{} is not a checkpoint of this network: delete it, or train without --resume", .0.display())]
    Strange(PathBuf),
}

/// The first bytes of a weights file.
const MAGIC: &[u8; 8] = b"PLTGWT01";

/// A folder of checkpoints: `weights` (of the last finished round) and `frames` (all frames
/// gathered so far, with their labels).
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    /// The number of finished rounds.
    pub rounds: usize,
    /// The weights after those rounds.
    pub weights: Option<Weights>,
    /// The number of frames in the file.
    frames: usize,
}

impl Checkpoint {
    /// Opens the folder of checkpoints. With `resume`, reads the checkpoint in it, if there is one.
    ///
    /// # Errors
    /// When the folder cannot be made, or its checkpoint cannot be read.
    pub fn open(folder: &Path, resume: bool) -> Result<Self, CheckpointError> {
        fs::create_dir_all(folder).map_err(|reason| at(folder, reason))?;
        let mut checkpoint = Self {
            folder: folder.to_owned(),
            rounds: 0,
            weights: None,
            frames: 0,
        };
        let path = folder.join("weights");
        if resume && path.exists() {
            let (weights, rounds, frames) = read_weights(&path)?;
            checkpoint.weights = Some(weights);
            checkpoint.rounds = rounds;
            checkpoint.frames = frames;
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
            let mut label = [0; 4 * OUTPUTS];
            file.read_exact(&mut label)
                .and_then(|()| file.read_exact(&mut picture))
                .map_err(|reason| at(&path, reason))?;
            data.push(&picture, [float(&label[..4]), float(&label[4..])]);
        }
        Ok(())
    }

    /// Writes the weights and the new frames of `round`. The first `recorded` frames of `data` come
    /// from recordings and are not written.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(
        &mut self,
        round: usize,
        weights: &Weights,
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
        let record = (4 * OUTPUTS + PICTURE) as u64;
        append(
            file,
            record * self.frames as u64,
            data,
            recorded + self.frames,
        )
        .map_err(|reason| at(&path, reason))?;
        self.frames = data.len() - recorded;
        self.rounds = round + 1;
        let path = self.folder.join(format!("weights-{round}"));
        write_weights(&path, weights, self.rounds, self.frames)?;
        let last = self.folder.join("weights");
        fs::copy(&path, &last).map_err(|reason| at(&last, reason))?;
        Ok(())
    }
}

fn append(mut file: File, start: u64, data: &Dataset, first: usize) -> io::Result<()> {
    use std::io::Seek;
    file.set_len(start)?;
    file.seek(io::SeekFrom::Start(start))?;
    let mut file = BufWriter::new(file);
    for index in first..data.len() {
        for value in data.label(index) {
            file.write_all(&value.to_le_bytes())?;
        }
        file.write_all(data.picture(index))?;
    }
    file.flush()
}

fn write_weights(
    path: &Path,
    weights: &Weights,
    rounds: usize,
    frames: usize,
) -> Result<(), CheckpointError> {
    let mut bytes = Vec::with_capacity(64 + 4 * TRAINED);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(rounds as u64).to_le_bytes());
    bytes.extend_from_slice(&(frames as u64).to_le_bytes());
    let statistics = weights.statistics.mean.iter();
    let statistics = statistics.chain(&weights.statistics.variance);
    for value in statistics.chain(&weights.values) {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    fs::write(path, bytes).map_err(|reason| at(path, reason))
}

/// Reads the weights, the number of finished rounds and the number of gathered frames from a
/// weights file.
///
/// # Errors
/// When the file cannot be read or is not a weights file.
pub fn read_weights(path: &Path) -> Result<(Weights, usize, usize), CheckpointError> {
    let bytes = fs::read(path).map_err(|reason| at(path, reason))?;
    let not_weights = || CheckpointError::Strange(path.to_owned());
    let (head, values) = bytes.split_at_checked(24).ok_or_else(not_weights)?;
    let (values, rest) = values.as_chunks::<4>();
    if &head[..8] != MAGIC || values.len() != TRAINED + 6 || !rest.is_empty() {
        return Err(not_weights());
    }
    let number = |bytes: &[u8]| {
        let byte = |sum, &byte| (sum << 8) | usize::from(byte);
        bytes.iter().rev().fold(0, byte)
    };
    let values: Vec<f32> = values.iter().map(|bytes| float(bytes)).collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(not_weights());
    }
    let weights = Weights {
        statistics: Statistics {
            mean: [values[0], values[1], values[2]],
            variance: [values[3], values[4], values[5]],
        },
        values: values[6..].to_vec(),
    };
    Ok((weights, number(&head[8..16]), number(&head[16..24])))
}

fn float(bytes: &[u8]) -> f32 {
    let mut array = [0; 4];
    array.copy_from_slice(&bytes[..4]);
    f32::from_le_bytes(array)
}

fn at(path: &Path, reason: io::Error) -> CheckpointError {
    CheckpointError::File {
        path: path.to_owned(),
        reason,
    }
}
