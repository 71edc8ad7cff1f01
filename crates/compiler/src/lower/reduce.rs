//! Operators that combine several elements into one.

use pilotage_engine::plan::{self, Operation, PoolKind, Window};
use pilotage_graph::{Node, Pool, Reduction};

use super::elementwise::nhwc_axis;
use super::forms::{Form, Lowering};
use crate::permute::{TO_NHWC, pick};

pub(super) fn max_pool(l: &mut Lowering<'_>, node: &Node, pool: &Pool) {
    windows(l, node, pool, PoolKind::Max);
}

pub(super) fn average_pool(l: &mut Lowering<'_>, node: &Node, pool: &Pool) {
    let kind = match pool.count_include_pad {
        true => PoolKind::AverageWithPads {
            bottom: pool.pads[2],
            right: pool.pads[3],
        },
        false => PoolKind::Average,
    };
    windows(l, node, pool, kind);
}

fn windows(l: &mut Lowering<'_>, node: &Node, pool: &Pool, kind: PoolKind) {
    let x = l.get(node.inputs[0], Form::Nhwc);
    let window = Window {
        kernel: pool.kernel,
        strides: pool.strides,
        pads: [pool.pads[0], pool.pads[1]],
        dilations: pool.dilations,
    };
    l.make(
        node,
        Operation::Pool2d { kind, window },
        vec![x],
        Form::Nhwc,
    );
}

pub(super) fn global_average_pool(l: &mut Lowering<'_>, node: &Node) {
    let axes: Vec<usize> = (2..l.shape(node.inputs[0]).len()).collect();
    reduce(l, node, Reduction::Mean, &axes);
}

fn operation(reduction: Reduction, axes: Vec<usize>) -> Operation {
    let reduction = match reduction {
        Reduction::Mean => return Operation::ReduceMean { axes },
        Reduction::Sum => plan::Reduction::Sum,
        Reduction::Min => plan::Reduction::Min,
        Reduction::Max => plan::Reduction::Max,
    };
    Operation::Reduce { reduction, axes }
}

pub(super) fn reduce(l: &mut Lowering<'_>, node: &Node, reduction: Reduction, axes: &[usize]) {
    let (x, output) = (node.inputs[0], node.outputs[0]);
    let shape = l.shape(x);
    let keeps_axes = l.shape(output).len() == shape.len();
    if l.native(x) == Form::Nhwc {
        let is_kept = |axis: &usize| !axes.contains(axis);
        let kept: Vec<usize> = TO_NHWC.into_iter().filter(is_kept).collect();
        // Without the reduced axes, the remaining axes must be in the model's order.
        let in_order = kept.iter().filter(|&&axis| shape[axis] != 1).is_sorted();
        let mut axes: Vec<usize> = axes.iter().map(|&axis| nhwc_axis(axis)).collect();
        axes.sort_unstable();
        if keeps_axes {
            let operand = l.get(x, Form::Nhwc);
            l.make(node, operation(reduction, axes), vec![operand], Form::Nhwc);
            return;
        }
        if in_order {
            let operand = l.get(x, Form::Nhwc);
            let operation = operation(reduction, axes);
            let ty = l.element_type_of(operand);
            let means = l.step(&node.name, operation, vec![operand], pick(shape, &kept), ty);
            let to = l.shape(output).to_vec();
            let means = l.reshape(&node.name, means, to, ty);
            l.set(output, Form::Plain, means);
            return;
        }
    }
    let operand = l.get(x, Form::Plain);
    let axes = axes.to_vec();
    l.make(node, operation(reduction, axes), vec![operand], Form::Plain);
}

pub(super) fn softmax(l: &mut Lowering<'_>, node: &Node, axis: usize, end_axis: usize) {
    let x = node.inputs[0];
    if l.native(x) == Form::Nhwc {
        let mut axes: Vec<usize> = (axis..end_axis).map(nhwc_axis).collect();
        axes.sort_unstable();
        let first = axes.first().copied().unwrap_or(0);
        let together = axes.iter().enumerate().all(|(i, &a)| a == first + i);
        if together {
            let operand = l.get(x, Form::Nhwc);
            let operation = Operation::Softmax {
                axis: first,
                end_axis: first + axes.len(),
            };
            l.make(node, operation, vec![operand], Form::Nhwc);
            return;
        }
    }
    let operand = l.get(x, Form::Plain);
    let operation = Operation::Softmax { axis, end_axis };
    l.make(node, operation, vec![operand], Form::Plain);
}
