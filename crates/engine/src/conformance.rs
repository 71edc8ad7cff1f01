//! The conformance suite that every [`Engine`] has to pass, on small networks. For tests: a
//! failure panics.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test suite: failures are panics"
)]

mod builder;
mod integer;
mod naive;
mod networks;
mod value;

pub use builder::{PlanBuilder, number};
pub use naive::evaluate;
pub use networks::networks;
pub use value::Value;

use crate::plan::Plan;
use crate::{Buffer, ElementType, Engine, EngineError, TensorMut, TensorRef};

/// Runs the whole suite on the engines that `make` creates from plans.
pub fn check(make: &mut dyn FnMut(&Plan) -> Box<dyn Engine>) {
    for (name, plan) in networks() {
        plan.validate()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut engine = make(&plan);
        assert!(!engine.describe().is_empty() && !engine.describe().contains('\n'));
        check_ports(name, &plan, engine.as_ref());
        check_mismatches(name, engine.as_mut());
        check_outputs(name, &plan, engine.as_mut());
    }
}

/// Runs the suite except for the check of the arithmetic, on an engine that was created from a
/// model file, such as TensorRT's. `plan` is the CPU plan of the same model. The gate checks
/// the arithmetic of such an engine against fp32.
pub fn check_engine_contract(name: &str, plan: &Plan, engine: &mut dyn Engine) {
    assert!(!engine.describe().is_empty() && !engine.describe().contains('\n'));
    check_ports(name, plan, engine);
    check_mismatches(name, engine);
    engine.prepare().expect(name);
    for seed in 0..3 {
        let (inputs, _) = random_inputs(plan, seed);
        let first = infer(engine, &inputs);
        let numbers = first.iter().flat_map(Buffer::to_f64);
        assert!(numbers.into_iter().all(f64::is_finite), "{name}");
        engine.prepare().expect(name);
        infer(engine, &random_inputs(plan, seed + 100).0);
        assert_eq!(bits(&first), bits(&infer(engine, &inputs)), "{name}");
    }
}

/// Checks that the ports are those of the plan.
fn check_ports(name: &str, plan: &Plan, engine: &dyn Engine) {
    for (ports, described) in [
        (&plan.inputs, engine.inputs()),
        (&plan.outputs, engine.outputs()),
    ] {
        assert_eq!(ports.len(), described.len(), "{name}");
        for (port, described) in ports.iter().zip(described) {
            let (shape, element_type) = plan.spec(port.operand);
            assert_eq!(port.name, described.name, "{name}");
            assert_eq!(shape, described.shape, "{name}");
            assert_eq!(element_type, described.element_type, "{name}");
            assert_eq!(port.layout, described.layout, "{name}");
        }
    }
}

/// Checks that tensors that do not match the ports are errors, after which the engine still
/// works.
fn check_mismatches(name: &str, engine: &mut dyn Engine) {
    let inputs: Vec<Buffer> = engine.inputs().iter().map(Buffer::zeros).collect();
    let mut outputs: Vec<Buffer> = engine.outputs().iter().map(Buffer::zeros).collect();
    let inputs: Vec<TensorRef<'_>> = inputs.iter().map(Buffer::as_ref).collect();
    let mut outputs: Vec<TensorMut<'_>> = outputs.iter_mut().map(Buffer::as_mut).collect();
    let more = [&inputs[..], &[TensorRef::F32(&[])]].concat();
    for wrong in [&inputs[..inputs.len() - 1], &more] {
        assert!(
            matches!(
                engine.infer(wrong, &mut outputs),
                Err(EngineError::PortCount { side: "inputs", .. })
            ),
            "{name}"
        );
    }
    let count = outputs.len();
    assert!(
        matches!(
            engine.infer(&inputs, &mut outputs[..count - 1]),
            Err(EngineError::PortCount {
                side: "outputs",
                ..
            })
        ),
        "{name}"
    );
    let mismatch = |result: Result<_, EngineError>| {
        assert!(
            matches!(result, Err(EngineError::PortMismatch { .. })),
            "{name}"
        );
    };
    for index in 0..inputs.len() {
        let long = vec![0.0; inputs[index].len() + 1];
        let other_type = vec![0_i64; inputs[index].len()];
        let short_type = vec![0_i8; inputs[index].len()];
        for tensor in [
            TensorRef::F32(&long),
            TensorRef::F32(&long[2..]),
            TensorRef::I64(&other_type),
            TensorRef::I8(&short_type),
        ] {
            if tensor.element_type() == inputs[index].element_type()
                && tensor.len() == inputs[index].len()
            {
                continue;
            }
            let mut wrong = inputs.clone();
            wrong[index] = tensor;
            mismatch(engine.infer(&wrong, &mut outputs));
        }
    }
    let mut long = vec![0.0; outputs[0].as_ref().len() + 1];
    outputs[0] = TensorMut::F32(&mut long);
    mismatch(engine.infer(&inputs, &mut outputs));
}

