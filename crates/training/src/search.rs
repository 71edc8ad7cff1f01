//! Searches the combinations of strategies for the best engines of a trained model.
//!
//! All combinations are trained for a short time first. Those that another one surpasses by far, in
//! error, time and size together, are left out; the others are trained for the full time, each from
//! the trained model again (as successive halving does: Jamieson, Talwalkar, 2016). Every engine is
//! compiled and timed on this machine. What no other engine surpasses is the Pareto front.

mod front;
mod space;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pilotage_compiler::CompileError;
use pilotage_config::{WriteError, write_atomically};
use pilotage_engine::{Bundle, BundleError};

use crate::cloning::{Target, TargetError};
use crate::optimise::OptimiseError;
use crate::optimise::channels::ChannelsError;
use crate::optimise::inference_time::{self, TimeError};
use crate::optimise::recipe::OptimiseRecipe;
use crate::optimise::task::Task;
use crate::optimise::{TrainedModel, store, train};
pub use front::{Merit, front};
pub use space::{Combination, combinations};

/// A combination is left out after the trial if another one that is as fast and as small has less
/// than this share of its error.
const SLACK: f64 = 0.8;
/// The folder of the engines after the trial.
const TRIALS: &str = "trials";
/// The table of all engines.
const TABLE: &str = "search.csv";

/// What to search, and how long.
#[derive(Debug, Clone)]
pub struct SearchPlan {
    /// The recipe, as for [`crate::optimise::Plan`].
    pub recipe: PathBuf,
    /// The recordings to learn from.
    pub data: Vec<PathBuf>,
    /// The trained model, instead of the recipe's.
    pub model: Option<PathBuf>,
    /// The folder of all results, empty unless `force` is set. It is made if it does not exist.
    pub out: PathBuf,
    /// Passes of each stage in the trial.
    pub trial_epochs: usize,
    /// Whether existing files may be overwritten.
    pub force: bool,
}

/// An engine that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// Its combination.
    pub name: String,
    /// Error, time and size after the trial.
    pub trial: Merit,
    /// The same after the full training, if it came to that.
    pub full: Option<Merit>,
    /// Whether it is on the front of the fully trained engines.
    pub is_best: bool,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The error of the trained model on the held-back frames.
    pub own_error: f64,
    /// All engines.
    pub tried: Vec<Tried>,
    /// The combinations that this model cannot have, each with the reason.
    pub impossible: Vec<(String, String)>,
}

/// Why a search failed.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The model cannot be optimised.
    #[error(transparent)]
    Optimise(Box<OptimiseError>),
    /// A file to write is not acceptable.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The folder cannot be made.
    #[error("{}: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The folder has files.
    #[error("{} is not empty; choose another folder with --out, or add --force", .0.display())]
    Exists(PathBuf),
    /// A result does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The compiled engine cannot be read. This is a defect of the compiler.
    #[error("the compiled engine cannot be read ({reason}); report this as a defect of Pilotage")]
    Bundle {
        /// What is wrong with it.
        reason: BundleError,
    },
    /// An engine cannot be timed.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<OptimiseError> for SearchError {
    fn from(reason: OptimiseError) -> Self {
        Self::Optimise(Box::new(reason))
    }
}

