//! The layouts in memory in which each value is available.

use std::collections::BTreeMap;

use half::f16;
use pilotage_engine::plan::{
    Constant, ConstantData, ConstantId, Operand, Operation, Plan, PlanPort, Step, TensorId,
    TensorSpec,
};
use pilotage_engine::{AxisOrder, ElementType};
use pilotage_graph::{Graph, Node, Tensor, TensorData, ValueId};

use super::integers::Integers;
use super::{LowerError, Weights};
use crate::permute::{TO_NCHW, TO_NHWC, moves_nothing, permute, pick};

/// The layout of a value in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The model's layout.
    Plain,
    /// Four axes N, C, H, W, stored as N, H, W, C.
    Nhwc,
    /// Two axes N, C * H * W, where the second is stored as H, W, C.
    FlatNhwc {
        /// C
        channels: usize,
        /// H * W
        pixels: usize,
    },
}

/// A plan during construction.
pub(super) struct Lowering<'g> {
    pub(super) graph: &'g Graph,
    pub(super) integers: &'g Integers,
    pub(super) weights: Weights,
    pub(super) plan: Plan,
    /// The exact multipliers of integer layers, before rounding to f32.
    pub(super) multipliers: BTreeMap<ConstantId, Vec<f64>>,
    /// For each value of the graph, the forms in which it is available. The first is the form in
    /// which it was computed.
    forms: Vec<Vec<(Form, Operand)>>,
}

impl<'g> Lowering<'g> {
    pub(super) fn new(graph: &'g Graph, integers: &'g Integers, weights: Weights) -> Self {
        Self {
            graph,
            integers,
            weights,
            plan: Plan::default(),
            multipliers: BTreeMap::new(),
            forms: vec![Vec::new(); graph.values.len()],
        }
    }

    pub(super) fn add_input(&mut self, value: ValueId, layout: AxisOrder) {
        let form = match layout {
            AxisOrder::Model => Form::Plain,
            AxisOrder::Nhwc => Form::Nhwc,
        };
        let shape = self.shape_in(value, form);
        let operand = self.tensor(shape, self.graph.value(value).element_type);
        self.plan.inputs.push(PlanPort {
            name: self.graph.value(value).name.clone(),
            operand: Operand::Tensor(operand),
            layout,
        });
        self.forms[value.0].push((form, Operand::Tensor(operand)));
    }

