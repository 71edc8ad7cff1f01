//! Operators that are read as several nodes, and operators on constants.

use super::*;
use crate::{Op, OpError, Tensor, TensorData};

fn names(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|node| node.op.name()).collect()
}

fn only_output(graph: &Graph) -> Tensor {
    graph.value(graph.outputs[0]).constant.clone().unwrap()
}

#[test]
fn gather_of_data_selects_and_drops_or_adds_axes() {
    let gather = |dims: &[i64], indices: &[i64], values: &[i64], axis| {
        let tensor = TensorProto {
            dims: indices.to_vec(),
            ..integers("i", values)
        };
        let model = onnx(17).input("x", dims).initializer(tensor);
        let model = model.node("Gather", &["x", "i"], &["y"], vec![int("axis", axis)]);
        model.outputs(&["y"]).read()
    };
    let graph = gather(&[1, 3, 4], &[], &[-1], 1).unwrap();
    assert_eq!(names(&graph), ["Gather", "Squeeze"]);
    assert_eq!(graph.value(graph.outputs[0]).shape, [1, 4]);
    let indices = vec![2];
    assert_eq!(graph.nodes[0].op, Op::Gather { axis: 1, indices });
    let graph = gather(&[1, 3, 4], &[2, 2], &[0, 2, 1, 0], 2).unwrap();
    assert_eq!(graph.value(graph.outputs[0]).shape, [1, 3, 2, 2]);
    for outside in [3, -4, i64::MAX, i64::MIN] {
        let text = gather(&[1, 3, 4], &[], &[outside], 1)
            .unwrap_err()
            .to_string();
        assert!(text.contains("in a list of 3"), "{text}");
    }
}

