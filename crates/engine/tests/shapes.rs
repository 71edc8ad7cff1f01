//! Operations with random shapes: each instruction set against the naive evaluation in f64,
//! and exact arithmetic of each against the scalar one, bit for bit.
#![allow(clippy::unwrap_used, reason = "a failure is a panic")]

use pilotage_engine::conformance::{self, PlanBuilder};
use pilotage_engine::plan::{
    Activation, BinaryOperator, Fill, Operation, Plan, PoolKind, SliceStep, Window,
};
use pilotage_engine::{CpuEngine, CpuOptions, InstructionSet};
use proptest::prelude::*;

/// Runs the plan on every instruction set and compares the outputs.
fn check(plan: &Plan, seed: u64) -> Result<(), TestCaseError> {
    let (inputs, values) = conformance::random_inputs(plan, seed);
    let expected = conformance::evaluate(plan, &values);
    let run = |instruction_set, threads, exact| {
        let options = CpuOptions {
            threads,
            instruction_set: Some(instruction_set),
            exact,
            ..CpuOptions::default()
        };
        let mut engine = CpuEngine::new(plan, options).unwrap();
        conformance::infer(&mut engine, &inputs)
    };
    let plain = conformance::bits(&run(InstructionSet::Scalar, 1, false));
    let sets = InstructionSet::ALL.into_iter();
    for instruction_set in sets.filter(|set| set.is_available()) {
        for threads in [1, 3] {
            let exact = conformance::bits(&run(instruction_set, threads, true));
            prop_assert!(exact == plain, "{} x{}, exact", instruction_set, threads);
            let found = run(instruction_set, threads, false);
            for (found, expected) in found.iter().zip(&expected) {
                let difference = conformance::first_difference(&found.to_f64(), &expected.data);
                prop_assert_eq!(difference, None, "{} x{}", instruction_set, threads);
            }
        }
    }
    Ok(())
}

fn activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::None),
        Just(Activation::Relu),
        Just(Activation::Tanh),
        Just(Activation::Sigmoid),
        Just(Activation::Elu { alpha: 1.5 }),
        (-1.0..0.5_f32, 0.0..1.0_f32).prop_map(|(min, max)| Activation::Clip {
            min: Some(min),
            max: Some(max)
        }),
    ]
}

