//! Tests how each operator is read, and that older and newer opsets agree.

use super::*;
use crate::{Op, Pad, PadMode, SliceAxis};

/// The only node of a graph, and the shapes of its outputs.
fn read_one(model: Onnx) -> (Op, Vec<Vec<usize>>) {
    let graph = model.read().unwrap();
    assert_eq!(graph.nodes.len(), 1, "{:?}", graph.nodes);
    let node = &graph.nodes[0];
    let shapes = (node.outputs.iter())
        .map(|&v| graph.value(v).shape.clone())
        .collect();
    (node.op.clone(), shapes)
}

/// Reads one node on `x` with attributes and constant integer inputs.
fn with_integers(
    opset: i64,
    dims: &[i64],
    op: &str,
    attributes: Vec<AttributeProto>,
    constants: &[Option<&[i64]>],
) -> (Op, Vec<Vec<usize>>) {
    read_one(model_with_integers(opset, dims, op, attributes, constants))
}

fn model_with_integers(
    opset: i64,
    dims: &[i64],
    op: &str,
    attributes: Vec<AttributeProto>,
    constants: &[Option<&[i64]>],
) -> Onnx {
    let names: Vec<String> = (0..constants.len()).map(|i| format!("c{i}")).collect();
    let mut model = onnx(opset).input("x", dims);
    let mut inputs = vec!["x"];
    for (values, name) in constants.iter().zip(&names) {
        if let Some(values) = values {
            model = model.initializer(integers(name, values));
        }
        inputs.push(values.map_or("", |_| name));
    }
    model.node(op, &inputs, &["y"], attributes).outputs(&["y"])
}

#[test]
fn clip_takes_limits_as_attributes_or_inputs() {
    let old = onnx(9)
        .input("x", &[1, 3])
        .node(
            "Clip",
            &["x"],
            &["y"],
            vec![float("min", 0.0), float("max", 6.0)],
        )
        .outputs(&["y"]);
    let new = onnx(13)
        .input("x", &[1, 3])
        .initializer(floats("lo", &[], &[0.0]))
        .node("Constant", &[], &["hi"], vec![float("value_float", 6.0)])
        .node("Clip", &["x", "lo", "hi"], &["y"], vec![])
        .outputs(&["y"]);
    let clip = Op::Clip { min: 0.0, max: 6.0 };
    assert_eq!(read_one(old), (clip.clone(), vec![vec![1, 3]]));
    assert_eq!(read_one(new), (clip, vec![vec![1, 3]]));
    let open = onnx(13)
        .input("x", &[1, 3])
        .initializer(floats("hi", &[], &[6.0]))
        .node("Clip", &["x", "", "hi"], &["y"], vec![])
        .outputs(&["y"]);
    let (op, _) = read_one(open);
    assert_eq!(
        op,
        Op::Clip {
            min: f32::NEG_INFINITY,
            max: 6.0
        }
    );
}

#[test]
fn axes_are_attributes_or_inputs() {
    let dims = &[1, 3, 1, 4];
    for (op, since, shape) in [
        ("Squeeze", 13, vec![1, 3, 4]),
        ("Unsqueeze", 13, vec![1, 3, 1, 1, 4]),
        ("ReduceMean", 18, vec![1, 3, 1, 4]),
    ] {
        let old = with_integers(since - 1, dims, op, vec![ints("axes", &[-2])], &[]);
        let new = with_integers(since, dims, op, vec![], &[Some(&[-2])]);
        assert_eq!(old, new, "{op}");
        assert_eq!(new.1, [shape], "{op}");
    }
    let all = with_integers(13, dims, "Squeeze", vec![], &[]);
    assert_eq!(all, (Op::Squeeze { axes: vec![0, 2] }, vec![vec![3, 4]]));
    let all = with_integers(18, dims, "ReduceMean", vec![int("keepdims", 0)], &[]);
    assert_eq!(all.1, [vec![]]);
    let none = vec![int("noop_with_empty_axes", 1)];
    assert_eq!(
        with_integers(18, dims, "ReduceMean", none, &[]).0,
        Op::Identity
    );
}

#[test]
fn softmax_covers_more_axes_before_opset_13() {
    let softmax =
        |opset, attributes| with_integers(opset, &[1, 2, 3, 4], "Softmax", attributes, &[]).0;
    let op = |axis, end_axis| Op::Softmax { axis, end_axis };
    assert_eq!(softmax(11, vec![]), op(1, 4));
    assert_eq!(softmax(13, vec![]), op(3, 4));
    assert_eq!(softmax(12, vec![int("axis", 2)]), op(2, 4));
    assert_eq!(softmax(12, vec![int("axis", -1)]), op(3, 4));
    assert_eq!(softmax(13, vec![int("axis", 1)]), op(1, 2));
    // Trailing axes of size 1 make no difference.
    let ones = with_integers(11, &[1, 5, 1, 1], "Softmax", vec![], &[]);
    assert_eq!(ones.0, op(1, 2));
}

