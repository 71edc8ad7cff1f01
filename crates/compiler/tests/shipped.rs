//! The recipes of engines/, compiled and run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

use std::path::Path;

use pilotage_compiler::{Network, compile};
use pilotage_engine::plan::{Finish, Operation};
use pilotage_engine::{Bundle, ElementType, GateResult, Layout};
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
    assert_eq!(input.layout, Layout::Nhwc);
    assert_eq!(plan.tensors[0].element_type, ElementType::I8);
    let finishes: Vec<Finish> = plan
        .steps
        .iter()
        .filter_map(|step| match step.operation {
            Operation::QuantizedConv2d { finish, .. }
            | Operation::QuantizedFullyConnected { finish, .. } => Some(finish),
            _ => None,
        })
        .collect();
    let relu = Finish::Int8 { low: 0, high: 127 };
    assert_eq!(finishes.len(), 10);
    assert!(finishes[..9].iter().all(|finish| *finish == relu));
    assert!(matches!(finishes[9], Finish::Float { .. }));
    let reshapes = plan
        .steps
        .iter()
        .filter(|s| s.operation == Operation::Reshape);
    assert_eq!(reshapes.count(), plan.steps.len() - 10, "{:?}", plan.steps);

    // What travels with it proves it again, and so does the model for other runtimes.
    assert_eq!(bundle.manifest.gate.len(), 4);
    assert!(bundle.manifest.gate.iter().all(GateResult::passes));
    let frames: Vec<&[u8]> = bundle.sections["gate.frames"].chunks(39_600).collect();
    assert_eq!(frames.len(), 64);
    let wanted: Vec<f32> = bundle.sections["gate.answers"]
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
    for (found, wanted) in engine.iter().zip(wanted.chunks(2)) {
        for ((sum, &found), &wanted) in squares.iter_mut().zip(found).zip(wanted) {
            *sum += f64::from(found - wanted).powi(2);
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
}
