//! Writes random graphs and reads them back.

use std::collections::BTreeSet;

use half::f16;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::read::{composite, constants, order};
use crate::{
    Comparison, Conv, ElementType, Function, Gemm, Graph, GraphBuilder, Op, Pad, PadMode, Pool,
    ReadOptions, Reduction, SliceAxis, Tensor, TensorData, TensorType, ValueId,
};

/// Draws numbers from bytes. Returns 0 after the last byte.
struct Draw<'a>(std::slice::Iter<'a, u8>);

impl Draw<'_> {
    fn below(&mut self, n: usize) -> usize {
        usize::from(*self.0.next().unwrap_or(&0)) % n
    }

    fn pair(&mut self, n: usize) -> [usize; 2] {
        [self.below(n) + 1, self.below(n) + 1]
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn number(&mut self) -> f32 {
        self.below(200) as f32 / 16.0 - 5.0
    }
}

/// Builds a graph from bytes. Each step selects an operator and a value for it. Combinations that
/// do not fit are skipped.
pub(super) fn arbitrary_graph(bytes: &[u8]) -> Graph {
    let mut draw = Draw(bytes.iter());
    let mut b = GraphBuilder::new("random");
    let mut values = Vec::new();
    let float = [ElementType::F32, ElementType::F16][draw.below(2)];
    let picture = TensorType::new(float, [1, 4, 6, 5]);
    values.push((b.input("picture", picture.clone()).unwrap(), picture));
    let flat = TensorType::new(float, [1, 8]);
    values.push((b.input("flat", flat.clone()).unwrap(), flat));
    let steps = bytes.len() / 8;
    for i in 0..steps {
        let pick = draw.below(values.len());
        let (x, of) = values[pick].clone();
        step(&mut draw, &mut b, &mut values, &format!("n{i}"), x, &of);
    }
    for (i, (value, _)) in values.iter().enumerate() {
        if i + 4 > values.len() || draw.flag() {
            b.output(format!("result{i}"), *value).unwrap();
        }
    }
    b.finish().unwrap()
}

/// The number of functions, reductions, comparisons, and of Min, Max and Pow.
/// The operators below that have an arm of their own.
const ARMS: usize = 36;
const OTHERS: usize = Function::ALL.len() + Reduction::ALL.len() + Comparison::ALL.len() + 3;

type Values = Vec<(ValueId, TensorType)>;