/// A window, and the height and width of the input and of the output.
fn window() -> impl Strategy<Value = (Window, [[usize; 2]; 2])> {
    let axis = || {
        (
            1..5_usize,
            1..4_usize,
            0..4_usize,
            1..4_usize,
            1..18_usize,
            0..3_usize,
        )
    };
    [axis(), axis()].prop_map(|axes| {
        let output = axes.map(|(kernel, stride, pad, dilation, size, after)| {
            let reach = dilation * (kernel - 1) + 1;
            (size + pad + after).saturating_sub(reach) / stride + 1
        });
        let window = Window {
            kernel: axes.map(|axis| axis.0),
            strides: axes.map(|axis| axis.1),
            pads: axes.map(|axis| axis.2),
            dilations: axes.map(|axis| axis.3),
        };
        (window, [axes.map(|axis| axis.4), output])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn convolutions_agree(
        (window, [[height, width], output]) in window(),
        (batch, groups, depth, units) in prop_oneof![
            (1..3_usize, Just(1_usize), 1..20_usize, 1..90_usize),
            (1..3_usize, 1..5_usize, 1..6_usize, 1..20_usize),
            (1..3_usize, 1..70_usize, Just(1_usize), 1..3_usize),
        ],
        activation in activation(),
        bias in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut b = PlanBuilder::default();
        let x = b.input_f32(&[batch, height, width, depth * groups]);
        let [kernel_height, kernel_width] = window.kernel;
        let channels = units * groups;
        let weights = b.weights(&[channels, kernel_height, kernel_width, depth], 0.3);
        let bias = bias.then(|| b.weights(&[channels], 0.5));
        let convolution = Operation::Conv2d { weights, bias, window, groups, activation };
        let y = b.step(convolution, &[x], &[batch, output[0], output[1], channels]);
        check(&b.finish(&[y]), seed)?;
    }

    /// The windows with functions of their own, and channels of several blocks.
    #[test]
    fn depthwise_convolutions_agree(
        [height, width] in [1..12_usize, 1..20_usize],
        kernel in prop_oneof![Just(3_usize), Just(5)],
        (stride, pad) in (1..3_usize, 0..3_usize),
        channels in 1..150_usize,
        activation in activation(),
        seed in any::<u64>(),
    ) {
        let output = [height, width].map(|size| (size + 2 * pad).checked_sub(kernel));
        let [Some(down), Some(across)] = output else { return Ok(()) };
        let mut b = PlanBuilder::default();
        let x = b.input_f32(&[2, height, width, channels]);
        let weights = b.weights(&[channels, kernel, kernel, 1], 0.3);
        let bias = Some(b.weights(&[channels], 0.5));
        let window = Window {
            kernel: [kernel; 2],
            strides: [stride; 2],
            pads: [pad; 2],
            dilations: [1, 1],
        };
        let groups = channels;
        let convolution = Operation::Conv2d { weights, bias, window, groups, activation };
        let shape = [2, down / stride + 1, across / stride + 1, channels];
        let y = b.step(convolution, &[x], &shape);
        check(&b.finish(&[y]), seed)?;
    }

    #[test]
    fn fully_connected_layers_agree(
        rows in 1..9_usize,
        depth in 0..300_usize,
        units in 1..150_usize,
        activation in activation(),
        bias in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut b = PlanBuilder::default();
        let x = b.input_f32(&[rows, depth]);
        let weights = b.weights(&[units, depth], 0.2);
        let bias = bias.then(|| b.weights(&[units], 0.5));
        let y = b.step(
            Operation::FullyConnected { weights, bias, activation },
            &[x],
            &[rows, units],
        );
        check(&b.finish(&[y]), seed)?;
    }

    #[test]
    fn pools_agree(
        (window, [[height, width], output]) in window(),
        channels in 1..40_usize,
        kind in prop_oneof![
            Just(PoolKind::Max),
            Just(PoolKind::Average),
            (0..3_usize, 0..3_usize)
                .prop_map(|(bottom, right)| PoolKind::AverageWithPads { bottom, right }),
        ],
        seed in any::<u64>(),
    ) {
        let mut b = PlanBuilder::default();
        let x = b.input_f32(&[1, height, width, channels]);
        let shape = [1, output[0], output[1], channels];
        let y = b.step(Operation::Pool2d { kind, window }, &[x], &shape);
        check(&b.finish(&[y]), seed)?;
    }

    #[test]
    fn broadcasts_agree(
        shape in prop::collection::vec(1..5_usize, 0..5),
        kept in prop::collection::vec(any::<(bool, bool)>(), 5),
        short in 0..5_usize,
        operator in prop_oneof![
            Just(BinaryOperator::Add),
            Just(BinaryOperator::Sub),
            Just(BinaryOperator::Mul),
            Just(BinaryOperator::Div),
        ],
        activation in activation(),
        seed in any::<u64>(),
    ) {
        let operand = |side: fn(&(bool, bool)) -> bool| -> Vec<usize> {
            let sizes = shape.iter().zip(&kept);
            sizes.map(|(&size, kept)| if side(kept) { size } else { 1 }).collect()
        };
        let (a, mut second) = (operand(|kept| kept.0), operand(|kept| kept.1));
        second.drain(..short.min(second.len()));
        let output: Vec<usize> = (0..a.len())
            .map(|axis| {
                let other = (axis + second.len()).checked_sub(a.len());
                a[axis].max(other.map_or(1, |axis| second[axis]))
            })
            .collect();
        let mut b = PlanBuilder::default();
        let (x, y) = (b.input_f32(&a), b.input_f32(&second));
        let z = b.step(Operation::Binary { operator, activation }, &[x, y], &output);
        check(&b.finish(&[z]), seed)?;
    }

    #[test]
    fn slices_and_transpositions_agree(
        axes in prop::collection::vec((1..6_usize, 0..6_usize, -3..4_isize, 0..6_usize), 1..5),
        order in Just((0..4_usize).collect::<Vec<_>>()).prop_shuffle(),
        seed in any::<u64>(),
    ) {
        let input: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
        let parts: Vec<(SliceStep, usize)> = axes
            .iter()
            .map(|&(size, start, step, length)| {
                let (start, step) = (start % size, if step == 0 { 1 } else { step });
                let room = if step > 0 { size - 1 - start } else { start };
                (SliceStep { start, step }, length.min(room / step.unsigned_abs() + 1))
            })
            .collect();
        let sliced: Vec<usize> = parts.iter().map(|part| part.1).collect();
        let perm: Vec<usize> = order.into_iter().filter(|&axis| axis < axes.len()).collect();
        let transposed: Vec<usize> = perm.iter().map(|&axis| sliced[axis]).collect();
        let mut b = PlanBuilder::default();
        let x = b.input_f32(&input);
        let axes = parts.into_iter().map(|part| part.0).collect();
        let y = b.step(Operation::Slice { axes }, &[x], &sliced);
        let z = b.step(Operation::Transpose { perm }, &[y], &transposed);
        check(&b.finish(&[y, z]), seed)?;
    }

    #[test]
    fn pads_agree(
        axes in prop::collection::vec((1..5_usize, -4..9_isize, -4..9_isize), 1..4),
        fill in prop_oneof![
            Just(Fill::Constant(0.5)),
            Just(Fill::Reflect),
            Just(Fill::Edge),
            Just(Fill::Wrap),
        ],
        seed in any::<u64>(),
    ) {
        let input: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
        let output: Vec<usize> = axes
            .iter()
            .map(|&(size, before, after)| {
                (size as isize + before + after).max(0).unsigned_abs()
            })
            .collect();
        let mut b = PlanBuilder::default();
        let x = b.input_f32(&input);
        let before = axes.iter().map(|axis| axis.1).collect();
        let y = b.step(Operation::Pad { before, fill }, &[x], &output);
        check(&b.finish(&[y]), seed)?;
    }

    #[test]
    fn matrix_products_agree(
        lead in prop::collection::vec((1..4_usize, any::<bool>(), any::<bool>()), 0..3),
        short in 0..3_usize,
        (rows, depth, columns) in (1..5_usize, 0..6_usize, 1..9_usize),
        seed in any::<u64>(),
    ) {
        let operand = |side: fn(&(usize, bool, bool)) -> bool| -> Vec<usize> {
            lead.iter().map(|axis| if side(axis) { axis.0 } else { 1 }).collect()
        };
        let (first, mut second) = (operand(|axis| axis.1), operand(|axis| axis.2));
        let mut output: Vec<usize> = first.iter().zip(&second).map(|(&a, &b)| a.max(b)).collect();
        // A shorter operand is broadcast over the axes it lacks.
        let short = short.min(second.len());
        second.drain(..short);
        output[..short].copy_from_slice(&first[..short]);
        let mut b = PlanBuilder::default();
        let x = b.input_f32(&[&first[..], &[rows, depth]].concat());
        let y = b.input_f32(&[&second[..], &[depth, columns]].concat());
        output.extend([rows, columns]);
        let z = b.step(Operation::MatMul, &[x, y], &output);
        check(&b.finish(&[z]), seed)?;
    }
}
