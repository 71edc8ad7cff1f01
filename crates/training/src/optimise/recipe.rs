//! The recipe of an optimisation: a recipe of `pilotage compile` (docs/recipes.md) for the trained
//! model, with the tables `[optimise]` and `[augment]` (docs/training.md).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pilotage_compiler::{
    CalibrationRecipe, DecoderRecipe, FixedInput, LayerPrecision, OnGateFailure, Precision, Recipe,
    RecipeOutput, ThrottleRecipe, WeightsRecipe,
};
use pilotage_config::{ConfigError, FileKind, LONGEST_FILE, ReadError, Source, read};
use pilotage_engine::{CommandRule, MeasurementRule, Memory, ScanRule, TensorRtRecipe};
use pilotage_learning::RangeUpdate;
use pilotage_vehicle::Domain;
use pilotage_vision::Preprocess;
use serde::Deserialize;

use super::strategy::Strategy;
use crate::architecture::NetworkKind;
use crate::cloning::recipe::{Augment, check_augment};

/// The share of the averaged ranges that each step keeps.
const RANGE_DECAY: f32 = 0.99;

/// How to optimise a trained model.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimiseRecipe {
    /// How the trained model is compiled. The precision is that of the strategy.
    pub compile: Recipe,
    /// Whether the file names the frames for calibration; otherwise they are those of the data.
    pub names_frames: bool,
    /// The strategy and its course.
    pub settings: Settings,
    /// Changes of the pictures while training.
    pub augment: Augment,
    /// The file's name and text, for messages about the model.
    file: String,
    text: String,
}

/// `[optimise]`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The strategy, unless the command line names some.
    pub strategy: Option<Strategy>,
    /// Passes over the frames; a strategy with several stages makes as many in each. If absent, 6,
    /// 20 where the pruned share grows, or 30 for distillation.
    pub epochs: Option<usize>,
    /// Adam's initial learning rate, which falls along a cosine to a thousandth. If absent, 0.0002,
    /// or 0.001 for distillation.
    pub rate: Option<f64>,
    /// Pictures in a batch.
    pub batch: usize,
    /// Polynomial pruning: the pruned share of each layer at first.
    pub from: f64,
    /// Polynomial pruning: the pruned share of each layer at the end.
    pub to: f64,
    /// Local pruning: the pruned share of each convolution.
    pub convolutions: f64,
    /// Local pruning: the pruned share of each fully connected layer.
    pub dense: f64,
    /// Global pruning: the pruned share of all weights, 0.3 if absent. Structured pruning: the share
    /// of the multiply-adds that is left, 0.5 if absent.
    pub share: Option<f64>,
    /// Structured pruning: the time that an inference of the INT8 engine may take on this machine, on
    /// one thread, us; instead of `share`.
    pub microseconds: Option<f64>,
    /// The clusters of each layer; zero is one of them where pruned weights stay pruned.
    pub clusters: usize,
    /// Distillation: the network that learns.
    pub student: NetworkKind,
    /// The share of the trained model's answers in what is learned; the rest is what was recorded.
    pub teacher: f64,
    /// How the ranges of activations change in quantization-aware training.
    pub ranges: Ranges,
    /// The share of frames that are held back, to measure the error.
    pub held_back: f64,
    /// The length of a held-back block of time, seconds.
    pub block_s: f64,
    /// The seed of every random choice.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strategy: None,
            epochs: None,
            rate: None,
            batch: 64,
            from: 0.5,
            to: 0.8,
            convolutions: 0.3,
            dense: 0.5,
            share: None,
            microseconds: None,
            clusters: 16,
            student: NetworkKind::Small,
            teacher: 0.8,
            ranges: Ranges::Learned,
            held_back: 0.15,
            block_s: 10.0,
            seed: 1,
        }
    }
}

/// How the ranges of activations change in quantization-aware training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ranges {
    /// They are trained with the weights.
    Learned,
    /// They follow the largest magnitudes of the batches.
    Averaged,
    /// They stay as calibrated.
    Fixed,
}

impl Ranges {
    /// The setting of a quantized network.
    pub fn update(self) -> RangeUpdate {
        match self {
            Self::Learned => RangeUpdate::Learned,
            Self::Averaged => RangeUpdate::Averaged { decay: RANGE_DECAY },
            Self::Fixed => RangeUpdate::Fixed,
        }
    }
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptimiseRecipeError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The recipe has an error.
    #[error(transparent)]
    Content(#[from] ConfigError),
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: PathBuf,
    /// Accepted, so that a recipe of `pilotage-training train` can be extended.
    #[serde(default)]
    precision: Precision,
    domain: Domain,
    #[serde(default)]
    on_gate_failure: OnGateFailure,
    #[serde(default)]
    throttle: Option<ThrottleRecipe>,
    #[serde(default = "Preprocess::none")]
    input: Preprocess,
    #[serde(default)]
    memory: Memory,
    #[serde(default)]
    measurement: Vec<MeasurementRule>,
    #[serde(default)]
    command: Option<CommandRule>,
    #[serde(default)]
    scan: Option<ScanRule>,
    #[serde(default)]
    fixed_inputs: BTreeMap<String, FixedInput>,
    #[serde(default)]
    output: Vec<RecipeOutput>,
    #[serde(default)]
    decoder: Option<DecoderRecipe>,
    #[serde(default)]
    calibration: Option<CalibrationRecipe>,
    #[serde(default)]
    layers: BTreeMap<String, LayerPrecision>,
    #[serde(default)]
    tensorrt: TensorRtRecipe,
    weights: Option<WeightsRecipe>,
    #[serde(default)]
    optimise: Settings,
    #[serde(default)]
    augment: Augment,
}

impl OptimiseRecipe {
    /// Reads and checks a recipe.
    ///
    /// # Errors
    /// The error names the file, the line and the key.
    pub fn read(path: &Path) -> Result<Self, OptimiseRecipeError> {
        let text = read(path, LONGEST_FILE)?;
        Ok(Self::parse(&path.display().to_string(), &text)?)
    }

