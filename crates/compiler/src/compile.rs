//! Compiles a recipe and its model to an engine file.

mod calibration_frames;
mod error;
mod fixed;
mod float;
mod ports;
mod probability;
mod quantized;
mod samples;
mod sections;
mod source;
mod trained;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pilotage_config::{ConfigError, Source, suggest};
use pilotage_engine::plan::Plan;
use pilotage_engine::{
    Bundle, Calibration, Gate, GateLimits, GateResult, Manifest, Output, PathDecoder, SampleForm,
    Trial, ValidationSet,
};
use pilotage_graph::{Graph, Node};

pub use error::{CompileError, GateTable, ModelError};

use crate::calibrate::Method;
use crate::frames::Frames;
use crate::gate;
use crate::lower::{PortLayout, Weights, lower_weights};
use crate::model_file;
use crate::network::Network;
use crate::pixels::take_pixels;
use crate::progress::{Run, Stage};
use crate::recipe::{CalibrationMethod, Precision, Recipe};
use crate::report::LayerReport;
use crate::simplify::{pad_with_pixels, simplify};
use crate::table::Tensors;
use ports::remaining_preprocessing;
use quantized::CPU_PLAN;
use samples::HeldBack;
pub use source::SourceModel;
use trained::Quantization;

/// Number of frames for the calibration table for trtexec. The whole model runs twice on each
/// frame.
const TABLE_FRAMES: usize = 128;

/// A compiled engine, with reports on its compilation.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The engine file.
    pub bytes: Vec<u8>,
    /// The manifest that is stored in the engine file.
    pub manifest: Manifest,
    /// The quantization error of each layer; empty for floating-point engines.
    pub layers: Vec<LayerReport>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// The files and folders that an engine is made from, the recipe first. A build script watches
/// these for changes. If the recipe cannot be read, only the recipe is returned.
pub fn sources(recipe: &Path) -> Vec<PathBuf> {
    let mut files = vec![recipe.to_owned()];
    if let Ok((content, _)) = Recipe::read(recipe) {
        let model = next_to(recipe, &content.model);
        let data = model_file::data_files(&model);
        files.push(model);
        files.extend(data);
        files.extend(content.calibration.map(|c| next_to(recipe, &c.frames)));
    }
    files
}

/// Compiles a recipe to an engine file, named after the recipe. The same recipe, model and frames
/// give the same bytes.
///
/// The engine's input is raw pixels: values from 0 to 255 as f32, or the values minus 128 as i8
/// for 8-bit engines. The axis order is that of the manifest's preprocessing, which has scale 1,
/// mean 0 and standard deviation 1. The recipe's scale, mean and deviation become part of the network.
/// They are folded into its first layer if that is exact (a layer without padding), else they
/// become a separate step. Outputs are in the model's order.
///
/// # Errors
/// The error names the file, and the line and key for errors in the recipe.
pub fn compile(recipe: &Path) -> Result<Compiled, CompileError> {
    let (content, text) = Recipe::read(recipe)?;
    let file = recipe.display().to_string();
    let name = recipe.file_stem().unwrap_or_default().to_string_lossy();
    let folder = recipe.parent().unwrap_or(Path::new(""));
    compile_recipe(content, &Source::new(&file, &text), folder, &name)
}

/// Like [`compile`], for a recipe that is not a file or that was changed after it was read.
/// `source` is the recipe's text, for messages. Paths in the recipe are relative to `folder`.
///
/// # Errors
/// As [`compile`].
pub fn compile_recipe(
    recipe: Recipe,
    source: &Source<'_>,
    folder: &Path,
    name: &str,
) -> Result<Compiled, CompileError> {
    compile_run(recipe, source, folder, name, Run::ALONE)
}

