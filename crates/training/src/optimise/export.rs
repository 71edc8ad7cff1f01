//! The files of an optimised network: NAME.onnx and the recipe NAME.toml for `pilotage compile`.

use pilotage_compiler::Recipe;
use pilotage_graph::{
    ElementType, Graph, GraphError, Node, Op, Tensor, TensorSizeError, TensorType, ValueId,
};
use pilotage_vision::{Layout, Preprocess};

/// Why a network cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The graph is not valid. This is a defect of this crate.
    #[error("the optimised graph is invalid ({0}); report this as a defect of Pilotage")]
    Unsound(GraphError),
    /// A constant does not have its shape. This is a defect of this crate.
    #[error("the optimised graph is invalid ({0}); report this as a defect of Pilotage")]
    Size(TensorSizeError),
    /// The recipe cannot be written as TOML. This is a defect of this crate.
    #[error("the recipe cannot be written ({0}); report this as a defect of Pilotage")]
    Recipe(toml::ser::Error),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] pilotage_config::WriteError),
}

impl From<GraphError> for ExportError {
    fn from(reason: GraphError) -> Self {
        Self::Unsound(reason)
    }
}

impl From<TensorSizeError> for ExportError {
    fn from(reason: TensorSizeError) -> Self {
        Self::Size(reason)
    }
}

impl From<toml::ser::Error> for ExportError {
    fn from(reason: toml::ser::Error) -> Self {
        Self::Recipe(reason)
    }
}

/// A quantized graph, whose int8 input is pixels minus 128, with the float32 input of the trained
/// model: `(pixel * scale - mean) / std`. A QuantizeLinear with a scale of 1 restores the pixels, from
/// which `pilotage compile` and other runtimes compute the same integers.
///
/// # Errors
/// Never, unless this crate has a defect.
pub fn with_float_input(mut graph: Graph, input: &Preprocess) -> Result<Graph, ExportError> {
    let Some(&integers) = graph.inputs.first() else {
        return Ok(graph);
    };
    let shape = graph.value(integers).shape.clone();
    let name = std::mem::take(&mut graph.values[integers.0].name);
    let other = graph.unused_name(&format!("{name} as int8"));
    graph.values[integers.0].name = other;
    let float = || TensorType::new(ElementType::F32, shape.clone());
    let normalised = graph.add_value(&name, float(), None);
    let scaled = graph.add_value(&format!("{name} scaled"), float(), None);
    let centred = graph.add_value(&format!("{name} pixels"), float(), None);

    let channels = input.colour.channels();
    let along = match input.layout {
        Layout::Nchw => vec![channels, 1, 1],
        Layout::Nhwc => vec![channels],
    };
    let scale = f64::from(input.scale);
    let each = |of: &dyn Fn(usize) -> f64| -> Result<Tensor, TensorSizeError> {
        let values: Vec<f32> = (0..channels).map(|channel| of(channel) as f32).collect();
        Tensor::new(along.clone(), values)
    };
    let factor = each(&|channel| f64::from(input.std[channel]) / scale)?;
    let shift = each(&|channel| f64::from(input.mean[channel]) / scale - 128.0)?;
    let factor = constant(&mut graph, &format!("{name} factor"), factor);
    let shift = constant(&mut graph, &format!("{name} shift"), shift);
    let one = constant(
        &mut graph,
        &format!("{name} pixel scale"),
        Tensor::new([], vec![1.0_f32])?,
    );
    let zero = constant(
        &mut graph,
        &format!("{name} pixel zero point"),
        Tensor::new([], vec![0_i8])?,
    );
    let node = |what: &str, op, inputs: &[ValueId], output| Node {
        name: format!("{name} {what}"),
        op,
        inputs: inputs.to_vec(),
        outputs: vec![output],
    };
    let quantize = Op::QuantizeLinear { axis: 0 };
    let first = [
        node("scaled", Op::Mul, &[normalised, factor], scaled),
        node("centred", Op::Add, &[scaled, shift], centred),
        node("quantized", quantize, &[centred, one, zero], integers),
    ];
    graph.nodes.splice(0..0, first);
    graph.inputs[0] = normalised;
    graph.prune();
    graph.check()?;
    Ok(graph)
}

fn constant(graph: &mut Graph, name: &str, tensor: Tensor) -> ValueId {
    graph.add_value(name, tensor.tensor_type(), Some(tensor))
}

/// The text of a recipe for `pilotage compile`. `comment` is a line of text without line ends.
///
/// # Errors
/// Never, unless this crate has a defect.
pub fn recipe_text(recipe: &Recipe, comment: &str) -> Result<String, ExportError> {
    let keys = toml::to_string(recipe)?;
    Ok(format!(
        "# {comment}\n# docs/recipes.md explains every key.\n{keys}"
    ))
}
