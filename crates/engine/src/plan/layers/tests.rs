use super::*;
use crate::conformance::PlanBuilder;
use crate::plan::{Activation, ConstantData, PoolKind, Window};

const WINDOW: Window = Window {
    kernel: [3, 3],
    strides: [2, 2],
    pads: [0, 0],
    dilations: [1, 1],
};

/// The expected multiply-adds: `taps` for each output element.
fn expected_adds(output: &[usize], taps: usize) -> u64 {
    output.iter().fold(taps, |count, size| count * size) as u64
}

#[test]
fn layers_report_multiply_adds_and_weight_bytes() {
    let mut builder = PlanBuilder::default();
    let x = builder.input_f32(&[1, 9, 9, 4]);
    let conv = Operation::Conv2d {
        weights: builder.weights(&[6, 3, 3, 2], 1.0),
        bias: None,
        window: WINDOW,
        groups: 2,
        activation: Activation::Relu,
    };
    let x = builder.step(conv, &[x], &[1, 4, 4, 6]);
    let pool = Operation::Pool2d {
        kind: PoolKind::Max,
        window: WINDOW,
    };
    let x = builder.step(pool, &[x], &[1, 1, 1, 6]);
    let dense = Operation::FullyConnected {
        weights: builder.weights(&[5, 6], 1.0),
        bias: Some(builder.weights(&[5], 1.0)),
        activation: Activation::None,
    };
    let x = builder.step(dense, &[x], &[1, 1, 1, 5]);
    let other = Operand::Constant(builder.weights(&[5, 7], 1.0));
    let x = builder.step(Operation::MatMul, &[x, other], &[1, 1, 1, 7]);
    let plan = builder.finish(&[x]);
    plan.validate().unwrap();

    let layers = plan.layers();
    let adds: Vec<_> = layers.iter().map(|layer| layer.multiply_adds).collect();
    let expected = [
        expected_adds(&[1, 4, 4, 6], 3 * 3 * 2),
        0,
        expected_adds(&[1, 1, 1, 5], 6),
        expected_adds(&[1, 1, 1, 7], 5),
    ];
    assert_eq!(adds, expected);
    let bytes: Vec<_> = layers.iter().map(|layer| layer.weight_bytes).collect();
    assert_eq!(bytes, [4 * 6 * 3 * 3 * 2, 0, 4 * 5 * 6, 4 * 5 * 7]);
    assert_eq!(layers[0].inputs, [[1, 9, 9, 4]]);
    assert_eq!(layers[3].inputs, [[1, 1, 1, 5]], "constants are not inputs");
    assert!(layers.iter().all(|layer| layer.precision == "fp32"));
}

#[test]
fn precision_is_that_of_the_weights_and_the_arithmetic() {
    let mut builder = PlanBuilder::default();
    let x = builder.input(&[1, 3], ElementType::I8);
    let int8 = |builder: &mut PlanBuilder, finish| Operation::QuantizedFullyConnected {
        weights: builder.constant(&[2, 3], ConstantData::I8(vec![1; 6])),
        bias: None,
        multiplier: builder.constant(&[2], ConstantData::F32(vec![0.5; 2])),
        finish,
    };
    let activation = Activation::None;
    let first = int8(&mut builder, Epilogue::Float { activation });
    let y = builder.step(first, &[x], &[1, 2]);
    let scale = builder.step(Operation::DynamicScale, &[y], &[1]);
    let dynamic = Operation::DynamicQuantize;
    let q = builder.typed_step(dynamic, &[y, scale], &[1, 2], ElementType::I8);
    let finish = Epilogue::Dynamic {
        bias: None,
        activation,
    };
    let second = Operation::QuantizedFullyConnected {
        weights: builder.constant(&[4, 2], ConstantData::I8(vec![1; 8])),
        bias: None,
        multiplier: builder.constant(&[4], ConstantData::F32(vec![0.5; 4])),
        finish,
    };
    let z = builder.step(second, &[q, scale], &[1, 4]);
    let plan = builder.finish(&[z]);
    plan.validate().unwrap();
    let precisions: Vec<_> = plan.layers().iter().map(|l| l.precision).collect();
    assert_eq!(precisions, ["int8", "fp32", "int8", "int8-dynamic"]);
    let bytes: Vec<_> = plan.layers().iter().map(|l| l.weight_bytes).collect();
    assert_eq!(bytes, [6, 0, 0, 8]);
}
