use half::f16;
use pilotage_graph::{GraphBuilder, TensorType, Value, widen};

use super::*;
use crate::evaluate::{EvaluateError, evaluate};
use crate::lower::LowerError;

/// max(0.1 x + 2, 0) in float16, between float32 ports.
fn halves() -> Graph {
    let mut b = GraphBuilder::new("halves");
    let x = b.input("x", TensorType::new(ElementType::F32, [1, 3]));
    let half = |data: &[f32]| {
        let data: Vec<f16> = data.iter().map(|&x| f16::from_f32(x)).collect();
        Tensor::new([data.len()], data).unwrap()
    };
    let w = b.constant("w", half(&[0.1])).unwrap();
    let c = b.constant("c", half(&[2.0])).unwrap();
    let to = |to| Op::Cast { to };
    let x = b.node("in", to(ElementType::F16), &[x.unwrap()]).unwrap();
    let y = b.node("times", Op::Mul, &[x, w]).unwrap();
    let y = b.node("plus", Op::Add, &[y, c]).unwrap();
    let y = b.node("relu", Op::Relu, &[y]).unwrap();
    let y = b.node("out", to(ElementType::F32), &[y]).unwrap();
    b.output("y", y).unwrap();
    b.finish().unwrap()
}

#[test]
fn a_network_in_float16_becomes_one_in_float32_of_the_same_weights() {
    let mut graph = halves();
    let input = Tensor::new([1, 3], vec![-30.0_f32, 1.0, 3.0]).unwrap();
    let refused = evaluate(&graph, std::slice::from_ref(&input)).unwrap_err();
    assert!(
        matches!(
            &refused,
            EvaluateError::Lower(LowerError::ElementType {
                found: ElementType::F16,
                ..
            })
        ),
        "{refused}"
    );
    widen(&mut graph);
    graph.check().unwrap();
    let float = |value: &Value| value.element_type == ElementType::F32;
    assert!(graph.values.iter().all(float));
    let answers = evaluate(&graph, &[input]).unwrap();
    // numpy.float16(0.1)
    let w = 0.099_975_586_f32;
    assert_eq!(answers[0].as_f32().unwrap(), [0.0, w + 2.0, 3.0 * w + 2.0]);
}

/// Two consecutive layers, with an output after each.
fn floats() -> Graph {
    let mut b = GraphBuilder::new("floats");
    let x = b
        .input("x", TensorType::new(ElementType::F32, [1, 2]))
        .unwrap();
    let weights = |data: [f32; 4]| Tensor::new([2, 2], data.to_vec()).unwrap();
    let w = b.constant("w", weights([0.1, 0.2, 0.3, 0.4])).unwrap();
    let v = b.constant("v", weights([1.0, -1.0, 0.7, 3.0])).unwrap();
    let y = b.node("first", Op::MatMul, &[x, w]).unwrap();
    let y = b.node("relu", Op::Relu, &[y]).unwrap();
    b.output("middle", y).unwrap();
    let y = b.node("second", Op::MatMul, &[y, v]).unwrap();
    b.output("y", y).unwrap();
    b.finish().unwrap()
}

fn types(graph: &Graph, node: &str) -> Vec<ElementType> {
    let node = graph.nodes.iter().find(|n| n.name == node).unwrap();
    let values = node.inputs.iter().chain(&node.outputs);
    values.map(|&v| graph.value(v).element_type).collect()
}

