//! A float graph into one with QuantizeLinear and DequantizeLinear (QDQ).
//!
//! Everything is symmetric with zero point 0: weights per output channel,
//! activations per tensor, biases in 32 bits in units of input scale times weight
//! scale. The form is the one that ONNX Runtime and TensorRT read: a pair of
//! QuantizeLinear and DequantizeLinear where a value becomes integers, the
//! operators between them on floats.

mod build;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use pilotage_graph::{Graph, GraphError, ValueId};

pub use wanted::layers;
pub(crate) use wanted::unit_axis;

use crate::calibrate::Range;

/// What of a graph becomes integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Layers and curves compute in integers, outputs are floats.
    Int8,
    /// The outputs are integers too.
    Int8Integer,
    /// Only weights are integers.
    Weights,
}

/// How a graph is quantised.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizeOptions {
    /// What becomes integers.
    pub form: Form,
    /// Names of layers that stay in floating point.
    pub float_layers: BTreeSet<String>,
}

/// Why a graph cannot be quantised.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// A layer is to stay in floating point, but there is none of that name.
    #[error("there is no layer `{name}`; there is {known}")]
    UnknownLayer {
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// A value that is to be quantised was not calibrated; a mistake of the compiler.
    #[error("`{name}` has no range; report this as a defect of Pilotage")]
    NoRange {
        /// The value.
        name: String,
    },
    /// The graph that was made breaks a rule; a mistake of the compiler.
    #[error("the quantised graph is not sound ({0}); report this as a defect of Pilotage")]
    Unsound(#[from] GraphError),
}

/// The values that need a range before [`quantize`].
///
/// # Errors
/// When an option names a layer that is not there.
pub fn values(graph: &Graph, options: &QuantizeOptions) -> Result<Vec<ValueId>, QuantizeError> {
    let wanted = wanted::Wanted::new(graph, options)?;
    Ok(wanted.sources(graph))
}

/// The quantised form of a graph whose input is a picture of pixels less 128 (it
/// becomes int8, scale 1), with the ranges of its [`values`]. Returns the
/// graph and the scales of integer outputs, in order (1 for float ones).
///
/// # Errors
/// When an option names a layer that is not there, or a range is missing.
pub fn quantize(
    graph: &Graph,
    ranges: &BTreeMap<ValueId, Range>,
    options: &QuantizeOptions,
) -> Result<(Graph, Vec<f32>), QuantizeError> {
    let wanted = wanted::Wanted::new(graph, options)?;
    build::Builder::new(graph, ranges, &wanted, options)?.build()
}

#[cfg(test)]
mod tests;
