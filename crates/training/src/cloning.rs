//! Behavioural cloning: trains a network to answer what a driver did, from recordings (Pomerleau,
//! "ALVINN", 1989; Bojarski et al., "End to End Learning for Self-Driving Cars", 2016).
//!
//! [`train`] runs the whole process: it reads the recordings ([`frames`]), holds a part back by
//! drives or blocks of time ([`split`]), fits the network ([`fit`]), measures it on what was held
//! back ([`score`]) and writes NAME.onnx, NAME.toml and NAME.png ([`export`], [`picture`]). A
//! [`recipe`] sets the network, its input and what it learns. Nothing is driven: a real car's
//! recordings do not fit the simulator.
//!
//! Training starts from random weights of a named network, or from a user's ONNX model ([`model`]).
//! `pilotage-learning` trains both.

pub mod augment;
pub mod balance;
mod error;
pub mod export;
pub mod fit;
pub mod frames;
pub mod model;
pub mod picture;
pub mod recipe;
pub mod score;
pub mod split;
pub mod state;
mod target;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use pilotage_console::say_always;
use pilotage_dataset::{DatasetError, Recording};
use pilotage_vehicle::Domain;

pub use error::CloningError;
pub use target::{Target, TargetError};

use crate::progress;
use fit::{FitError, Fitted, Task};
use frames::Frames;
use model::{Origin, UserModel};
use recipe::{LearnedOutput, TrainingRecipe, TrainingRecipeError};
use score::Score;
use split::{Method, Split, TooFew};
use state::State;

/// A training run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The recordings to learn from.
    pub data: Vec<PathBuf>,
    /// Recordings to measure the error on; if empty, a part of `data` is held back.
    pub validation: Vec<PathBuf>,
    /// How to train.
    pub recipe: TrainingRecipe,
    /// The files to write.
    pub target: Target,
    /// Whether to continue from the checkpoint, if there is one.
    pub resume: bool,
}

/// The result of a training run.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The network's errors on held-back frames, for each control.
    pub scores: Vec<Score>,
    /// Frames that were learned, and that were held back.
    pub frames: (usize, usize),
    /// The index of the pass whose weights are used, and the number of passes.
    pub passes: (usize, usize),
}

/// Trains, measures and writes. `observe` is called after every pass, when the checkpoint is
/// written, with the number of finished passes, and may end the training.
///
/// The same plan and recordings give the same files on the same kind of machine, with any number
/// of threads, and whether the run was interrupted or not.
///
/// # Errors
/// When a recording, the recipe or a file cannot be used; see [`CloningError`].
pub fn train(
    plan: &Plan,
    mut observe: impl FnMut(usize) -> ControlFlow<()>,
) -> Result<Trained, CloningError> {
    plan.recipe.check_model_keys()?;
    let model = plan.recipe.model.as_deref();
    if let Some(path) = model {
        plan.target.keeps(path)?;
    }
    let model = model.map(UserModel::read).transpose()?;
    let checkpoint = plan.target.checkpoint();
    let folders = distinct(plan.data.iter().chain(&plan.validation))?;
    let mut recordings = open(plan.data.iter().chain(&plan.validation))?;
    for note in recordings.iter().flat_map(Recording::notes) {
        say_always(format_args!("warning: {note}"));
    }
    let completed = model.as_ref().map(|model| model.complete(&plan.recipe));
    let plan = &Plan {
        recipe: TrainingRecipe {
            domain: Some(domain(&plan.recipe, &recordings)?),
            ..completed
                .transpose()?
                .unwrap_or_else(|| plan.recipe.clone())
        },
        ..plan.clone()
    };
    if let Some(correction) = plan.recipe.augment.side_cameras {
        let learned = recordings.iter_mut().take(plan.data.len());
        let added: usize = learned.map(|it| it.with_sides(correction)).sum();
        if added == 0 {
            return Err(CloningError::NoSides);
        }
    }
    let records = recordings.iter().flat_map(Recording::records);
    let outputs = plan.recipe.outputs(records);
    let outputs = outputs.map_err(|error| in_recording(error, &recordings))?;
    let origin = match model {
        Some(model) => {
            let ports = model.ports(&plan.recipe, outputs.len())?;
            Origin::Model(Box::new(model), ports)
        }
        None => Origin::Named(plan.recipe.architecture(outputs.len())?),
    };
    let (frames, counts) = read(&recordings, plan, &outputs)?;
    let split = divide(plan, &frames, &counts, fit::turning(&outputs))?;
    let task = Task::new(&plan.recipe, origin, outputs, &frames, split)?;
    let start = task.start().map_err(FitError::from)?;
    report_task(&task)?;

    let state = match plan.resume && checkpoint.exists() {
        true => State::load(&checkpoint, start.fingerprint, start.weights.len())?,
        false => start,
    };
    if !state.history.is_empty() {
        let passes = state.history.len();
        say_always(format_args!("continuing after {passes} finished passes"));
    }
    let mut started = Instant::now();
    let fitted = task.fit(state, &mut |state| {
        state.save(&checkpoint)?;
        report_pass(state, &plan.recipe, started);
        started = Instant::now();
        Ok(observe(state.history.len()))
    })?;

    let largest = counts[..plan.data.len()].iter().enumerate();
    let largest = largest
        .max_by_key(|(_, count)| **count)
        .map_or(0, |(at, _)| at);
    let trained = finish(plan, &task, &fitted, &folders[largest])?;
    // The files are written; without them the checkpoint is still needed.
    let _ = fs::remove_file(&checkpoint);
    Ok(trained)
}

