//! One step of training over a batch, and answers for many pictures at once.

use rayon::prelude::*;

use crate::adam::Adam;
use crate::dataset::{Sample, physical};
use crate::network::{OUTPUTS, PICTURE, TRAINED, Weights};
use crate::pass::Pass;

/// A batch is cut into this many parts, whatever the number of threads, so that
/// the gradient is summed in the same order everywhere.
const SHARDS: usize = 4;

/// What a squared error of each output counts for a sample of these wanted outputs.
///
/// A wrong yaw rate w keeps the car off the line by w L^2 / (2 v), where the expert
/// pulls back; with its look-ahead L in proportion to the speed v that is in
/// proportion to v. So steering counts by the square of the speed: 4 at 8 m/s.
pub fn importance(wanted: [f32; OUTPUTS]) -> [f32; OUTPUTS] {
    let (speed, _) = physical(wanted);
    [1.0, (speed * speed / 16.0).clamp(1.0, 16.0)]
}

/// Writes a sample's normalised picture and gives its wanted outputs.
pub type Fill<'a> = dyn Fn(&Sample, &mut [f32]) -> [f32; OUTPUTS] + Sync + 'a;

/// Something that trains the network.
pub trait Learn {
    /// One step of Adam at `rate` on the squared error over `batch`, its outputs
    /// weighted by [`importance`]; gives the plain mean squared error as it was
    /// before the step. `batch` holds at least one sample.
    ///
    /// # Errors
    /// When the device that does the arithmetic fails.
    fn step(&mut self, batch: &[Sample], rate: f32, fill: &Fill<'_>) -> Result<f64, LearnError>;

    /// What has been learned by now.
    ///
    /// # Errors
    /// When the device that does the arithmetic fails.
    fn weights(&self) -> Result<Weights, LearnError>;
}

/// Why the arithmetic of training cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The device gave up.
    #[error("the training device failed: {problem}; --resume goes on from the last round")]
    Device {
        /// What it says.
        problem: String,
    },
    /// There is no such device.
    #[error("there is no {wanted} that burn can use; `--backend own` trains on the CPU")]
    Missing {
        /// What was looked for.
        wanted: &'static str,
    },
}

/// The weights with their optimiser, on the CPU.
#[derive(Debug)]
pub struct Trainer {
    weights: Weights,
    adam: Adam,
    shards: Vec<Pass>,
    slope: Vec<f32>,
}

impl Trainer {
    /// Starts from `weights`, with batches of up to `batch` pictures.
    pub fn new(weights: Weights, batch: usize) -> Self {
        Self {
            weights,
            adam: Adam::new(TRAINED),
            shards: (0..SHARDS)
                .map(|_| Pass::new(batch.div_ceil(SHARDS)))
                .collect(),
            slope: vec![0.0; TRAINED],
        }
    }
}

impl Learn for Trainer {
    fn weights(&self) -> Result<Weights, LearnError> {
        Ok(self.weights.clone())
    }

    fn step(&mut self, batch: &[Sample], rate: f32, fill: &Fill<'_>) -> Result<f64, LearnError> {
        let weights = &self.weights;
        let scale = 2.0 / (batch.len() * OUTPUTS) as f32;
        let parts = batch.chunks(batch.len().div_ceil(SHARDS).max(1));
        let used = parts.len();
        let mut errors = vec![0.0; used];
        self.shards
            .par_iter_mut()
            .zip(parts.collect::<Vec<_>>())
            .zip(&mut errors)
            .for_each(|((pass, part), error)| {
                let mut wanted = Vec::with_capacity(part.len());
                for (index, sample) in part.iter().enumerate() {
                    wanted.push(fill(sample, pass.input(index)));
                }
                let outputs = pass.forward(weights, part.len());
                let mut gradients = Vec::with_capacity(outputs.len());
                for (output, wanted) in outputs.chunks_exact(OUTPUTS).zip(wanted) {
                    let pairs = output.iter().zip(wanted);
                    for ((output, want), counts) in pairs.zip(importance(wanted)) {
                        let miss = output - want;
                        *error += f64::from(miss) * f64::from(miss);
                        gradients.push(miss * scale * counts);
                    }
                }
                pass.backward(weights, &gradients);
            });
        let shards = &self.shards[..used];
        self.slope
            .par_chunks_mut(1 << 14)
            .enumerate()
            .for_each(|(chunk, slope)| {
                let start = chunk << 14;
                slope.copy_from_slice(&shards[0].slope[start..start + slope.len()]);
                for shard in &shards[1..] {
                    for (sum, value) in slope.iter_mut().zip(&shard.slope[start..]) {
                        *sum += value;
                    }
                }
            });
        self.adam.step(&mut self.weights.values, &self.slope, rate);
        Ok(errors.iter().sum::<f64>() / (batch.len() * OUTPUTS) as f64)
    }
}

/// What `weights` answer to each picture, worked on by `passes` in parallel.
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
            let outputs = pass.forward(weights, pictures.len());
            for (answer, output) in answers.iter_mut().zip(outputs.chunks_exact(OUTPUTS)) {
                answer.copy_from_slice(output);
            }
        });
    answers
}

/// Writes `picture` as the network wants it, through a table of the value of
/// every byte by colour; left and right exchanged when `mirrored`.
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
