//! The training recipe: which network learns what, from which part of the pictures.
//!
//! `[input]`, `[[output]]`, `domain` and `throttle` have the keys and the meaning of a recipe of
//! `pilotage compile` (docs/recipes.md). docs/training.md explains the others.

mod memory;

use std::path::{Path, PathBuf};

use pilotage_config::{ConfigError, FileKind, LONGEST_FILE, ReadError, Source, read};
use pilotage_dataset::Record;
use pilotage_engine::{Meaning, Memory};
use pilotage_vehicle::{Domain, Measurement};
use pilotage_vision::{Crop, Preprocess};
use serde::Deserialize;

use crate::architecture::{Architecture, ArchitectureError, NetworkKind};

/// How to train a network from recordings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingRecipe {
    /// The network: its name.
    pub network: NetworkKind,
    /// A user's ONNX model to fine-tune, in the place of a named network.
    pub model: Option<PathBuf>,
    /// The cars that the network may drive; if absent, that of the recordings.
    pub domain: Option<Domain>,
    /// How a camera's frame becomes the network's input.
    pub input: Preprocess,
    /// Whether the recipe has `input`.
    #[serde(skip)]
    pub has_input: bool,
    /// How many pictures the network gets: several have a form in a named network only.
    pub memory: Memory,
    /// What the network gets of what sensors measure on the car; for a named network only.
    pub measure: Vec<Measurement>,
    /// What the network learns to answer; chosen by the recordings' columns if empty.
    pub output: Vec<WantedOutput>,
    /// The throttle of a network that only steers.
    pub throttle: Option<Throttle>,
    /// Changes of the pictures while training.
    pub augment: Augment,
    /// The course of the training.
    pub training: Settings,
}

impl Default for TrainingRecipe {
    /// PilotNet on the whole frame, resized to 200 x 66, for the car that was recorded.
    fn default() -> Self {
        Self {
            network: NetworkKind::default(),
            model: None,
            domain: None,
            input: Preprocess::new(200, 66),
            has_input: false,
            memory: Memory::default(),
            measure: Vec::new(),
            output: Vec::new(),
            throttle: None,
            augment: Augment::default(),
            training: Settings::default(),
        }
    }
}

/// `[[output]]`: one number that the network is to learn.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedOutput {
    /// The control.
    pub meaning: Meaning,
    /// Factor of the network's number; if absent, the deviation of the recorded values, or 1 for a
    /// user's model.
    pub scale: Option<f32>,
    /// Added after the multiplication; if absent, the mean of the recorded values, or 0 for a
    /// control that turns the car and for a user's model.
    pub offset: Option<f32>,
    /// The output of a user's model that has the number. If no output has a name or an index, the
    /// model's numbers are in the order of the recipe.
    pub name: Option<String>,
    /// The index of the element in that output; 0 if absent.
    pub index: Option<usize>,
}

/// One number that the network learns: `meaning = scale * number + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearnedOutput {
    /// The control.
    pub meaning: Meaning,
    /// Factor of the network's number.
    pub scale: f32,
    /// Added after the multiplication.
    pub offset: f32,
}

impl LearnedOutput {
    /// The output for records. Its defaults make the network's numbers about 1 in size: Adam's
    /// steps do not depend on the unit, and would be far too large for a car that steers by
    /// hundredths.
    fn of<'a>(wanted: &WantedOutput, records: impl Iterator<Item = &'a Record>) -> Self {
        let mut output = Self {
            meaning: wanted.meaning,
            scale: 1.0,
            offset: 0.0,
        };
        let values = records.filter_map(|record| output.of_record(record));
        let (count, sum, squares) = values.fold((0.0, 0.0, 0.0), |(n, sum, squares), value| {
            (n + 1.0, sum + value, squares + value * value)
        });
        let mean = sum / f64::max(count, 1.0);
        let variance = squares / f64::max(count, 1.0) - mean * mean;
        let scale = rounded(variance.max(0.0).sqrt().max(LEAST_SCALE));
        let offset = if output.turns() { 0.0 } else { rounded(mean) };
        output.scale = wanted.scale.unwrap_or(scale);
        output.offset = wanted.offset.unwrap_or(offset);
        output
    }

    /// The recorded value of this control, if there is a plausible one.
    pub fn of_record(&self, record: &Record) -> Option<f64> {
        let value = match self.meaning {
            Meaning::Steering => record.steering,
            Meaning::Throttle => record.throttle,
            Meaning::Speed => record.speed,
            Meaning::YawRate => record.yaw_rate,
        };
        value.filter(|value| value.abs() < MOST)
    }

    /// Whether the control turns the car, so that a mirrored picture negates it.
    pub fn turns(&self) -> bool {
        matches!(self.meaning, Meaning::Steering | Meaning::YawRate)
    }
}