    pub(super) fn shape(&self, value: ValueId) -> &'g [usize] {
        &self.graph.value(value).shape
    }

    /// The shape in memory of a value in `form`.
    pub(super) fn shape_in(&self, value: ValueId, form: Form) -> Vec<usize> {
        match form {
            Form::Nhwc => pick(self.shape(value), &TO_NHWC),
            Form::Plain | Form::FlatNhwc { .. } => self.shape(value).to_vec(),
        }
    }

    /// The value as a constant.
    pub(super) fn constant(&self, value: ValueId) -> Option<&'g Tensor> {
        self.graph.value(value).constant.as_ref()
    }

    /// The elements of a float constant that the node requires at compile time.
    pub(super) fn parameter(
        &self,
        node: &Node,
        value: ValueId,
        input: &'static str,
    ) -> Result<&'g [f32], LowerError> {
        let tensor = self
            .constant(value)
            .ok_or_else(|| LowerError::NotConstant {
                node: node.name.clone(),
                operator: node.op.name(),
                input,
            })?;
        tensor.as_f32().ok_or_else(|| LowerError::ElementType {
            node: node.name.clone(),
            operator: node.op.name(),
            found: tensor.element_type(),
        })
    }

    /// The form in which a value was computed.
    pub(super) fn native(&self, value: ValueId) -> Form {
        let made = self.forms[value.0].first();
        made.map_or(Form::Plain, |(form, _)| *form)
    }

    /// The form that a node with one input keeps: NHWC stays NHWC, all other forms become the
    /// model's layout.
    pub(super) fn native_picture(&self, value: ValueId) -> Form {
        match self.native(value) {
            Form::Nhwc => Form::Nhwc,
            _ => Form::Plain,
        }
    }

    /// The value in `form`, converted if it is not available in that form. `form` must not be
    /// `FlatNhwc` unless the value has it, because only flattening makes that form.
    pub(super) fn get(&mut self, value: ValueId, form: Form) -> Operand {
        let at_hand = self.forms[value.0].iter().find(|(f, _)| *f == form);
        if let Some((_, operand)) = at_hand {
            return *operand;
        }
        let operand = if let Some(tensor) = self.constant(value) {
            let name = &self.graph.value(value).name;
            self.store_tensor(name, tensor, tensor.shape().to_vec(), form)
        } else {
            self.convert(value, form)
        };
        self.forms[value.0].push((form, operand));
        operand
    }

    fn convert(&mut self, value: ValueId, form: Form) -> Operand {
        let name = self.graph.value(value).name.clone();
        let shape = self.shape(value);
        let (from, operand) = match self.forms[value.0].first() {
            Some(made) => *made,
            // This happens only if the graph's nodes are not in topological order. The reader
            // rejects such graphs, and the plan's validation rejects the tensor.
            None => {
                let shape = self.shape_in(value, form);
                let unmade = self.tensor(shape, self.graph.value(value).element_type);
                return Operand::Tensor(unmade);
            }
        };
        match (from, form) {
            (Form::Plain, Form::Nhwc) => self.transpose(&name, operand, shape, &TO_NHWC),
            (Form::Nhwc, Form::Plain) => {
                self.transpose(&name, operand, &pick(shape, &TO_NHWC), &TO_NCHW)
            }
            (Form::FlatNhwc { channels, pixels }, _) => {
                let picture = [shape[0], pixels, channels];
                let ty = self.graph.value(value).element_type;
                let opened = self.reshape(&name, operand, picture.to_vec(), ty);
                let planes = self.transpose(&name, opened, &picture, &[0, 2, 1]);
                self.reshape(&name, planes, shape.to_vec(), ty)
            }
            (Form::Plain, _) | (Form::Nhwc, _) => operand,
        }
    }

    /// Permutes axes. Adds only a reshape if no element moves.
    pub(super) fn transpose(
        &mut self,
        name: &str,
        operand: Operand,
        shape: &[usize],
        perm: &[usize],
    ) -> Operand {
        let ty = self.element_type_of(operand);
        let out = pick(shape, perm);
        if moves_nothing(shape, perm) {
            return self.reshape(name, operand, out, ty);
        }
        let perm = perm.to_vec();
        self.step(name, Operation::Transpose { perm }, vec![operand], out, ty)
    }

    /// The same elements in another shape. Adds nothing if the shape is the same.
    pub(super) fn reshape(
        &mut self,
        name: &str,
        operand: Operand,
        shape: Vec<usize>,
        ty: ElementType,
    ) -> Operand {
        let same = match operand {
            Operand::Tensor(id) => self.plan.tensors[id.0].shape == shape,
            Operand::Constant(id) => self.plan.constants[id.0].shape == shape,
        };
        if same {
            return operand;
        }
        self.step(name, Operation::Reshape, vec![operand], shape, ty)
    }

    /// Adds a step and returns its output.
    pub(super) fn step(
        &mut self,
        name: &str,
        operation: Operation,
        inputs: Vec<Operand>,
        shape: Vec<usize>,
        ty: ElementType,
    ) -> Operand {
        let output = self.tensor(shape, ty);
        self.plan.steps.push(Step {
            name: name.to_owned(),
            operation,
            inputs,
            output,
        });
        Operand::Tensor(output)
    }

    /// Adds the step that computes a node's (only) output, in `form`.
    pub(super) fn make(
        &mut self,
        node: &Node,
        operation: Operation,
        inputs: Vec<Operand>,
        form: Form,
    ) {
        let value = node.outputs[0];
        let shape = self.shape_in(value, form);
        let ty = self.graph.value(value).element_type;
        let operand = self.step(&node.name, operation, inputs, shape, ty);
        self.set(value, form, operand);
    }

    /// Records that a value is available in `form`.
    pub(super) fn set(&mut self, value: ValueId, form: Form, operand: Operand) {
        self.forms[value.0].push((form, operand));
    }

    /// All forms in which a value is available.
    pub(super) fn at_hand(&self, value: ValueId) -> Vec<(Form, Operand)> {
        self.forms[value.0].clone()
    }

    pub(super) fn store_f32(&mut self, shape: Vec<usize>, data: Vec<f32>) -> ConstantId {
        self.store(shape, ConstantData::F32(data))
    }

    pub(super) fn store(&mut self, shape: Vec<usize>, data: ConstantData) -> ConstantId {
        self.plan.constants.push(Constant { shape, data });
        ConstantId(self.plan.constants.len() - 1)
    }

    /// Stores a tensor, viewed as `shape`, in `form`.
    pub(super) fn store_tensor(
        &mut self,
        name: &str,
        tensor: &Tensor,
        shape: Vec<usize>,
        form: Form,
    ) -> Operand {
        let perm: Vec<usize> = match form {
            Form::Nhwc if shape.len() == 4 => TO_NHWC.to_vec(),
            _ => (0..shape.len()).collect(),
        };
        let data = match tensor.data() {
            TensorData::F32(data) => {
                let data = permute(data, &shape, &perm).into_iter();
                // An engine file holds finite constants. Softmax cannot tell the masks apart.
                ConstantData::F32(data.map(|x| x.clamp(f32::MIN, f32::MAX)).collect())
            }
            TensorData::F16(data) => {
                let data = permute(data, &shape, &perm).into_iter();
                ConstantData::F16(data.map(|x| x.clamp(f16::MIN, f16::MAX)).collect())
            }
            TensorData::I64(data) => ConstantData::I64(permute(data, &shape, &perm)),
            TensorData::I32(data) => ConstantData::I32(permute(data, &shape, &perm)),
            TensorData::U8(data) => ConstantData::U8(permute(data, &shape, &perm)),
            TensorData::I8(data) => ConstantData::I8(permute(data, &shape, &perm)),
            TensorData::Bool(data) => {
                let bytes: Vec<u8> = data.iter().map(|&b| u8::from(b)).collect();
                ConstantData::U8(permute(&bytes, &shape, &perm))
            }
        };
        let shape = pick(&shape, &perm);
        let is_bool = matches!(tensor.data(), TensorData::Bool(_));
        self.plan.constants.push(Constant {
            shape: shape.clone(),
            data,
        });
        let stored = Operand::Constant(ConstantId(self.plan.constants.len() - 1));
        // Plans cannot store bools.
        match is_bool {
            true => self.step(
                name,
                Operation::Cast,
                vec![stored],
                shape,
                ElementType::Bool,
            ),
            false => stored,
        }
    }

    fn tensor(&mut self, shape: Vec<usize>, element_type: ElementType) -> TensorId {
        self.plan.tensors.push(TensorSpec {
            shape,
            element_type,
        });
        TensorId(self.plan.tensors.len() - 1)
    }

    pub(super) fn element_type_of(&self, operand: Operand) -> ElementType {
        match operand {
            Operand::Tensor(id) => self.plan.tensors[id.0].element_type,
            Operand::Constant(id) => self.plan.constants[id.0].data.element_type(),
        }
    }
}
