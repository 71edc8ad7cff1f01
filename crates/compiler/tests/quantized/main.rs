//! Compiles networks from other tools to 8 bits: checks their error against fp32, and the
//! messages for networks that cannot be compiled.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use pilotage_compiler::{Compiled, Network, PortLayout, Weights, compile, lower_weights, simplify};
use pilotage_engine::plan::{Epilogue, Operation, Plan};
use pilotage_engine::{Bundle, GateResult, ValidationSet};
use pilotage_graph::{ElementType, Graph, Node, Op, ReadOptions, float_weights, float32_types};
use tempfile::TempDir;

mod cache;
mod calibration;

/// The limits for the steering; the throttle has the defaults. Keras's form in 8 bits, with five ELUs
/// after a padding, has three times the largest measured error.
fn gate(name: &str, precision: &str) -> &'static str {
    match (name, precision) {
        ("keras" | "tf2onnx", "int8" | "int8-integer" | "int8-dynamic") => {
            "gate = { mse = 0.002, worst = 0.15 }\n"
        }
        _ => "",
    }
}

/// Draws images with shapes and shades, all different: some brighter on the left, some on the right.
fn draw(folder: &Path, count: u32) {
    fs::create_dir(folder).unwrap();
    for number in 0..count {
        let picture = RgbImage::from_fn(200, 66, |x, y| {
            let wave = |k: u32| {
                let phase = (x * (k + 1) + y * (number % 7 + 1) + number * 29 * (k + 2)) % 256;
                let noise = (x * 31 + y * 17 + number * 7).wrapping_mul(2_654_435_761) >> 28;
                let side = if number.is_multiple_of(2) { x } else { 199 - x };
                let shade = side * (number % 5) / 8;
                let light = phase / (number % 3 + 2) + shade + noise;
                light.min(255) as u8
            };
            Rgb([wave(0), wave(1), wave(2)])
        });
        picture
            .save(folder.join(format!("{number:03}.png")))
            .unwrap();
    }
}

/// A recipe for an exported model, in a temporary folder.
struct Project {
    folder: TempDir,
    head: String,
    tables: String,
}

impl Project {
    fn new(name: &str, precision: &str) -> Self {
        let folder = TempDir::new().unwrap();
        draw(&folder.path().join("frames"), 45);
        let model =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/exports/{name}.onnx"));
        let gate = gate(name, precision);
        let (layout, [first, second]) = match name {
            "keras" | "tf2onnx" => ("nhwc", ["name = \"Identity:0\"", "name = \"Identity_1:0\""]),
            "pytorch_dynamo" => ("nchw", ["name = \"steering\"", "name = \"throttle\""]),
            _ => ("nchw", ["index = 0", "index = 1"]),
        };
        Self {
            folder,
            head: format!(
                "model = {model:?}\nprecision = \"{precision}\"\ndomain = \"physical\"\n"
            ),
            tables: format!(
                "[input]\nwidth = 200\nheight = 66\nlayout = \"{layout}\"\n\
                 [[output]]\n{first}\nmeaning = \"steering\"\n{gate}\
                 [[output]]\n{second}\nmeaning = \"throttle\"\n\
                 [calibration]\nframes = \"frames\"\n"
            ),
        }
    }

    fn path(&self) -> PathBuf {
        let path = self.folder.path().join("net.toml");
        fs::write(&path, format!("{}{}", self.head, self.tables)).unwrap();
        path
    }

