//! Checks that random networks compute the same in every way of compiling them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]
#![allow(clippy::manual_is_multiple_of, reason = "choices are taken modulo")]

mod layout;

use std::collections::BTreeSet;

use pilotage_compiler::{
    CalibrateError, Form, Method, Network, PortLayout, QuantizeOptions, Run, Weights, calibrate,
    evaluate, lower, lower_weights, narrow, quantize, run_plan, simplify, values,
};
use pilotage_engine::CpuOptions;
use pilotage_graph::{
    Conv, ElementType, Function, Gemm, Graph, GraphBuilder, Op, Pad, PadMode, Pool, ReadOptions,
    Reduction, SliceAxis, Tensor, TensorType, ValueId, widen,
};
use proptest::prelude::*;

use layout::in_layout;

/// The kind of an operator, and its parameters.
type Choice = (u8, [u8; 4]);

/// Builds a network from choices. Skips choices that do not fit the existing values.
struct Random {
    b: GraphBuilder,
    /// The existing values, with their shapes.
    made: Vec<(ValueId, Vec<usize>)>,
    names: usize,
    seed: u32,
}

const MOST_ELEMENTS: usize = 2_000;

impl Random {
    fn new(shape: &[usize]) -> Self {
        let mut b = GraphBuilder::new("random");
        let x = b
            .input("x", TensorType::new(ElementType::F32, shape))
            .unwrap();
        Self {
            b,
            made: vec![(x, shape.to_vec())],
            names: 0,
            seed: 1,
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    /// Elements that are not close to 0, so that they can be divisors, and below 1.5.
    fn constant(&mut self, shape: &[usize]) -> ValueId {
        let name = self.name();
        let tensor = numbers(shape, &mut self.seed);
        self.b.constant(name, tensor).unwrap()
    }

    fn variance(&mut self, channels: usize) -> ValueId {
        let name = self.name();
        let tensor = numbers(&[channels], &mut self.seed);
        let data = tensor.as_f32().unwrap().iter().map(|x| x.abs());
        let tensor = Tensor::new([channels], data.collect::<Vec<f32>>()).unwrap();
        self.b.constant(name, tensor).unwrap()
    }

    /// Adds a node, unless its output would be large or the operator rejects the inputs.
    fn node(&mut self, op: Op, inputs: &[ValueId], shapes: &[Vec<usize>]) {
        let name = self.name();
        let Ok(outputs) = self.b.node_with_shapes(name, op, inputs, shapes) else {
            return;
        };
        for (i, output) in outputs.into_iter().enumerate() {
            let shape = self.b.tensor_type(output).shape;
            let elements = shape.iter().product::<usize>();
            if (i == 0 || !shape.is_empty()) && (1..=MOST_ELEMENTS).contains(&elements) {
                self.made.push((output, shape));
            }
        }
    }

    fn step(&mut self, (kind, with): Choice) {
        let with = with.map(usize::from);
        // Mostly the last value, sometimes an earlier one.
        let back = if with[0] % 4 == 0 {
            with[1] % self.made.len()
        } else {
            0
        };
        let (x, shape) = self.made[self.made.len() - 1 - back].clone();
        let rank = shape.len();
        let axis = with[2] % rank.max(1);
        match kind % 30 {
            0..=2 => self.conv(x, &shape, with),
            3 => self.batch_norm(x, &shape),
            4 => self.node(Op::Relu, &[x], &[]),
            5 => self.node(Op::LeakyRelu { alpha: 0.2 }, &[x], &[]),
            6 => self.node(Op::Elu { alpha: 0.7 }, &[x], &[]),
            7 => self.node(Op::Sigmoid, &[x], &[]),
            8 => self.node(Op::Tanh, &[x], &[]),
            9 => self.node(
                Op::Clip {
                    min: -0.5,
                    max: f32::INFINITY,
                },
                &[x],
                &[],
            ),
            10..=12 => self.with_constant(x, &shape, with),
            13 => {
                let other = self.made.iter().rev().skip(1).find(|(_, s)| *s == shape);
                if let Some(&(other, _)) = other {
                    let op = if with[3] % 2 == 0 { Op::Add } else { Op::Mul };
                    self.node(op, &[x, other], &[]);
                }
            }
            14 => self.pool(x, &shape, with),
            15 => self.node(Op::GlobalAveragePool, &[x], &[]),
            16 => {
                let mut perm: Vec<usize> = (0..rank).collect();
                perm.rotate_left(axis);
                if with[3] % 2 == 0 && rank > 1 {
                    perm.swap(0, rank - 1);
                }
                self.node(Op::Transpose { perm }, &[x], &[]);
            }
            17 => self.pad(x, rank, with),
            18 => {
                let axes = shape.iter().map(|&size| SliceAxis {
                    start: if with[3] % 2 == 0 { 0 } else { size - 1 },
                    step: if with[3] % 2 == 0 { 1 } else { -1 },
                    length: size.div_ceil(1 + with[2] % 2),
                });
                let axes = axes.collect();
                self.node(Op::Slice { axes }, &[x], &[]);
            }
            19 => self.node(Op::Concat { axis }, &[x, x], &[]),
            20 => {
                if rank > 0 && shape[axis] > 1 {
                    let (mut first, mut second) = (shape.clone(), shape.clone());
                    first[axis] = 1;
                    second[axis] -= 1;
                    self.node(Op::Split { axis }, &[x], &[first, second]);
                }
            }
            21 => {
                let keep_dims = with[3] % 2 == 0;
                self.node(
                    Op::Reduce {
                        reduction: Reduction::ALL[with[3] / 2 % 4],
                        axes: vec![axis],
                        keep_dims,
                    },
                    &[x],
                    &[],
                );
            }
            22 => {
                let end_axis = if with[3] % 2 == 0 { axis + 1 } else { rank };
                self.node(Op::Softmax { axis, end_axis }, &[x], &[]);
            }
            23 => self.node(Op::Flatten { axis: 1 }, &[x], &[]),
            24 => {
                let elements: usize = shape.iter().product();
                let to = match with[3] % 3 {
                    0 if elements % 2 == 0 => vec![1, 2, elements / 2, 1],
                    1 if elements % 4 == 0 => vec![1, elements / 4, 2, 2],
                    _ => vec![elements],
                };
                self.node(Op::Reshape, &[x], &[to]);
            }
            25 if rank > 0 => {
                let size = shape[axis];
                let indices = match with[3] % 3 {
                    0 => vec![size - 1, 0, size / 2],
                    1 => (0..size).rev().collect(),
                    _ => (0..2 * size).map(|i| i / 2).collect(),
                };
                self.node(Op::Gather { axis, indices }, &[x], &[]);
            }
            26 => {
                // Continuous functions: a step would turn rounding into a large difference.
                let functions = [Function::Abs, Function::Atan, Function::Erf, Function::Sin];
                self.node(Op::Function(functions[with[3] % 4]), &[x], &[]);
            }
            27 => {
                let last = shape.last().copied().unwrap_or(1);
                let constant = self.constant(&[last]);
                let op = if with[3] % 2 == 0 { Op::Min } else { Op::Max };
                self.node(op, &[x, constant], &[]);
            }
            28 => {
                let name = self.name();
                let last = shape.last().copied().unwrap_or(1);
                let condition: Vec<bool> = (0..last).map(|i| (i + with[3]) % 3 == 0).collect();
                let condition = self.b.constant(name, Tensor::vector(condition)).unwrap();
                let constant = self.constant(&[last]);
                self.node(Op::Where, &[condition, x, constant], &[]);
            }
            _ => self.product(x, &shape, with),
        }
    }

    fn conv(&mut self, x: ValueId, shape: &[usize], with: [usize; 4]) {
        let &[_, channels, ..] = shape else { return };
        let groups = if with[1] % 3 == 0 { channels } else { 1 };
        let out = groups * (1 + with[2] % 3);
        let kernel = [1 + with[1] % 3, 1 + with[3] % 3];
        let weights = self.constant(&[out, channels / groups, kernel[0], kernel[1]]);
        let mut inputs = vec![x, weights];
        if with[2] % 2 == 0 {
            inputs.push(self.constant(&[out]));
        }
        let conv = Conv {
            kernel,
            strides: [1 + with[2] / 16 % 2; 2],
            pads: if with[3] / 16 % 2 == 0 {
                [0; 4]
            } else {
                [1, 0, 2, 1]
            },
            dilations: [1, 1 + with[1] / 16 % 2],
            groups,
        };
        self.node(Op::Conv(conv), &inputs, &[]);
    }

    fn batch_norm(&mut self, x: ValueId, shape: &[usize]) {
        let Some(&channels) = shape.get(1) else {
            return;
        };
        let mut inputs = vec![x];
        for _ in 0..3 {
            inputs.push(self.constant(&[channels]));
        }
        inputs.push(self.variance(channels));
        self.node(Op::BatchNormalization { epsilon: 1e-3 }, &inputs, &[]);
    }

    fn with_constant(&mut self, x: ValueId, shape: &[usize], with: [usize; 4]) {
        let mut along: Vec<usize> = shape.to_vec();
        match with[2] % 4 {
            0 => along = vec![1],
            1 => (along.iter_mut().enumerate()).for_each(|(i, size)| {
                if i != 1 {
                    *size = 1;
                }
            }),
            2 => along = along.split_off(along.len().saturating_sub(1)),
            _ => {}
        }
        let c = self.constant(&along);
        let op = [Op::Add, Op::Sub, Op::Mul, Op::Div][with[3] % 4].clone();
        // A divisor must not be close to 0, so a computed value is never a divisor.
        let constant_first = with[1] % 3 == 0 && op != Op::Div;
        let inputs = if constant_first { [c, x] } else { [x, c] };
        self.node(op, &inputs, &[]);
    }

    fn pool(&mut self, x: ValueId, shape: &[usize], with: [usize; 4]) {
        if shape.len() != 4 {
            return;
        }
        let pool = Pool {
            kernel: [1 + with[1] % 3, 1 + with[2] % 3],
            strides: [1 + with[3] % 2, 1],
            pads: [0; 4],
            dilations: [1; 2],
            count_include_pad: with[2] % 2 == 0,
        };
        let out = |size: usize, axis: usize| {
            let room = size.checked_sub(pool.kernel[axis])?;
            Some(room / pool.strides[axis] + 1)
        };
        let (Some(h), Some(w)) = (out(shape[2], 0), out(shape[3], 1)) else {
            return;
        };
        let to = vec![shape[0], shape[1], h, w];
        let op = match with[3] / 2 % 2 {
            0 => Op::MaxPool(pool),
            _ => Op::AveragePool(pool),
        };
        self.node(op, &[x], &[to]);
    }

    fn pad(&mut self, x: ValueId, rank: usize, with: [usize; 4]) {
        let amount = |i: usize| isize::from(i > 1) * (1 + with[2] as isize % 2);
        let pad = Pad {
            before: (0..rank).map(amount).collect(),
            after: (0..rank).map(|i| amount(i) - 1).map(|n| n.max(0)).collect(),
            mode: [PadMode::Constant(0.5), PadMode::Edge][with[3] % 2],
        };
        self.node(Op::Pad(pad), &[x], &[]);
    }

    fn product(&mut self, x: ValueId, shape: &[usize], with: [usize; 4]) {
        let Some(&depth) = shape.last() else { return };
        let out = 1 + with[1] % 5;
        if shape.len() != 2 || with[3] % 2 == 0 {
            let m = self.constant(&[depth, out]);
            return self.node(Op::MatMul, &[x, m], &[]);
        }
        let transpose_b = with[2] % 2 == 0;
        let b = match transpose_b {
            true => self.constant(&[out, depth]),
            false => self.constant(&[depth, out]),
        };
        let c = self.constant([[out].as_slice(), &[1, out], &[]][with[2] % 3]);
        let gemm = Gemm {
            alpha: 0.5,
            beta: 2.0,
            transpose_a: false,
            transpose_b,
        };
        self.node(Op::Gemm(gemm), &[x, b, c], &[]);
    }

    fn finish(mut self, outputs: usize) -> Graph {
        let made: Vec<ValueId> = self.made.iter().rev().map(|(v, _)| *v).collect();
        for (i, &value) in made.iter().take(outputs).enumerate() {
            self.b.output(format!("y{i}"), value).unwrap();
        }
        self.b.finish().unwrap()
    }
}

/// Numbers between 0.25 and 1.25 of either sign.
fn numbers(shape: &[usize], seed: &mut u32) -> Tensor {
    let n = shape.iter().product();
    let mut next = || {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let x = (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0;
        x + 0.25_f32.copysign(x)
    };
    let data: Vec<f32> = (0..n).map(|_| next()).collect();
    Tensor::new(shape, data).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn every_way_of_compiling_gives_the_same_answer(
        channels in 1_usize..5,
        size in [2_usize..8, 2_usize..8],
        choices in prop::collection::vec(any::<Choice>(), 1..14),
        outputs in 1_usize..3,
    ) {
        let shape = [1, channels, size[0], size[1]];
        let mut random = Random::new(&shape);
        for choice in choices {
            random.step(choice);
        }
        let graph = random.finish(outputs);
        let input = numbers(&shape, &mut 99);
        let expected = evaluate(&graph, std::slice::from_ref(&input)).unwrap();

        let simple = simplify(&graph);
        prop_assert!(simple.check().is_ok());
        prop_assert!(simple.nodes.len() <= graph.nodes.len());
        for (way, graph, ports) in [
            ("in the engine's order", &graph, PortLayout::Native),
            ("simplified", &simple, PortLayout::Model),
            ("simplified in the engine's order", &simple, PortLayout::Native),
        ] {
            let plan = lower(graph, ports).unwrap();
            let input = in_layout(&input, plan.inputs[0].layout);
            let found = run_plan(&plan, CpuOptions::default(), &[input]).unwrap();
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert_eq!(found.shape(), expected.shape());
                let (found, expected) = (found.as_f32().unwrap(), expected.as_f32().unwrap());
                let largest = expected.iter().fold(1.0_f32, |most, x| most.max(x.abs()));
                for (a, b) in found.iter().zip(expected) {
                    prop_assert!((a - b).abs() <= 1e-4 * largest, "{way}: {a}, not {b}");
                }
            }
        }
    }

    /// Compares the integers that the CPU engine computes with the QDQ graph executed in floats,
    /// as ONNX Runtime and TensorRT execute it.
    #[test]
    fn integers_stay_near_the_quantized_graph_in_floats(
        channels in 1_usize..5,
        size in [2_usize..8, 2_usize..8],
        choices in prop::collection::vec(any::<Choice>(), 1..14),
        integer in any::<bool>(),
    ) {
        let mut random = Random::new(&[1, channels, size[0], size[1]]);
        let pixels = random.made[0].0;
        let scale = random.b.constant("scale", Tensor::new([1], vec![1.0 / 64.0]).unwrap());
        random.node(Op::Mul, &[pixels, scale.unwrap()], &[]);
        for choice in choices {
            random.step(choice);
        }
        let graph = simplify(&random.finish(1));
        let frames: Vec<Vec<u8>> = (0..6_usize)
            .map(|frame| {
                let level = |i: usize| ((i + 1) * (37 + 11 * frame) + i * i * 7) as u8;
                (0..channels * size[0] * size[1]).map(level).collect()
            })
            .collect();
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();

        let form = if integer { Form::Int8Integer } else { Form::Int8 };
        let options = QuantizeOptions { form, float_layers: BTreeSet::new(), one_scale: BTreeSet::new() };
        let to_calibrate = values(&graph, &options).unwrap();
        let ranges = match calibrate(&graph, false, &to_calibrate, &frames, Method::MinMax, Run::ALONE) {
            // A value is always 0, or outside the range of floats: it has no range.
            Err(CalibrateError::Zero { .. } | CalibrateError::NotFinite { .. }) => return Ok(()),
            ranges => ranges.unwrap(),
        };
        let (quantized, scales) = quantize(&graph, &ranges, &options).unwrap();
        prop_assert!(quantized.check().is_ok());
        prop_assert_eq!(scales.len(), 1);
        let answers = |weights| {
            let plan = lower_weights(&quantized, PortLayout::Native, weights).unwrap();
            Network::of_plan(plan, false).answers(&frames).unwrap()
        };
        let [integers, floats] = [Weights::AsTheyAre, Weights::Dequantized].map(answers);
        let largest = floats.iter().flatten().fold(0.0_f32, |most, x| most.max(x.abs()));
        for (integers, floats) in integers.iter().zip(&floats) {
            for (a, b) in integers.iter().zip(floats) {
                prop_assert!((a - b).abs() <= 0.05 * largest, "{a}, not {b}; {largest} at most");
            }
        }

        // The float nodes can be converted to float16, written and read back.
        let layer = |op: &Op| matches!(op, Op::Conv(_) | Op::Gemm(_) | Op::MatMul);
        let half = narrow(&quantized, |node| !layer(&node.op)).unwrap();
        prop_assert!(half.check().is_ok());
        let mut wide = Graph::read(&half.write(), &ReadOptions::default()).unwrap();
        widen(&mut wide);
        lower_weights(&wide, PortLayout::Native, Weights::Dequantized).unwrap();
    }
}
