//! The plan: the output of the compiler and the input of a CPU engine. It does not
//! depend on an instruction set.
//!
//! Shapes are in memory order. Convolution and pooling operate on NHWC; the
//! compiler inserts layout changes where they are needed. Weights are stored in one
//! order for all machines (see [`Operation`]) and packed when a plan is loaded.

use half::f16;
use serde::{Deserialize, Serialize};

use crate::{AxisOrder, ElementType};

mod check;
mod error;
mod float;
mod integer;
mod layers;
mod limits;
mod movement;
mod operation;
mod selection;
mod step;
mod validate;

pub use error::PlanError;
pub use layers::Layer;
pub use limits::{MAX_BYTES, MAX_ITEMS, MAX_RANK, MAX_WORK};
pub use operation::{
    Activation, BinaryOperator, Epilogue, Fill, Function, Operation, PoolKind, Reduction,
    SliceStep, Window,
};

/// A tensor's index in [`Plan::tensors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TensorId(pub usize);

/// A constant's index in [`Plan::constants`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConstantId(pub usize);

/// An input of a step: a tensor computed at run time, or a stored constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operand {
    /// An input of the plan or the output of an earlier step.
    Tensor(TensorId),
    /// A stored constant.
    Constant(ConstantId),
}

/// A tensor that is computed at run time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Sizes in memory order.
    pub shape: Vec<usize>,
    /// Element type.
    pub element_type: ElementType,
}

/// Stored elements, row-major. In an engine file they have a section of their own.
#[derive(Debug, Clone, PartialEq)]
pub enum ConstantData {
    /// See [`ElementType::F32`].
    F32(Vec<f32>),
    /// See [`ElementType::F16`].
    F16(Vec<f16>),
    /// See [`ElementType::I64`].
    I64(Vec<i64>),
    /// See [`ElementType::I32`].
    I32(Vec<i32>),
    /// See [`ElementType::U8`].
    U8(Vec<u8>),
    /// See [`ElementType::I8`].
    I8(Vec<i8>),
}

/// A stored tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Sizes in memory order.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: ConstantData,
}

/// An input or output of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanPort {
    /// Its name in the ONNX model.
    pub name: String,
    /// The tensor that is read or written. An output may be a constant.
    pub operand: Operand,
    /// The order of the axes.
    pub layout: AxisOrder,
}

/// One step of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The ONNX node (or nodes) that it comes from, for messages and reports.
    pub name: String,
    /// What it computes.
    pub operation: Operation,
    /// Its inputs.
    pub inputs: Vec<Operand>,
    /// Its output; every operation has exactly one.
    pub output: TensorId,
}

/// A compiled network, ready to be packed and run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// All tensors that are computed at run time, and the inputs.
    pub tensors: Vec<TensorSpec>,
    /// All stored constants.
    pub constants: Vec<Constant>,
    /// The inputs, which the caller passes; each is a tensor, not a constant.
    pub inputs: Vec<PlanPort>,
    /// The outputs, which the caller receives.
    pub outputs: Vec<PlanPort>,
    /// In the order in which they run.
    pub steps: Vec<Step>,
}

impl ConstantData {
    /// Number of elements stored.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F16(data) => data.len(),
            Self::I64(data) => data.len(),
            Self::I32(data) => data.len(),
            Self::U8(data) => data.len(),
            Self::I8(data) => data.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the elements.
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::F16(_) => ElementType::F16,
            Self::I64(_) => ElementType::I64,
            Self::I32(_) => ElementType::I32,
            Self::U8(_) => ElementType::U8,
            Self::I8(_) => ElementType::I8,
        }
    }
}

impl Plan {
    /// The shape and the element type of an operand, which must exist.
    pub(crate) fn spec(&self, operand: Operand) -> (&[usize], ElementType) {
        match operand {
            Operand::Tensor(TensorId(id)) => {
                (&self.tensors[id].shape, self.tensors[id].element_type)
            }
            Operand::Constant(ConstantId(id)) => (
                &self.constants[id].shape,
                self.constants[id].data.element_type(),
            ),
        }
    }
}
