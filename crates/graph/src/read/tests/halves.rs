//! float16 models in the forms of PyTorch's `.half()` and onnxconverter-common, built by hand.

use half::f16;

use super::*;
use crate::{ElementType, Op, Tensor, TensorData};

fn halves(name: &str, values: &[f32]) -> TensorProto {
    let bits = values.iter().map(|&v| f16::from_f32(v).to_bits());
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: data_type::FLOAT16,
        raw_data: Some(bits.flat_map(u16::to_le_bytes).collect()),
        ..TensorProto::default()
    }
}

fn constant(tensor: TensorProto) -> Result<Tensor, GraphError> {
    let name = tensor.name.clone();
    let graph = onnx(17).initializer(tensor).outputs(&[&name]).read()?;
    Ok(graph.value(graph.outputs[0]).constant.clone().unwrap())
}

#[test]
fn elements_come_from_raw_data_or_from_the_bits_in_int32_data() {
    // onnx.proto: "float16 values must be converted bit-wise into an unsigned
    // integer representation" of int32_data.
    let values = [1.0, -2.5, 65504.0, 5.960_464_5e-8];
    let typed = TensorProto {
        raw_data: None,
        int32_data: vec![0x3c00, 0xc100, 0x7bff, 0x0001],
        ..halves("w", &values)
    };
    for tensor in [halves("w", &values), typed] {
        let found = constant(tensor).unwrap();
        let wide: Vec<f32> = found.as_f16().unwrap().iter().map(|v| v.to_f32()).collect();
        assert_eq!(wide, values);
    }
    let wrong = |int32_data, raw_data| {
        constant(TensorProto {
            raw_data,
            int32_data,
            ..halves("w", &[1.0])
        })
    };
    for bits in [-1, 0x1_0000] {
        let result = wrong(vec![bits], None);
        assert!(
            matches!(result, Err(GraphError::OutOfRange { .. })),
            "{result:?}"
        );
    }
    let result = wrong(vec![], Some(vec![0; 3]));
    assert!(
        matches!(result, Err(GraphError::WrongTensorSize { .. })),
        "{result:?}"
    );
}

#[test]
fn weights_must_be_finite() {
    let result = constant(halves("w", &[1.0, f32::INFINITY]));
    assert!(
        matches!(result, Err(GraphError::NotFinite { index: 1, .. })),
        "{result:?}"
    );
    assert!(constant(halves("w", &[f32::NAN])).is_err());
    // A single infinity may be a limit of Clip.
    assert!(constant(halves("w", &[f32::INFINITY])).is_ok());
}

#[test]
fn a_float16_network_has_float16_types_throughout() {
    let graph = onnx(19)
        .input("x", &[1, 3])
        .initializer(halves("least", &[0.0]))
        .initializer(halves("scale", &[0.5]))
        .node("Cast", &["x"], &["half"], vec![int("to", 10)])
        .node("Clip", &["half", "least"], &["c"], vec![])
        .node("QuantizeLinear", &["c", "scale"], &["q"], vec![])
        .node("DequantizeLinear", &["q", "scale"], &["y"], vec![])
        .outputs(&["y"])
        .read()
        .unwrap();
    let types: Vec<ElementType> = (graph.nodes.iter())
        .map(|n| graph.value(n.outputs[0]).element_type)
        .collect();
    use ElementType::{F16, U8};
    assert_eq!(types, [F16, F16, U8, F16]);
    // Quantization of float16 was added in opset 19 (onnx/docs/Changelog.md).
    let model = ModelProto::decode(&*graph.write()).unwrap();
    assert_eq!(model.opset_import[0].version, 19);
    assert_eq!(model.ir_version, 9);
}

#[test]
fn float_types_do_not_mix_without_a_cast() {
    let model = onnx(17)
        .input("x", &[1, 2])
        .initializer(halves("w", &[1.0, 2.0]));
    for operator in ["Add", "Mul"] {
        let text = (model.clone())
            .node(operator, &["x", "w"], &["y"], vec![])
            .outputs(&["y"])
            .read()
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("float32") && text.contains("float16"),
            "{text}"
        );
    }
}

/// Before opset 11, the limits of Clip are float32 attributes for every input type.
#[test]
fn limits_from_attributes_are_those_that_float16_can_hold() {
    let mut model = onnx(9);
    let info = value_info("x", data_type::FLOAT16, &[1, 2]);
    model.graph().input.push(info);
    let limits = vec![float("min", 0.1), float("max", 1e6)];
    let graph = (model.node("Clip", &["x"], &["y"], limits))
        .outputs(&["y"])
        .read()
        .unwrap();
    let min = f16::from_f32(0.1).to_f32();
    let max = f32::INFINITY;
    assert_eq!(graph.nodes[0].op, Op::Clip { min, max });
    let again = Graph::read(&graph.write(), &ReadOptions::default());
    assert_eq!(again.as_ref(), Ok(&graph));
}

#[test]
fn casts_of_constants_round_to_nearest() {
    // numpy.float16 of each value. Halfway cases round to even.
    for (value, bits) in [
        (1.0, 0x3c00),
        (1.000_488_3, 0x3c00),
        (1.000_488_5, 0x3c01),
        (1.001_464_8, 0x3c02),
        (65_519.0, 0x7bff),
        (65_520.0, 0x7c00),
        (3e-8, 0x0001),
        (2.9e-8, 0x0000),
        (-0.1, 0xae66),
    ] {
        let to = vec![int("to", 10)];
        let graph = onnx(17)
            .initializer(floats("w", &[1], &[value]))
            .node("Cast", &["w"], &["y"], to)
            .outputs(&["y"])
            .read()
            .unwrap();
        let tensor = graph.value(graph.outputs[0]).constant.as_ref();
        let expected = TensorData::F16(vec![f16::from_bits(bits)]);
        assert_eq!(tensor.map(Tensor::data), Some(&expected), "{value}");
    }
}
