//! The state of a training run on disk, from which an interrupted run goes on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pilotage_config::{WriteError, write_atomically};
use pilotage_learning::{Learner, Network, OptimizerState, Progress};

/// The first bytes of a state file; the digits are the version of the format.
const MAGIC: &[u8; 8] = b"PLTGCL02";
/// The first bytes of an earlier version's file.
const EARLIER: &[u8; 8] = b"PLTGCL01";
/// The largest history: [`super::recipe::Settings::epochs`] has at most 10,000.
const MOST_EPOCHS: u64 = 10_000;

/// The errors of a pass: the mean over the outputs of the mean squared error, divided by the
/// variance of the learned frames' labels. An answer of the mean has the error 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochError {
    /// On the augmented frames of the pass, while the weights changed.
    pub learned: f64,
    /// On the held-back frames, after the pass.
    pub held_back: f64,
}

/// The state after a number of finished passes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Identifies the frames and the settings.
    pub fingerprint: u64,
    /// The errors of every finished pass.
    pub history: Vec<EpochError>,
    /// The pass with the smallest error on held-back frames, and that error.
    pub best: Option<(usize, f64)>,
    /// The values of all parameters after the last pass ([`Network::values`]).
    pub weights: Vec<f32>,
    /// Those after the best pass.
    pub best_weights: Vec<f32>,
    /// Adam's means of the gradient; 0 for parameters that are not trained.
    pub mean: Vec<f32>,
    /// Adam's means of the squared gradient; 0 for parameters that are not trained.
    pub square: Vec<f32>,
    /// Adam's steps.
    pub steps: i32,
}

