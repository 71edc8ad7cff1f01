//! Checks gradients, training and quantization of graphs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

mod builder;
mod cases;
mod forms;
mod operators;
mod pytorch;
mod quantized;
mod training;

use builder::{Builder, Numbers, gap};
