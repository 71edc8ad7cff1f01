//! Lowers a graph to the CPU engine's plan: every operator to an operation, every value to a
//! layout in memory.
//!
//! Convolution and pooling work on NHWC, so their outputs stay NHWC as long as the following
//! operations support it. Constants are permuted here. A flattened image is read by permuting the
//! columns of the layer that reads it. Otherwise a transposition is inserted.

mod dead;
mod elementwise;
mod forms;
mod fuse;
mod integers;
mod linear;
mod movement;
mod quantized;
mod rearrange;
mod reduce;
mod transposes;

use pilotage_engine::AxisOrder;
use pilotage_engine::plan::{
    Activation, BinaryOperator, Function as EngineFunction, Operation, Plan, PlanPort,
};
use pilotage_graph::{ElementType, Function, Graph, Node, Op, ValueId};

use forms::{Form, Lowering};

/// How weights are stored and used, where the graph does not determine it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Weights {
    /// As in the graph: f32, or i8 where a DequantizeLinear computes the weights and the layer's
    /// input is i8 too.
    #[default]
    AsTheyAre,
    /// f32 weights are stored as f16 (rounded to nearest). Layers compute in f32.
    Half,
    /// Layers with i8 weights and a float input quantize the input at run time.
    Dynamic,
    /// All dequantized values are computed in f32, as in a runtime that executes a QDQ graph
    /// literally.
    Dequantized,
}

/// The axis order of the engine's first input, the picture, if it has four dimensions. Other inputs
/// and outputs always have the model's order, so that element indices are those of the model, and an
/// output can be fed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortLayout {
    /// The model's order.
    Model,
    /// NHWC where that saves transpositions. [`PlanPort::layout`] gives the order.
    Native,
}

impl PortLayout {
    /// The layout for a model whose input is N, H, W, C if `channels_last`, and else N, C, H, W.
    pub fn of_images(channels_last: bool) -> Self {
        match channels_last {
            true => Self::Model,
            false => Self::Native,
        }
    }
}

/// Why a graph cannot be lowered to a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// An input that must be a constant, such as weights, is computed at run time.
    #[error(
        "node `{node}` ({operator}): its {input} is computed while the network runs; \
         only a constant is supported: export the model with its weights folded in"
    )]
    NotConstant {
        /// The node's name.
        node: String,
        /// The node's operator.
        operator: &'static str,
        /// The name of the input.
        input: &'static str,
    },
    /// The operator is supported, but not for this element type.
    #[error("node `{node}` ({operator}): not supported on {found} elements, only on float32")]
    ElementType {
        /// The node's name.
        node: String,
        /// The node's operator.
        operator: &'static str,
        /// The element type in the graph.
        found: ElementType,
    },
}

/// Lowers `graph` to a plan that computes the same function.
///
/// # Errors
/// If an operator needs a constant and its input is not constant, or if the engine does not
/// support its element types or shapes.
pub fn lower(graph: &Graph, ports: PortLayout) -> Result<Plan, LowerError> {
    lower_weights(graph, ports, Weights::default())
}

/// Like [`lower()`], with a choice of weights.
///
/// # Errors
/// As [`lower()`].
pub fn lower_weights(
    graph: &Graph,
    ports: PortLayout,
    weights: Weights,
) -> Result<Plan, LowerError> {
    Prepared::new(graph, weights)?.lower(ports, OutputOrder::Model)
}

/// Like [`lower()`], for measurements: an output has the axis order in which it is computed.
///
/// # Errors
/// As [`lower()`].
pub(crate) fn lower_measured(graph: &Graph, ports: PortLayout) -> Result<Plan, LowerError> {
    Prepared::new(graph, Weights::AsTheyAre)?.lower(ports, OutputOrder::Computed)
}

/// Like [`lower_measured`], for a part of a network whose inputs have these axis orders.
///
/// # Errors
/// As [`lower()`].
pub(crate) fn lower_part(graph: &Graph, inputs: &[AxisOrder]) -> Result<Plan, LowerError> {
    Prepared::new(graph, Weights::AsTheyAre)?.lower_with(inputs, OutputOrder::Computed)
}

/// The axis order of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputOrder {
    Model,
    /// That in which the output is computed, which saves a transposition.
    Computed,
}

/// A graph whose integers were found.
struct Prepared {
    graph: Graph,
    integers: integers::Integers,
    weights: Weights,
}

