//! Tensors share memory only if their lifetimes do not overlap.
#![allow(clippy::unwrap_used, reason = "a failure is a panic")]

use pilotage_engine::conformance::{self, PlanBuilder};
use pilotage_engine::plan::{Activation, BinaryOperator, Operand, Operation, Plan};
use pilotage_engine::{CpuEngine, CpuOptions, Engine, TensorMut, TensorRef};
use proptest::prelude::*;

/// One step of a random graph; indices select one of the tensors so far.
#[derive(Debug, Clone, Copy)]
enum Pick {
    Unary(usize),
    Add(usize, usize),
    Reshape(usize),
    Concat(usize, usize),
    Constant,
}

fn pick() -> impl Strategy<Value = Pick> {
    let any = any::<usize>;
    prop_oneof![
        any().prop_map(Pick::Unary),
        (any(), any()).prop_map(|(a, b)| Pick::Add(a, b)),
        any().prop_map(Pick::Reshape),
        (any(), any()).prop_map(|(a, b)| Pick::Concat(a, b)),
        Just(Pick::Constant),
    ]
}

/// Tensors are (1, n) or, reshaped, (n, 1). `Add` becomes an activation if the shapes
/// differ.
fn build(picks: &[Pick], outputs: &[usize]) -> Plan {
    let mut b = PlanBuilder::default();
    let mut tensors: Vec<(Operand, [usize; 2])> = vec![
        (b.input_f32(&[1, 6]), [1, 6]),
        (b.input_f32(&[1, 40]), [1, 40]),
    ];
    let activation = Operation::Unary {
        activation: Activation::HardSigmoid {
            alpha: 0.9,
            beta: 0.3,
        },
    };
    for &pick in picks {
        let get = |place: usize| tensors[place % tensors.len()];
        let next = match pick {
            Pick::Constant => (Operand::Constant(b.weights(&[1, 6], 1.0)), [1, 6]),
            Pick::Unary(at) => {
                let (x, shape) = get(at);
                (b.step(activation.clone(), &[x], &shape), shape)
            }
            Pick::Reshape(at) => {
                let (x, [a, c]) = get(at);
                (b.step(Operation::Reshape, &[x], &[c, a]), [c, a])
            }
            Pick::Add(first, second) => {
                let ((x, shape), (y, other)) = (get(first), get(second));
                let add = Operation::Binary {
                    operator: BinaryOperator::Sub,
                    activation: Activation::Sigmoid,
                };
                if shape == other {
                    (b.step(add, &[x, y], &shape), shape)
                } else {
                    (b.step(activation.clone(), &[y], &other), other)
                }
            }
            Pick::Concat(first, second) => {
                let ((x, [rows, columns]), (y, other)) = (get(first), get(second));
                let axis = usize::from(rows == 1);
                let fits = if axis == 1 {
                    other[0] == 1
                } else {
                    other[1] == columns
                };
                let (parts, shape) = if !fits || rows * columns > 500 {
                    (vec![x], [rows, columns])
                } else if axis == 1 {
                    (vec![x, y, x], [1, 2 * columns + other[1]])
                } else {
                    (vec![x, y], [rows + other[0], columns])
                };
                (b.step(Operation::Concat { axis }, &parts, &shape), shape)
            }
        };
        tensors.push(next);
    }
    let outputs: Vec<Operand> = outputs
        .iter()
        .map(|at| tensors[at % tensors.len()].0)
        .collect();
    b.finish(&outputs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_graphs_match_the_naive_evaluation(
        picks in prop::collection::vec(pick(), 1..30),
        outputs in prop::collection::vec(any::<usize>(), 1..4),
        seed in any::<u64>(),
    ) {
        let plan = build(&picks, &outputs);
        let (inputs, values) = conformance::random_inputs(&plan, seed);
        let expected = conformance::evaluate(&plan, &values);
        let mut engine = CpuEngine::new(&plan, CpuOptions::default()).unwrap();
        for (found, expected) in conformance::infer(&mut engine, &inputs).iter().zip(&expected) {
            let difference = conformance::first_difference(&found.to_f64(), &expected.data);
            prop_assert_eq!(difference, None);
        }
    }
}

#[test]
fn a_long_chain_needs_the_memory_of_two_tensors() {
    let mut b = PlanBuilder::default();
    let mut x = b.input_f32(&[1, 1024]);
    for _ in 0..50 {
        let activation = Activation::Relu;
        x = b.step(Operation::Unary { activation }, &[x], &[1, 1024]);
        x = b.step(Operation::Reshape, &[x], &[1, 1024]);
    }
    let engine = CpuEngine::new(&b.finish(&[x]), CpuOptions::default()).unwrap();
    assert_eq!(engine.arena_bytes(), 2 * 4 * 1024);
}

/// A NaN in the input must not become a plausible command: it remains a NaN through clamps
/// and rectifiers, on every instruction set.
#[test]
fn a_nan_reaches_the_output() {
    let networks = conformance::networks();
    let (_, plan) = &networks[0];
    let sets = pilotage_engine::InstructionSet::ALL.into_iter();
    for instruction_set in sets.filter(|set| set.is_available()) {
        let options = CpuOptions {
            instruction_set: Some(instruction_set),
            ..CpuOptions::default()
        };
        let mut engine = CpuEngine::new(plan, options).unwrap();
        let mut image = vec![0.5; engine.inputs()[0].len()];
        image[0] = f32::NAN;
        let mut controls = [0.0; 2];
        let mut outputs = [TensorMut::F32(&mut controls)];
        engine
            .infer(&[TensorRef::F32(&image)], &mut outputs)
            .unwrap();
        assert!(controls.iter().all(|x| x.is_nan()), "{instruction_set}");
    }
}
