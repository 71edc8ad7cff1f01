//! INT8 layers with random shapes: every instruction set gives the same integers as the
//! definition.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure is a panic"
)]

#[path = "integers/compressed.rs"]
mod compressed;
#[path = "integers/depthwise.rs"]
mod depthwise;

use half::f16;
use pilotage_engine::conformance::{PlanBuilder, evaluate, infer, random_inputs};
use pilotage_engine::plan::{
    Activation, ConstantData, ConstantId, Epilogue, Operand, Operation, Plan, PoolKind, Window,
};
use pilotage_engine::{
    Buffer, CpuEngine, CpuOptions, ElementType, Engine, InstructionSet, PlanError,
};
use proptest::prelude::*;

/// The outputs of the plan; checks that they have the same bits on every instruction set.
fn outputs_of(plan: &Plan, inputs: &[Buffer]) -> Vec<Buffer> {
    let mut first: Option<Vec<Buffer>> = None;
    let sets = InstructionSet::ALL.into_iter().rev();
    for set in sets.filter(|set| set.is_available()) {
        let options = CpuOptions {
            instruction_set: Some(set),
            ..CpuOptions::default()
        };
        let mut engine = CpuEngine::new(plan, options).unwrap();
        let found = infer(&mut engine, inputs);
        let first = first.get_or_insert_with(|| found.clone());
        for (a, b) in first.iter().zip(&found) {
            let bits = |buffer: &Buffer| -> Vec<u64> {
                buffer.to_f64().into_iter().map(f64::to_bits).collect()
            };
            assert_eq!(bits(a), bits(b), "{set}");
        }
    }
    first.unwrap()
}

/// Checks the plan's outputs on every instruction set against the naive evaluation.
fn assert_matches_definition(plan: &Plan, seed: u64) {
    plan.validate().unwrap();
    let (inputs, values) = random_inputs(plan, seed);
    let expected = evaluate(plan, &values);
    for (found, expected) in outputs_of(plan, &inputs).iter().zip(&expected) {
        let same = |a: f64, b: f64| match found {
            // Activation functions are rounded to f32.
            Buffer::F32(_) => (a - b).abs() <= 1e-6 * b.abs().max(1.0),
            _ => a == b,
        };
        let found = found.to_f64();
        assert_eq!(found.len(), expected.data.len());
        for (at, (&a, &b)) in found.iter().zip(&expected.data).enumerate() {
            assert!(same(a, b), "at {at}: {a}, not {b}");
        }
    }
}

/// A pseudo-random sequence of numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        pilotage_engine::conformance::number(&mut self.0)
    }

    fn i8s(&mut self, b: &mut PlanBuilder, shape: &[usize]) -> ConstantId {
        let data = (0..shape.iter().product())
            .map(|_| (self.next() * 127.5) as i8)
            .collect();
        b.constant(shape, ConstantData::I8(data))
    }

    fn i32s(&mut self, b: &mut PlanBuilder, count: usize) -> ConstantId {
        let data = (0..count).map(|_| (self.next() * 20_000.0) as i32);
        let data = ConstantData::I32(data.collect());
        b.constant(&[count], data)
    }

    /// Multipliers with which most sums of `depth` products are within -128..=127 and some are
    /// outside.
    fn multipliers(&mut self, b: &mut PlanBuilder, count: usize, depth: usize) -> ConstantId {
        self.scaled_multipliers(b, count, depth, 1.0)
    }

    fn scaled_multipliers(
        &mut self,
        b: &mut PlanBuilder,
        count: usize,
        depth: usize,
        factor: f32,
    ) -> ConstantId {
        let least = 0.01 / (depth as f32).sqrt();
        let data = (0..count).map(|_| ((1.0 + self.next()) * least + 1e-5) * factor);
        let data = ConstantData::F32(data.collect());
        b.constant(&[count], data)
    }
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    size: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 2],
    dilations: [usize; 2],
    groups: usize,
    depth: usize,
    units: usize,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    (
        (pair(1..9), pair(1..4), pair(1..4)),
        (pair(0..3), pair(1..3)),
        (1_usize..4, 1_usize..20, 1_usize..70),
    )
        .prop_map(
            |((size, kernel, strides), (pads, dilations), (g, depth, units))| Shape {
                size,
                kernel,
                strides,
                pads,
                dilations,
                groups: g,
                depth,
                // Depthwise if there is one input channel for each group.
                units: if depth == 1 { 1 } else { units },
            },
        )
}

