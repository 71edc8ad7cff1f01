//! Compiles a model to 8 bits: calibrates and quantizes it, reduces its error against fp32, and
//! checks the gate.

mod mixed;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use pilotage_engine::plan::Plan;
use pilotage_engine::{Gate, GateResult, Trial};
use pilotage_graph::{Graph, Node, Op, ValueId, widen};

use super::samples::HeldBack;
use super::{CompileError, CompiledModel, Model, ModelError, sections};
use crate::calibrate::{Method, Range, calibrate};
use crate::correct::correct_biases;
use crate::equalize::{equalize, is_clustered};
use crate::float16::{narrow, with_followers};
use crate::gate;
use crate::int4::round_to_int4;
use crate::lower::{PortLayout, Weights, lower_weights};
use crate::network::Network;
use crate::progress::{Run, Stage};
use crate::quantize::{Form, QuantizeOptions, layers, quantize, values};
use crate::recipe::{CalibrationMethod, LayerPrecision, Precision};
use crate::report::{LayerReport, layer_reports};

/// Maximum number of frames for bias correction, which runs the network once for every layer.
const CORRECTION_FRAMES: usize = 128;
/// Maximum number of frames for the layer report.
pub(super) const REPORT_FRAMES: usize = 32;
/// The name of the CPU engine's plan in gate results.
pub(super) const CPU_PLAN: &str = "CPU plan";
/// The name of the exported model in gate results.
pub(super) const QDQ_MODEL: &str = "QDQ model";

/// A model in 8-bit integers.
pub(super) struct Quantized {
    pub(super) plan: Plan,
    /// The QDQ graph for other runtimes.
    pub(super) graph: Graph,
    /// The scale of each integer output, by name; 1 for float outputs.
    pub(super) units: Vec<(String, f32)>,
    pub(super) results: Vec<GateResult>,
    pub(super) trials: Vec<Trial>,
    /// Layers that were kept in floating point to pass the gate.
    pub(super) kept_in_float: Vec<String>,
    pub(super) layers: Vec<LayerReport>,
    /// The method of calibration, if it is neither the recipe's nor the default.
    pub(super) method: Option<CalibrationMethod>,
}

impl Quantized {
    /// With the sections of the engine file that describe the model to other runtimes.
    pub(super) fn into_model(self, sections: BTreeMap<String, Vec<u8>>) -> CompiledModel {
        CompiledModel {
            plan: self.plan,
            units: self.units,
            results: self.results,
            trials: self.trials,
            kept_in_float: self.kept_in_float,
            layers: self.layers,
            method: self.method,
            sections,
        }
    }
}

/// The float graphs that attempts start from.
struct Sources {
    model: Rc<Calibrated>,
    equalized: Option<Rc<Calibrated>>,
}

impl Sources {
    /// With the ranges of the same distributions by another method.
    fn by(&self, method: Method) -> Self {
        let by = |source: &Rc<Calibrated>| {
            let ranges = source.ranges.iter();
            Rc::new(Calibrated {
                float: source.float.clone(),
                ranges: ranges
                    .map(|(&value, range)| (value, range.by(method)))
                    .collect(),
            })
        };
        Self {
            model: by(&self.model),
            equalized: self.equalized.as_ref().map(by),
        }
    }
}

/// One way to quantize a model, with its error against fp32.
struct Attempt {
    /// The float graph that the quantized graph was made from.
    source: Rc<Calibrated>,
    graph: Graph,
    units: Vec<(String, f32)>,
    error: f64,
}

/// A float graph, with the ranges of all its values that are quantized if the layers that the recipe
/// names are kept in float.
struct Calibrated {
    float: Graph,
    ranges: BTreeMap<ValueId, Range>,
}

/// The inputs that are the same for all attempts.
struct Context<'a> {
    model: &'a Model,
    gate: &'a Gate,
    calibration: Vec<&'a [u8]>,
    held_back: HeldBack<'a>,
    method: Method,
    form: Form,
    weights: Weights,
    layout: PortLayout,
    run: Run<'a>,
}