/// What PyTorch's exporter writes for a picture that is a transposed array (node_as_strided).
#[test]
fn a_strided_view_of_all_elements_is_a_transposition() {
    let view = |values: Vec<i64>| {
        let indices = TensorProto {
            dims: vec![1, 3, 2, 2],
            ..integers("i", &values)
        };
        onnx(17)
            .input("x", &[1, 2, 2, 3])
            .initializer(integers("all", &[-1]))
            .initializer(indices)
            .node("Reshape", &["x", "all"], &["flat"], vec![])
            .node("Gather", &["flat", "i"], &["y"], vec![])
            .outputs(&["y"])
            .read()
            .unwrap()
    };
    let graph = view(vec![0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
    assert!(!names(&graph).contains(&"Gather"), "{:?}", names(&graph));
    assert!(names(&graph).contains(&"Transpose"));
    let graph = view(vec![0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 11, 8]);
    assert!(names(&graph).contains(&"Gather"));
}

/// The nodes that PyTorch's exporter writes for `expand` and `F.pad`, and for torch.arange.
#[test]
fn shapes_are_computed_whatever_the_operators() {
    let scalar = |name: &str, value: i64| TensorProto {
        dims: vec![],
        ..integers(name, &[value])
    };
    let minus_one = AttributeProto {
        t: Some(integers("", &[-1])),
        ..attribute("value", 4)
    };
    let model = onnx(17)
        .input("x", &[1, 6])
        .initializer(integers("wanted", &[-1, 3, 2]))
        .initializer(integers("rank", &[3]))
        .initializer(integers("six", &[6, 1, 1]))
        .initializer(integers("other", &[2, 1]))
        .initializer(scalar("zero", 0))
        .initializer(scalar("four", 4))
        .initializer(scalar("two", 2))
        .node("ConstantOfShape", &["rank"], &["minus"], vec![minus_one])
        .node("Equal", &["wanted", "minus"], &["open"], vec![])
        .node("Where", &["open", "six", "wanted"], &["shape"], vec![])
        .node("Expand", &["zero", "other"], &["zeros"], vec![])
        .node("Range", &["zero", "four", "two"], &["range"], vec![])
        .node("Neg", &["range"], &["negative"], vec![])
        .node(
            "ReduceSum",
            &["negative"],
            &["sum"],
            vec![int("keepdims", 1)],
        )
        .node("Not", &["open"], &["closed"], vec![])
        .outputs(&["shape", "zeros", "range", "sum", "closed"]);
    let graph = model.read().unwrap();
    assert!(graph.nodes.is_empty(), "{:?}", graph.nodes);
    let outputs: Vec<TensorData> = (graph.outputs.iter())
        .map(|&v| graph.value(v).constant.clone().unwrap().data().clone())
        .collect();
    assert_eq!(
        outputs,
        [
            vec![6i64, 3, 2].into(),
            vec![0i64, 0].into(),
            vec![0i64, 2].into(),
            vec![-2i64].into(),
            vec![false, true, true].into(),
        ]
    );
}

#[test]
fn float_constants_are_folded_unless_they_overflow() {
    let model = |value: f32| {
        onnx(17)
            .initializer(floats("c", &[2], &[0.0, value]))
            .node("Exp", &["c"], &["e"], vec![])
            .node("Sqrt", &["e"], &["t"], vec![])
            .outputs(&["t"])
            .read()
            .unwrap()
    };
    let folded = model(2.0);
    assert!(folded.nodes.is_empty());
    assert_eq!(
        only_output(&folded),
        Tensor::vector(vec![1.0, 2f32.exp().sqrt()])
    );
    assert_eq!(names(&model(200.0)), ["Exp", "Sqrt"]);
}

#[test]
fn large_results_are_refused_before_they_are_allocated() {
    for operator in ["Expand", "ConstantOfShape", "Range", "Tile"] {
        let scalar = |name: &str, value: i64| TensorProto {
            dims: vec![],
            ..integers(name, &[value])
        };
        let model = onnx(17)
            .input("x", &[1, 1])
            .initializer(integers("s", &[1 << 30, 1 << 20]))
            .initializer(scalar("zero", 0))
            .initializer(scalar("one", 1))
            .initializer(scalar("end", i64::MAX));
        let inputs: &[&str] = match operator {
            "ConstantOfShape" => &["s"],
            "Range" => &["zero", "end", "one"],
            _ => &["x", "s"],
        };
        let model = model.node(operator, inputs, &["y"], vec![]).outputs(&["y"]);
        let text = model.read().unwrap_err().to_string();
        assert!(
            text.contains("memory") || text.contains("too large"),
            "{text}"
        );
    }
}

/// The product with ones is empty, but the ones are not.
#[test]
fn a_huge_tile_of_an_empty_tensor_is_refused() {
    let model = onnx(17)
        .weights("x", &[1, 0])
        .initializer(integers("repeats", &[1 << 40, 1]))
        .node("Tile", &["x", "repeats"], &["y"], vec![])
        .outputs(&["y"]);
    let text = model.read().unwrap_err().to_string();
    assert!(text.contains("more than memory can hold"), "{text}");
}

#[test]
fn transposed_convolutions_without_channels_are_refused() {
    for (x, w, group) in [
        ([1, 0, 4, 4], [0, 1, 2, 2], i64::MAX),
        ([1, 0, 4, 4], [0, 0, 2, 2], 1),
        ([1, 2, 4, 4], [2, 0, 2, 2], 1),
    ] {
        let attributes = vec![int("group", group), ints("strides", &[1 << 16, 1 << 16])];
        let model = onnx(17)
            .weights("x", &x)
            .weights("w", &w)
            .node("ConvTranspose", &["x", "w"], &["y"], attributes)
            .outputs(&["y"]);
        let text = model.read().unwrap_err().to_string();
        assert!(text.contains("no axis of size 0"), "{text}");
    }
}

#[test]
fn constants_of_too_many_axes_are_refused() {
    for (rank, fits) in [(16, true), (17, false), (100_000, false)] {
        for operator in ["ConstantOfShape", "Expand"] {
            let model = onnx(17)
                .weights("x", &[1])
                .initializer(integers("s", &vec![1; rank]));
            let inputs: &[&str] = match operator {
                "Expand" => &["x", "s"],
                _ => &["s"],
            };
            let model = model.node(operator, inputs, &["y"], vec![]).outputs(&["y"]);
            match model.read() {
                Ok(_) => assert!(fits, "{operator}, {rank} axes"),
                Err(GraphError::InNode { reason, .. }) => {
                    assert!(!fits && matches!(reason, OpError::TooLarge { .. }));
                    assert!(reason.to_string().len() < 200);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn resize(axes: &[i64], scales: &[f32]) -> Result<Graph, GraphError> {
    onnx(18)
        .input("x", &[1, 1, 10, 10])
        .initializer(floats("scales", &[scales.len() as i64], scales))
        .node(
            "Resize",
            &["x", "", "scales"],
            &["y"],
            vec![ints("axes", axes)],
        )
        .outputs(&["y"])
        .read()
}

#[test]
fn resize_names_each_axis_once() {
    let graph = resize(&[3, -2], &[2.0, 3.0]).unwrap();
    assert_eq!(graph.value(graph.outputs[0]).shape, [1, 1, 30, 20]);
    for axes in [[2, 2], [3, -1]] {
        let reason = match resize(&axes, &[2.0, 2.0]) {
            Err(GraphError::InNode { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        assert!(matches!(reason, OpError::RepeatedAxis { .. }), "{reason}");
    }
}

/// In float64, both products are less than the whole number.
#[test]
fn resized_sizes_are_rounded_as_onnx_runtime_does() {
    let graph = resize(&[2, 3], &[0.7, 0.9]).unwrap();
    assert_eq!(graph.value(graph.outputs[0]).shape, [1, 1, 7, 9]);
    for scale in [f32::MAX, f32::MIN_POSITIVE, f32::INFINITY, f32::NAN] {
        assert!(resize(&[2], &[scale]).is_err(), "{scale}");
    }
}

/// The axes before the empty one are too large to be counted through.
#[test]
fn empty_constants_of_large_axes_are_folded() {
    let large = 1 << 20;
    let model = onnx(17)
        .initializer(floats("a", &[large, large, 0], &[]))
        .initializer(floats("b", &[large, large, 1, 0], &[]))
        .initializer(integers("i", &[0, 0]))
        .node("Concat", &["a", "a"], &["joined"], vec![int("axis", 2)])
        .node("Gather", &["b", "i"], &["selected"], vec![int("axis", 2)])
        .outputs(&["joined", "selected"]);
    let graph = model.read().unwrap();
    assert!(graph.nodes.is_empty());
    assert_eq!(only_output(&graph).shape(), [1 << 20, 1 << 20, 0]);
}

#[test]
fn exponents_of_integers_are_whole() {
    let power = |exponent: f32| {
        onnx(17)
            .initializer(integers("x", &[4, 9]))
            .initializer(floats("e", &[], &[exponent]))
            .node("Pow", &["x", "e"], &["y"], vec![])
            .outputs(&["y"])
            .read()
    };
    assert_eq!(
        only_output(&power(2.0).unwrap()),
        Tensor::vector(vec![16i64, 81])
    );
    for exponent in [0.5, 1e10] {
        let text = power(exponent).unwrap_err().to_string();
        assert!(text.contains("whole numbers"), "{text}");
    }
}

#[test]
fn the_last_of_several_nodes_has_the_operators_name() {
    let model = onnx(17)
        .input("x", &[1, 4])
        .node("HardSwish", &["x"], &["y"], vec![])
        .outputs(&["y"]);
    let graph = model.read().unwrap();
    assert_eq!(names(&graph), ["HardSigmoid", "Mul"]);
    assert_eq!(graph.nodes[1].name, "HardSwish_0");
    assert_eq!(graph.value(graph.outputs[0]).name, "y");
}

#[test]
fn a_one_dimensional_convolution_is_one_of_a_row() {
    let attributes = vec![ints("pads", &[2, 1]), ints("strides", &[2])];
    let model = onnx(17)
        .input("x", &[1, 2, 9])
        .weights("w", &[4, 2, 3])
        .node("Conv", &["x", "w"], &["y"], attributes)
        .outputs(&["y"]);
    let graph = model.read().unwrap();
    assert_eq!(names(&graph), ["Unsqueeze", "Conv", "Squeeze"]);
    assert_eq!(graph.value(graph.outputs[0]).shape, [1, 4, 5]);
    let Op::Conv(conv) = &graph.nodes[1].op else {
        panic!("{:?}", graph.nodes);
    };
    assert_eq!((conv.kernel, conv.pads), ([1, 3], [0, 2, 0, 1]));
}

/// 300 GB of rows and columns, of a picture without channels.
#[test]
fn pooled_volumes_of_any_size_are_counted() {
    let large = i64::from(i32::MAX);
    for operator in ["MaxPool", "AveragePool"] {
        let attributes = vec![
            ints("kernel_shape", &[1, large, large]),
            ints("pads", &[0, large - 1, large - 1, 0, large - 1, large - 1]),
        ];
        let model = onnx(17)
            .weights("x", &[0, 1, 1, 1, 1])
            .node(operator, &["x"], &["y"], attributes)
            .outputs(&["y"]);
        let text = model.read().unwrap_err().to_string();
        assert!(text.contains("memory"), "{text}");
    }
}

#[test]
fn a_volume_is_convolved_as_a_batch_of_pictures() {
    let attributes = vec![
        ints("pads", &[1, 1, 1, 1, 1, 1]),
        ints("strides", &[2, 1, 1]),
        int("group", 2),
    ];
    let model = onnx(17)
        .input("x", &[1, 4, 6, 5, 7])
        .weights("w", &[8, 2, 3, 3, 3])
        .weights("b", &[8])
        .node("Conv", &["x", "w", "b"], &["y"], attributes)
        .outputs(&["y"]);
    let graph = model.read().unwrap();
    assert_eq!(graph.value(graph.outputs[0]).shape, [1, 8, 3, 5, 7]);
    let convolutions: Vec<_> = (graph.nodes.iter())
        .filter(|node| matches!(node.op, Op::Conv(_)))
        .collect();
    assert_eq!(convolutions.len(), 1);
    assert_eq!(graph.value(convolutions[0].inputs[0]).shape, [3, 12, 5, 7]);
    let weights = graph.value(convolutions[0].inputs[1]);
    assert!(weights.constant.is_some());
    assert_eq!(weights.shape, [8, 6, 3, 3]);
}

fn einsum(equation: &str, shapes: &[&[i64]]) -> Result<Vec<usize>, GraphError> {
    let names: Vec<String> = (0..shapes.len()).map(|i| format!("x{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut model = onnx(17);
    for (name, shape) in names.iter().zip(shapes) {
        model = model.input(name, shape);
    }
    let model = model.node("Einsum", &names, &["y"], vec![string("equation", equation)]);
    let graph = model.outputs(&["y"]).read()?;
    Ok(graph.value(graph.outputs[0]).shape.clone())
}

#[test]
fn einsum_reads_subscripts() {
    let shape = |equation, shapes: &[&[i64]]| einsum(equation, shapes).unwrap();
    let (a, b): (&[i64], &[i64]) = (&[2, 3, 4], &[2, 4, 5]);
    assert_eq!(shape("bij, bjk -> bik", &[a, b]), [2, 3, 5]);
    assert_eq!(shape("...ij,...jk->k...i", &[a, b]), [5, 2, 3]);
    assert_eq!(shape("bij,bjk", &[a, b]), [3, 5]);
    assert_eq!(shape("bhi,bhj->bij", &[&[2, 3, 4], &[2, 3, 5]]), [2, 4, 5]);
    assert_eq!(shape("ij,jk,kl->li", &[&[2, 3], &[3, 4], &[4, 5]]), [5, 2]);
    assert_eq!(shape("i,j->ij", &[&[2], &[3]]), [2, 3]);
    assert!(shape("i,i->", &[&[2], &[2]]).is_empty());
    for (wrong, shapes) in [
        ("ij->k", &[&[2, 3][..]][..]),
        ("ij->ii", &[&[2, 3]]),
        ("ijk->i", &[&[2, 3]]),
        ("i.j->i", &[&[2, 3]]),
        ("...i...->i", &[&[2, 3]]),
        ("ii->i", &[&[2, 2]]),
        ("ij,jk->ik", &[&[2, 3], &[4, 5]]),
        ("ij,jk->ik", &[&[2, 3]]),
        ("", &[&[2, 3]]),
        ("é->é", &[&[2]]),
    ] {
        assert!(einsum(wrong, shapes).is_err(), "{wrong}");
    }
}

#[test]
fn remainders_products_and_triangles_of_constants() {
    let result = |operator: &str, inputs: &[&str], attributes| {
        let model = onnx(17)
            .initializer(integers("a", &[-7, 7, -7, 7]))
            .initializer(integers("b", &[3, 3, -3, -3]))
            .initializer(integers("zero", &[0]))
            .initializer(TensorProto {
                dims: vec![2, 2],
                ..integers("square", &[1, 2, 3, 4])
            });
        let model = model.node(operator, inputs, &["y"], attributes);
        let graph = model.outputs(&["y"]).read();
        graph.map(|graph| only_output(&graph))
    };
    let ab = ["a", "b"];
    let floor = result("Mod", &ab, vec![]).unwrap();
    assert_eq!(floor, Tensor::vector(vec![2i64, 1, -1, -2]));
    let truncated = result("Mod", &ab, vec![int("fmod", 1)]).unwrap();
    assert_eq!(truncated, Tensor::vector(vec![-1i64, 1, -1, 1]));
    assert!(result("Mod", &["a", "zero"], vec![]).is_err());
    let product = result("ReduceProd", &["b"], vec![int("keepdims", 0)]).unwrap();
    assert_eq!(product.data(), &vec![81i64].into());
    let axis = vec![ints("axes", &[0]), int("keepdims", 0)];
    let product = result("ReduceProd", &["square"], axis).unwrap();
    assert_eq!(product, Tensor::vector(vec![3i64, 8]));
    let upper = result("Trilu", &["square"], vec![]).unwrap();
    assert_eq!(upper.data(), &vec![1i64, 2, 0, 4].into());
    let lower = result("Trilu", &["square", "zero"], vec![int("upper", 0)]).unwrap();
    assert_eq!(lower.data(), &vec![1i64, 0, 3, 4].into());
}

#[test]
fn the_page_of_operators_lists_all() {
    let page = include_str!("../../../../../docs/operators.md");
    let words: Vec<&str> = page.split(|c: char| !c.is_alphanumeric()).collect();
    for operator in crate::SUPPORTED_OPERATORS {
        assert!(words.contains(operator), "{operator}");
    }
}
