//! Small networks that together use every operation.

use super::PlanBuilder;
use crate::ElementType;
use crate::plan::{
    Activation, BinaryOperator, ConstantData, Fill, Function, Operand, Operation, Plan, PoolKind,
    Reduction, SliceStep, Window,
};

const PLAIN: Window = Window {
    kernel: [3, 3],
    strides: [1, 1],
    pads: [0, 0],
    dilations: [1, 1],
};

/// All networks with their names.
pub fn networks() -> Vec<(&'static str, Plan)> {
    vec![
        ("driving", driving()),
        ("convolutions", convolutions()),
        ("curves", curves()),
        ("functions", functions()),
        ("arithmetic", arithmetic()),
        ("comparison", comparison()),
        ("pooling", pooling()),
        ("movement", movement()),
        ("conversion", conversion()),
        ("straight through", straight_through()),
    ]
}

/// A small PilotNet.
fn driving() -> Plan {
    let mut b = PlanBuilder::default();
    let mut x = b.input_f32(&[1, 21, 31, 3]);
    for (depth, units, kernel, shape) in [
        (3, 12, [5, 5], [1, 9, 14, 12]),
        (12, 20, [3, 5], [1, 4, 5, 20]),
    ] {
        let weights = b.weights(&[units, kernel[0], kernel[1], depth], 0.2);
        let bias = Some(b.weights(&[units], 0.1));
        x = b.step(
            Operation::Conv2d {
                weights,
                bias,
                window: Window {
                    kernel,
                    strides: [2, 2],
                    ..PLAIN
                },
                groups: 1,
                activation: Activation::Relu,
            },
            &[x],
            &shape,
        );
    }
    x = b.step(Operation::Reshape, &[x], &[1, 400]);
    for (depth, units, activation) in [
        (400, 116, Activation::Relu),
        (116, 50, Activation::Elu { alpha: 1.0 }),
        (50, 2, Activation::Tanh),
    ] {
        let weights = b.weights(&[units, depth], 0.1);
        let bias = Some(b.weights(&[units], 0.1));
        x = b.step(
            Operation::FullyConnected {
                weights,
                bias,
                activation,
            },
            &[x],
            &[1, units],
        );
    }
    b.finish(&[x])
}

/// Pads, dilations, groups, depthwise, a batch, several inputs and outputs.
fn convolutions() -> Plan {
    let mut b = PlanBuilder::default();
    let x = b.input_f32(&[2, 9, 11, 6]);
    let other = b.input_f32(&[1, 5, 1, 4]);
    let mut convolution =
        |x, units: usize, depth, window: Window, groups, activation, shape: &_| {
            let [height, width] = window.kernel;
            let weights = b.weights(&[units, height, width, depth], 0.3);
            let bias = (groups != 2).then(|| b.weights(&[units], 0.2));
            b.step(
                Operation::Conv2d {
                    weights,
                    bias,
                    window,
                    groups,
                    activation,
                },
                &[x],
                shape,
            )
        };
    let padded = Window {
        pads: [1, 1],
        ..PLAIN
    };
    let same = convolution(x, 70, 6, padded, 1, Activation::None, &[2, 9, 11, 70]);
    let dilated = Window {
        dilations: [2, 3],
        pads: [3, 2],
        strides: [1, 2],
        ..PLAIN
    };
    let leaky = Activation::LeakyRelu { alpha: 0.1 };
    let wide = convolution(x, 10, 3, dilated, 2, leaky, &[2, 10, 5, 10]);
    let clip = Activation::Clip {
        min: Some(-0.5),
        max: None,
    };
    let depthwise = convolution(x, 6, 1, padded, 6, clip, &[2, 9, 11, 6]);
    let doubled = convolution(x, 12, 1, padded, 6, Activation::Sigmoid, &[2, 9, 11, 12]);
    let far = Window {
        kernel: [1, 2],
        pads: [2, 3],
        ..PLAIN
    };
    // A window that is completely in the padding gives the bias.
    let outside = convolution(other, 9, 4, far, 1, Activation::Relu, &[1, 9, 8, 9]);
    b.finish(&[same, wide, depthwise, doubled, outside])
}