/// Checks that outputs are close to the naive evaluation, with the same bits each time.
fn check_outputs(name: &str, plan: &Plan, engine: &mut dyn Engine) {
    for seed in 0..3 {
        let (inputs, values) = random_inputs(plan, seed);
        let expected = evaluate(plan, &values);
        let first = infer(engine, &inputs);
        for (index, (output, expected)) in first.iter().zip(&expected).enumerate() {
            let found = output.to_f64();
            if let Some((at, found, expected)) = first_difference(&found, &expected.data) {
                panic!("{name}: output {index} at {at} is {found}, not {expected}");
            }
        }
        engine.prepare().expect(name);
        // An inference of another frame in between must not change the result.
        infer(engine, &random_inputs(plan, seed + 100).0);
        assert_eq!(bits(&first), bits(&infer(engine, &inputs)), "{name}");
    }
}

/// The first element whose difference is larger than the rounding of f32 explains: its index,
/// the found and the expected value.
pub fn first_difference(found: &[f64], expected: &[f64]) -> Option<(usize, f64, f64)> {
    assert_eq!(found.len(), expected.len());
    let near = |a: f64, b: f64| {
        a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 2e-5 * b.abs().max(1.0)
    };
    (0..found.len())
        .find(|&at| !near(found[at], expected[at]))
        .map(|at| (at, found[at], expected[at]))
}

/// Pseudo-random inputs of a plan: as buffers for an engine, and as values for [`evaluate`].
pub fn random_inputs(plan: &Plan, mut seed: u64) -> (Vec<Buffer>, Vec<Value>) {
    plan.inputs
        .iter()
        .map(|port| {
            let (shape, element_type) = plan.spec(port.operand);
            let mut numbers = (0..shape.iter().product()).map(|_| number(&mut seed));
            let buffer = match element_type {
                ElementType::F32 => Buffer::F32(numbers.collect()),
                ElementType::I64 => Buffer::I64(numbers.map(|x| (x * 300.0) as i64).collect()),
                ElementType::I32 => Buffer::I32(numbers.map(|x| (x * 300.0) as i32).collect()),
                ElementType::U8 => Buffer::U8(numbers.map(|x| (x.abs() * 255.0) as u8).collect()),
                ElementType::I8 => Buffer::I8(numbers.map(|x| (x * 127.0) as i8).collect()),
                // No port is F16.
                ElementType::F16 | ElementType::Bool => {
                    Buffer::U8(numbers.by_ref().map(|x| (x > 0.0).into()).collect())
                }
            };
            let value = Value {
                shape: shape.to_vec(),
                data: buffer.to_f64(),
            };
            (buffer, value)
        })
        .unzip()
}

/// Runs one inference with newly allocated outputs.
pub fn infer(engine: &mut dyn Engine, inputs: &[Buffer]) -> Vec<Buffer> {
    let mut outputs: Vec<Buffer> = engine.outputs().iter().map(Buffer::zeros).collect();
    let inputs: Vec<TensorRef<'_>> = inputs.iter().map(Buffer::as_ref).collect();
    let mut views: Vec<TensorMut<'_>> = outputs.iter_mut().map(Buffer::as_mut).collect();
    engine.infer(&inputs, &mut views).unwrap();
    outputs
}

/// The bits of every element; 0 and -0 are different.
pub fn bits(buffers: &[Buffer]) -> Vec<Vec<u64>> {
    buffers
        .iter()
        .map(|buffer| match buffer {
            Buffer::F32(data) => data.iter().map(|x| x.to_bits().into()).collect(),
            other => other.to_f64().iter().map(|x| x.to_bits()).collect(),
        })
        .collect()
}