    fn compile(&self) -> Compiled {
        compile(&self.path()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(&self) -> String {
        let message = compile(&self.path()).unwrap_err().to_string();
        message.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn steps(plan: &Plan, is: fn(&Operation) -> bool) -> usize {
    plan.steps.iter().filter(|step| is(&step.operation)).count()
}

fn integer_layer(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::QuantizedConv2d { .. } | Operation::QuantizedFullyConnected { .. }
    )
}

fn float_layer(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Conv2d { .. } | Operation::FullyConnected { .. } | Operation::MatMul
    )
}

#[test]
fn exports_of_pytorch_and_keras_become_integers() {
    let methods = ["minmax", "percentile", "entropy", "mse"];
    for (name, methods, layers, tables) in [
        ("pytorch", &methods[..], 8, 1),
        ("pytorch_dynamo", &methods[3..], 9, 1),
        // Not entropy: the few values of the last hidden layer give no distribution.
        ("keras", &["minmax", "percentile", "mse"], 8, 5),
        ("tf2onnx", &methods[3..], 8, 5),
    ] {
        for method in methods {
            let mut project = Project::new(name, "int8");
            project.tables += &format!("method = \"{method}\"\n");
            let compiled = project.compile();
            assert_eq!(compiled.warnings.len(), 1, "{:?}", compiled.warnings);
            assert!(compiled.warnings[0].contains("only 45 pictures"));
            let plan = Bundle::read(&compiled.bytes).unwrap().plan;
            assert_eq!(steps(&plan, integer_layer), layers, "{:#?}", plan.steps);
            assert_eq!(steps(&plan, float_layer), 0);
            let lookup_tables = steps(&plan, |o| matches!(o, Operation::Lookup { .. }));
            assert_eq!(lookup_tables, tables, "{name}");
            let kept = compiled.manifest.trials.iter().filter(|trial| trial.kept);
            assert!(kept.clone().all(|trial| trial.after < trial.before));
            assert_eq!(compiled.layers.len(), layers);
            for layer in &compiled.layers {
                assert!(layer.signal_to_noise > 12.0, "{name}, {method}: {layer:?}");
            }
        }
    }
}

/// The integer plan and the QDQ graph in floating-point arithmetic differ only by rounding. Half
/// of the answers are equal to the last digits. The others may differ by the effect of a single
/// value that is rounded in different directions.
#[test]
fn integers_and_the_qdq_graph_agree() {
    for name in ["pytorch", "keras"] {
        for method in ["minmax", "percentile", "mse"] {
            let mut project = Project::new(name, "int8");
            project.tables += &format!("method = \"{method}\"\n");
            let bundle = Bundle::read(&project.compile().bytes).unwrap();
            let model = &bundle.sections["model.qdq.onnx"];
            let graph = Graph::read(model, &ReadOptions::default()).unwrap();
            let last = name == "keras";
            let ports = if last {
                PortLayout::Model
            } else {
                PortLayout::Native
            };
            let dequantized = lower_weights(&graph, ports, Weights::Dequantized).unwrap();
            assert_eq!(steps(&dequantized, integer_layer), 0);
            let floats = answers(&bundle, dequantized, last).concat();
            let integers = answers(&bundle, bundle.plan.clone(), last).concat();
            assert_eq!((floats.len(), integers.len()), (10, 10));
            let mut differences: Vec<f32> = floats
                .iter()
                .zip(&integers)
                .map(|(a, b)| (a - b).abs())
                .collect();
            differences.sort_by(f32::total_cmp);
            assert!(
                differences[differences.len() / 2] < 1e-6
                    && differences[differences.len() - 1] < 0.01,
                "{name}, {method}: {differences:?}"
            );
        }
    }
}

/// With float weights for TensorRT 8, no integer constant is dequantized, and the levels come back:
/// the answers are the same bits.
#[test]
fn float_weights_quantize_to_the_same_levels() {
    for name in ["pytorch", "keras"] {
        let bundle = Bundle::read(&Project::new(name, "int8").compile().bytes).unwrap();
        let model = &bundle.sections["model.qdq.onnx"];
        let graph = |model: &[u8]| Graph::read(model, &ReadOptions::default()).unwrap();
        let (integers, floats) = (graph(model), graph(&float_weights(model).unwrap()));
        let dequantized_constants = |graph: &Graph| {
            let is_constant = |node: &&Node| {
                let value = graph.value(node.inputs[0]);
                value.element_type == ElementType::I8 && value.constant.is_some()
            };
            let nodes = graph.nodes.iter();
            nodes
                .filter(|node| matches!(node.op, Op::DequantizeLinear { .. }))
                .filter(is_constant)
                .count()
        };
        assert_eq!(dequantized_constants(&integers), 8);
        assert_eq!(dequantized_constants(&floats), 0);
        let ports = match name {
            "keras" => PortLayout::Model,
            _ => PortLayout::Native,
        };
        let answers = |graph: &Graph| {
            let plan = lower_weights(&simplify(graph), ports, Weights::Dequantized).unwrap();
            answers(&bundle, plan, name == "keras").concat()
        };
        let bits = |answers: Vec<f32>| answers.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(answers(&integers)), bits(answers(&floats)), "{name}");
    }
}

/// TensorRT before 8.5 reads no float16 beside quantized values: the types become float32, and the
/// answers stay those of the float16 weights.
#[test]
fn a_model_without_float16_answers_as_the_one_with_it() {
    let mut mixed = Project::new("pytorch", "int8");
    mixed.tables += "[layers]\n\"/conv/conv.1/Conv\" = \"fp16\"\n";
    // Without training, 8 bits cost this network much accuracy.
    for (project, section, most) in [
        (Project::new("pytorch", "fp16"), "model.fp16.onnx", 0.02),
        (mixed, "model.qdq.onnx", 2.0),
    ] {
        let bundle = Bundle::read(&project.compile().bytes).unwrap();
        let graph = |model: &[u8]| Graph::read(model, &ReadOptions::default()).unwrap();
        let halves = graph(&bundle.sections[section]);
        let floats = graph(&float32_types(&bundle.sections[section]).unwrap());
        let half_tensors = |graph: &Graph| {
            let types = graph.values.iter().map(|value| value.element_type);
            types.filter(|&of| of == ElementType::F16).count()
        };
        // The last cast is an output, and stays as an Identity.
        let others = |graph: &Graph| {
            let nodes = graph.nodes.iter().map(|node| node.op.name());
            nodes
                .filter(|name| !["Cast", "Identity"].contains(name))
                .count()
        };
        assert!(half_tensors(&halves) > 0, "{section}");
        assert_eq!(half_tensors(&floats), 0, "{section}");
        assert_eq!(others(&floats), others(&halves), "{section}");
        assert!(floats.nodes.len() <= others(&floats) + 1, "{section}");
        assert!(floats.nodes.iter().all(|node| node.op.name() != "Cast"));
        let plan = lower_weights(&simplify(&floats), PortLayout::Native, Weights::Dequantized);
        // Those of the engine file's own plan, whose weights are those of float16.
        let expected = answers(&bundle, bundle.plan.clone(), false).concat();
        let found = answers(&bundle, plan.unwrap(), false).concat();
        let worst = expected.iter().zip(found).map(|(a, b)| (a - b).abs());
        assert!(worst.fold(0.0, f32::max) < most, "{section}");
    }
}

/// All levels, at scales of every size, whether a runtime divides by the scale or multiplies with
/// its reciprocal.
#[test]
fn every_level_times_its_scale_is_quantized_to_that_level() {
    for exponent in -60..=30 {
        for mantissa in 0..64_u16 {
            let scale = (1.0 + f32::from(mantissa) / 64.0 + 1e-7) * 2.0_f32.powi(exponent);
            for level in -127_i8..=127 {
                let float = f32::from(level) * scale;
                for quotient in [float / scale, float * (1.0 / scale)] {
                    assert_eq!(quotient.round_ties_even(), f32::from(level), "{scale}");
                }
            }
        }
    }
}

/// The outputs of `plan` for the validation frames of `bundle`.
fn answers(bundle: &Bundle, plan: Plan, channels_last: bool) -> Vec<Vec<f32>> {
    let validation = ValidationSet::of(bundle).unwrap();
    let frames: Vec<&[u8]> = validation.frames().iter().map(AsRef::as_ref).collect();
    assert_eq!(frames.concat().len(), frames.len() * 39_600);
    Network::of_plan(plan, channels_last)
        .answers(&frames)
        .unwrap()
}

/// A network whose output is always its mean must not pass the gate.
#[test]
fn the_gates_are_a_fraction_of_the_variance_of_the_answers() {
    let compiled = Project::new("pytorch", "int8").compile();
    // Those of fp32, frame after frame.
    let answers = &Bundle::read(&compiled.bytes).unwrap().sections["gate.answers"];
    let answers = answers.as_chunks::<4>().0.iter();
    let answers: Vec<f32> = answers.map(|&bytes| f32::from_le_bytes(bytes)).collect();
    for (output, limits) in compiled.manifest.gate[..2].iter().enumerate() {
        let frames = answers.chunks(2);
        let values: Vec<f64> = frames.map(|frame| frame[output].into()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        let variance = squares.sum::<f64>() / values.len() as f64;
        assert!(
            limits.most_mse < variance / 3.0,
            "{limits:?} for a variance of {variance}"
        );
    }
}

#[test]
fn every_precision_is_compiled_and_gated() {
    for name in ["pytorch", "keras"] {
        let mut sizes = Vec::new();
        for precision in ["fp32", "fp16", "int8", "int8-integer", "int8-dynamic"] {
            let compiled = Project::new(name, precision).compile();
            let manifest = &compiled.manifest;
            assert_eq!(manifest.precision, precision);
            assert!(!manifest.gate.is_empty() && manifest.gate.iter().all(GateResult::passes));
            let bundle = Bundle::read(&compiled.bytes).unwrap();
            let bytes = |plan: &Plan| -> usize {
                let bytes = |c: &pilotage_engine::plan::Constant| {
                    c.data.len() * c.data.element_type().size()
                };
                plan.constants.iter().map(bytes).sum()
            };
            sizes.push(bytes(&bundle.plan));
            let dynamic = steps(&bundle.plan, |o| {
                let finish = match o {
                    Operation::QuantizedConv2d { finish, .. }
                    | Operation::QuantizedFullyConnected { finish, .. } => Some(finish),
                    _ => None,
                };
                matches!(finish, Some(Epilogue::Dynamic { .. }))
            });
            // The input is already integers, so the first layer is not dynamic.
            assert_eq!(
                dynamic,
                if precision == "int8-dynamic" { 7 } else { 0 },
                "{precision}"
            );
            for port in &bundle.plan.outputs {
                let pilotage_engine::plan::Operand::Tensor(id) = port.operand else {
                    panic!("{port:?}");
                };
                let integer = bundle.plan.tensors[id.0].element_type == ElementType::I8;
                assert_eq!(integer, precision == "int8-integer", "{precision}");
            }
        }
        let [fp32, fp16, int8, ..] = sizes[..] else {
            panic!("{sizes:?}");
        };
        assert!(fp16 < fp32 * 6 / 10 && int8 < fp32 * 4 / 10, "{sizes:?}");
    }
}

#[test]
fn a_failed_gate_names_layers_and_mixed_precision_passes() {
    let mut project = Project::new("pytorch", "int8");
    let steering = "meaning = \"steering\"\n";
    let strict = format!("{steering}gate = {{ mse = 1e-9, worst = 0.0001 }}\n");
    project.tables = project.tables.replacen(steering, &strict, 1);
    let error = project.error();
    for part in [
        "TOO FAR",
        "as int8",
        "lose most (signal to noise): `",
        "on_gate_failure = \"mixed\"",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    project.head += "on_gate_failure = \"mixed\"\n";
    let compiled = project.compile();
    assert!(compiled.manifest.gate.iter().all(GateResult::passes));
    let raised = &compiled.manifest.raised;
    assert!(!raised.is_empty());
    // The gate is too strict for float16 as well.
    assert!(
        raised.iter().all(|layer| layer.ends_with(" (fp32)")),
        "{raised:?}"
    );
    let plan = Bundle::read(&compiled.bytes).unwrap().plan;
    assert_eq!(steps(&plan, float_layer), raised.len());
}

#[test]
fn single_layers_stay_in_floating_point() {
    let mut project = Project::new("pytorch", "int8");
    project.tables += "[layers]\n\"/conv/conv.3/Conv\" = \"fp32\"\n";
    let plan = Bundle::read(&project.compile().bytes).unwrap().plan;
    assert_eq!(steps(&plan, float_layer), 1);
    assert_eq!(steps(&plan, integer_layer), 7);
    project.tables = project.tables.replace("conv.3", "conv.4");
    let error = project.error();
    assert!(
        error.contains("no layer of this name: did you mean `/conv/conv."),
        "{error}"
    );
}

#[test]
fn unusable_frames_are_errors() {
    let project = Project::new("pytorch", "int8");
    let frames = project.folder.path().join("frames");
    // A few bad pictures are left out with a warning; these are too many.
    for number in 0..10 {
        fs::write(frames.join(format!("{number:03}.png")), b"no picture").unwrap();
    }
    let error = project.error();
    assert!(
        error.starts_with("frames: 10 of ") && error.contains("000.png"),
        "{error}"
    );
    fs::remove_dir_all(&frames).unwrap();
    assert!(project.error().starts_with("frames: "));
    fs::create_dir(&frames).unwrap();
    assert!(project.error().starts_with("frames: no pictures"));
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let project = Project::new("pytorch", "int8");
    assert!(project.compile().bytes == project.compile().bytes);
}

#[test]
fn a_model_that_answers_all_frames_alike_is_refused_in_every_precision() {
    for precision in ["fp32", "fp16", "int8", "int8-dynamic", "int8-integer"] {
        let mut project = Project::new("pytorch", precision);
        // All pictures become black.
        let black = "[input]\nscale = 1e-9\n";
        project.tables = project.tables.replacen("[input]\n", black, 1);
        let error = project.error();
        assert!(
            error.contains("the network answers all 45 frames with the same steering ("),
            "{precision}: {error}"
        );
    }
}

#[test]
fn elements_that_are_no_probabilities_are_refused() {
    let mut project = Project::new("pytorch", "int8");
    project.head += "throttle = { constant = 0.2 }\n";
    let (input, _) = project.tables.split_once("[[output]]").unwrap();
    let with = |decode: &str| {
        format!(
            "{input}[[output]]\nmeaning = \"steering\"\ngate = {{ mse = 0.1, worst = 1.0 }}\n\
             bins = {{ count = 2, first = 1.0, last = -1.0, decode = \"{decode}\" }}\n\
             [calibration]\nframes = \"frames\"\n"
        )
    };
    let [expectation, softmax] = ["expectation", "softmax"].map(with);
    project.tables = expectation;
    let error = project.error();
    assert!(
        error.contains("are not probabilities") && error.contains("use decode = \"softmax\""),
        "{error}"
    );
    project.tables = softmax;
    let manifest = project.compile().manifest;
    assert_eq!(manifest.outputs.len(), 1);
    assert!(manifest.gate.iter().all(GateResult::passes));
}