impl Prepared {
    fn new(graph: &Graph, weights: Weights) -> Result<Self, LowerError> {
        for node in &graph.nodes {
            float32(graph, node)?;
        }
        let (graph, mut integers) = integers::prepare(graph, weights);
        if weights == Weights::Dequantized {
            integers = integers::Integers::default();
        }
        Ok(Self {
            graph,
            integers,
            weights,
        })
    }

    fn lower(&self, ports: PortLayout, outputs: OutputOrder) -> Result<Plan, LowerError> {
        let graph = &self.graph;
        let mut layouts = vec![AxisOrder::Model; graph.inputs.len()];
        let mut best = self.lower_with(&layouts, outputs)?;
        let first = graph.inputs.first().map(|&input| graph.value(input));
        if ports == PortLayout::Native && first.is_some_and(|picture| picture.shape.len() == 4) {
            layouts[0] = AxisOrder::Nhwc;
            let plan = self.lower_with(&layouts, outputs)?;
            if elements_transposed(&plan) < elements_transposed(&best) {
                best = plan;
            }
        }
        Ok(best)
    }

    fn lower_with(&self, inputs: &[AxisOrder], outputs: OutputOrder) -> Result<Plan, LowerError> {
        let lowering = Lowering::new(&self.graph, &self.integers, self.weights);
        lower_with(lowering, inputs, outputs)
    }
}

fn elements_transposed(plan: &Plan) -> usize {
    let moved = plan.steps.iter().filter_map(|step| match step.operation {
        Operation::Transpose { .. } => {
            Some(plan.tensors[step.output.0].shape.iter().product::<usize>())
        }
        _ => None,
    });
    moved.sum()
}

fn lower_with(
    mut lowering: Lowering<'_>,
    inputs: &[AxisOrder],
    outputs: OutputOrder,
) -> Result<Plan, LowerError> {
    let graph = lowering.graph;
    for (&input, &layout) in graph.inputs.iter().zip(inputs) {
        lowering.add_input(input, layout);
    }
    for node in &graph.nodes {
        let known = |v: &ValueId| graph.value(*v).constant.is_some();
        if !node.outputs.iter().all(known) {
            lower_node(&mut lowering, node)?;
        }
    }
    for &output in &graph.outputs {
        let (form, layout) = match (outputs, lowering.native(output)) {
            (OutputOrder::Computed, Form::Nhwc) => (Form::Nhwc, AxisOrder::Nhwc),
            _ => (Form::Plain, AxisOrder::Model),
        };
        let operand = lowering.get(output, form);
        lowering.plan.outputs.push(PlanPort {
            name: graph.value(output).name.clone(),
            operand,
            layout,
        });
    }
    let mut plan = std::mem::take(&mut lowering.plan);
    transposes::merge(&mut plan);
    rearrange::join_transpositions(&mut plan);
    fuse::activations(&mut plan);
    fuse::tables(&mut plan);
    fuse::requantise(&mut plan, &lowering.multipliers);
    fuse::sums(&mut plan);
    dead::remove(&mut plan);
    Ok(plan)
}