    /// Parses and checks a recipe. `file` is its name for messages.
    ///
    /// # Errors
    /// The error names the file, the line and the key.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source::new(file, text);
        let content: File = source.parse_as(FileKind::EngineRecipe)?;
        let names_frames = content.calibration.is_some();
        // Without frames in the file, those of the data are used.
        let any = || CalibrationRecipe::new(PathBuf::from("."));
        let compile = Recipe {
            model: content.model,
            precision: match content.layers.is_empty() {
                true => content.precision,
                false => Precision::Int8,
            },
            domain: content.domain,
            on_gate_failure: content.on_gate_failure,
            throttle: content.throttle,
            input: content.input,
            memory: content.memory,
            decoder: content.decoder,
            measurement: content.measurement,
            command: content.command,
            scan: content.scan,
            fixed_inputs: content.fixed_inputs,
            output: content.output,
            calibration: Some(content.calibration.unwrap_or_else(any)),
            layers: content.layers,
            weights: content.weights,
            tensorrt: content.tensorrt,
        };
        compile.check(&source)?;
        content.optimise.check(&source)?;
        check_augment(&content.augment, &source)?;
        Ok(Self {
            compile,
            names_frames,
            settings: content.optimise,
            augment: content.augment,
            file: file.to_owned(),
            text: text.to_owned(),
        })
    }

    /// The recipe's text, for messages.
    pub fn source(&self) -> Source<'_> {
        Source::new(&self.file, &self.text)
    }
}

impl Settings {
    /// The passes of each stage of a strategy.
    pub fn passes(&self, strategy: Strategy) -> usize {
        let default = match strategy {
            Strategy::Distill => 30,
            // What is left has to learn what was lost.
            Strategy::Prune
            | Strategy::PruneInt8
            | Strategy::PruneQat
            | Strategy::Pqat
            | Strategy::Pcqat => 20,
            _ => 6,
        };
        self.epochs.unwrap_or(default)
    }

    /// The initial learning rate of each stage of a strategy.
    pub fn initial_rate(&self, strategy: Strategy) -> f64 {
        let default = match strategy {
            Strategy::Distill => 1e-3,
            _ => 2e-4,
        };
        self.rate.unwrap_or(default)
    }

    fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let wrong = |key: &str, reason: &str| Err(source.error(&format!("optimise.{key}"), reason));
        if (self.epochs).is_some_and(|epochs| !(1..=10_000).contains(&epochs)) {
            return wrong("epochs", "must be 1 to 10000");
        }
        if (self.rate).is_some_and(|rate| !(rate > 0.0 && rate <= 1.0)) {
            return wrong("rate", "must be above 0 and at most 1");
        }
        if !(1..=4096).contains(&self.batch) {
            return wrong("batch", "must be 1 to 4096");
        }
        let shares = [
            ("from", self.from),
            ("to", self.to),
            ("convolutions", self.convolutions),
            ("dense", self.dense),
        ];
        for (key, share) in shares {
            if !(0.0..=0.99).contains(&share) {
                return wrong(
                    key,
                    "must be 0 to 0.99: the share of weights that are pruned",
                );
            }
        }
        if self.from > self.to {
            return wrong("from", "must be at most `to`: the pruned share grows");
        }
        if self
            .share
            .is_some_and(|share| !(share > 0.0 && share < 1.0))
        {
            return wrong("share", "must be above 0 and below 1");
        }
        if self
            .microseconds
            .is_some_and(|limit| !(1.0..=1e6).contains(&limit))
        {
            return wrong("microseconds", "must be 1 to 1000000");
        }
        if self.microseconds.is_some() && self.share.is_some() {
            return wrong(
                "microseconds",
                "cannot be combined with `share`: remove one of them",
            );
        }
        if !(2..=255).contains(&self.clusters) {
            return wrong("clusters", "must be 2 to 255");
        }
        if !(0.0..=1.0).contains(&self.teacher) {
            return wrong("teacher", "must be 0 to 1");
        }
        if !(0.02..=0.5).contains(&self.held_back) {
            return wrong("held_back", "must be 0.02 to 0.5");
        }
        if !(0.2..=3600.0).contains(&self.block_s) {
            return wrong("block_s", "must be 0.2 s to 3600 s");
        }
        Ok(())
    }
}
