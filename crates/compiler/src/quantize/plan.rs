//! The quantization plan: which values are quantized, and which of them share a scale.

use pilotage_graph::{ElementType, Graph, Node, Op, PadMode, ValueId};

use super::{Form, QuantizeError, QuantizeOptions};

/// How quantization treats a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Multiplies with constant weights, in integers.
    Layer,
    /// An activation function that becomes a lookup table.
    Activation,
    /// Moves or selects elements. Its outputs have the same scale as its inputs.
    Moves,
    /// Computes in floats.
    Float,
}

/// Names of the layers that multiply with constant weights, in the order of the nodes.
pub fn layers(graph: &Graph) -> Vec<String> {
    let nodes = graph.nodes.iter();
    let layers = nodes.filter(|node| is_layer(graph, node));
    layers.map(|node| node.name.clone()).collect()
}

/// The axis of a layer's weights that has one entry for each unit (output channel).
pub(crate) fn unit_axis(op: &Op) -> usize {
    match op {
        Op::Gemm(gemm) => usize::from(!gemm.transpose_b),
        Op::MatMul => 1,
        _ => 0,
    }
}

fn is_layer(graph: &Graph, node: &Node) -> bool {
    let constant = |index: usize| {
        let value = node.inputs.get(index).map(|&v| graph.value(v));
        value.is_some_and(|v| v.constant.is_some() && v.element_type == ElementType::F32)
    };
    let moving = node
        .inputs
        .first()
        .is_some_and(|&x| graph.value(x).constant.is_none());
    let bias_fits = || match node.inputs.get(2) {
        None => true,
        Some(&bias) => {
            let weights = &graph.value(node.inputs[1]).shape;
            constant(2) && graph.value(bias).shape[..] == weights[unit_axis(&node.op)..][..1]
        }
    };
    let weights = |rank: usize| constant(1) && graph.value(node.inputs[1]).shape.len() == rank;
    moving
        && match &node.op {
            Op::Conv(_) => weights(4) && bias_fits(),
            Op::Gemm(gemm) => {
                let plain = !gemm.transpose_a && gemm.alpha == 1.0;
                plain && (gemm.beta == 1.0 || node.inputs.len() < 3) && weights(2) && bias_fits()
            }
            Op::MatMul => weights(2),
            _ => false,
        }
}

/// Whether `x` is the picture, or the picture with its axes in another order.
fn is_picture(graph: &Graph, x: ValueId) -> bool {
    let transposed = || {
        let maker = graph.nodes.iter().find(|node| node.outputs.contains(&x))?;
        matches!(maker.op, Op::Transpose { .. }).then(|| maker.inputs[0])
    };
    graph.inputs.first() == Some(&x) || transposed().is_some_and(|x| is_picture(graph, x))
}

/// The quantization plan of a graph.
pub(super) struct QuantizationPlan {
    /// The role of each node.
    pub(super) roles: Vec<Role>,
    /// Whether each value is quantized.
    pub(super) values: Vec<bool>,
    /// For each value, the smallest index of the values that share a scale with it.
    group: Vec<usize>,
}

