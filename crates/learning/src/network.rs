//! A graph that learns.

mod pass;
mod quantization;
mod settings;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::thread;

use pilotage_graph::{Graph, Op, Tensor, ValueId};

use crate::error::LearningError;
use crate::parameter::{Parameter, Role};
use crate::plan::{Plan, Planner, Settings, after_layers};
use crate::shard::{NormState, Shard};

pub use pass::{Example, Fill, Losses};
use quantization::Quantization;
pub use quantization::RangeUpdate;
pub(crate) use settings::check_size;

/// The number of parts of a batch that a network starts with.
const PARTS: usize = 4;

/// A graph with its parameters, which runs forward and backward over batches in float32.
///
/// The parameters are the float32 constants of the graph. Axis 0 of every input is the batch; it
/// has size 1 in the graph and any size here. Results are the same bits with any number of
/// threads, on the same kind of machine and with the same number of [parts](Self::set_parts).
///
/// ```
/// use pilotage_graph::{ElementType, Gemm, GraphBuilder, Op, Tensor, TensorType};
/// use pilotage_learning::{Loss, Network};
///
/// let mut b = GraphBuilder::new("double");
/// let x = b.input("x", TensorType::new(ElementType::F32, [1, 1]))?;
/// let w = b.constant("w", Tensor::new([1, 1], vec![2.0f32])?)?;
/// let y = b.node("y", Op::MatMul, &[x, w])?;
/// b.output("y", y)?;
/// let mut network = Network::from_graph(&b.finish()?)?;
/// let losses = network.gradients(2, Loss::Squared, &|index, example| {
///     example.inputs[0][0] = index as f32;
///     example.targets[0] = 0.0;
/// });
/// // The mean of 0 and 2 * 2, and its derivative by the weight.
/// assert_eq!(losses.mean, 2.0);
/// assert_eq!(network.parameters()[0].gradient(), [2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Network {
    graph: Graph,
    /// The parameter of each constant.
    ids: BTreeMap<ValueId, usize>,
    /// The constant of each parameter.
    values: Vec<ValueId>,
    parameters: Vec<Parameter>,
    settings: Settings,
    plan: Plan,
    threads: usize,
    parts: usize,
    /// The share of the running statistics that a step keeps.
    momentum: f64,
    norms: Vec<NormState>,
    quantization: Option<Quantization>,
    work: Vec<Work>,
}

/// One part of the batch with its targets.
#[derive(Debug, Default)]
pub(crate) struct Work {
    shard: Shard,
    targets: Vec<f32>,
    weights: Vec<f32>,
    gradients: Vec<f32>,
    answers: Vec<f32>,
    /// The sum of the weighted losses.
    loss: f64,
    /// For each output element, the sum of the squared errors.
    squared: Vec<f64>,
}

impl Network {
    /// A network with the graph's constants as its parameters.
    ///
    /// Weights and biases of layers are trained. Constants before the first layer are not: they
    /// normalize the input. Neither are single constants of element-wise operators, which belong
    /// to a formula, unless they are added to a matrix product. [`set_trained`](Self::set_trained)
    /// changes that.
    ///
    /// # Errors
    /// [`LearningError::Unsupported`] with all nodes that training does not support; other errors
    /// if an input has no batch axis of size 1 or an output does not depend on an input.
    pub fn from_graph(graph: &Graph) -> Result<Self, LearningError> {
        let mut graph = graph.clone();
        graph.prune();
        graph.check().map_err(LearningError::Unsound)?;
        let mut ids = BTreeMap::new();
        let (mut values, mut parameters) = (Vec::new(), Vec::new());
        for (index, value) in graph.values.iter().enumerate() {
            let Some(data) = value.constant.as_ref().and_then(Tensor::as_f32) else {
                continue;
            };
            let id = ValueId(index);
            ids.insert(id, parameters.len());
            values.push(id);
            let role = role(&graph, id);
            parameters.push(Parameter::new(&value.name, &value.shape, role, data));
        }
        let trained = trained(&graph, &values);
        let settings = Settings {
            trained,
            ..Settings::default()
        };
        let plan = Planner::plan(&graph, &ids, &settings)?;
        let mut network = Self {
            graph,
            ids,
            values,
            parameters,
            settings,
            plan,
            threads: thread::available_parallelism().map_or(1, NonZero::get),
            parts: PARTS,
            momentum: 0.9,
            norms: Vec::new(),
            quantization: None,
            work: Vec::new(),
        };
        network.reset();
        Ok(network)
    }

    /// Forgets what depends on the plan.
    fn reset(&mut self) {
        self.norms = vec![NormState::default(); self.plan.norms.len()];
        self.work.clear();
    }