fn step(
    draw: &mut Draw<'_>,
    b: &mut GraphBuilder,
    values: &mut Values,
    name: &str,
    x: ValueId,
    of: &TensorType,
) {
    let rank = of.shape.len();
    let axis = draw.below(rank.max(1));
    let size = of.shape.get(axis).copied().unwrap_or(1);
    let mut inputs = vec![x];
    let mut shapes = Vec::new();
    let mut constant = |draw: &mut Draw<'_>, suffix: &str, shape: &[usize]| {
        let (first, slope) = (draw.number(), draw.number());
        let count: usize = shape.iter().product();
        let data: Vec<f32> = (0..count).map(|i| first + slope * i as f32).collect();
        let half = match of.element_type {
            ElementType::F16 => true,
            ElementType::F32 => false,
            _ => draw.flag(),
        };
        let data = match half {
            true => TensorData::F16(data.into_iter().map(f16::from_f32).collect()),
            false => TensorData::F32(data),
        };
        let tensor = Tensor::new(shape, data).unwrap();
        b.constant(format!("{name}.{suffix}"), tensor).unwrap()
    };
    // Quantization is drawn more often, since it fits few values.
    let kind = match draw.below(ARMS + OTHERS + 10) {
        more if more >= ARMS + OTHERS => [30, 35][more % 2],
        kind => kind,
    };
    let op = match kind {
        0 => {
            let kernel = draw.pair(3);
            let channels = of.shape.get(1).copied().unwrap_or(1);
            let groups = if channels % 2 == 0 {
                draw.below(2) + 1
            } else {
                1
            };
            let shape = [2 * groups, channels / groups, kernel[0], kernel[1]];
            inputs.push(constant(draw, "w", &shape));
            if draw.flag() {
                inputs.push(constant(draw, "b", &[2 * groups]));
            }
            Op::Conv(Conv {
                kernel,
                strides: draw.pair(2),
                pads: std::array::from_fn(|_| draw.below(3)),
                dilations: draw.pair(2),
                groups,
            })
        }
        1 => {
            let transpose_b = draw.flag();
            let shape = if transpose_b { [3, size] } else { [size, 3] };
            inputs.push(constant(draw, "w", &shape));
            Op::Gemm(Gemm {
                alpha: draw.number(),
                beta: draw.number(),
                transpose_a: axis == 0,
                transpose_b,
            })
        }
        2 => {
            inputs.push(constant(draw, "w", &[*of.shape.last().unwrap_or(&1), 2]));
            Op::MatMul
        }
        3 => {
            for suffix in ["scale", "bias", "mean", "variance"] {
                let channels = of.shape.get(1).copied().unwrap_or(1);
                inputs.push(constant(draw, suffix, &[channels]));
            }
            Op::BatchNormalization { epsilon: 1e-3 }
        }
        4 => Op::Relu,
        5 => Op::LeakyRelu {
            alpha: draw.number(),
        },
        6 => Op::Elu {
            alpha: draw.number(),
        },
        7 => Op::Sigmoid,
        8 => Op::HardSigmoid {
            alpha: draw.number(),
            beta: draw.number(),
        },
        9 => Op::Tanh,
        10 => Op::Clip {
            min: if draw.flag() { f32::NEG_INFINITY } else { -1.5 },
            max: if draw.flag() { f32::INFINITY } else { 2.5 },
        },
        11 => Op::Softmax {
            axis,
            end_axis: axis + 1,
        },
        op @ 12..16 => {
            let (other, _) = values[draw.below(values.len())];
            inputs.push(if draw.flag() {
                constant(draw, "c", &[1])
            } else {
                other
            });
            [Op::Add, Op::Sub, Op::Mul, Op::Div][op - 12].clone()
        }
        op @ 16..18 => {
            let pool = Pool {
                kernel: draw.pair(3),
                strides: draw.pair(3),
                pads: std::array::from_fn(|_| draw.below(2)),
                dilations: draw.pair(2),
                count_include_pad: op == 17 && draw.flag(),
            };
            // Rounds up or down, depending on the shape.
            if draw.flag() {
                let size = |i: usize| {
                    let room = of.shape.get(i + 2)? + pool.pads[i] + pool.pads[i + 2];
                    let covered = pool.dilations[i] * (pool.kernel[i] - 1) + 1;
                    Some(room.checked_sub(covered)?.div_ceil(pool.strides[i]) + 1)
                };
                if let (Some(h), Some(w)) = (size(0), size(1)) {
                    shapes.push(vec![1, of.shape[1], h, w]);
                }
            }
            if op == 16 {
                Op::MaxPool(pool)
            } else {
                Op::AveragePool(pool)
            }
        }
        18 => Op::GlobalAveragePool,
        19 => Op::Reduce {
            reduction: Reduction::Mean,
            axes: vec![axis],
            keep_dims: draw.flag(),
        },
        20 => Op::Flatten {
            axis: draw.below(rank + 1),
        },
        21 => {
            shapes.push(vec![of.shape.iter().product::<usize>(), 1]);
            Op::Reshape
        }
        22 => Op::Squeeze {
            axes: (0..rank).filter(|&i| of.shape[i] == 1).collect(),
        },
        23 => Op::Unsqueeze {
            axes: vec![draw.below(rank + 1)],
        },
        24 => {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.rotate_left(axis);
            Op::Transpose { perm }
        }
        25 => {
            inputs.push(x);
            Op::Concat { axis }
        }
        26 => {
            let first = draw.below(size + 1);
            for part in [first, size - first] {
                let mut shape = of.shape.clone();
                if let Some(size) = shape.get_mut(axis) {
                    *size = part;
                }
                shapes.push(shape);
            }
            Op::Split { axis }
        }
        27 => {
            let mut axes: Vec<SliceAxis> = (of.shape.iter())
                .map(|&length| SliceAxis {
                    start: 0,
                    step: 1,
                    length,
                })
                .collect();
            if size > 2 {
                axes[axis] = match draw.below(3) {
                    0 => SliceAxis {
                        start: 1,
                        step: 1,
                        length: size - 1,
                    },
                    1 => SliceAxis {
                        start: size - 1,
                        step: -1,
                        length: size,
                    },
                    _ => SliceAxis {
                        start: size - 1,
                        step: -2,
                        length: 2,
                    },
                };
            }
            Op::Slice { axes }
        }
        28 => Op::Pad(Pad {
            before: (0..rank).map(|_| draw.below(3) as isize - 1).collect(),
            after: (0..rank).map(|_| draw.below(3) as isize).collect(),
            mode: match draw.below(4) {
                0 => PadMode::Constant(draw.number()),
                1 => PadMode::Reflect,
                2 => PadMode::Edge,
                _ => PadMode::Wrap,
            },
        }),
        29 => Op::Cast {
            to: [
                ElementType::F32,
                ElementType::F16,
                ElementType::I32,
                ElementType::U8,
            ][draw.below(4)],
        },
        30 => {
            inputs.push(constant(draw, "scale", &[size]));
            Op::QuantizeLinear { axis }
        }
        31 => Op::Softplus,
        32 => Op::Softsign,
        33 => Op::Gather {
            axis,
            indices: vec![size.saturating_sub(1), 0, size / 2],
        },
        34 => {
            let one = Tensor::new([], vec![draw.flag()]).unwrap();
            let condition = b.constant(format!("{name}.condition"), one).unwrap();
            inputs = vec![condition, x, x];
            Op::Where
        }
        op @ ARMS.. => {
            let functions = Function::ALL.iter().map(|&f| Op::Function(f));
            let reductions = Reduction::ALL.iter().map(|&reduction| Op::Reduce {
                reduction,
                axes: vec![axis],
                keep_dims: draw.flag(),
            });
            let comparisons = Comparison::ALL.iter().map(|&c| Op::Compare(c));
            let others =
                (functions.chain(reductions))
                    .chain(comparisons)
                    .chain([Op::Min, Op::Max, Op::Pow]);
            let op = others.collect::<Vec<_>>()[op - ARMS].clone();
            if !matches!(op, Op::Function(_) | Op::Reduce { .. }) {
                // With a single axis, some exponents would be read as a product.
                inputs.push(constant(draw, "c", &[1, 1]));
            }
            op
        }
        _ => {
            inputs.push(constant(draw, "scale", &[]));
            Op::DequantizeLinear { axis }
        }
    };
    let large = |s: &[usize]| s.iter().product::<usize>() > 4096;
    if let Ok(made) = b.node_with_shapes(name, op, &inputs, &shapes) {
        for id in made {
            let of = b.tensor_type(id);
            if !large(&of.shape) {
                values.push((id, of));
            }
        }
    }
}

