//! From an ONNX model and a recipe to an engine file.
//!
//! [`compile`] is the one entry: it reads a [`Recipe`], imports its model,
//! simplifies the graph ([`simplify`]), lowers it to the engine's plan
//! ([`lower()`]) and writes the bundle. `build.rs` calls it for every
//! `engines/*.toml`.

mod affine;
mod compile;
mod evaluate;
mod lower;
mod permute;
mod pixels;
mod recipe;
mod simplify;

pub use compile::{CompileError, compile, sources};
pub use evaluate::{EvaluateError, evaluate, run_plan};
pub use lower::{LowerError, PortLayout, lower};
pub use recipe::{Precision, Recipe, RecipeError, RecipeOutput};
pub use simplify::simplify;
