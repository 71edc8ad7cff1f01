//! Imitation learning: from the simulator to an ONNX model that drives a car.
//!
//! [`imitate::imitate`] runs the whole process: [`collect`] gathers frames labelled by the
//! [`expert`], a [`trainer`] learns from them, [`evaluate`] tests the result, and [`export`] writes
//! it as ONNX. [`cloning`] trains from an operator's recordings instead, and [`optimise`] makes a
//! trained network smaller or faster. `docs/training.md` describes the methods, and how the shipped
//! model was made.

pub mod adam;
pub mod architecture;
pub mod augment;
pub mod backend;
#[cfg(any(feature = "burn", feature = "burn-wgpu"))]
pub mod burn_trainer;
pub mod checkpoint;
pub mod cloning;
pub mod collect;
pub mod dataset;
pub mod descent;
pub mod evaluate;
pub mod expert;
pub mod export;
pub mod imitate;
pub mod matrix;
pub mod network;
pub mod optimise;
pub mod pass;
pub mod planes;
pub mod policy;
mod progress;
pub mod recording;
pub mod rollout;
pub mod trainer;