impl SearchError {
    /// Why the model cannot have a combination, if that is what this is.
    fn impossible(&self) -> Option<String> {
        match self {
            Self::Optimise(reason) => match reason.as_ref() {
                OptimiseError::Channels(reason @ ChannelsError::Share { .. }) => {
                    Some(reason.to_string())
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Searches. `observe` is called with each engine: its name, whether it is fully trained, and what it
/// costs and gives. NAME.onnx, NAME.toml and NAME.engine of the fully trained ones are in the plan's
/// folder, with the table of all, those of the trial in a folder in it.
///
/// # Errors
/// When the recipe, the model or a recording cannot be used, or a file cannot be written. A
/// combination that this model cannot have is no error.
pub fn search(
    plan: &SearchPlan,
    mut observe: impl FnMut(&str, bool, &Merit),
) -> Result<Found, SearchError> {
    let recipe = OptimiseRecipe::read(&plan.recipe).map_err(OptimiseError::from)?;
    let is_used = fs::read_dir(&plan.out).is_ok_and(|mut files| files.next().is_some());
    if is_used && !plan.force {
        return Err(SearchError::Exists(plan.out.clone()));
    }
    let trained = TrainedModel::open(&plan.recipe, recipe, plan.model.as_deref(), &plan.data)?;
    let data = trained.read()?;
    let mut task = data.task(&trained)?;
    let mut found = Found {
        own_error: task.own_error(),
        tried: Vec::new(),
        impossible: Vec::new(),
    };
    let mut make = |combination: &Combination, epochs: Option<usize>, folder: &Path| {
        task.settings = combination.settings;
        task.settings.epochs = epochs.or(task.settings.epochs);
        let merit = made(plan, &trained, &task, combination, folder)?;
        observe(&combination.name, epochs.is_none(), &merit);
        Ok::<_, SearchError>(merit)
    };

    let trials = plan.out.join(TRIALS);
    fs::create_dir_all(&trials).map_err(|reason| SearchError::Folder {
        path: trials.clone(),
        reason,
    })?;
    let mut tried = Vec::new();
    for combination in combinations(trained.recipe.settings) {
        match make(&combination, Some(plan.trial_epochs), &trials) {
            Ok(trial) => tried.push((combination, trial)),
            Err(error) => match error.impossible() {
                Some(reason) => found.impossible.push((combination.name, reason)),
                None => return Err(error),
            },
        }
    }
    let merits: Vec<Merit> = tried.iter().map(|(_, trial)| *trial).collect();
    for ((combination, trial), goes_on) in tried.into_iter().zip(front(&merits, SLACK)) {
        let full = match goes_on {
            true => Some(make(&combination, None, &plan.out)?),
            false => None,
        };
        found.tried.push(Tried {
            name: combination.name,
            trial,
            full,
            is_best: false,
        });
    }
    mark_best(&mut found.tried);
    write_atomically(&plan.out.join(TABLE), found.csv().as_bytes())?;
    Ok(found)
}

/// Marks the front of the fully trained engines.
fn mark_best(tried: &mut [Tried]) {
    let full: Vec<&mut Tried> = tried.iter_mut().filter(|it| it.full.is_some()).collect();
    let merits: Vec<Merit> = full.iter().filter_map(|it| it.full).collect();
    for (tried, is_best) in full.into_iter().zip(front(&merits, 1.0)) {
        tried.is_best = is_best;
    }
}

/// Trains, compiles and times a combination, and writes its files to `folder`.
fn made(
    plan: &SearchPlan,
    trained: &TrainedModel,
    task: &Task<'_>,
    combination: &Combination,
    folder: &Path,
) -> Result<Merit, SearchError> {
    let strategy = combination.strategy;
    let file = folder.join(&combination.name);
    // The folder was empty, or may be overwritten.
    let target = Target::new(&file, Some(&plan.recipe), true, false)?;
    let (best, left) = train(task, &trained.model, strategy)?;
    let error = best.error;
    let stored = store(trained, strategy, Some((best, left, task)), &target)?;
    let compiled = pilotage_compiler::compile(&stored.toml)?;
    write_atomically(&stored.toml.with_extension("engine"), &compiled.bytes)?;
    let plan = Bundle::read(&compiled.bytes)
        .map_err(|reason| SearchError::Bundle { reason })?
        .plan;
    let layers = plan.layers().into_iter();
    Ok(Merit {
        error,
        time: inference_time::of_plan(&plan)?,
        bytes: layers.map(|layer| layer.stored_bytes).sum(),
    })
}

impl Found {
    /// A line for each engine, with a header.
    pub fn csv(&self) -> String {
        let mut text = String::from(
            "name,trial_error,trial_us,trial_bytes,error,microseconds,weight_bytes,on_front\n",
        );
        let fields = |merit: &Merit| {
            let microseconds = 1e6 * merit.time.as_secs_f64();
            format!("{:.6},{microseconds:.1},{}", merit.error, merit.bytes)
        };
        for tried in &self.tried {
            let full = tried.full.as_ref().map_or(",,".to_owned(), fields);
            let trial = fields(&tried.trial);
            text += &format!("{},{trial},{full},{}\n", tried.name, tried.is_best);
        }
        text
    }
}
