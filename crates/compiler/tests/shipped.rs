//! Compiles and runs the recipes in engines/.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test prints what it measured"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

mod onnxruntime;

use std::path::Path;

use pilotage_compiler::{Frames, Network, Recipe, compile};
use pilotage_engine::plan::{Epilogue, Operation};
use pilotage_engine::{AxisOrder, Bundle, ElementType, GateResult, ValidationSet};
use pilotage_graph::{Graph, ReadOptions};

#[test]
fn pilotnets_engine_is_integers_and_answers_as_its_model() {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engines/pilotnet.toml");
    let compiled = compile(&recipe).unwrap();
    assert!(compiled.warnings.is_empty(), "{:?}", compiled.warnings);
    let bundle = Bundle::read(&compiled.bytes).unwrap();
    assert_eq!(bundle.manifest, compiled.manifest);
    let plan = &bundle.plan;
    let input = &plan.inputs[0];
    assert_eq!(input.layout, AxisOrder::Nhwc);
    assert_eq!(plan.tensors[0].element_type, ElementType::I8);
    let finishes: Vec<Epilogue> = plan
        .steps
        .iter()
        .filter_map(|step| match step.operation {
            Operation::QuantizedConv2d { finish, .. }
            | Operation::QuantizedFullyConnected { finish, .. } => Some(finish),
            _ => None,
        })
        .collect();
    let relu = Epilogue::Int8 { low: 0, high: 127 };
    assert_eq!(finishes.len(), 10);
    assert!(finishes[..9].iter().all(|finish| *finish == relu));
    assert!(matches!(finishes[9], Epilogue::Float { .. }));
    let reshapes = plan
        .steps
        .iter()
        .filter(|s| s.operation == Operation::Reshape);
    assert_eq!(reshapes.count(), plan.steps.len() - 10, "{:?}", plan.steps);

    // Recompute the engine's outputs, and those of the model for other runtimes, from the
    // validation frames in the engine file.
    assert_eq!(bundle.manifest.gate.len(), 4);
    assert!(bundle.manifest.gate.iter().all(GateResult::passes));
    let validation = ValidationSet::of(&bundle).unwrap();
    let frames: Vec<&[u8]> = validation.frames().iter().map(AsRef::as_ref).collect();
    assert_eq!(frames.len(), 64);
    let expected: Vec<f32> = bundle.sections["gate.answers"]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&word| f32::from_le_bytes(word))
        .collect();
    let model = &bundle.sections["model.qdq.onnx"];
    let graph = Graph::read(model, &ReadOptions::default()).unwrap();
    let engine = Network::of_plan(plan.clone(), false)
        .answers(&frames)
        .unwrap();
    let again = Network::new(&graph, false)
        .unwrap()
        .answers(&frames)
        .unwrap();
    assert_eq!(engine, again);
    let mut squares = [0.0_f64; 2];
    for (found, expected) in engine.iter().zip(expected.chunks(2)) {
        for ((sum, &found), &expected) in squares.iter_mut().zip(found).zip(expected) {
            *sum += f64::from(found - expected).powi(2);
        }
    }
    for ((sum, output), result) in squares
        .iter()
        .zip(&bundle.manifest.outputs)
        .zip(&bundle.manifest.gate)
    {
        let mse = sum / 64.0 * f64::from(output.scale).powi(2);
        assert!((mse / result.mse - 1.0).abs() < 1e-3, "{mse} {result:?}");
    }

    // Compare with ONNX Runtime on all frames. It computes this model in floats between the
    // roundings, so some values are rounded in the other direction. In the last hidden layer, one
    // quantization step changes the output by more than one of its steps.
    let (content, _) = Recipe::read(&recipe).unwrap();
    let frames = Frames::read(&recipe.with_file_name("frames"), &content.input).unwrap();
    let frames: Vec<&[u8]> = frames.pixels.iter().map(AsRef::as_ref).collect();
    assert!(frames.len() >= 500);
    let engine = Network::of_plan(plan.clone(), false).answers(&frames);
    let engine = engine.unwrap();
    let others = onnxruntime::answers(model, &frames);
    for output in 0..2 {
        let answers = engine.iter().map(|answer| answer[output].abs());
        let step = answers.fold(0.0, f32::max) / 127.0;
        let pairs = engine.iter().zip(others.chunks(2));
        let apart = pairs.map(|(ours, others)| (ours[output] - others[output]).abs() / step);
        let apart: Vec<f32> = apart.collect();
        let within = apart.iter().filter(|&&steps| steps <= 1.0).count();
        let worst = apart.iter().copied().fold(0.0, f32::max);
        println!(
            "output {output}: {within} of {} within a step, {worst} at most",
            apart.len()
        );
        assert!(
            within * 100 >= apart.len() * 98,
            "{within} of {}",
            apart.len()
        );
        assert!(worst <= 4.0, "output {output}: {worst} steps apart");
    }
}
