use pilotage_engine::conformance::{PlanBuilder, number};
use pilotage_engine::plan::Epilogue;
use pilotage_engine::{CpuEngine, CpuOptions, ElementType, InstructionSet};
use proptest::prelude::*;

use super::*;

/// A plan of two fully connected layers with these units and inputs.
fn plan(layers: [[usize; 2]; 2]) -> Plan {
    let mut b = PlanBuilder::default();
    let mut seed = 1;
    let mut x = b.input(&[1, layers[0][1]], ElementType::I8);
    for shape in layers {
        let weights = (0..shape[0] * shape[1]).map(|_| (number(&mut seed) * 127.5) as i8);
        let operation = Operation::QuantizedFullyConnected {
            weights: b.constant(&shape, ConstantData::I8(weights.collect())),
            bias: None,
            multiplier: b.constant(&[shape[0]], ConstantData::F32(vec![1e-3; shape[0]])),
            finish: Epilogue::Int8 { low: 0, high: 127 },
        };
        x = b.typed_step(operation, &[x], &[1, shape[0]], ElementType::I8);
    }
    b.finish(&[x])
}

#[test]
fn large_layers_are_rounded_and_run_from_4_bits() {
    // The last group of a row is shorter than the others.
    let original = plan([[600, 900], [10, 600]]);
    for group in INT4_GROUPS {
        let mut rounded = original.clone();
        round_to_int4(&mut rounded, group);
        rounded.validate().unwrap();
        assert_ne!(rounded.constants[0], original.constants[0]);
        assert_eq!(
            rounded.constants[1..],
            original.constants[1..],
            "small layers"
        );
        let layers = rounded.layers();
        assert_eq!(layers[0].encoding, Some("int4"));
        assert!(layers[0].stored_bytes < layers[0].weight_bytes * 53 / 100);
        assert_eq!(layers[1].encoding, Some("dense"));
        let options = CpuOptions {
            profile: true,
            ..CpuOptions::default()
        };
        let engine = CpuEngine::new(&rounded, options).unwrap();
        let stored: Vec<_> = engine
            .profile()
            .map(|step| step.weights.unwrap().0)
            .collect();
        if InstructionSet::best() != InstructionSet::Scalar {
            assert_eq!(stored, ["int4", "dense"]);
        }
    }
}

#[test]
fn weights_that_are_also_read_as_a_tensor_are_kept() {
    let mut shared = plan([[600, 900], [10, 600]]);
    shared.outputs[0].operand = Operand::Constant(ConstantId(0));
    let before = shared.clone();
    round_to_int4(&mut shared, 64);
    assert_eq!(shared, before);
}

proptest! {
    #[test]
    fn a_group_becomes_4_bit_integers_times_the_best_whole_number(
        original in prop::collection::vec(-127_i8..=127, 1..130),
        narrow in 1_i8..=127,
    ) {
        let original: Vec<i8> = original.iter().map(|weight| weight / narrow).collect();
        let mut found = original.clone();
        round_group(&mut found, &squared_errors());
        let squared = |rounded: &[i8]| -> i64 {
            let pairs = original.iter().zip(rounded);
            pairs.map(|(&a, &b)| (i64::from(a) - i64::from(b)).pow(2)).sum()
        };
        let all: Vec<(i64, Vec<i8>)> = (1..=18)
            .map(|scale: i32| {
                let nearest = |&weight: &i8| {
                    let candidates = (-7..=7).map(|integer| integer * scale);
                    let distance = |&candidate: &i32| (i32::from(weight) - candidate).abs();
                    candidates.min_by_key(distance).unwrap() as i8
                };
                let rounded: Vec<i8> = original.iter().map(nearest).collect();
                (squared(&rounded), rounded)
            })
            .collect();
        let least = all.iter().map(|(error, _)| *error).min().unwrap();
        prop_assert_eq!(squared(&found), least);
        let multiples = |scale: i8| {
            let is_multiple = |&x: &i8| x % scale == 0 && (-7..=7).contains(&(x / scale));
            found.iter().all(is_multiple)
        };
        prop_assert!((1..=18).any(multiples));
    }
}