pub(super) fn any_graph() -> impl Strategy<Value = Graph> {
    prop::collection::vec(any::<u8>(), 8..480).prop_map(|bytes| arbitrary_graph(&bytes))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn written_graphs_read_back_unchanged(graph in any_graph()) {
        let again = Graph::read(&graph.write(), &ReadOptions::default());
        prop_assert_eq!(again.as_ref(), Ok(&graph));
    }
}

/// The property test above is only as good as its graphs, so they must contain all operators.
#[test]
fn random_graphs_contain_every_operator() {
    let mut runner = TestRunner::deterministic();
    let (mut seen, mut halves) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..300 {
        let graph = any_graph().new_tree(&mut runner).unwrap().current();
        seen.extend(graph.nodes.iter().map(|n| n.op.name()));
        halves.extend(graph.nodes.iter().filter_map(|n| {
            let made = graph.value(n.outputs[0]).element_type;
            (made == ElementType::F16).then_some(n.op.name())
        }));
    }
    let missing: Vec<&&str> = (crate::SUPPORTED_OPERATORS.iter())
        .filter(|o| !seen.contains(**o) && !["Constant", "Dropout"].contains(o))
        .filter(|o| !composite::OPERATORS.contains(o) && !constants::OPERATORS.contains(o))
        .filter(|o| !order::WITH_SUBGRAPHS.contains(o))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    // All operators except QuantizeLinear and the comparisons can output float16.
    let others = 1 + Comparison::ALL.len();
    assert_eq!(halves.len(), seen.len() - others, "{halves:?}");
}

#[test]
fn softmax_over_several_axes_is_written_between_reshapes() {
    let mut b = GraphBuilder::new("softmax");
    let x = b
        .input("x", TensorType::new(ElementType::F32, [1, 2, 3]))
        .unwrap();
    let y = b
        .node(
            "s",
            Op::Softmax {
                axis: 1,
                end_axis: 3,
            },
            &[x],
        )
        .unwrap();
    b.output("y", y).unwrap();
    let graph = b.finish().unwrap();
    let again = Graph::read(&graph.write(), &ReadOptions::default()).unwrap();
    again.check().unwrap();
    let ops: Vec<&Op> = again.nodes.iter().map(|n| &n.op).collect();
    assert_eq!(
        ops,
        [
            &Op::Reshape,
            &Op::Softmax {
                axis: 1,
                end_axis: 2
            },
            &Op::Reshape
        ]
    );
    assert_eq!(again.value(again.nodes[1].inputs[0]).shape, [1, 6]);
    assert_eq!(again.value(again.outputs[0]).shape, [1, 2, 3]);
}
