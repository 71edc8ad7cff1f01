use pilotage_graph::{Conv, ElementType, Gemm, GraphBuilder, Tensor, TensorType};

use super::*;
use crate::evaluate::evaluate;
use crate::quantize::layers;

/// A tensor of deterministic pseudo-random numbers.
fn tensor(shape: &[usize], seed: u32) -> Tensor {
    let mut state = seed.wrapping_mul(2_654_435_761);
    let data: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::new(shape, data).unwrap()
}

/// Two convolutions and a fully connected layer. The ranges of the first convolution's channels
/// differ by a factor of 1000. `between` is the operator between the convolutions.
fn net(between: Op) -> Graph {
    let mut b = GraphBuilder::new("net");
    let x = TensorType::new(ElementType::F32, [1, 2, 6, 6]);
    let x = b.input("x", x).unwrap();
    let conv = || {
        Op::Conv(Conv {
            kernel: [3; 2],
            strides: [1; 2],
            pads: [0; 4],
            dilations: [1; 2],
            groups: 1,
        })
    };
    let uneven = tensor(&[4, 2, 3, 3], 1);
    let uneven: Vec<f32> = (uneven.as_f32().unwrap().iter().enumerate())
        .map(|(at, w)| w * [1.0, 0.001, 0.1, 0.03][at / 18])
        .collect();
    let w = Tensor::new([4, 2, 3, 3], uneven).unwrap();
    let w1 = b.constant("w1", w).unwrap();
    let b1 = b.constant("b1", tensor(&[4], 2)).unwrap();
    let w2 = b.constant("w2", tensor(&[3, 4, 3, 3], 3)).unwrap();
    let w3 = b.constant("w3", tensor(&[2, 12], 4)).unwrap();
    let y = b.node("conv1", conv(), &[x, w1, b1]).unwrap();
    let y = b.node("between", between, &[y]).unwrap();
    let y = b.node("conv2", conv(), &[y, w2]).unwrap();
    let y = b.node("relu", Op::Relu, &[y]).unwrap();
    let y = b.node("flat", Op::Flatten { axis: 1 }, &[y]).unwrap();
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    let y = b.node("fc", Op::Gemm(gemm), &[y, w3]).unwrap();
    b.output("y", y).unwrap();
    b.finish().unwrap()
}

#[test]
fn ranges_become_equal_and_the_function_stays() {
    for between in [Op::Relu, Op::LeakyRelu { alpha: 0.1 }, Op::Identity] {
        let graph = net(between);
        assert_eq!(layers(&graph), ["conv1", "conv2", "fc"]);
        let (equal, pairs) = equalize(&graph);
        assert_eq!(pairs, 2);
        equal.check().unwrap();
        let first = Layer::of(&equal, 0).unwrap();
        let second = Layer::of(&equal, 2).unwrap();
        for (out, into) in first.ranges_out().iter().zip(second.ranges_in(4)) {
            // Equalizing the second pair changes the second layer's units, but not the order of
            // its channels.
            assert!((out / into).abs() > 1e-3 && (out / into).abs() < 1e3);
        }
        let spread = |graph: &Graph| {
            let ranges = Layer::of(graph, 0).unwrap().ranges_out();
            let most = ranges.iter().copied().fold(0.0, f32::max);
            most / ranges.iter().copied().fold(f32::INFINITY, f32::min)
        };
        assert!(spread(&equal) < spread(&graph) / 10.0);

        let x = tensor(&[1, 2, 6, 6], 9);
        let before = evaluate(&graph, std::slice::from_ref(&x)).unwrap();
        let after = evaluate(&equal, &[x]).unwrap();
        let pairs = before[0]
            .as_f32()
            .unwrap()
            .iter()
            .zip(after[0].as_f32().unwrap());
        for (a, b) in pairs {
            assert!((a - b).abs() < 1e-5 * a.abs().max(1.0), "{a} {b}");
        }
    }
}

#[test]
fn nothing_changes_across_other_activations_or_shared_values() {
    for between in [Op::Tanh, Op::Elu { alpha: 1.0 }] {
        // Only the second pair is equalized.
        assert_eq!(equalize(&net(between)).1, 1);
    }
    let mut graph = net(Op::Relu);
    let inner = graph.nodes[1].outputs[0];
    graph.outputs.push(inner);
    assert_eq!(equalize(&graph).1, 1);
}

#[test]
fn clustered_weights_are_recognised_by_their_units() {
    let net = |weight: fn(usize) -> f32| {
        let mut b = GraphBuilder::new("net");
        let input = TensorType::new(ElementType::F32, [1, 64]);
        let x = b.input("x", input).unwrap();
        let weights = Tensor::new([32, 64], (0..32 * 64).map(weight).collect::<Vec<f32>>());
        let w = b.constant("w", weights.unwrap()).unwrap();
        let gemm = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transpose_a: false,
            transpose_b: true,
        };
        let y = b.node("fc", Op::Gemm(gemm), &[x, w]).unwrap();
        b.output("y", y).unwrap();
        b.finish().unwrap()
    };
    // 16 values in each unit, other ones in each.
    assert!(is_clustered(&net(|at| (at % 16 + at / 64) as f32)));
    assert!(!is_clustered(&net(|at| (at % 17) as f32)));
    assert!(!is_clustered(&net(|at| at as f32)));
}