/// Rows of many pixels with 17 to 24 channels. With AVX-512 VNNI, 21 or more channels use tiles
/// of three split vectors.
fn wide_rows() -> impl Strategy<Value = Shape> {
    let columns = (1_usize..70, 1_usize..6, 1_usize..3, 0_usize..3);
    (columns, 1_usize..4, 1_usize..6, 17_usize..25).prop_map(
        |((width, kernel, stride, pad), groups, depth, units)| Shape {
            size: [3, width],
            kernel: [2, kernel],
            strides: [1, stride],
            pads: [0, pad],
            dilations: [1, 1],
            groups,
            depth,
            units,
        },
    )
}

/// The number of windows along an axis with the same padding on both sides; 0 if none fits.
fn windows(shape: &Shape, axis: usize) -> usize {
    let reach = (shape.kernel[axis] - 1) * shape.dilations[axis] + 1;
    let padded = shape.size[axis] + 2 * shape.pads[axis];
    padded
        .checked_sub(reach)
        .map_or(0, |rest| rest / shape.strides[axis] + 1)
}

fn epilogues(b: &mut PlanBuilder, numbers: &mut Numbers, units: usize) -> Vec<Epilogue> {
    let floats = (0..units).map(|_| numbers.next()).collect();
    let bias = b.constant(&[units], ConstantData::F32(floats));
    let activation = Activation::Elu { alpha: 0.5 };
    vec![
        Epilogue::Int8 {
            low: -128,
            high: 127,
        },
        Epilogue::Int8 { low: 0, high: 90 },
        Epilogue::Float { activation },
        Epilogue::Dynamic {
            bias: Some(bias),
            activation,
        },
    ]
}

/// Every sum of a convolution's tiles is as large as products of 8-bit integers can make it.
#[test]
fn the_largest_sums_of_tiles_are_exact() {
    for (weight, x) in [(-128, -128), (-127, -128), (-128, 127), (127, 127)] {
        let mut b = PlanBuilder::default();
        let input = b.input(&[1, 5, 17, 6], ElementType::I8);
        let weights = b.constant(&[20, 3, 3, 6], ConstantData::I8(vec![weight; 20 * 54]));
        let operation = Operation::QuantizedConv2d {
            weights,
            bias: None,
            multiplier: b.constant(&[20], ConstantData::F32(vec![1.0; 20])),
            window: Window {
                kernel: [3, 3],
                strides: [1, 1],
                pads: [0, 0],
                dilations: [1, 1],
            },
            groups: 1,
            finish: Epilogue::Float {
                activation: Activation::None,
            },
        };
        let y = b.step(operation, &[input], &[1, 3, 15, 20]);
        let found = outputs_of(&b.finish(&[y]), &[Buffer::I8(vec![x; 5 * 17 * 6])]);
        let expected = f64::from(54 * i32::from(weight) * i32::from(x));
        assert!(
            found[0].to_f64().iter().all(|&sum| sum == expected),
            "{weight} times {x}"
        );
    }
}

fn output_type(epilogue: &Epilogue) -> ElementType {
    match epilogue {
        Epilogue::Int8 { .. } => ElementType::I8,
        _ => ElementType::F32,
    }
}

