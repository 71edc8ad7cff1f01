//! Chains of INT8 layers: for every storage format between the layers, every instruction set
//! and any number of threads give the same integers as the definition.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use pilotage_engine::conformance::{PlanBuilder, evaluate, infer, number, random_inputs};
use pilotage_engine::plan::{
    ConstantData, ConstantId, Epilogue, Operand, Operation, Plan, PoolKind, Window,
};
use pilotage_engine::{CpuEngine, CpuOptions, ElementType, InstructionSet};
use proptest::prelude::*;

/// Builds a plan of INT8 layers.
struct Layers {
    b: PlanBuilder,
    seed: u64,
    /// The tensors so far and their shapes.
    tensors: Vec<(Operand, [usize; 4])>,
}

impl Layers {
    fn new(input: [usize; 4]) -> Self {
        let mut b = PlanBuilder::default();
        let x = b.input(&input, ElementType::I8);
        Self {
            b,
            seed: 1,
            tensors: vec![(x, input)],
        }
    }

    fn last(&self) -> (Operand, [usize; 4]) {
        self.tensors[self.tensors.len() - 1]
    }

    fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| number(&mut self.seed)).collect()
    }

    fn add(&mut self, operation: Operation, x: Operand, shape: [usize; 4]) {
        let y = self.b.typed_step(operation, &[x], &shape, ElementType::I8);
        self.tensors.push((y, shape));
    }

    /// Adds weights of this shape, biases and multipliers.
    fn constants(&mut self, shape: &[usize]) -> (ConstantId, Option<ConstantId>, ConstantId) {
        let depth: usize = shape[1..].iter().product();
        let quantized = |x: f32| (x * 127.5) as i8;
        let weights = self.numbers(shape.iter().product());
        let weights = weights.into_iter().map(quantized).collect();
        let weights = self.b.constant(shape, ConstantData::I8(weights));
        let bias = self.numbers(shape[0]);
        let bias = bias.into_iter().map(|x| (x * 9000.0) as i32).collect();
        let bias = self.b.constant(&shape[..1], ConstantData::I32(bias));
        // With this multiplier most outputs are within the limits and not 0.
        let least = 0.015 / (depth.max(1) as f32).sqrt();
        let multiplier = self.numbers(shape[0]);
        let multiplier = multiplier.into_iter().map(|x| (1.2 + x) * least);
        let multiplier = ConstantData::F32(multiplier.collect());
        let multiplier = self.b.constant(&shape[..1], multiplier);
        (weights, Some(bias), multiplier)
    }

    fn convolve(&mut self, at: usize, units: usize, kernel: usize, stride: usize, pad: usize) {
        let (x, [batch, height, width, depth]) = self.tensors[at % self.tensors.len()];
        let kernel = kernel.min(height + pad).min(width + pad);
        let (weights, bias, multiplier) = self.constants(&[units, kernel, kernel, depth]);
        let output = |size: usize| (size + pad - kernel) / stride + 1;
        let operation = Operation::QuantizedConv2d {
            weights,
            bias,
            multiplier,
            window: Window {
                kernel: [kernel; 2],
                strides: [stride; 2],
                pads: [pad.div_ceil(2); 2],
                dilations: [1; 2],
            },
            groups: 1,
            finish: Epilogue::Int8 {
                low: -100,
                high: 127,
            },
        };
        self.add(operation, x, [batch, output(height), output(width), units]);
    }

    fn flatten(&mut self, at: usize) {
        let (x, shape) = self.tensors[at % self.tensors.len()];
        let flat = [1, 1, 1, shape.iter().product()];
        self.add(Operation::Reshape, x, flat);
    }

    fn connect(&mut self, at: usize, units: usize) {
        let (x, [a, b, c, depth]) = self.tensors[at % self.tensors.len()];
        let (weights, bias, multiplier) = self.constants(&[units, depth]);
        let operation = Operation::QuantizedFullyConnected {
            weights,
            bias,
            multiplier,
            finish: Epilogue::Int8 { low: 0, high: 127 },
        };
        self.add(operation, x, [a, b, c, units]);
    }

    fn pool(&mut self, at: usize) {
        let (x, [batch, height, width, depth]) = self.tensors[at % self.tensors.len()];
        let window = Window {
            kernel: [1, 1],
            strides: [2, 1],
            pads: [0; 2],
            dilations: [1; 2],
        };
        let kind = PoolKind::Max;
        let operation = Operation::Pool2d { kind, window };
        self.add(operation, x, [batch, height.div_ceil(2), width, depth]);
    }

    /// Returns the plan; its outputs are these tensors and the last.
    fn finish(self, outputs: &[usize]) -> Plan {
        let tensor = |&at: &usize| self.tensors[1 + at % (self.tensors.len() - 1)].0;
        let mut outputs: Vec<_> = outputs.iter().map(tensor).collect();
        outputs.push(self.last().0);
        self.b.finish(&outputs)
    }
}

