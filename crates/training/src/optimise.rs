//! Makes a trained network smaller or faster: quantization-aware training, pruning, clustering,
//! structured pruning and distillation of any ONNX model that the compiler reads.
//!
//! [`optimise`] runs one or several [strategies](strategy::Strategy). Each starts from the trained
//! model and writes NAME.toml for `pilotage compile`, and NAME.onnx if it trains. A [`recipe`] sets
//! the model, its ports and the course of the training; [`task`] has the frames and what is learned;
//! [`fit`] trains.

pub mod channels;
pub mod export;
pub mod fit;
pub mod prune;
pub mod quantized;
pub mod recipe;
pub mod strategy;
pub mod student;
pub mod task;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pilotage_compiler::{
    CalibrateError, CompileError, LayerPrecision, Precision, QuantizeError, Recipe, SourceModel,
};
use pilotage_config::write_atomically;
use pilotage_dataset::{DatasetError, Recording};
use pilotage_graph::{Graph, RECIPE_KEY};
use pilotage_learning::{LearningError, Network};

use crate::architecture::ArchitectureError;
use crate::cloning::export::relative;
use crate::cloning::frames::{Frames, FramesError};
use crate::cloning::recipe::LearnedOutput;
use crate::cloning::split::{self, Split, TooFew};
use crate::cloning::{Target, TargetError};
use crate::progress;
use channels::ChannelsError;
use export::{ExportError, recipe_text};
use fit::{Candidate, Course, Reform, Stage};
use recipe::{OptimiseRecipe, OptimiseRecipeError};
use strategy::Strategy;
use task::{Task, Wanted, wanted};

/// Held-back frames whose answers a result has.
const MOST_EXAMPLES: usize = 64;

/// What to optimise, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The recipe.
    pub recipe: PathBuf,
    /// The recordings to learn from, and for calibration if the recipe names no frames.
    pub data: Vec<PathBuf>,
    /// The trained model, instead of the recipe's.
    pub model: Option<PathBuf>,
    /// The strategies; if empty, the recipe's.
    pub strategies: Vec<Strategy>,
    /// The name of the files, for a single strategy; if absent, MODEL-STRATEGY beside the recipe.
    pub out: Option<PathBuf>,
    /// Whether existing files may be overwritten.
    pub force: bool,
}

/// A frame with the answer of an optimised network, as it was trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The network's input as bytes: rows of interleaved channels.
    pub picture: Vec<u8>,
    /// The elements of all outputs.
    pub answer: Vec<f32>,
}

/// The result of one strategy.
#[derive(Debug, Clone)]
pub struct Optimised {
    /// The strategy.
    pub strategy: Strategy,
    /// The recipe for `pilotage compile`.
    pub toml: PathBuf,
    /// The network, if the strategy trains one.
    pub onnx: Option<PathBuf>,
    /// The errors of the trained model and of the optimised network on held-back frames, if the
    /// strategy trains one; see [`Task::error`].
    pub errors: Option<(f64, f64)>,
    /// The share of the multiply-adds that structured pruning left.
    pub multiply_adds: Option<f64>,
    /// Some held-back frames with the network's answers.
    pub examples: Vec<Example>,
}

