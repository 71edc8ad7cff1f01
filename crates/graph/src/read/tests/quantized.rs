//! Operators of quantized tensors, and float64 constants. ONNX's own cases check the numbers.

use super::*;
use crate::{Op, Tensor};

fn bytes(name: &str, data_type: i32, dims: &[i64], values: &[i32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type,
        int32_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn names(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|node| node.op.name()).collect()
}

/// A quantized input and the constants around it.
fn model() -> Onnx {
    onnx(13)
        .input("x", &[1, 2, 4, 4])
        .initializer(floats("scale", &[], &[0.5]))
        .initializer(bytes("zero", data_type::UINT8, &[], &[3]))
        .initializer(floats("scales", &[3], &[0.5, 0.25, 2.0]))
        .initializer(bytes("zeros", data_type::INT8, &[3], &[0; 3]))
        .initializer(bytes("w", data_type::INT8, &[3, 2, 1, 1], &[1; 6]))
        .initializer(bytes("b", data_type::INT32, &[3], &[1; 3]))
        .node("QuantizeLinear", &["x", "scale", "zero"], &["q"], vec![])
}

#[test]
fn a_quantized_convolution_is_one_between_dequantization_and_quantization() {
    let inputs = [
        "q", "scale", "zero", "w", "scales", "zeros", "scale", "zero", "b",
    ];
    let graph = model()
        .node("QLinearConv", &inputs, &["y"], vec![])
        .outputs(&["y"])
        .read()
        .unwrap();
    assert_eq!(
        names(&graph),
        [
            "QuantizeLinear",
            "DequantizeLinear",
            "DequantizeLinear",
            "DequantizeLinear",
            "Conv",
            "QuantizeLinear"
        ]
    );
    // The scale of the bias is the product of those of x and of the weights.
    let scale = graph.value(graph.nodes[3].inputs[1]).constant.clone();
    assert_eq!(scale, Some(Tensor::vector(vec![0.25f32, 0.125, 1.0])));
    assert_eq!(graph.nodes[2].op, Op::DequantizeLinear { axis: 0 });
}

#[test]
fn quantized_operators_of_onnx_runtime_are_read_in_its_domain_only() {
    let add = |domain: &str, operator: &str| {
        let inputs = ["q", "scale", "zero", "q", "scale", "zero", "scale", "zero"];
        let mut model = model().node(operator, &inputs, &["y"], vec![]);
        model.graph().node[1].domain = domain.into();
        model.outputs(&["y"]).read()
    };
    let graph = add("com.microsoft", "QLinearAdd").unwrap();
    assert!(names(&graph).contains(&"Add"));
    for (domain, operator) in [
        ("", "QLinearAdd"),
        ("com.microsoft", "QLinearConv"),
        ("com.microsoft", "Gelu"),
        ("com.other", "QLinearAdd"),
    ] {
        let error = add(domain, operator).unwrap_err();
        let refused = matches!(error, GraphError::UnsupportedOperator { .. });
        assert!(refused, "{error}");
    }
}

#[test]
fn missing_scales_and_scales_of_another_shape_are_refused() {
    for inputs in [
        &["q", "scale", "zero", "q", "scales", "zero", "scale", "zero"][..],
        &["q", "scale", "zero", "q"],
        &["q"],
        &[],
    ] {
        for operator in ["QLinearAdd", "QGemm", "QLinearConcat", "QLinearSigmoid"] {
            let attributes = match operator {
                "QLinearConcat" => vec![int("axis", 1)],
                _ => vec![],
            };
            let mut model = model().node(operator, inputs, &["y"], attributes);
            model.graph().node[1].domain = "com.microsoft".into();
            assert!(
                model.outputs(&["y"]).read().is_err(),
                "{operator} {inputs:?}"
            );
        }
        for operator in ["QLinearConv", "QLinearMatMul"] {
            let model = model().node(operator, inputs, &["y"], vec![]);
            assert!(
                model.outputs(&["y"]).read().is_err(),
                "{operator} {inputs:?}"
            );
        }
    }
}

#[test]
fn float64_constants_are_rounded_to_float32() {
    let double = |raw: Option<Vec<u8>>, double_data: Vec<f64>| TensorProto {
        name: "c".into(),
        dims: vec![1, 2],
        data_type: data_type::DOUBLE,
        raw_data: raw,
        double_data,
        ..TensorProto::default()
    };
    let read = |constant: TensorProto| {
        onnx(17)
            .input("x", &[1, 2])
            .initializer(constant)
            .node("Cast", &["x"], &["d"], vec![int("to", 11)])
            .node("Add", &["d", "c"], &["y"], vec![])
            .outputs(&["y"])
            .read()
    };
    let numbers = [0.1f64, -2.0];
    let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    for tensor in [
        double(None, numbers.to_vec()),
        double(Some(raw.clone()), vec![]),
    ] {
        let graph = read(tensor).unwrap();
        let constant = graph.values.iter().find_map(|v| v.constant.clone());
        let expected = Tensor::new([1, 2], vec![0.1f32, -2.0]).unwrap();
        assert_eq!(constant, Some(expected));
    }
    let wrong = [
        double(Some(raw[1..].to_vec()), vec![]),
        double(Some(raw.clone()), numbers.to_vec()),
        double(None, vec![0.0]),
        double(None, vec![]),
        double(None, vec![1e300, 0.0]),
    ];
    for tensor in wrong {
        assert!(read(tensor).is_err());
    }
    let mut input = relu_of("x");
    input.graph().input[0] = value_info("x", data_type::DOUBLE, &[1, 2]);
    assert!(matches!(
        input.read(),
        Err(GraphError::UnsupportedElementType { .. })
    ));
}

fn relu_of(input: &str) -> Onnx {
    onnx(17)
        .input(input, &[1, 2])
        .node("Relu", &[input], &["y"], vec![])
        .outputs(&["y"])
}
