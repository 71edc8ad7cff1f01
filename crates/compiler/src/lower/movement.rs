//! Operators that move elements and compute nothing.

use pilotage_engine::plan::{ConstantData, Fill, Operation, SliceStep};
use pilotage_graph::{Node, Pad, PadMode, SliceAxis};

use super::elementwise::nhwc_axis;
use super::forms::{Form, Lowering};
use crate::permute::{TO_NHWC, moves_nothing, pick};

/// The order of a form's axes in memory.
fn memory_order(rank: usize, form: Form) -> Vec<usize> {
    match form {
        Form::Nhwc => TO_NHWC.to_vec(),
        _ => (0..rank).collect(),
    }
}

pub(super) fn identity(l: &mut Lowering<'_>, node: &Node) {
    let (x, output) = (node.inputs[0], node.outputs[0]);
    let form = l.native(x);
    l.get(x, form);
    for (form, operand) in l.at_hand(x) {
        l.set(output, form, operand);
    }
}

/// Flatten, Reshape, Squeeze, Unsqueeze: the output value's shape determines the operation.
pub(super) fn reshape(l: &mut Lowering<'_>, node: &Node) {
    let (x, output) = (node.inputs[0], node.outputs[0]);
    let (from, to) = (l.shape(x), l.shape(output));
    if from == to {
        return identity(l, node);
    }
    let ty = l.graph.value(output).element_type;
    if l.native(x) == Form::Nhwc {
        let nhwc = l.get(x, Form::Nhwc);
        let (channels, pixels) = (from[1], from[2] * from[3]);
        let flattens = *to == [from[0], channels * pixels];
        let in_order = moves_nothing(from, &TO_NHWC);
        if in_order || flattens {
            let form = match in_order {
                true => Form::Plain,
                false => Form::FlatNhwc { channels, pixels },
            };
            let flat = l.reshape(&node.name, nhwc, to.to_vec(), ty);
            l.set(output, form, flat);
            return;
        }
    }
    let plain = l.get(x, Form::Plain);
    let reshaped = l.reshape(&node.name, plain, to.to_vec(), ty);
    l.set(output, Form::Plain, reshaped);
}

pub(super) fn transpose(l: &mut Lowering<'_>, node: &Node, perm: &[usize]) {
    let (x, output) = (node.inputs[0], node.outputs[0]);
    let rank = perm.len();
    let native = l.native_picture(x);
    l.get(x, native);
    let forms: &[Form] = match rank {
        4 => &[Form::Plain, Form::Nhwc],
        _ => &[Form::Plain],
    };
    // A transposition may need no move in memory: NHWC to NCHW, kept as NHWC, for example.
    let in_memory = |from: Form, to: Form| -> Vec<usize> {
        let from = memory_order(rank, from);
        let place = |axis: usize| from.iter().position(|&a| a == axis).unwrap_or(axis);
        let to = memory_order(rank, to);
        to.iter().map(|&axis| place(perm[axis])).collect()
    };
    let at_hand = l.at_hand(x);
    for &(from, operand) in &at_hand {
        if matches!(from, Form::FlatNhwc { .. }) {
            continue;
        }
        let shape = l.shape_in(x, from);
        for &to in forms {
            let perm = in_memory(from, to);
            if moves_nothing(&shape, &perm) {
                let ty = l.graph.value(output).element_type;
                let moved = l.reshape(&node.name, operand, pick(&shape, &perm), ty);
                l.set(output, to, moved);
                return;
            }
        }
    }
    let operand = l.get(x, native);
    let shape = l.shape_in(x, native);
    let perm = in_memory(native, Form::Plain);
    let moved = l.transpose(&node.name, operand, &shape, &perm);
    l.set(output, Form::Plain, moved);
}

