//! Training: a network with its optimiser.

use crate::error::LearningError;
use crate::loss::Loss;
use crate::network::{Fill, Losses, Network, check_size};
use crate::optimizer::{Average, Decay, Optimizer, OptimizerState, Schedule, clip_factor};
use crate::parallel::for_each;

/// How a network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// The optimiser.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub schedule: Schedule,
    /// The loss.
    pub loss: Loss,
    /// The largest norm of the gradient of all parameters together; larger ones are scaled to it.
    pub clip: Option<f64>,
    /// The share of the averaged weights that each step keeps; `None` averages nothing.
    pub average: Option<f32>,
}

impl Training {
    /// Adam on the squared error. The rate falls along a cosine, in so many `steps`, from `rate` to
    /// `last` times it.
    pub fn adam(rate: f64, steps: u64, last: f64) -> Self {
        Self {
            optimizer: Optimizer::ADAM,
            schedule: Schedule {
                rate,
                warm_up: 0,
                decay: Decay::Cosine { steps, last },
            },
            loss: Loss::Squared,
            clip: None,
            average: None,
        }
    }
}

/// How far a training has come: with the values of the network's parameters
/// ([`Network::values`]), everything that it needs to continue later with the same result, unless
/// the network is quantized, whose ranges are not a part of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The number of steps.
    pub steps: u64,
    /// What the optimiser keeps for each parameter.
    pub states: Vec<OptimizerState>,
    /// The averaged latent values of each parameter; empty if there are none.
    pub averages: Vec<Vec<f32>>,
}

/// A network with its optimiser. The same steps give the same weights with any number of threads.
#[derive(Debug)]
pub struct Learner {
    network: Network,
    training: Training,
    states: Vec<OptimizerState>,
    averages: Vec<Average>,
    steps: u64,
}

impl Learner {
    /// Trains a network from its present weights.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn new(network: Network, training: Training) -> Result<Self, LearningError> {
        let wrong = |setting, found: f64, expected| {
            Err(LearningError::Setting {
                setting,
                found: found.to_string(),
                expected,
            })
        };
        let rate = training.schedule.rate;
        if !(rate.is_finite() && rate >= 0.0) {
            return wrong("the learning rate", rate, "finite and at least 0");
        }
        if let Some(clip) = training
            .clip
            .filter(|clip| !(clip.is_finite() && *clip > 0.0))
        {
            return wrong(
                "the largest norm of the gradient",
                clip,
                "finite and above 0",
            );
        }
        if let Some(keep) = training.average.filter(|keep| !(0.0..1.0).contains(keep)) {
            return wrong(
                "the decay of the average",
                keep.into(),
                "at least 0 and below 1",
            );
        }
        if let Loss::Huber { delta } = training.loss
            && !(delta.is_finite() && delta > 0.0)
        {
            return wrong("Huber's delta", delta.into(), "finite and above 0");
        }
        let count = network.parameters().len();
        Ok(Self {
            network,
            training,
            states: vec![OptimizerState::default(); count],
            averages: vec![Average::default(); count],
            steps: 0,
        })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network, to change what is trained, or to prune, cluster or quantize it. The
    /// optimiser's state of a parameter starts anew when its number of latent values changes.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// The number of steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How far the training has come.
    pub fn progress(&self) -> Progress {
        Progress {
            steps: self.steps,
            states: self.states.clone(),
            averages: self.averages.iter().map(|a| a.values.clone()).collect(),
        }
    }

    /// Continues a training of the same network with the same settings.
    ///
    /// # Errors
    /// If `progress` does not have a state for each parameter, or one of another size.
    pub fn resume(&mut self, progress: Progress) -> Result<(), LearningError> {
        let count = self.states.len();
        check_size("the states", count, progress.states.len())?;
        check_size("the averages", count, progress.averages.len())?;
        let saved = progress.states.iter().zip(&progress.averages);
        for (parameter, (state, average)) in self.network.parameters().iter().zip(saved) {
            let expected = parameter.latent().len();
            for list in [&state.first, &state.second, average] {
                if !list.is_empty() {
                    check_size(parameter.name(), expected, list.len())?;
                }
            }
        }
        let averages = progress.averages.into_iter();
        self.averages = averages.map(|values| Average { values }).collect();
        self.states = progress.states;
        self.steps = progress.steps;
        Ok(())
    }

