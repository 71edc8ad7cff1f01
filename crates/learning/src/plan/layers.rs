//! Layers with weights, batch normalization and pooling.

use pilotage_graph::{Conv, Gemm, Node, Op, Pool, ValueId};

use crate::kernels::convolution::Convolution;
use crate::kernels::linear::{Linear, Product};
use crate::kernels::normalization::Channels;
use crate::kernels::pool::Pooling;
use crate::layout::{Axis, Layout, collapse, walk};
use crate::step::{Input, Kernel};

use super::{Limits, Norm, Planner, QuantizedLayer, Reason};

impl<'g> Planner<'g> {
    pub(super) fn convolution(
        &mut self,
        index: usize,
        node: &'g Node,
        conv: &Conv,
    ) -> Result<(), Reason> {
        let x = self.activation(node.inputs[0], Layout::ChannelsLast)?;
        let shape = &self.graph.value(node.inputs[1]).shape;
        let [units, depth, rows, columns] = picture(shape)?;
        // (units, depth, rows, columns) is read as (units, rows, columns, depth).
        let order = reordered(
            &[units, rows, columns, depth],
            |[unit, row, column, channel]| {
                ((unit * depth + channel) * rows + row) * columns + column
            },
        );
        let inputs = self.layer_inputs(node, x, order)?;
        let kernel = Convolution {
            input: last(self.sample(node.inputs[0]))?,
            output: last(self.sample(node.outputs[0]))?,
            kernel: conv.kernel,
            strides: conv.strides,
            pads: [conv.pads[0], conv.pads[1]],
            dilations: conv.dilations,
            groups: conv.groups,
        };
        let quantized = self.quantized(index, node, &inputs, units);
        let relu = quantized.is_none() && self.fuse_relu(node.outputs[0]);
        let size = self.size(node.outputs[0]);
        let kernel = Kernel::Convolution {
            convolution: kernel,
            relu,
            quantized,
        };
        let y = self.step(kernel, inputs, size, !relu && quantized.is_none());
        self.set(node.outputs[0], y, Layout::ChannelsLast);
        Ok(())
    }

    /// Activation, weights and bias.
    fn layer_inputs(
        &mut self,
        node: &Node,
        x: usize,
        order: Option<Vec<u32>>,
    ) -> Result<Vec<Input>, Reason> {
        let mut inputs = vec![
            self.slot_input(x),
            self.parameter_input(node.inputs[1], order)?,
        ];
        if let Some(&bias) = node.inputs.get(2) {
            inputs.push(self.parameter_input(bias, None)?);
        }
        Ok(inputs)
    }

    /// Fuses the Relu that alone reads a layer's output into the layer.
    fn fuse_relu(&mut self, output: ValueId) -> bool {
        let Some(reader) = self.only_reader(output) else {
            return false;
        };
        let node = &self.graph.nodes[reader];
        // Dropout after the layer comes before the function.
        let maker = self
            .graph
            .nodes
            .iter()
            .find(|n| n.outputs.contains(&output));
        let dropped = maker.is_some_and(|n| self.settings.dropout.contains_key(&n.name))
            || self.settings.dropout.contains_key(&node.name);
        let fuses = node.op == Op::Relu && !dropped;
        if fuses {
            self.fused[reader] = true;
        }
        fuses
    }

    /// The layer's place among the quantized layers, if it computes in integers.
    fn quantized(
        &mut self,
        index: usize,
        node: &Node,
        inputs: &[Input],
        units: usize,
    ) -> Option<usize> {
        let scheme = self.settings.scheme.as_ref()?;
        if !scheme.is_layer(index) {
            return None;
        }
        let input = scheme.group(node.inputs[0])?;
        let output = node.outputs[0];
        let everything = Limits {
            min: f32::NEG_INFINITY,
            max: f32::INFINITY,
        };
        let (mut rounded, mut relu) = (scheme.source(output).map(|g| (g, everything)), false);
        let reader = self.only_reader(output);
        if let (None, Some(reader)) = (rounded, reader) {
            let follower = &self.graph.nodes[reader];
            let limits = match follower.op {
                Op::Relu => Some(Limits {
                    min: 0.0,
                    max: f32::INFINITY,
                }),
                Op::Clip { min, max } => Some(Limits { min, max }),
                _ => None,
            };
            let group = scheme.source(follower.outputs[0]);
            rounded = limits.and_then(|limits| Some((group?, limits)));
            relu = rounded.is_none() && follower.op == Op::Relu && group.is_none();
            self.fused[reader] = rounded.is_some() || relu;
        }
        self.plan.layers.push(QuantizedLayer {
            weights: inputs[1].used()?,
            bias: inputs.get(2).and_then(Input::used),
            units,
            shape: self.graph.value(node.inputs[1]).shape.clone(),
            axis: match &node.op {
                Op::Gemm(gemm) => usize::from(!gemm.transpose_b),
                Op::MatMul => 1,
                _ => 0,
            },
            input,
            output: rounded,
            relu,
        });
        Some(self.plan.layers.len() - 1)
    }

