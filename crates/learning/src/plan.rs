//! Turns a graph into steps that run forward and backward over a batch.
//!
//! Axis 0 of every activation is the batch. It has size 1 in the graph and any size here, so an
//! operator that would combine or reorder samples is not supported. Activations of four axes are
//! stored channels last where convolution and pooling read them; the planner inserts the copies
//! between the memory orders.

mod elementwise;
mod gradients;
mod layers;
mod movement;

use std::collections::BTreeMap;

use pilotage_graph::{ElementType, Graph, Node, Op, ValueId};

use crate::error::{LearningError, UnsupportedNode};
use crate::kernels::Accumulate;
use crate::kernels::normalization::Channels;
use crate::kernels::quantized::Rounding;
use crate::kernels::unary::Unary;
use crate::layout::Layout;
use crate::scheme::Scheme;
use crate::step::{Input, Kernel, Source, Step};

/// A buffer for one activation of every sample.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// Elements of one sample.
    pub(crate) size: usize,
    /// Whether the loss's gradient is computed.
    pub(crate) needs_gradient: bool,
    /// Whether the gradient starts at 0, because nothing that reads the slot contributes.
    pub(crate) zeroed: bool,
    /// Whether the backward pass of the step that computes it does not read its values, so that a
    /// function may replace them.
    replaceable: bool,
}

/// One use of a parameter by a step.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    pub(crate) parameter: usize,
    /// For each element as the step reads it, its index in the parameter. `None` is the identity.
    pub(crate) order: Option<Vec<u32>>,
    /// The inverse of `order`, if the parameter is trained.
    pub(crate) inverse: Option<Vec<u32>>,
}

/// A batch normalization.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    /// Parameters with the running mean and variance.
    pub(crate) running: [usize; 2],
    pub(crate) epsilon: f32,
    pub(crate) channels: Channels,
    /// Elements of one sample.
    pub(crate) size: usize,
    /// Whether training uses the batch's statistics.
    pub(crate) of_batch: bool,
}

/// A layer that computes in integers.
#[derive(Debug, Clone)]
pub(crate) struct QuantizedLayer {
    /// The uses of weights, (units, taps), and bias.
    pub(crate) weights: usize,
    pub(crate) bias: Option<usize>,
    pub(crate) units: usize,
    /// The weights' shape in the model, and its axis of units.
    pub(crate) shape: Vec<usize>,
    pub(crate) axis: usize,
    /// The group of scales of the input.
    pub(crate) input: usize,
    /// The group and the limits of the output, if it is rounded.
    pub(crate) output: Option<(usize, Limits)>,
    /// Whether a float output is cut off at 0.
    pub(crate) relu: bool,
}

/// The limits of an output before rounding, in the output's units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    pub(crate) min: f32,
    pub(crate) max: f32,
}

impl Limits {
    /// The limits in quantized values, as the engine's compiler computes them.
    pub(crate) fn rounding(self, scale: f32) -> Rounding {
        let quantized = |limit: f32| f32::from((limit / scale).round_ties_even() as i8);
        let high = quantized(self.max);
        Rounding {
            scale,
            low: quantized(self.min).min(high),
            high,
        }
    }
}

/// The settings that a plan depends on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Whether each parameter is trained.
    pub(crate) trained: Vec<bool>,
    /// Whether the inputs' gradients are computed.
    pub(crate) input_gradients: bool,
    /// Whether batch normalizations after the first layer use the batch's statistics in training.
    pub(crate) batch_statistics: bool,
    /// The share of elements that training drops, by the name of the node that computes them.
    pub(crate) dropout: BTreeMap<String, f32>,
    /// How the network is quantized.
    pub(crate) scheme: Option<Scheme>,
}

/// An output: its slot, and how the loss's gradient is stored there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) slot: usize,
    pub(crate) size: usize,
    pub(crate) accumulate: Accumulate,
}

/// Steps in the order of the forward pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) uses: Vec<Use>,
    pub(crate) norms: Vec<Norm>,
    pub(crate) layers: Vec<QuantizedLayer>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<Output>,
}

