//! Operators that move elements, and changes of the memory order.

use pilotage_graph::{Node, Pad, PadMode, SliceAxis, ValueId};

use crate::kernels::moves::{Copies, Moves};
use crate::layout::{Axis, Layout};
use crate::step::Kernel;

use super::{Place, Planner, Reason};

impl Planner<'_> {
    /// Copies a value to another memory order, and returns the slot.
    pub(super) fn reorder(&mut self, value: ValueId, from: Place, layout: Layout) -> usize {
        let sample = self.sample(value);
        let strides = [layout.strides(sample), from.layout.strides(sample)];
        let copies = copies(sample, layout, &strides, [0, 0]);
        self.moved(from.slot, copies)
    }

    /// A step that moves one value. It is omitted if nothing moves.
    fn moved(&mut self, from: usize, copies: Copies) -> usize {
        let size = self.plan.slots[from].size;
        if copies.is_identity(size) {
            // Several values share the slot.
            self.plan.slots[from].replaceable = false;
            return from;
        }
        let input = self.slot_input(from);
        let moves = Moves {
            copies: vec![vec![copies]],
            fill: None,
        };
        self.step(Kernel::Moves(moves), vec![input], size, true)
    }

    /// Flatten, Reshape, Squeeze, Unsqueeze: the same elements in row-major order.
    pub(super) fn reshape(&mut self, node: &Node) -> Result<(), Reason> {
        let (x, output) = (node.inputs[0], node.outputs[0]);
        let slot = self.activation(x, Layout::Plain)?;
        self.share(x, slot);
        self.set(output, slot, Layout::Plain);
        Ok(())
    }

    /// Marks a slot that another value will share.
    fn share(&mut self, value: ValueId, slot: usize) {
        if self.only_reader(value).is_none() {
            self.plan.slots[slot].replaceable = false;
        }
    }

    pub(super) fn identity(&mut self, node: &Node) -> Result<(), Reason> {
        let (x, output) = (node.inputs[0], node.outputs[0]);
        let layout = self.native(x);
        let slot = self.activation(x, layout)?;
        self.share(x, slot);
        self.set(output, slot, layout);
        Ok(())
    }

    pub(super) fn transpose(&mut self, node: &Node, perm: &[usize]) -> Result<(), Reason> {
        if perm.first() != Some(&0) {
            return Err("it moves the batch axis".to_owned());
        }
        let (x, output) = (node.inputs[0], node.outputs[0]);
        let native = self.native(x);
        let from = self.activation(x, native)?;
        let (sample, target) = (self.sample(x), self.sample(output));
        let source = native.strides(sample);
        let source: Vec<isize> = perm[1..].iter().map(|&axis| source[axis - 1]).collect();
        let to = |layout: Layout| {
            let strides = [layout.strides(target), source.clone()];
            copies(target, layout, &strides, [0, 0])
        };
        // The memory may already have the right order.
        let size = self.size(x);
        let last = Layout::ChannelsLast;
        let layout = match target.len() == 3 && to(last).is_identity(size) {
            true => last,
            false => Layout::Plain,
        };
        let slot = self.moved(from, to(layout));
        self.set(output, slot, layout);
        Ok(())
    }

    pub(super) fn concat(&mut self, node: &Node, axis: usize) -> Result<(), Reason> {
        if axis == 0 {
            return Err("it runs over the batch axis".to_owned());
        }
        let output = node.outputs[0];
        let is_last = |v: &ValueId| self.native(*v) == Layout::ChannelsLast;
        let layout = match node.inputs.iter().any(is_last) {
            true => Layout::ChannelsLast,
            false => Layout::Plain,
        };
        let target = self.sample(output);
        let strides = layout.strides(target);
        let (mut all, mut inputs, mut at) = (Vec::new(), Vec::new(), 0);
        for &value in &node.inputs {
            let shape = self.graph.value(value).shape[1..].to_vec();
            // The elements of a constant stay row-major.
            let (input, from) = match self.is_activation(value) {
                true => {
                    let slot = self.activation(value, layout)?;
                    (self.slot_input(slot), layout)
                }
                false => (self.parameter_input(value, None)?, Layout::Plain),
            };
            inputs.push(input);
            let both = [strides.clone(), from.strides(&shape)];
            let start = at as isize * strides[axis - 1];
            all.push(vec![copies(&shape, layout, &both, [start, 0])]);
            at += shape[axis - 1];
        }
        let moves = Moves {
            copies: all,
            fill: None,
        };
        let size = self.size(output);
        let y = self.step(Kernel::Moves(moves), inputs, size, true);
        self.set(output, y, layout);
        Ok(())
    }

    /// A step that copies a part of a value, and fills the rest of the output.
    fn part(
        &mut self,
        (x, output): (ValueId, ValueId),
        fill: Option<f32>,
        copies: impl Fn(&[isize], &[isize], Layout) -> Copies,
    ) -> Result<(), Reason> {
        let layout = self.native(x);
        let slot = self.activation(x, layout)?;
        let to = layout.strides(self.sample(output));
        let from = layout.strides(self.sample(x));
        let moves = Moves {
            copies: vec![vec![copies(&to, &from, layout)]],
            fill,
        };
        let (input, size) = (self.slot_input(slot), self.size(output));
        let y = self.step(Kernel::Moves(moves), vec![input], size, true);
        self.set(output, y, layout);
        Ok(())
    }

    pub(super) fn split(&mut self, node: &Node, axis: usize) -> Result<(), Reason> {
        if axis == 0 {
            return Err("it runs over the batch axis".to_owned());
        }
        let mut at = 0;
        for &output in &node.outputs {
            let shape = self.sample(output).to_vec();
            let start: isize = at;
            at += shape[axis - 1] as isize;
            self.part((node.inputs[0], output), None, |to, from, layout| {
                let both = [to.to_vec(), from.to_vec()];
                copies(&shape, layout, &both, [0, start * from[axis - 1]])
            })?;
        }
        Ok(())
    }

    pub(super) fn slice(&mut self, node: &Node, axes: &[SliceAxis]) -> Result<(), Reason> {
        let whole = |axis: &SliceAxis| axis.start == 0 && axis.length == 1;
        if !axes.first().is_some_and(whole) {
            return Err("it selects samples".to_owned());
        }
        let axes = &axes[1..];
        let shape = self.sample(node.outputs[0]).to_vec();
        self.part(
            (node.inputs[0], node.outputs[0]),
            None,
            |to, from, layout| {
                let pairs = axes.iter().zip(from);
                let start: isize = pairs.clone().map(|(a, s)| a.start as isize * s).sum();
                let steps: Vec<isize> = pairs.map(|(a, s)| a.step * s).collect();
                copies(&shape, layout, &[to.to_vec(), steps], [0, start])
            },
        )
    }

    pub(super) fn gather(
        &mut self,
        node: &Node,
        axis: usize,
        indices: &[usize],
    ) -> Result<(), Reason> {
        if axis == 0 {
            return Err("it selects samples".to_owned());
        }
        let shape = self.sample(node.outputs[0]).to_vec();
        self.part((node.inputs[0], node.outputs[0]), None, |to, from, _| {
            selected(&shape, to, from, |at, index| match at == axis - 1 {
                true => Some(indices[index]),
                false => Some(index),
            })
        })
    }

    pub(super) fn pad(&mut self, node: &Node, pad: &Pad) -> Result<(), Reason> {
        if pad.before.first() != Some(&0) || pad.after.first() != Some(&0) {
            return Err("it pads the batch".to_owned());
        }
        let sizes = self.sample(node.inputs[0]).to_vec();
        let shape = self.sample(node.outputs[0]).to_vec();
        let fill = match pad.mode {
            PadMode::Constant(value) => Some(value),
            _ => Some(0.0),
        };
        self.part((node.inputs[0], node.outputs[0]), fill, |to, from, _| {
            selected(&shape, to, from, |axis, index| {
                let at = index as isize - pad.before[axis + 1];
                padded(at, sizes[axis], pad.mode)
            })
        })
    }
}