/// The throttle when the network has no output for it: `constant`, or `straight` and `full`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Throttle {
    /// Above 0 and at most 1.
    pub constant: Option<f32>,
    /// The throttle straight ahead, above 0 and at most 1.
    pub straight: Option<f32>,
    /// The throttle at full steering, above 0 and at most 1; between both it is proportional to the
    /// steering.
    pub full: Option<f32>,
}

impl Throttle {
    /// The throttle straight ahead and at full steering, if it follows the steering.
    pub fn by_steering(&self) -> Option<(f32, f32)> {
        self.straight.zip(self.full)
    }
}

/// `[augment]`: random changes of the training pictures. Each is drawn anew whenever a picture is
/// used.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Exchange left and right in half of the uses, in the picture and in the controls.
    pub mirror: bool,
    /// Change brightness, contrast, gamma and colour cast in half of the uses.
    pub light: bool,
    /// Darken one side of a random line in three of ten uses.
    pub shadow: bool,
    /// The largest shift, as a share of the picture's width and height.
    pub shift: f64,
    /// The steering that the pictures of cameras at the sides are to add to that of the centre,
    /// towards the middle, 0 to 1; if absent, they are not used.
    pub side_cameras: Option<f64>,
    /// The change of steering (or yaw rate, rad/s) for a shift by the whole width; if absent, 20
    /// times the deviation of the learned values.
    pub shift_correction: Option<f64>,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            mirror: true,
            light: true,
            shadow: true,
            shift: 0.04,
            side_cameras: None,
            shift_correction: None,
        }
    }
}

/// `[training]`: the course of the training.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The most passes over the training frames.
    pub epochs: usize,
    /// Training ends after this many passes without a smaller error on the held-back frames.
    pub patience: usize,
    /// Pictures in a batch.
    pub batch: usize,
    /// Adam's initial learning rate; it falls along a cosine to a twentieth.
    pub rate: f64,
    /// The share of frames that are held back, to measure the error.
    pub held_back: f64,
    /// The length of a held-back block of time, seconds.
    pub block_s: f64,
    /// Whether frames with rare steering are used more often than frequent ones.
    pub balance: bool,
    /// The seed of every random choice.
    pub seed: u64,
    /// The layers of a user's model that keep their weights: the beginnings of their names, or of
    /// the names of their weights.
    pub freeze: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 30,
            patience: 6,
            batch: 64,
            rate: 1e-3,
            held_back: 0.15,
            block_s: 10.0,
            balance: true,
            seed: 1,
            freeze: Vec::new(),
        }
    }
}

fn check_throttle(throttle: Throttle, source: &Source<'_>) -> Result<(), ConfigError> {
    let values = [
        ("throttle.constant", throttle.constant),
        ("throttle.straight", throttle.straight),
        ("throttle.full", throttle.full),
    ];
    for (key, value) in values {
        if value.is_some_and(|value| !(value > 0.0 && value <= 1.0)) {
            return Err(source.error(key, "must be above 0 and at most 1"));
        }
    }
    match (throttle.constant, throttle.straight, throttle.full) {
        (Some(_), None, None) | (None, Some(_), Some(_)) => Ok(()),
        _ => Err(source.error(
            "throttle",
            "must be { constant = 0.15 }, or { straight = 0.2, full = 0.12 }: the throttle straight \
             ahead and at full steering",
        )),
    }
}