/// Where a value is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    slot: usize,
    layout: Layout,
}

/// Why a node is not supported.
type Reason = String;

pub(crate) struct Planner<'g> {
    graph: &'g Graph,
    settings: &'g Settings,
    /// The parameter of each constant.
    parameters: &'g BTreeMap<ValueId, usize>,
    plan: Plan,
    /// For each value, the places that hold it.
    places: Vec<Vec<Place>>,
    /// The nodes that read each value.
    readers: Vec<Vec<usize>>,
    /// Whether each node has been computed as part of the layer before it.
    fused: Vec<bool>,
    /// Whether a layer is before each value.
    after_layer: Vec<bool>,
}

impl<'g> Planner<'g> {
    /// Plans a graph.
    ///
    /// # Errors
    /// All nodes that are not supported.
    pub(crate) fn plan(
        graph: &'g Graph,
        parameters: &'g BTreeMap<ValueId, usize>,
        settings: &'g Settings,
    ) -> Result<Plan, LearningError> {
        let mut readers = vec![Vec::new(); graph.values.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            for input in &node.inputs {
                readers[input.0].push(index);
            }
        }
        let mut planner = Self {
            graph,
            settings,
            parameters,
            plan: Plan::default(),
            places: vec![Vec::new(); graph.values.len()],
            readers,
            fused: vec![false; graph.nodes.len()],
            after_layer: after_layers(graph),
        };
        planner.inputs()?;
        let mut unsupported = Vec::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            if let Err(reason) = planner.node(index, node) {
                unsupported.push(UnsupportedNode {
                    node: node.name.clone(),
                    operator: node.op.name(),
                    reason,
                });
                // So that what reads the outputs is checked too.
                for &output in &node.outputs {
                    let slot = planner.slot(planner.size(output), false);
                    planner.set(output, slot, Layout::Plain);
                }
            }
        }
        if !unsupported.is_empty() {
            return Err(LearningError::Unsupported(unsupported.into()));
        }
        for &output in &graph.outputs {
            let Some(slot) = planner.get(output, Layout::Plain) else {
                let name = graph.value(output).name.clone();
                return Err(LearningError::ConstantOutput { name });
            };
            planner.plan.outputs.push(Output {
                slot,
                size: planner.size(output),
                accumulate: Accumulate::Set,
            });
        }
        gradients::assign(&mut planner.plan);
        Ok(planner.plan)
    }

    fn inputs(&mut self) -> Result<(), LearningError> {
        for &input in &self.graph.inputs {
            let value = self.graph.value(input);
            if value.element_type != ElementType::F32 || value.shape.first() != Some(&1) {
                return Err(LearningError::Input {
                    name: value.name.clone(),
                    found: value.tensor_type().to_string(),
                });
            }
            let slot = self.slot(self.size(input), self.settings.input_gradients);
            self.set(input, slot, Layout::Plain);
            self.plan.inputs.push(slot);
        }
        Ok(())
    }

    fn node(&mut self, index: usize, node: &'g Node) -> Result<(), Reason> {
        if self.fused[index] {
            let place = self.places[node.inputs[0].0].clone();
            self.places[node.outputs[0].0] = place;
            return Ok(());
        }
        for &output in &node.outputs {
            let value = self.graph.value(output);
            if value.element_type != ElementType::F32 {
                return Err(format!("its output is {}", value.element_type));
            }
            if value.shape.first() != Some(&1) {
                return Err("its output does not begin with the batch axis".to_owned());
            }
        }
        if !node.inputs.iter().any(|v| self.is_activation(*v)) {
            return Err("all its inputs are constants".to_owned());
        }
        self.operator(index, node)?;
        let rounded = (self.settings.scheme.as_ref())
            .and_then(|scheme| scheme.source(node.outputs[0]))
            .filter(|_| !self.is_rounded(index));
        if let Some(group) = rounded {
            self.round(node.outputs[0], group);
        }
        if let Some(&share) = self.settings.dropout.get(&node.name) {
            self.dropout(node.outputs[0], share);
        }
        Ok(())
    }

    fn operator(&mut self, index: usize, node: &'g Node) -> Result<(), Reason> {
        match &node.op {
            Op::Conv(conv) => self.convolution(index, node, conv),
            Op::Gemm(gemm) => self.gemm(index, node, gemm),
            Op::MatMul => self.mat_mul(index, node),
            Op::BatchNormalization { epsilon } => self.batch_normalization(node, *epsilon),
            Op::MaxPool(pool) => self.pool(node, pool, true),
            Op::AveragePool(pool) => self.pool(node, pool, false),
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Min | Op::Max | Op::Pow => {
                self.binary(node)
            }
            Op::Softmax { axis, end_axis } => self.softmax(node, *axis, *end_axis),
            Op::GlobalAveragePool => self.reduce(node, pilotage_graph::Reduction::Mean, &[2, 3]),
            Op::Reduce {
                reduction, axes, ..
            } => self.reduce(node, *reduction, axes),
            Op::Flatten { .. } | Op::Reshape | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
                self.reshape(node)
            }
            Op::Identity => self.identity(node),
            Op::Cast { .. } => self.identity(node),
            Op::Transpose { perm } => self.transpose(node, perm),
            Op::Concat { axis } => self.concat(node, *axis),
            Op::Split { axis } => self.split(node, *axis),
            Op::Slice { axes } => self.slice(node, axes),
            Op::Gather { axis, indices } => self.gather(node, *axis, indices),
            Op::Pad(pad) => self.pad(node, pad),
            _ => match unary(&node.op) {
                Some(function) => self.unary(node, function),
                None => Err("it has no derivative here".to_owned()),
            },
        }
    }

    /// Elements of one sample.
    fn size(&self, value: ValueId) -> usize {
        self.sample(value).iter().product()
    }

    /// The shape of one sample.
    fn sample(&self, value: ValueId) -> &'g [usize] {
        let shape = &self.graph.value(value).shape;
        shape.get(1..).unwrap_or_default()
    }

    fn is_activation(&self, value: ValueId) -> bool {
        !self.places[value.0].is_empty()
    }

    /// An activation that a node needs.
    fn activation(&mut self, value: ValueId, layout: Layout) -> Result<usize, Reason> {
        let name = &self.graph.value(value).name;
        self.get(value, layout)
            .ok_or_else(|| format!("its input `{name}` is a constant"))
    }

    /// The memory order in which a value was computed.
    fn native(&self, value: ValueId) -> Layout {
        let place = self.places[value.0].first();
        place.map_or(Layout::Plain, |place| place.layout)
    }

    /// The slot of a value in a memory order; copies it there if it is in another one.
    fn get(&mut self, value: ValueId, layout: Layout) -> Option<usize> {
        // The memory orders differ only for pictures.
        let layout = match self.sample(value).len() {
            3 => layout,
            _ => Layout::Plain,
        };
        let places = &self.places[value.0];
        if let Some(place) = places.iter().find(|place| place.layout == layout) {
            return Some(place.slot);
        }
        let from = *places.first()?;
        let place = Place {
            slot: self.reorder(value, from, layout),
            layout,
        };
        self.places[value.0].push(place);
        Some(place.slot)
    }

    fn set(&mut self, value: ValueId, slot: usize, layout: Layout) {
        self.places[value.0] = vec![Place { slot, layout }];
    }

    fn slot(&mut self, size: usize, needs_gradient: bool) -> usize {
        self.plan.slots.push(Slot {
            size,
            needs_gradient,
            zeroed: false,
            replaceable: false,
        });
        self.plan.slots.len() - 1
    }

    /// Adds a step with a new slot for its output. `replaceable` is whether the step's backward
    /// pass does not read its output.
    fn step(
        &mut self,
        kernel: Kernel,
        inputs: Vec<Input>,
        size: usize,
        replaceable: bool,
    ) -> usize {
        let needs_gradient = inputs.iter().any(|input| input.gradient.is_some());
        let output = self.slot(size, needs_gradient);
        self.plan.slots[output].replaceable = replaceable;
        self.plan.steps.push(Step {
            kernel,
            inputs,
            output,
        });
        output
    }

    /// A step's input from a slot.
    fn slot_input(&self, slot: usize) -> Input {
        let of = &self.plan.slots[slot];
        Input {
            source: Source::Slot(slot),
            size: of.size,
            gradient: of.needs_gradient.then_some(Accumulate::Add),
        }
    }

    /// A step's input from a parameter, whose elements are read in `order`.
    fn parameter_input(
        &mut self,
        value: ValueId,
        order: Option<Vec<u32>>,
    ) -> Result<Input, Reason> {
        let name = &self.graph.value(value).name;
        let Some(&parameter) = self.parameters.get(&value) else {
            return Err(format!("its input `{name}` is not a constant of float32"));
        };
        let size = match &order {
            Some(order) => order.len(),
            None => self.graph.value(value).shape.iter().product(),
        };
        let trained = self.settings.trained.get(parameter).copied() == Some(true);
        let inverse = order.as_ref().filter(|_| trained).map(|order| {
            let mut inverse = vec![0; order.len()];
            for (at, &from) in order.iter().enumerate() {
                inverse[from as usize] = at as u32;
            }
            inverse
        });
        self.plan.uses.push(Use {
            parameter,
            order,
            inverse,
        });
        Ok(Input {
            source: Source::Use(self.plan.uses.len() - 1),
            size,
            gradient: trained.then_some(Accumulate::Set),
        })
    }

    /// The only node that reads a value, if the value is not an output.
    fn only_reader(&self, value: ValueId) -> Option<usize> {
        match self.readers[value.0][..] {
            [reader] if !self.graph.outputs.contains(&value) => Some(reader),
            _ => None,
        }
    }

    /// Rounds a value to the multiples of a scale, for all that read it.
    fn round(&mut self, value: ValueId, group: usize) {
        let layout = self.native(value);
        let Some(slot) = self.get(value, layout) else {
            return;
        };
        let input = self.slot_input(slot);
        let size = input.size;
        let rounded = self.step(Kernel::Round { group }, vec![input], size, false);
        self.set(value, rounded, layout);
    }

    fn dropout(&mut self, value: ValueId, share: f32) {
        let layout = self.native(value);
        let Some(slot) = self.get(value, layout) else {
            return;
        };
        let input = self.slot_input(slot);
        let size = input.size;
        let dropped = self.step(Kernel::Dropout { share }, vec![input], size, true);
        self.set(value, dropped, layout);
    }
}

/// Whether a layer with weights is before each value.
pub(crate) fn after_layers(graph: &Graph) -> Vec<bool> {
    let mut after = vec![false; graph.values.len()];
    for node in &graph.nodes {
        let is_layer = matches!(node.op, Op::Conv(_) | Op::Gemm(_) | Op::MatMul);
        if is_layer || node.inputs.iter().any(|v| after[v.0]) {
            node.outputs.iter().for_each(|v| after[v.0] = true);
        }
    }
    after
}

/// An operator as a function of one element.
pub(crate) fn unary(op: &Op) -> Option<Unary> {
    Some(match *op {
        Op::Relu => Unary::Relu,
        Op::LeakyRelu { alpha } => Unary::LeakyRelu { alpha },
        Op::Elu { alpha } => Unary::Elu { alpha },
        Op::Sigmoid => Unary::Sigmoid,
        Op::HardSigmoid { alpha, beta } => Unary::HardSigmoid { alpha, beta },
        Op::Tanh => Unary::Tanh,
        Op::Softplus => Unary::Softplus,
        Op::Softsign => Unary::Softsign,
        Op::Clip { min, max } => Unary::Clip { min, max },
        Op::Function(function) => Unary::Function(function),
        _ => return None,
    })
}