/// Adds to an error about missing values the recording with the most records without any.
fn in_recording(error: TrainingRecipeError, recordings: &[Recording]) -> CloningError {
    let without = |recording: &&Recording| {
        let records = recording.records().iter();
        let unlabelled = records.filter(|it| it.steering.is_none() && it.yaw_rate.is_none());
        unlabelled.count()
    };
    match (&error, recordings.iter().max_by_key(without)) {
        (TrainingRecipeError::NoLabels, Some(recording)) => CloningError::Labels {
            folder: recording.folder().to_owned(),
            reason: error,
        },
        _ => error.into(),
    }
}

/// The cars that the network may drive: those of the recordings, where they say so.
fn domain(recipe: &TrainingRecipe, recordings: &[Recording]) -> Result<Domain, CloningError> {
    let of = |domain: Option<Domain>| {
        let mut found = recordings.iter().filter(|it| it.domain() == domain);
        found.next().map(|it| it.folder().to_owned())
    };
    let (simulated, physical) = (of(Some(Domain::Simulated)), of(Some(Domain::Physical)));
    match (recipe.domain, simulated, physical, of(None)) {
        (Some(Domain::Physical), Some(simulated), None, None) => {
            Err(CloningError::OtherDomain(simulated))
        }
        (Some(domain), ..) => Ok(domain),
        (None, Some(simulated), Some(physical), _) => Err(CloningError::MixedDomains {
            simulated,
            physical,
        }),
        (None, _, _, Some(unknown)) => Err(CloningError::UnknownDomain(unknown)),
        (None, Some(_), None, None) => Ok(Domain::Simulated),
        (None, None, _, None) => Ok(Domain::Physical),
    }
}

/// The folders, absolute and without links, each once.
fn distinct<'a>(folders: impl Iterator<Item = &'a PathBuf>) -> Result<Vec<PathBuf>, CloningError> {
    let mut found = Vec::new();
    for folder in folders {
        let path = folder
            .canonicalize()
            .map_err(|reason| CloningError::Folder {
                path: folder.clone(),
                reason,
            })?;
        if found.contains(&path) {
            return Err(CloningError::Twice(folder.clone()));
        }
        found.push(path);
    }
    Ok(found)
}

fn open<'a>(folders: impl Iterator<Item = &'a PathBuf>) -> Result<Vec<Recording>, DatasetError> {
    folders.map(|folder| Recording::open(folder)).collect()
}

