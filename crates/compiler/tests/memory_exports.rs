//! Compares networks with memory, attention and 3-D convolution, which PyTorch's and Keras's exporters
//! wrote, with the outputs that these frameworks computed: tests/write_memory_exports.py.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pilotage_compiler::{PortLayout, compile, lower, run_plan, simplify};
use pilotage_engine::plan::Plan;
use pilotage_engine::{Bundle, CpuOptions, InstructionSet};
use pilotage_graph::{Graph, ReadOptions, Tensor};

/// The networks, and the operator that each is about.
const EXPORTS: [(&str, &str); 6] = [
    ("keras_conv_lstm", "Loop"),
    ("keras_lstm", "Loop"),
    ("pytorch_attention", "Attention"),
    ("pytorch_gru", "GRU"),
    ("pytorch_lstm", "LSTM"),
    ("pytorch_volume", "Conv"),
];

fn exports() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exports")
}

fn model(name: &str) -> Vec<u8> {
    fs::read(exports().join(format!("{name}.onnx"))).unwrap()
}

fn graph(name: &str) -> Graph {
    Graph::read(&model(name), &ReadOptions::default()).unwrap()
}

fn answers(name: &str) -> Vec<f32> {
    let text = fs::read_to_string(exports().join("memory.json")).unwrap();
    let all: BTreeMap<String, Vec<f32>> = serde_json::from_str(&text).unwrap();
    all[name].clone()
}

/// The inputs that write_memory_exports.py uses.
fn inputs(graph: &Graph) -> Vec<Tensor> {
    let mut at = 0u64;
    let mut level = || {
        let hash = (at * 2_654_435_761) % (1 << 32);
        at += 1;
        (hash >> 24) as f32 / 255.0
    };
    let values = graph.inputs.iter().map(|&v| graph.value(v));
    let tensors = values.map(|value| {
        let count = value.shape.iter().product();
        let data: Vec<f32> = (0..count).map(|_| level()).collect();
        Tensor::new(value.shape.clone(), data).unwrap()
    });
    tensors.collect()
}

fn assert_answers(name: &str, plan: &Plan, inputs: &[Tensor]) {
    let expected = answers(name);
    for set in InstructionSet::ALL
        .into_iter()
        .filter(|set| set.is_available())
    {
        let options = CpuOptions {
            instruction_set: Some(set),
            ..CpuOptions::default()
        };
        let found = run_plan(plan, options, inputs).unwrap();
        let found: Vec<f32> = (found.iter())
            .flat_map(|y| y.as_f32().unwrap().to_vec())
            .collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (a, b) in expected.iter().zip(&found) {
            let near = (a - b).abs() <= 1e-5 * a.abs().max(1.0);
            assert!(near, "{name}, {set}: {expected:?} {found:?}");
        }
    }
}

#[test]
fn exports_agree_with_their_frameworks() {
    for (name, operator) in EXPORTS {
        let text = String::from_utf8_lossy(&model(name)).into_owned();
        assert!(text.contains(operator), "{name} has no {operator}");
        let graph = graph(name);
        for graph in [&graph, &simplify(&graph)] {
            let plan = lower(graph, PortLayout::Model).unwrap();
            assert_answers(name, &plan, &inputs(graph));
        }
    }
}

/// What the reader unrolled is an ordinary model, which other programs can read.
#[test]
fn unrolled_models_are_written_without_control_flow() {
    for (name, _) in EXPORTS {
        let graph = graph(name);
        let again = Graph::read(&graph.write(), &ReadOptions::default());
        assert_eq!(again, Ok(graph), "{name}");
    }
}

#[test]
fn a_state_of_one_step_is_an_input_and_an_output() {
    let graph = graph("pytorch_lstm");
    let shape = |v: &[_]| -> Vec<Vec<usize>> {
        (v.iter().map(|&v| graph.value(v).shape.clone())).collect()
    };
    assert_eq!(shape(&graph.inputs)[1..], [[1, 1, 8], [1, 1, 8]]);
    assert_eq!(shape(&graph.outputs)[1..], [[1, 1, 8], [1, 1, 8]]);
}

#[test]
fn an_engine_of_attention_can_be_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.toml");
    let model = exports().join("pytorch_attention.onnx");
    let recipe = format!(
        "model = {model:?}\ndomain = \"simulated\"\n\
         [input]\nwidth = 16\nheight = 12\n\
         [[output]]\nindex = 0\nmeaning = \"steering\"\n\
         [[output]]\nindex = 1\nmeaning = \"throttle\"\n"
    );
    fs::write(&path, recipe).unwrap();
    let bundle = compile(&path).unwrap().bytes;
    Bundle::read(&bundle).unwrap();
}