impl QuantizationPlan {
    pub(super) fn new(graph: &Graph, options: &QuantizeOptions) -> Result<Self, QuantizeError> {
        let known = layers(graph);
        for name in &options.float_layers {
            if !known.contains(name) {
                return Err(QuantizeError::UnknownLayer {
                    name: name.clone(),
                    known: known.join(", "),
                });
            }
        }
        let role = |node: &Node| {
            // The picture's scale is 1.
            let is_integer = |value: f32| (-128.0..=127.0).contains(&value) && value.fract() == 0.0;
            let pads_integers = |mode: &PadMode, x: ValueId| match *mode {
                PadMode::Constant(value) if value != 0.0 => {
                    is_integer(value) && is_picture(graph, x)
                }
                _ => true,
            };
            let float = |&v: &ValueId| graph.value(v).element_type == ElementType::F32;
            if !node.inputs.iter().chain(&node.outputs).all(float) {
                return Role::Float;
            }
            match &node.op {
                _ if is_layer(graph, node) => match options.float_layers.contains(&node.name) {
                    true => Role::Float,
                    false => Role::Layer,
                },
                Op::LeakyRelu { .. }
                | Op::Elu { .. }
                | Op::Sigmoid
                | Op::HardSigmoid { .. }
                | Op::Tanh
                | Op::Softplus
                | Op::Softsign => Role::Activation,
                Op::Pad(pad) if !pads_integers(&pad.mode, node.inputs[0]) => Role::Float,
                op if (op.moves_elements() || matches!(op, Op::MaxPool(_)))
                    && node
                        .inputs
                        .iter()
                        .all(|&v| graph.value(v).constant.is_none()) =>
                {
                    Role::Moves
                }
                _ => Role::Float,
            }
        };
        let mut plan = Self {
            roles: graph.nodes.iter().map(role).collect(),
            values: vec![false; graph.values.len()],
            group: (0..graph.values.len()).collect(),
        };
        plan.mark(graph, options.form);
        plan.join(graph);
        Ok(plan)
    }

    /// Marks the values to quantize, from the outputs back. A layer needs a quantized input. An
    /// activation function, or a node that moves elements, needs quantized inputs if an output is
    /// quantized; otherwise its role becomes [`Role::Float`].
    fn mark(&mut self, graph: &Graph, form: Form) {
        if form == Form::Weights {
            // Besides weights and biases, only the picture is quantized.
            if let Some(picture) = graph.inputs.first() {
                self.values[picture.0] = true;
            }
            return;
        }
        if let Some(picture) = graph.inputs.first() {
            self.values[picture.0] = true;
        }
        if form == Form::Int8Integer {
            for &output in &graph.outputs {
                self.values[output.0] |= graph.value(output).element_type == ElementType::F32;
            }
        }
        for (node, role) in graph.nodes.iter().zip(&mut self.roles).rev() {
            let quantized = node.outputs.iter().any(|v| self.values[v.0]);
            let inputs = match role {
                Role::Layer => &node.inputs[..1],
                Role::Activation if quantized => &node.inputs[..1],
                Role::Activation => {
                    // No reader of the output needs integers, so the activation is computed in
                    // floats, after its layer.
                    *role = Role::Float;
                    &[]
                }
                Role::Moves if quantized => &node.inputs[..],
                Role::Moves => {
                    *role = Role::Float;
                    &[]
                }
                Role::Float => &[],
            };
            for v in inputs {
                self.values[v.0] = true;
            }
        }
    }

    /// Puts the inputs and outputs of each node that moves elements into one group, which shares a
    /// scale.
    fn join(&mut self, graph: &Graph) {
        for (node, role) in graph.nodes.iter().zip(&self.roles) {
            if *role != Role::Moves {
                continue;
            }
            let all = || node.inputs.iter().chain(&node.outputs);
            let smallest = all().map(|v| self.group[v.0]).min().unwrap_or(0);
            let joined: Vec<usize> = all().map(|v| self.group[v.0]).collect();
            for group in &mut self.group {
                if joined.contains(group) {
                    *group = smallest;
                }
            }
        }
    }

    /// The values whose scales have to be calibrated: the quantized values, except the outputs of
    /// nodes that move elements, and except the picture, whose scale is 1.
    pub(super) fn sources(&self, graph: &Graph) -> Vec<ValueId> {
        let mut moved = vec![false; graph.values.len()];
        for (node, role) in graph.nodes.iter().zip(&self.roles) {
            for output in &node.outputs {
                moved[output.0] = *role == Role::Moves;
            }
        }
        (0..graph.values.len())
            .map(ValueId)
            .filter(|v| self.values[v.0] && !moved[v.0] && graph.inputs.first() != Some(v))
            .collect()
    }

    /// The smallest index of the values that share a scale with a value.
    pub(super) fn group_of(&self, value: ValueId) -> usize {
        self.group[value.0]
    }

    /// Whether two values share a scale.
    pub(super) fn share(&self, a: ValueId, b: ValueId) -> bool {
        self.group[a.0] == self.group[b.0]
    }
}