/// Reads all recordings. Returns the number of frames of each.
fn read(
    recordings: &[Recording],
    plan: &Plan,
    outputs: &[LearnedOutput],
) -> Result<(Frames, Vec<usize>), CloningError> {
    let input = &plan.recipe.input;
    let mut frames = Frames::new(input, outputs.len()).with_numbers(&plan.recipe.measure);
    let mut counts = Vec::new();
    let all = recordings
        .iter()
        .map(|recording| recording.records().len())
        .sum();
    frames.reserve(all, input)?;
    let bar = progress::bar(all, "reading frames");
    for recording in recordings {
        let before = frames.len();
        let notes = frames.add(recording, input, outputs, || bar.inc(1))?;
        for note in notes {
            progress::say(&bar, format_args!("warning: {note}"));
        }
        counts.push(frames.len() - before);
        let (folder, format) = (recording.folder().display(), recording.format().name());
        let count = frames.len() - before;
        progress::say(&bar, format_args!("{folder}: {count} frames ({format})"));
    }
    bar.finish_and_clear();
    Ok((frames, counts))
}

fn divide(plan: &Plan, frames: &Frames, counts: &[usize], turning: usize) -> Result<Split, TooFew> {
    let settings = &plan.recipe.training;
    if plan.validation.is_empty() {
        let (share, block) = (settings.held_back, settings.block_s);
        // Pictures of the sides are learned with that of the centre, and never held back.
        let centre = (0..frames.len()).filter(|&index| !frames.is_side(index));
        let centre: Vec<usize> = centre.collect();
        let places: Vec<_> = centre.iter().map(|&index| frames.places[index]).collect();
        let steering = centre.iter().map(|&index| frames.label(index)[turning]);
        let steering: Vec<f32> = steering.collect();
        let split = split::split(&places, &steering, share, block, settings.seed)?;
        let learned = split.learned.iter().map(|&place| centre[place]);
        return Ok(Split {
            learned: learned
                .flat_map(|index| index..frames.next(index))
                .collect(),
            held_back: split.held_back.iter().map(|&place| centre[place]).collect(),
            method: split.method,
        });
    }
    let learned: usize = counts[..plan.data.len()].iter().sum();
    match learned < split::FEWEST || learned == frames.len() {
        true => Err(TooFew(learned.min(frames.len() - learned))),
        false => Ok(Split {
            learned: (0..learned).collect(),
            held_back: (learned..frames.len()).collect(),
            method: Method::Recordings,
        }),
    }
}

fn report_task(task: &Task<'_>) -> Result<(), FitError> {
    let (learned, held_back) = (task.split.learned.len(), task.split.held_back.len());
    let how = match task.split.method {
        Method::Drives { held_back, of } => format!("{held_back} of {of} drives"),
        Method::Blocks {
            held_back,
            of,
            seconds,
        } => format!("{held_back} of {of} blocks of {seconds:.1} s"),
        Method::Recordings => "the recordings of --validation".to_owned(),
    };
    let beside = match task.frames.len() - learned - held_back {
        0 => String::new(),
        beside => format!(", and {beside} just before or after those are neither"),
    };
    say_always(format_args!(
        "{learned} frames are learned, {held_back} are held back ({how}){beside}"
    ));
    if let Method::Blocks { seconds, .. } = task.split.method
        && seconds < 2.0
    {
        say_always(format_args!(
            "warning: the recordings are short: held-back blocks of {seconds:.1} s look like \
             their neighbours, and the real error will be larger"
        ));
    }
    let mut network = task.network()?;
    let count = |trained: bool| -> usize {
        let parameters = network.parameters().iter().zip(network.trained());
        let parameters = parameters.filter(|(_, is_trained)| **is_trained == trained);
        parameters
            .map(|(parameter, _)| parameter.values().len())
            .sum()
    };
    let input = &task.recipe.input;
    say_always(format_args!(
        "network \"{}\", input {} x {} x {}, {} parameters, and {} that are not trained",
        task.name,
        input.width,
        input.height,
        input.colour.channels(),
        count(true),
        count(false)
    ));
    if task.recipe.model.is_some() {
        let error = task.held_back_error(&mut network);
        say_always(format_args!(
            "error of the model before training: {error:.4} on held-back frames"
        ));
    }
    let percent = |share: f64| (100.0 * share).round();
    let balance = &task.balance;
    say_always(format_args!(
        "straight driving: {} % of the frames, {} % of each pass",
        percent(balance.straight),
        percent(balance.straight_drawn)
    ));
    Ok(())
}

