use super::super::{Activation, BinaryOperator, ConstantData, Fill, Operation, Step, Window};
use super::*;
use crate::conformance::PlanBuilder;

/// A convolution and a fully connected layer on its output.
fn plan() -> Plan {
    let mut b = PlanBuilder::default();
    let x = b.input_f32(&[1, 5, 6, 4]);
    let weights = b.weights(&[8, 3, 3, 2], 1.0);
    let bias = Some(b.weights(&[8], 1.0));
    let window = Window {
        kernel: [3, 3],
        strides: [1, 1],
        pads: [0, 0],
        dilations: [1, 1],
    };
    let convolution = Operation::Conv2d {
        weights,
        bias,
        window,
        groups: 2,
        activation: Activation::Relu,
    };
    let y = b.step(convolution, &[x], &[1, 3, 4, 8]);
    let flat = b.step(Operation::Reshape, &[y], &[1, 96]);
    let weights = b.weights(&[2, 96], 1.0);
    let layer = Operation::FullyConnected {
        weights,
        bias: None,
        activation: Activation::None,
    };
    let z = b.step(layer, &[flat], &[1, 2]);
    b.finish(&[z])
}

#[test]
fn the_unchanged_plan_is_valid() {
    assert_eq!(plan().validate(), Ok(()));
}

/// Checks that the plan after `change` is an error whose message contains all `parts`.
#[track_caller]
fn assert_invalid(change: impl FnOnce(&mut Plan), parts: &[&str]) {
    let mut plan = plan();
    change(&mut plan);
    let message = plan.validate().unwrap_err().to_string();
    for part in parts {
        assert!(
            message.contains(part),
            "`{message}` does not contain `{part}`"
        );
    }
}