/// The inputs of a layer with this epilogue.
fn inputs_of(epilogue: &Epilogue, x: Operand, scale: Operand) -> Vec<Operand> {
    match epilogue {
        Epilogue::Dynamic { .. } => vec![x, scale],
        _ => vec![x],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn convolutions_match_the_definition(
        shape in prop_oneof![shapes(), wide_rows(), depthwise::shapes()],
        factor in prop_oneof![9 => Just(1.0), 1 => Just(1e9_f32)],
        seed in 0_u64..1000,
    ) {
        let (height, width) = (windows(&shape, 0), windows(&shape, 1));
        prop_assume!(height > 0 && width > 0);
        let (channels, units) = (shape.depth * shape.groups, shape.units * shape.groups);
        let mut numbers = Numbers(seed);
        let mut b = PlanBuilder::default();
        let x = b.input(&[1, shape.size[0], shape.size[1], channels], ElementType::I8);
        let scale = b.input_f32(&[1]);
        let [rows, columns] = shape.kernel;
        let weights = numbers.i8s(&mut b, &[units, rows, columns, shape.depth]);
        let bias = numbers.i32s(&mut b, units);
        let taps = rows * columns * shape.depth;
        // With the large factor, products exceed i32 before they are clamped.
        let multiplier = numbers.scaled_multipliers(&mut b, units, taps, factor);
        let mut outputs = Vec::new();
        for epilogue in epilogues(&mut b, &mut numbers, units) {
            let operation = Operation::QuantizedConv2d {
                weights,
                bias: Some(bias),
                multiplier,
                window: Window {
                    kernel: shape.kernel,
                    strides: shape.strides,
                    pads: shape.pads,
                    dilations: shape.dilations,
                },
                groups: shape.groups,
                finish: epilogue,
            };
            let inputs = inputs_of(&epilogue, x, scale);
            let output = [1, height, width, units];
            outputs.push(b.typed_step(operation, &inputs, &output, output_type(&epilogue)));
        }
        assert_matches_definition(&b.finish(&outputs), seed);
    }

    #[test]
    fn fully_connected_layers_match_the_definition(
        rows in 1_usize..4,
        depth in 0_usize..200,
        units in 1_usize..150,
        seed in 0_u64..1000,
    ) {
        let mut numbers = Numbers(seed);
        let mut b = PlanBuilder::default();
        let x = b.input(&[rows, depth], ElementType::I8);
        let scale = b.input_f32(&[1]);
        let weights = numbers.i8s(&mut b, &[units, depth]);
        let bias = numbers.i32s(&mut b, units);
        let multiplier = numbers.multipliers(&mut b, units, depth + 1);
        let mut outputs = Vec::new();
        for epilogue in epilogues(&mut b, &mut numbers, units) {
            let operation = Operation::QuantizedFullyConnected {
                weights,
                bias: Some(bias),
                multiplier,
                finish: epilogue,
            };
            let inputs = inputs_of(&epilogue, x, scale);
            outputs.push(b.typed_step(operation, &inputs, &[rows, units], output_type(&epilogue)));
        }
        assert_matches_definition(&b.finish(&outputs), seed);
    }

    #[test]
    fn other_operations_match_the_definition(
        side in 1_usize..8,
        channels in 1_usize..40,
        seed in 0_u64..1000,
    ) {
        let mut numbers = Numbers(seed);
        let mut b = PlanBuilder::default();
        let shape = [1, side, side, channels];
        let x = b.input(&shape, ElementType::I8);
        let y = b.input_f32(&shape);
        let table = numbers.i8s(&mut b, &[256]);
        let looked_up = b.typed_step(Operation::Lookup { table }, &[x], &shape, ElementType::I8);
        let kind = PoolKind::Max;
        let window = Window {
            kernel: [2, 2],
            strides: [1, 2],
            pads: [1, 0],
            dilations: [1, 1],
        };
        let pooled = [1, side + 1, side.div_ceil(2), channels];
        let pool = Operation::Pool2d { kind, window };
        let pooled = b.typed_step(pool, &[looked_up], &pooled, ElementType::I8);
        let scale = b.step(Operation::DynamicScale, &[y], &[1]);
        let quantized = b.typed_step(
            Operation::DynamicQuantize,
            &[y, scale],
            &shape,
            ElementType::I8,
        );
        assert_matches_definition(&b.finish(&[looked_up, pooled, scale, quantized]), seed);
    }
}

fn one_unit(weights: Vec<i8>, bias: i32, multiplier: f32, epilogue: Epilogue) -> Plan {
    let mut b = PlanBuilder::default();
    let depth = weights.len();
    let x = b.input(&[1, depth], ElementType::I8);
    let weights = b.constant(&[1, depth], ConstantData::I8(weights));
    let bias = b.constant(&[1], ConstantData::I32(vec![bias]));
    let multiplier = b.constant(&[1], ConstantData::F32(vec![multiplier]));
    let operation = Operation::QuantizedFullyConnected {
        weights,
        bias: Some(bias),
        multiplier,
        finish: epilogue,
    };
    let y = b.typed_step(operation, &[x], &[1, 1], output_type(&epilogue));
    b.finish(&[y])
}

const FULL_RANGE: Epilogue = Epilogue::Int8 {
    low: -128,
    high: 127,
};

#[test]
fn halves_are_rounded_to_even_and_large_values_are_clamped() {
    for (x, bias, expected) in [
        (1, 0, 0.0),
        (3, 0, 2.0),
        (5, 0, 2.0),
        (-3, 0, -2.0),
        (-5, 0, -2.0),
        (127, 1000, 127.0),
        (-128, -1000, -128.0),
        (0, 7, 4.0),
    ] {
        let plan = one_unit(vec![1], bias, 0.5, FULL_RANGE);
        let found = outputs_of(&plan, &[Buffer::I8(vec![x])]);
        assert_eq!(found[0].to_f64(), [expected], "{x} {bias}");
    }
}

#[test]
fn threads_do_not_change_the_results() {
    let mut numbers = Numbers(5);
    let mut b = PlanBuilder::default();
    let x = b.input(&[2, 21, 33, 12], ElementType::I8);
    let weights = numbers.i8s(&mut b, &[72, 3, 3, 12]);
    let multiplier = numbers.multipliers(&mut b, 72, 108);
    let mut outputs = Vec::new();
    let activation = Activation::Relu;
    for epilogue in [FULL_RANGE, Epilogue::Float { activation }] {
        let operation = Operation::QuantizedConv2d {
            weights,
            bias: None,
            multiplier,
            window: Window {
                kernel: [3, 3],
                strides: [1, 2],
                pads: [1, 1],
                dilations: [1, 1],
            },
            groups: 1,
            finish: epilogue,
        };
        outputs.push(b.typed_step(operation, &[x], &[2, 21, 17, 72], output_type(&epilogue)));
    }
    let plan = b.finish(&outputs);
    let (inputs, _) = random_inputs(&plan, 5);
    let expected = outputs_of(&plan, &inputs);
    for set in InstructionSet::ALL {
        if set.is_available() {
            let options = CpuOptions {
                threads: 3,
                instruction_set: Some(set),
                ..CpuOptions::default()
            };
            let mut engine = CpuEngine::new(&plan, options).unwrap();
            assert_eq!(engine.describe(), format!("CPU, {set}, 3 threads, int8"));
            for (found, expected) in infer(&mut engine, &inputs).iter().zip(&expected) {
                assert_eq!(found.to_f64(), expected.to_f64(), "{set}");
            }
        }
    }
}

#[test]
fn plans_that_could_overflow_or_are_inconsistent_are_errors() {
    let error = |plan: Plan| plan.validate().unwrap_err();
    let parameter = |plan| match error(plan) {
        PlanError::OutOfRange { parameter, .. } => parameter,
        other => panic!("{other}"),
    };
    let deep = |depth: usize, bias| one_unit(vec![1; depth], bias, 1.0, FULL_RANGE);
    deep(131_071, 16_383).validate().unwrap();
    assert_eq!(parameter(deep(131_071, 16_384)), "weights and bias");
    assert_eq!(parameter(deep(131_072, 0)), "weights and bias");
    assert_eq!(parameter(deep(1, i32::MIN)), "weights and bias");
    for multiplier in [-1.0, f32::NAN, f32::INFINITY] {
        let plan = one_unit(vec![1], 0, multiplier, FULL_RANGE);
        assert_eq!(parameter(plan), "multiplier");
    }
    let crossed = Epilogue::Int8 { low: 1, high: 0 };
    assert_eq!(parameter(one_unit(vec![1], 0, 1.0, crossed)), "limits");
    let dynamic = Epilogue::Dynamic {
        bias: None,
        activation: Activation::None,
    };
    let error = error(one_unit(vec![1], 0, 1.0, dynamic));
    assert!(matches!(error, PlanError::InputCount { .. }), "{error}");
}

#[test]
fn only_weights_may_be_f16_and_they_are_converted_exactly() {
    let weights: Vec<f16> = (0..64)
        .map(|i| f16::from_f32(i as f32 / 7.0 - 4.0))
        .collect();
    let plan = |data: ConstantData| {
        let mut b = PlanBuilder::default();
        let x = b.input_f32(&[1, 8]);
        let weights = b.constant(&[8, 8], data);
        let operation = Operation::FullyConnected {
            weights,
            bias: None,
            activation: Activation::None,
        };
        let y = b.step(operation, &[x], &[1, 8]);
        b.finish(&[y])
    };
    let wide = weights.iter().map(|w| w.to_f32()).collect();
    let (wide, half) = (
        plan(ConstantData::F32(wide)),
        plan(ConstantData::F16(weights)),
    );
    let (inputs, _) = random_inputs(&wide, 3);
    for set in InstructionSet::ALL {
        if set.is_available() {
            let options = CpuOptions {
                instruction_set: Some(set),
                ..CpuOptions::default()
            };
            let run = |plan| infer(&mut CpuEngine::new(plan, options).unwrap(), &inputs);
            assert_eq!(run(&wide)[0].to_f64(), run(&half)[0].to_f64());
        }
    }

    let mut operand = half.clone();
    operand.steps[0].operation = Operation::Reshape;
    operand.steps[0].inputs = vec![Operand::Constant(ConstantId(0))];
    assert!(matches!(operand.validate(), Err(PlanError::Half { .. })));
    let mut tensor = half;
    tensor.tensors[1].element_type = ElementType::F16;
    assert!(matches!(tensor.validate(), Err(PlanError::Half { .. })));
}