/// Like [`compile_recipe`], with `run`: an observer, and results of earlier compilations.
///
/// # Errors
/// As [`compile`].
pub fn compile_run(
    recipe: Recipe,
    source: &Source<'_>,
    folder: &Path,
    name: &str,
    run: Run<'_>,
) -> Result<Compiled, CompileError> {
    recipe.check(source)?;
    let model = Model::read(recipe, source, folder)?;
    let recipe = &model.recipe;
    let as_json = |value: Result<serde_json::Value, serde_json::Error>, key| {
        value.map_err(|error| source.error(key, error))
    };
    let mut warnings = probability::check(&model.graph, &model.outputs, source)?;
    let frames = calibration_frames::read(recipe, source, folder, run, &mut warnings)?;
    let made = match &frames {
        None => model.float(Vec::new()),
        Some(frames) => model.gated(frames, &mut warnings, run),
    };
    let made = match made {
        Ok(made) => made,
        Err(error) => return Err(error.after(warnings)),
    };

    let preprocess = remaining_preprocessing(&recipe.input, &made.plan);
    let calibration = frames.as_ref().zip(recipe.calibration.as_ref());
    let manifest = Manifest {
        name: name.to_owned(),
        domain: recipe.domain,
        precision: recipe.precision.name().to_owned(),
        preprocessing: as_json(serde_json::to_value(&preprocess), "input")?,
        frame_size: frames.as_ref().and_then(|frames| frames.size),
        outputs: model.outputs_in(&made.units),
        throttle: recipe.throttle.map(|throttle| throttle.constant),
        decoder: model.decoder.clone(),
        recipe: as_json(serde_json::to_value(recipe), "model")?,
        calibration: calibration.map(|(frames, settings)| {
            let [calibration, held_back] = frames.counts();
            Calibration {
                method: match model.quantization {
                    Quantization::Own(_) => "the model's own scales",
                    _ => made.method.or(settings.method).unwrap_or_default().name(),
                }
                .to_owned(),
                frames: calibration,
                held_back,
                sha256: sections::frames_digest(frames),
            }
        }),
        gate: made.results,
        trials: made.trials,
        raised: made.kept_in_float,
        source_sha256: model.sha256.clone(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let bundle = Bundle {
        manifest: manifest.clone(),
        plan: made.plan,
        sections: made.sections,
    };
    let bytes = bundle.write().map_err(|reason| model.error(reason))?;
    Ok(Compiled {
        bytes,
        manifest,
        layers: made.layers,
        warnings,
    })
}

/// A model, prepared as its recipe requests.
struct Model {
    recipe: Recipe,
    path: PathBuf,
    sha256: String,
    /// The graph in float32, with the recipe's fixed inputs as constants. Its input is pixels minus
    /// [`centre`]: nodes that apply the recipe's scale, mean and deviation are added.
    graph: Graph,
    /// `graph`, simplified.
    simple: Graph,
    /// The quantization that the model has already.
    quantization: Quantization,
    outputs: Vec<Output>,
    decoder: Option<PathDecoder>,
    /// The tensors of `graph` that were in the ONNX file.
    tensors: Tensors,
}

/// A compiled model, before it is written to an engine file.
#[derive(Default)]
struct CompiledModel {
    plan: Plan,
    units: Vec<(String, f32)>,
    results: Vec<GateResult>,
    trials: Vec<Trial>,
    kept_in_float: Vec<String>,
    layers: Vec<LayerReport>,
    /// The method of calibration, if it is neither the recipe's nor the default.
    method: Option<CalibrationMethod>,
    sections: BTreeMap<String, Vec<u8>>,
}

impl Model {
    fn read(recipe: Recipe, source: &Source<'_>, folder: &Path) -> Result<Self, CompileError> {
        let path = folder.join(&recipe.model);
        let (source_model, tensors, sha256) = SourceModel::read(&recipe, source, &path)?;
        let SourceModel {
            mut graph,
            input,
            outputs,
            decoder,
        } = source_model;
        if !recipe.input.is_none() {
            take_pixels(&mut graph, input, &recipe.input, centre(recipe.precision));
        }
        let last = recipe.input.layout == pilotage_vision::Layout::Nhwc;
        let quantization = match recipe.precision {
            Precision::Fp32 | Precision::Fp16 => Quantization::None,
            Precision::Int8 => trained::find(&graph, last),
            Precision::Int8Dynamic | Precision::Int8Integer => match trained::find(&graph, last) {
                Quantization::None => Quantization::None,
                _ => Quantization::Other("only precision \"int8\" can use it".to_owned()),
            },
        };
        let mut simple = simplify(&graph);
        let is_integer = !matches!(recipe.precision, Precision::Fp32 | Precision::Fp16);
        if is_integer
            && !recipe.input.is_none()
            && let Some(&picture) = simple.inputs.first()
        {
            pad_with_pixels(&mut simple, picture);
        }
        let model = Self {
            simple,
            quantization,
            graph,
            outputs,
            decoder,
            tensors,
            path,
            sha256: sections::hexadecimal(&sha256),
            recipe,
        };
        model.check_layers(source)?;
        Ok(model)
    }

    /// Checks that the model has every layer that the recipe names.
    fn check_layers(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        if let (Quantization::Own(_), Some(name)) =
            (&self.quantization, self.recipe.layers.keys().next())
        {
            return Err(source.error(
                &format!("layers.{name}"),
                "the model was quantized in training, and its layers have the precision that they \
                 were trained in: leave [layers] out",
            ));
        }
        let known = crate::quantize::layers(&self.simple);
        for name in self.recipe.layers.keys() {
            if !known.contains(name) {
                let meant = suggest(name, known.iter().map(String::as_str));
                let reason = format!("the model has no layer of this name: {meant}");
                return Err(source.error(&format!("layers.{name}"), reason));
            }
        }
        Ok(())
    }

    fn channels_last(&self) -> bool {
        self.recipe.input.layout == pilotage_vision::Layout::Nhwc
    }

    /// Compiles the model in the recipe's precision and compares it with fp32 on the held-back
    /// frames.
    fn gated(
        &self,
        frames: &Frames,
        warnings: &mut Vec<String>,
        run: Run<'_>,
    ) -> Result<CompiledModel, CompileError> {
        let last = self.channels_last();
        let mut reference = self.reference()?;
        reference.centre = centre(self.recipe.precision);
        let samples = match self.recipe.input_rules().is_none() {
            true => None,
            false => Some(self.samples(frames, &reference, run)?),
        };
        let (calibration, held_back) = match &samples {
            Some(samples) => samples.split(),
            None => frames.split(),
        };
        let in_order = HeldBack {
            samples: &held_back,
            sequences: samples.as_ref().map_or(&[], |it| &it.sequences),
        };
        let reference_answers = |frames: &[&[u8]]| {
            let answers = reference.answers_observed(frames, run.of(Stage::Reference));
            answers.map_err(|reason| self.error(reason))
        };
        let answers = reference_answers(&held_back)?;
        let limits = self.recipe.output.iter().map(|output| output.gate);
        let outputs: Vec<(Output, GateLimits)> = self.outputs.iter().cloned().zip(limits).collect();
        let gate = self.gate(&outputs, answers)?;
        if let Some(reason) = gate::no_probabilities(&gate) {
            return Err(self.error(reason));
        }
        if let Some(missing) = gate::without_path(&gate) {
            if missing.frames == missing.of {
                return Err(self.error(missing));
            }
            warnings.push(format!("{}: {missing}", self.path.display()));
        }
        if gate::constant_output(&gate, &[]).is_some() {
            // The few frames that are held back may be alike.
            let others = reference_answers(&calibration)?;
            if let Some(still) = gate::constant_output(&gate, &others) {
                return Err(self.error(still));
            }
        }

        let mut made = match self.recipe.precision {
            Precision::Fp32 | Precision::Fp16 => {
                let mut made = self.float(Vec::new())?;
                if self.recipe.precision == Precision::Fp16 {
                    let float32 = self.float32_nodes();
                    let half = |node: &Node| !float32.contains(&node.name);
                    let fits = self.fits_float16(half, &held_back, run);
                    fits.map_err(|reason| self.error(reason))?;
                }
                let mut network = Network::of_plan(made.plan.clone(), last);
                network.centre = centre(self.recipe.precision);
                made.results = self.results(&gate, (in_order, run), CPU_PLAN, &network, &[])?;
                if !made.results.iter().all(GateResult::passes) {
                    return Err(self.error(ModelError::Gate {
                        precision: self.recipe.precision.name(),
                        results: made.results,
                        layers: "not measured in floating point".to_owned(),
                    }));
                }
                made
            }
            _ => self.integers(&gate, (&calibration, in_order), warnings, run)?,
        };
        let input = &self.recipe.input;
        let form = SampleForm {
            size: (input.width, input.height),
            channels: input.colour.channels(),
            memory: &self.recipe.memory,
        };
        ValidationSet::write(&mut made.sections, (&held_back, form), gate.reference())
            .map_err(|reason| self.error(ModelError::Frames(reason)))?;
        Ok(made)
    }

    /// The gate on the recipe's outputs and on its decoder's path.
    fn gate(
        &self,
        outputs: &[(Output, GateLimits)],
        answers: Vec<Vec<f32>>,
    ) -> Result<Gate, CompileError> {
        let lengths = gate::lengths(&self.graph);
        let gate = Gate::new(&lengths, outputs, answers);
        let Some((decoder, recipe)) = self.decoder.as_ref().zip(self.recipe.decoder.as_ref())
        else {
            return Ok(gate);
        };
        let path = decoder.bind(&lengths);
        let path = path.map_err(|name| self.error(ModelError::NoOutput(name)))?;
        Ok(gate.with_path(path, recipe.gate))
    }

    /// Compiles the model to 8 bits: with its own scales if it was quantized in training.
    fn integers(
        &self,
        gate: &Gate,
        (calibration, held_back): (&[&[u8]], HeldBack<'_>),
        warnings: &mut Vec<String>,
        run: Run<'_>,
    ) -> Result<CompiledModel, CompileError> {
        if let Quantization::Own(graph) = &self.quantization {
            let made = trained::compiled(self, graph, gate, held_back, run)?;
            let model = made.graph.write();
            let sections = BTreeMap::from([("model.qdq.onnx".to_owned(), model)]);
            return Ok(made.into_model(sections));
        }
        if let Quantization::Other(reason) = &self.quantization {
            warnings.push(format!(
                "{}: the model is quantized, but its scales are not used, and its ranges are \
                 calibrated anew: {reason}",
                self.path.display()
            ));
        }
        if !quantized::takes_pixels(&self.simple) {
            warnings.push(format!(
                "{}: normalization is not folded into the first layer, which pads with zero (no 8-bit \
                 pixel value after normalization) or does not read the input directly: it is a \
                 separate step with one more rounding to 8 bits",
                self.path.display()
            ));
        }
        let frames = (calibration.to_vec(), held_back);
        let made = quantized::quantized(self, gate, frames, run)?;
        let model = made.graph.write();
        let table = self.table(calibration, made.method, run)?;
        Ok(made.into_model(BTreeMap::from([
            ("model.qdq.onnx".to_owned(), model),
            ("calibration.cache".to_owned(), table.into_bytes()),
        ])))
    }

    /// The network that the gate compares with: the model in float32. A model that was quantized in
    /// training is executed literally, with its roundings.
    fn reference(&self) -> Result<Network, CompileError> {
        let last = self.channels_last();
        let network = match &self.quantization {
            Quantization::Own(_) => {
                let layout = PortLayout::Model;
                let plan = lower_weights(&self.graph, layout, Weights::Dequantized);
                plan.map(|plan| Network::of_plan(plan, last))
                    .map_err(crate::network::NetworkError::from)
            }
            _ => Network::new(&self.graph, last),
        };
        network.map_err(|reason| self.error(reason))
    }

    /// The calibration table of the original model, for trtexec.
    fn table(
        &self,
        frames: &[&[u8]],
        method: Option<CalibrationMethod>,
        run: Run<'_>,
    ) -> Result<String, CompileError> {
        let Some(settings) = &self.recipe.calibration else {
            return Err(CompileError::NoFrames);
        };
        let method = method.map_or(Method::of(settings), |it| Method::named(it, settings));
        let last = self.channels_last();
        let step = frames.len().div_ceil(TABLE_FRAMES).max(1);
        let frames: Vec<&[u8]> = frames.iter().copied().step_by(step).collect();
        let table = (self.tensors).table(&self.graph, last, &frames, method, run.of(Stage::Table));
        table.map_err(|reason| self.error(reason))
    }

    /// The outputs. The scale of an integer output includes the scale of its quantized values.
    fn outputs_in(&self, units: &[(String, f32)]) -> Vec<Output> {
        let unit = |name: &str| {
            let found = units.iter().find(|(known, _)| known == name);
            found.map_or(1.0, |(_, unit)| *unit)
        };
        let outputs = self.outputs.iter().map(|output| Output {
            scale: match output.bins {
                Some(_) => output.scale,
                None => output.scale * unit(&output.name),
            },
            ..output.clone()
        });
        outputs.collect()
    }

    /// An error about this model, with the model's path.
    fn error(&self, reason: impl Into<ModelError>) -> CompileError {
        CompileError::Model {
            path: self.path.clone(),
            reason: Box::new(reason.into()),
        }
    }
}

/// The value that is subtracted from pixels before a network of this precision receives them.
fn centre(precision: Precision) -> u8 {
    match precision {
        Precision::Fp32 | Precision::Fp16 => 0,
        Precision::Int8 | Precision::Int8Dynamic | Precision::Int8Integer => 128,
    }
}

fn next_to(recipe: &Path, model: &Path) -> PathBuf {
    recipe.parent().unwrap_or(Path::new("")).join(model)
}

#[cfg(test)]
mod tests;
