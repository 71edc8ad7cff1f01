//! The optimisation strategies, by name.

use pilotage_compiler::{OnGateFailure, Precision, WeightsRecipe};
use serde::Deserialize;

/// A way to make a trained network smaller or faster.
///
/// The first seven only choose how `pilotage compile` compiles the trained model. The others train it
/// further; each starts from the trained model itself, never from the result of another strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Float32.
    Float32,
    /// Float16 weights.
    Float16,
    /// INT8 weights; activations are quantized by their range at run time.
    Int8Dynamic,
    /// INT8 with calibrated ranges.
    Int8,
    /// INT8, with layers in floating point where the error requires it.
    Int8Mixed,
    /// INT8 from the input to the outputs.
    Int8Integer,
    /// INT8 with 4-bit weights in large fully connected layers, in groups of 64.
    Int4,
    /// Quantization-aware training.
    Qat,
    /// Magnitude pruning; the pruned share grows along a polynomial.
    Prune,
    /// The same, compiled to INT8 with calibrated ranges.
    PruneInt8,
    /// Magnitude pruning of each layer by itself, at once, then fine-tuned.
    PruneLocal,
    /// Magnitude pruning of all layers together, at once, then fine-tuned.
    PruneGlobal,
    /// Magnitude pruning during quantization-aware training.
    PruneQat,
    /// Two of each four weights pruned along the inputs, kept pruned in quantization-aware training.
    #[serde(rename = "prune-2-4")]
    #[value(name = "prune-2-4")]
    PruneTwoOfFour,
    /// Clustered weights, kept clustered in quantization-aware training.
    Cqat,
    /// Pruned weights, kept pruned in quantization-aware training.
    Pqat,
    /// Pruned and clustered weights, kept so in quantization-aware training.
    Pcqat,
    /// Whole channels removed, then fine-tuned: a smaller network.
    Structured,
    /// The same, then quantization-aware training.
    StructuredQat,
    /// The same, with clustered weights in quantization-aware training.
    StructuredCqat,
    /// A smaller named network that learns the answers of the trained one.
    Distill,
}

impl Strategy {
    /// The name in recipes and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Int8Dynamic => "int8-dynamic",
            Self::Int8 => "int8",
            Self::Int8Mixed => "int8-mixed",
            Self::Int8Integer => "int8-integer",
            Self::Int4 => "int4",
            Self::Qat => "qat",
            Self::Prune => "prune",
            Self::PruneInt8 => "prune-int8",
            Self::PruneLocal => "prune-local",
            Self::PruneGlobal => "prune-global",
            Self::PruneQat => "prune-qat",
            Self::PruneTwoOfFour => "prune-2-4",
            Self::Cqat => "cqat",
            Self::Pqat => "pqat",
            Self::Pcqat => "pcqat",
            Self::Structured => "structured",
            Self::StructuredQat => "structured-qat",
            Self::StructuredCqat => "structured-cqat",
            Self::Distill => "distill",
        }
    }

    /// Whether the network is trained further.
    pub fn trains(self) -> bool {
        !matches!(
            self,
            Self::Float32
                | Self::Float16
                | Self::Int8Dynamic
                | Self::Int8
                | Self::Int8Mixed
                | Self::Int8Integer
                | Self::Int4
        )
    }

    /// Whether the network is trained in the INT8 engine's arithmetic.
    pub fn is_quantized(self) -> bool {
        matches!(
            self,
            Self::Qat
                | Self::PruneQat
                | Self::PruneTwoOfFour
                | Self::Cqat
                | Self::Pqat
                | Self::Pcqat
                | Self::StructuredQat
                | Self::StructuredCqat
        )
    }

    /// Whether whole channels are removed.
    pub fn removes_channels(self) -> bool {
        matches!(
            self,
            Self::Structured | Self::StructuredQat | Self::StructuredCqat
        )
    }

    /// Whether weights are clustered.
    pub fn clusters(self) -> bool {
        matches!(self, Self::Cqat | Self::Pcqat | Self::StructuredCqat)
    }

    /// The precision in which `pilotage compile` compiles the result.
    pub fn precision(self) -> Precision {
        match self {
            Self::Float32 | Self::Prune | Self::PruneLocal | Self::PruneGlobal => Precision::Fp32,
            Self::Float16 => Precision::Fp16,
            Self::Int8Dynamic => Precision::Int8Dynamic,
            Self::Int8Integer => Precision::Int8Integer,
            _ => Precision::Int8,
        }
    }

    /// How `pilotage compile` rounds the weights beyond the precision.
    pub fn weights(self) -> Option<WeightsRecipe> {
        (self == Self::Int4).then_some(WeightsRecipe { int4_group: 64 })
    }

    /// Whether TensorRT may use kernels for weights of which two of each four are 0.
    pub fn sparse_weights(self) -> bool {
        self == Self::PruneTwoOfFour
    }

    /// What `pilotage compile` does if the engine's error is too large.
    pub fn on_gate_failure(self) -> OnGateFailure {
        match self {
            Self::Int8Mixed => OnGateFailure::Mixed,
            _ => OnGateFailure::Fail,
        }
    }
}