    /// One step over `count` samples, at least one, which `fill` writes with inputs and targets.
    /// Returns the losses before the step.
    pub fn step(&mut self, count: usize, fill: &Fill<'_>) -> Losses {
        let losses = self.network.gradients(count, self.training.loss, fill);
        let rate = self.training.schedule.at(self.steps) as f32;
        self.clip();
        let optimizer = self.training.optimizer;
        let trained = self.network.trained().to_vec();
        let threads = self.network.threads();
        let parameters = self.network.parameters_mut().iter_mut();
        let mut parts = Vec::new();
        for ((parameter, state), &trained) in parameters.zip(&mut self.states).zip(&trained) {
            if trained {
                let rate = rate * parameter.rate;
                let (latent, gradient) = parameter.latent_and_gradient();
                let update = state.begin(optimizer, rate, latent.len());
                parts.extend(state.parts(update, latent, gradient));
            }
        }
        for_each(&mut parts, threads, |_, part| part.run());
        let parameters = self.network.parameters_mut().iter_mut();
        for (parameter, _) in parameters.zip(trained).filter(|(_, trained)| *trained) {
            parameter.refresh();
        }
        self.network.update_ranges(optimizer, rate);
        if let Some(decay) = self.training.average {
            let parameters = self.network.parameters().iter();
            for (average, parameter) in self.averages.iter_mut().zip(parameters) {
                average.add(decay, parameter.latent());
            }
        }
        self.steps += 1;
        losses
    }

    /// One step of knowledge distillation (Hinton, Vinyals, Dean, 2015): the targets are `share`
    /// parts of the teacher's answers and `1 - share` parts of those that `fill` writes.
    ///
    /// `fill` is called twice for each sample, for the teacher and for this network, and must write
    /// the same inputs both times. The targets, weights and seed that it writes for the teacher are
    /// not used.
    ///
    /// # Errors
    /// If the teacher has another number of inputs or outputs, or one of another size, or `share` is
    /// outside 0..=1.
    pub fn distill(
        &mut self,
        teacher: &mut Network,
        share: f32,
        count: usize,
        fill: &Fill<'_>,
    ) -> Result<Losses, LearningError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(LearningError::Setting {
                setting: "the teacher's share",
                found: share.to_string(),
                expected: "from 0 to 1",
            });
        }
        let outputs = self.network.output_size();
        let same = |name: String, expected: usize, found: usize| match expected == found {
            true => Ok(()),
            false => Err(LearningError::Size {
                name,
                expected,
                found,
            }),
        };
        let (inputs, of_teacher) = (self.network.input_sizes(), teacher.input_sizes());
        same(
            "the teacher's inputs".to_owned(),
            inputs.len(),
            of_teacher.len(),
        )?;
        for (index, (expected, found)) in inputs.into_iter().zip(of_teacher).enumerate() {
            same(format!("the teacher's inputs[{index}]"), expected, found)?;
        }
        same(
            "the teacher's outputs".to_owned(),
            outputs,
            teacher.output_size(),
        )?;
        let answers = teacher.answers(count, &|index, example| {
            // The labels are written to buffers of their own.
            let (mut targets, mut weights) = (vec![0.0; outputs], vec![1.0; outputs]);
            let inputs = std::mem::take(&mut example.inputs);
            let mut inner = crate::network::Example {
                inputs,
                targets: &mut targets,
                weights: &mut weights,
                seed: 0,
            };
            fill(index, &mut inner);
        });
        Ok(self.step(count, &|index, example| {
            fill(index, example);
            let answers = &answers[index * outputs..][..outputs];
            for (target, answer) in example.targets.iter_mut().zip(answers) {
                *target = share * answer + (1.0 - share) * *target;
            }
        }))
    }

    /// Scales the gradients down to the largest norm.
    fn clip(&mut self) {
        let Some(limit) = self.training.clip else {
            return;
        };
        let square = |parameter: &crate::Parameter| -> f64 {
            let each = parameter.gradient().iter();
            each.map(|&g| f64::from(g) * f64::from(g)).sum()
        };
        let norm: f64 = self.network.parameters().iter().map(square).sum();
        let factor = clip_factor(norm, limit);
        if factor < 1.0 {
            for parameter in self.network.parameters_mut() {
                parameter.gradient.iter_mut().for_each(|g| *g *= factor);
            }
        }
    }

    /// Ends training: the network with its averaged weights if the training averages them, else
    /// with its last ones.
    pub fn finish(mut self) -> Network {
        if self.training.average.is_some() {
            let parameters = self.network.parameters_mut().iter_mut();
            for (parameter, average) in parameters.zip(&self.averages) {
                if average.values.len() == parameter.latent().len() {
                    parameter.set_latent(&average.values);
                }
            }
        }
        self.network
    }
}
