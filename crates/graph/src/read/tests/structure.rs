//! Names, order, constants, inputs and outputs.

use super::*;
use crate::{ElementType, Op, Tensor, TensorData};

fn relus(nodes: &[(&str, &str)]) -> Onnx {
    let model = onnx(17).input("x", &[1, 2]);
    (nodes.iter()).fold(model, |m, (from, to)| {
        m.node("Relu", &[from], &[to], vec![])
    })
}

#[test]
fn nodes_are_put_in_order_and_dead_ones_dropped() {
    let model = relus(&[("b", "c"), ("x", "dead"), ("a", "b"), ("x", "a")]).outputs(&["c"]);
    let graph = model.read().unwrap();
    let made: Vec<&str> = (graph.nodes.iter())
        .map(|n| graph.value(n.outputs[0]).name.as_str())
        .collect();
    assert_eq!(made, ["a", "b", "c"]);
    assert_eq!(graph.nodes[0].name, "Relu_3");
    assert_eq!(graph.values.len(), 4);
}

#[test]
fn only_the_batch_axis_is_bound_to_one() {
    let symbol = |value: Option<i64>, param: Option<&str>| Dimension {
        dim_value: value,
        dim_param: param.map(str::to_owned),
    };
    for open in [
        symbol(None, Some("N")),
        symbol(None, None),
        symbol(Some(0), None),
        symbol(Some(-1), None),
    ] {
        for axis in [0, 1] {
            let mut model = relus(&[("x", "y")]).outputs(&["y"]);
            let input = model.graph().input[0].r#type.as_mut().unwrap();
            let shape = input.tensor_type.as_mut().unwrap().shape.as_mut().unwrap();
            shape.dim[axis] = open.clone();
            match (axis, model.read()) {
                (0, Ok(graph)) => assert_eq!(graph.value(graph.inputs[0]).shape, [1, 2]),
                (1, Err(GraphError::SymbolicAxis { input, axis: 1, .. })) => assert_eq!(input, "x"),
                (_, other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn an_input_with_an_initializer_is_a_constant() {
    // IR version 3 requires an input for every initializer.
    let model = onnx(9)
        .input("x", &[1, 2])
        .input("w", &[2])
        .weights("w", &[2])
        .node("Add", &["x", "w"], &["y"], vec![])
        .outputs(&["y"]);
    let graph = model.read().unwrap();
    assert_eq!(graph.inputs.len(), 1);
    let w = graph.value(graph.nodes[0].inputs[1]);
    assert_eq!(w.constant, Some(Tensor::vector(vec![0f32, 0.0])));
}

#[test]
fn a_bound_input_is_a_constant() {
    let mut model = onnx(17).input("x", &[1, 6]);
    let shape = value_info("shape", data_type::INT64, &[2]);
    model.graph().input.push(shape);
    let model = model
        .node("Reshape", &["x", "shape"], &["y"], vec![])
        .outputs(&["y"]);
    let unbound = model.read().unwrap_err().to_string();
    assert!(
        unbound.contains("`shape`") && unbound.contains("constant"),
        "{unbound}"
    );

    let read = |name: &str, tensor: Tensor| {
        let mut options = ReadOptions::default();
        options.bind.insert(name.into(), tensor);
        Graph::read(&model.bytes(), &options)
    };
    let graph = read("shape", Tensor::vector(vec![2i64, 3])).unwrap();
    assert_eq!(graph.value(graph.outputs[0]).shape, [2, 3]);
    for wrong in [
        read("shape", Tensor::vector(vec![2i64, 3, 1])),
        read("shape", Tensor::vector(vec![2f32, 3.0])),
        read("other", Tensor::vector(vec![2i64, 3])),
    ] {
        assert!(matches!(wrong, Err(GraphError::WrongBinding { .. })));
    }
}

#[test]
fn typed_and_raw_data_are_the_same() {
    let raw = |data_type, dims: &[i64], raw: &[u8]| TensorProto {
        name: "t".into(),
        dims: dims.to_vec(),
        data_type,
        raw_data: Some(raw.to_vec()),
        ..TensorProto::default()
    };
    let typed = |data_type, dims: &[i64], int32_data: &[i32]| TensorProto {
        name: "t".into(),
        dims: dims.to_vec(),
        data_type,
        int32_data: int32_data.to_vec(),
        ..TensorProto::default()
    };
    let read = |tensor| {
        let graph = onnx(17).initializer(tensor).outputs(&["t"]).read().unwrap();
        graph.value(graph.outputs[0]).constant.clone().unwrap()
    };
    let tensor = |data: TensorData| Tensor::new([2], data).unwrap();
    let cases: [(TensorProto, TensorData); 9] = [
        (
            raw(data_type::FLOAT, &[2], &[0, 0, 128, 63, 0, 0, 0, 192]),
            vec![1f32, -2.0].into(),
        ),
        (floats("t", &[2], &[1.0, -2.0]), vec![1f32, -2.0].into()),
        (integers("t", &[-1, 7]), vec![-1i64, 7].into()),
        (
            raw(data_type::INT32, &[2], &[255, 255, 255, 255, 1, 1, 0, 0]),
            vec![-1i32, 257].into(),
        ),
        (raw(data_type::INT8, &[2], &[255, 1]), vec![-1i8, 1].into()),
        (typed(data_type::INT8, &[2], &[-1, 1]), vec![-1i8, 1].into()),
        (
            raw(data_type::UINT8, &[2], &[255, 1]),
            vec![255u8, 1].into(),
        ),
        (
            typed(data_type::UINT8, &[2], &[255, 1]),
            vec![255u8, 1].into(),
        ),
        (
            typed(data_type::BOOL, &[2], &[1, 0]),
            vec![true, false].into(),
        ),
    ];
    for (proto, data) in cases {
        assert_eq!(read(proto), tensor(data));
    }
    let wide = typed(data_type::INT8, &[2], &[1, 200]);
    let wide = onnx(17).initializer(wide).outputs(&["t"]).read();
    assert!(matches!(
        wide,
        Err(GraphError::OutOfRange {
            index: 1,
            value: 200,
            ..
        })
    ));
}

#[test]
fn constant_nodes_take_every_form() {
    let read = |attribute| {
        let model = onnx(13).node("Constant", &[], &["t"], vec![attribute]);
        let graph = model.outputs(&["t"]).read().unwrap();
        graph.value(graph.outputs[0]).constant.clone().unwrap()
    };
    let value = AttributeProto {
        t: Some(floats("", &[2], &[1.0, 2.0])),
        ..attribute("value", 4)
    };
    assert_eq!(read(value), Tensor::vector(vec![1f32, 2.0]));
    assert_eq!(read(float("value_float", 3.0)), Tensor::scalar(3.0));
    let floats = AttributeProto {
        floats: vec![1.5, 2.5],
        ..attribute("value_floats", 6)
    };
    assert_eq!(read(floats), Tensor::vector(vec![1.5f32, 2.5]));
    assert_eq!(
        read(int("value_int", -4)),
        Tensor::new([], vec![-4i64]).unwrap()
    );
    assert_eq!(
        read(ints("value_ints", &[1, 2])),
        Tensor::vector(vec![1i64, 2])
    );
}

/// The nodes that PyTorch writes for `x.reshape(1, 2 * 3, -1)` and similar expressions.
#[test]
fn chains_of_integer_constants_are_folded() {
    let cast = vec![int("to", data_type::INT64.into())];
    let model = onnx(13)
        .input("x", &[1, 24])
        .initializer(integers("sizes", &[5, 2, 3]))
        .initializer(integers("one", &[1]))
        .initializer(integers("three", &[3]))
        .initializer(integers("zero", &[0]))
        .node("Slice", &["sizes", "one", "three", "zero"], &["s"], vec![])
        .node("Split", &["s"], &["a", "b"], vec![int("axis", 0)])
        .node("Mul", &["a", "b"], &["ab"], vec![])
        .node("Squeeze", &["ab"], &["ab0"], vec![])
        .node("Unsqueeze", &["ab0", "zero"], &["ab1"], vec![])
        .node("Cast", &["ab1"], &["ab2"], cast)
        .node("Sub", &["zero", "one"], &["rest"], vec![])
        .node(
            "Concat",
            &["one", "ab2", "rest"],
            &["shape"],
            vec![int("axis", 0)],
        )
        .node("Identity", &["shape"], &["shape_again"], vec![])
        .node("Reshape", &["x", "shape_again"], &["y"], vec![])
        .outputs(&["y"]);
    let graph = model.read().unwrap();
    assert_eq!(graph.nodes.len(), 1);
    assert_eq!(graph.value(graph.outputs[0]).shape, [1, 6, 4]);
    assert_eq!(graph.values.len(), 2, "folded constants are dropped");
}

#[test]
fn constants_are_moved_as_in_numpy() {
    let model = |op: &str, attributes| {
        let values: Vec<f32> = (0..6u8).map(f32::from).collect();
        let model = onnx(9)
            .initializer(floats("w", &[2, 3], &values))
            .node(op, &["w"], &["t"], attributes)
            .outputs(&["t"]);
        let graph = model.read().unwrap();
        assert!(graph.nodes.is_empty());
        let tensor = graph.value(graph.outputs[0]).constant.clone().unwrap();
        (tensor.shape().to_vec(), tensor.as_f32().unwrap().to_vec())
    };
    // numpy.arange(6).reshape(2, 3).T and [:, ::2] by hand
    let transposed = model("Transpose", vec![]);
    assert_eq!(transposed, (vec![3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
    let cut = vec![ints("axes", &[1]), ints("starts", &[1]), ints("ends", &[3])];
    assert_eq!(model("Slice", cut), (vec![2, 2], vec![1.0, 2.0, 4.0, 5.0]));
    assert_eq!(model("Flatten", vec![int("axis", 0)]).0, [1, 6]);
}

#[test]
fn several_inputs_and_outputs_keep_their_order() {
    let model = onnx(17)
        .input("b", &[1, 2])
        .input("a", &[1, 2])
        .node("Add", &["a", "b"], &["sum"], vec![])
        .node("Sub", &["a", "b"], &["difference"], vec![])
        .outputs(&["difference", "sum"]);
    let graph = model.read().unwrap();
    let names = |ids: &[crate::ValueId]| -> Vec<String> {
        ids.iter().map(|&v| graph.value(v).name.clone()).collect()
    };
    assert_eq!(names(&graph.inputs), ["b", "a"]);
    assert_eq!(names(&graph.outputs), ["difference", "sum"]);
    assert_eq!(graph.nodes[0].op, Op::Add);
    assert_eq!(graph.value(graph.outputs[0]).element_type, ElementType::F32);
}

/// The nodes that PyTorch writes for `x.view(x.size(0), -1)` when the batch is dynamic.
#[test]
fn shapes_of_values_are_constants() {
    let view = |data: &'static str, first: i64| {
        onnx(13)
            .input("x", &[0, 2, 3])
            .initializer(TensorProto {
                dims: vec![],
                ..integers("first", &[first])
            })
            .initializer(integers("axes", &[0]))
            .initializer(integers("rest", &[-1]))
            .node("Shape", &["x"], &["sizes"], vec![])
            .node("Gather", &[data, "first"], &["batch"], vec![int("axis", 0)])
            .node("Unsqueeze", &["batch", "axes"], &["batch1"], vec![])
            .node(
                "Concat",
                &["batch1", "rest"],
                &["shape"],
                vec![int("axis", 0)],
            )
            .node("Reshape", &["x", "shape"], &["y"], vec![])
            .outputs(&["y"])
    };
    let graph = view("sizes", 0).read().unwrap();
    assert_eq!(graph.nodes.len(), 1);
    assert_eq!(graph.value(graph.outputs[0]).shape, [1, 6]);
    for (index, shape) in [(1, [2, 3]), (2, [3, 2]), (-1, [3, 2]), (-3, [1, 6])] {
        let graph = view("sizes", index).read().unwrap();
        assert_eq!(graph.value(graph.outputs[0]).shape, shape, "{index}");
    }
    for index in [3, -4, i64::MAX, i64::MIN] {
        let text = view("sizes", index).read().unwrap_err().to_string();
        assert!(text.contains("in a list of 3"), "{text}");
    }

    let part = vec![int("start", -2), int("end", i64::MAX)];
    let model = onnx(15).input("x", &[1, 2, 3]);
    let model = model.node("Shape", &["x"], &["s"], part).outputs(&["s"]);
    let graph = model.read().unwrap();
    let sizes = graph.value(graph.outputs[0]).constant.clone();
    assert_eq!(sizes, Some(Tensor::vector(vec![2i64, 3])));
}
