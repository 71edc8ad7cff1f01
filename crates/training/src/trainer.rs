//! One training step over a batch, and inference for many pictures at once.

use rayon::prelude::*;

use crate::architecture::Architecture;
use crate::dataset::{Sample, physical};
use crate::descent::Descent;
use crate::network::{OUTPUTS, PICTURE, Statistics, Weights};
use crate::pass::Pass;

/// The weight of each output's squared error, for a sample with these expected outputs.
///
/// A constant error w of the yaw rate keeps the car off the line by w L^2 / (2 v), where the
/// expert's correction balances it. The look-ahead L is proportional to the speed v, so the offset
/// is proportional to v. Therefore steering is weighted by the square of the speed: 4 at 8 m/s.
pub fn importance(wanted: [f32; OUTPUTS]) -> [f32; OUTPUTS] {
    let (speed, _) = physical(wanted);
    [1.0, (speed * speed / 16.0).clamp(1.0, 16.0)]
}

/// Writes a sample's normalised picture, and returns its expected outputs.
pub type Fill<'a> = dyn Fn(&Sample, &mut [f32]) -> [f32; OUTPUTS] + Sync + 'a;

/// A learner, which trains the network.
pub trait Learn {
    /// One step of Adam with learning rate `rate` on the squared error over `batch`, whose outputs
    /// are weighted by [`importance`]. Returns the unweighted mean squared error before the step.
    /// `batch` has at least one sample.
    ///
    /// # Errors
    /// When the training device fails.
    fn step(&mut self, batch: &[Sample], rate: f32, fill: &Fill<'_>) -> Result<f64, LearnError>;

    /// The current weights.
    ///
    /// # Errors
    /// When the training device fails.
    fn weights(&self) -> Result<Weights, LearnError>;
}

/// Why training on a device is not possible.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The device failed.
    #[error("the training device failed: {problem}; --resume goes on from the last round")]
    Device {
        /// The device's error.
        problem: String,
    },
    /// There is no such device.
    #[error("there is no {wanted} that burn can use; `--backend own` trains on the CPU")]
    Missing {
        /// The kind of device.
        wanted: &'static str,
    },
}

/// The weights with their optimiser, on the CPU.
#[derive(Debug)]
pub struct Trainer {
    statistics: Statistics,
    descent: Descent,
}

impl Trainer {
    /// Starts from `weights`, with batches of up to `batch` pictures.
    pub fn new(weights: Weights, batch: usize) -> Self {
        let shape = Architecture::of_the_simulator();
        Self {
            statistics: weights.statistics,
            descent: Descent::new(&shape, weights.values, batch),
        }
    }
}

impl Learn for Trainer {
    fn weights(&self) -> Result<Weights, LearnError> {
        Ok(Weights {
            statistics: self.statistics,
            values: self.descent.weights().to_vec(),
        })
    }

    fn step(&mut self, batch: &[Sample], rate: f32, fill: &Fill<'_>) -> Result<f64, LearnError> {
        let errors = self.descent.step(batch.len(), rate, &|index, example| {
            let wanted = fill(&batch[index], example.input);
            example.wanted.copy_from_slice(&wanted);
            example.importance.copy_from_slice(&importance(wanted));
        });
        Ok(errors.iter().sum::<f64>() / (batch.len() * OUTPUTS) as f64)
    }
}

/// The network's outputs for each picture, computed by `passes` in parallel.
pub fn answers(weights: &Weights, passes: &mut [Pass], pictures: &[&[u8]]) -> Vec<[f32; OUTPUTS]> {
    let table = weights.statistics.table();
    let part = pictures.len().div_ceil(passes.len()).max(1);
    let mut answers = vec![[0.0; OUTPUTS]; pictures.len()];
    passes
        .par_iter_mut()
        .zip(pictures.par_chunks(part))
        .zip(answers.par_chunks_mut(part))
        .for_each(|((pass, pictures), answers)| {
            for (index, picture) in pictures.iter().enumerate() {
                normalise(picture, &table, false, pass.input(index));
            }
            let outputs = pass.forward(&weights.values, pictures.len());
            for (answer, output) in answers.iter_mut().zip(outputs.chunks_exact(OUTPUTS)) {
                answer.copy_from_slice(output);
            }
        });
    answers
}

/// Writes the network's input for `picture`, with a table of the normalised value of every byte by
/// colour. Left and right are exchanged when `mirrored`.
pub fn normalise(picture: &[u8], table: &[[f32; 256]; 3], mirrored: bool, out: &mut [f32]) {
    debug_assert_eq!(picture.len(), PICTURE);
    let row = crate::network::WIDTH * 3;
    for (picture, out) in picture.chunks_exact(row).zip(out.chunks_exact_mut(row)) {
        let mut pixels = picture.chunks_exact(3);
        for to in out.chunks_exact_mut(3) {
            let from = if mirrored {
                pixels.next_back()
            } else {
                pixels.next()
            };
            if let Some(from) = from {
                for ((to, &byte), values) in to.iter_mut().zip(from).zip(table) {
                    *to = values[usize::from(byte)];
                }
            }
        }
    }
}
