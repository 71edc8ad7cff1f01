//! What an engine file says about itself.

use serde::{Deserialize, Serialize};

use crate::Output;

/// Where an engine was trained to drive. One trained in the simulator never
/// arms a physical actuator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// In the simulator only.
    Simulated,
    /// On a physical car.
    Physical,
}

/// What an engine file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The engine's name.
    pub name: String,
    /// Where it may drive.
    pub domain: Domain,
    /// What it computes in, as the recipe spells it.
    pub precision: String,
    /// How a camera's frame becomes the input, as the recipe has it.
    pub preprocessing: serde_json::Value,
    /// What the outputs mean. The scale of an integer output is part of `scale`.
    pub outputs: Vec<Output>,
    /// The whole recipe.
    pub recipe: serde_json::Value,
    /// What it was calibrated on.
    pub calibration: Option<Calibration>,
    /// How far its forms are from fp32; empty for fp32 without frames.
    pub gate: Vec<GateResult>,
    /// What was tried to come nearer to fp32, and whether it was kept.
    pub trials: Vec<Trial>,
    /// Layers that the gate had raised to floating point.
    pub raised: Vec<String>,
    /// SHA-256 of the ONNX file it was compiled from, in hexadecimal.
    pub source_sha256: String,
    /// Version of the compiler.
    pub tool_version: String,
}

/// What an engine was calibrated on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// How ranges were chosen.
    pub method: String,
    /// Frames they were chosen from.
    pub frames: usize,
    /// Frames held back to prove the engine with.
    pub held_back: usize,
    /// SHA-256 of all frames' pixels as the network sees them, in hexadecimal.
    pub sha256: String,
}

/// How far one form of an engine is from fp32 in one output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateResult {
    /// Which form.
    pub form: String,
    /// Which output.
    pub output: String,
    /// Its unit.
    pub unit: String,
    /// Mean squared error against fp32, in the unit squared.
    pub mse: f64,
    /// The largest allowed.
    pub most_mse: f64,
    /// Largest error of a single frame, in the unit.
    pub worst: f64,
    /// The largest allowed.
    pub most_worst: f64,
}

impl GateResult {
    /// Whether it is within its limits. What is not a number is not.
    pub fn passes(&self) -> bool {
        self.mse <= self.most_mse && self.worst <= self.most_worst
    }
}

/// Something that was tried to come nearer to fp32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What.
    pub name: String,
    /// The error without it: mean squared errors, each over the variance of fp32's
    /// answers, summed over the outputs.
    pub before: f64,
    /// The error with it.
    pub after: f64,
    /// Whether it was kept: the error fell.
    pub kept: bool,
}