fn curves() -> Plan {
    let mut b = PlanBuilder::default();
    let x = b.input_f32(&[3, 37]);
    let big = b.constant(&[1], ConstantData::F32(vec![6.0]));
    let x = b.step(
        Operation::Binary {
            operator: BinaryOperator::Mul,
            activation: Activation::None,
        },
        &[x, Operand::Constant(big)],
        &[3, 37],
    );
    let outputs: Vec<Operand> = [
        Activation::None,
        Activation::Relu,
        Activation::LeakyRelu { alpha: 0.01 },
        Activation::Elu { alpha: 1.5 },
        Activation::Sigmoid,
        Activation::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Activation::Tanh,
        Activation::Softplus,
        Activation::Softsign,
        Activation::Clip {
            min: None,
            max: Some(2.0),
        },
        Activation::Clip {
            min: Some(1.0),
            max: Some(-1.0),
        },
    ]
    .into_iter()
    .map(|activation| b.step(Operation::Unary { activation }, &[x], &[3, 37]))
    .collect();
    b.finish(&outputs)
}

/// Inputs from -1 to 1 and from -4 to 4; some functions are NaN there. The factor is a power of
/// two, since a tangent near its pole would amplify the rounding of a product.
fn functions() -> Plan {
    let mut b = PlanBuilder::default();
    let x = b.input_f32(&[3, 37]);
    let factor = Operand::Constant(b.constant(&[1], ConstantData::F32(vec![4.0])));
    let mut outputs = Vec::new();
    for function in Function::ALL {
        let activation = Activation::Function(function);
        let operator = BinaryOperator::Mul;
        let fused = Operation::Binary {
            operator,
            activation,
        };
        outputs.push(b.step(Operation::Unary { activation }, &[x], &[3, 37]));
        outputs.push(b.step(fused, &[x, factor], &[3, 37]));
    }
    b.finish(&outputs)
}

/// Minimum, maximum, power, comparisons, selection, and reductions other than the mean.
fn comparison() -> Plan {
    let mut b = PlanBuilder::default();
    let shape = [2, 3, 4, 5];
    let x = b.input_f32(&shape);
    let row = b.input_f32(&[5]);
    let column = b.input_f32(&[3, 1, 1]);
    let condition = b.input(&[4, 1], ElementType::Bool);
    let one = b.input(&[], ElementType::Bool);
    let activation = Activation::None;
    let mut outputs = Vec::new();
    for operator in [
        BinaryOperator::Min,
        BinaryOperator::Max,
        BinaryOperator::Pow,
        BinaryOperator::Equal,
        BinaryOperator::Greater,
        BinaryOperator::GreaterOrEqual,
        BinaryOperator::Less,
        BinaryOperator::LessOrEqual,
    ] {
        let operation = Operation::Binary {
            operator,
            activation,
        };
        outputs.push(b.step(operation.clone(), &[x, x], &shape));
        outputs.push(b.step(operation.clone(), &[x, row], &shape));
        outputs.push(b.step(operation, &[column, x], &shape));
    }
    for inputs in [
        [condition, x, row],
        [condition, column, x],
        [one, x, column],
    ] {
        outputs.push(b.step(Operation::Select, &inputs, &shape));
    }
    outputs.push(b.step(Operation::Select, &[condition, row, column], &[3, 4, 5]));
    for reduction in [Reduction::Sum, Reduction::Min, Reduction::Max] {
        for (axes, shape) in [
            (vec![1, 2], vec![2, 5]),
            (vec![0, 3], vec![1, 3, 4, 1]),
            (vec![3], vec![2, 3, 4]),
            (vec![0, 1, 2, 3], vec![]),
        ] {
            outputs.push(b.step(Operation::Reduce { reduction, axes }, &[x], &shape));
        }
    }
    b.finish(&outputs)
}