/// Checks the plan's outputs on every instruction set. Each engine runs several times: the
/// memory contents after one inference must not affect the next.
fn assert_matches_definition(plan: &Plan, threads: &[usize]) {
    plan.validate().unwrap();
    let cases: Vec<_> = (0..2)
        .map(|seed| {
            let (inputs, values) = random_inputs(plan, seed);
            (inputs, evaluate(plan, &values))
        })
        .collect();
    let sets = InstructionSet::ALL.into_iter();
    for instruction_set in sets.filter(|set| set.is_available()) {
        for &threads in threads {
            let options = CpuOptions {
                threads,
                instruction_set: Some(instruction_set),
                ..CpuOptions::default()
            };
            let mut engine = CpuEngine::new(plan, options).unwrap();
            for (run, (inputs, expected)) in cases.iter().chain(&cases[..1]).enumerate() {
                let found = infer(&mut engine, inputs);
                for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
                    assert!(
                        found.to_f64() == expected.data,
                        "output {index}, {instruction_set}, {threads} threads, run {run}"
                    );
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Pick {
    Convolve(usize, usize, usize, usize, usize),
    Connect(usize, usize),
    Flatten(usize),
    Pool(usize),
}

fn pick() -> impl Strategy<Value = Pick> {
    let any = any::<usize>;
    prop_oneof![
        4 => (any(), 1..40_usize, 1..4_usize, 1..3_usize, 0..3_usize)
            .prop_map(|(at, units, kernel, stride, pad)| {
                Pick::Convolve(at, units, kernel, stride, pad)
            }),
        2 => (any(), 1..40_usize).prop_map(|(at, units)| Pick::Connect(at, units)),
        1 => any().prop_map(Pick::Flatten),
        1 => any().prop_map(Pick::Pool),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn random_layers_match_the_definition(
        picks in prop::collection::vec(pick(), 1..8),
        outputs in prop::collection::vec(any::<usize>(), 0..2),
        size in (1..3_usize, 1..9_usize, 1..9_usize, 1..6_usize),
    ) {
        let (batch, height, width, depth) = size;
        let mut layers = Layers::new([batch, height, width, depth]);
        for pick in picks {
            match pick {
                Pick::Convolve(at, units, kernel, stride, pad) => {
                    layers.convolve(at, units, kernel, stride, pad);
                }
                Pick::Connect(at, units) => layers.connect(at, units),
                Pick::Flatten(at) => layers.flatten(at),
                Pick::Pool(at) => layers.pool(at),
            }
        }
        assert_matches_definition(&layers.finish(&outputs), &[1]);
    }
}

/// Adds layers large enough to be shared between threads: two convolutions, and fully
/// connected layers on their flattened output.
fn chain(layers: &mut Layers) {
    layers.convolve(0, 24, 5, 2, 0);
    layers.convolve(1, 36, 5, 2, 0);
    layers.flatten(2);
    layers.connect(3, 120);
    layers.connect(4, 3);
}

#[test]
fn a_chain_of_layers_matches_the_definition() {
    let mut layers = Layers::new([1, 33, 61, 3]);
    chain(&mut layers);
    assert_matches_definition(&layers.finish(&[]), &[1, 2, 3]);
}

#[test]
fn a_tensor_read_with_and_without_padding_matches_the_definition() {
    let mut layers = Layers::new([1, 33, 61, 3]);
    chain(&mut layers);
    layers.convolve(1, 20, 3, 1, 2);
    assert_matches_definition(&layers.finish(&[4]), &[1, 2, 3]);
}

#[test]
fn an_intermediate_output_matches_the_definition() {
    let mut layers = Layers::new([1, 33, 61, 3]);
    chain(&mut layers);
    // Additional outputs: the first convolution, the second, and the second flattened.
    assert_matches_definition(&layers.finish(&[0, 1, 2]), &[1, 2, 3]);
    let mut layers = Layers::new([1, 33, 61, 3]);
    chain(&mut layers);
    assert_matches_definition(&layers.finish(&[2]), &[1, 2, 3]);
}
