//! Quantization during training, in the engine's arithmetic.

use std::collections::BTreeMap;

use pilotage_compiler::{QuantizeOptions, QuantizedLayer as Integers, Range, quantize};
use pilotage_graph::{Graph, ValueId};

use crate::error::LearningError;
use crate::kernels::quantized::{Epilogue, exact_parts};
use crate::optimizer::{Optimizer, OptimizerState};
use crate::parallel;
use crate::parameter::Parameter;
use crate::plan::{Plan, QuantizedLayer};
use crate::scheme::Scheme;
use crate::shard::LayerState;

use super::Network;

/// How the ranges of activations change in training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RangeUpdate {
    /// They stay.
    Fixed,
    /// They follow the largest magnitude of each batch, of which each step keeps `decay` of the
    /// old range (Jacob et al., "Quantization and Training of Neural Networks for Efficient
    /// Integer-Arithmetic-Only Inference", CVPR 2018).
    Averaged {
        /// From 0 to 1.
        decay: f32,
    },
    /// They are trained with the weights (LSQ: Esser et al., "Learned Step Size Quantization", ICLR
    /// 2020). Those before the first trained parameter stay: no gradient is computed there.
    Learned,
}

/// The smallest range, as a share of the first one.
const LEAST: f32 = 1e-3;

/// The quantization of a network.
#[derive(Debug, Clone)]
pub(crate) struct Quantization {
    options: QuantizeOptions,
    /// The ranges that were passed, with their distributions.
    ranges: BTreeMap<ValueId, Range>,
    /// The values of each group that are rounded where they are computed.
    sources: Vec<Vec<ValueId>>,
    /// 127 times the scale of each group.
    limits: Vec<f32>,
    first_limits: Vec<f32>,
    /// Whether the input is in the group, whose scale is 1.
    fixed: Vec<bool>,
    /// Elements of one sample of each group.
    features: Vec<usize>,
    states: Vec<OptimizerState>,
    update: RangeUpdate,
}

impl Quantization {
    /// The scale of each group. As in the compiler, it is the range divided by 127.
    pub(super) fn scales(&self) -> Vec<f32> {
        self.limits.iter().map(|limit| limit / 127.0).collect()
    }

    /// Quantizes the weights of all layers.
    pub(super) fn layers(
        &self,
        plan: &Plan,
        parameters: &[Parameter],
        threads: usize,
    ) -> Vec<LayerState> {
        let scales = self.scales();
        let mut layers = vec![LayerState::default(); plan.layers.len()];
        parallel::for_each(&mut layers, threads, |index, layer| {
            *layer = state(plan, parameters, (&plan.layers[index], &scales));
        });
        layers
    }

    /// Updates the ranges after a backward pass.
    fn update(&mut self, observed: &[(f32, f64)], optimizer: Optimizer, rate: f32) {
        for (group, &(largest, gradient)) in observed.iter().enumerate() {
            if self.fixed[group] || self.sources[group].is_empty() {
                continue;
            }
            let limit = &mut self.limits[group];
            match self.update {
                RangeUpdate::Fixed => {}
                RangeUpdate::Averaged { decay } => {
                    *limit = decay * *limit + (1.0 - decay) * largest;
                }
                RangeUpdate::Learned => {
                    let features = self.features[group].max(1) as f64;
                    // The gradient by the scale, balanced as in LSQ, becomes that by the range.
                    let gradient = gradient / (features * 127.0).sqrt() / 127.0;
                    let limit = std::slice::from_mut(limit);
                    let gradient = [gradient as f32];
                    self.states[group].step(without_decay(optimizer), rate, limit, &gradient);
                }
            }
            let least = self.first_limits[group] * LEAST;
            self.limits[group] = match self.limits[group].is_finite() {
                true => self.limits[group].max(least),
                false => self.first_limits[group],
            };
        }
    }
}