    /// Plans anew after a change of the settings.
    fn replan(&mut self, settings: Settings) -> Result<(), LearningError> {
        self.plan = Planner::plan(&self.graph, &self.ids, &settings)?;
        self.settings = settings;
        self.reset();
        Ok(())
    }

    /// The parameters, in the graph's order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    pub(crate) fn parameters_mut(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    /// Whether each parameter is trained, in the order of [`parameters`](Self::parameters).
    pub fn trained(&self) -> &[bool] {
        &self.settings.trained
    }

    /// The axis of a layer's weights along which its inputs lie: the channels of a convolution (of one
    /// group), the rows or columns of a matrix. `None` if the parameter has no weights of a layer.
    pub fn input_axis(&self, name: &str) -> Option<usize> {
        let index = self.parameter_index(name).ok()?;
        let value = self.values[index];
        let rank = self.parameters[index].shape().len();
        let nodes = self.graph.nodes.iter();
        let mut readers = nodes.filter(|node| node.inputs.contains(&value));
        let reader = readers.next()?;
        let position = reader.inputs.iter().position(|&v| v == value);
        match (&reader.op, position) {
            (Op::Conv(_), Some(1)) => Some(1),
            (Op::Gemm(gemm), Some(1)) => Some(usize::from(gemm.transpose_b)),
            (Op::MatMul, Some(1)) => rank.checked_sub(2),
            (Op::MatMul, Some(0)) => rank.checked_sub(1),
            _ => None,
        }
    }

    /// The number of elements of one sample of each input.
    pub fn input_sizes(&self) -> Vec<usize> {
        let slots = self.plan.inputs.iter();
        slots.map(|&slot| self.plan.slots[slot].size).collect()
    }

    /// The number of elements of one sample of all outputs.
    pub fn output_size(&self) -> usize {
        self.plan.outputs.iter().map(|output| output.size).sum()
    }

    /// The graph with the present values of the parameters. The names of constants, nodes and
    /// ports are those of the original, so [`Graph::write_with_metadata`] with the entries of
    /// [`metadata`](pilotage_graph::metadata) writes the same model with trained weights.
    ///
    /// # Errors
    /// Never, unless this crate has a defect.
    pub fn to_graph(&self) -> Result<Graph, LearningError> {
        let mut graph = self.graph.clone();
        for (id, parameter) in self.values.iter().zip(&self.parameters) {
            let tensor = Tensor::new(parameter.shape(), parameter.values().to_vec());
            graph.values[id.0].constant = tensor.ok();
        }
        graph.check().map_err(LearningError::Unsound)?;
        Ok(graph)
    }

    /// The graph, without the nodes that no output needs. Its values are those that
    /// [`quantize`](Self::quantize) is passed ranges for.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}

/// What a constant is for: by the first node that reads it.
fn role(graph: &Graph, value: ValueId) -> Role {
    for node in &graph.nodes {
        let position = node.inputs.iter().position(|&v| v == value);
        match (&node.op, position) {
            (Op::Conv(_) | Op::Gemm(_), Some(1)) | (Op::MatMul, Some(_)) => return Role::Weights,
            (Op::BatchNormalization { .. }, Some(3 | 4)) => return Role::Statistic,
            (_, Some(_)) => return Role::Other,
            _ => {}
        }
    }
    Role::Other
}

/// Which constants are trained at first.
fn trained(graph: &Graph, values: &[ValueId]) -> Vec<bool> {
    let after_layer = after_layers(graph);
    let of_product = |value: ValueId| {
        let makes = |node: &&pilotage_graph::Node| node.outputs.contains(&value);
        let maker = graph.nodes.iter().find(makes);
        maker.is_some_and(|node| node.op == Op::MatMul)
    };
    let by_node = |node: &pilotage_graph::Node, position: usize, value: ValueId| match node.op {
        Op::Conv(_) | Op::Gemm(_) | Op::MatMul => true,
        Op::BatchNormalization { .. } => position < 3 && after_layer[node.inputs[0].0],
        Op::Add => {
            let other = node.inputs[1 - position.min(1)];
            let single = graph.value(value).shape.iter().all(|&len| len == 1);
            after_layer[other.0] && (!single || of_product(other))
        }
        Op::Sub | Op::Mul | Op::Div | Op::Min | Op::Max | Op::Pow => {
            let other = node.inputs[1 - position.min(1)];
            let single = graph.value(value).shape.iter().all(|&len| len == 1);
            after_layer[other.0] && !single
        }
        _ => false,
    };
    let each = values.iter().map(|&value| {
        graph.nodes.iter().any(|node| {
            let mut positions = node.inputs.iter().enumerate();
            positions.any(|(position, &v)| v == value && by_node(node, position, value))
        })
    });
    each.collect()
}