fn arithmetic() -> Plan {
    let mut b = PlanBuilder::default();
    let x = b.input_f32(&[2, 3, 4, 5]);
    let row = b.input_f32(&[5]);
    let column = b.input_f32(&[3, 1, 1]);
    let shape = [2, 3, 4, 5];
    let mut outputs = Vec::new();
    for (operator, other) in [
        (BinaryOperator::Add, x),
        (BinaryOperator::Sub, row),
        (BinaryOperator::Mul, column),
    ] {
        for inputs in [[x, other], [other, x]] {
            let activation = Activation::Relu;
            outputs.push(b.step(
                Operation::Binary {
                    operator,
                    activation,
                },
                &inputs,
                &shape,
            ));
        }
    }
    let grid = b.step(
        Operation::Binary {
            operator: BinaryOperator::Div,
            activation: Activation::Sigmoid,
        },
        &[column, row],
        &[3, 1, 5],
    );
    let (scale, shift) = (b.weights(&[5], 2.0), b.weights(&[5], 1.0));
    let affine = Operation::Affine {
        scale,
        shift,
        activation: Activation::Relu,
    };
    outputs.extend([grid, b.step(affine, &[x], &shape)]);
    for (axes, shape) in [
        (vec![1, 2], vec![2, 5]),
        (vec![1, 2], vec![2, 1, 1, 5]),
        (vec![0, 3], vec![3, 4]),
        (vec![3], vec![2, 3, 4]),
        (vec![0, 1, 2, 3], vec![]),
        (vec![], vec![2, 3, 4, 5]),
    ] {
        outputs.push(b.step(Operation::ReduceMean { axes }, &[x], &shape));
    }
    for (axis, end_axis) in [(3, 4), (1, 2), (1, 4), (0, 1)] {
        outputs.push(b.step(Operation::Softmax { axis, end_axis }, &[x], &shape));
    }
    let matrix = Operand::Constant(b.weights(&[3, 5, 2], 1.0));
    outputs.push(b.step(Operation::MatMul, &[x, matrix], &[2, 3, 4, 2]));
    let square = b.step(
        Operation::Transpose {
            perm: vec![0, 1, 3, 2],
        },
        &[x],
        &[2, 3, 5, 4],
    );
    outputs.push(b.step(Operation::MatMul, &[x, square], &[2, 3, 4, 4]));
    let weights = b.weights(&[7, 5], 1.0);
    let rows = Operation::FullyConnected {
        weights,
        bias: None,
        activation: Activation::None,
    };
    outputs.push(b.step(rows, &[x], &[2, 3, 4, 7]));
    b.finish(&outputs)
}

fn pooling() -> Plan {
    let mut b = PlanBuilder::default();
    let x = b.input_f32(&[2, 7, 8, 19]);
    let padded = Window {
        strides: [2, 2],
        pads: [1, 1],
        ..PLAIN
    };
    let dilated = Window {
        kernel: [2, 2],
        dilations: [2, 3],
        ..PLAIN
    };
    let with_pads = PoolKind::AverageWithPads {
        bottom: 1,
        right: 0,
    };
    let outputs: Vec<Operand> = [
        (PoolKind::Max, padded, [2, 4, 4, 19]),
        (PoolKind::Average, padded, [2, 4, 4, 19]),
        (with_pads, padded, [2, 4, 4, 19]),
        (PoolKind::Max, dilated, [2, 5, 5, 19]),
        (PoolKind::Average, dilated, [2, 5, 5, 19]),
        // The last windows extend past the input, as with ONNX's ceil_mode.
        (with_pads, padded, [2, 4, 5, 19]),
    ]
    .into_iter()
    .map(|(kind, window, shape)| b.step(Operation::Pool2d { kind, window }, &[x], &shape))
    .collect();
    b.finish(&outputs)
}

