//! Imitation learning, from gathering frames to a trained network.

pub mod files;

use std::path::PathBuf;
use std::time::Duration;

use pilotage_config::WriteError;
use pilotage_learning::{Example, Learner, LearningError, Training};
use pilotage_simulator::{CarKind, Circuit, Random};
use pilotage_vehicle::Measurement;
use pilotage_vision::VisionError;

use crate::augment;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::collect::{Wanted, collect};
use crate::dataset::{Dataset, Sample, physical};
use crate::driver::{Driver, DriverError};
use crate::evaluate::{self, drive};
use crate::expert::Expert;
use crate::network::{OUTPUTS, PICTURE, Statistics};
use crate::observation::{InputForm, plain, write_numbers, write_planes};
use crate::policy::Policy;
use crate::progress;
use crate::recording::RecordingError;
use crate::student::{Student, StudentError};

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
    /// The expert.
    pub expert: Expert,
    /// The time from a frame to the effect of its command; otherwise it is drawn for each drive.
    pub latency: Option<Duration>,
    /// What the network gets: pictures and measurements.
    pub inputs: InputForm,
    /// The model as which the network begins, instead of with random weights.
    pub model: Option<PathBuf>,
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
            expert: Expert::default(),
            latency: None,
            inputs: InputForm::default(),
            model: None,
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
    /// The student cannot drive.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The network cannot be made.
    #[error(transparent)]
    Student(#[from] Box<StudentError>),
    /// The network cannot be trained.
    #[error(transparent)]
    Learning(#[from] LearningError),
    /// The checkpoint's network has other inputs.
    #[error(
        "the checkpoint's network has other inputs ({found}) than asked for ({wanted}): delete it, \
         or train without --resume"
    )]
    Inputs {
        /// The inputs of the checkpoint's network.
        found: InputForm,
        /// The inputs asked for.
        wanted: InputForm,
    },
    /// A recording lacks a number that the network is to get.
    #[error(
        "a frame of --data has no measured {}: leave it out of --measure, or record frames with \
         `pilotage-training record` or `pilotage drive --record`", .0.name()
    )]
    NotMeasured(Measurement),
    /// A model or a recipe cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The frames for calibration cannot be written.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The checkpoint's frames are of another latency.
    #[error(
        "the checkpoint's frames are not of this --latency: delete it, or train without --resume"
    )]
    Latency,
    /// There are no frames, or the batch is empty.
    #[error("there is nothing to learn from: ask for at least one frame, round, epoch and a batch")]
    Nothing,
}

/// The weight of each output's squared error, for a sample with these expected outputs.
///
/// A constant error w of the yaw rate keeps the car off the line by w L^2 / (2 v), where the
/// expert's correction balances it. The look-ahead L is proportional to the speed v, so the offset
/// is proportional to v. Therefore steering is weighted by the square of the speed: 4 at 8 m/s.
pub fn importance(wanted: [f32; OUTPUTS]) -> [f32; OUTPUTS] {
    let (speed, _) = physical(wanted);
    [1.0, by_speed(speed)]
}

/// The weight of a squared error of the yaw rate at a speed in m/s.
pub(crate) fn by_speed(speed: f32) -> f32 {
    (speed * speed / 16.0).clamp(1.0, 16.0)
}

/// Gathers frames and trains, round after round, and returns the student. `data` contains the
/// recorded frames; the frames of the rounds are added to it. `after_round` is called with the
/// student after every round.
///
/// The same plan, data and build give the same weights on the same kind of machine, with any number
/// of cores. Different instruction sets give different weights, because matrix products are rounded
/// differently.
///
/// # Errors
/// When a checkpoint cannot be read or written, or there is nothing to learn from.
pub fn imitate(
    plan: &Plan,
    data: &mut Dataset,
    mut after_round: impl FnMut(usize, &mut Student) -> Result<(), ImitateError>,
) -> Result<Student, ImitateError> {
    if plan.batch == 0 || (plan.frames == 0 && data.is_empty()) {
        return Err(ImitateError::Nothing);
    }
    let recorded = data.len();
    let mut checkpoint = Checkpoint::open(&plan.checkpoints, plan.resume)?;
    let mut student = match (checkpoint.student.take(), &plan.model) {
        (Some(student), _) => Some(student),
        (None, Some(path)) => Some(Student::widened(path, &plan.inputs).map_err(Box::new)?),
        (None, None) => None,
    };
    if let Some(found) = (student.as_ref().map(Student::form)).filter(|&it| *it != plan.inputs) {
        let (found, wanted) = (found.clone(), plan.inputs.clone());
        return Err(ImitateError::Inputs { found, wanted });
    }
    let mut measurements = plan.inputs.measurements.iter();
    if let Some(&missing) = measurements.find(|&&it| !data.has(it)) {
        return Err(ImitateError::NotMeasured(missing));
    }
    if checkpoint.rounds > 0 && checkpoint.latency != plan.latency {
        return Err(ImitateError::Latency);
    }
    checkpoint.latency = plan.latency;
    checkpoint.restore(data)?;
    for round in checkpoint.rounds..=plan.rounds {
        gather(plan, round, student.as_mut(), data)?;
        let start = match student.take() {
            Some(student) => student,
            None => {
                let statistics = Statistics::measure(data.pictures());
                Student::fresh(&statistics, &plan.inputs, plan.seed).map_err(Box::new)?
            }
        };
        let mut trained = train(plan, round, start, data)?;
        checkpoint.save(round, &trained.graph()?, data, recorded)?;
        after_round(round, &mut trained)?;
        student = Some(trained);
    }
    student.ok_or(ImitateError::Nothing)
}