/// Checks the values of `[augment]`. `source` is the recipe's text, for messages.
pub(crate) fn check_augment(augment: &Augment, source: &Source<'_>) -> Result<(), ConfigError> {
    if !(0.0..=0.25).contains(&augment.shift) {
        return Err(source.error("augment.shift", "must be 0 to 0.25"));
    }
    if augment
        .side_cameras
        .is_some_and(|change| !(change > 0.0 && change <= 1.0))
    {
        return Err(source.error("augment.side_cameras", "must be above 0 and at most 1"));
    }
    match augment.shift_correction {
        Some(change) if !(change.is_finite() && change >= 0.0) => {
            Err(source.error("augment.shift_correction", "must be finite, 0 or more"))
        }
        _ => Ok(()),
    }
}

/// The least scale of an output, in the control's unit.
const LEAST_SCALE: f64 = 0.01;

/// A number with two significant digits, as a recipe is read.
pub(super) fn rounded(value: f64) -> f32 {
    format!("{value:.1e}").parse().unwrap_or(value as f32)
}

/// No control of a car is larger, in any unit.
const MOST: f64 = 1e6;

/// Why a training recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrainingRecipeError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The recipe has an error.
    #[error(transparent)]
    Content(#[from] ConfigError),
    /// The recordings have no values that a car can be driven with.
    #[error(
        "most frames have neither steering and throttle nor v and w; record a driver's commands \
         with the frames. To learn steering alone, write throttle = {{ constant = 0.15 }} into the \
         training recipe"
    )]
    NoLabels,
    /// A key is only for a user's model.
    #[error("`{0}` is only for a user's model; name one with `model` or --model, or leave it out")]
    OnlyForModel(&'static str),
}

impl TrainingRecipe {
    /// Reads and checks a training recipe. The path of `model` is relative to the recipe's folder.
    ///
    /// # Errors
    /// The error names the file, the line and the key.
    pub fn read(path: &Path) -> Result<Self, TrainingRecipeError> {
        let text = read(path, LONGEST_FILE)?;
        let mut recipe = Self::parse(&path.display().to_string(), &text)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        recipe.model = recipe.model.map(|model| folder.join(model));
        Ok(recipe)
    }