/// Ranges do not decay.
fn without_decay(optimizer: Optimizer) -> Optimizer {
    match optimizer {
        Optimizer::Adam {
            beta_1,
            beta_2,
            epsilon,
            ..
        } => Optimizer::Adam {
            beta_1,
            beta_2,
            epsilon,
            decay: 0.0,
        },
        Optimizer::Sgd { momentum, .. } => Optimizer::Sgd {
            momentum,
            decay: 0.0,
        },
    }
}

/// A layer's integers and its epilogue, as the engine's compiler computes them.
fn state(
    plan: &Plan,
    parameters: &[Parameter],
    (layer, scales): (&QuantizedLayer, &[f32]),
) -> LayerState {
    let used = &plan.uses[layer.weights];
    let values = parameters[used.parameter].values();
    let bias = layer
        .bias
        .map(|bias| parameters[plan.uses[bias].parameter].values());
    let input_scale = scales[layer.input];
    let bias = bias.map(|bias| (bias, input_scale));
    let one_scale = parameters[used.parameter].is_clustered();
    let integers = Integers::new(values, (&layer.shape, layer.axis), bias, one_scale);
    let units = layer.units;
    let taps = values.len().checked_div(units).unwrap_or(0);
    let ordered: Vec<f32> = match &used.order {
        None => integers.weights.iter().map(|&w| w.into()).collect(),
        Some(order) => (order.iter())
            .map(|&at| integers.weights[at as usize].into())
            .collect(),
    };
    let unit_scales = &integers.scales;
    let weights = ordered.chunks(taps.max(1)).zip(unit_scales);
    let weights = weights.flat_map(|(row, scale)| row.iter().map(move |w| w * scale));
    // Before rounding to f32, as in lowering.
    let exact = unit_scales
        .iter()
        .map(|&s| f64::from(input_scale) * f64::from(s));
    let rounded = layer
        .output
        .map(|(group, limits)| limits.rounding(scales[group]));
    let multiplier = exact.map(|exact| match rounded {
        Some(rounding) => (exact / f64::from(rounding.scale)) as f32,
        None => exact as f32,
    });
    LayerState {
        input_scale,
        weights: weights.collect(),
        parts: exact_parts(&ordered, taps),
        epilogue: Epilogue {
            bias: integers.bias.unwrap_or_else(|| vec![0; units]),
            multiplier: multiplier.collect(),
            rounded,
            relu: layer.relu,
        },
    }
}

impl Network {
    /// Quantizes the network while it is trained: from now on every pass computes what the INT8
    /// engine will compute, integer for integer, and gradients pass through the rounding.
    ///
    /// The graph must be the one that the compiler quantizes: its input is pixels minus 128 (see
    /// [`take_pixels`](pilotage_compiler::take_pixels)), and batch norm is folded (see
    /// [`simplify`](pilotage_compiler::simplify)). `ranges` has the ranges of
    /// [`values`](pilotage_compiler::values) of this graph, from
    /// [`calibrate`](pilotage_compiler::calibrate()). Weights have one scale for each unit, which
    /// follows its largest weight; clustered weights have one for the whole layer, so that it has no
    /// more different integers than clusters.
    ///
    /// Outputs are the engine's bits except behind operators that sum floats (mean pooling,
    /// reductions, softmax, layers kept in float), whose order of summation differs.
    ///
    /// # Errors
    /// If an option names a layer that does not exist, or a range is missing.
    pub fn quantize(
        &mut self,
        options: &QuantizeOptions,
        ranges: &BTreeMap<ValueId, Range>,
        update: RangeUpdate,
    ) -> Result<(), LearningError> {
        if options.form == pilotage_compiler::Form::Weights {
            return Err(LearningError::Setting {
                setting: "the form of quantization",
                found: "weights only".to_owned(),
                expected: "int8 or int8 with integer outputs, which fix the scales of activations",
            });
        }
        let scheme = Scheme::new(&self.graph, options)?;
        let count = scheme.count;
        let mut sources = vec![Vec::new(); count];
        let (mut limits, mut fixed) = (vec![0.0_f32; count], vec![false; count]);
        let mut features = vec![0; count];
        for index in 0..self.graph.values.len() {
            let value = ValueId(index);
            let Some(group) = scheme.group(value) else {
                continue;
            };
            if self.graph.inputs.contains(&value) {
                fixed[group] = true;
                limits[group] = limits[group].max(127.0);
            }
            if scheme.source(value).is_some() {
                let range = ranges.get(&value).ok_or_else(|| {
                    pilotage_compiler::QuantizeError::NoRange {
                        name: self.graph.value(value).name.clone(),
                    }
                })?;
                limits[group] = limits[group].max(range.limit);
                features[group] += self.graph.value(value).shape.iter().product::<usize>();
                sources[group].push(value);
            }
        }
        let mut settings = self.settings.clone();
        settings.scheme = Some(scheme);
        self.replan(settings)?;
        self.quantization = Some(Quantization {
            options: options.clone(),
            ranges: ranges.clone(),
            sources,
            first_limits: limits.clone(),
            limits,
            fixed,
            features,
            states: vec![OptimizerState::default(); count],
            update,
        });
        Ok(())
    }

