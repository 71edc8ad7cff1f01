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

use std::collections::BTreeMap;
use std::fs;

use pilotage_engine::Bundle;
use tensorrt_rs::{BuildOptions, Product, Shims, TensorRt, Warnings, compile_shim};

/// Ampere, Orin's family.
const DEVICE: [u16; 1] = [86];

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    compile_shim(&real::headers("RTX-1.7"), folder.path(), Warnings::Denied).expect("the shim");
    let shims = Shims::In(folder.path().to_owned());
    let library = TensorRt::open(Product::TensorRtRtx, Some(&real::libraries()), &shims);
    let library = library.expect("NVIDIA's library");
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
            "layers": layers(plan.layers.as_deref().unwrap_or_default()),
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
fn layers(report: &str) -> BTreeMap<&str, usize> {
    let kinds = ["correlation", "convolution", "gemm"];
    let mut counts = BTreeMap::new();
    for line in report.lines() {
        let after = |start: &str| line.split_once(start).map_or("", |(_, rest)| rest);
        let word = |text| str::split(text, [',', ' ']).next().unwrap_or_default();
        if kinds.contains(&word(after("LayerType: "))) {
            let inputs = after("Inputs: [ {");
            let of = inputs.split_once("Datatype: ").map_or("", |(_, rest)| rest);
            *counts.entry(word(of)).or_default() += 1;
        }
    }
    counts
}