#[test]
fn split_sizes_are_attribute_input_or_count() {
    let split = |opset, attributes, sizes: Option<&[i64]>, outputs: &[&str]| {
        let mut model = onnx(opset).input("x", &[1, 7]);
        let mut inputs = vec!["x"];
        if let Some(sizes) = sizes {
            model = model.initializer(integers("s", sizes));
            inputs.push("s");
        }
        let model = model.node("Split", &inputs, outputs, attributes);
        read_one(model.outputs(outputs)).1
    };
    let axis = || int("axis", 1);
    let uneven = [vec![1, 2], vec![1, 5]];
    assert_eq!(
        split(11, vec![axis(), ints("split", &[2, 5])], None, &["a", "b"]),
        uneven
    );
    assert_eq!(split(13, vec![axis()], Some(&[2, 5]), &["a", "b"]), uneven);
    let counted = split(
        18,
        vec![axis(), int("num_outputs", 3)],
        None,
        &["a", "b", "c"],
    );
    assert_eq!(counted, [vec![1, 3], vec![1, 3], vec![1, 1]]);
    let even = split(13, vec![axis()], None, &["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(even, vec![vec![1, 1]; 7]);
}

#[test]
fn slice_is_resolved_against_the_shape() {
    let part = |start, step, length| SliceAxis {
        start,
        step,
        length,
    };
    let old = vec![
        ints("starts", &[-3]),
        ints("ends", &[100]),
        ints("axes", &[1]),
    ];
    let old = with_integers(9, &[1, 10], "Slice", old, &[]);
    let new: [Option<&[i64]>; 3] = [Some(&[-3]), Some(&[100]), Some(&[-1])];
    assert_eq!(old, with_integers(13, &[1, 10], "Slice", vec![], &new));
    assert_eq!(
        old.0,
        Op::Slice {
            axes: vec![part(0, 1, 1), part(7, 1, 3)]
        }
    );

    let one = |start: i64, end: i64, step: i64| {
        let inputs: [Option<&[i64]>; 4] = [Some(&[start]), Some(&[end]), Some(&[1]), Some(&[step])];
        match with_integers(13, &[1, 10], "Slice", vec![], &inputs).0 {
            Op::Slice { axes } => axes[1],
            other => panic!("{other:?}"),
        }
    };
    // The same as Python's range(10)[start:end:step].
    assert_eq!(one(-1, i64::MIN, -3), part(9, -3, 4));
    assert_eq!(one(1, -1, 3), part(1, 3, 3));
    assert_eq!(one(8, 2, 1), part(0, 1, 0));
    assert_eq!(one(2, 3, i64::MAX), part(2, 1, 1));
    assert_eq!(one(100, -100, i64::MIN), part(9, 1, 1));
    assert_eq!(one(-100, 100, 5), part(0, 5, 2));
}

#[test]
fn pads_are_attribute_or_inputs_with_axes() {
    let pads = [0, 0, 1, 2, 0, 0, 3, -1];
    let old = vec![ints("pads", &pads), string("mode", "edge")];
    let old = with_integers(9, &[1, 3, 5, 5], "Pad", old, &[]);
    let mode = || vec![string("mode", "edge")];
    let newer = with_integers(13, &[1, 3, 5, 5], "Pad", mode(), &[Some(&pads)]);
    let axes: [Option<&[i64]>; 3] = [Some(&[1, 2, 3, -1]), None, Some(&[2, -1])];
    let newest = with_integers(18, &[1, 3, 5, 5], "Pad", mode(), &axes);
    let expected = Op::Pad(Pad {
        before: vec![0, 0, 1, 2],
        after: vec![0, 0, 3, -1],
        mode: PadMode::Edge,
    });
    for made in [old, newer, newest] {
        assert_eq!(made, (expected.clone(), vec![vec![1, 3, 9, 6]]));
    }
}

#[test]
fn dropout_is_the_identity_and_its_mask_true() {
    let old = vec![float("ratio", 0.3)];
    assert_eq!(
        with_integers(10, &[1, 2], "Dropout", old, &[]).0,
        Op::Identity
    );
    let model = onnx(13)
        .input("x", &[1, 2])
        .initializer(floats("ratio", &[], &[0.3]))
        .node("Dropout", &["x", "ratio"], &["y", "mask"], vec![])
        .outputs(&["y", "mask"]);
    let graph = model.read().unwrap();
    assert_eq!(graph.nodes[0].op, Op::Identity);
    let mask = graph.value(graph.outputs[1]).constant.as_ref().unwrap();
    assert_eq!(
        (mask.shape(), mask.as_bool()),
        (&[1, 2][..], Some(&[true, true][..]))
    );
}

#[test]
fn reshape_fills_in_zero_and_minus_one() {
    let reshape = |opset, dims: &[i64], attributes, to: &[i64]| {
        with_integers(opset, dims, "Reshape", attributes, &[Some(to)]).1
    };
    assert_eq!(reshape(9, &[1, 6, 4], vec![], &[0, -1]), [[1, 24]]);
    assert_eq!(reshape(9, &[1, 6, 4], vec![], &[2, 0, 2]), [[2, 6, 2]]);
    assert_eq!(
        reshape(14, &[1, 6, 4], vec![int("allowzero", 1)], &[-1]),
        [[24]]
    );
    let two_open = model_with_integers(9, &[1, 6], "Reshape", vec![], &[Some(&[-1, -1])]);
    assert!(matches!(two_open.read(), Err(GraphError::InNode { .. })));
    let zero = vec![int("allowzero", 1)];
    let zero = model_with_integers(14, &[1, 6], "Reshape", zero, &[Some(&[0, 6])]);
    assert!(matches!(zero.read(), Err(GraphError::InNode { .. })));
}

#[test]
fn auto_pad_becomes_pads() {
    for (auto_pad, pads, out) in [
        ("SAME_UPPER", [0, 1, 1, 2], [3, 3]),
        ("SAME_LOWER", [1, 2, 0, 1], [3, 3]),
        ("VALID", [0; 4], [2, 1]),
        ("NOTSET", [0; 4], [2, 1]),
    ] {
        let attributes = vec![string("auto_pad", auto_pad), ints("strides", &[2, 2])];
        let model = onnx(11)
            .input("x", &[1, 1, 6, 5])
            .weights("w", &[1, 1, 3, 4])
            .node("Conv", &["x", "w"], &["y"], attributes)
            .outputs(&["y"]);
        let (op, shapes) = read_one(model);
        let Op::Conv(conv) = op else { panic!("{op:?}") };
        assert_eq!(conv.pads, pads, "{auto_pad}");
        assert_eq!(shapes, [[1, 1, out[0], out[1]]], "{auto_pad}");
    }
}

#[test]
fn pooling_rounds_up_where_asked() {
    let pool = |opset, op, attributes: Vec<AttributeProto>| {
        let mut all = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
        all.extend(attributes);
        with_integers(opset, &[1, 1, 5, 4], op, all, &[]).1
    };
    assert_eq!(pool(9, "MaxPool", vec![]), [[1, 1, 2, 2]]);
    assert_eq!(
        pool(10, "MaxPool", vec![int("ceil_mode", 1)]),
        [[1, 1, 3, 2]]
    );
    // A last window that would start in the trailing padding is dropped.
    let padded = vec![int("ceil_mode", 1), ints("pads", &[1, 1, 1, 1])];
    assert_eq!(pool(19, "AveragePool", padded), [[1, 1, 3, 3]]);
    let dilated = vec![ints("dilations", &[3, 3])];
    assert_eq!(pool(19, "AveragePool", dilated), [[1, 1, 1, 1]]);
}

#[test]
fn quantize_reads_axis_and_type() {
    let model = |opset, attributes| {
        onnx(opset)
            .input("x", &[1, 3, 2])
            .initializer(floats("scale", &[3], &[0.5; 3]))
            .node("QuantizeLinear", &["x", "scale"], &["q"], attributes)
            .outputs(&["q"])
    };
    let graph = model(13, vec![int("axis", -2)]).read().unwrap();
    assert_eq!(graph.nodes[0].op, Op::QuantizeLinear { axis: 1 });
    assert_eq!(
        graph.value(graph.outputs[0]).element_type,
        crate::ElementType::U8
    );
    let to_i8 = vec![int("output_dtype", data_type::INT8.into())];
    let graph = model(21, to_i8).read().unwrap();
    assert_eq!(
        graph.value(graph.outputs[0]).element_type,
        crate::ElementType::I8
    );
    let blocked = model(21, vec![int("block_size", 2)]).read();
    let message = blocked.unwrap_err().to_string();
    assert!(message.contains("block quantization"), "{message}");
}
