//! From an ONNX model and a recipe to an engine file.

mod affine;
mod evaluate;
mod lower;
mod permute;
mod simplify;

pub use evaluate::{EvaluateError, evaluate, run_plan};
pub use lower::{LowerError, PortLayout, lower};
pub use simplify::simplify;
