//! Loops, scans and branches, which are unrolled when the model is read.

use super::*;
use crate::OpError;

/// An attribute that holds a graph.
fn subgraph(name: &str, model: Onnx) -> AttributeProto {
    AttributeProto {
        g: model.0.graph.map(Box::new),
        ..attribute(name, 5)
    }
}

fn scalar(name: &str, value: i64) -> TensorProto {
    TensorProto {
        dims: vec![],
        ..integers(name, &[value])
    }
}

fn boolean(name: &str, value: bool) -> TensorProto {
    TensorProto {
        name: name.into(),
        data_type: data_type::BOOL,
        int32_data: vec![value.into()],
        ..TensorProto::default()
    }
}

/// v = v + x for each iteration while iteration + 1 < `below`, with x of the outer graph; each v is
/// also stacked.
fn counting(below: i64) -> Onnx {
    onnx(17)
        .input("i", &[])
        .input("going", &[])
        .input("v", &[1, 2])
        .initializer(scalar("below", below))
        .initializer(scalar("one", 1))
        .node("Add", &["i", "one"], &["next"], vec![])
        .node("Less", &["next", "below"], &["on"], vec![])
        .node("Add", &["v", "x"], &["sum"], vec![])
        .node("Relu", &["sum"], &["shown"], vec![])
        .outputs(&["on", "sum", "shown"])
}

fn looped(trips: i64, body: Onnx) -> Onnx {
    onnx(17)
        .input("x", &[1, 2])
        .initializer(scalar("trips", trips))
        .initializer(boolean("start", true))
        .node(
            "Loop",
            &["trips", "start", "x"],
            &["last", "all"],
            vec![subgraph("body", body)],
        )
        .outputs(&["last", "all"])
}

fn count(graph: &Graph, name: &str) -> usize {
    let names = graph.nodes.iter().map(|node| node.op.name());
    names.filter(|&of| of == name).count()
}

#[test]
fn a_loop_runs_until_its_limit_or_its_condition() {
    for (trips, below, iterations) in [(3, 100, 3), (100, 4, 4), (1, 0, 1)] {
        let graph = looped(trips, counting(below)).read().unwrap();
        assert_eq!(count(&graph, "Relu"), iterations, "{trips} {below}");
        assert_eq!(graph.value(graph.outputs[0]).shape, [1, 2]);
        assert_eq!(graph.value(graph.outputs[1]).shape, [iterations, 1, 2]);
        assert_eq!(graph.value(graph.outputs[1]).name, "all");
    }
    let mut endless = looped(0, counting(6));
    endless.graph().node[0].input[0].clear();
    assert_eq!(count(&endless.read().unwrap(), "Relu"), 6);
}

#[test]
fn a_loop_without_iterations_returns_its_inputs() {
    let mut model = looped(0, counting(5));
    model.graph().output.pop();
    model.graph().node[0].output.pop();
    let graph = model.read().unwrap();
    let names = graph.nodes.iter().map(|node| node.op.name());
    assert_eq!(names.collect::<Vec<_>>(), ["Identity"]);
    let text = looped(0, counting(5)).read().unwrap_err().to_string();
    assert!(text.contains("without iterations"), "{text}");
}

/// Weights and what is computed from them are not copied for each iteration.
#[test]
fn nodes_that_do_not_depend_on_the_iteration_are_read_once() {
    let body = onnx(17)
        .input("i", &[])
        .input("going", &[])
        .input("v", &[1, 2])
        .weights("w", &[2, 2])
        .node("Transpose", &["w"], &["t"], vec![])
        .node("MatMul", &["v", "t"], &["sum"], vec![])
        .node("Relu", &["x"], &["shown"], vec![])
        .outputs(&["going", "sum", "shown"]);
    let graph = looped(9, body).read().unwrap();
    let constants = graph.values.iter().filter(|v| v.constant.is_some());
    assert_eq!(constants.count(), 1);
    assert_eq!((count(&graph, "MatMul"), count(&graph, "Relu")), (9, 1));
}

#[test]
fn a_constant_condition_chooses_a_branch() {
    let branch = |operator: &str| {
        onnx(17)
            .node(operator, &["x"], &["result"], vec![])
            .outputs(&["result"])
    };
    for (condition, chosen) in [(true, "Relu"), (false, "Tanh")] {
        let model = onnx(17)
            .input("x", &[1, 2])
            .initializer(boolean("condition", condition))
            .node(
                "If",
                &["condition"],
                &["y"],
                vec![
                    subgraph("then_branch", branch("Relu")),
                    subgraph("else_branch", branch("Tanh")),
                ],
            )
            .outputs(&["y"]);
        let graph = model.read().unwrap();
        assert_eq!(graph.nodes[0].op.name(), chosen);
        assert_eq!(graph.value(graph.outputs[0]).name, "y");
    }
}

