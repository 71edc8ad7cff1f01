//! Fine-tuning: a network learns, from frames and from the trained model, while a strategy changes
//! its form.

use pilotage_graph::Graph;
use pilotage_learning::{Learner, LearningError, Network, Training};
use pilotage_simulator::Random;

use super::OptimiseError;
use super::strategy::Strategy;
use super::task::Task;
use crate::cloning::augment::Values;

use crate::progress;

/// The share of the initial learning rate that is left at the end. The network has learned already:
/// with much more, the last steps would leave it less exact than it was.
const LAST: f64 = 0.001;

/// A network with random weights starts with smaller steps, for one of so many of them: Adam's first
/// ones have the full size whatever the gradient.
const WARM_UP: u64 = 20;

/// Changes a network before a step: the step's number and the number of steps. Returns whether the
/// network has its final form.
pub type Reform<'a> = dyn FnMut(&mut Network, u64, u64) -> Result<bool, LearningError> + 'a;

/// A network's graph, as it is written.
pub type Exporter<'a> = dyn Fn(&Network) -> Result<Graph, OptimiseError> + 'a;

/// The best network of a stage.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The network.
    pub graph: Graph,
    /// Its error on held-back frames; see [`Task::error`].
    pub error: f64,
    /// Its answers for the held-back frames.
    pub answers: Vec<f32>,
}

/// A stage of training.
pub struct Stage<'a> {
    /// What it is called in messages.
    pub name: &'a str,
    /// Changes the network before each step.
    pub reform: &'a mut Reform<'a>,
    /// How the network is written.
    pub export: &'a Exporter<'a>,
}

/// Trains networks for one task, with the trained model as the teacher.
pub struct Course<'a> {
    task: &'a Task<'a>,
    strategy: Strategy,
    teacher: Network,
    /// The inputs of the network and of the teacher.
    values: Values,
    /// The first element of each number in the network's answer.
    places: Vec<usize>,
    stages: u64,
}

impl<'a> Course<'a> {
    /// Training in which networks and the `teacher` take `values`. The numbers of the networks
    /// begin at `places`.
    pub fn new(
        (task, strategy): (&'a Task<'a>, Strategy),
        teacher: Network,
        values: Values,
        places: Vec<usize>,
    ) -> Self {
        Self {
            task,
            strategy,
            teacher,
            values,
            places,
            stages: 0,
        }
    }

    /// The error of `network` on the held-back frames, and its answers.
    fn measure(
        &self,
        network: &mut Network,
        stage: &Stage<'_>,
    ) -> Result<(f64, Vec<f32>), OptimiseError> {
        let held_back = &self.task.split.held_back;
        let answers = self.task.answers(network, &self.values, held_back);
        let error = self.task.error(&answers, &self.places);
        match error.is_finite() {
            true => Ok((error, answers)),
            false => Err(self.diverged(stage)),
        }
    }

    /// `network` as a candidate.
    fn candidate(
        &self,
        network: &mut Network,
        stage: &Stage<'_>,
    ) -> Result<Candidate, OptimiseError> {
        let (error, answers) = self.measure(network, stage)?;
        Ok(Candidate {
            error,
            graph: (stage.export)(network)?,
            answers,
        })
    }

