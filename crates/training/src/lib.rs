//! Imitation learning: from the simulator to an ONNX model that drives.
//!
//! [`imitate::imitate`] is the way through: [`collect`] gathers frames labelled by
//! the [`expert`], a [`trainer`] learns from them, [`evaluate`] sees how the result
//! drives, [`export`] writes it as ONNX. `docs/training.md` tells the rest.

pub mod adam;
pub mod augment;
pub mod backend;
#[cfg(any(feature = "burn", feature = "burn-wgpu"))]
pub mod burn_trainer;
pub mod checkpoint;
pub mod collect;
pub mod dataset;
pub mod evaluate;
pub mod expert;
pub mod export;
pub mod imitate;
pub mod matrix;
pub mod network;
pub mod pass;
pub mod planes;
pub mod policy;
pub mod recording;
pub mod rollout;
pub mod trainer;
