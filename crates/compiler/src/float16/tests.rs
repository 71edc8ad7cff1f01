use half::f16;
use pilotage_graph::{GraphBuilder, TensorType};

use super::*;
use crate::evaluate::{EvaluateError, evaluate};
use crate::lower::LowerError;

/// 0.1 x + 2 at least 0, in float16 between float32 ports.
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
    let float = |value: &pilotage_graph::Value| value.element_type == ElementType::F32;
    assert!(graph.values.iter().all(float));
    let answers = evaluate(&graph, &[input]).unwrap();
    // numpy.float16(0.1)
    let w = 0.099_975_586_f32;
    assert_eq!(answers[0].as_f32().unwrap(), [0.0, w + 2.0, 3.0 * w + 2.0]);
}