fn convolution(plan: &mut Plan) -> (&mut Window, &mut usize) {
    match &mut plan.steps[0].operation {
        Operation::Conv2d { window, groups, .. } => (window, groups),
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_identifiers_are_errors() {
    assert_invalid(
        |plan| plan.steps[2].output = TensorId(9),
        &["step 2", "tensor 9"],
    );
    assert_invalid(
        |plan| plan.steps[0].inputs[0] = Operand::Constant(ConstantId(7)),
        &["step 0", "constant 7"],
    );
    assert_invalid(
        |plan| plan.outputs[0].operand = Operand::Tensor(TensorId(usize::MAX)),
        &["output 0", "does not have"],
    );
}

#[test]
fn tensors_are_written_once_and_before_use() {
    assert_invalid(
        |plan| plan.steps.swap(0, 2),
        &["step 2", "before it is written"],
    );
    assert_invalid(
        |plan| plan.steps[2].output = TensorId(0),
        &["step 2", "tensor 0", "already written"],
    );
    assert_invalid(
        |plan| {
            plan.steps.pop();
        },
        &["output 0", "before it is written"],
    );
    assert_invalid(
        |plan| plan.inputs.push(plan.inputs[0].clone()),
        &["input 0", "already written"],
    );
    assert_invalid(
        |plan| plan.inputs[0].operand = Operand::Constant(ConstantId(0)),
        &["input 0", "is a constant"],
    );
}

#[test]
fn wrong_shapes_and_types_are_errors() {
    assert_invalid(
        |plan| plan.tensors[1].shape = vec![1, 3, 4, 9],
        &["step 0", "groups"],
    );
    assert_invalid(
        |plan| plan.tensors[2].shape = vec![1, 97],
        &["step 1", "output", "97"],
    );
    assert_invalid(
        |plan| plan.tensors[3].shape = vec![2, 2],
        &["step 2", "output", "[2, 2]"],
    );
    assert_invalid(
        |plan| plan.tensors[3].element_type = ElementType::I32,
        &["step 2", "output", "I32"],
    );
    assert_invalid(
        |plan| plan.constants[1].data = ConstantData::I32(vec![0; 8]),
        &["step 0", "bias", "I32"],
    );
    assert_invalid(
        |plan| plan.constants[0].shape = vec![8, 3, 2, 3],
        &["step 0", "weights", "[8, 3, 2, 3]"],
    );
    assert_invalid(
        |plan| plan.constants[1].shape = vec![9],
        &["constant 1", "8", "9"],
    );
    assert_invalid(
        |plan| {
            let input = plan.steps[0].inputs[0];
            plan.steps[0].inputs.push(input);
        },
        &["step 0", "2 inputs", "takes 1"],
    );
}

#[test]
fn numbers_out_of_range_are_errors() {
    assert_invalid(|plan| *convolution(plan).1 = 0, &["step 0", "groups"]);
    assert_invalid(|plan| *convolution(plan).1 = 3, &["step 0", "groups"]);
    assert_invalid(
        |plan| convolution(plan).0.strides[1] = 0,
        &["step 0", "strides"],
    );
    assert_invalid(
        |plan| convolution(plan).0.dilations[0] = usize::MAX,
        &["step 0", "dilations"],
    );
    assert_invalid(
        |plan| {
            plan.steps[1].operation = Operation::Unary {
                activation: Activation::Elu { alpha: f32::NAN },
            };
        },
        &["step 1", "activation"],
    );
}

#[test]
fn memory_and_work_are_bounded() {
    assert_invalid(
        |plan| plan.tensors[0].shape = vec![1 << 40, 1 << 40],
        &["tensor 0", "bytes"],
    );
    assert_invalid(
        |plan| plan.tensors[0].shape = vec![0, usize::MAX],
        &["tensor 0", "bytes"],
    );
    assert_invalid(|plan| plan.tensors[0].shape = vec![1; 9], &["9 axes"]);
    assert_invalid(
        |plan| chain(plan, 3, 2),
        &["the tensors that an inference needs at one time"],
    );
    assert_invalid(
        |plan| {
            let step = plan.steps[0].clone();
            plan.steps.resize(MAX_ITEMS + 1, step);
        },
        &["steps", "16384"],
    );
    // Matrices of 64 MiB: within the memory limit, but above the work limit.
    assert_invalid(
        |plan| {
            let side = 1 << 12;
            let spec = TensorSpec {
                shape: vec![side, side],
                element_type: ElementType::F32,
            };
            plan.tensors = vec![spec; 4];
            plan.steps = (1..4)
                .map(|id| Step {
                    name: "square".into(),
                    operation: Operation::MatMul,
                    inputs: vec![plan.inputs[0].operand; 2],
                    output: TensorId(id),
                })
                .collect();
        },
        &["square", "operations"],
    );
}

/// Adds `count` steps on tensors of 100 MiB, each of which reads the latest `read` of them.
fn chain(plan: &mut Plan, count: usize, read: usize) {
    let shape = vec![25 << 20];
    let constant = Operand::Constant(ConstantId(plan.constants.len()));
    plan.constants.push(Constant {
        shape: vec![1],
        data: ConstantData::F32(vec![0.0]),
    });
    let mut made = Vec::new();
    for index in 0..count {
        plan.tensors.push(TensorSpec {
            shape: shape.clone(),
            element_type: ElementType::F32,
        });
        let output = TensorId(plan.tensors.len() - 1);
        let latest = made.iter().rev().take(read).copied().map(Operand::Tensor);
        let inputs: Vec<Operand> = latest.collect();
        let operation = match inputs.len() {
            0 => Operation::Pad {
                before: vec![0],
                fill: Fill::Constant(0.0),
            },
            1 => Operation::Unary {
                activation: Activation::Relu,
            },
            _ => Operation::Binary {
                operator: BinaryOperator::Add,
                activation: Activation::None,
            },
        };
        plan.steps.push(Step {
            name: format!("large {index}"),
            operation,
            inputs: if index == 0 { vec![constant] } else { inputs },
            output,
        });
        made.push(output);
    }
}

#[test]
fn memory_that_is_used_again_counts_once() {
    // Two tensors are alive at one time, and three where the plan is refused.
    let mut plan = plan();
    chain(&mut plan, 20, 1);
    plan.validate().unwrap();
}