/// The element of an axis that Pad reads at `at`, which may be outside; `None` for a constant.
fn padded(at: isize, size: usize, mode: PadMode) -> Option<usize> {
    let last = size as isize - 1;
    let inside = match mode {
        PadMode::Constant(_) => at,
        PadMode::Edge => at.clamp(0, last),
        PadMode::Wrap => at.rem_euclid(size as isize),
        PadMode::Reflect if last <= 0 => 0,
        PadMode::Reflect => {
            let at = at.rem_euclid(2 * last);
            at.min(2 * last - at)
        }
    };
    usize::try_from(inside).ok().filter(|&at| at < size)
}

/// Copies for each element of `shape` whose source `from_index` gives, axis by axis.
fn selected(
    shape: &[usize],
    to: &[isize],
    from: &[isize],
    from_index: impl Fn(usize, usize) -> Option<usize>,
) -> Copies {
    let mut starts = vec![[0_isize; 2]];
    for (axis, &len) in shape.iter().enumerate() {
        let sources: Vec<(usize, usize)> = (0..len)
            .filter_map(|index| Some((index, from_index(axis, index)?)))
            .collect();
        let extend = |&[a, b]: &[isize; 2]| -> Vec<[isize; 2]> {
            let each = sources.iter().map(|&(index, source)| {
                [
                    a + index as isize * to[axis],
                    b + source as isize * from[axis],
                ]
            });
            each.collect()
        };
        starts = starts.iter().flat_map(extend).collect();
    }
    Copies::single(starts.iter().map(|at| at.map(|at| at as u32)).collect())
}

/// Copies of all elements of `shape`, with the strides of target and source along its axes.
fn copies(shape: &[usize], layout: Layout, strides: &[Vec<isize>; 2], start: [isize; 2]) -> Copies {
    let axes: Vec<Axis<2>> = (layout.order(shape.len()).iter())
        .map(|&axis| Axis {
            len: shape[axis],
            strides: [strides[0][axis], strides[1][axis]],
        })
        .collect();
    Copies::new(&axes, start)
}
