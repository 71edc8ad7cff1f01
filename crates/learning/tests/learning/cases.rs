//! One small random graph for each operator.

use pilotage_graph::{
    Conv, Function, Gemm, Graph, Op, Pad, PadMode, Pool, Reduction, SliceAxis, ValueId,
};

use crate::Builder;

/// The number of kinds of [`graph`].
pub const KINDS: usize = 46;

fn conv(b: &mut Builder, groups: usize, depthwise: bool) -> ValueId {
    let kernel = [1 + b.random.below(3), 1 + b.random.below(3)];
    let conv = Conv {
        kernel,
        strides: [1 + b.random.below(2), 1 + b.random.below(2)],
        pads: [0; 4].map(|_| b.random.below(2)),
        dilations: [1 + b.random.below(2), 1 + b.random.below(2)],
        groups,
    };
    let depth = if depthwise { 1 } else { 2 };
    let units = if depthwise { groups } else { groups * 2 };
    let x = b.input(&[1, groups * depth, 5, 5]);
    let w = b.constant(&[units, depth, kernel[0], kernel[1]]);
    let bias = b.constant(&[units]);
    match b.random.below(3) {
        0 => b.node(Op::Conv(conv), &[x, w]),
        _ => b.node(Op::Conv(conv), &[x, w, bias]),
    }
}

fn picture(b: &mut Builder) -> ValueId {
    let (h, w) = (3 + b.random.below(3), 3 + b.random.below(3));
    let channels = 1 + b.random.below(3);
    b.input(&[1, channels, h, w])
}

/// A picture whose memory order is that of convolution.
fn after_pooling(b: &mut Builder) -> ValueId {
    let x = picture(b);
    let pool = Pool {
        kernel: [2, 2],
        strides: [1, 1],
        pads: [0; 4],
        dilations: [1, 1],
        count_include_pad: false,
    };
    b.node(Op::AveragePool(pool), &[x])
}

fn pool(b: &mut Builder) -> Pool {
    Pool {
        kernel: [2 + b.random.below(2), 2 + b.random.below(2)],
        strides: [1 + b.random.below(2), 1 + b.random.below(2)],
        pads: [0; 4].map(|_| b.random.below(2)),
        dilations: [1, 1],
        count_include_pad: b.random.below(2) == 0,
    }
}

fn scaled(b: &mut Builder, factor: f32, shift: f32) -> ValueId {
    let x = b.input(&[1, 7]);
    let (factor, shift) = (b.fixed(&[], vec![factor]), b.fixed(&[], vec![shift]));
    let x = b.node(Op::Mul, &[x, factor]);
    b.node(Op::Add, &[x, shift])
}

fn function(b: &mut Builder, function: Function, factor: f32, shift: f32) -> ValueId {
    let x = scaled(b, factor, shift);
    b.node(Op::Function(function), &[x])
}

