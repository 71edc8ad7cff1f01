//! Recurrent layers, which are unrolled. ONNX's own cases (crates/compiler/tests/onnx_cases.rs)
//! check the numbers.

use super::*;
use crate::{Op, OpError};

/// A layer of 4 units over `length` steps of 3 numbers.
fn layer(operator: &str, length: i64, attributes: Vec<AttributeProto>) -> Onnx {
    let gates = match operator {
        "LSTM" => 4,
        "GRU" => 3,
        _ => 1,
    };
    onnx(17)
        .input("x", &[length, 1, 3])
        .input("h", &[1, 1, 4])
        .input("c", &[1, 1, 4])
        .weights("w", &[1, 4 * gates, 3])
        .weights("r", &[1, 4 * gates, 4])
        .weights("b", &[1, 8 * gates])
        .weights("zero", &[1, 1, 4])
        .node(
            operator,
            match operator {
                "LSTM" => &["x", "w", "r", "b", "", "h", "c"],
                _ => &["x", "w", "r", "b", "", "h"],
            },
            &["y", "y_h", "y_c"][..if operator == "LSTM" { 3 } else { 2 }],
            attributes,
        )
}

fn count(graph: &Graph, name: &str) -> usize {
    let names = graph.nodes.iter().map(|node| node.op.name());
    names.filter(|&of| of == name).count()
}

fn op_error(model: &Onnx) -> OpError {
    match model.read() {
        Err(GraphError::InNode { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_step_takes_and_returns_the_state() {
    let graph = layer("LSTM", 1, vec![int("hidden_size", 4)])
        .outputs(&["y_h", "y_c"])
        .read()
        .unwrap();
    let shapes = graph.outputs.iter().map(|&v| graph.value(v).shape.clone());
    assert_eq!(shapes.collect::<Vec<_>>(), [[1, 1, 4], [1, 1, 4]]);
    assert_eq!((count(&graph, "Gemm"), count(&graph, "Sigmoid")), (2, 1));
    assert_eq!(count(&graph, "Concat"), 0);
    let weights = graph.nodes.iter().filter_map(|node| match node.op {
        Op::Gemm(_) => Some(graph.value(node.inputs[1]).constant.is_some()),
        _ => None,
    });
    assert!(weights.into_iter().all(|constant| constant));
}

#[test]
fn all_steps_share_one_product_of_the_inputs() {
    for (operator, products) in [("LSTM", 1 + 5), ("GRU", 1 + 2 * 5), ("RNN", 1 + 5)] {
        let graph = layer(operator, 5, vec![]).outputs(&["y", "y_h"]).read();
        let graph = graph.unwrap();
        assert_eq!(count(&graph, "Gemm"), products, "{operator}");
        assert_eq!(graph.value(graph.outputs[0]).shape, [5, 1, 1, 4]);
        assert_eq!(graph.value(graph.outputs[1]).shape, [1, 1, 4]);
    }
}

#[test]
fn an_initial_state_of_zeros_needs_no_product() {
    let mut model = layer("LSTM", 1, vec![]).outputs(&["y"]);
    for state in &mut model.graph().node[0].input[5..] {
        *state = "zero".into();
    }
    assert_eq!(count(&model.read().unwrap(), "Gemm"), 1);
}

#[test]
fn activations_take_their_numbers_in_order() {
    let names = AttributeProto {
        strings: vec![b"HardSigmoid".to_vec(), b"LeakyRelu".to_vec()],
        ..attribute("activations", attribute_type::STRINGS)
    };
    let numbers = AttributeProto {
        floats: vec![0.5, 0.25],
        ..attribute("activation_alpha", attribute_type::FLOATS)
    };
    let graph = layer("GRU", 1, vec![names, numbers]).outputs(&["y"]).read();
    let graph = graph.unwrap();
    let ops: Vec<&Op> = graph.nodes.iter().map(|node| &node.op).collect();
    let (alpha, beta) = (0.5, 0.5);
    assert!(ops.contains(&&Op::HardSigmoid { alpha, beta }), "{ops:?}");
    assert!(ops.contains(&&Op::LeakyRelu { alpha: 0.25 }), "{ops:?}");
}

#[test]
fn what_is_not_supported_is_named() {
    let unknown = AttributeProto {
        strings: vec![b"Cube".to_vec()],
        ..attribute("activations", attribute_type::STRINGS)
    };
    let error = op_error(&layer("RNN", 2, vec![unknown]).outputs(&["y"]));
    assert!(error.to_string().contains("Cube"), "{error}");

    let mut short = layer("LSTM", 5, vec![]).initializer(integers("lengths", &[3]));
    short.graph().node[0].input[4] = "lengths".into();
    let error = op_error(&short.outputs(&["y"]));
    assert!(error.to_string().contains("sequence_lens"), "{error}");

    for attribute in [
        string("direction", "bidirectional"),
        int("hidden_size", 5),
        float("clip", -1.0),
        string("direction", "sideways"),
    ] {
        let model = layer("LSTM", 1, vec![attribute]).outputs(&["y"]);
        let error = op_error(&model);
        let expected = matches!(error, OpError::Shape { .. } | OpError::Attribute { .. });
        assert!(expected, "{error}");
    }
}

/// A file of some kilobytes would become millions of nodes.
#[test]
fn long_sequences_are_refused_before_they_are_unrolled() {
    let mut model = layer("LSTM", 1 << 20, vec![]).outputs(&["y_h"]);
    for i in 0..1000 {
        let last = format!("last{i}");
        let inputs = ["x", "w", "r", "b"];
        model = model.node("LSTM", &inputs, &["", &last], vec![]);
        model = model.outputs(&[&last]);
    }
    let error = model.read().unwrap_err();
    assert!(
        matches!(error, GraphError::UnrolledTooLarge { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("one step"), "{error}");
}
