//! Depthwise layers: windows of all kinds, every number of channels, and the storage formats of
//! the layers before and after them.

use super::*;

/// Depthwise convolutions: the windows with functions of their own and others, rows that are
/// narrower and wider than what is computed at once, and channels of less than a vector to
/// several blocks.
pub(super) fn shapes() -> impl Strategy<Value = Shape> {
    let kernel = prop_oneof![3 => Just([3, 3]), 3 => Just([5, 5]), 2 => [1_usize..8, 1_usize..8]];
    let strides = prop_oneof![3 => Just([1, 1]), 3 => Just([2, 2]), 1 => [1_usize..4, 1_usize..4]];
    let dilations = prop_oneof![5 => Just([1, 1]), 1 => [1_usize..3, 1_usize..3]];
    let channels = prop_oneof![1_usize..150, Just(16), Just(32), Just(64), Just(96)];
    (
        [1_usize..10, 1_usize..26],
        (kernel, strides, dilations),
        [0_usize..4, 0_usize..4],
        channels,
    )
        .prop_map(|(size, (kernel, strides, dilations), pads, groups)| Shape {
            size,
            kernel,
            strides,
            pads,
            dilations,
            groups,
            depth: 1,
            units: 1,
        })
}

/// A layer of a chain with `channels` output channels.
fn layer(
    b: &mut PlanBuilder,
    numbers: &mut Numbers,
    (x, [height, width], depth): (Operand, [usize; 2], usize),
    (channels, kernel, groups): (usize, usize, usize),
    finish: Epilogue,
) -> Operand {
    let weights = numbers.i8s(b, &[channels, kernel, kernel, depth / groups]);
    let bias = numbers.i32s(b, channels);
    let multiplier = numbers.multipliers(b, channels, kernel * kernel * depth / groups);
    let operation = Operation::QuantizedConv2d {
        weights,
        bias: Some(bias),
        multiplier,
        window: Window {
            kernel: [kernel; 2],
            strides: [1, 1],
            pads: [kernel / 2; 2],
            dilations: [1, 1],
        },
        groups,
        finish,
    };
    b.typed_step(
        operation,
        &[x],
        &[2, height, width, channels],
        output_type(&finish),
    )
}

/// Pointwise, depthwise and pointwise layers, as in an inverted residual block: a depthwise layer
/// then reads and stores the format of the layers around it. The second depthwise layer reads
/// that of the first; the last tensor has another reader too, so that it is stored plain.
#[test]
fn layers_around_depthwise_ones_agree_on_the_storage_format() {
    for (seed, channels) in [(1, 9), (2, 24), (3, 72), (4, 144)] {
        let mut numbers = Numbers(seed);
        let mut b = PlanBuilder::default();
        let size = [7, 11];
        let x = b.input(&[2, 7, 11, 8], ElementType::I8);
        let mut add =
            |x, depth, kind, finish| layer(&mut b, &mut numbers, (x, size, depth), kind, finish);
        let x = add(x, 8, (channels, 1, 1), FULL_RANGE);
        let x = add(x, channels, (channels, 3, channels), FULL_RANGE);
        let x = add(x, channels, (channels, 5, channels), FULL_RANGE);
        let x = add(x, channels, (channels, 1, 1), FULL_RANGE);
        let x = add(x, channels, (channels, 3, channels), FULL_RANGE);
        let activation = Activation::Relu;
        let y = add(
            x,
            channels,
            (channels, 3, channels),
            Epilogue::Float { activation },
        );
        assert_matches_definition(&b.finish(&[x, y]), seed);
    }
}

/// Every sum is as large as 25 products of 8-bit integers can make it.
#[test]
fn the_largest_sums_are_exact() {
    for (weight, x) in [(-128, -128), (-128, 127), (127, -128), (127, 127)] {
        let mut b = PlanBuilder::default();
        let input = b.input(&[1, 9, 9, 40], ElementType::I8);
        let weights = b.constant(&[40, 5, 5, 1], ConstantData::I8(vec![weight; 1000]));
        let multiplier = b.constant(&[40], ConstantData::F32(vec![1.0; 40]));
        let activation = Activation::None;
        let finish = Epilogue::Float { activation };
        let operation = Operation::QuantizedConv2d {
            weights,
            bias: None,
            multiplier,
            window: Window {
                kernel: [5, 5],
                strides: [1, 1],
                pads: [0, 0],
                dilations: [1, 1],
            },
            groups: 40,
            finish,
        };
        let y = b.step(operation, &[input], &[1, 5, 5, 40]);
        let plan = b.finish(&[y]);
        let found = outputs_of(&plan, &[Buffer::I8(vec![x; 9 * 9 * 40])]);
        let expected = f64::from(25 * i32::from(weight) * i32::from(x));
        assert!(found[0].to_f64().iter().all(|&sum| sum == expected));
    }
}

#[test]
fn threads_do_not_change_depthwise_results() {
    let mut numbers = Numbers(7);
    let mut b = PlanBuilder::default();
    let x = b.input(&[2, 31, 33, 72], ElementType::I8);
    let activation = Activation::Relu;
    let outputs: Vec<_> = [FULL_RANGE, Epilogue::Float { activation }]
        .map(|finish| layer(&mut b, &mut numbers, (x, [31, 33], 72), (72, 3, 72), finish))
        .into();
    let plan = b.finish(&outputs);
    let (inputs, _) = random_inputs(&plan, 5);
    let expected = outputs_of(&plan, &inputs);
    for set in InstructionSet::available() {
        let options = CpuOptions {
            threads: 3,
            instruction_set: Some(set),
            ..CpuOptions::default()
        };
        let mut engine = CpuEngine::new(&plan, options).unwrap();
        for (found, expected) in infer(&mut engine, &inputs).iter().zip(&expected) {
            assert_eq!(found.to_f64(), expected.to_f64(), "{set}");
        }
    }
}
