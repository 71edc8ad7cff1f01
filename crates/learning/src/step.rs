//! One step of a plan: what it reads, computes and writes. `shard/forward.rs` and `shard/backward.rs`
//! run it.

use crate::kernels::Accumulate;
use crate::kernels::binary::Binary;
use crate::kernels::convolution::Convolution;
use crate::kernels::linear::{Linear, Product};
use crate::kernels::moves::Moves;
use crate::kernels::pool::Pooling;
use crate::kernels::reduce::{Reduce, Softmax};
use crate::kernels::unary::Unary;

/// Where a step reads an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// An activation.
    Slot(usize),
    /// A parameter.
    Use(usize),
}

/// An input of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) source: Source,
    /// Elements of one sample, or of the parameter.
    pub(crate) size: usize,
    /// How the gradient is stored; `None` if it is not needed.
    pub(crate) gradient: Option<Accumulate>,
}

impl Input {
    /// The use of a parameter.
    pub(crate) fn used(&self) -> Option<usize> {
        match self.source {
            Source::Use(used) => Some(used),
            Source::Slot(_) => None,
        }
    }
}

/// What a step computes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kernel {
    /// Inputs: x, weights, optional bias.
    Convolution {
        convolution: Convolution,
        relu: bool,
        /// Its place among the quantized layers.
        quantized: Option<usize>,
    },
    /// Inputs: x, weights, optional bias, which `beta` multiplies.
    Linear {
        linear: Linear,
        beta: f32,
        relu: bool,
        quantized: Option<usize>,
    },
    Product(Product),
    /// Collects the batch's statistics for the normalization that follows. No output.
    Moments {
        norm: usize,
    },
    /// Inputs: x, scale, bias.
    Normalize {
        norm: usize,
    },
    MaxPool(Pooling),
    AveragePool(Pooling),
    Unary(Unary),
    /// The function's value replaces its argument.
    InPlace(Unary),
    Binary(Binary),
    Reduce(Reduce),
    Softmax(Softmax),
    Moves(Moves),
    /// Rounds to the multiples of a scale.
    Round {
        group: usize,
    },
    Dropout {
        share: f32,
    },
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) kernel: Kernel,
    pub(crate) inputs: Vec<Input>,
    /// The slot of its output.
    pub(crate) output: usize,
}
