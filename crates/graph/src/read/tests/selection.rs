//! Selection and replacement of elements: on constants, where the results are known, and refusals.

use super::*;
use crate::{OpError, Tensor};

fn shaped(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        ..integers(name, values)
    }
}

/// The result of an operator on constants.
fn result(
    operator: &str,
    inputs: &[TensorProto],
    attributes: Vec<AttributeProto>,
) -> Result<Tensor, OpError> {
    let names: Vec<&str> = inputs.iter().map(|it| it.name.as_str()).collect();
    let mut model = onnx(18);
    for input in inputs {
        model = model.initializer(input.clone());
    }
    let model = model.node(operator, &names, &["y"], attributes);
    match model.outputs(&["y"]).read() {
        Ok(graph) => Ok(graph.value(graph.outputs[0]).constant.clone().unwrap()),
        Err(GraphError::InNode { reason, .. }) => Err(reason),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn integers_are_scattered_gathered_and_summed_when_the_model_is_read() {
    let data = shaped("x", &[2, 3], &[1, 2, 3, 4, 5, 6]);
    let places = shaped("i", &[1, 3], &[1, 0, -1]);
    let gathered = result("GatherElements", &[data.clone(), places.clone()], vec![]);
    assert_eq!(gathered.unwrap().data(), &vec![4i64, 2, 6].into());
    let updates = shaped("u", &[1, 3], &[10, 20, 30]);
    let inputs = [data.clone(), places, updates];
    let replaced = result("ScatterElements", &inputs, vec![]).unwrap();
    assert_eq!(replaced.data(), &vec![1i64, 20, 3, 10, 5, 30].into());
    let places = shaped("i", &[2, 1], &[1, 1]);
    let rows = shaped("u", &[2, 3], &[1, 1, 1, 2, 2, 2]);
    let inputs = [data.clone(), places, rows];
    let added = result("ScatterND", &inputs, vec![string("reduction", "add")]).unwrap();
    assert_eq!(added.data(), &vec![1i64, 2, 3, 7, 8, 9].into());
    let replaced = result("ScatterND", &inputs, vec![]).unwrap();
    assert_eq!(replaced.data(), &vec![1i64, 2, 3, 2, 2, 2].into());
    let places = shaped("i", &[2, 1], &[-1, 0]);
    let batch = vec![int("batch_dims", 1)];
    let gathered = result("GatherND", &[data.clone(), places], batch).unwrap();
    assert_eq!(gathered.data(), &vec![3i64, 4].into());
    for (attributes, expected) in [
        (vec![], [1_i64, 3, 6, 4, 9, 15]),
        (vec![int("exclusive", 1)], [0, 1, 3, 0, 4, 9]),
        (vec![int("reverse", 1)], [6, 5, 3, 15, 11, 6]),
    ] {
        let axis = shaped("axis", &[], &[-1]);
        let sums = result("CumSum", &[data.clone(), axis], attributes).unwrap();
        assert_eq!(sums.data(), &expected.to_vec().into());
    }
}

#[test]
fn indices_and_updates_that_do_not_fit_are_refused() {
    let data = shaped("x", &[2, 3], &[1, 2, 3, 4, 5, 6]);
    let index = |dims: &[i64], values: &[i64]| shaped("i", dims, values);
    let outside = [2, -3, i64::MIN, i64::MAX];
    for value in outside {
        let inputs = [data.clone(), index(&[1, 1], &[value])];
        let error = result("GatherElements", &inputs, vec![]).unwrap_err();
        assert!(matches!(error, OpError::Index { .. }), "{error}");
        let inputs = [data.clone(), index(&[1, 2], &[value, 0])];
        let error = result("GatherND", &inputs, vec![]).unwrap_err();
        assert!(matches!(error, OpError::Index { .. }), "{error}");
    }
    for (operator, dims, updates) in [
        ("GatherElements", &[6][..], None),
        ("GatherElements", &[1, 4], None),
        ("GatherND", &[], None),
        ("GatherND", &[2, 0], None),
        ("GatherND", &[1, 3], None),
        ("ScatterND", &[1, 3], Some(&[1][..])),
        ("ScatterND", &[1, 1], Some(&[1])),
        ("ScatterElements", &[1, 1], Some(&[1, 2])),
    ] {
        let zeros = |dims: &[i64]| vec![0; dims.iter().product::<i64>() as usize];
        let mut inputs = vec![data.clone(), index(dims, &zeros(dims))];
        inputs.extend(updates.map(|dims| shaped("u", dims, &zeros(dims))));
        let error = result(operator, &inputs, vec![]).unwrap_err();
        assert!(matches!(error, OpError::Shape { .. }), "{operator} {error}");
    }
    let batch = vec![int("batch_dims", i64::MAX)];
    let inputs = [data.clone(), index(&[2, 1], &[0, 0])];
    assert!(result("GatherND", &inputs, batch).is_err());
    let many = [
        data,
        index(&[65, 1], &[1; 65]),
        shaped("u", &[65, 3], &[1; 195]),
    ];
    let error = result("ScatterND", &many, vec![string("reduction", "add")]);
    assert!(error.unwrap_err().to_string().contains("64 updates"));
}

#[test]
fn an_index_at_run_time_selects_rows() {
    let model = onnx(17)
        .input("command", &[1])
        .weights("table", &[3, 4, 5])
        .node("Cast", &["command"], &["index"], vec![int("to", 7)])
        .node("Gather", &["table", "index"], &["y"], vec![int("axis", 1)])
        .outputs(&["y"]);
    let graph = model.read().unwrap();
    assert_eq!(graph.value(graph.outputs[0]).shape, [3, 1, 5]);
    assert!(graph.nodes.iter().any(|node| node.op.name() == "MatMul"));
}

#[test]
fn grids_that_do_not_fit_are_refused() {
    let sampled = |x: &[i64], grid: &[i64], value: f32| {
        let count = grid.iter().product::<i64>() as usize;
        let model = onnx(20)
            .input("x", x)
            .initializer(floats("grid", grid, &vec![value; count]))
            .node("GridSample", &["x", "grid"], &["y"], vec![])
            .outputs(&["y"]);
        (model.read()).map(|graph| graph.value(graph.outputs[0]).shape.clone())
    };
    let shape = sampled(&[1, 3, 4, 5], &[1, 2, 6, 2], 0.5).unwrap();
    assert_eq!(shape, [1, 3, 2, 6]);
    for (x, grid, value) in [
        (&[2, 3, 4, 5], &[2, 2, 6, 2], 0.5),
        (&[1, 3, 4, 5], &[1, 2, 6, 3], 0.5),
        (&[1, 3, 4, 5], &[1, 2, 6, 2], f32::NAN),
        (&[1, 3, 0, 5], &[1, 2, 6, 2], 0.5),
    ] {
        assert!(sampled(x, grid, value).is_err(), "{x:?} {grid:?} {value}");
    }
    // Far outside of the picture is a place, too.
    for value in [f32::MAX, f32::MIN] {
        assert!(sampled(&[1, 3, 4, 5], &[1, 2, 6, 2], value).is_ok());
    }
}
