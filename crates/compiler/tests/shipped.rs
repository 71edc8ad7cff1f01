//! The recipes of engines/, compiled and run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

use pilotage_compiler::{compile, evaluate, run_plan};
use pilotage_engine::plan::Operation;
use pilotage_engine::{Bundle, CpuOptions, Layout};
use pilotage_graph::{Graph, ReadOptions, Tensor};

fn engines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engines")
}

#[test]
fn pilotnets_engine_takes_pixels_and_answers_as_its_model() {
    let bundle = Bundle::read(&compile(&engines().join("pilotnet.toml")).unwrap()).unwrap();
    let plan = &bundle.plan;
    let input = &plan.inputs[0];
    assert_eq!(input.layout, Layout::Nhwc);
    let layers = plan.steps.iter().filter(|step| {
        matches!(
            step.operation,
            Operation::Conv2d { .. } | Operation::FullyConnected { .. }
        )
    });
    assert_eq!(layers.count(), 10);
    let others = plan
        .steps
        .iter()
        .filter(|step| step.operation == Operation::Reshape);
    assert_eq!(others.count(), plan.steps.len() - 10, "{:?}", plan.steps);

    let model = fs::read(engines().join("pilotnet.onnx")).unwrap();
    let graph = Graph::read(&model, &ReadOptions::default()).unwrap();
    for seed in 0..3_u32 {
        let byte = |i: usize| (((i as u32 ^ (seed << 20)).wrapping_mul(2_654_435_761)) >> 24) as u8;
        let (mut planes, mut pixels) = (vec![0.0; 39_600], vec![0.0; 39_600]);
        for (i, pixel) in pixels.iter_mut().enumerate() {
            *pixel = f32::from(byte(i));
            let (channel, place) = (i % 3, i / 3);
            planes[channel * 13_200 + place] = *pixel / 255.0;
        }
        let planes = Tensor::new([1, 3, 66, 200], planes).unwrap();
        let pixels = Tensor::new([1, 66, 200, 3], pixels).unwrap();
        let expected = evaluate(&graph, &[planes]).unwrap();
        let found = run_plan(plan, CpuOptions::default(), &[pixels]).unwrap();
        let (expected, found) = (expected[0].as_f32().unwrap(), found[0].as_f32().unwrap());
        assert_eq!((expected.len(), found.len()), (2, 2));
        for (a, b) in expected.iter().zip(found) {
            assert!(
                (a - b).abs() < 1e-4 * a.abs().max(1.0),
                "{expected:?} {found:?}"
            );
        }
    }
}