fn gather(
    plan: &Plan,
    round: usize,
    student: Option<&mut Student>,
    data: &mut Dataset,
) -> Result<(), ImitateError> {
    if plan.frames == 0 {
        return Ok(());
    }
    let bar = progress::bar(plan.frames, &format!("round {round}: driving"));
    // The expert's share halves with every round.
    let share = 0.5_f64.powi(round as i32);
    let driver = student.map(|student| (student as &mut dyn Driver, share));
    let wanted = Wanted {
        frames: plan.frames,
        seed: Random::stream(plan.seed, round as u64).bits() % (Circuit::UNSEEN / 2),
        expert: &plan.expert,
        latency: plan.latency,
    };
    collect(data, wanted, driver, |frames| {
        bar.set_position(frames as u64);
    })?;
    bar.finish();
    Ok(())
}

/// Adam on the squared error. The rate falls along a cosine, to a thousandth in the last round and
/// to a fifth in the others.
fn training(plan: &Plan, round: usize, steps: usize) -> Training {
    let last = if round == plan.rounds { 1e-3 } else { 0.2 };
    Training::adam(plan.rate, steps as u64, last)
}

fn train(
    plan: &Plan,
    round: usize,
    student: Student,
    data: &Dataset,
) -> Result<Student, LearningError> {
    let epochs = match round == plan.rounds {
        true => plan.last_epochs,
        false => plan.epochs,
    };
    let batches = data.len().div_ceil(plan.batch);
    let steps = epochs * batches;
    let mut learner = Learner::new(student.into_network(), training(plan, round, steps))?;
    let plain = plain();
    let bar = progress::bar(epochs * data.len(), &format!("round {round}: learning"));
    for epoch in 0..epochs {
        let mut random = Random::stream(plan.seed, ((round as u64) << 32) + epoch as u64);
        let mut samples: Vec<Sample> = (0..data.len())
            .map(|index| Sample {
                index,
                mirrored: random.chance(0.5),
            })
            .collect();
        random.shuffle(&mut samples);
        let epoch_seed = random.bits();
        let mut squares = 0.0;
        for samples in samples.chunks(plan.batch) {
            let losses = learner.step(samples.len(), &|index, example| {
                let sample = &samples[index];
                let mut random = Random::stream(epoch_seed, sample.index as u64);
                let values = augment::table(&plain, &mut random);
                write_inputs(plan, data, sample, &values, example);
                let wanted = data.wanted(sample);
                example.targets.copy_from_slice(&wanted);
                example.weights.copy_from_slice(&importance(wanted));
            });
            squares += losses.squared.iter().sum::<f64>();
            bar.inc(samples.len() as u64);
        }
        let error = squares / (data.len() * OUTPUTS) as f64;
        let line = format!("round {round}, epoch {epoch}: mean squared error {error:.6}");
        progress::say(&bar, line);
    }
    bar.finish();
    Ok(Student::of_network(learner.finish()))
}

/// Writes the inputs of a sample: its picture and those before it, and what was measured.
fn write_inputs(
    plan: &Plan,
    data: &Dataset,
    &Sample { index, mirrored }: &Sample,
    values: &[[f32; 256]; 3],
    example: &mut Example<'_>,
) {
    let InputForm {
        pictures,
        measurements,
    } = &plan.inputs;
    let mut inputs = example.inputs.iter_mut().map(|input| &mut **input);
    let planes = inputs.next().into_iter();
    let planes = planes.flat_map(|input| input.chunks_exact_mut(PICTURE));
    for (earlier, planes) in (0..*pictures).rev().zip(planes) {
        let picture = data.picture(data.before(index, earlier));
        write_planes(picture, values, mirrored, planes);
    }
    write_numbers(&data.measured(index), measurements, mirrored, inputs);
}

/// Evaluates the student briefly and prints the results: `simple` and a few random circuits, some
/// with the Ackermann car.
///
/// # Errors
/// Never for the cameras used here.
pub fn report(student: &mut Student, latency: Option<Duration>) -> Result<(), VisionError> {
    let mut conditions: Vec<_> = Circuit::shipped("simple")
        .into_iter()
        .chain((0..11).map(|index| Circuit::random(Circuit::UNSEEN / 2 + index)))
        .map(|circuit| evaluate::plain(circuit, 1))
        .collect();
    for conditions in &mut conditions {
        conditions.latency = latency.unwrap_or(conditions.latency);
    }
    for conditions in conditions.iter_mut().skip(6) {
        conditions.car = CarKind::Ackermann;
    }
    for result in drive(&mut Policy::Student(student), &conditions, 1)? {
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