pub(super) fn concat(l: &mut Lowering<'_>, node: &Node, axis: usize) {
    let is_nhwc = |v| l.native(v) == Form::Nhwc;
    let form = match node.inputs.iter().any(|&v| is_nhwc(v)) {
        true => Form::Nhwc,
        false => Form::Plain,
    };
    let mut operands = Vec::with_capacity(node.inputs.len());
    for &value in &node.inputs {
        // An empty input adds no elements.
        if !l.shape(value).contains(&0) {
            operands.push(l.get(value, form));
        }
    }
    if let [only] = operands[..] {
        l.set(node.outputs[0], form, only);
        return;
    }
    let axis = axis_in(form, axis);
    l.make(node, Operation::Concat { axis }, operands, form);
}

fn axis_in(form: Form, axis: usize) -> usize {
    match form {
        Form::Nhwc => nhwc_axis(axis),
        _ => axis,
    }
}

pub(super) fn split(l: &mut Lowering<'_>, node: &Node, axis: usize) {
    let x = node.inputs[0];
    let form = l.native_picture(x);
    let operand = l.get(x, form);
    let rank = l.shape(x).len();
    let mut start = 0;
    for &output in &node.outputs {
        let mut axes = vec![SliceStep { start: 0, step: 1 }; rank];
        axes[axis_in(form, axis)].start = start;
        start += l.shape(output)[axis];
        let shape = l.shape_in(output, form);
        let ty = l.graph.value(output).element_type;
        let part = l.step(
            &node.name,
            Operation::Slice { axes },
            vec![operand],
            shape,
            ty,
        );
        l.set(output, form, part);
    }
}

pub(super) fn slice(l: &mut Lowering<'_>, node: &Node, axes: &[SliceAxis]) {
    let x = node.inputs[0];
    let form = l.native_picture(x);
    let operand = l.get(x, form);
    let step = |axis: &SliceAxis| SliceStep {
        start: axis.start,
        step: axis.step,
    };
    let axes: Vec<SliceStep> = axes.iter().map(step).collect();
    let axes = pick(&axes, &memory_order(axes.len(), form));
    l.make(node, Operation::Slice { axes }, vec![operand], form);
}

/// A slice if the indices are at a constant distance, else a copy of each index.
pub(super) fn gather(l: &mut Lowering<'_>, node: &Node, axis: usize, indices: &[usize]) {
    let x = node.inputs[0];
    let form = l.native_picture(x);
    let operand = l.get(x, form);
    let rank = l.shape(x).len();
    let operation = match progression(indices) {
        Some(step) => {
            let mut axes = vec![SliceStep { start: 0, step: 1 }; rank];
            axes[axis_in(form, axis)] = step;
            Operation::Slice { axes }
        }
        None => {
            let data = indices.iter().map(|&index| index as i64).collect();
            let indices = l.store(vec![indices.len()], ConstantData::I64(data));
            let axis = axis_in(form, axis);
            Operation::Gather { axis, indices }
        }
    };
    l.make(node, operation, vec![operand], form);
}

/// The start and the distance of indices at a constant distance other than 0.
fn progression(indices: &[usize]) -> Option<SliceStep> {
    let start = *indices.first()?;
    let distance = |pair: &[usize]| pair[1] as isize - pair[0] as isize;
    let step = indices.windows(2).next().map_or(1, distance);
    let constant = indices.windows(2).all(|pair| distance(pair) == step);
    (constant && step != 0).then_some(SliceStep { start, step })
}

pub(super) fn pad(l: &mut Lowering<'_>, node: &Node, pad: &Pad) {
    let x = node.inputs[0];
    let form = l.native_picture(x);
    let operand = l.get(x, form);
    let before = pick(&pad.before, &memory_order(pad.before.len(), form));
    let fill = match pad.mode {
        PadMode::Constant(value) => Fill::Constant(value),
        PadMode::Reflect => Fill::Reflect,
        PadMode::Edge => Fill::Edge,
        PadMode::Wrap => Fill::Wrap,
    };
    l.make(node, Operation::Pad { before, fill }, vec![operand], form);
}
