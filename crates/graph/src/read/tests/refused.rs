//! Models that the reader rejects, and the errors.

use super::*;
use crate::onnx::StringStringEntryProto;
use crate::{OpError, Tensor};

fn relu() -> Onnx {
    onnx(17)
        .input("x", &[1, 2])
        .node("Relu", &["x"], &["y"], vec![])
        .outputs(&["y"])
}

fn message(model: Onnx) -> String {
    model.read().unwrap_err().to_string()
}

fn op_error(model: Onnx) -> OpError {
    match model.read() {
        Err(GraphError::InNode { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn other_files_are_not_onnx() {
    let read = |bytes: &[u8]| Graph::read(bytes, &ReadOptions::default());
    assert_eq!(read(b""), Err(GraphError::NoGraph));
    for bytes in [
        &b"PK\x03\x04 a zip file, as PyTorch's .pt are"[..],
        &[0xff; 40],
        b"<html>",
    ] {
        assert!(
            matches!(read(bytes), Err(GraphError::NotOnnx { .. })),
            "{bytes:?}"
        );
    }
    let whole = relu().bytes();
    let cut = read(&whole[..whole.len() - 3]).unwrap_err();
    assert!(cut.to_string().contains("truncated"), "{cut}");
}

#[test]
fn opsets_outside_the_range() {
    for opset in [-1, 0, 8, 29, i64::MAX] {
        let mut model = relu();
        model.0.opset_import[0].version = opset;
        assert_eq!(
            model.read(),
            Err(GraphError::UnsupportedOpset { found: opset })
        );
    }
    for opset in [9, 28] {
        let mut model = relu();
        model.0.opset_import[0].version = opset;
        assert!(model.read().is_ok());
        model.0.opset_import[0].domain = "ai.onnx".into();
        assert!(model.read().is_ok());
    }
    let mut model = relu();
    model.0.opset_import.clear();
    assert_eq!(model.read(), Err(GraphError::MissingOpset));
}

#[test]
fn every_unsupported_node_is_named_with_advice() {
    let top = onnx(17)
        .input("x", &[1, 2])
        .node("TopK", &["x"], &["y"], vec![])
        .outputs(&["y"]);
    let text = message(top);
    for part in [
        "TopK_0",
        "operator TopK",
        "ai.onnx",
        "opset 17",
        "steps after",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let several = onnx(17)
        .input("x", &[1, 2])
        .node("TopK", &["x"], &["a"], vec![])
        // Supported, but its input has no known type.
        .node("Relu", &["a"], &["b"], vec![])
        .node("DeformConv", &["b"], &["c"], vec![])
        .node("TopK", &["c"], &["d"], vec![])
        .node("Clip", &["x", "x"], &["e"], vec![])
        .node("Add", &["d", "e"], &["y"], vec![])
        .outputs(&["y"]);
    let Err(GraphError::Several { problems }) = several.read() else {
        panic!("{:?}", several.read());
    };
    let nodes: Vec<Vec<String>> = (problems.iter())
        .map(|problem| match problem {
            GraphError::UnsupportedOperator { nodes, .. } => nodes.clone(),
            GraphError::InNode { node, .. } => vec![node.clone()],
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(
        nodes,
        [
            vec!["TopK_0", "TopK_3"],
            vec!["DeformConv_2"],
            vec!["Clip_4"]
        ]
    );
    let text = message(several);
    assert!(!text.contains('\n') && text.contains("(3)"), "{text}");
}

#[test]
fn operators_of_other_domains_and_opsets_are_named() {
    let mut foreign = relu();
    foreign.graph().node[0].domain = "com.microsoft".into();
    let text = message(foreign);
    assert!(text.contains("com.microsoft"), "{text}");
    // QuantizeLinear was added in opset 10.
    let early = onnx(9)
        .input("x", &[1, 2])
        .initializer(floats("s", &[], &[1.0]))
        .node("QuantizeLinear", &["x", "s"], &["y"], vec![])
        .outputs(&["y"]);
    assert!(matches!(
        early.read(),
        Err(GraphError::UnsupportedOperator { opset: 9, .. })
    ));
}

#[test]
fn every_supported_operator_is_known_to_the_reader() {
    for operator in crate::SUPPORTED_OPERATORS {
        let unknown = |opset: i64| {
            let model = onnx(opset).input("x", &[1, 2]);
            let model = model.node(operator, &["x"], &["y"], vec![]).outputs(&["y"]);
            matches!(model.read(), Err(GraphError::UnsupportedOperator { .. }))
        };
        assert!(!crate::OPSETS.clone().all(unknown), "{operator}");
    }
}

#[test]
fn convolution_and_pooling_have_one_to_three_dimensions() {
    for (dims, axes) in [(vec![1, 2], 0), (vec![1, 2, 9, 9, 9, 9], 4)] {
        let kernel = vec![3; axes];
        for op in ["Conv", "MaxPool", "AveragePool", "ConvTranspose"] {
            let shape = [&[4, 2], &kernel[..]].concat();
            let model = onnx(17).input("x", &dims);
            let model = match op {
                "Conv" | "ConvTranspose" => {
                    model
                        .weights("w", &shape)
                        .node(op, &["x", "w"], &["y"], vec![])
                }
                _ => model.node(op, &["x"], &["y"], vec![ints("kernel_shape", &kernel)]),
            };
            let text = message(model.outputs(&["y"]));
            assert!(
                text.contains(&format!("{axes}-D")) && text.contains(op),
                "{text}"
            );
        }
    }
}

#[test]
fn wrong_shapes_name_the_node_and_the_shapes() {
    let conv = |x: &[i64], w: &[i64], attributes| {
        onnx(17)
            .input("x", x)
            .weights("w", w)
            .node("Conv", &["x", "w"], &["y"], attributes)
            .outputs(&["y"])
    };
    let text = message(conv(&[1, 3, 8, 8], &[4, 2, 3, 3], vec![]));
    assert!(
        text.contains("Conv_0") && text.contains("[4, 2, 3, 3]"),
        "{text}"
    );
    let large = conv(&[1, 3, 8, 8], &[4, 3, 9, 3], vec![]);
    assert!(matches!(
        op_error(large),
        OpError::WindowTooLarge {
            axis: 2,
            kernel: 9,
            size: 8
        }
    ));
    let groups = conv(&[1, 4, 8, 8], &[3, 2, 3, 3], vec![int("group", 2)]);
    assert!(matches!(
        op_error(groups),
        OpError::Shape { input: "W", .. }
    ));
    for bad in [
        ints("strides", &[0, 1]),
        ints("pads", &[-1, 0, 0, 0]),
        ints("dilations", &[1, i64::MAX]),
        int("group", 0),
    ] {
        let name = bad.name.clone();
        let text = message(conv(&[1, 3, 8, 8], &[4, 3, 3, 3], vec![bad]));
        assert!(text.contains(&name) || text.contains("groups"), "{text}");
    }
    let add = onnx(17)
        .input("a", &[1, 3])
        .input("b", &[1, 4])
        .node("Add", &["a", "b"], &["y"], vec![])
        .outputs(&["y"]);
    let text = message(add);
    assert!(text.contains("[1, 3]") && text.contains("[1, 4]"), "{text}");
    let matmul = onnx(17)
        .input("a", &[1, 3])
        .weights("b", &[4, 1])
        .node("MatMul", &["a", "b"], &["y"], vec![])
        .outputs(&["y"]);
    assert!(matches!(op_error(matmul), OpError::Incompatible { .. }));
}

#[test]
fn a_declared_output_must_match() {
    let mut model = relu();
    model.graph().output[0] = value_info("y", data_type::FLOAT, &[1, 2]);
    assert!(model.read().is_ok());
    for wrong in [
        value_info("y", data_type::FLOAT, &[1, 3]),
        value_info("y", data_type::FLOAT, &[2]),
        value_info("y", data_type::INT64, &[1, 2]),
    ] {
        model.graph().output[0] = wrong;
        assert!(matches!(model.read(), Err(GraphError::WrongOutput { .. })));
    }
}

/// Attention's masks are the exception: exporters write them with -infinity, or compute them.
#[test]
fn masks_become_finite() {
    let model = onnx(17)
        .input("x", &[1, 2])
        .initializer(floats("mask", &[2], &[0.0, f32::NEG_INFINITY]))
        .initializer(floats("hidden", &[], &[f32::NEG_INFINITY]))
        .initializer(integers("i", &[1, 2]))
        .initializer(integers("one", &[1]))
        .initializer(floats("zero", &[], &[0.0]))
        .node("Equal", &["i", "one"], &["seen"], vec![])
        .node("Where", &["seen", "zero", "hidden"], &["computed"], vec![])
        .node("Add", &["x", "mask"], &["a"], vec![])
        .node("Add", &["a", "computed"], &["y"], vec![])
        .outputs(&["y"]);
    let graph = model.read().unwrap();
    let masks = graph.values.iter().filter_map(|v| v.constant.as_ref());
    let masks: Vec<&Tensor> = masks.filter(|tensor| tensor.len() == 2).collect();
    assert_eq!(masks.len(), 2);
    for mask in masks {
        assert_eq!(mask, &Tensor::vector(vec![0.0, f32::MIN]));
    }
    let again = Graph::read(&graph.write(), &ReadOptions::default());
    assert_eq!(again, Ok(graph));
}

#[test]
fn weights_must_be_finite() {
    for (values, index) in [([1.0, f32::NAN], 1), ([f32::INFINITY, 1.0], 0)] {
        let model = onnx(17)
            .input("x", &[1, 2])
            .initializer(floats("w", &[2], &values))
            .node("Mul", &["x", "w"], &["y"], vec![])
            .outputs(&["y"]);
        match model.read() {
            Err(GraphError::NotFinite {
                name, index: at, ..
            }) => {
                assert_eq!((name.as_str(), at), ("w", index));
            }
            other => panic!("{other:?}"),
        }
    }
    let slope = onnx(17)
        .input("x", &[1, 2])
        .node("LeakyRelu", &["x"], &["y"], vec![float("alpha", f32::NAN)])
        .outputs(&["y"]);
    assert!(matches!(
        op_error(slope),
        OpError::Attribute {
            attribute: "alpha",
            ..
        }
    ));
}

#[test]
fn tensor_data_must_match_the_shape() {
    let sizes: [&[i64]; 6] = [
        &[3],
        &[],
        &[-2],
        &[0],
        &[2, i64::MAX],
        &[i64::MAX, i64::MAX, 0],
    ];
    for dims in sizes {
        let model = onnx(17).initializer(floats("w", dims, &[1.0, 2.0]));
        let result = model.outputs(&["w"]).read();
        assert!(
            matches!(result, Err(GraphError::WrongTensorSize { .. })),
            "{result:?}"
        );
    }
    let raw = TensorProto {
        raw_data: Some(vec![0; 7]),
        ..floats("w", &[1], &[])
    };
    let result = onnx(17).initializer(raw).outputs(&["w"]).read();
    assert!(matches!(result, Err(GraphError::WrongTensorSize { .. })));
}

#[test]
fn other_element_types_are_named() {
    for (data_type, name) in [(16, "bfloat16"), (8, "string"), (99, "99")] {
        let tensor = TensorProto {
            data_type,
            ..floats("w", &[1], &[])
        };
        let text = message(onnx(17).initializer(tensor).outputs(&["w"]));
        assert!(text.contains("`w`") && text.contains(name), "{text}");
        let mut model = relu();
        model.graph().input[0] = value_info("x", data_type, &[1, 2]);
        assert!(message(model).contains(name));
    }
}

#[test]
fn external_data_is_refused_with_advice() {
    let tensor = TensorProto {
        data_location: 1,
        external_data: vec![StringStringEntryProto {
            key: "location".into(),
            value: "../../etc/passwd".into(),
        }],
        ..floats("w", &[2], &[])
    };
    for model in [
        onnx(17).initializer(tensor.clone()).outputs(&["w"]),
        // A tensor that no node needs.
        relu().initializer(tensor),
    ] {
        let text = message(model);
        assert!(text.contains("`w`") && text.contains("one file"), "{text}");
    }
}

#[test]
fn names_must_be_unique_and_known() {
    let duplicate = |name: &str| Err(GraphError::DuplicateName { name: name.into() });
    let base = || onnx(17).input("x", &[1, 2]);
    let relu = |m: Onnx, from: &str, to: &str| m.node("Relu", &[from], &[to], vec![]);
    let twice = relu(relu(base(), "x", "y"), "x", "y").outputs(&["y"]);
    assert_eq!(twice.read(), duplicate("y"));
    let input_again = relu(base(), "x", "x").outputs(&["x"]);
    assert_eq!(input_again.read(), duplicate("x"));
    let inputs = relu(base().input("x", &[1, 2]), "x", "y").outputs(&["y"]);
    assert_eq!(inputs.read(), duplicate("x"));
    let weights = base().weights("w", &[1]).weights("w", &[1]).outputs(&["w"]);
    assert_eq!(weights.read(), duplicate("w"));
    let outputs = relu(base(), "x", "y").outputs(&["y", "y"]);
    assert_eq!(outputs.read(), duplicate("y"));

    let unknown = relu(base(), "z", "y").outputs(&["y"]);
    assert!(matches!(unknown.read(), Err(GraphError::UnknownValue { name, .. }) if name == "z"));
    let unknown = relu(base(), "x", "y").outputs(&["q"]);
    assert!(matches!(unknown.read(), Err(GraphError::UnknownValue { name, .. }) if name == "q"));
    assert_eq!(relu(base(), "x", "y").read(), Err(GraphError::NoOutputs));
}

#[test]
fn cycles_are_refused() {
    let model = onnx(17)
        .input("x", &[1, 2])
        .node("Add", &["x", "b"], &["a"], vec![])
        .node("Relu", &["a"], &["b"], vec![])
        .outputs(&["b"]);
    assert_eq!(
        model.read(),
        Err(GraphError::Cycle {
            node: "Add_0".into()
        })
    );
    let own = onnx(17)
        .node("Relu", &["y"], &["y"], vec![])
        .outputs(&["y"]);
    assert!(matches!(own.read(), Err(GraphError::Cycle { .. })));
}

#[test]
fn attributes_are_known_and_given_once() {
    let leaky = |attributes| {
        let model = onnx(17).input("x", &[1, 2]);
        op_error(
            model
                .node("LeakyRelu", &["x"], &["y"], attributes)
                .outputs(&["y"]),
        )
    };
    let unknown = leaky(vec![int("slope", 1)]);
    assert_eq!(
        unknown,
        OpError::UnknownAttribute {
            attribute: "slope".into()
        }
    );
    let twice = leaky(vec![float("alpha", 1.0), float("alpha", 2.0)]);
    assert_eq!(
        twice,
        OpError::RepeatedAttribute {
            attribute: "alpha".into()
        }
    );
    let wrong_type = leaky(vec![int("alpha", 1)]);
    assert!(matches!(
        wrong_type,
        OpError::Attribute {
            attribute: "alpha",
            ..
        }
    ));
    let subgraph = AttributeProto {
        g: Some(Box::default()),
        ..attribute("body", 5)
    };
    assert!(matches!(leaky(vec![subgraph]), OpError::Unsupported { .. }));
}

#[test]
fn training_and_second_outputs_are_refused() {
    let normalize = |attributes, outputs: &[&str]| {
        let mut model = onnx(14).input("x", &[1, 2]);
        for name in ["s", "b", "m", "v"] {
            model = model.weights(name, &[2]);
        }
        let inputs = ["x", "s", "b", "m", "v"];
        let model = model.node("BatchNormalization", &inputs, outputs, attributes);
        model.outputs(&["y"])
    };
    assert!(
        normalize(vec![float("momentum", 0.9)], &["y"])
            .read()
            .is_ok()
    );
    for model in [
        normalize(vec![int("training_mode", 1)], &["y"]),
        normalize(vec![], &["y", "mean", "variance"]),
    ] {
        assert!(matches!(op_error(model), OpError::Unsupported { .. }));
    }
    let indices = onnx(17)
        .input("x", &[1, 1, 2, 2])
        .node(
            "MaxPool",
            &["x"],
            &["y", "i"],
            vec![ints("kernel_shape", &[2, 2])],
        )
        .outputs(&["y"]);
    assert!(matches!(op_error(indices), OpError::Unsupported { .. }));
}
