//! Gradient descent on a weighted squared error, over batches, on all cores of the CPU.

use rayon::prelude::*;

use crate::adam::Adam;
use crate::architecture::Architecture;
use crate::pass::Pass;

/// A batch is split into this many parts, independent of the number of threads, so that the
/// gradient is always summed in the same order.
const SHARDS: usize = 4;

/// One example of a batch, to be filled.
pub struct Example<'a> {
    /// The normalised picture.
    pub input: &'a mut [f32],
    /// The expected outputs; 0 at first.
    pub wanted: &'a mut [f32],
    /// The weight of each output's squared error; 1 at first.
    pub importance: &'a mut [f32],
    /// The seed of the network's dropout for this example; 0 at first.
    pub seed: u64,
}

/// The weights of a network with their optimiser, Adam.
///
/// The same steps give the same weights on the same kind of machine, with any number of threads.
#[derive(Debug)]
pub struct Descent {
    weights: Vec<f32>,
    outputs: usize,
    pub(crate) adam: Adam,
    shards: Vec<Pass>,
    slope: Vec<f32>,
}

impl Descent {
    /// Starts from `weights`, with batches of up to `batch` pictures.
    pub fn new(shape: &Architecture, weights: Vec<f32>, batch: usize) -> Self {
        let count = shape.parameters();
        Self {
            weights,
            outputs: shape.outputs(),
            adam: Adam::new(count),
            shards: (0..SHARDS)
                .map(|_| Pass::new(shape, batch.div_ceil(SHARDS)))
                .collect(),
            slope: vec![0.0; count],
        }
    }

    /// The current weights.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// One step with learning rate `rate` over `count` examples, at least one, which `fill` is
    /// called for in any order. Returns for each output the sum of its unweighted squared errors
    /// before the step.
    pub fn step(
        &mut self,
        count: usize,
        rate: f32,
        fill: &(dyn Fn(usize, &mut Example<'_>) + Sync),
    ) -> Vec<f64> {
        let weights = &self.weights;
        let outputs = self.outputs;
        let scale = 2.0 / (count * outputs) as f32;
        let part = count.div_ceil(SHARDS).max(1);
        let used = count.div_ceil(part);
        let mut errors = vec![vec![0.0; outputs]; used];
        self.shards
            .par_iter_mut()
            .zip(&mut errors)
            .enumerate()
            .for_each(|(shard, (pass, errors))| {
                let first = shard * part;
                let size = part.min(count - first);
                let mut wanted = vec![0.0; size * outputs];
                let mut importance = vec![1.0; size * outputs];
                let targets = wanted.chunks_exact_mut(outputs);
                let targets = targets.zip(importance.chunks_exact_mut(outputs));
                let mut seeds = Vec::with_capacity(size);
                for (index, (wanted, importance)) in targets.enumerate() {
                    let mut example = Example {
                        input: pass.input(index),
                        wanted,
                        importance,
                        seed: 0,
                    };
                    fill(first + index, &mut example);
                    seeds.push(example.seed);
                }
                let answers = pass.forward_dropping(weights, &seeds);
                let pairs = answers.iter().zip(&wanted).zip(&importance);
                let gradients: Vec<f32> = pairs
                    .enumerate()
                    .map(|(place, ((answer, wanted), importance))| {
                        let error = answer - wanted;
                        errors[place % outputs] += f64::from(error) * f64::from(error);
                        error * scale * importance
                    })
                    .collect();
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
        self.adam.step(&mut self.weights, &self.slope, rate);
        let sum = |output: usize| errors.iter().map(|errors| errors[output]).sum();
        (0..outputs).map(sum).collect()
    }
}

/// Pictures that one task of [`answers`] processes.
const TOGETHER: usize = 16;

/// The network's outputs for `count` pictures, one after another, on all cores. `fill` writes a
/// normalised picture.
pub fn answers(
    shape: &Architecture,
    weights: &[f32],
    count: usize,
    fill: &(dyn Fn(usize, &mut [f32]) + Sync),
) -> Vec<f32> {
    let outputs = shape.outputs();
    let mut answers = vec![0.0; count * outputs];
    answers
        .par_chunks_mut(TOGETHER * outputs)
        .enumerate()
        .for_each_init(
            || Pass::new(shape, TOGETHER),
            |pass, (chunk, answers)| {
                let size = answers.len() / outputs;
                for index in 0..size {
                    fill(chunk * TOGETHER + index, pass.input(index));
                }
                answers.copy_from_slice(pass.forward(weights, size));
            },
        );
    answers
}
