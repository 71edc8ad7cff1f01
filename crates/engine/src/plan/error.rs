//! The errors of a plan.

use super::limits::{MAX_BYTES, MAX_RANK, MAX_WORK};
use crate::ElementType;

/// Why a plan cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More items than a driving network needs.
    #[error("the plan has {found} {what}, more than the {limit} allowed")]
    TooMany {
        /// Tensors, constants, steps or ports.
        what: &'static str,
        /// Number of items.
        found: usize,
        /// Maximum number of items.
        limit: usize,
    },
    /// More axes than supported.
    #[error("{what} has {rank} axes, more than the {MAX_RANK} supported")]
    Rank {
        /// The tensor or constant.
        what: String,
        /// Its number of axes.
        rank: usize,
    },
    /// More memory than allowed.
    #[error("{what} needs more than the {MAX_BYTES} bytes allowed; use a smaller network")]
    TooLarge {
        /// The tensor or constant, or all of them together.
        what: String,
    },
    /// More arithmetic than allowed.
    #[error(
        "step `{step}` takes the plan past {MAX_WORK} operations for one inference; use a smaller network"
    )]
    TooMuchWork {
        /// The step at which the limit is exceeded.
        step: String,
    },
    /// An identifier does not exist.
    #[error("{place} names {kind} {id}, which the plan does not have")]
    Unknown {
        /// What uses it.
        place: String,
        /// Tensor or constant.
        kind: &'static str,
        /// The identifier.
        id: usize,
    },
    /// Something other than weights is 16-bit floating point.
    #[error("{place} is float16; only stored weights can be")]
    Half {
        /// The tensor, or what reads it.
        place: String,
    },
    /// The number of a constant's elements does not match its shape.
    #[error("constant {id} has {found} elements, but its shape has {expected}")]
    ConstantLength {
        /// The constant.
        id: usize,
        /// Number of elements of its shape.
        expected: usize,
        /// Number of elements stored.
        found: usize,
    },
    /// Two steps, or an input and a step, write the same tensor.
    #[error("{place} writes tensor {id}, which is already written")]
    MadeTwice {
        /// The second writer.
        place: String,
        /// The tensor.
        id: usize,
    },
    /// A tensor is read before it is written.
    #[error("{place} reads tensor {id} before it is written; put its writer first")]
    NotMade {
        /// The reader.
        place: String,
        /// The tensor.
        id: usize,
    },
    /// An input of the plan is a constant.
    #[error("input `{name}` is a constant; an input has to be a tensor")]
    ConstantInput {
        /// The port's name.
        name: String,
    },
    /// A step has too few or too many inputs.
    #[error("step `{step}` has {found} inputs where it takes {expected}")]
    InputCount {
        /// The step.
        step: String,
        /// Number of inputs of the operation.
        expected: usize,
        /// Number of inputs of the step.
        found: usize,
    },
    /// A tensor or constant of a step has the wrong element type.
    #[error("step `{step}`: its {what} cannot be {found:?}")]
    WrongType {
        /// The step.
        step: String,
        /// The tensor or constant.
        what: &'static str,
        /// Its element type.
        found: ElementType,
    },
    /// A tensor or constant of a step has a shape that does not fit.
    #[error("step `{step}`: its {what} has shape {found:?}, which does not fit the rest of it")]
    WrongShape {
        /// The step.
        step: String,
        /// The tensor or constant.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A number of a step is out of its range.
    #[error("step `{step}`: {parameter} is out of range: {rule}")]
    OutOfRange {
        /// The step.
        step: String,
        /// The parameter.
        parameter: &'static str,
        /// Its range.
        rule: &'static str,
    },
}
