//! Builds a plan of TensorRT-RTX for each model: an ONNX file, or the INT8 or FP16 model of an engine
//! file. Prints a line of JSON for each: the plan's bytes, and how many of its layers multiply what type
//! of elements. No GPU is needed; NVIDIA's library is (`cargo xtask test --install`).
//!
//!     cargo run --release -p pilotage-gpu --example plan_sizes -- FILE...
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement prints its result and ends at an error"
)]

#[path = "../../tensorrt/tests/real/mod.rs"]
mod real;
#[path = "../tests/rtx/mod.rs"]
mod rtx;

use std::collections::BTreeMap;
use std::fs;

use pilotage_engine::Bundle;
use rtx::{layers, multiplying, rtx};
use tensorrt_rs::BuildOptions;

/// Ampere, Orin's family.
const DEVICE: [u16; 1] = [86];

fn main() {
    let (library, _shim) = rtx();
    for file in std::env::args().skip(1) {
        let options = BuildOptions {
            compute_capabilities: &DEVICE,
            detailed: true,
            ..BuildOptions::default()
        };
        let plan = library.build(&model(&file), &options).expect("a plan");
        let line = serde_json::json!({
            "file": file,
            "version": library.version().to_string(),
            "bytes": plan.bytes.len(),
            "layers": counts(plan.layers.as_deref().unwrap_or_default()),
        });
        println!("{line}");
    }
}

/// The model that TensorRT takes.
fn model(file: &str) -> Vec<u8> {
    let bytes = fs::read(file).expect(file);
    if file.ends_with(".onnx") {
        return bytes;
    }
    let mut sections = Bundle::read(&bytes).expect(file).sections;
    let names = ["model.qdq.onnx", "model.fp16.onnx"];
    let found = names.iter().find_map(|&name| sections.remove(name));
    found.expect("the engine file has no model for TensorRT")
}

/// How many layers multiply elements of each type, from the builder's report of all layers.
fn counts(report: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for layer in multiplying(&layers(report)) {
        *counts.entry(layer.inputs[0].to_owned()).or_default() += 1;
    }
    counts
}