    /// Runs one stage. Returns the network after the last step, and the best one of those that
    /// have the final form: at the beginning, or after a pass.
    ///
    /// # Errors
    /// When the training diverges, or the network cannot take its form.
    pub fn run(
        &mut self,
        network: Network,
        mut stage: Stage<'_>,
    ) -> Result<(Network, Candidate), OptimiseError> {
        let settings = &self.task.settings;
        let epochs = settings.passes(self.strategy);
        let batches = self.task.split.learned.len().div_ceil(settings.batch);
        let steps = epochs as u64 * batches.max(1) as u64;
        let mut training = Training::adam(self.rate(), steps, LAST);
        if self.strategy == Strategy::Distill {
            training.schedule.warm_up = steps / WARM_UP;
        }
        let mut learner = Learner::new(network, training)?;
        self.stages += 1;
        let mut best: Option<Candidate> = None;
        if (stage.reform)(learner.network_mut(), 0, steps)? {
            best = Some(self.candidate(learner.network_mut(), &stage)?);
        }
        for epoch in 0..epochs {
            self.pass(&mut learner, &mut stage, (epoch, epochs, steps))?;
            // A pass may have a step more or less.
            let done = match epoch + 1 == epochs {
                true => steps,
                false => learner.steps().min(steps),
            };
            if !(stage.reform)(learner.network_mut(), done, steps)? {
                continue;
            }
            let (error, answers) = self.measure(learner.network_mut(), &stage)?;
            pilotage_console::say_always(format_args!(
                "{}, pass {} of {epochs}: error on held-back frames {error:.4}",
                stage.name,
                epoch + 1
            ));
            if best.as_ref().is_none_or(|it| error < it.error) {
                let graph = (stage.export)(learner.network())?;
                best = Some(Candidate {
                    graph,
                    error,
                    answers,
                });
            }
        }
        let mut network = learner.finish();
        let best = match best {
            Some(best) => best,
            None => self.candidate(&mut network, &stage)?,
        };
        Ok((network, best))
    }

    fn rate(&self) -> f64 {
        self.task.settings.initial_rate(self.strategy)
    }

    fn diverged(&self, stage: &Stage<'_>) -> OptimiseError {
        OptimiseError::Diverged {
            stage: stage.name.to_owned(),
            rate: self.rate(),
        }
    }

    /// One pass over the learned frames.
    fn pass(
        &mut self,
        learner: &mut Learner,
        stage: &mut Stage<'_>,
        (epoch, epochs, steps): (usize, usize, u64),
    ) -> Result<(), OptimiseError> {
        let settings = &self.task.settings;
        let mut random = Random::stream(settings.seed, (self.stages << 32) | epoch as u64);
        let drawn = self.task.draw(&mut random);
        let seed = random.bits();
        let message = format!("{}: pass {} of {epochs}", stage.name, epoch + 1);
        let bar = progress::bar(drawn.len(), &message);
        for (batch, picks) in drawn.chunks(settings.batch).enumerate() {
            let done = learner.steps();
            (stage.reform)(learner.network_mut(), done, steps)?;
            let first = (batch * settings.batch) as u64;
            if !self.step(learner, picks, (seed, first)).is_finite() {
                return Err(self.diverged(stage));
            }
            bar.inc(picks.len() as u64);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// One step over the frames `picks`, with random changes. Returns the loss.
    fn step(&mut self, learner: &mut Learner, picks: &[usize], (seed, first): (u64, u64)) -> f64 {
        let task = self.task;
        let values = &self.values;
        let change = |index: usize| {
            let mut random = Random::stream(seed, first + index as u64);
            (task.change(&mut random), random.bits())
        };
        let share = match task.needs_teacher() {
            true => task.settings.teacher.max(f64::MIN_POSITIVE),
            false => task.settings.teacher,
        };
        let size = self.teacher.output_size();
        let answers = match share > 0.0 {
            true => self.teacher.answers(picks.len(), &|index, example| {
                if let Some(input) = example.inputs.first_mut() {
                    task.write(picks[index], &change(index).0, values, input);
                }
            }),
            false => vec![0.0; picks.len() * size],
        };
        let places = &self.places;
        let losses = learner.step(picks.len(), &|index, example| {
            let (change, bits) = change(index);
            if let Some(input) = example.inputs.first_mut() {
                task.write(picks[index], &change, values, input);
            }
            let teacher = (&answers[index * size..][..size], share as f32);
            let aims = (&mut *example.targets, &mut *example.weights);
            task.targets((picks[index], &change), teacher, places, aims);
            example.seed = bits;
        });
        losses.mean
    }
}
