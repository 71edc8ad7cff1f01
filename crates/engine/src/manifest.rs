//! The manifest of an engine file.

use std::fmt;

use pilotage_vehicle::Domain;
use serde::{Deserialize, Serialize};

use crate::{InputRules, Memory, Output, PathDecoder};

/// The manifest of an engine file: what the engine is and how it was compiled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The engine's name.
    pub name: String,
    /// Where the engine may drive.
    pub domain: Domain,
    /// The precision of the arithmetic, spelled as in the recipe.
    pub precision: String,
    /// How a camera frame is converted to the input, copied from the recipe.
    pub preprocessing: serde_json::Value,
    /// The size of the frames that the engine was calibrated and validated on, before the crop.
    /// Absent without frames, for frames that were cropped and resized already, for frames of
    /// several sizes, and in engine files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_size: Option<FrameSize>,
    /// What the outputs mean. The scale of an integer output is part of `scale`, but not of an
    /// output of bins, which are decoded in the same way with any scale.
    pub outputs: Vec<Output>,
    /// The throttle of an engine that only steers, above 0 and at most 1. Absent if the throttle
    /// or the speed is an output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<f32>,
    /// The path that the network answers with, which drives the car together with `outputs` (its
    /// speed, or nothing). Absent if `outputs` alone do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<PathDecoder>,
    /// The whole recipe.
    pub recipe: serde_json::Value,
    /// The data that the engine was calibrated on.
    pub calibration: Option<Calibration>,
    /// The error of each form of the engine against fp32; empty for fp32 without
    /// frames.
    pub gate: Vec<GateResult>,
    /// Attempts to reduce the error against fp32, and whether each was kept.
    pub trials: Vec<Trial>,
    /// Layers that the compiler kept in floating point to pass the gate.
    pub raised: Vec<String>,
    /// SHA-256 of the ONNX file that was compiled, followed by the files with its weights, if any,
    /// in the order of their paths; in hexadecimal.
    pub source_sha256: String,
    /// Version of the compiler.
    pub tool_version: String,
}

impl Manifest {
    /// The recipe's options for TensorRT; the defaults if it has none.
    ///
    /// # Errors
    /// If the table is malformed.
    pub fn tensorrt(&self) -> Result<TensorRtRecipe, serde_json::Error> {
        match self.recipe.get("tensorrt") {
            Some(table) => TensorRtRecipe::deserialize(table),
            None => Ok(TensorRtRecipe::default()),
        }
    }

    /// The recipe's rules for the inputs other than the present picture; the defaults if it has none.
    ///
    /// # Errors
    /// If a table is malformed.
    pub fn input_rules(&self) -> Result<InputRules, serde_json::Error> {
        let measurements = self.recipe.get("measurement");
        let command = self.recipe.get("command");
        let scan = self.recipe.get("scan");
        Ok(InputRules {
            memory: self.memory()?,
            measurements: measurements.map_or(Ok(Vec::new()), Vec::deserialize)?,
            command: command.map(Deserialize::deserialize).transpose()?,
            scan: scan.map(Deserialize::deserialize).transpose()?,
        })
    }

    /// The recipe's `[memory]`; the default if it has none.
    ///
    /// # Errors
    /// If the table is malformed.
    pub fn memory(&self) -> Result<Memory, serde_json::Error> {
        match self.recipe.get("memory") {
            Some(table) => Memory::deserialize(table),
            None => Ok(Memory::default()),
        }
    }
}

/// The size of a camera's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameSize {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl fmt::Display for FrameSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// The data that an engine was calibrated on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// How the ranges of activations were chosen.
    pub method: String,
    /// Number of calibration frames.
    pub frames: usize,
    /// Number of validation frames, which are not used for calibration.
    pub held_back: usize,
    /// SHA-256 of the pixels of all frames after preprocessing, in hexadecimal.
    pub sha256: String,
}

/// The error of one form of an engine against fp32 in one output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateResult {
    /// Which form.
    pub form: String,
    /// Which output.
    pub output: String,
    /// The output's unit.
    pub unit: String,
    /// Mean squared error against fp32, in the unit squared.
    pub mse: f64,
    /// The largest mean squared error allowed.
    pub most_mse: f64,
    /// Largest error of a single frame, in the unit.
    pub worst: f64,
    /// The largest error of a single frame allowed.
    pub most_worst: f64,
}

impl GateResult {
    /// Whether the errors are within their limits. An error that is NaN is not.
    pub fn passes(&self) -> bool {
        self.mse <= self.most_mse && self.worst <= self.most_worst
    }
}

/// An attempt to reduce the error against fp32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What was tried.
    pub name: String,
    /// The error without it: the sum over the outputs of the mean squared error
    /// divided by the variance of the fp32 outputs.
    pub before: f64,
    /// The error with it.
    pub after: f64,
    /// Whether it was kept, because the error decreased.
    pub kept: bool,
}

/// A recipe's table `[tensorrt]`: options for NVIDIA's compiler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorRtRecipe {
    /// The most memory in MiB that a layer may use at run time. If absent, TensorRT's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_mib: Option<u32>,
    /// Whether kernel timings are cached between builds, in the folder of the plans. If absent,
    /// they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing_cache: Option<bool>,
    /// The deep learning accelerator to use (JetPack 5.1 to 6.2). The GPU computes what the
    /// accelerator does not support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dla_core: Option<u32>,
    /// Whether kernels may be used that skip zeros, for weights of which two of each four neighbours
    /// along the inputs are 0. TensorRT checks the weights itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sparse_weights: bool,
}
