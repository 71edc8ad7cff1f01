//! Fits a network to frames: passes with augmentation, early stopping, checkpoints.

mod example;

use std::ops::ControlFlow;

use pilotage_graph::{Graph, ValueId};
use pilotage_learning::{Learner, LearningError, Network, Training};
use pilotage_simulator::Random;
use pilotage_vision::Preprocess;

use super::augment::{Change, Values, per_width};
use super::balance::Balance;
use super::frames::Frames;
use super::model::{Origin, Port};
use super::recipe::{LearnedOutput, TrainingRecipe, rounded};
use super::split::Split;
use super::state::{EpochError, Fingerprint, State, StateError};
use crate::export::{ExportError, ThrottleBySteering, add_throttle};
use crate::network::Statistics;
use crate::observation::Number;
use crate::progress;

/// The least deviation that a control's errors are divided by, in the car's unit: a control that
/// hardly varies, such as a constant throttle, does not outweigh the others.
pub(crate) const LEAST_DEVIATION: f64 = 0.01;
/// The least deviation that a measured number is divided by, as a share of the simulated car's: slower
/// cars vary less.
const LEAST_SPREAD: f64 = 0.1;
/// The learning rate at the end, as a share of the initial one.
pub(crate) const LAST_RATE: f64 = 0.05;
/// Pictures that the statistics of the input are measured on.
const MEASURED: usize = 2000;

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
    /// The network cannot be trained.
    #[error(transparent)]
    Learning(Box<LearningError>),
    /// The network cannot be written as ONNX.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The checkpoint cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The observer ended the training; the checkpoint has the finished passes.
    #[error("interrupted after {0} passes; --resume continues")]
    Interrupted(usize),
}

impl From<LearningError> for FitError {
    fn from(reason: LearningError) -> Self {
        Self::Learning(Box::new(reason))
    }
}

