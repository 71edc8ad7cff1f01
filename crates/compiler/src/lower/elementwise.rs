//! Operators that compute each element separately.

use pilotage_engine::ElementType;
use pilotage_engine::plan::{Activation, BinaryOperator, ConstantId, Operand, Operation};
use pilotage_graph::{Comparison, Node, ValueId};

use super::LowerError;
use super::forms::{Form, Lowering};
use crate::permute::{TO_NHWC, permute};

pub(super) fn unary(l: &mut Lowering<'_>, node: &Node, activation: Activation) {
    let form = l.native(node.inputs[0]);
    let x = l.get(node.inputs[0], form);
    l.make(node, Operation::Unary { activation }, vec![x], form);
}

pub(super) fn cast(l: &mut Lowering<'_>, node: &Node) {
    let form = l.native(node.inputs[0]);
    let x = l.get(node.inputs[0], form);
    l.make(node, Operation::Cast, vec![x], form);
}

pub(super) fn binary(l: &mut Lowering<'_>, node: &Node, operator: BinaryOperator) {
    let form = joint_form(l, node);
    let operands = operands_in(l, node, form);
    let operation = Operation::Binary {
        operator,
        activation: Activation::None,
    };
    l.make(node, operation, operands, form);
}

/// The comparison in f32, converted to bool.
pub(super) fn compare(l: &mut Lowering<'_>, node: &Node, comparison: Comparison) {
    let operator = match comparison {
        Comparison::Equal => BinaryOperator::Equal,
        Comparison::Greater => BinaryOperator::Greater,
        Comparison::GreaterOrEqual => BinaryOperator::GreaterOrEqual,
        Comparison::Less => BinaryOperator::Less,
        Comparison::LessOrEqual => BinaryOperator::LessOrEqual,
    };
    let form = joint_form(l, node);
    let operands = operands_in(l, node, form);
    let operation = Operation::Binary {
        operator,
        activation: Activation::None,
    };
    let shape = l.shape_in(node.outputs[0], form);
    let holds = l.step(&node.name, operation, operands, shape, ElementType::F32);
    l.make(node, Operation::Cast, vec![holds], form);
}

pub(super) fn select(l: &mut Lowering<'_>, node: &Node) {
    let is_nhwc = |v: &ValueId| l.shape(*v).len() == 4 && l.native(*v) == Form::Nhwc;
    let form = match l.shape(node.outputs[0]).len() == 4 && node.inputs.iter().any(is_nhwc) {
        true => Form::Nhwc,
        false => Form::Plain,
    };
    let operands = operands_in(l, node, form);
    l.make(node, Operation::Select, operands, form);
}

/// The form in which operands are combined.
fn joint_form(l: &Lowering<'_>, node: &Node) -> Form {
    let output = l.shape(node.outputs[0]);
    let moving = |v: &&ValueId| l.constant(**v).is_none();
    let whole = |v: &&ValueId| l.shape(**v) == output;
    let mut wholes = node.inputs.iter().filter(moving).filter(whole);
    match wholes.next().map(|v| l.native(*v)) {
        Some(flat @ Form::FlatNhwc { .. }) => {
            let others_follow = node.inputs.iter().all(|&v| {
                l.shape(v) == output && (l.native(v) == flat || l.constant(v).is_some())
                    || l.shape(v).iter().product::<usize>() == 1
            });
            if others_follow { flat } else { Form::Plain }
        }
        _ => {
            let is_nhwc = |v: &ValueId| l.shape(*v).len() == 4 && l.native(*v) == Form::Nhwc;
            if output.len() == 4 && node.inputs.iter().any(is_nhwc) {
                Form::Nhwc
            } else {
                Form::Plain
            }
        }
    }
}

fn operands_in(l: &mut Lowering<'_>, node: &Node, form: Form) -> Vec<Operand> {
    let inputs = node.inputs.iter();
    inputs.map(|&value| operand_in(l, value, form)).collect()
}

/// The operand in `form`, with its axes aligned on the right as in broadcasting.
fn operand_in(l: &mut Lowering<'_>, value: ValueId, form: Form) -> Operand {
    let shape = l.shape(value);
    let one_element = shape.iter().product::<usize>() == 1;
    match form {
        Form::Plain => l.get(value, Form::Plain),
        Form::Nhwc if shape.len() == 4 => l.get(value, Form::Nhwc),
        Form::Nhwc | Form::FlatNhwc { .. } if one_element => l.get(value, Form::Plain),
        Form::Nhwc => {
            let mut picture = vec![1; 4 - shape.len()];
            picture.extend_from_slice(shape);
            let name = l.graph.value(value).name.clone();
            if let Some(tensor) = l.constant(value) {
                return l.store_tensor(&name, tensor, picture, Form::Nhwc);
            }
            let plain = l.get(value, Form::Plain);
            let ty = l.element_type_of(plain);
            let opened = l.reshape(&name, plain, picture.clone(), ty);
            l.transpose(&name, opened, &picture, &TO_NHWC)
        }
        Form::FlatNhwc { channels, pixels } => {
            match l.constant(value).and_then(|tensor| tensor.as_f32()) {
                Some(data) => {
                    let planes = [shape[0], channels, pixels];
                    let data = permute(data, &planes, &[0, 2, 1]);
                    Operand::Constant(l.store_f32(shape.to_vec(), data))
                }
                None => l.get(value, form),
            }
        }
    }
}

pub(super) fn quantize(l: &mut Lowering<'_>, node: &Node, axis: usize) -> Result<(), LowerError> {
    let (form, scale, zero_point, axis) = scales(l, node, axis)?;
    let x = l.get(node.inputs[0], form);
    let operation = Operation::Quantize {
        scale,
        zero_point,
        axis,
    };
    l.make(node, operation, vec![x], form);
    Ok(())
}

pub(super) fn dequantize(l: &mut Lowering<'_>, node: &Node, axis: usize) -> Result<(), LowerError> {
    let (form, scale, zero_point, axis) = scales(l, node, axis)?;
    let x = l.get(node.inputs[0], form);
    let operation = Operation::Dequantize {
        scale,
        zero_point,
        axis,
    };
    l.make(node, operation, vec![x], form);
    Ok(())
}

fn scales(
    l: &mut Lowering<'_>,
    node: &Node,
    axis: usize,
) -> Result<(Form, ConstantId, Option<ConstantId>, usize), LowerError> {
    let data = l.parameter(node, node.inputs[1], "scale")?.to_vec();
    let count = data.len();
    let form = match l.native(node.inputs[0]) {
        Form::FlatNhwc { .. } if count > 1 => Form::Plain,
        form => form,
    };
    let axis = match form {
        _ if count == 1 => 0,
        Form::Nhwc => nhwc_axis(axis),
        _ => axis,
    };
    let scale = l.store_f32(vec![count], data);
    let zero_point = match node.inputs.get(2) {
        None => None,
        Some(&value) => {
            let name = l.graph.value(value).name.clone();
            let tensor = l.constant(value).ok_or_else(|| LowerError::NotConstant {
                node: node.name.clone(),
                operator: node.op.name(),
                input: "zero point",
            })?;
            match l.store_tensor(&name, tensor, vec![tensor.len()], Form::Plain) {
                Operand::Constant(id) => Some(id),
                Operand::Tensor(_) => None,
            }
        }
    };
    Ok((form, scale, zero_point, axis))
}

/// The position in N, H, W, C of an axis of N, C, H, W.
pub(super) fn nhwc_axis(axis: usize) -> usize {
    [0, 3, 1, 2][axis]
}
