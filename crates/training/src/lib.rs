//! Imitation learning: from the simulator to an ONNX model that drives a car.
//!
//! [`imitate::imitate`] runs the whole process: [`collect`] gathers frames labelled by the
//! [`expert`], a [`student`] learns from them, and [`evaluate`] tests the result. [`cloning`] trains
//! from an operator's recordings instead, and [`optimise`] makes a trained network smaller or
//! faster; [`search`] tries many ways to do so. `pilotage-learning` trains the networks, which are ONNX
//! graphs ([`architecture`]). `docs/training.md` describes the methods, and how the shipped model was made.

pub mod architecture;
pub mod augment;
pub mod checkpoint;
pub mod cloning;
pub mod collect;
pub mod dataset;
pub mod driver;
pub mod evaluate;
pub mod expert;
pub mod export;
pub mod imitate;
pub mod network;
pub mod observation;
pub mod optimise;
pub mod policy;
mod progress;
pub mod recording;
pub mod rollout;
pub mod search;
pub mod student;
mod widen;
