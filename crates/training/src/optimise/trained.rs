//! The trained model, and the frames to optimise it with.

use std::path::{Path, PathBuf};

use pilotage_compiler::SourceModel;
use pilotage_dataset::Recording;
use pilotage_graph::Op;
use pilotage_learning::Network;

use super::OptimiseError;
use super::recipe::OptimiseRecipe;
use super::task::{Task, Wanted, wanted};
use crate::cloning::frames::Frames;
use crate::cloning::recipe::LearnedOutput;
use crate::cloning::split::{self, Split};
use crate::progress;

/// A trained model with its recipe and recordings.
#[derive(Debug)]
pub struct TrainedModel {
    /// The recipe, with absolute paths of the model and the frames for calibration.
    pub recipe: OptimiseRecipe,
    /// The model.
    pub model: SourceModel,
    recordings: Vec<Recording>,
}

/// The frames of all strategies.
#[derive(Debug)]
pub struct Data {
    frames: Frames,
    split: Split,
    wanted: Vec<Wanted>,
}

impl Data {
    /// What is learned and measured.
    ///
    /// # Errors
    /// When the model is quantized, or has operators that cannot be trained.
    pub fn task<'a>(&'a self, trained: &'a TrainedModel) -> Result<Task<'a>, OptimiseError> {
        let nodes = &trained.model.graph.nodes;
        if nodes
            .iter()
            .any(|node| matches!(node.op, Op::QuantizeLinear { .. }))
        {
            return Err(OptimiseError::IsQuantized(
                trained.recipe.compile.model.clone(),
            ));
        }
        let frames = (&self.frames, &self.split);
        let mut network = Network::from_graph(&trained.model.graph)?;
        let wanted = self.wanted.clone();
        Ok(Task::new(&trained.recipe, frames, wanted, &mut network))
    }
}

impl TrainedModel {
    /// Opens the recordings in `data`, and reads the model of the recipe `path` as `recipe`, or else
    /// the one named `model`. The frames for calibration are those of the largest recording, if the
    /// recipe names none.
    ///
    /// # Errors
    /// When a file or recording cannot be read, or the model does not fit the recipe.
    pub fn open(
        path: &Path,
        mut recipe: OptimiseRecipe,
        model: Option<&Path>,
        data: &[PathBuf],
    ) -> Result<Self, OptimiseError> {
        let folder = folder_of(path)?;
        recipe.compile.model = model_path(path, &recipe, model)?;
        let model = SourceModel::of_recipe(&recipe.compile, &recipe.source())?;
        let mut recordings = Vec::new();
        for folder in data {
            recordings.push(Recording::open(folder)?);
        }
        if let Some(calibration) = &mut recipe.compile.calibration {
            calibration.frames = match recipe.names_frames {
                true => absolute(&folder.join(&calibration.frames))?,
                false => absolute(largest(&recordings))?,
            };
        }
        Ok(Self {
            recipe,
            model,
            recordings,
        })
    }

    /// Reads the frames, and holds a part of them back.
    ///
    /// # Errors
    /// When too many pictures are bad, or there are too few.
    pub fn read(&self) -> Result<Data, OptimiseError> {
        let Self {
            recipe,
            model,
            recordings,
        } = self;
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
}

/// The absolute path of the model: `model`, or that of the recipe `path`.
///
/// # Errors
/// When it does not exist.
pub fn model_path(
    path: &Path,
    recipe: &OptimiseRecipe,
    model: Option<&Path>,
) -> Result<PathBuf, OptimiseError> {
    match model {
        Some(model) => absolute(model),
        None => absolute(&folder_of(path)?.join(&recipe.compile.model)),
    }
}

/// The absolute path of the folder that has the recipe `path`.
///
/// # Errors
/// When it does not exist.
pub fn folder_of(path: &Path) -> Result<PathBuf, OptimiseError> {
    absolute(match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    })
}

fn absolute(path: &Path) -> Result<PathBuf, OptimiseError> {
    path.canonicalize().map_err(|reason| OptimiseError::Path {
        path: path.to_owned(),
        reason,
    })
}

/// The folder of the recording with the most frames.
fn largest(recordings: &[Recording]) -> &Path {
    let most = recordings.iter().max_by_key(|it| it.records().len());
    most.map_or(Path::new("."), Recording::folder)
}
