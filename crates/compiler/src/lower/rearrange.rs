//! Brings transpositions together that a reshape or a slice separates, so that they can be merged: the
//! interleaving of channels into a picture, for example, is one transposition of a picture whose
//! channels are its last axis.

use pilotage_engine::plan::{Operand, Operation, Plan, SliceStep, TensorId};

use crate::permute::pick;

/// The most rounds over a plan, each of which changes at least one step.
const MOST_ROUNDS: usize = 100;

/// Who makes and reads each tensor. Steps that no output needs, as merging leaves them, do not count.
struct Links {
    maker: Vec<Option<usize>>,
    /// The only step that reads it, if it is not an output.
    reader: Vec<Option<usize>>,
}

impl Links {
    fn of(plan: &Plan) -> Self {
        let mut maker = vec![None; plan.tensors.len()];
        let mut readers = vec![Vec::new(); plan.tensors.len()];
        for port in &plan.outputs {
            if let Operand::Tensor(id) = port.operand {
                // More than one reader, of which none is a step.
                readers[id.0] = vec![usize::MAX; 2];
            }
        }
        for (index, step) in plan.steps.iter().enumerate().rev() {
            if readers[step.output.0].is_empty() {
                continue;
            }
            maker[step.output.0] = Some(index);
            for input in &step.inputs {
                if let Operand::Tensor(id) = input {
                    readers[id.0].push(index);
                }
            }
        }
        let only = |readers: Vec<usize>| match readers[..] {
            [reader] => Some(reader),
            _ => None,
        };
        Self {
            maker,
            reader: readers.into_iter().map(only).collect(),
        }
    }
}

/// Moves transpositions to before the reshapes and slices between them and another transposition.
pub(super) fn join_transpositions(plan: &mut Plan) {
    for _ in 0..MOST_ROUNDS {
        let links = Links::of(plan);
        let changed = (0..plan.steps.len()).any(|index| {
            let Operation::Transpose { perm } = &plan.steps[index].operation else {
                return false;
            };
            let perm = perm.clone();
            split_before(plan, &links, index, &perm).is_some()
                || earlier(plan, &links, index, &perm).is_some()
        });
        if !changed {
            break;
        }
        super::transposes::merge(plan);
    }
}

/// The step that makes the only input of a step, if nothing else reads it.
fn before(plan: &Plan, links: &Links, index: usize) -> Option<usize> {
    let [Operand::Tensor(input)] = plan.steps[index].inputs[..] else {
        return None;
    };
    (links.reader[input.0] == Some(index)).then_some(links.maker[input.0]?)
}

fn input_of(plan: &Plan, index: usize) -> Option<TensorId> {
    match plan.steps[index].inputs[..] {
        [Operand::Tensor(id)] => Some(id),
        _ => None,
    }
}

fn shape(plan: &Plan, tensor: TensorId) -> &[usize] {
    &plan.tensors[tensor.0].shape
}

/// For each axis of `whole`, the axes of `parts` that it is split into. `None` if `parts` is not `whole`
/// with some axes split.
fn splits(whole: &[usize], parts: &[usize]) -> Option<Vec<Vec<usize>>> {
    let mut at = 0;
    let mut found = Vec::with_capacity(whole.len());
    for (axis, &size) in whole.iter().enumerate() {
        let mut product = 1;
        let mut axes = Vec::new();
        while product < size || (axes.is_empty() && parts.get(at) == Some(&1)) {
            product *= *parts.get(at)?;
            axes.push(at);
            at += 1;
        }
        // The last axis takes what is left.
        while axis + 1 == whole.len() && parts.get(at) == Some(&1) {
            axes.push(at);
            at += 1;
        }
        if product != size {
            return None;
        }
        found.push(axes);
    }
    (at == parts.len()).then_some(found)
}

/// Transposition, reshape that splits axes, transposition: the reshape becomes the first, and the second
/// transposition both.
fn split_before(plan: &mut Plan, links: &Links, index: usize, perm: &[usize]) -> Option<()> {
    let reshape = before(plan, links, index)?;
    let first = before(plan, links, reshape)?;
    let Operation::Transpose { perm: first_perm } = plan.steps[first].operation.clone() else {
        return None;
    };
    if plan.steps[reshape].operation != Operation::Reshape {
        return None;
    }
    let (input, split) = (input_of(plan, first)?, plan.steps[reshape].output);
    let moved = plan.steps[first].output;
    let parts = splits(shape(plan, moved), shape(plan, split))?;
    // The axes of the split, in the order that they have before the first transposition.
    let mut order = Vec::new();
    for axis in 0..first_perm.len() {
        let to = first_perm.iter().position(|&from| from == axis)?;
        order.extend_from_slice(&parts[to]);
    }
    let place = |axis: usize| order.iter().position(|&it| it == axis);
    let both = perm.iter().map(|&axis| place(axis));
    let both = both.collect::<Option<Vec<_>>>()?;
    let early = pick(shape(plan, split), &order);
    plan.tensors[split.0].shape = early;
    plan.steps[reshape].inputs = vec![Operand::Tensor(input)];
    plan.steps[index].operation = Operation::Transpose { perm: both };
    Some(())
}

/// A transposition after a reshape that joins axes, or after a slice, where another transposition comes
/// before: it becomes the earlier one of the two.
fn earlier(plan: &mut Plan, links: &Links, index: usize, perm: &[usize]) -> Option<()> {
    let other = before(plan, links, index)?;
    if !follows_transposition(plan, links, other) {
        return None;
    }
    let (input, between) = (input_of(plan, other)?, plan.steps[other].output);
    let (early, operation) = match &plan.steps[other].operation {
        Operation::Reshape => {
            let parts = splits(shape(plan, between), shape(plan, input))?;
            let early = perm.iter().flat_map(|&axis| parts[axis].clone());
            (early.collect::<Vec<usize>>(), Operation::Reshape)
        }
        Operation::Slice { axes } => {
            let axes: Vec<SliceStep> = pick(axes, perm);
            (perm.to_vec(), Operation::Slice { axes })
        }
        _ => return None,
    };
    plan.tensors[between.0].shape = pick(shape(plan, input), &early);
    plan.steps[other].operation = Operation::Transpose { perm: early };
    plan.steps[index].operation = operation;
    Some(())
}

/// Whether a transposition comes before a step, with only reshapes and slices between.
fn follows_transposition(plan: &Plan, links: &Links, mut index: usize) -> bool {
    while let Some(maker) = before(plan, links, index) {
        match plan.steps[maker].operation {
            Operation::Transpose { .. } => return true,
            Operation::Reshape | Operation::Slice { .. } => index = maker,
            _ => return false,
        }
    }
    false
}