/// The graph of a kind. Kinds at [`KINDS`] and above do not exist.
pub fn graph(kind: usize, seed: u64) -> Graph {
    let mut b = Builder::new(seed);
    let y = match kind {
        0 => conv(&mut b, 1, false),
        1 => conv(&mut b, 2, false),
        2 => conv(&mut b, 3, true),
        3 | 4 => {
            let x = b.input(&[1, 5]);
            let transpose_b = b.random.below(2) == 0;
            let w = if transpose_b { [3, 5] } else { [5, 3] };
            let w = b.constant(&w);
            let c = match b.random.below(3) {
                0 => vec![3],
                1 => vec![1, 3],
                _ => vec![],
            };
            let c = b.constant(&c);
            let gemm = Gemm {
                alpha: if kind == 3 { 1.0 } else { 0.5 },
                beta: if kind == 3 { 1.0 } else { 2.0 },
                transpose_a: false,
                transpose_b,
            };
            let y = b.node(Op::Gemm(gemm), &[x, w, c]);
            b.node(Op::Tanh, &[y])
        }
        5 => {
            let x = b.input(&[1, 2, 3, 4]);
            let w = b.constant(&[4, 5]);
            b.node(Op::MatMul, &[x, w])
        }
        6 => {
            let (x, y) = (b.input(&[1, 2, 3, 4]), b.input(&[1, 1, 4, 2]));
            b.node(Op::MatMul, &[x, y])
        }
        7 => {
            let x = b.input(&[1, 4, 3]);
            let w = b.constant(&[2, 4]);
            b.node(Op::MatMul, &[w, x])
        }
        8..=13 => {
            let op = [Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Min, Op::Max][kind - 8].clone();
            let x = match b.random.below(2) {
                0 => picture(&mut b),
                _ => after_pooling(&mut b),
            };
            let shape = b.shape(x);
            let other = match b.random.below(5) {
                0 => vec![shape[1], 1, 1],
                1 => vec![1, 1, shape[2], 1],
                2 => shape.clone(),
                3 => vec![shape[3]],
                _ => vec![],
            };
            let other = match b.random.below(2) {
                0 => {
                    let c = other.iter().product();
                    // Divisors are not near 0.
                    let data = b.random.spread(c).iter().map(|x| x + x.signum()).collect();
                    b.fixed(&other, data)
                }
                _ => {
                    let y = b.input(&[1, shape[1], 1, 1]);
                    let two = b.fixed(&[], vec![3.0]);
                    b.node(Op::Add, &[y, two])
                }
            };
            match b.random.below(2) {
                0 if kind != 11 => b.node(op, &[other, x]),
                _ => b.node(op, &[x, other]),
            }
        }
        14 => {
            let x = scaled(&mut b, 0.3, 2.0);
            let exponent = b.fixed(&[7], vec![2.0, 0.5, -1.0, 3.0, 1.0, 1.5, 0.0]);
            b.node(Op::Pow, &[x, exponent])
        }
        15 => {
            let x = match b.random.below(2) {
                0 => picture(&mut b),
                _ => after_pooling(&mut b),
            };
            let channels = b.shape(x)[1];
            let parameters = [0; 3].map(|_| b.constant(&[channels]));
            let variance = (1..=channels).map(|v| v as f32 * 0.5).collect();
            let variance = b.fixed(&[channels], variance);
            let inputs = [x, parameters[0], parameters[1], parameters[2], variance];
            b.node(Op::BatchNormalization { epsilon: 1e-3 }, &inputs)
        }
        16..=25 => {
            let op = [
                Op::Relu,
                Op::LeakyRelu { alpha: 0.1 },
                Op::Elu { alpha: 1.5 },
                Op::Sigmoid,
                Op::HardSigmoid {
                    alpha: 1.0,
                    beta: 0.5,
                },
                Op::Tanh,
                Op::Softplus,
                Op::Softsign,
                Op::Clip {
                    min: -0.5,
                    max: 0.25,
                },
                Op::LeakyRelu { alpha: -0.5 },
            ][kind - 16]
                .clone();
            let x = b.input(&[1, 3, 4]);
            // Half of the time the function replaces its argument in memory.
            let x = match b.random.below(2) {
                0 => x,
                _ => b.node(
                    Op::Transpose {
                        perm: vec![0, 2, 1],
                    },
                    &[x],
                ),
            };
            b.node(op, &[x])
        }
        26 => function(&mut b, Function::Exp, 1.0, 0.0),
        27 => function(&mut b, Function::Log, 0.3, 2.0),
        28 => function(&mut b, Function::Sqrt, 0.3, 2.0),
        29 => function(&mut b, Function::Erf, 1.0, 0.0),
        30 => {
            let all = [
                (Function::Abs, 1.0, 0.0),
                (Function::Acos, 0.3, 0.1),
                (Function::Acosh, 0.3, 2.5),
                (Function::Asin, 0.3, 0.1),
                (Function::Asinh, 1.0, 0.0),
                (Function::Atan, 1.0, 0.0),
                (Function::Atanh, 0.3, 0.1),
                (Function::Cos, 1.0, 0.0),
                (Function::Cosh, 1.0, 0.0),
                (Function::Sin, 1.0, 0.0),
                (Function::Sinh, 1.0, 0.0),
                (Function::Tan, 0.5, 0.0),
            ];
            let (f, factor, shift) = all[b.random.below(all.len())];
            function(&mut b, f, factor, shift)
        }
        31 => {
            let (x, pool) = (picture(&mut b), pool(&mut b));
            b.node(Op::MaxPool(pool), &[x])
        }
        32 => {
            let (x, pool) = (picture(&mut b), pool(&mut b));
            b.node(Op::AveragePool(pool), &[x])
        }
        33 => {
            let x = picture(&mut b);
            b.node(Op::GlobalAveragePool, &[x])
        }
        34 => {
            let x = after_pooling(&mut b);
            b.node(Op::Flatten { axis: 1 }, &[x])
        }
        35 => {
            let x = after_pooling(&mut b);
            let shape = b.shape(x);
            let to = vec![1, shape[1] * shape[2], 1, shape[3]];
            let x = b.shaped(Op::Reshape, &[x], &[to])[0];
            let x = b.node(Op::Squeeze { axes: vec![2] }, &[x]);
            b.node(Op::Unsqueeze { axes: vec![3, 4] }, &[x])
        }
        36 => {
            let x = after_pooling(&mut b);
            let perm = [vec![0, 2, 3, 1], vec![0, 3, 1, 2], vec![0, 1, 3, 2]];
            let perm = perm[b.random.below(3)].clone();
            b.node(Op::Transpose { perm }, &[x])
        }
        37 => {
            let x = after_pooling(&mut b);
            let shape = b.shape(x);
            let axis = 1 + b.random.below(3);
            let c = b.constant(&shape);
            // The same value twice.
            b.node(Op::Concat { axis }, &[x, c, x])
        }
        38 => {
            let x = b.input(&[1, 3, 4, 2]);
            let axis = 2;
            let shapes = [vec![1, 3, 1, 2], vec![1, 3, 3, 2]];
            let parts = b.shaped(Op::Split { axis }, &[x], &shapes);
            // The other part is not used.
            parts[b.random.below(2)]
        }
        39 => {
            let x = after_pooling(&mut b);
            let shape = b.shape(x);
            let mut axes: Vec<SliceAxis> = (shape.iter())
                .map(|&length| SliceAxis {
                    start: 0,
                    step: 1,
                    length,
                })
                .collect();
            let axis = 1 + b.random.below(3);
            axes[axis] = SliceAxis {
                start: shape[axis] - 1,
                step: -1,
                length: shape[axis],
            };
            b.node(Op::Slice { axes }, &[x])
        }
        40 => {
            let x = after_pooling(&mut b);
            let axis = 1 + b.random.below(3);
            let size = b.shape(x)[axis];
            let indices = (0..4).map(|_| b.random.below(size)).collect();
            b.node(Op::Gather { axis, indices }, &[x])
        }
        41 => {
            let x = b.input(&[1, 2, 4, 3]);
            let mode = [
                PadMode::Constant(0.5),
                PadMode::Reflect,
                PadMode::Edge,
                PadMode::Wrap,
            ][b.random.below(4)];
            let pad = Pad {
                before: vec![0, 0, 2, -1],
                after: vec![0, 0, 1, 1],
                mode,
            };
            b.node(Op::Pad(pad), &[x])
        }
        42 | 43 => {
            let x = after_pooling(&mut b);
            let reduction = Reduction::ALL[b.random.below(Reduction::ALL.len())];
            let axes = [vec![1], vec![2, 3], vec![1, 3], vec![3]][b.random.below(4)].clone();
            let keep_dims = kind == 42;
            let reduce = Op::Reduce {
                reduction,
                axes,
                keep_dims,
            };
            b.node(reduce, &[x])
        }
        44 => {
            let x = after_pooling(&mut b);
            let axis = 1 + b.random.below(3);
            let end_axis = axis + 1 + b.random.below(4 - axis);
            b.node(Op::Softmax { axis, end_axis }, &[x])
        }
        _ => {
            // One value that is read several times, through views and in both memory orders.
            let x = after_pooling(&mut b);
            let shape = b.shape(x);
            let flat = b.node(Op::Flatten { axis: 1 }, &[x]);
            let y = b.node(Op::Tanh, &[flat]);
            let y = b.node(Op::Mul, &[y, flat]);
            let y = b.shaped(Op::Reshape, &[y], &[shape])[0];
            let y = b.node(Op::Relu, &[y]);
            let z = b.node(Op::Identity, &[x]);
            b.node(Op::Add, &[y, z])
        }
    };
    b.finish(&[y])
}
