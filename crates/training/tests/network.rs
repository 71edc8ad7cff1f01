//! Tests the simulator's network, its statistics and labels, and its checkpoints.

#![allow(clippy::unwrap_used, reason = "a failure is a panic")]

use std::fs;
use std::path::Path;

use pilotage_graph::{ElementType, Graph, GraphBuilder, Op, TensorType};
use pilotage_training::checkpoint::{Checkpoint, CheckpointError};
use pilotage_training::dataset::{Dataset, normalised, physical};
use pilotage_training::imitate::importance;
use pilotage_training::network::{HEIGHT, PICTURE, Statistics, WIDTH};
use pilotage_training::observation::{InputForm, plain, write_planes};
use pilotage_training::student::{Student, StudentError};

fn graph() -> Graph {
    let statistics = Statistics {
        mean: [0.25, 0.5, 0.75],
        variance: [0.01, 0.02, 0.03],
    };
    let student = Student::fresh(&statistics, &InputForm::default(), 11);
    student.unwrap().graph().unwrap()
}

#[test]
fn the_shipped_model_and_a_fresh_one_have_the_same_form() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engines/pilotnet.onnx");
    let shipped = Student::read(&shipped).unwrap().graph().unwrap();
    let form = |graph: &Graph| -> Vec<(String, Vec<usize>)> {
        let values = graph.values.iter();
        values
            .map(|value| (value.name.clone(), value.shape.clone()))
            .collect()
    };
    assert_eq!(form(&shipped), form(&graph()));
    assert_eq!(shipped.nodes, graph().nodes);
}

#[test]
fn a_different_network_is_rejected_with_its_ports() {
    let mut graph = GraphBuilder::new("other");
    let of = TensorType::new(ElementType::F32, [1, 3]);
    let x = graph.input("x", of).unwrap();
    let y = graph.node("relu", Op::Relu, &[x]).unwrap();
    graph.output("y", y).unwrap();
    let graph = graph.finish().unwrap();
    let error = Student::of_graph(Path::new("it.onnx"), &graph).unwrap_err();
    assert!(matches!(&error, StudentError::Other { .. }), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.onnx");
    fs::write(&path, "no model").unwrap();
    let error = Student::read(&path).unwrap_err();
    assert!(matches!(&error, StudentError::Read(_)), "{error}");
}

#[test]
fn a_picture_is_written_as_planes_and_mirrored() {
    let picture: Vec<u8> = (0..PICTURE).map(|at| (at * 7 % 251) as u8).collect();
    let written = |mirrored| {
        let mut out = vec![-1.0; PICTURE];
        write_planes(&picture, &plain(), mirrored, &mut out);
        out
    };
    let (as_it_is, mirrored) = (written(false), written(true));
    for colour in 0..3 {
        for (y, x) in [(0, 0), (0, 199), (37, 3), (65, 120)] {
            let expected = f32::from(picture[(y * WIDTH + x) * 3 + colour]) / 255.0;
            let row = (colour * HEIGHT + y) * WIDTH;
            assert!((as_it_is[row + x] - expected).abs() < 1e-6);
            assert!((mirrored[row + WIDTH - 1 - x] - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn the_yaw_rate_counts_by_the_square_of_the_speed() {
    for (speed, expected) in [(2.0, 1.0), (8.0, 4.0), (24.0, 16.0)] {
        let [of_speed, of_yaw_rate] = importance(normalised(speed, 0.3));
        assert!(of_speed == 1.0 && (of_yaw_rate - expected).abs() < 1e-4);
    }
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
fn checkpoints_restore_the_network_and_frames() {
    let folder = tempfile::tempdir().unwrap();
    let mut data = Dataset::default();
    // One recorded frame, two gathered in the first round, one gathered in the second.
    for value in 0..4u8 {
        data.push(&vec![value; PICTURE], [f32::from(value), 0.5]);
        if value == 2 {
            let mut checkpoint = Checkpoint::open(folder.path(), false).unwrap();
            checkpoint.save(0, &graph(), &data, 1).unwrap();
        }
    }
    let mut checkpoint = Checkpoint::open(folder.path(), true).unwrap();
    checkpoint.save(1, &graph(), &data, 1).unwrap();

    let checkpoint = Checkpoint::open(folder.path(), true).unwrap();
    assert_eq!(checkpoint.rounds, 2);
    let student = checkpoint.student.as_ref().unwrap();
    assert_eq!(student.graph().unwrap(), graph());
    let mut restored = Dataset::default();
    checkpoint.restore(&mut restored).unwrap();
    let labels: Vec<f32> = (0..restored.len()).map(|i| restored.label(i)[0]).collect();
    assert_eq!(labels, [1.0, 2.0, 3.0]);
    assert_eq!(restored.picture(2), vec![3; PICTURE]);

    assert_eq!(Checkpoint::open(folder.path(), false).unwrap().rounds, 0);
}

#[test]
fn a_checkpoint_that_is_damaged_or_of_an_earlier_version_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Checkpoint::open(folder.path(), true).unwrap_err();
    fs::write(folder.path().join("weights"), b"PLTGWT01 and more").unwrap();
    assert!(matches!(open(), CheckpointError::Earlier(_)));
    let path = folder.path().join("model.onnx");
    fs::write(&path, [0; 100]).unwrap();
    assert!(matches!(open(), CheckpointError::Model(_)));
    fs::write(&path, graph().write()).unwrap();
    assert!(matches!(open(), CheckpointError::NoEntry { .. }));
    assert!(Checkpoint::open(folder.path(), false).is_ok());
}