    /// Whether the node's output is rounded by the layer itself.
    pub(super) fn is_rounded(&self, index: usize) -> bool {
        let scheme = self.settings.scheme.as_ref();
        scheme.is_some_and(|scheme| scheme.is_layer(index))
    }

    pub(super) fn gemm(&mut self, index: usize, node: &'g Node, gemm: &Gemm) -> Result<(), Reason> {
        if gemm.transpose_a {
            return Err("it transposes the batch".to_owned());
        }
        let shape = &self.graph.value(node.inputs[1]).shape;
        let &[first, second] = &shape[..] else {
            return Err(format!("its weights are {shape:?}"));
        };
        let (outputs, inputs) = match gemm.transpose_b {
            true => (first, second),
            false => (second, first),
        };
        let linear = Linear {
            rows: 1,
            inputs,
            outputs,
            transposed: gemm.transpose_b,
            alpha: gemm.alpha,
        };
        let bias = node.inputs.get(2).copied().filter(|_| gemm.beta != 0.0);
        self.linear(index, node, linear, bias.map(|bias| (bias, gemm.beta)))
    }

    pub(super) fn mat_mul(&mut self, index: usize, node: &'g Node) -> Result<(), Reason> {
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let weights = &self.graph.value(b).shape;
        if self.is_activation(a) && !self.is_activation(b) && weights.len() <= 2 {
            let (inputs, outputs) = match weights[..] {
                [inputs] => (inputs, 1),
                [inputs, outputs] => (inputs, outputs),
                _ => return Err("its weights have no axes".to_owned()),
            };
            let linear = Linear {
                rows: self.size(a) / inputs.max(1),
                inputs,
                outputs,
                transposed: false,
                alpha: 1.0,
            };
            return self.linear(index, node, linear, None);
        }
        self.product(node)
    }

    fn linear(
        &mut self,
        index: usize,
        node: &'g Node,
        mut linear: Linear,
        bias: Option<(ValueId, f32)>,
    ) -> Result<(), Reason> {
        let x = self.activation(node.inputs[0], Layout::Plain)?;
        let is_integer = self.is_rounded(index);
        let (inputs, outputs) = (linear.inputs, linear.outputs);
        // Integer layers read their weights unit by unit.
        let order = match is_integer && !linear.transposed {
            true => reordered(&[outputs, inputs, 1, 1], |[unit, input, ..]| {
                input * outputs + unit
            }),
            false => None,
        };
        linear.transposed |= is_integer;
        let mut sources = vec![
            self.slot_input(x),
            self.parameter_input(node.inputs[1], order)?,
        ];
        let mut beta = 1.0;
        if let Some((bias, factor)) = bias {
            let input = self.parameter_input(bias, None)?;
            if input.size != 1 && input.size != outputs {
                return Err("its bias differs between samples".to_owned());
            }
            sources.push(input);
            beta = factor;
        }
        let quantized = self.quantized(index, node, &sources, outputs);
        let relu = quantized.is_none() && self.fuse_relu(node.outputs[0]);
        let kernel = Kernel::Linear {
            linear,
            beta,
            relu,
            quantized,
        };
        let size = self.size(node.outputs[0]);
        let y = self.step(kernel, sources, size, !relu && quantized.is_none());
        self.set(node.outputs[0], y, Layout::Plain);
        Ok(())
    }

    /// A product of stacks of matrices.
    fn product(&mut self, node: &Node) -> Result<(), Reason> {
        let output = node.outputs[0];
        let rank = self.graph.value(output).shape.len();
        let mut inputs = Vec::new();
        let mut shapes = Vec::new();
        let mut sizes = [self.size(output), 0, 0];
        for (index, &value) in node.inputs.iter().enumerate() {
            let mut shape = self.graph.value(value).shape.clone();
            if shape.len() < 2 {
                return Err("a vector is multiplied".to_owned());
            }
            if self.is_activation(value) {
                if shape.len() != rank || rank < 3 {
                    return Err("its product runs over the batch axis".to_owned());
                }
                let slot = self.activation(value, Layout::Plain)?;
                inputs.push(self.slot_input(slot));
                sizes[index + 1] = self.size(value);
            } else {
                inputs.push(self.parameter_input(value, None)?);
            }
            let missing = rank.saturating_sub(shape.len());
            shape.splice(0..0, std::iter::repeat_n(1, missing));
            shapes.push(shape);
        }
        if rank < 3 || shapes.iter().any(|shape| shape[0] != 1) {
            return Err("its product runs over the batch axis".to_owned());
        }
        let (rows, depth) = (shapes[0][rank - 2], shapes[0][rank - 1]);
        let columns = shapes[1][rank - 1];
        let stack = &self.graph.value(output).shape[1..rank - 2];
        let matrices = [rows * columns, rows * depth, depth * columns];
        let of = [&self.graph.value(output).shape, &shapes[0], &shapes[1]];
        let strides: Vec<Vec<isize>> = (of.iter().zip(matrices))
            .map(|(shape, matrix)| broadcast_strides(&shape[1..rank - 2], matrix))
            .collect();
        let axes: Vec<Axis<3>> = (stack.iter().enumerate())
            .map(|(axis, &len)| Axis {
                len,
                strides: [strides[0][axis], strides[1][axis], strides[2][axis]],
            })
            .collect();
        let mut starts = Vec::new();
        let axes = if axes.is_empty() {
            axes
        } else {
            collapse(&axes)
        };
        walk(&axes, [0; 3], &mut |at| {
            starts.push(at.map(|at| at as usize))
        });
        let product = Product {
            rows,
            depth,
            columns,
            starts,
            sizes,
        };
        let size = self.size(output);
        let y = self.step(Kernel::Product(product), inputs, size, true);
        self.set(output, y, Layout::Plain);
        Ok(())
    }

