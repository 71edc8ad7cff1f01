//! Compares networks in the form that PyTorch and Keras export with ONNX Runtime's outputs. The
//! networks are imitations: tests/write_exports.py built them by hand with `onnx.helper`, not
//! with an exporter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pilotage_compiler::{PortLayout, compile, lower, run_plan, simplify, sources};
use pilotage_engine::plan::{Operation, Plan};
use pilotage_engine::{AxisOrder, Bundle, CpuOptions, InstructionSet};
use pilotage_graph::{Graph, ReadOptions, Tensor};

fn exports() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exports")
}

fn graph(name: &str) -> Graph {
    let model = fs::read(exports().join(format!("{name}.onnx"))).unwrap();
    Graph::read(&model, &ReadOptions::default()).unwrap()
}

fn answers(name: &str) -> Vec<f32> {
    let text = fs::read_to_string(exports().join("answers.json")).unwrap();
    let all: BTreeMap<String, Vec<f32>> = serde_json::from_str(&text).unwrap();
    all[name].clone()
}

/// The grey level of element i.
fn level(i: usize) -> f32 {
    let hash = (i as u64 * 2_654_435_761) % (1 << 32);
    (hash >> 24) as f32
}

/// The input in memory order, each element times `scale`.
fn input(plan: &Plan, scale: f32) -> Tensor {
    let port = &plan.inputs[0];
    let pilotage_engine::plan::Operand::Tensor(id) = port.operand else {
        panic!("{port:?}");
    };
    let shape = plan.tensors[id.0].shape.clone();
    let model_order = |i: usize| match port.layout {
        AxisOrder::Model => i,
        AxisOrder::Nhwc => i % 3 * 13_200 + i / 3,
    };
    let data: Vec<f32> = (0..39_600).map(|i| level(model_order(i)) * scale).collect();
    Tensor::new(shape, data).unwrap()
}

fn assert_answers(name: &str, plan: &Plan, scale: f32) {
    let expected = answers(name);
    for set in InstructionSet::ALL
        .into_iter()
        .filter(|set| set.is_available())
    {
        let options = CpuOptions {
            instruction_set: Some(set),
            ..CpuOptions::default()
        };
        let found = run_plan(plan, options, &[input(plan, scale)]).unwrap();
        let found: Vec<f32> = found
            .iter()
            .flat_map(|y| y.as_f32().unwrap().to_vec())
            .collect();
        assert_eq!(expected.len(), found.len());
        for (a, b) in expected.iter().zip(&found) {
            let near = (a - b).abs() <= 1e-5 * a.abs().max(1.0);
            assert!(near, "{name}, {set}: {expected:?} {found:?}");
        }
    }
}

fn layers(plan: &Plan) -> usize {
    let steps = plan.steps.iter();
    steps
        .filter(|step| step.operation != Operation::Reshape)
        .count()
}

#[test]
fn exports_agree_with_onnx_runtime() {
    for name in ["pytorch", "keras"] {
        let graph = graph(name);
        let simple = simplify(&graph);
        for graph in [&graph, &simple] {
            for ports in [PortLayout::Model, PortLayout::Native] {
                let plan = lower(graph, ports).unwrap();
                assert_answers(name, &plan, 1.0 / 255.0);
            }
        }
    }
}

#[test]
fn simplification_leaves_only_layers() {
    let plan = lower(&simplify(&graph("pytorch")), PortLayout::Native).unwrap();
    assert_eq!(plan.inputs[0].layout, AxisOrder::Nhwc);
    assert_eq!(layers(&plan), 8, "{:#?}", plan.steps);
    let plan = lower(&simplify(&graph("keras")), PortLayout::Model).unwrap();
    assert_eq!(layers(&plan), 8, "{:#?}", plan.steps);
}

#[test]
fn recipes_for_exports_take_raw_pixels() {
    let pytorch =
        "[[output]]\nmeaning = \"steering\"\n[[output]]\nmeaning = \"throttle\"\nindex = 1\n";
    let keras = "[[output]]\nname = \"steering\"\nmeaning = \"steering\"\n\
                 [[output]]\nname = \"throttle\"\nmeaning = \"throttle\"\n";
    for (name, layout, outputs) in [("pytorch", "nchw", pytorch), ("keras", "nhwc", keras)] {
        let folder = tempfile::tempdir().unwrap();
        let model = exports().join(format!("{name}.onnx"));
        let recipe = format!(
            "model = {model:?}\ndomain = \"simulated\"\n\
             [input]\nwidth = 200\nheight = 66\nlayout = \"{layout}\"\n{outputs}"
        );
        let path = folder.path().join("net.toml");
        fs::write(&path, recipe).unwrap();
        let bundle = Bundle::read(&compile(&path).unwrap().bytes).unwrap();
        assert_eq!(layers(&bundle.plan), 8);
        assert_answers(name, &bundle.plan, 1.0);
    }
}

/// A recipe for a model of `tests/exports` that is in the recipe's folder.
fn recipe_for(name: &str) -> String {
    format!(
        "model = \"{name}.onnx\"\ndomain = \"simulated\"\n\
         [input]\nwidth = 200\nheight = 66\n\
         [[output]]\nmeaning = \"steering\"\n[[output]]\nmeaning = \"throttle\"\nindex = 1\n"
    )
}

/// `external.onnx` is `pytorch.onnx` with its weights in `external.onnx.data`, as Python's onnx
/// writes them.
#[test]
fn weights_beside_the_model_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for name in ["pytorch.onnx", "external.onnx", "external.onnx.data"] {
        fs::copy(exports().join(name), file(name)).unwrap();
    }
    for name in ["pytorch", "external"] {
        fs::write(file(&format!("{name}.toml")), recipe_for(name)).unwrap();
    }
    let bundle = |name: &str| {
        let compiled = compile(&file(&format!("{name}.toml"))).unwrap();
        Bundle::read(&compiled.bytes).unwrap()
    };
    let (inline, external) = (bundle("pytorch"), bundle("external"));
    assert_eq!(inline.plan, external.plan);
    assert_answers("pytorch", &external.plan, 1.0);

    let recipe = file("external.toml");
    let watched = ["external.toml", "external.onnx", "external.onnx.data"].map(file);
    assert_eq!(sources(&recipe), watched);

    // Other weights make another engine, and that shows in the manifest.
    let data = fs::read(file("external.onnx.data")).unwrap();
    let mut changed = data.clone();
    changed[3] ^= 0x80; // the sign of the first weight
    fs::write(file("external.onnx.data"), &changed).unwrap();
    let other = bundle("external");
    assert_ne!(other.plan, external.plan);
    assert_ne!(
        other.manifest.source_sha256,
        external.manifest.source_sha256
    );

    let refused = || compile(&recipe).unwrap_err().to_string();
    fs::write(file("external.onnx.data"), &data[..data.len() - 1]).unwrap();
    assert!(refused().contains("cut off"), "{}", refused());
    fs::remove_file(file("external.onnx.data")).unwrap();
    let missing = refused();
    assert!(
        missing.contains("external.onnx: the tensor ")
            && missing.contains("\"external.onnx.data\", which cannot be read"),
        "{missing}"
    );
}