/// Why a state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read.
    #[error("cannot read the checkpoint {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The file is not a state, or is damaged.
    #[error("{} is no checkpoint of this program, or is damaged; delete it and start anew", .0.display())]
    Damaged(PathBuf),
    /// The file is of an earlier version of this program.
    #[error(
        "{} is of an interrupted run of an earlier version, whose trainer is not a part of this \
         one: start anew with --force, or continue with the earlier version", .0.display()
    )]
    Earlier(PathBuf),
    /// The state belongs to other frames or settings.
    #[error(
        "{} was made with other recordings, another recipe or network, or other --epochs; use those, or \
         start anew with --force", .0.display()
    )]
    Other(PathBuf),
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl State {
    /// Takes over the weights and the optimiser's state.
    pub fn keep(&mut self, learner: &Learner) {
        let parameters = learner.network().parameters().iter();
        let progress = learner.progress();
        self.weights = learner.network().values();
        self.mean.clear();
        self.square.clear();
        for (parameter, state) in parameters.zip(&progress.states) {
            let end = self.mean.len() + parameter.values().len();
            self.mean.extend_from_slice(&state.first);
            self.square.extend_from_slice(&state.second);
            self.mean.resize(end, 0.0);
            self.square.resize(end, 0.0);
        }
        self.steps = i32::try_from(progress.steps).unwrap_or(i32::MAX);
    }

    /// The state of the optimiser for this network.
    pub fn progress(&self, network: &Network) -> Progress {
        let count = network.parameters().len();
        let mut states = vec![OptimizerState::default(); count];
        let mut first = 0;
        for (index, parameter) in network.parameters().iter().enumerate() {
            let range = first..first + parameter.values().len();
            first = range.end;
            let lists = (self.mean.get(range.clone()), self.square.get(range));
            if let (Some(mean), Some(square), true) = (lists.0, lists.1, network.trained()[index]) {
                states[index] = OptimizerState {
                    first: mean.to_vec(),
                    second: square.to_vec(),
                    steps: self.steps,
                };
            }
        }
        Progress {
            steps: u64::try_from(self.steps).unwrap_or(0),
            states,
            averages: vec![Vec::new(); count],
        }
    }

    /// Writes the state. A power cut leaves the old file or the new one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), StateError> {
        let lists = [&self.weights, &self.best_weights, &self.mean, &self.square];
        let mut bytes = Vec::with_capacity(128 + 16 * (self.history.len() + self.weights.len()));
        bytes.extend_from_slice(MAGIC);
        let (best, error) = self.best.map_or((u64::MAX, 0.0), |(at, e)| (at as u64, e));
        for number in [
            self.fingerprint,
            self.history.len() as u64,
            best,
            error.to_bits(),
            self.steps as u64,
            self.weights.len() as u64,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for errors in &self.history {
            bytes.extend_from_slice(&errors.learned.to_bits().to_le_bytes());
            bytes.extend_from_slice(&errors.held_back.to_bits().to_le_bytes());
        }
        for value in lists.into_iter().flatten() {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let sum = Fingerprint::default().with(&bytes).value();
        bytes.extend_from_slice(&sum.to_le_bytes());
        Ok(write_atomically(path, &bytes)?)
    }

    /// Reads a state for the frames and settings with `fingerprint`, and a network of `parameters`
    /// parameters.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or belongs to other frames or settings.
    pub fn load(path: &Path, fingerprint: u64, parameters: usize) -> Result<Self, StateError> {
        let most = 64 + 16 * (MOST_EPOCHS + parameters as u64) + 64;
        let read = |reason| StateError::Read {
            path: path.to_owned(),
            reason,
        };
        let damaged = || StateError::Damaged(path.to_owned());
        let metadata = fs::metadata(path).map_err(read)?;
        if !metadata.is_file() || metadata.len() > most {
            return Err(match metadata.is_file() {
                true => StateError::Other(path.to_owned()),
                false => damaged(),
            });
        }
        let bytes = fs::read(path).map_err(read)?;
        if bytes.starts_with(EARLIER) {
            return Err(StateError::Earlier(path.to_owned()));
        }
        let (content, sum) = bytes.split_last_chunk::<8>().ok_or_else(damaged)?;
        if Fingerprint::default().with(content).value() != u64::from_le_bytes(*sum) {
            return Err(damaged());
        }
        let state = Self::parse(content).ok_or_else(damaged)?;
        match state.fingerprint == fingerprint && state.weights.len() == parameters {
            true => Ok(state),
            false => Err(StateError::Other(path.to_owned())),
        }
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let mut rest = content.strip_prefix(MAGIC)?;
        let mut number = || {
            let (number, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            Some(u64::from_le_bytes(*number))
        };
        let fingerprint = number()?;
        let epochs = number().filter(|&count| count <= MOST_EPOCHS)?;
        let (best, error) = (number()?, f64::from_bits(number()?));
        let steps = i32::try_from(number()?).ok()?;
        let parameters = usize::try_from(number()?).ok()?;
        let mut history = Vec::new();
        for _ in 0..epochs {
            history.push(EpochError {
                learned: f64::from_bits(number()?),
                held_back: f64::from_bits(number()?),
            });
        }
        let (values, odd) = rest.as_chunks::<4>();
        if !odd.is_empty() || parameters == 0 || values.len() != parameters.checked_mul(4)? {
            return None;
        }
        let values: Vec<f32> = values
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect();
        let mut lists = values.chunks_exact(parameters).map(<[f32]>::to_vec);
        Some(Self {
            fingerprint,
            best: (best != u64::MAX).then_some((best as usize, error)),
            history,
            steps,
            weights: lists.next()?,
            best_weights: lists.next()?,
            mean: lists.next()?,
            square: lists.next()?,
        })
    }
}

/// A fingerprint of data: FNV-1a (Fowler, Noll and Vo) over words of eight bytes, which detects
/// other or damaged data, not forgery.
#[derive(Debug, Clone, Copy)]
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// With further bytes.
    #[must_use]
    pub fn with(mut self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let end = [u64::from_le_bytes(last), bytes.len() as u64];
        let words = words.iter().map(|&word| u64::from_le_bytes(word));
        for word in words.chain(end) {
            self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
            // Multiplication moves bits upwards only.
            self.0 ^= self.0 >> 29;
        }
        self
    }

    /// The fingerprint.
    pub fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            fingerprint: 77,
            history: vec![
                EpochError {
                    learned: 0.5,
                    held_back: 0.6,
                },
                EpochError {
                    learned: 0.25,
                    held_back: 0.75,
                },
            ],
            best: Some((0, 0.6)),
            weights: vec![1.0, -2.0, 0.5],
            best_weights: vec![4.0, 5.0, 6.0],
            mean: vec![0.1, 0.2, 0.3],
            square: vec![0.01, 0.02, 0.03],
            steps: 12,
        }
    }

    #[test]
    fn a_state_is_read_back_and_only_for_its_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.checkpoint");
        state().save(&path).unwrap();
        assert_eq!(State::load(&path, 77, 3).unwrap(), state());
        let other = State::load(&path, 78, 3).unwrap_err();
        assert!(matches!(other, StateError::Other(_)), "{other}");
        fs::write(&path, b"PLTGCL01 and more").unwrap();
        let earlier = State::load(&path, 77, 3).unwrap_err();
        assert!(matches!(earlier, StateError::Earlier(_)), "{earlier}");
        let missing = State::load(&folder.path().join("none"), 77, 3).unwrap_err();
        assert!(matches!(missing, StateError::Read { .. }), "{missing}");
    }

    #[test]
    fn every_changed_or_missing_byte_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.checkpoint");
        state().save(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            assert!(State::load(&path, 77, 3).is_err(), "byte {place}");
            fs::write(&path, &whole[..place]).unwrap();
            assert!(State::load(&path, 77, 3).is_err(), "{place} bytes");
        }
    }
}
