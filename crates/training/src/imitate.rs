//! Imitation learning, from gathering frames to a trained network.

use std::path::PathBuf;

use pilotage_simulator::{CarKind, Circuit, Random};
use pilotage_vision::VisionError;

use crate::augment;
use crate::backend::Backend;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::collect::collect;
use crate::dataset::{Dataset, Sample};
use crate::evaluate::{drive, plain};
use crate::expert::Expert;
use crate::network::{Statistics, Weights};
use crate::policy::Policy;
use crate::progress;
use crate::trainer::{LearnError, normalise};

/// The parameters of a training run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed of every random choice.
    pub seed: u64,
    /// The number of rounds in which the student drives, after the first round, in which the expert
    /// drives.
    pub rounds: usize,
    /// The number of frames gathered in each round.
    pub frames: usize,
    /// The number of epochs after each round except the last.
    pub epochs: usize,
    /// The number of epochs after the last round, in which the rate decreases to a thousandth.
    pub last_epochs: usize,
    /// The number of pictures in a batch.
    pub batch: usize,
    /// Adam's initial learning rate.
    pub rate: f64,
    /// The training backend.
    pub backend: Backend,
    /// The expert.
    pub expert: Expert,
    /// The folder for checkpoints.
    pub checkpoints: PathBuf,
    /// Whether to resume from the checkpoints there.
    pub resume: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            rounds: 5,
            frames: 10_000,
            epochs: 4,
            last_epochs: 12,
            batch: 128,
            rate: 1e-3,
            backend: Backend::Own,
            expert: Expert::default(),
            checkpoints: PathBuf::from("target/training"),
            resume: false,
        }
    }
}

/// Why training stopped early.
#[derive(Debug, thiserror::Error)]
pub enum ImitateError {
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The camera's frames do not fit the network.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// The training device failed.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// There are no frames, or the batch is empty.
    #[error("there is nothing to learn from: ask for at least one frame, round, epoch and a batch")]
    Nothing,
}

/// Gathers frames and trains, round after round, and returns the weights. `data` contains the
/// recorded frames; the frames of the rounds are added to it. `after_round` is called with the
/// weights after every round.
///
/// The same plan, data and build give the same weights on the same kind of machine, with any number
/// of cores. Different instruction sets give different weights, because matrix products are rounded
/// differently; so do different backends.
///
/// # Errors
/// When a checkpoint cannot be read or written, the backend's device fails, or there is nothing to
/// learn from.
pub fn imitate(
    plan: &Plan,
    data: &mut Dataset,
    mut after_round: impl FnMut(usize, &Weights) -> Result<(), ImitateError>,
) -> Result<Weights, ImitateError> {
    if plan.batch == 0 || (plan.frames == 0 && data.is_empty()) {
        return Err(ImitateError::Nothing);
    }
    let recorded = data.len();
    let mut checkpoint = Checkpoint::open(&plan.checkpoints, plan.resume)?;
    let mut weights = checkpoint.weights.take();
    checkpoint.restore(data)?;
    for round in checkpoint.rounds..=plan.rounds {
        gather(plan, round, weights.as_ref(), data)?;
        let start = weights
            .take()
            .unwrap_or_else(|| Weights::fresh(Statistics::measure(data.pictures()), plan.seed));
        let trained = train(plan, round, start, data)?;
        checkpoint.save(round, &trained, data, recorded)?;
        after_round(round, &trained)?;
        weights = Some(trained);
    }
    weights.ok_or(ImitateError::Nothing)
}

fn gather(
    plan: &Plan,
    round: usize,
    weights: Option<&Weights>,
    data: &mut Dataset,
) -> Result<(), ImitateError> {
    if plan.frames == 0 {
        return Ok(());
    }
    let bar = progress::bar(plan.frames, &format!("round {round}: driving"));
    // The expert's share halves with every round.
    let student = weights.map(|weights| (weights, 0.5_f64.powi(round as i32)));
    let seed = Random::stream(plan.seed, round as u64).bits() % (Circuit::UNSEEN / 2);
    collect(data, plan.frames, seed, &plan.expert, student, |frames| {
        bar.set_position(frames as u64);
    })?;
    bar.finish();
    Ok(())
}

fn train(
    plan: &Plan,
    round: usize,
    weights: Weights,
    data: &Dataset,
) -> Result<Weights, LearnError> {
    let last = round == plan.rounds;
    let epochs = if last { plan.last_epochs } else { plan.epochs };
    let batches = data.len().div_ceil(plan.batch);
    let steps = epochs * batches;
    let statistics = weights.statistics;
    let plain = statistics.table();
    let mut learner = plan.backend.learner(weights, plan.batch)?;
    let bar = progress::bar(steps * plan.batch, &format!("round {round}: learning"));
    for epoch in 0..epochs {
        let mut random = Random::stream(plan.seed, ((round as u64) << 32) + epoch as u64);
        let mut samples: Vec<Sample> = (0..data.len())
            .map(|index| Sample {
                index,
                mirrored: random.chance(0.5),
            })
            .collect();
        shuffle(&mut samples, &mut random);
        let epoch_seed = random.bits();
        let mut errors = 0.0;
        for (batch, samples) in samples.chunks(plan.batch).enumerate() {
            let done = (epoch * batches + batch) as f64 / steps as f64;
            // Cosine schedule, to a thousandth in the last round and to a fifth in the others.
            let floor = if last { 1e-3 } else { 0.2 };
            let cosine = 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done));
            let rate = plan.rate * (floor + (1.0 - floor) * cosine);
            errors += learner.step(samples, rate as f32, &|sample, input| {
                let mut random = Random::stream(epoch_seed, sample.index as u64);
                let table = augment::table(&plain, &statistics, &mut random);
                normalise(data.picture(sample.index), &table, sample.mirrored, input);
                data.wanted(sample)
            })?;
            bar.inc(samples.len() as u64);
        }
        let error = errors / batches as f64;
        let line = format!("round {round}, epoch {epoch}: mean squared error {error:.6}");
        progress::say(&bar, line);
    }
    bar.finish();
    learner.weights()
}

/// Evaluates the student briefly and prints the results: `simple` and a few random circuits, some
/// with the Ackermann car.
///
/// # Errors
/// Never for the cameras used here.
pub fn report(weights: &Weights) -> Result<(), VisionError> {
    let mut conditions: Vec<_> = Circuit::shipped("simple")
        .into_iter()
        .chain((0..11).map(|index| Circuit::random(Circuit::UNSEEN / 2 + index)))
        .map(|circuit| plain(circuit, 1))
        .collect();
    for conditions in conditions.iter_mut().skip(6) {
        conditions.car = CarKind::Ackermann;
    }
    for result in drive(&mut Policy::network(weights), &conditions, 1)? {
        pilotage_console::say_always(format_args!(
            "  {:28} {:5.1} % {:6.2} m/s, off the line {:.3} m mean, {:.3} p95, {:.3} most",
            result.circuit,
            100.0 * result.laps.clamp(0.0, 1.0),
            result.speed,
            result.deviation[0],
            result.deviation[1],
            result.deviation[2],
        ));
    }
    Ok(())
}

fn shuffle(samples: &mut [Sample], random: &mut Random) {
    for last in (1..samples.len()).rev() {
        samples.swap(last, random.below(last + 1));
    }
}
