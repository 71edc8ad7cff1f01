//! Fits a network to frames: passes with augmentation, early stopping, checkpoints.

use std::ops::ControlFlow;

use pilotage_simulator::Random;
use pilotage_vision::Preprocess;

use super::augment::{Change, Values, per_width};
use super::balance::Balance;
use super::frames::Frames;
use super::recipe::{LearnedOutput, TrainingRecipe};
use super::split::Split;
use super::state::{Fingerprint, State, StateError};
use crate::architecture::Architecture;
use crate::descent::{Descent, answers};
use crate::network::{EPSILON, Statistics};
use crate::progress;

/// The least deviation that a control's errors are divided by, in the car's unit: a control that
/// hardly varies, such as a constant throttle, does not outweigh the others.
const LEAST_DEVIATION: f64 = 0.01;
/// The learning rate at the end, as a share of the initial one.
const LAST_RATE: f64 = 0.05;
/// Pictures that the statistics of the input are measured on.
const MEASURED: usize = 2000;

/// The errors of a pass: the mean over the outputs of the mean squared error, divided by the
/// variance of the learned frames' labels. An answer of the mean has the error 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochError {
    /// On the augmented frames of the pass, while the weights changed.
    pub learned: f64,
    /// On the held-back frames, after the pass.
    pub held_back: f64,
}

/// Why a network cannot be fitted.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The error became infinite.
    #[error("the training diverged in pass {epoch}; reduce training.rate, now {rate}")]
    Diverged {
        /// The pass, counted from 1.
        epoch: usize,
        /// The initial learning rate.
        rate: f64,
    },
    /// The checkpoint cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The observer ended the training; the checkpoint has the finished passes.
    #[error("interrupted after {0} passes; --resume continues")]
    Interrupted(usize),
}

/// What is fitted to what.
#[derive(Debug)]
pub struct Task<'a> {
    /// The recipe.
    pub recipe: &'a TrainingRecipe,
    /// The network.
    pub shape: Architecture,
    /// What it learns to answer.
    pub outputs: Vec<LearnedOutput>,
    /// All frames.
    pub frames: &'a Frames,
    /// Which of them are learned and held back.
    pub split: Split,
    /// How often each learned frame is used.
    pub balance: Balance,
    /// The normalisation within the network, of the learned frames.
    pub statistics: Statistics,
    /// The mean of every learned control, in the car's units.
    pub mean: Vec<f64>,
    deviation: Vec<f64>,
    per_width: f64,
    values: Values,
}

/// A fitted network.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// The weights of the best pass.
    pub weights: Vec<f32>,
    /// The errors of every pass.
    pub history: Vec<EpochError>,
    /// The index of the best pass.
    pub best: usize,
}

impl<'a> Task<'a> {
    /// Prepares the fit of `recipe`'s network.
    pub fn new(
        recipe: &'a TrainingRecipe,
        shape: Architecture,
        outputs: Vec<LearnedOutput>,
        frames: &'a Frames,
        split: Split,
    ) -> Self {
        let turning = turning(&outputs);
        let learned = split.learned.iter();
        let steering: Vec<f32> = learned.map(|&i| frames.label(i)[turning]).collect();
        let statistics = statistics(frames, &split.learned, &recipe.input);
        // The cameras at the sides teach the way back, and are no part of a drive.
        let centre: Vec<usize> = (split.learned.iter().copied())
            .filter(|&index| !frames.is_side(index))
            .collect();
        let (mean, deviation) = moments(frames, &centre, outputs.len());
        let values = values(&recipe.input, shape.normalised.then_some(&statistics));
        Self {
            balance: Balance::of(&steering, recipe.training.balance),
            recipe,
            shape,
            outputs,
            frames,
            split,
            statistics,
            mean,
            per_width: per_width(&recipe.augment, deviation[turning]),
            deviation,
            values,
        }
    }

    /// Identifies everything that the result depends on.
    pub fn fingerprint(&self) -> u64 {
        let settings = format!(
            "{} {:?} {:?} {:?}",
            env!("CARGO_PKG_VERSION"),
            self.recipe,
            self.outputs,
            self.split
        );
        let mut fingerprint = Fingerprint::default().with(settings.as_bytes());
        for index in 0..self.frames.len() {
            fingerprint = fingerprint.with(self.frames.picture(index));
            for value in self.frames.label(index) {
                fingerprint = fingerprint.with(&value.to_le_bytes());
            }
        }
        fingerprint.value()
    }