fn report_pass(state: &State, recipe: &TrainingRecipe, started: Instant) {
    let passes = state.history.len();
    let Some(errors) = state.history.last() else {
        return;
    };
    let is_best = state.best.is_some_and(|(best, _)| best + 1 == passes);
    let most = recipe.training.epochs;
    let took = started.elapsed();
    let left = took.saturating_mul(most.saturating_sub(passes) as u32);
    say_always(format_args!(
        "pass {passes} of at most {most}: error {:.4} on learned, {:.4} on held-back frames{}; \
         {:.1} s, at most {} left",
        errors.learned,
        errors.held_back,
        if is_best { " (best)" } else { "" },
        took.as_secs_f64(),
        indicatif::HumanDuration(left)
    ));
}

/// Measures the network and writes its files. `calibration` is the folder of calibration frames.
fn finish(
    plan: &Plan,
    task: &Task<'_>,
    fitted: &Fitted,
    calibration: &Path,
) -> Result<Trained, CloningError> {
    let held_back = &task.split.held_back;
    let mut network = task.network_of(&fitted.weights).map_err(FitError::from)?;
    let answers = task.answers(&mut network, held_back);
    let count = task.outputs.len();
    let pairs = |output: usize| -> Vec<(f32, f32)> {
        let answers = answers.iter().skip(output).step_by(count);
        let labels = held_back.iter().map(|&i| task.frames.label(i)[output]);
        answers.copied().zip(labels).collect()
    };
    let scores: Vec<Score> = (task.outputs.iter().zip(&task.mean).enumerate())
        .map(|(index, (output, &mean))| Score::of(output.meaning, &pairs(index), mean))
        .collect();
    let learned = task.split.learned.len();
    let comment = format!(
        "Trained by pilotage-training from recordings: network \"{}\", {learned} frames.",
        task.name.replace(char::is_control, " ")
    );
    let (onnx, toml) = (plan.target.onnx(), plan.target.toml());
    let folder = plan.target.folder()?;
    let frames = export::relative(calibration, &folder);
    let frames = frames.to_string_lossy();
    let recipe = export::recipe(task, &plan.target.model_name(), &frames, &comment);
    export::write(task, &network, &recipe, &onnx, &toml)?;
    let turning = fit::turning(&task.outputs);
    let meaning = task.outputs[turning].meaning;
    let content = picture::Content {
        history: &fitted.history,
        best: fitted.best,
        control: format!("{} ({})", meaning.name(), meaning.unit()),
        parts: parts(task, &pairs(turning)),
        period: period(task),
    };
    picture::draw(&plan.target.png(), &content)?;
    Ok(Trained {
        scores,
        frames: (learned, held_back.len()),
        passes: (fitted.best, fitted.history.len()),
    })
}

/// Divides (answer, label) of the held-back frames where frames between them were not held back;
/// gives (recorded, predicted).
fn parts(task: &Task<'_>, pairs: &[(f32, f32)]) -> Vec<Vec<(f32, f32)>> {
    let mut parts: Vec<Vec<(f32, f32)>> = Vec::new();
    let mut last = None;

    for (&index, &(answer, label)) in task.split.held_back.iter().zip(pairs) {
        let place = (index, task.frames.places[index].drive);
        match (&last, parts.last_mut()) {
            (Some((before, drive)), Some(part)) if (task.frames.next(*before), *drive) == place => {
                part.push((label, answer));
            }
            _ => parts.push(vec![(label, answer)]),
        }
        last = Some(place);
    }
    parts
}

/// The median time between two frames of a drive, seconds.
fn period(task: &Task<'_>) -> f64 {
    let pairs = task.frames.places.windows(2);
    let within = pairs.filter(|pair| pair[0].drive == pair[1].drive);
    let steps = within.map(|pair| pair[1].time - pair[0].time);
    // Pictures of several cameras have one time.
    let mut steps: Vec<f64> = steps.filter(|&step| step > 0.0).collect();
    steps.sort_by(f64::total_cmp);
    let median = steps.get(steps.len() / 2).copied();
    median.filter(|&step| step > 0.0).unwrap_or(frames::PERIOD)
}
