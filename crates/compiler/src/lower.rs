//! A graph into the engine's plan: every operator to its operation, every value
//! to an order in memory.
//!
//! Convolution and pooling work on NHWC, so values that come from them stay
//! NHWC as long as what follows can live with it; constants are permuted here,
//! and a flattened picture is taken in by permuting the columns of the layer
//! that reads it. Where nothing else helps a transposition is inserted.

mod dead;
mod elementwise;
mod forms;
mod fuse;
mod integers;
mod linear;
mod movement;
mod quantized;
mod reduce;
mod transposes;

use pilotage_engine::Layout;
use pilotage_engine::plan::{Activation, BinaryOperator, Operation, Plan, PlanPort};
use pilotage_graph::{ElementType, Graph, Node, Op, ValueId};

use forms::{Form, Lowering};

/// How weights are kept and used, where a graph leaves that open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Weights {
    /// As the graph has them: f32, or i8 where a DequantizeLinear makes them and
    /// the layer's input is i8 too.
    #[default]
    AsTheyAre,
    /// f32 weights are stored as f16 (rounded to nearest); computed in f32.
    Half,
    /// Layers with i8 weights and a float input quantise that at run time.
    Dynamic,
    /// Whatever is dequantised is computed in f32: what a runtime does that takes
    /// a QDQ graph at its word.
    Dequantized,
}

/// In which order of axes the engine takes four-dimensional tensors. It gives
/// them in the model's order, so that elements are counted as the model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortLayout {
    /// As the model has them.
    Model,
    /// NHWC where that saves transpositions; [`PlanPort::layout`] says so.
    Native,
}

/// Why a graph cannot become a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// Weights and the like have to be known when compiling.
    #[error(
        "node `{node}` ({operator}): its {input} is computed while the network runs; \
         only a constant is supported: export the model with its weights folded in"
    )]
    NotConstant {
        /// The node.
        node: String,
        /// Its operator.
        operator: &'static str,
        /// Which of its inputs.
        input: &'static str,
    },
    /// The operator is there, but not on this type.
    #[error("node `{node}` ({operator}): not supported on {found} elements, only on float32")]
    ElementType {
        /// The node.
        node: String,
        /// Its operator.
        operator: &'static str,
        /// The type it has.
        found: ElementType,
    },
}

/// The plan that computes what `graph` computes.
///
/// # Errors
/// When an operator needs a constant and has none, or works on types or shapes
/// that no engine offers.
pub fn lower(graph: &Graph, ports: PortLayout) -> Result<Plan, LowerError> {
    lower_weights(graph, ports, Weights::default())
}

/// As [`lower()`], with a choice of weights.
///
/// # Errors
/// As [`lower()`].
pub fn lower_weights(
    graph: &Graph,
    ports: PortLayout,
    weights: Weights,
) -> Result<Plan, LowerError> {
    for node in &graph.nodes {
        float32(graph, node)?;
    }
    let (graph, mut integers) = integers::prepare(graph, weights);
    if weights == Weights::Dequantized {
        integers = integers::Integers::default();
    }
    let (graph, integers) = (&graph, &integers);
    let lower_with =
        |inputs: &[Layout]| lower_with(Lowering::new(graph, integers, weights), inputs);
    let mut layouts = vec![Layout::Plain; graph.inputs.len()];
    let mut best = lower_with(&layouts)?;
    if ports == PortLayout::Native {
        for input in 0..graph.inputs.len() {
            if graph.value(graph.inputs[input]).shape.len() != 4 {
                continue;
            }
            layouts[input] = Layout::Nhwc;
            let plan = lower_with(&layouts)?;
            if elements_transposed(&plan) < elements_transposed(&best) {
                best = plan;
            } else {
                layouts[input] = Layout::Plain;
            }
        }
    }
    Ok(best)
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

fn lower_with(mut lowering: Lowering<'_>, inputs: &[Layout]) -> Result<Plan, LowerError> {
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
        let operand = lowering.get(output, Form::Plain);
        lowering.plan.outputs.push(PlanPort {
            name: graph.value(output).name.clone(),
            operand,
            layout: Layout::Plain,
        });
    }
    let mut plan = std::mem::take(&mut lowering.plan);
    transposes::merge(&mut plan);
    fuse::activations(&mut plan);
    fuse::tables(&mut plan);
    fuse::requantise(&mut plan, &lowering.multipliers);
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
        Op::Clip { min, max } => {
            let (min, max) = (finite(*min), finite(*max));
            elementwise::unary(l, node, Activation::Clip { min, max })
        }
        Op::Softmax { axis, end_axis } => reduce::softmax(l, node, *axis, *end_axis),
        Op::Add => elementwise::binary(l, node, BinaryOperator::Add),
        Op::Sub => elementwise::binary(l, node, BinaryOperator::Sub),
        Op::Mul => elementwise::binary(l, node, BinaryOperator::Mul),
        Op::Div => elementwise::binary(l, node, BinaryOperator::Div),
        Op::MaxPool(pool) => reduce::max_pool(l, node, pool),
        Op::AveragePool(pool) => reduce::average_pool(l, node, pool),
        Op::GlobalAveragePool => reduce::global_average_pool(l, node),
        Op::ReduceMean { axes, .. } => reduce::mean(l, node, axes),
        Op::Flatten { .. } | Op::Reshape | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
            movement::reshape(l, node)
        }
        Op::Transpose { perm } => movement::transpose(l, node, perm),
        Op::Concat { axis } => movement::concat(l, node, *axis),
        Op::Split { axis } => movement::split(l, node, *axis),
        Op::Slice { axes } => movement::slice(l, node, axes),
        Op::Pad(pad) => movement::pad(l, node, pad),
        Op::Identity => movement::identity(l, node),
        Op::Cast { .. } => elementwise::cast(l, node),
        Op::QuantizeLinear { axis } => elementwise::quantize(l, node, *axis)?,
        Op::DequantizeLinear { axis } => elementwise::dequantize(l, node, *axis)?,
    }
    Ok(())
}

/// Whether an operator calculates with what it reads, rather than moves it or
/// changes its type.
fn computes(op: &Op) -> bool {
    !matches!(
        op,
        Op::Flatten { .. }
            | Op::Reshape
            | Op::Squeeze { .. }
            | Op::Unsqueeze { .. }
            | Op::Transpose { .. }
            | Op::Concat { .. }
            | Op::Split { .. }
            | Op::Slice { .. }
            | Op::Pad(_)
            | Op::Identity
            | Op::Cast { .. }
            | Op::QuantizeLinear { .. }
            | Op::DequantizeLinear { .. }
    )
}

/// Engines store float16, but do not compute in it.
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

fn finite(limit: f32) -> Option<f32> {
    limit.is_finite().then_some(limit)
}

#[cfg(test)]
mod tests;