    /// The state before the first pass: the network answers the mean.
    pub fn start(&self) -> State {
        let network_units = self.mean.iter().zip(&self.outputs);
        let last: Vec<f32> = network_units
            .map(|(mean, output)| (*mean as f32 - output.offset) / output.scale)
            .collect();
        let weights = self.shape.fresh(&last, self.recipe.training.seed);
        State {
            fingerprint: self.fingerprint(),
            best_weights: weights.clone(),
            mean: vec![0.0; weights.len()],
            square: vec![0.0; weights.len()],
            weights,
            ..State::default()
        }
    }

    /// Continues from `state`. After every pass, `observe` is called with the state, which it may
    /// save, and may end the training.
    ///
    /// The same task gives the same weights on the same kind of machine, with any number of
    /// threads, and whether it was interrupted or not.
    ///
    /// # Errors
    /// When the training diverges, or `observe` fails or ends it.
    pub fn fit(
        &self,
        mut state: State,
        observe: &mut dyn FnMut(&State) -> Result<ControlFlow<()>, StateError>,
    ) -> Result<Fitted, FitError> {
        let settings = &self.recipe.training;
        let mut descent = Descent::new(&self.shape, state.weights.clone(), settings.batch);
        descent.adam.mean.clone_from(&state.mean);
        descent.adam.square.clone_from(&state.square);
        descent.adam.steps = state.steps;
        while !self.is_finished(&state) {
            let epoch = state.history.len();
            let errors = self.pass(&mut descent, epoch);
            if !(errors.learned.is_finite() && errors.held_back.is_finite()) {
                return Err(FitError::Diverged {
                    epoch: epoch + 1,
                    rate: settings.rate,
                });
            }
            state.history.push(errors);
            state.weights.copy_from_slice(descent.weights());
            state.mean.clone_from(&descent.adam.mean);
            state.square.clone_from(&descent.adam.square);
            state.steps = descent.adam.steps;
            if state.best.is_none_or(|(_, least)| errors.held_back < least) {
                state.best = Some((epoch, errors.held_back));
                state.best_weights.copy_from_slice(descent.weights());
            }
            if observe(&state)?.is_break() && !self.is_finished(&state) {
                return Err(FitError::Interrupted(state.history.len()));
            }
        }
        Ok(Fitted {
            best: state.best.map_or(0, |(epoch, _)| epoch),
            weights: state.best_weights,
            history: state.history,
        })
    }

    fn is_finished(&self, state: &State) -> bool {
        let settings = &self.recipe.training;
        let epochs = state.history.len();
        let stale = |(best, _)| epochs.saturating_sub(best + 1) >= settings.patience;
        epochs >= settings.epochs || state.best.is_some_and(stale)
    }

    /// One pass over the learned frames, then over those that are held back.
    fn pass(&self, descent: &mut Descent, epoch: usize) -> EpochError {
        let settings = &self.recipe.training;
        let mut random = Random::stream(settings.seed, 1 + epoch as u64);
        let drawn = self.balance.draw(&mut random);
        let seed = random.bits();
        let batches = drawn.len().div_ceil(settings.batch).max(1);
        let message = format!("pass {} of at most {}", epoch + 1, settings.epochs);
        let bar = progress::bar(drawn.len(), &message);
        let mut sums = vec![0.0; self.outputs.len()];
        for (batch, picks) in drawn.chunks(settings.batch).enumerate() {
            let done = (epoch * batches + batch) as f64 / (settings.epochs * batches) as f64;
            let cosine = 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done));
            let rate = settings.rate * (LAST_RATE + (1.0 - LAST_RATE) * cosine);
            let first = (batch * settings.batch) as u64;
            let errors = descent.step(picks.len(), rate as f32, &|index, example| {
                let mut random = Random::stream(seed, first + index as u64);
                let frame = self.split.learned[picks[index]];
                self.example(frame, &mut random, example);
            });
            for (sum, error) in sums.iter_mut().zip(errors) {
                *sum += error;
            }
            bar.inc(picks.len() as u64);
        }
        bar.finish_and_clear();
        let weighted = sums.iter().zip(self.importance());
        let learned = weighted
            .map(|(sum, importance)| sum * f64::from(importance))
            .sum::<f64>();
        EpochError {
            learned: learned / (drawn.len().max(1) * self.outputs.len()) as f64,
            held_back: self.held_back_error(descent.weights()),
        }
    }

    /// Fills an example with a randomly changed frame.
    fn example(
        &self,
        frame: usize,
        random: &mut Random,
        example: &mut crate::descent::Example<'_>,
    ) {
        let [height, width, _] = self.shape.input;
        let augment = &self.recipe.augment;
        let change = Change::draw(augment, [height, width], random);
        let picture = self.frames.picture(frame);
        change.write(picture, self.shape.input, &self.values, example.input);
        let labels = self.frames.label(frame).iter().zip(&self.outputs);
        for ((&label, output), wanted) in labels.zip(example.wanted.iter_mut()) {
            let control = change.control(output, label, self.per_width, width);
            *wanted = (control - output.offset) / output.scale;
        }
        let importance = example.importance.iter_mut().zip(self.importance());
        for (to, importance) in importance {
            *to = importance;
        }
        example.seed = random.bits();
    }

    /// The weight of each output's squared error: one over the variance of its labels, in the
    /// network's unit.
    fn importance(&self) -> impl Iterator<Item = f32> {
        let outputs = self.outputs.iter().zip(&self.deviation);
        outputs.map(|(output, deviation)| {
            let ratio = f64::from(output.scale) / deviation;
            (ratio * ratio) as f32
        })
    }

    fn held_back_error(&self, weights: &[f32]) -> f64 {
        let answers = self.answers(weights, &self.split.held_back);
        let outputs = self.outputs.len();
        let labels = self
            .split
            .held_back
            .iter()
            .flat_map(|&i| self.frames.label(i));
        let squares = answers.iter().zip(labels).enumerate();
        let sum: f64 = squares
            .map(|(place, (answer, label))| {
                let error = f64::from(answer - label) / self.deviation[place % outputs];
                error * error
            })
            .sum();
        sum / answers.len().max(1) as f64
    }

    /// The network's answers for frames, in the car's units, one frame after another.
    pub fn answers(&self, weights: &[f32], frames: &[usize]) -> Vec<f32> {
        let unchanged = Change::none();
        let fill = |index: usize, input: &mut [f32]| {
            let picture = self.frames.picture(frames[index]);
            unchanged.write(picture, self.shape.input, &self.values, input);
        };
        let mut answers = answers(&self.shape, weights, frames.len(), &fill);
        for answers in answers.chunks_exact_mut(self.outputs.len()) {
            for (answer, output) in answers.iter_mut().zip(&self.outputs) {
                *answer = *answer * output.scale + output.offset;
            }
        }
        answers
    }
}