/// Quantizes `model`, whose input is an image of pixels minus 128.
pub(super) fn quantized(
    model: &Model,
    gate: &Gate,
    (calibration, held_back): (Vec<&[u8]>, HeldBack<'_>),
    run: Run<'_>,
) -> Result<Quantized, CompileError> {
    let recipe = &model.recipe;
    let Some(settings) = &recipe.calibration else {
        return Err(CompileError::NoFrames);
    };
    let (form, weights) = match recipe.precision {
        Precision::Int8Dynamic => (Form::Weights, Weights::Dynamic),
        Precision::Int8Integer => (Form::Int8Integer, Weights::AsTheyAre),
        _ => (Form::Int8, Weights::AsTheyAre),
    };
    let context = Context {
        model,
        gate,
        calibration,
        held_back,
        method: Method::of(settings),
        form,
        weights,
        layout: PortLayout::of_images(model.channels_last()),
        run,
    };
    mixed::within_gate(&context)
}

impl Context<'_> {
    /// The model, and the model with equalized layers if it has any. `float_layers` are kept in float.
    fn sources(&self, float_layers: &BTreeSet<String>) -> Result<Sources, CompileError> {
        let settings = self.model.recipe.calibration.as_ref();
        let simple = &self.model.simple;
        let model = self.calibrated(simple.clone(), float_layers, Stage::Calibration)?;
        let mut equalized = None;
        if settings.is_some_and(|it| it.equalize) && !is_clustered(simple) {
            let (graph, pairs) = equalize(simple);
            if pairs > 0 {
                equalized = Some(self.calibrated(graph, float_layers, Stage::Search)?);
            }
        }
        Ok(Sources {
            model: Rc::new(model),
            equalized: equalized.map(Rc::new),
        })
    }

    fn calibrated(
        &self,
        float: Graph,
        float_layers: &BTreeSet<String>,
        stage: Stage,
    ) -> Result<Calibrated, CompileError> {
        let model = self.model;
        let to_calibrate = values(&float, &self.options(float_layers));
        let to_calibrate = to_calibrate.map_err(|reason| model.error(reason))?;
        let ranges = match to_calibrate.is_empty() {
            true => BTreeMap::new(),
            false => {
                let last = model.channels_last();
                let (frames, run) = (&self.calibration, self.run.of(stage));
                calibrate(&float, last, &to_calibrate, frames, self.method, run)
                    .map_err(|reason| model.error(reason))?
            }
        };
        Ok(Calibrated { float, ranges })
    }

    fn options(&self, float_layers: &BTreeSet<String>) -> QuantizeOptions {
        QuantizeOptions {
            form: self.form,
            float_layers: float_layers.clone(),
            one_scale: BTreeSet::new(),
        }
    }

    /// The attempt with the smallest error, and a record of each optimization that was tried.
    fn best(
        &self,
        sources: &Sources,
        float_layers: &BTreeSet<String>,
    ) -> Result<(Attempt, Vec<Trial>), CompileError> {
        let mut trials = Vec::new();
        let mut keep = |name: &str, best: &mut Attempt, tried: Attempt| {
            let trial = Trial {
                name: name.to_owned(),
                before: best.error.min(f64::MAX),
                after: tried.error.min(f64::MAX),
                kept: tried.error < best.error,
            };
            if trial.kept {
                *best = tried;
            }
            trials.push(trial);
        };
        let mut best = self.attempt(&sources.model, float_layers)?;
        if let Some(equalized) = &sources.equalized {
            let tried = self.attempt(equalized, float_layers)?;
            keep("cross-layer equalization", &mut best, tried);
        }
        let settings = self.model.recipe.calibration.as_ref();
        if settings.is_some_and(|it| it.correct_biases) && self.form != Form::Weights {
            let step = self.calibration.len().div_ceil(CORRECTION_FRAMES).max(1);
            let frames: Vec<&[u8]> = self.calibration.iter().copied().step_by(step).collect();
            let last = self.model.channels_last();
            let run = self.run.of(Stage::Search);
            let float = &best.source.float;
            let (graph, count) = correct_biases(float, &best.graph, last, &frames, run)
                .map_err(|reason| self.model.error(reason))?;
            if count > 0 {
                let error = self.error(&graph, &best.units)?;
                let tried = Attempt {
                    source: Rc::clone(&best.source),
                    units: best.units.clone(),
                    graph,
                    error,
                };
                keep("bias correction", &mut best, tried);
            }
        }
        Ok((best, trials))
    }

    fn attempt(
        &self,
        source: &Rc<Calibrated>,
        float_layers: &BTreeSet<String>,
    ) -> Result<Attempt, CompileError> {
        let options = self.options(float_layers);
        let (graph, scales) = quantize(&source.float, &source.ranges, &options)
            .map_err(|reason| self.model.error(reason))?;
        let names = graph.outputs.iter().map(|&v| graph.value(v).name.clone());
        let units: Vec<(String, f32)> = names.zip(scales).collect();
        let error = self.error(&graph, &units)?;
        Ok(Attempt {
            source: Rc::clone(source),
            graph,
            units,
            error,
        })
    }

    /// The report on each layer of an attempt.
    fn reports(
        &self,
        attempt: &Attempt,
        float_layers: &BTreeSet<String>,
    ) -> Result<Vec<LayerReport>, CompileError> {
        let model = self.model;
        let Calibrated { float, ranges } = &*attempt.source;
        let quantized = values(float, &self.options(float_layers));
        let quantized = quantized.map_err(|reason| model.error(reason))?;
        let ranges = ranges.iter().filter(|(value, _)| quantized.contains(value));
        let ranges = ranges.map(|(&value, range)| (value, range)).collect();
        let frames = self.held_back.samples;
        let frames = &frames[..frames.len().min(REPORT_FRAMES)];
        let run = self.run.of(Stage::Layers);
        let last = model.channels_last();
        let reports = layer_reports(float, &attempt.graph, &ranges, last, frames, run);
        reports.map_err(|reason| model.error(reason))
    }

    fn plan(&self, graph: &Graph) -> Result<Plan, CompileError> {
        let mut plan = lower_weights(graph, self.layout, self.weights)
            .map_err(|reason| self.model.error(reason))?;
        if let Some(weights) = &self.model.recipe.weights {
            round_to_int4(&mut plan, weights.int4_group);
        }
        Ok(plan)
    }

    /// The gate's results, which are always measured anew.
    fn results(
        &self,
        form: &str,
        plan: Plan,
        units: &[(String, f32)],
    ) -> Result<Vec<GateResult>, CompileError> {
        let network = Network::of_plan(plan, self.model.channels_last());
        let measured = (self.held_back, self.run);
        self.model
            .results(self.gate, measured, form, &network, units)
    }

    fn error(&self, graph: &Graph, units: &[(String, f32)]) -> Result<f64, CompileError> {
        let network = Network::of_plan(self.plan(graph)?, self.model.channels_last());
        let answers = network.answers_measured(self.held_back.samples, self.run.of(Stage::Search));
        let answers = answers.map_err(|reason| self.model.error(reason))?;
        Ok(gate::error(
            self.gate,
            &self.gate.results("", &answers, units),
        ))
    }

    /// The QDQ graph for other runtimes. Float layers become float16 unless the recipe requests
    /// fp32 or `wide` contains them.
    fn exported(
        &self,
        graph: &Graph,
        float_layers: &BTreeSet<String>,
        wide: &BTreeSet<String>,
    ) -> Result<Graph, ModelError> {
        let graph = sections::for_other_runtimes(graph.clone());
        let asked = &self.model.recipe.layers;
        let half = float_layers
            .difference(wide)
            .filter(|name| asked.get(*name) != Some(&LayerPrecision::Fp32));
        let half = with_followers(&graph, &half.cloned().collect());
        let half = |node: &Node| half.contains(&node.name);
        if graph.nodes.iter().any(half) {
            self.model
                .fits_float16(half, self.held_back.samples, self.run)?;
        }
        Ok(narrow(&graph, half)?)
    }

    /// The gate results of the CPU plan and of the QDQ model `exported`. The CPU engine computes
    /// the float16 nodes of `exported` in float32: their weights are rounded to float16, the
    /// activations between nodes are not.
    fn gated(&self, attempt: &Attempt, exported: &Graph) -> Result<Vec<GateResult>, CompileError> {
        let plan = self.plan(&attempt.graph)?;
        let mut results = self.results(CPU_PLAN, plan, &attempt.units)?;
        let mut wide = exported.clone();
        widen(&mut wide);
        let at_its_word = lower_weights(&wide, self.layout, Weights::Dequantized)
            .map_err(|reason| self.model.error(reason))?;
        results.extend(self.results(QDQ_MODEL, at_its_word, &attempt.units)?);
        Ok(results)
    }
}

/// Whether every node that reads the graph's input is a layer or only moves elements, so that
/// layers receive pixels directly. Otherwise the normalization is a separate step with one more
/// rounding.
pub(super) fn takes_pixels(graph: &Graph) -> bool {
    let names = layers(graph);
    let Some(&input) = graph.inputs.first() else {
        return true;
    };
    let mut readers = graph.nodes.iter().filter(|n| n.inputs.contains(&input));
    readers.all(|node| {
        names.contains(&node.name)
            || matches!(
                node.op,
                Op::Transpose { .. } | Op::Slice { .. } | Op::Identity | Op::Reshape | Op::Pad(_)
            )
    })
}