#[test]
fn a_scan_takes_and_joins_slices_along_its_axes() {
    let body = onnx(17)
        .input("total", &[2])
        .input("slice", &[2])
        .node("Add", &["total", "slice"], &["sum"], vec![])
        .node("Relu", &["sum"], &["shown"], vec![])
        .outputs(&["sum", "shown"]);
    let scan = |attributes: Vec<AttributeProto>| {
        let mut all = vec![subgraph("body", body.clone()), int("num_scan_inputs", 1)];
        all.extend(attributes);
        onnx(17)
            .weights("start", &[2])
            .input("x", &[2, 5])
            .node("Scan", &["start", "x"], &["last", "all"], all)
            .outputs(&["last", "all"])
            .read()
    };
    let along = |input: &[i64], output: &[i64]| {
        vec![
            ints("scan_input_axes", input),
            ints("scan_output_axes", output),
            ints("scan_input_directions", &[1]),
        ]
    };
    let graph = scan(along(&[-1], &[1])).unwrap();
    assert_eq!(count(&graph, "Relu"), 5);
    assert_eq!(graph.value(graph.outputs[1]).shape, [2, 5]);
    for wrong in [along(&[2], &[0]), along(&[1], &[3]), along(&[0, 1], &[0])] {
        assert!(scan(wrong).is_err());
    }
}

