//! Tests the network's size, its conversion to ONNX and back, and its checkpoints.

#![allow(clippy::unwrap_used, reason = "a failure is a panic")]

use pilotage_training::checkpoint::{Checkpoint, CheckpointError};
use pilotage_training::dataset::{Dataset, normalised, physical};
use pilotage_training::export::{ExportError, from_onnx, to_onnx};
use pilotage_training::network::{PARAMETERS, PICTURE, Statistics, TRAINED, Weights};

fn weights() -> Weights {
    let statistics = Statistics {
        mean: [0.25, 0.5, 0.75],
        variance: [0.01, 0.02, 0.03],
    };
    Weights::fresh(statistics, 11)
}

#[test]
fn the_network_is_pilotnet_of_deep_learning_studio() {
    assert_eq!(PARAMETERS, 1_595_534);
    assert_eq!(weights().values.len(), PARAMETERS - 12);
}

#[test]
fn weights_are_read_back_from_onnx() {
    let weights = weights();
    let onnx = to_onnx(&weights).unwrap();
    assert_eq!(from_onnx(&onnx).unwrap(), weights);
}

#[test]
fn a_different_network_is_rejected_by_name() {
    use pilotage_graph::{ElementType, GraphBuilder, Op, TensorType};
    let mut graph = GraphBuilder::new("other");
    let x = graph
        .input("x", TensorType::new(ElementType::F32, [1, 3]))
        .unwrap();
    let y = graph.node("relu", Op::Relu, &[x]).unwrap();
    graph.output("y", y).unwrap();
    let error = from_onnx(&graph.finish().unwrap().write()).unwrap_err();
    assert!(matches!(&error, ExportError::OtherNetwork(name) if name == "norm.mean"));
    assert!(from_onnx(b"no model").is_err());
}

#[test]
fn labels_follow_the_scale_of_the_studio() {
    let [a, b] = normalised(6.5 + 17.5 * 0.25, -7.1 + 14.2 * 0.75);
    assert!((a - 0.25).abs() < 1e-6 && (b - 0.75).abs() < 1e-6);
    let (v, w) = physical([1.0, 0.5]);
    assert!((v - 24.0).abs() < 1e-5 && w.abs() < 1e-5);
}

#[test]
fn statistics_are_those_of_the_pictures() {
    // Red alternates between 0 and 255, green is 51, blue repeats 0, 51, 102, 153.
    let pixels: Vec<u8> = (0..400u32)
        .flat_map(|i| [if i % 2 == 0 { 0 } else { 255 }, 51, (i % 4 * 51) as u8])
        .collect();
    let Statistics { mean, variance } = Statistics::measure(&pixels);
    let expected = [(0.5, 0.25), (0.2, 0.0), (0.3, 0.05)];
    for ((mean, variance), (m, v)) in mean.into_iter().zip(variance).zip(expected) {
        assert!((mean - m).abs() < 1e-6 && (variance - v).abs() < 1e-6);
    }
}

#[test]
fn checkpoints_restore_weights_and_frames() {
    let folder = tempfile::tempdir().unwrap();
    let mut data = Dataset::default();
    // One recorded frame, two gathered in the first round, one gathered in the second.
    for value in 0..4u8 {
        data.push(&vec![value; PICTURE], [f32::from(value), 0.5]);
        if value == 2 {
            let mut checkpoint = Checkpoint::open(folder.path(), false).unwrap();
            checkpoint.save(0, &weights(), &data, 1).unwrap();
        }
    }
    let mut checkpoint = Checkpoint::open(folder.path(), true).unwrap();
    checkpoint.save(1, &weights(), &data, 1).unwrap();

    let checkpoint = Checkpoint::open(folder.path(), true).unwrap();
    assert_eq!(checkpoint.rounds, 2);
    assert_eq!(checkpoint.weights.as_ref(), Some(&weights()));
    let mut restored = Dataset::default();
    checkpoint.restore(&mut restored).unwrap();
    let labels: Vec<f32> = (0..restored.len()).map(|i| restored.label(i)[0]).collect();
    assert_eq!(labels, [1.0, 2.0, 3.0]);
    assert_eq!(restored.picture(2), vec![3; PICTURE]);

    assert_eq!(Checkpoint::open(folder.path(), false).unwrap().rounds, 0);
}

#[test]
fn a_damaged_checkpoint_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    for bytes in [vec![], vec![0; 100], vec![0; 24 + 4 * (TRAINED + 6)]] {
        std::fs::write(&path, bytes).unwrap();
        let opened = Checkpoint::open(folder.path(), true);
        assert!(matches!(opened, Err(CheckpointError::Strange(_))));
    }
}