fn movement() -> Plan {
    let mut b = PlanBuilder::default();
    let mut outputs = Vec::new();
    for element_type in [
        ElementType::F32,
        ElementType::I64,
        ElementType::I32,
        ElementType::U8,
        ElementType::I8,
    ] {
        let x = b.input(&[2, 3, 4], element_type);
        let perm = vec![2, 0, 1];
        let turned = b.typed_step(
            Operation::Transpose { perm },
            &[x],
            &[4, 2, 3],
            element_type,
        );
        let axes = vec![
            SliceStep { start: 3, step: -2 },
            SliceStep { start: 1, step: 1 },
            SliceStep { start: 0, step: 2 },
        ];
        let part = b.typed_step(
            Operation::Slice { axes },
            &[turned],
            &[2, 1, 2],
            element_type,
        );
        for (axis, indices, shape) in [
            (0, vec![1, 1, 0], [3, 3, 4]),
            (1, vec![2], [2, 1, 4]),
            (2, vec![3, 0, 0, 2, 1], [2, 3, 5]),
            (2, vec![], [2, 3, 0]),
        ] {
            let indices = b.constant(&[indices.len()], ConstantData::I64(indices));
            let gather = Operation::Gather { axis, indices };
            outputs.push(b.typed_step(gather, &[x], &shape, element_type));
        }
        let flat = b.typed_step(Operation::Reshape, &[part], &[2, 2], element_type);
        let joined = b.typed_step(
            Operation::Concat { axis: 1 },
            &[flat, flat, flat],
            &[2, 6],
            element_type,
        );
        outputs.extend([joined, turned]);
        for (before, fill, shape) in [
            (vec![1, 2], Fill::Constant(3.0), [3, 9]),
            (vec![1, 5], Fill::Reflect, [3, 17]),
            (vec![0, -1], Fill::Edge, [4, 7]),
            (vec![3, 2], Fill::Wrap, [7, 9]),
        ] {
            let pad = Operation::Pad { before, fill };
            outputs.push(b.typed_step(pad, &[joined], &shape, element_type));
        }
    }
    b.finish(&outputs)
}

fn conversion() -> Plan {
    let mut b = PlanBuilder::default();
    let x = b.input_f32(&[2, 3, 50]);
    let small = b.constant(&[], ConstantData::F32(vec![0.005]));
    let each = b.constant(&[3], ConstantData::F32(vec![0.01, 0.002, 0.25]));
    let zero = b.constant(&[3], ConstantData::U8(vec![128, 3, 255]));
    let shape = [2, 3, 50];
    let signed = Operation::Quantize {
        scale: small,
        zero_point: None,
        axis: 0,
    };
    let signed = b.typed_step(signed, &[x], &shape, ElementType::I8);
    let quantize = Operation::Quantize {
        scale: each,
        zero_point: Some(zero),
        axis: 1,
    };
    let unsigned = b.typed_step(quantize, &[x], &shape, ElementType::U8);
    let back = Operation::Dequantize {
        scale: each,
        zero_point: Some(zero),
        axis: 1,
    };
    let back = b.step(back, &[unsigned], &shape);
    let mut outputs = vec![signed, unsigned, back];
    let [first, sum] = [0.005, 0.011].map(|scale| b.constant(&[1], ConstantData::F32(vec![scale])));
    for (inputs, (low, high)) in [
        ([x, signed], (0, 127)),
        ([signed, back], (-128, 127)),
        ([signed, signed], (-128, 90)),
        ([x, back], (-20, 30)),
    ] {
        let add = Operation::QuantizedAdd {
            scales: inputs.map(|input| (input == signed).then_some(first)),
            scale: sum,
            low,
            high,
        };
        outputs.push(b.typed_step(add, &inputs, &shape, ElementType::I8));
    }
    let scale = b.constant(&[50], ConstantData::F32(vec![200.0; 50]));
    let shift = b.constant(&[50], ConstantData::F32(vec![0.0; 50]));
    let wide = b.step(
        Operation::Affine {
            scale,
            shift,
            activation: Activation::None,
        },
        &[x],
        &shape,
    );
    for element_type in [
        ElementType::I64,
        ElementType::I32,
        ElementType::U8,
        ElementType::I8,
        ElementType::Bool,
    ] {
        let cast = b.typed_step(Operation::Cast, &[wide], &shape, element_type);
        outputs.extend([cast, b.step(Operation::Cast, &[cast], &shape)]);
    }
    b.finish(&outputs)
}

/// An input and a constant as outputs, and a reshaped input.
fn straight_through() -> Plan {
    let mut b = PlanBuilder::default();
    let x = b.input_f32(&[2, 3]);
    let unused = b.input(&[4], ElementType::Bool);
    let constant = Operand::Constant(b.weights(&[3], 1.0));
    let reshaped = b.step(Operation::Reshape, &[x], &[6]);
    let fixed = b.step(Operation::Reshape, &[constant], &[1, 3]);
    b.finish(&[x, constant, reshaped, fixed, x, unused])
}
