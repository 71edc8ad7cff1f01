//! Compares networks that PyTorch's and Keras's exporters wrote with the outputs that these
//! frameworks computed: tests/write_exports.py.
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
use pilotage_graph::{DataFiles, Graph, ReadOptions, Tensor};

/// An exported network.
struct Export {
    /// The file's name without its extension.
    name: &'static str,
    layout: &'static str,
    /// The outputs for steering and throttle in a recipe.
    outputs: [&'static str; 2],
    /// Convolutions and fully connected layers.
    layers: usize,
}

const ONE_OUTPUT: [&str; 2] = ["index = 0", "index = 1"];
/// TensorFlow's names, which tf2onnx keeps.
const IDENTITIES: [&str; 2] = ["name = \"Identity:0\"", "name = \"Identity_1:0\""];

const EXPORTS: [Export; 4] = [
    // PyTorch's TorchScript exporter.
    Export {
        name: "pytorch",
        layout: "nchw",
        outputs: ONE_OUTPUT,
        layers: 8,
    },
    // PyTorch's present default.
    Export {
        name: "pytorch_dynamo",
        layout: "nchw",
        outputs: ["name = \"steering\"", "name = \"throttle\""],
        layers: 9,
    },
    // Keras's own export.
    Export {
        name: "keras",
        layout: "nhwc",
        outputs: IDENTITIES,
        layers: 8,
    },
    // tf2onnx on a function of Keras's model.
    Export {
        name: "tf2onnx",
        layout: "nhwc",
        outputs: IDENTITIES,
        layers: 8,
    },
];

fn exports() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exports")
}

fn graph(name: &str) -> Graph {
    let model = fs::read(exports().join(format!("{name}.onnx"))).unwrap();
    let options = ReadOptions::default();
    let mut files = DataFiles::new(&exports(), options.max_bytes);
    Graph::read_with_data(&model, &options, &mut files).unwrap()
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

/// The outputs of `plan` with an instruction set, for the input that write_exports.py uses.
fn found(plan: &Plan, set: InstructionSet, scale: f32) -> Vec<f32> {
    let options = CpuOptions {
        instruction_set: Some(set),
        ..CpuOptions::default()
    };
    let found = run_plan(plan, options, &[input(plan, scale)]).unwrap();
    let each = found.iter().flat_map(|y| y.as_f32().unwrap().to_vec());
    each.collect()
}

/// Compares a plan's outputs with the framework's, within `error` of each.
fn assert_near(name: &str, plan: &Plan, scale: f32, error: f32) {
    let expected = answers(name);
    let sets = InstructionSet::ALL.into_iter();
    for set in sets.filter(|set| set.is_available()) {
        let found = found(plan, set, scale);
        assert_eq!(expected.len(), found.len());
        for (a, b) in expected.iter().zip(&found) {
            let near = (a - b).abs() <= error * a.abs().max(1.0);
            assert!(near, "{name}, {set}: {expected:?} {found:?}");
        }
    }
}

fn assert_answers(name: &str, plan: &Plan, scale: f32) {
    assert_near(name, plan, scale, 1e-5);
}

fn layers(plan: &Plan) -> usize {
    let steps = plan.steps.iter();
    steps
        .filter(|step| step.operation != Operation::Reshape)
        .count()
}

/// A recipe for an exported model.
fn recipe(export: &Export, model: &Path) -> String {
    let [steering, throttle] = export.outputs;
    format!(
        "model = {model:?}\ndomain = \"simulated\"\n\
         [input]\nwidth = 200\nheight = 66\nlayout = \"{}\"\n\
         [[output]]\n{steering}\nmeaning = \"steering\"\n\
         [[output]]\n{throttle}\nmeaning = \"throttle\"\n",
        export.layout
    )
}

#[test]
fn exports_agree_with_their_frameworks() {
    for Export { name, .. } in &EXPORTS {
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

/// Models with QuantizeLinear and DequantizeLinear, from fake quantization in PyTorch and in
/// TensorFlow. A value near the middle between two levels may be rounded to either, by the order of
/// the sums before it.
#[test]
fn quantized_exports_agree_with_their_frameworks() {
    for name in ["pytorch_qdq", "tf2onnx_qdq"] {
        let plan = lower(&simplify(&graph(name)), PortLayout::Model).unwrap();
        assert_near(name, &plan, 1.0 / 255.0, 5e-3);
    }
}

#[test]
fn simplification_leaves_only_layers() {
    for export in &EXPORTS {
        let ports = match export.layout {
            "nhwc" => PortLayout::Model,
            _ => PortLayout::Native,
        };
        let plan = lower(&simplify(&graph(export.name)), ports).unwrap();
        if ports == PortLayout::Native {
            assert_eq!(plan.inputs[0].layout, AxisOrder::Nhwc);
        }
        assert_eq!(layers(&plan), export.layers, "{:#?}", plan.steps);
    }
}

#[test]
fn recipes_for_exports_take_raw_pixels() {
    for export in &EXPORTS {
        let folder = tempfile::tempdir().unwrap();
        let model = exports().join(format!("{}.onnx", export.name));
        let path = folder.path().join("net.toml");
        fs::write(&path, recipe(export, &model)).unwrap();
        let bundle = Bundle::read(&compile(&path).unwrap().bytes).unwrap();
        assert_eq!(layers(&bundle.plan), export.layers);
        assert_answers(export.name, &bundle.plan, 1.0);
    }
}

/// PyTorch's default: weights in NAME.onnx.data beside the model.
#[test]
fn weights_beside_the_model_are_read() {
    let export = &EXPORTS[1];
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let names = ["pytorch_dynamo.onnx", "pytorch_dynamo.onnx.data"];
    for name in names {
        fs::copy(exports().join(name), file(name)).unwrap();
    }
    let path = file("net.toml");
    fs::write(&path, recipe(export, Path::new(names[0]))).unwrap();
    let bundle = || Bundle::read(&compile(&path).unwrap().bytes).unwrap();
    let first = bundle();
    assert_answers(export.name, &first.plan, 1.0);
    assert_eq!(sources(&path), ["net.toml", names[0], names[1]].map(file));

    // Other weights make another engine, and that shows in the manifest.
    let data = fs::read(file(names[1])).unwrap();
    let mut changed = data.clone();
    changed[3] ^= 0x80; // the sign of the first weight
    fs::write(file(names[1]), &changed).unwrap();
    let other = bundle();
    assert_ne!(other.plan, first.plan);
    assert_ne!(other.manifest.source_sha256, first.manifest.source_sha256);

    let refused = || compile(&path).unwrap_err().to_string();
    fs::write(file(names[1]), &data[..data.len() - 1]).unwrap();
    assert!(refused().contains("cut off"), "{}", refused());
    fs::remove_file(file(names[1])).unwrap();
    let missing = refused();
    assert!(
        missing.contains("pytorch_dynamo.onnx: the tensor ")
            && missing.contains("\"pytorch_dynamo.onnx.data\", which cannot be read"),
        "{missing}"
    );
}