    /// Parses and checks a training recipe. `file` is its name for messages.
    ///
    /// # Errors
    /// The error names the file, the line and the key.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source::new(file, text);
        let mut recipe: Self = source.parse_as(FileKind::TrainingRecipe)?;
        recipe.has_input = !source.flatten(&["input"]).is_empty();
        recipe.check(&source)?;
        Ok(recipe)
    }

    fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let crop = self.input.crop;
        // The crop is checked against the pictures once they are read.
        let frame = crop.map_or((u32::MAX, u32::MAX), Crop::end);
        let input = self.input.validate(frame.0, frame.1);
        input.map_err(|error| source.error("input", error))?;
        self.check_memory(source)?;
        self.check_measure(source)?;
        if self.model.is_none() {
            (self.architecture(1)).map_err(|error| source.error("input", error))?;
        }
        self.check_outputs(source)?;
        check_augment(&self.augment, source)?;
        self.check_settings(source)
    }

    fn check_outputs(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        for (i, output) in self.output.iter().enumerate() {
            if output
                .scale
                .is_some_and(|scale| !(scale.is_finite() && scale != 0.0))
            {
                let key = format!("output.{i}.scale");
                return Err(source.error(&key, "must be a finite number other than 0"));
            }
            if output.offset.is_some_and(|offset| !offset.is_finite()) {
                return Err(source.error(&format!("output.{i}.offset"), "must be finite"));
            }
        }
        if let Some(throttle) = self.throttle {
            check_throttle(throttle, source)?;
        }
        let mut meanings: Vec<Meaning> = self.output.iter().map(|o| o.meaning).collect();
        meanings.sort();
        match (&meanings[..], self.throttle) {
            ([], _)
            | ([Meaning::Steering], Some(_))
            | ([Meaning::Steering, Meaning::Throttle], None)
            | ([Meaning::Speed, Meaning::YawRate], None) => Ok(()),
            ([Meaning::Steering], None) => Err(source.error(
                "output",
                "a network that only steers needs a throttle: throttle = { constant = 0.15 }, or \
                 { straight = 0.2, full = 0.12 }, before [input]",
            )),
            (_, Some(_)) => Err(source.error(
                "throttle",
                "a throttle that is not learned is for a network whose only [[output]] is \"steering\"",
            )),
            _ => Err(source.error(
                "output",
                "a car needs \"steering\" and \"throttle\", or \"speed\" and \"yaw_rate\", one \
                 [[output]] each, or \"steering\" alone with throttle = { constant = 0.15 }",
            )),
        }
    }

    fn check_settings(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let settings = &self.training;
        let wrong = |key: &str, reason: &str| Err(source.error(&format!("training.{key}"), reason));
        if !(1..=10_000).contains(&settings.epochs) {
            return wrong("epochs", "must be 1 to 10000");
        }
        if settings.patience == 0 {
            return wrong("patience", "must be 1 or more");
        }
        if !(1..=4096).contains(&settings.batch) {
            return wrong("batch", "must be 1 to 4096");
        }
        if !(settings.rate > 0.0 && settings.rate <= 1.0) {
            return wrong("rate", "must be above 0 and at most 1");
        }
        if !(0.02..=0.5).contains(&settings.held_back) {
            return wrong("held_back", "must be 0.02 to 0.5");
        }
        if !(0.2..=3600.0).contains(&settings.block_s) {
            return wrong("block_s", "must be 0.2 s to 3600 s");
        }
        Ok(())
    }

    /// The network with `outputs` outputs.
    ///
    /// # Errors
    /// When the input is too small or too large for it.
    pub fn architecture(&self, outputs: usize) -> Result<Architecture, ArchitectureError> {
        let (width, height) = (self.input.width as usize, self.input.height as usize);
        let channels = self.input.colour.channels() * self.memory.pictures;
        let input = [height, width, channels];
        let numbers = self.measure.iter().map(|it| it.name().to_owned());
        let shape = Architecture::new(self.network, input, outputs)?;
        Ok(shape.with_numbers(numbers.collect()))
    }

    /// Checks that no key is only for a user's model, if there is none.
    ///
    /// # Errors
    /// [`TrainingRecipeError::OnlyForModel`]
    pub fn check_model_keys(&self) -> Result<(), TrainingRecipeError> {
        let named = self
            .output
            .iter()
            .any(|it| it.name.is_some() || it.index.is_some());
        let key = match (self.model.is_some(), named, self.training.freeze.is_empty()) {
            (false, true, _) => "output.name and output.index",
            (false, false, false) => "training.freeze",
            _ => return Ok(()),
        };
        Err(TrainingRecipeError::OnlyForModel(key))
    }

    /// The outputs: those of the recipe, or else those that most records have values for.
    ///
    /// # Errors
    /// When the records have none.
    pub fn outputs<'a>(
        &self,
        records: impl Iterator<Item = &'a Record> + Clone,
    ) -> Result<Vec<LearnedOutput>, TrainingRecipeError> {
        let wanted = self.wanted(records.clone())?;
        let of = |wanted: &WantedOutput| match self.model {
            // Its numbers are known to it already.
            Some(_) => LearnedOutput {
                meaning: wanted.meaning,
                scale: wanted.scale.unwrap_or(1.0),
                offset: wanted.offset.unwrap_or(0.0),
            },
            None => LearnedOutput::of(wanted, records.clone()),
        };
        Ok(wanted.iter().map(of).collect())
    }

    fn wanted<'a>(
        &self,
        records: impl Iterator<Item = &'a Record> + Clone,
    ) -> Result<Vec<WantedOutput>, TrainingRecipeError> {
        if !self.output.is_empty() {
            return Ok(self.output.clone());
        }
        let of = |meaning| WantedOutput {
            meaning,
            scale: None,
            offset: None,
            name: None,
            index: None,
        };
        if self.throttle.is_some() {
            return Ok(vec![of(Meaning::Steering)]);
        }
        // A few rows without a value do not decide what is learned.
        let most_have = |has: &dyn Fn(&Record) -> bool| {
            let (count, with) = records
                .clone()
                .fold((0usize, 0usize), |(all, with), record| {
                    (all + 1, with + usize::from(has(record)))
                });
            with * 2 > count
        };
        if most_have(&|record| record.steering.is_some() && record.throttle.is_some()) {
            return Ok(vec![of(Meaning::Steering), of(Meaning::Throttle)]);
        }
        match most_have(&|record| record.speed.is_some() && record.yaw_rate.is_some()) {
            true => Ok(vec![of(Meaning::Speed), of(Meaning::YawRate)]),
            false => Err(TrainingRecipeError::NoLabels),
        }
    }
}