#[test]
fn what_is_computed_at_run_time_cannot_steer_a_loop() {
    let body = onnx(17)
        .input("i", &[])
        .input("going", &[])
        .input("v", &[1])
        .initializer(floats("one", &[1], &[1.0]))
        .node("Add", &["v", "one"], &["sum"], vec![])
        .node("Less", &["sum", "one"], &["on"], vec![])
        .outputs(&["on", "sum"]);
    let mut model = looped(3, body);
    model.graph().input[0] = value_info("x", data_type::FLOAT, &[1]);
    model.graph().node[0].output.pop();
    model.graph().output.pop();
    let error = model.read().unwrap_err();
    let GraphError::InNode { node, reason, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(node, "Loop_0");
    assert!(matches!(reason, OpError::NotConstant { .. }), "{reason}");
}

#[test]
fn all_nodes_of_a_subgraph_that_are_not_supported_are_named() {
    let body = onnx(17)
        .input("i", &[])
        .input("going", &[])
        .input("v", &[1, 2])
        .node("TopK", &["v"], &["a"], vec![])
        .node("DeformConv", &["a"], &["sum"], vec![])
        .node("NonZero", &["v"], &["shown"], vec![])
        .outputs(&["going", "sum", "shown"]);
    let text = looped(3, body).read().unwrap_err().to_string();
    for operator in ["TopK", "DeformConv", "NonZero"] {
        assert!(text.contains(operator), "{text}");
    }
}

#[test]
fn subgraphs_read_only_what_exists() {
    let mut body = counting(5);
    body.graph().node[2].input[1] = "nothing".into();
    let error = looped(3, body).read().unwrap_err();
    assert!(matches!(error, GraphError::UnknownValue { .. }), "{error}");
    let mut body = counting(5);
    body.graph().node[2].input[1] = "shown".into();
    let error = looped(3, body).read().unwrap_err();
    assert!(matches!(error, GraphError::Cycle { .. }), "{error}");
    let mut body = counting(5);
    body.graph().node[2].output[0] = "v".into();
    assert!(looped(3, body).read().is_err());
    for missing in 0..3 {
        let mut body = counting(5);
        body.graph().input.remove(missing);
        assert!(looped(3, body).read().is_err(), "input {missing}");
        let mut body = counting(5);
        body.graph().output.remove(missing);
        assert!(looped(3, body).read().is_err(), "output {missing}");
    }
}

fn refused_as_too_large(model: &Onnx) {
    let error = model.read().unwrap_err();
    assert!(
        matches!(
            error,
            GraphError::UnrolledTooLarge { .. } | GraphError::TooLarge { .. }
        ),
        "{error}"
    );
}

#[test]
fn endless_loops_are_refused() {
    refused_as_too_large(&looped(i64::MAX, counting(i64::MAX)));
    let mut endless = looped(0, counting(i64::MAX));
    endless.graph().node[0].input[..2].fill(String::new());
    refused_as_too_large(&endless);

    // Loops in loops, each of a thousand iterations.
    let inner = |body: Onnx| {
        onnx(17)
            .input("i", &[])
            .input("going", &[])
            .initializer(scalar("trips", 1000))
            .node("Loop", &["trips", ""], &[], vec![subgraph("body", body)])
            .outputs(&["going"])
    };
    let empty = onnx(17)
        .input("i", &[])
        .input("going", &[])
        .outputs(&["going"]);
    // Nothing reads the inner loop, so it is not unrolled.
    let mut body = empty.clone();
    for _ in 0..3 {
        body = inner(body);
    }
    assert!(body.bytes().len() < 1000);
    let carry = |body: Onnx| {
        onnx(17)
            .input("i", &[])
            .input("going", &[])
            .input("v", &[1, 2])
            .initializer(scalar("trips", 1000))
            .node(
                "Loop",
                &["trips", "", "v"],
                &["w"],
                vec![subgraph("body", body)],
            )
            .outputs(&["going", "w"])
    };
    let mut body = empty.clone().input("v", &[1, 2]).outputs(&["v"]);
    for _ in 0..4 {
        body = carry(body);
    }
    let mut model = looped(1000, body);
    model.graph().output.pop();
    model.graph().node[0].output.pop();
    refused_as_too_large(&model);
}

/// The decoder, the reader and the drop of a model recurse into graphs.
#[test]
fn deep_nesting_is_refused() {
    let nested = |depth: usize| {
        let mut branch = onnx(17)
            .node("Relu", &["x"], &["y0"], vec![])
            .outputs(&["y0"]);
        for i in 1..depth {
            let result = format!("y{i}");
            branch = onnx(17)
                .initializer(boolean("c", true))
                .node(
                    "If",
                    &["c"],
                    &[&result],
                    vec![subgraph("then_branch", branch)],
                )
                .outputs(&[&result]);
        }
        branch.input("x", &[1, 2]).read()
    };
    assert!(nested(8).is_ok());
    for depth in [9, 30] {
        let error = nested(depth).unwrap_err();
        assert!(matches!(error, GraphError::TooLarge { .. }), "{error}");
    }
}

/// Long names and attributes would be copied in every iteration.
#[test]
fn a_loop_cannot_multiply_a_large_file() {
    let long = "n".repeat(1 << 16);
    let mut body = counting(i64::MAX);
    body.graph().node[3].name = long.clone();
    body.graph().node[3].output[0] = long.clone();
    body.graph().output[2].name = long;
    let mut model = looped(10_000, body);
    model.graph().node[0].name = "loop".repeat(1 << 14);
    let options = ReadOptions {
        max_decoded_bytes: 1 << 24,
        ..ReadOptions::default()
    };
    let error = Graph::read(&model.bytes(), &options).unwrap_err();
    assert!(matches!(error, GraphError::TooLarge { .. }), "{error}");
}

/// Each iteration sums the same long constant.
#[test]
fn folding_in_loops_is_bounded() {
    let body = onnx(17)
        .input("i", &[])
        .input("going", &[])
        .input("v", &[1, 2])
        .node("Cast", &["i"], &["f"], vec![int("to", 1)])
        .node("Add", &["f", "long"], &["shifted"], vec![])
        .node("ReduceSum", &["shifted"], &["s"], vec![int("keepdims", 0)])
        .node("Add", &["v", "s"], &["sum"], vec![])
        .outputs(&["going", "sum", "s"]);
    let model = looped(10_000, body).weights("long", &[1 << 12]);
    let options = ReadOptions {
        max_elements: 1 << 18,
        ..ReadOptions::default()
    };
    let error = Graph::read(&model.bytes(), &options).unwrap_err();
    assert!(matches!(error, GraphError::TooLarge { .. }), "{error}");
}

#[test]
fn external_data_in_subgraphs_is_refused_and_listed() {
    let mut tensor = floats("w", &[1, 2], &[]);
    tensor.data_location = 1;
    tensor.external_data = vec![crate::onnx::StringStringEntryProto {
        key: "location".into(),
        value: "weights.bin".into(),
    }];
    let model = looped(3, counting(5).initializer(tensor));
    let error = model.read().unwrap_err();
    assert!(matches!(error, GraphError::ExternalData { .. }), "{error}");
    let locations = crate::data_locations(&model.bytes(), &ReadOptions::default());
    assert_eq!(locations, Ok(vec!["weights.bin".to_owned()]));
}

/// A value of a loop has another name in each iteration, which the graph's own values may not have.
#[test]
fn names_of_iterations_do_not_hide_others() {
    let graph = looped(3, counting(100)).read().unwrap();
    let mut names: Vec<&str> = graph.values.iter().map(|v| v.name.as_str()).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(names.contains(&"Loop_0.2.shown"), "{names:?}");
}
