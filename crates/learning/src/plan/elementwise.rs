//! Operators that compute each element separately, reductions and softmax.

use pilotage_graph::{Node, Op, Reduction, ValueId};

use crate::kernels::binary::{Binary, Operator};
use crate::kernels::reduce::{Reduce, Softmax};
use crate::kernels::unary::Unary;
use crate::layout::{Axis, Layout, walk};
use crate::step::{Input, Kernel};

use super::{Planner, Reason};

impl Planner<'_> {
    pub(super) fn unary(&mut self, node: &Node, function: Unary) -> Result<(), Reason> {
        let (x, output) = (node.inputs[0], node.outputs[0]);
        let layout = self.native(x);
        let slot = self.activation(x, layout)?;
        let input = self.slot_input(slot);
        let size = input.size;
        let replaces = function.is_known_from_value()
            && self.plan.slots[slot].replaceable
            && self.only_reader(x).is_some();
        if replaces {
            self.plan.slots[slot].replaceable = false;
            self.plan.steps.push(crate::step::Step {
                kernel: Kernel::InPlace(function),
                inputs: vec![input],
                output: slot,
            });
            self.set(output, slot, layout);
            return Ok(());
        }
        let y = self.step(Kernel::Unary(function), vec![input], size, false);
        self.set(output, y, layout);
        Ok(())
    }

    pub(super) fn binary(&mut self, node: &Node) -> Result<(), Reason> {
        let operator = match node.op {
            Op::Add => Operator::Add,
            Op::Sub => Operator::Sub,
            Op::Mul => Operator::Mul,
            Op::Div => Operator::Div,
            Op::Min => Operator::Min,
            Op::Max => Operator::Max,
            _ => Operator::Pow,
        };
        let output = node.outputs[0];
        let sample = self.sample(output);
        let is_last = |v: &ValueId| self.native(*v) == Layout::ChannelsLast;
        let layout = match sample.len() == 3 && node.inputs.iter().any(is_last) {
            true => Layout::ChannelsLast,
            false => Layout::Plain,
        };
        let size = self.size(output);
        let mut sizes = [size, 0, 0];
        let mut strides = vec![layout.strides(sample)];
        let mut inputs = Vec::new();
        for (index, &value) in node.inputs.iter().enumerate() {
            let (input, shape) = self.operand(value, sample, layout)?;
            if self.is_activation(value) {
                sizes[index + 1] = input.size;
            }
            inputs.push(input);
            let mut along = layout.strides(&shape);
            for (stride, &len) in along.iter_mut().zip(&shape) {
                if len == 1 {
                    *stride = 0;
                }
            }
            strides.push(along);
        }
        let order = layout.order(sample.len());
        let axes: Vec<Axis<3>> = (order.iter())
            .map(|&axis| Axis {
                len: sample[axis],
                strides: [strides[0][axis], strides[1][axis], strides[2][axis]],
            })
            .collect();
        let binary = Binary::new(operator, &axes, sizes);
        let y = self.step(Kernel::Binary(binary), inputs, size, true);
        self.set(output, y, layout);
        Ok(())
    }

    /// An operand, and the shape of its sample with as many axes as the output's.
    fn operand(
        &mut self,
        value: ValueId,
        output: &[usize],
        layout: Layout,
    ) -> Result<(Input, Vec<usize>), Reason> {
        let shape = &self.graph.value(value).shape;
        if self.is_activation(value) {
            if shape.len() != output.len() + 1 {
                return Err("its operands have different numbers of axes".to_owned());
            }
            let slot = self.activation(value, layout)?;
            return Ok((self.slot_input(slot), shape[1..].to_vec()));
        }
        let extra = shape.len().saturating_sub(output.len());
        if shape[..extra].iter().any(|&len| len != 1) {
            return Err("a constant differs between samples".to_owned());
        }
        let mut sample = vec![1; output.len() + extra - shape.len()];
        sample.extend_from_slice(&shape[extra..]);
        let order = reordered(&sample, layout);
        Ok((self.parameter_input(value, order)?, sample))
    }

    pub(super) fn softmax(
        &mut self,
        node: &Node,
        axis: usize,
        end_axis: usize,
    ) -> Result<(), Reason> {
        if axis == 0 {
            return Err("it runs over the batch axis".to_owned());
        }
        let x = self.activation(node.inputs[0], Layout::Plain)?;
        let sample = self.sample(node.inputs[0]);
        let softmax = Softmax {
            length: sample[axis - 1..end_axis - 1].iter().product(),
            inner: sample[end_axis - 1..].iter().product(),
        };
        let input = self.slot_input(x);
        let size = input.size;
        let y = self.step(Kernel::Softmax(softmax), vec![input], size, false);
        self.set(node.outputs[0], y, Layout::Plain);
        Ok(())
    }

    /// A reduction over `axes` of the value with its batch axis.
    pub(super) fn reduce(
        &mut self,
        node: &Node,
        reduction: Reduction,
        axes: &[usize],
    ) -> Result<(), Reason> {
        if axes.contains(&0) {
            return Err("it runs over the batch axis".to_owned());
        }
        let (x, output) = (node.inputs[0], node.outputs[0]);
        let layout = self.native(x);
        let slot = self.activation(x, layout)?;
        let sample = self.sample(x);
        let strides = layout.strides(sample);
        let offsets = |reduced: bool| -> Vec<u32> {
            let all = sample.iter().zip(&strides).enumerate();
            let chosen = all.filter(|(axis, _)| axes.contains(&(axis + 1)) == reduced);
            let axes: Vec<Axis<1>> = chosen
                .map(|(_, (&len, &stride))| Axis {
                    len,
                    strides: [stride],
                })
                .collect();
            let mut offsets = Vec::new();
            walk(&axes, [0], &mut |[at]| offsets.push(at as u32));
            offsets
        };
        let reduce = Reduce {
            reduction,
            kept: offsets(false),
            reduced: offsets(true),
            size: self.size(x),
        };
        let size = self.size(output);
        let reads_output = matches!(reduction, Reduction::Max | Reduction::Min);
        let input = self.slot_input(slot);
        let y = self.step(Kernel::Reduce(reduce), vec![input], size, !reads_output);
        self.set(output, y, Layout::Plain);
        Ok(())
    }
}

/// For each element in the memory order, its index in row-major order. `None` if that is the same.
pub(super) fn reordered(sample: &[usize], layout: Layout) -> Option<Vec<u32>> {
    let plain = Layout::Plain.strides(sample);
    let axes: Vec<Axis<1>> = (layout.order(sample.len()).iter())
        .map(|&axis| Axis {
            len: sample[axis],
            strides: [plain[axis]],
        })
        .collect();
    let mut order = Vec::new();
    walk(&axes, [0], &mut |[at]| order.push(at as u32));
    let same = order
        .iter()
        .enumerate()
        .all(|(at, &from)| at == from as usize);
    (!same).then_some(order)
}
