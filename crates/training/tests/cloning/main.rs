//! Tests training from recordings: from a folder of pictures to a model, its recipe and an engine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

mod channels;
mod files;
mod layers;
mod measurements;
mod memory;
mod model;
mod onnxruntime;
mod optimise;
mod runs;
mod search;
mod support;
