//! TensorRT-RTX, and its builder's report of a plan's layers.
#![allow(dead_code, reason = "the example does not use all of it")]

use tensorrt_rs::{Product, Shims, TensorRt, Warnings, compile_shim};

use crate::real::{headers, libraries};

/// TensorRT-RTX through a shim that is compiled for it, and the shim's folder.
pub fn rtx() -> (TensorRt, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    compile_shim(&headers("RTX-1.7"), folder.path(), Warnings::Denied).unwrap();
    let shims = Shims::In(folder.path().to_owned());
    let library = TensorRt::open(Product::TensorRtRtx, Some(&libraries()), &shims).unwrap();
    (library, folder)
}

/// One line of RTX's layer report: `Name: fc1_myl0_11, LayerType: gemm, Inputs: [ { …
/// Datatype: Int8, … }], Constants: [ … ], Outputs: [ … ], …`.
pub struct Layer<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    pub inputs: Vec<&'a str>,
    pub weights: &'a str,
}

pub fn layers(report: &str) -> Vec<Layer<'_>> {
    let lines = report.lines().filter(|line| line.contains("LayerType: "));
    lines
        .map(|line| {
            let after = |start: &str| line.split_once(start).map_or("", |(_, rest)| rest);
            let word = |start: &str| after(start).split([',', ' ']).next().unwrap();
            let types = |start: &str| {
                let list = after(start).split("}]").next().unwrap();
                let types = list.split("Datatype: ").skip(1);
                types
                    .map(|rest| rest.split(',').next().unwrap())
                    .collect::<Vec<_>>()
            };
            Layer {
                name: word("Name: "),
                kind: word("LayerType: "),
                inputs: types("Inputs: [ {"),
                weights: types("Constants: [ {").first().copied().unwrap_or(""),
            }
        })
        .collect()
}

/// The convolutions and fully connected layers of a PilotNet's report.
pub fn multiplying<'a>(layers: &'a [Layer<'a>]) -> Vec<&'a Layer<'a>> {
    let kinds = ["correlation", "convolution", "gemm"];
    layers
        .iter()
        .filter(|layer| kinds.contains(&layer.kind))
        .collect()
}