    pub(super) fn batch_normalization(&mut self, node: &Node, epsilon: f32) -> Result<(), Reason> {
        let (x, output) = (node.inputs[0], node.outputs[0]);
        let layout = self.native(x);
        let slot = self.activation(x, layout)?;
        let sample = self.sample(x);
        let channels = sample.first().copied().unwrap_or(1);
        let inner = match layout {
            Layout::ChannelsLast => 1,
            Layout::Plain => sample.iter().skip(1).product(),
        };
        let running = [node.inputs[3], node.inputs[4]].map(|value| self.parameters.get(&value));
        let [Some(&mean), Some(&variance)] = running else {
            return Err("its statistics are not constants of float32".to_owned());
        };
        let of_batch = self.settings.batch_statistics && self.after_layer[x.0];
        self.plan.norms.push(Norm {
            running: [mean, variance],
            epsilon,
            channels: Channels { channels, inner },
            size: self.size(x),
            of_batch,
        });
        let norm = self.plan.norms.len() - 1;
        let mut x = self.slot_input(slot);
        let scale = self.parameter_input(node.inputs[1], None)?;
        let bias = self.parameter_input(node.inputs[2], None)?;
        let needs_gradient = [&x, &scale, &bias]
            .iter()
            .any(|input| input.gradient.is_some());
        if of_batch {
            self.step(Kernel::Moments { norm }, vec![x.clone()], 0, false);
            // The gradient of the input needs sums over the whole batch. The step before computes
            // it, after the parts of the batch have been joined.
            x.gradient = None;
        }
        let size = x.size;
        let inputs = vec![x, scale, bias];
        let y = self.step(Kernel::Normalize { norm }, inputs, size, true);
        self.plan.slots[y].needs_gradient = needs_gradient;
        self.set(output, y, layout);
        Ok(())
    }

    pub(super) fn pool(&mut self, node: &Node, pool: &Pool, is_max: bool) -> Result<(), Reason> {
        let x = self.activation(node.inputs[0], Layout::ChannelsLast)?;
        let pooling = Pooling {
            input: last(self.sample(node.inputs[0]))?,
            output: last(self.sample(node.outputs[0]))?,
            kernel: pool.kernel,
            strides: pool.strides,
            pads: pool.pads,
            dilations: pool.dilations,
            count_include_pad: pool.count_include_pad,
        };
        let kernel = match is_max {
            true => Kernel::MaxPool(pooling),
            false => Kernel::AveragePool(pooling),
        };
        let size = self.size(node.outputs[0]);
        let inputs = vec![self.slot_input(x)];
        let y = self.step(kernel, inputs, size, true);
        self.set(node.outputs[0], y, Layout::ChannelsLast);
        Ok(())
    }
}

fn picture(shape: &[usize]) -> Result<[usize; 4], Reason> {
    <[usize; 4]>::try_from(shape).map_err(|_| format!("it is not two-dimensional: {shape:?}"))
}

/// (C, H, W) as (H, W, C).
fn last(sample: &[usize]) -> Result<[usize; 3], Reason> {
    match *sample {
        [channels, height, width] => Ok([height, width, channels]),
        _ => Err(format!("it is not two-dimensional: {sample:?}")),
    }
}

/// For each index of `shape` in row-major order, the index that `from` gives. `None` if that is
/// the same order.
fn reordered(shape: &[usize; 4], from: impl Fn([usize; 4]) -> usize) -> Option<Vec<u32>> {
    let mut order = Vec::with_capacity(shape.iter().product());
    for a in 0..shape[0] {
        for b in 0..shape[1] {
            for c in 0..shape[2] {
                order.extend((0..shape[3]).map(|d| from([a, b, c, d]) as u32));
            }
        }
    }
    let same = order
        .iter()
        .enumerate()
        .all(|(at, &from)| at == from as usize);
    (!same).then_some(order)
}

/// Strides of a row-major stack of elements of `size`; 0 along axes of size 1.
fn broadcast_strides(shape: &[usize], size: usize) -> Vec<isize> {
    let mut strides = vec![0; shape.len()];
    let mut next = size as isize;
    for (stride, &len) in strides.iter_mut().zip(shape).rev() {
        if len != 1 {
            *stride = next;
            next *= len as isize;
        }
    }
    strides
}