/// Why an optimisation failed.
#[derive(Debug, thiserror::Error)]
pub enum OptimiseError {
    /// The recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] OptimiseRecipeError),
    /// No strategy is named.
    #[error(
        "no strategy: write strategy = \"qat\" under [optimise] in the recipe, or add --strategy \
         qat (docs/training.md lists them)"
    )]
    NoStrategy,
    /// Several strategies have one name.
    #[error("--out names the files of one strategy; leave it out to optimise by several")]
    SeveralNames,
    /// The files would replace the trained model.
    #[error("{} is the trained model; choose another name with --out", .0.display())]
    SourceModel(PathBuf),
    /// A file to write is not acceptable.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A file or folder cannot be read.
    #[error("{}: {reason}", path.display())]
    Path {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The trained model cannot be read, or does not fit the recipe.
    #[error(transparent)]
    Model(#[from] CompileError),
    /// A recording cannot be read.
    #[error(transparent)]
    Recording(#[from] DatasetError),
    /// The frames cannot be used.
    #[error(transparent)]
    Frames(#[from] FramesError),
    /// There are too few frames.
    #[error(transparent)]
    TooFew(#[from] TooFew),
    /// The model cannot be trained.
    #[error(transparent)]
    Learning(#[from] LearningError),
    /// The model cannot be quantized.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// The ranges of activations cannot be found.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// Not enough channels can be removed.
    #[error(transparent)]
    Channels(#[from] ChannelsError),
    /// The student cannot have this input.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// The student cannot be built.
    #[error(transparent)]
    Student(#[from] crate::export::ExportError),
    /// Distillation to a network with bins.
    #[error(
        "the student of \"distill\" answers numbers, and this model answers bins; use another \
         strategy, such as \"structured\""
    )]
    Bins,
    /// The training diverged.
    #[error("{stage} diverged; reduce optimise.rate, now {rate}")]
    Diverged {
        /// The stage.
        stage: String,
        /// The initial learning rate.
        rate: f64,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// The frames of all strategies.
struct Data {
    frames: Frames,
    split: Split,
    wanted: Vec<Wanted>,
}

/// Runs the strategies of `plan`, each from the trained model. `observe` is called with each result.
///
/// The same plan and recordings give the same files on the same kind of machine, with any number of
/// threads.
///
/// # Errors
/// When the recipe, the model, a recording or a file cannot be used, or the training diverges.
pub fn optimise(
    plan: &Plan,
    mut observe: impl FnMut(&Optimised),
) -> Result<Vec<Optimised>, OptimiseError> {
    let mut recipe = OptimiseRecipe::read(&plan.recipe)?;
    let strategies = match (&plan.strategies[..], recipe.settings.strategy) {
        ([], None) => return Err(OptimiseError::NoStrategy),
        ([], Some(strategy)) => vec![strategy],
        (named, _) => named.to_vec(),
    };
    if plan.out.is_some() && strategies.len() > 1 {
        return Err(OptimiseError::SeveralNames);
    }
    let folder = absolute(parent(&plan.recipe))?;
    let of_recipe = || folder.join(&recipe.compile.model);
    let path = absolute(&plan.model.clone().unwrap_or_else(of_recipe))?;
    let targets = (strategies.iter())
        .map(|&strategy| target(plan, &path, &folder, strategy))
        .collect::<Result<Vec<_>, _>>()?;
    recipe.compile.model = path;
    let model = SourceModel::of_recipe(&recipe.compile, &recipe.source())?;
    let mut recordings = Vec::new();
    for folder in &plan.data {
        recordings.push(Recording::open(folder)?);
    }
    if let Some(calibration) = &mut recipe.compile.calibration {
        calibration.frames = match recipe.names_frames {
            true => absolute(&folder.join(&calibration.frames))?,
            false => absolute(largest(&recordings))?,
        };
    }
    let data = match strategies.iter().any(|strategy| strategy.trains()) {
        true => Some(read(&recipe, &model, &recordings)?),
        false => None,
    };
    // Made for the first strategy that trains.
    let mut task: Option<Task<'_>> = None;
    let mut results = Vec::new();
    for (&strategy, target) in strategies.iter().zip(&targets) {
        let made = match &data {
            Some(data) if strategy.trains() => {
                let task = match &task {
                    Some(task) => task,
                    None => {
                        let frames = (&data.frames, &data.split);
                        let mut trained = Network::from_graph(&model.graph)?;
                        task.insert(Task::new(
                            &recipe,
                            frames,
                            data.wanted.clone(),
                            &mut trained,
                        ))
                    }
                };
                Some((train(task, &model, strategy)?, task))
            }
            _ => None,
        };
        let names = compiled(&recipe.compile, &model, strategy, target)?;
        let comment = format!(
            "Optimised by pilotage-training optimise: {}.",
            strategy.name()
        );
        let text = recipe_text(&names, &comment)?;
        let mut result = Optimised {
            strategy,
            toml: target.toml(),
            onnx: None,
            errors: None,
            multiply_adds: None,
            examples: Vec::new(),
        };
        if let Some(((best, share), task)) = made {
            let bytes = best.graph.write_with_metadata(&[(RECIPE_KEY, &text)]);
            write_atomically(&target.onnx(), &bytes).map_err(ExportError::from)?;
            result.onnx = Some(target.onnx());
            result.errors = Some((task.own_error(), best.error));
            result.multiply_adds = share;
            result.examples = examples(&best, task);
        }
        write_atomically(&target.toml(), text.as_bytes()).map_err(ExportError::from)?;
        observe(&result);
        results.push(result);
    }
    Ok(results)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, OptimiseError> {
    path.canonicalize().map_err(|reason| OptimiseError::Path {
        path: path.to_owned(),
        reason,
    })
}

/// The files of a strategy, which must not be those of the trained model.
fn target(
    plan: &Plan,
    model: &Path,
    folder: &Path,
    strategy: Strategy,
) -> Result<Target, OptimiseError> {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    let name = || folder.join(format!("{stem}-{}.onnx", strategy.name()));
    let out = plan.out.clone().unwrap_or_else(name);
    let target = Target::new(&out, Some(&plan.recipe), plan.force, false)?;
    match fs::canonicalize(target.onnx()) {
        Ok(path) if path == model => Err(OptimiseError::SourceModel(path)),
        _ => Ok(target),
    }
}

/// The folder of the recording with the most frames.
fn largest(recordings: &[Recording]) -> &Path {
    let most = recordings.iter().max_by_key(|it| it.records().len());
    most.map_or(Path::new("."), Recording::folder)
}

/// Reads the frames, and holds a part of them back.
fn read(
    recipe: &OptimiseRecipe,
    model: &SourceModel,
    recordings: &[Recording],
) -> Result<Data, OptimiseError> {
    let records = recordings.iter().flat_map(Recording::records);
    let count = records.clone().count();
    let (wanted, labels) = wanted(model, records);
    let input = &recipe.compile.input;
    let mut frames = Frames::new(input, labels.len());
    frames.reserve(count, input)?;
    let bar = progress::bar(count, "reading frames");
    for recording in recordings {
        for note in frames.add(recording, input, &labels, || bar.inc(1))? {
            progress::say(&bar, format_args!("warning: {note}"));
        }
    }
    bar.finish_and_clear();
    let turning = labels.iter().position(LearnedOutput::turns);
    let steering = (0..frames.len()).map(|index| match turning {
        Some(turning) => frames.label(index)[turning],
        None => 0.0,
    });
    let steering: Vec<f32> = steering.collect();
    let settings = &recipe.settings;
    let (share, block) = (settings.held_back, settings.block_s);
    let split = split::split(&frames.places, &steering, share, block, settings.seed)?;
    Ok(Data {
        frames,
        split,
        wanted,
    })
}

/// Trains the network of a strategy. Also returns the share of the multiply-adds that structured
/// pruning left.
fn train(
    task: &Task<'_>,
    model: &SourceModel,
    strategy: Strategy,
) -> Result<(Candidate, Option<f64>), OptimiseError> {
    if strategy.is_quantized() {
        return Ok((quantized::train(task, model, strategy)?, None));
    }
    let settings = &task.recipe.settings;
    let graph = match strategy {
        Strategy::Structured => {
            let smaller = channels::prune(&model.graph, settings.share.unwrap_or(0.5))?;
            let share = smaller.multiply_adds / smaller.before.max(1.0);
            let best = float(
                task,
                model,
                strategy,
                (&smaller.graph, &mut |_, _, _| Ok(true)),
            )?;
            return Ok((best, Some(share)));
        }
        Strategy::Distill => {
            let student = student::student(task)?;
            let best = float(task, model, strategy, (&student, &mut |_, _, _| Ok(true)))?;
            return Ok((best, None));
        }
        _ => &model.graph,
    };
    let share = settings.share.unwrap_or(0.3);
    let reform: &mut Reform<'_> = &mut |network, step, steps| match strategy {
        Strategy::PruneLocal if step == 0 => prune::local(network, settings).map(|()| true),
        Strategy::PruneGlobal if step == 0 => prune::global(network, share).map(|()| true),
        Strategy::Prune | Strategy::PruneInt8 => {
            prune::polynomial(network, settings, (step, steps))
        }
        _ => Ok(true),
    };
    let best = float(task, model, strategy, (graph, reform))?;
    Ok((best, None))
}

/// Trains a float network whose input is that of the trained model.
fn float(
    task: &Task<'_>,
    model: &SourceModel,
    strategy: Strategy,
    (graph, reform): (&Graph, &mut Reform<'_>),
) -> Result<Candidate, OptimiseError> {
    let places = match strategy {
        Strategy::Distill => (0..task.wanted.len()).collect(),
        _ => task.wanted.iter().map(|wanted| wanted.place).collect(),
    };
    let teacher = Network::from_graph(&model.graph)?;
    let mut course = Course::new((task, strategy), teacher, task.normalised(), places);
    let stage = Stage {
        name: strategy.name(),
        reform,
        export: &|network| Ok(network.to_graph()?),
    };
    Ok(course.run(Network::from_graph(graph)?, stage)?.1)
}

/// The recipe for `pilotage compile`, whose paths are relative to the target's folder.
fn compiled(
    recipe: &Recipe,
    model: &SourceModel,
    strategy: Strategy,
    target: &Target,
) -> Result<Recipe, OptimiseError> {
    let folder = target.folder()?;
    let precision = strategy.precision();
    let mut compiled = Recipe {
        model: match strategy.trains() {
            true => PathBuf::from(target.model_name()),
            false => relative(&recipe.model, &folder),
        },
        precision,
        on_gate_failure: strategy.on_gate_failure(),
        weights: strategy.weights().or(recipe.weights),
        ..recipe.clone()
    };
    if let Some(calibration) = &mut compiled.calibration {
        calibration.frames = relative(&calibration.frames, &folder);
    }
    if strategy.trains() {
        // They are constants of the trained network.
        compiled.fixed_inputs.clear();
    }
    let has_layers = match precision {
        Precision::Fp32 | Precision::Int8Dynamic => false,
        _ => !strategy.is_quantized() && strategy != Strategy::Distill,
    };
    if !has_layers {
        compiled.layers.clear();
    }
    if precision == Precision::Fp16 {
        // Only layers in float32 differ from the others.
        compiled
            .layers
            .retain(|_, precision| *precision == LayerPrecision::Fp32);
    }
    if strategy == Strategy::Distill {
        compiled.output = student::outputs(&compiled.output);
    }
    for (output, resolved) in compiled.output.iter_mut().zip(&model.outputs) {
        output.name.get_or_insert_with(|| resolved.name.clone());
    }
    Ok(compiled)
}

/// Some held-back frames with the answers of a network.
fn examples(best: &Candidate, task: &Task<'_>) -> Vec<Example> {
    let held_back = &task.split.held_back;
    let size = best.answers.len() / held_back.len().max(1);
    let answers = best.answers.chunks(size.max(1));
    let pairs = held_back.iter().zip(answers).take(MOST_EXAMPLES);
    let example = |(&frame, answer): (&usize, &[f32])| Example {
        picture: task.frames.picture(frame).to_vec(),
        answer: answer.to_vec(),
    };
    pairs.map(example).collect()
}
