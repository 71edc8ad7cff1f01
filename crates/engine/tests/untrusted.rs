//! Plans that have been tampered with are errors, or run without invalid memory accesses.
#![allow(clippy::unwrap_used, reason = "a failure is a panic")]

use pilotage_engine::conformance;
use pilotage_engine::plan::{ConstantData, Plan};
use pilotage_engine::{CpuEngine, CpuError, CpuOptions, InstructionSet};
use proptest::prelude::*;
use serde_json::Value;

/// All numbers in a document, in order.
fn numbers<'a>(value: &'a mut Value, found: &mut Vec<&'a mut Value>) {
    match value {
        Value::Number(_) => found.push(value),
        Value::Array(items) => items.iter_mut().for_each(|item| numbers(item, found)),
        Value::Object(items) => items.values_mut().for_each(|item| numbers(item, found)),
        _ => {}
    }
}

/// The plan with some numbers changed, if it can still be deserialized.
fn tampered(plan: &Plan, changes: &[(usize, i64, bool)]) -> Option<Plan> {
    let shapes: Vec<_> = plan
        .constants
        .iter()
        .map(|constant| &constant.shape)
        .collect();
    let mut document = serde_json::to_value((
        &plan.tensors,
        &plan.inputs,
        &plan.outputs,
        &plan.steps,
        shapes,
    ))
    .unwrap();
    for &(place, change, absolute) in changes {
        let mut found = Vec::new();
        numbers(&mut document, &mut found);
        let count = found.len();
        let number = &mut found[place % count];
        let old = number.as_i64().unwrap_or(0);
        **number = if absolute {
            change
        } else {
            old.wrapping_add(change)
        }
        .into();
    }
    type Parts = (
        Vec<pilotage_engine::plan::TensorSpec>,
        Vec<pilotage_engine::plan::PlanPort>,
        Vec<pilotage_engine::plan::PlanPort>,
        Vec<pilotage_engine::plan::Step>,
        Vec<Vec<usize>>,
    );
    let (tensors, inputs, outputs, steps, shapes): Parts = serde_json::from_value(document).ok()?;
    let mut constants = plan.constants.clone();
    for (constant, shape) in constants.iter_mut().zip(shapes) {
        constant.shape = shape;
    }
    Some(Plan {
        tensors,
        constants,
        inputs,
        outputs,
        steps,
    })
}

/// Whether the plan has few enough elements to run in a test.
fn small(plan: &Plan) -> bool {
    let elements = |shape: &Vec<usize>| shape.iter().product::<usize>();
    plan.tensors
        .iter()
        .map(|spec| elements(&spec.shape))
        .sum::<usize>()
        < 200_000
}

/// Runs the plan if it is valid and small; returns whether it is valid. Debug assertions check
/// the kernels' memory accesses.
fn run_if_valid(plan: &Plan) -> Result<bool, TestCaseError> {
    if plan.validate().is_err() {
        let result = CpuEngine::new(plan, CpuOptions::default());
        prop_assert!(matches!(result, Err(CpuError::Plan(_))));
        return Ok(false);
    }
    if small(plan) {
        let (inputs, _) = conformance::random_inputs(plan, 1);
        let sets = InstructionSet::ALL.into_iter();
        for instruction_set in sets.filter(|set| set.is_available()) {
            let options = CpuOptions {
                instruction_set: Some(instruction_set),
                ..CpuOptions::default()
            };
            let mut engine = CpuEngine::new(plan, options).unwrap();
            conformance::infer(&mut engine, &inputs);
        }
    }
    Ok(true)
}

fn change() -> impl Strategy<Value = (usize, i64, bool)> {
    prop_oneof![
        (any::<usize>(), -3..4_i64, Just(false)),
        (any::<usize>(), 0..8_i64, Just(true)),
        (
            any::<usize>(),
            prop_oneof![
                Just(i64::MAX),
                Just(i64::MIN),
                Just(-1),
                Just(1 << 20),
                Just(1 << 31),
                Just(1 << 32),
                Just(1 << 62)
            ],
            Just(true)
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn tampered_plans_are_errors_or_harmless(
        network in 0..conformance::networks().len(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let (_, plan) = &conformance::networks()[network];
        if let Some(plan) = tampered(plan, &changes) {
            run_if_valid(&plan)?;
        }
    }

    #[test]
    fn swapped_parts_are_errors_or_harmless(
        network in 0..conformance::networks().len(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        what in 0..5,
    ) {
        let (_, mut plan) = conformance::networks().swap_remove(network);
        match what {
            0 if !plan.steps.is_empty() => {
                let count = plan.steps.len();
                plan.steps.swap(from.index(count), to.index(count));
            }
            1 => {
                let count = plan.tensors.len();
                plan.tensors.swap(from.index(count), to.index(count));
            }
            2 if !plan.constants.is_empty() => {
                let constant = from.index(plan.constants.len());
                plan.constants[constant].data = ConstantData::I8(vec![1; to.index(9)]);
            }
            3 if !plan.steps.is_empty() => {
                let step = plan.steps[from.index(plan.steps.len())].operation.clone();
                let count = plan.steps.len();
                plan.steps[to.index(count)].operation = step;
            }
            _ if !plan.steps.is_empty() => {
                let count = plan.steps.len();
                let tensor = plan.steps[from.index(count)].output;
                plan.steps[to.index(count)].output = tensor;
            }
            _ => {}
        }
        run_if_valid(&plan)?;
    }
}

/// The properties above would be vacuous if no tampered plan were valid, or all were.
#[test]
fn tampering_gives_valid_and_invalid_plans() {
    let mut counts = [0, 0];
    for (_, plan) in conformance::networks() {
        for place in 0..400 {
            if let Some(plan) = tampered(&plan, &[(place, 1, false)]) {
                counts[usize::from(run_if_valid(&plan).unwrap())] += 1;
            }
        }
    }
    assert!(counts[0] > 100 && counts[1] > 20, "{counts:?}");
}