/// The index of the output that turns the car.
pub fn turning(outputs: &[LearnedOutput]) -> usize {
    outputs.iter().position(LearnedOutput::turns).unwrap_or(0)
}

/// The value of a channel of the network's input, as `pilotage-vision` computes it.
fn scaled(input: &Preprocess, channel: usize, byte: f32) -> f32 {
    (byte * input.scale - input.mean[channel]) / input.std[channel]
}

/// Mean and variance of the network's input, by channel; grey uses the first.
fn statistics(frames: &Frames, learned: &[usize], input: &Preprocess) -> Statistics {
    let channels = input.colour.channels();
    let mut counts = [[0u64; 256]; 3];
    for index in pilotage_dataset::evenly(learned.len(), MEASURED) {
        for pixel in frames.picture(learned[index]).chunks_exact(channels) {
            for (count, &byte) in counts.iter_mut().zip(pixel) {
                count[usize::from(byte)] += 1;
            }
        }
    }
    let mut statistics = Statistics {
        mean: [0.0; 3],
        variance: [1.0; 3],
    };
    for (channel, counts) in counts.iter().enumerate().take(channels) {
        let pixels = counts.iter().sum::<u64>().max(1) as f64;
        let value = |byte: usize| f64::from(scaled(input, channel, byte as f32));
        let sum = |power: i32| {
            let all = counts.iter().enumerate();
            all.map(|(byte, &count)| count as f64 * value(byte).powi(power))
                .sum::<f64>()
                / pixels
        };
        let mean = sum(1);
        statistics.mean[channel] = mean as f32;
        statistics.variance[channel] = (sum(2) - mean * mean).max(0.0) as f32;
    }
    statistics
}

/// What the first convolution reads for every byte, by channel.
fn values(input: &Preprocess, statistics: Option<&Statistics>) -> Values {
    let value = |channel: usize, byte: usize| {
        let value = scaled(input, channel, byte as f32);
        match statistics {
            Some(statistics) => {
                let deviation = libm::sqrtf(statistics.variance[channel] + EPSILON);
                (value - statistics.mean[channel]) / deviation
            }
            None => value,
        }
    };
    (0..input.colour.channels())
        .map(|channel| std::array::from_fn(|byte| value(channel, byte)))
        .collect()
}

/// Mean and deviation of every control of the learned frames, in the car's units.
fn moments(frames: &Frames, learned: &[usize], outputs: usize) -> (Vec<f64>, Vec<f64>) {
    let count = learned.len().max(1) as f64;
    let moment = |output: usize| {
        let labels = || learned.iter().map(|&i| f64::from(frames.label(i)[output]));
        let mean = labels().sum::<f64>() / count;
        let variance = labels()
            .map(|label| (label - mean) * (label - mean))
            .sum::<f64>()
            / count;
        (mean, variance.sqrt().max(LEAST_DEVIATION))
    };
    (0..outputs).map(moment).unzip()
}