fn lower_node(l: &mut Lowering<'_>, node: &Node) -> Result<(), LowerError> {
    if computes(&node.op) {
        float_only(l.graph, node)?;
    }
    match &node.op {
        Op::Conv(conv) => linear::conv(l, node, conv)?,
        Op::Gemm(gemm) => linear::gemm(l, node, gemm)?,
        Op::MatMul => linear::mat_mul(l, node)?,
        Op::BatchNormalization { epsilon } => linear::batch_normalization(l, node, *epsilon)?,
        Op::Relu => elementwise::unary(l, node, Activation::Relu),
        Op::LeakyRelu { alpha } => {
            elementwise::unary(l, node, Activation::LeakyRelu { alpha: *alpha })
        }
        Op::Elu { alpha } => elementwise::unary(l, node, Activation::Elu { alpha: *alpha }),
        Op::Sigmoid => elementwise::unary(l, node, Activation::Sigmoid),
        Op::HardSigmoid { alpha, beta } => {
            let (alpha, beta) = (*alpha, *beta);
            elementwise::unary(l, node, Activation::HardSigmoid { alpha, beta })
        }
        Op::Tanh => elementwise::unary(l, node, Activation::Tanh),
        Op::Softplus => elementwise::unary(l, node, Activation::Softplus),
        Op::Softsign => elementwise::unary(l, node, Activation::Softsign),
        Op::Clip { min, max } => {
            let (min, max) = (finite(*min), finite(*max));
            elementwise::unary(l, node, Activation::Clip { min, max })
        }
        Op::Function(function) => {
            elementwise::unary(l, node, Activation::Function(engine_function(*function)));
        }
        Op::Softmax { axis, end_axis } => reduce::softmax(l, node, *axis, *end_axis),
        Op::Add => elementwise::binary(l, node, BinaryOperator::Add),
        Op::Sub => elementwise::binary(l, node, BinaryOperator::Sub),
        Op::Mul => elementwise::binary(l, node, BinaryOperator::Mul),
        Op::Div => elementwise::binary(l, node, BinaryOperator::Div),
        Op::Min => elementwise::binary(l, node, BinaryOperator::Min),
        Op::Max => elementwise::binary(l, node, BinaryOperator::Max),
        Op::Pow => elementwise::binary(l, node, BinaryOperator::Pow),
        Op::Compare(comparison) => elementwise::compare(l, node, *comparison),
        Op::Where => elementwise::select(l, node),
        Op::MaxPool(pool) => reduce::max_pool(l, node, pool),
        Op::AveragePool(pool) => reduce::average_pool(l, node, pool),
        Op::GlobalAveragePool => reduce::global_average_pool(l, node),
        Op::Reduce {
            reduction, axes, ..
        } => reduce::reduce(l, node, *reduction, axes),
        Op::Flatten { .. } | Op::Reshape | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
            movement::reshape(l, node)
        }
        Op::Transpose { perm } => movement::transpose(l, node, perm),
        Op::Concat { axis } => movement::concat(l, node, *axis),
        Op::Split { axis } => movement::split(l, node, *axis),
        Op::Slice { axes } => movement::slice(l, node, axes),
        Op::Gather { axis, indices } => movement::gather(l, node, *axis, indices),
        Op::Pad(pad) => movement::pad(l, node, pad),
        Op::Identity => movement::identity(l, node),
        Op::Cast { .. } => elementwise::cast(l, node),
        Op::QuantizeLinear { axis } => elementwise::quantize(l, node, *axis)?,
        Op::DequantizeLinear { axis } => elementwise::dequantize(l, node, *axis)?,
    }
    Ok(())
}

/// Whether an operator computes new values, rather than moving elements or changing their type.
fn computes(op: &Op) -> bool {
    !op.moves_elements()
        && !matches!(
            op,
            Op::Cast { .. } | Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. }
        )
}

/// Returns an error for float16 values. The engine stores float16, but does not compute in it.
fn float32(graph: &Graph, node: &Node) -> Result<(), LowerError> {
    let mut values = node.inputs.iter().chain(&node.outputs);
    match values.any(|&v| graph.value(v).element_type == ElementType::F16) {
        false => Ok(()),
        true => Err(LowerError::ElementType {
            node: node.name.clone(),
            operator: node.op.name(),
            found: ElementType::F16,
        }),
    }
}

fn float_only(graph: &Graph, node: &Node) -> Result<(), LowerError> {
    let types = node.inputs.iter().map(|&v| graph.value(v).element_type);
    let offered = |found: ElementType| match node.op {
        Op::MaxPool(_) => [ElementType::F32, ElementType::I8].contains(&found),
        Op::Where => [ElementType::F32, ElementType::Bool].contains(&found),
        _ => found == ElementType::F32,
    };
    match types.into_iter().find(|&found| !offered(found)) {
        None => Ok(()),
        Some(found) => Err(LowerError::ElementType {
            node: node.name.clone(),
            operator: node.op.name(),
            found,
        }),
    }
}

fn engine_function(function: Function) -> EngineFunction {
    match function {
        Function::Abs => EngineFunction::Abs,
        Function::Acos => EngineFunction::Acos,
        Function::Acosh => EngineFunction::Acosh,
        Function::Asin => EngineFunction::Asin,
        Function::Asinh => EngineFunction::Asinh,
        Function::Atan => EngineFunction::Atan,
        Function::Atanh => EngineFunction::Atanh,
        Function::Ceil => EngineFunction::Ceil,
        Function::Cos => EngineFunction::Cos,
        Function::Cosh => EngineFunction::Cosh,
        Function::Erf => EngineFunction::Erf,
        Function::Exp => EngineFunction::Exp,
        Function::Floor => EngineFunction::Floor,
        Function::Log => EngineFunction::Log,
        Function::Round => EngineFunction::Round,
        Function::Sign => EngineFunction::Sign,
        Function::Sin => EngineFunction::Sin,
        Function::Sinh => EngineFunction::Sinh,
        Function::Sqrt => EngineFunction::Sqrt,
        Function::Tan => EngineFunction::Tan,
    }
}

fn finite(limit: f32) -> Option<f32> {
    limit.is_finite().then_some(limit)
}

#[cfg(test)]
mod tests;