/// What is fitted to what.
#[derive(Debug)]
pub struct Task<'a> {
    /// The recipe.
    pub recipe: &'a TrainingRecipe,
    /// The network's name, for messages.
    pub name: String,
    /// The network before the first pass.
    pub graph: Graph,
    /// Entries of the trained model's metadata.
    pub metadata: Vec<(String, String)>,
    /// What it learns to answer.
    pub outputs: Vec<LearnedOutput>,
    /// Where it has each of these outputs.
    pub ports: Vec<Port>,
    /// What sensors measure, as it gets it.
    pub numbers: Vec<Number>,
    /// All frames.
    pub frames: &'a Frames,
    /// Which of them are learned and held back.
    pub split: Split,
    /// How often each learned frame is used.
    pub balance: Balance,
    /// The mean of every learned control, in the car's units.
    pub mean: Vec<f64>,
    /// The nodes whose outputs training drops, with the share.
    dropouts: Vec<(String, f32)>,
    /// The weights that learn at a reduced rate, with the factor.
    rate_factors: Vec<(String, f32)>,
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
    /// Prepares the fit of a network. Random weights are such that the network answers the mean.
    ///
    /// # Errors
    /// When the network cannot be made, trained as the recipe says, or written as ONNX.
    pub fn new(
        recipe: &'a TrainingRecipe,
        origin: Origin,
        outputs: Vec<LearnedOutput>,
        frames: &'a Frames,
        split: Split,
    ) -> Result<Self, FitError> {
        let turning = turning(&outputs);
        let learned = split.learned.iter();
        let steering: Vec<f32> = learned.map(|&i| frames.label(i)[turning]).collect();
        // The cameras at the sides teach the way back, and are no part of a drive.
        let centre: Vec<usize> = (split.learned.iter().copied())
            .filter(|&index| !frames.is_side(index))
            .collect();
        let (mean, deviation) = moments(frames, &centre, outputs.len());
        let mut task = Self {
            balance: Balance::of(&steering, recipe.training.balance),
            name: String::new(),
            graph: Graph::default(),
            metadata: Vec::new(),
            ports: Vec::new(),
            numbers: numbers(recipe, frames, &split.learned),
            dropouts: Vec::new(),
            rate_factors: Vec::new(),
            values: values(&recipe.input),
            per_width: per_width(&recipe.augment, deviation[turning]),
            recipe,
            outputs,
            frames,
            split,
            mean,
            deviation,
        };
        task.start_from(origin)?;
        // What would fail in the end fails here.
        task.exported(&task.network()?)?;
        Ok(task)
    }

    fn start_from(&mut self, origin: Origin) -> Result<(), FitError> {
        match origin {
            Origin::Named(shape) => {
                let layout = self.recipe.input.layout;
                let statistics = statistics(self.frames, &self.split.learned, &self.recipe.input);
                let numbers = self.mean.iter().zip(&self.outputs);
                let last: Vec<f32> = numbers
                    .map(|(mean, output)| (*mean as f32 - output.offset) / output.scale)
                    .collect();
                let seed = self.recipe.training.seed;
                self.graph = shape.graph(&statistics, &last, layout, seed)?;
                self.dropouts = shape.dropouts();
                self.rate_factors = shape.rate_factors();
                self.name = shape.name.to_owned();
                let port = |index| Port {
                    output: self.graph.value(self.graph.outputs[0]).name.clone(),
                    index,
                    element: index,
                };
                self.ports = (0..last.len()).map(port).collect();
            }
            Origin::Model(model, ports) => {
                self.name = model.path.display().to_string();
                self.graph = model.graph;
                self.metadata = model.metadata.into_iter().collect();
                self.ports = ports;
            }
        }
        Ok(())
    }

    /// The network before the first pass. It runs on as many threads as rayon does.
    ///
    /// # Errors
    /// When the recipe freezes layers that there are not.
    pub fn network(&self) -> Result<Network, LearningError> {
        let mut network = Network::from_graph(&self.graph)?;
        network.set_threads(rayon::current_num_threads());
        for (node, share) in &self.dropouts {
            network.set_dropout(node, *share)?;
        }
        for (name, factor) in &self.rate_factors {
            network.set_rate_factor(name, *factor)?;
        }
        for prefix in &self.recipe.training.freeze {
            network.freeze(prefix)?;
        }
        Ok(network)
    }

    /// The network with these values of all its parameters ([`Network::values`]).
    ///
    /// # Errors
    /// When there are too many or too few.
    pub fn network_of(&self, weights: &[f32]) -> Result<Network, LearningError> {
        let mut network = self.network()?;
        network.set_all_values(weights)?;
        Ok(network)
    }

    /// The graph that is written: with the throttle, if it follows the steering.
    ///
    /// # Errors
    /// When the throttle cannot be computed from the network's output.
    pub fn exported(&self, network: &Network) -> Result<Graph, FitError> {
        let mut graph = network.to_graph()?;
        if let Some(throttle) = self.by_steering() {
            let name = &self.ports[0].output;
            let of_name = |&output: &ValueId| graph.value(output).name == *name;
            let output = graph.outputs.iter().position(of_name);
            add_throttle(&mut graph, output.unwrap_or(0), throttle)?;
        }
        Ok(graph)
    }

    /// The throttle that follows the steering, if the network has no output for it.
    pub(super) fn by_steering(&self) -> Option<ThrottleBySteering> {
        let (straight, full) = self.recipe.throttle?.by_steering()?;
        let steering = self.outputs.first()?;
        Some(ThrottleBySteering {
            scale: steering.scale,
            offset: steering.offset,
            straight,
            full,
        })
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
            for value in self
                .frames
                .label(index)
                .iter()
                .chain(self.frames.numbers(index))
            {
                fingerprint = fingerprint.with(&value.to_le_bytes());
            }
        }
        if self.recipe.model.is_some() {
            fingerprint = fingerprint.with(&self.graph.write());
        }
        fingerprint.value()
    }

    /// The state before the first pass.
    ///
    /// # Errors
    /// As [`network`](Self::network).
    pub fn start(&self) -> Result<State, LearningError> {
        let weights = self.network()?.values();
        Ok(State {
            fingerprint: self.fingerprint(),
            best_weights: weights.clone(),
            mean: vec![0.0; weights.len()],
            square: vec![0.0; weights.len()],
            weights,
            ..State::default()
        })
    }

    /// Adam on the squared error. The rate falls along a cosine to the last pass.
    fn training(&self) -> Training {
        let settings = &self.recipe.training;
        let batches = self.split.learned.len().div_ceil(settings.batch).max(1);
        let steps = settings.epochs * batches;
        Training::adam(settings.rate, steps as u64, LAST_RATE)
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
        let network = self.network_of(&state.weights)?;
        let progress = state.progress(&network);
        let mut learner = Learner::new(network, self.training())?;
        learner.resume(progress)?;
        while !self.is_finished(&state) {
            let epoch = state.history.len();
            let errors = self.pass(&mut learner, epoch);
            if !(errors.learned.is_finite() && errors.held_back.is_finite()) {
                return Err(FitError::Diverged {
                    epoch: epoch + 1,
                    rate: settings.rate,
                });
            }
            state.history.push(errors);
            state.keep(&learner);
            if state.best.is_none_or(|(_, least)| errors.held_back < least) {
                state.best = Some((epoch, errors.held_back));
                state.best_weights.clone_from(&state.weights);
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
    fn pass(&self, learner: &mut Learner, epoch: usize) -> EpochError {
        let settings = &self.recipe.training;
        let mut random = Random::stream(settings.seed, 1 + epoch as u64);
        let drawn = self.balance.draw(&mut random);
        let seed = random.bits();
        let message = format!("pass {} of at most {}", epoch + 1, settings.epochs);
        let bar = progress::bar(drawn.len(), &message);
        let mut sums = vec![0.0; self.outputs.len()];
        for (batch, picks) in drawn.chunks(settings.batch).enumerate() {
            let first = (batch * settings.batch) as u64;
            let losses = learner.step(picks.len(), &|index, example| {
                let mut random = Random::stream(seed, first + index as u64);
                let frame = self.split.learned[picks[index]];
                self.example(frame, &mut random, example);
            });
            for (sum, port) in sums.iter_mut().zip(&self.ports) {
                *sum += losses.squared[port.element];
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
            held_back: self.held_back_error(learner.network_mut()),
        }
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

    /// The error on the held-back frames, as [`EpochError::held_back`].
    pub fn held_back_error(&self, network: &mut Network) -> f64 {
        let answers = self.answers(network, &self.split.held_back);
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
    pub fn answers(&self, network: &mut Network, frames: &[usize]) -> Vec<f32> {
        let unchanged = Change::none();
        let numbers = network.answers(frames.len(), &|index, example| {
            self.write_inputs(frames[index], &unchanged, &mut example.inputs);
        });
        let mut answers = Vec::with_capacity(frames.len() * self.outputs.len());
        for numbers in numbers.chunks_exact(network.output_size().max(1)) {
            for (port, output) in self.ports.iter().zip(&self.outputs) {
                answers.push(numbers[port.element] * output.scale + output.offset);
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
    Statistics::of_counts(&counts, |channel, byte| {
        f64::from(scaled(input, channel, byte as f32))
    })
}

/// The network's input for every byte, by channel.
pub(crate) fn values(input: &Preprocess) -> Values {
    let channel = |channel| std::array::from_fn(|byte| scaled(input, channel, byte as f32));
    (0..input.colour.channels()).map(channel).collect()
}

/// The measured numbers that the network gets. Scaled by mean and deviation of the learned frames, they
/// are about 1 in size; those that turn stay 0 for a car that does not.
fn numbers(recipe: &TrainingRecipe, frames: &Frames, learned: &[usize]) -> Vec<Number> {
    let each = recipe.measure.iter().enumerate();
    each.map(|(place, &measurement)| {
        let values = learned.iter().map(|&index| frames.numbers(index)[place]);
        // Of a car at a nearly constant speed, say, the network would get enlarged noise, and far too
        // large a number at another speed.
        let least = LEAST_SPREAD / f64::from(Number::simulated(measurement).scale);
        let (mean, deviation) = spread(values, least);
        let number = Number {
            measurement,
            scale: rounded(1.0 / deviation),
            offset: 0.0,
        };
        match number.turns() {
            true => number,
            false => Number {
                offset: rounded(-mean / deviation),
                ..number
            },
        }
    })
    .collect()
}

/// Mean and deviation of every control of the learned frames, in the car's units.
fn moments(frames: &Frames, learned: &[usize], outputs: usize) -> (Vec<f64>, Vec<f64>) {
    let moment = |output: usize| {
        let labels = learned.iter().map(|&i| frames.label(i)[output]);
        spread(labels, LEAST_DEVIATION)
    };
    (0..outputs).map(moment).unzip()
}

/// Mean and deviation, which is at least `least`.
fn spread(values: impl Iterator<Item = f32> + Clone, least: f64) -> (f64, f64) {
    let values = values.map(f64::from);
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let squares = values.map(|value| (value - mean) * (value - mean));
    let deviation = (squares.sum::<f64>() / count).sqrt();
    (mean, deviation.max(least))
}
