//! Compiles an ONNX model and a recipe to an engine file.
//!
//! [`compile`] is the entry point: it reads a [`Recipe`], imports its model, simplifies the graph
//! ([`simplify`]), lowers it to the CPU engine's plan ([`lower()`]) and writes the engine file.
//! `build.rs` calls it for every `engines/*.toml`; `pilotage compile` calls it for one recipe.

mod affine;
mod cache;
mod calibrate;
mod compile;
mod correct;
mod draft;
mod equalize;
mod evaluate;
mod float16;
mod frames;
mod gate;
mod int4;
mod lower;
mod model_file;
mod network;
mod permute;
mod pixels;
mod progress;
mod quantize;
mod recipe;
mod report;
mod run;
mod simplify;
mod table;

pub use cache::Cache;
pub use calibrate::{BINS, CalibrateError, Histogram, Method, Range, calibrate};
pub use compile::{
    CompileError, Compiled, GateTable, ModelError, SourceModel, compile, compile_recipe,
    compile_run, sources,
};
pub use correct::correct_biases;
pub use draft::{DraftError, DraftOptions, draft, embedded_recipe, picture_input, read_model};
pub use equalize::equalize;
pub use evaluate::{EvaluateError, evaluate};
pub use float16::{NarrowError, narrow};
pub use frames::{FEW, FrameNumbers, Frames, FramesError, MAX_FRAMES, Numbered, NumbersError};
pub use gate::{NoProbabilities, Still, WithoutPath};
pub use lower::{LowerError, PortLayout, Weights, lower, lower_weights};
pub use network::{Buffer, Network, NetworkError};
pub use pixels::take_pixels;
pub use progress::{Observer, Run, Stage};
pub use quantize::{
    Form, QuantizationScheme, QuantizeError, QuantizeOptions, QuantizedLayer, layers, quantize,
    values,
};
pub use recipe::{
    CalibrationMethod, CalibrationRecipe, DecoderCamera, DecoderFirst, DecoderKind, DecoderOrder,
    DecoderRecipe, FixedInput, LayerPrecision, OnGateFailure, Precision, Recipe, RecipeError,
    RecipeOutput, ThrottleRecipe, WeightsRecipe, read_recipe_text,
};
pub use report::{LayerReport, LayerTable, layer_reports};
pub use run::{RunError, run_plan};
pub use simplify::simplify;