    /// Trains in float again, with the present weights.
    ///
    /// # Errors
    /// Never, unless this crate has a defect.
    pub fn dequantize(&mut self) -> Result<(), LearningError> {
        let mut settings = self.settings.clone();
        settings.scheme = None;
        self.replan(settings)?;
        self.quantization = None;
        Ok(())
    }

    /// The present ranges of the quantized values, by value of the graph.
    pub fn ranges(&self) -> BTreeMap<ValueId, Range> {
        let Some(quantization) = &self.quantization else {
            return BTreeMap::new();
        };
        let mut ranges = quantization.ranges.clone();
        for (sources, &limit) in quantization.sources.iter().zip(&quantization.limits) {
            for source in sources {
                if let Some(range) = ranges.get_mut(source) {
                    range.limit = limit;
                }
            }
        }
        ranges
    }

    /// The trained network as a graph with QuantizeLinear and DequantizeLinear nodes, in the form
    /// of [`quantize`](pilotage_compiler::quantize()), with the scale of each output (1 for float
    /// outputs). The engine computes from it the integers that training computed.
    ///
    /// # Errors
    /// [`LearningError::NotQuantized`] before [`quantize`](Self::quantize).
    pub fn to_quantized_graph(&self) -> Result<(Graph, Vec<f32>), LearningError> {
        let Some(quantization) = &self.quantization else {
            return Err(LearningError::NotQuantized);
        };
        let graph = self.to_graph()?;
        let mut options = quantization.options.clone();
        options.one_scale.extend(self.clustered_layers());
        Ok(quantize(&graph, &self.ranges(), &options)?)
    }

    /// The names of the layers whose weights are clustered.
    fn clustered_layers(&self) -> impl Iterator<Item = String> {
        let clustered = |value: &ValueId| {
            let parameter = self.ids.get(value).map(|&index| &self.parameters[index]);
            parameter.is_some_and(Parameter::is_clustered)
        };
        let nodes = self.graph.nodes.iter();
        let layers = nodes.filter(move |node| node.inputs.get(1).is_some_and(clustered));
        layers.map(|node| node.name.clone())
    }

    /// Updates the ranges after a backward pass.
    pub(crate) fn update_ranges(&mut self, optimizer: Optimizer, rate: f32) {
        let Some(quantization) = &mut self.quantization else {
            return;
        };
        let mut observed = vec![(0.0_f32, 0.0_f64); quantization.limits.len()];
        for work in &self.work {
            for (sum, part) in observed.iter_mut().zip(&work.shard().observed) {
                sum.0 = sum.0.max(part.largest);
                sum.1 += part.gradient;
            }
        }
        quantization.update(&observed, optimizer, rate);
    }
}