#[test]
fn selected_nodes_become_float16_with_casts_at_the_borders() {
    use ElementType::{F16, F32};
    let graph = floats();
    let casts = |graph: &Graph| graph.nodes.iter().filter(|n| n.op.name() == "Cast").count();
    let all = narrow(&graph, |_| true).unwrap();
    all.check().unwrap();
    assert_eq!(types(&all, "first"), [F16; 3]);
    assert_eq!(types(&all, "second"), [F16; 3]);
    // One cast at the input, two at the outputs.
    assert_eq!(casts(&all), 3);
    let part = narrow(&graph, |node| node.name == "second").unwrap();
    part.check().unwrap();
    assert_eq!(types(&part, "first"), [F32; 3]);
    assert_eq!(types(&part, "second"), [F16; 3]);
    assert_eq!(casts(&part), 2);
    assert_eq!(narrow(&graph, |_| false).unwrap(), graph);
    for made in [all, part] {
        let ports = |graph: &Graph| -> Vec<(String, ElementType)> {
            let ports = graph.inputs.iter().chain(&graph.outputs);
            let values = ports.map(|&v| graph.value(v));
            values.map(|v| (v.name.clone(), v.element_type)).collect()
        };
        assert_eq!(ports(&made), ports(&graph));
        // The written model reads back unchanged.
        let read = Graph::read(&made.write(), &pilotage_graph::ReadOptions::default()).unwrap();
        assert_eq!(read.write(), made.write());
        // Converted back to float32, it is the same network with rounded weights.
        let mut wide = made;
        widen(&mut wide);
        let input = Tensor::new([1, 2], vec![0.5_f32, 2.0]).unwrap();
        let [found, expected] =
            [&wide, &graph].map(|graph| evaluate(graph, std::slice::from_ref(&input)).unwrap());
        for (found, expected) in found.iter().zip(&expected) {
            let pairs = found
                .as_f32()
                .unwrap()
                .iter()
                .zip(expected.as_f32().unwrap());
            for (found, expected) in pairs {
                let deviation = (found - expected).abs();
                assert!(deviation <= expected.abs() * 1e-3, "{found} {expected}");
            }
        }
    }
}

#[test]
fn the_followers_of_a_layer_end_at_the_next_one() {
    let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
    let graph = floats();
    let found = with_followers(&graph, &names(&["second"]));
    assert_eq!(found, names(&["second"]));
    let found = with_followers(&graph, &names(&["first"]));
    assert_eq!(found, names(&["first", "relu"]));
}

#[test]
fn a_weight_too_large_for_float16_is_named() {
    let mut graph = floats();
    let large = Tensor::new([2, 2], vec![0.0, 70_000.0, 0.0, f32::INFINITY]).unwrap();
    let value = graph
        .values
        .iter_mut()
        .find(|value| value.name == "v")
        .unwrap();
    value.constant = Some(large);
    let error = narrow(&graph, |_| true).unwrap_err();
    assert_eq!((error.tensor.as_str(), error.number), ("v", 70_000.0));
    assert!(
        error.to_string().contains("float16 ends at 65504"),
        "{error}"
    );
    narrow(&graph, |node| node.name == "first").unwrap();
}

#[test]
fn limits_and_borders_are_rounded_too() {
    let mut b = GraphBuilder::new("limits");
    let x = b
        .input("x", TensorType::new(ElementType::F32, [1, 2]))
        .unwrap();
    let clip = Op::Clip { min: 0.1, max: 1e9 };
    let y = b.node("clip", clip, &[x]).unwrap();
    let pad = |number| pilotage_graph::Pad {
        before: vec![0, 1],
        after: vec![0, 0],
        mode: PadMode::Constant(number),
    };
    let y = b.node("pad", Op::Pad(pad(0.3)), &[y]).unwrap();
    b.output("y", y).unwrap();
    let mut graph = b.finish().unwrap();
    let half = narrow(&graph, |_| true).unwrap();
    half.check().unwrap();
    let read = Graph::read(&half.write(), &pilotage_graph::ReadOptions::default()).unwrap();
    let ops = |graph: &Graph| -> Vec<Op> { graph.nodes.iter().map(|n| n.op.clone()).collect() };
    assert_eq!(ops(&read), ops(&half));
    assert!(ops(&half).contains(&Op::Clip {
        min: 0.099_975_586,
        max: f32::INFINITY
    }));
    for node in &mut graph.nodes {
        if let Op::Pad(pad) = &mut node.op {
            pad.mode = PadMode::Constant(1e6);
        }
    }
    assert_eq!(narrow(&graph, |_| true).unwrap_err().tensor, "pad");
}
