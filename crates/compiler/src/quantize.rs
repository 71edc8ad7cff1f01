//! Quantizes a float graph to a graph with QuantizeLinear and DequantizeLinear nodes (QDQ).
//!
//! Quantization is symmetric with zero point 0. Weights have a scale per output channel,
//! activations one per tensor. The bias of a layer with a quantized input has 32 bits and the scale
//! `input scale * weight scale`; other biases stay in float. The graph has the form that ONNX
//! Runtime and TensorRT read: a pair of QuantizeLinear and DequantizeLinear where a value is
//! quantized, and float operators between the pairs.

mod build;
mod layer;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use pilotage_graph::{Graph, GraphError, ValueId};

pub use layer::QuantizedLayer;
pub use plan::layers;
pub(crate) use plan::unit_axis;

use crate::calibrate::Range;

/// Which parts of a graph are quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Layers and activations compute in integers. Outputs are floats.
    Int8,
    /// As [`Int8`](Self::Int8), but the outputs are integers too.
    Int8Integer,
    /// Only the weights and the input are quantized.
    Weights,
}

/// Options for quantizing a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizeOptions {
    /// Which parts are quantized.
    pub form: Form,
    /// Names of layers that stay in floating point.
    pub float_layers: BTreeSet<String>,
    /// Names of layers whose weights have one scale for all units instead of one for each: layers
    /// with clustered weights, whose equal weights have to stay equal.
    pub one_scale: BTreeSet<String>,
}

/// Why a graph cannot be quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// A layer that should stay in floating point does not exist.
    #[error("there is no layer `{name}`; there is {known}")]
    UnknownLayer {
        /// The name.
        name: String,
        /// The names of all layers.
        known: String,
    },
    /// A value to be quantized was not calibrated. This is a defect of the compiler.
    #[error("`{name}` has no range; report this as a defect of Pilotage")]
    NoRange {
        /// The value.
        name: String,
    },
    /// The quantized graph is not valid. This is a defect of the compiler.
    #[error("the quantized graph is invalid ({0}); report this as a defect of Pilotage")]
    Unsound(GraphError),
}

/// The values that [`quantize`] needs a range for.
///
/// # Errors
/// If an option names a layer that does not exist.
pub fn values(graph: &Graph, options: &QuantizeOptions) -> Result<Vec<ValueId>, QuantizeError> {
    let wanted = plan::QuantizationPlan::new(graph, options)?;
    Ok(wanted.sources(graph))
}

/// What [`quantize`] does with the nodes and values of a graph, for quantization during training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizationScheme {
    /// For each node, whether it multiplies with constant weights in integers.
    pub layers: Vec<bool>,
    /// For each quantized value, the group of values that share its scale: the smallest index of
    /// a value of the group. `None` for float values.
    pub groups: Vec<Option<usize>>,
    /// The values that are rounded where they are computed: those that [`quantize`] needs a range
    /// for. The other quantized values are inputs of the graph, or only move elements of these.
    pub sources: Vec<ValueId>,
}

impl QuantizationScheme {
    /// The scheme of `graph` with `options`.
    ///
    /// # Errors
    /// If an option names a layer that does not exist.
    pub fn new(graph: &Graph, options: &QuantizeOptions) -> Result<Self, QuantizeError> {
        let plan = plan::QuantizationPlan::new(graph, options)?;
        let group = |index: usize| plan.values[index].then(|| plan.group_of(ValueId(index)));
        Ok(Self {
            layers: (plan.roles.iter())
                .map(|role| *role == plan::Role::Layer)
                .collect(),
            groups: (0..graph.values.len()).map(group).collect(),
            sources: plan.sources(graph),
        })
    }
}

/// Quantizes a graph whose input is an image with 128 subtracted from each pixel. The input becomes
/// int8 with scale 1. `ranges` has the ranges of the graph's [`values`]. Returns the quantized
/// graph and the scales of its outputs, in order; the scale of a float output is 1.
///
/// # Errors
/// If an option names a layer that does not exist, or a range is missing.
pub fn quantize(
    graph: &Graph,
    ranges: &BTreeMap<ValueId, Range>,
    options: &QuantizeOptions,
) -> Result<(Graph, Vec<f32>), QuantizeError> {
    let wanted = plan::QuantizationPlan::new(graph, options)?;
    build::Builder::new(graph, ranges, &wanted, options)?.build()
}

#[cfg(test)]
mod tests;
