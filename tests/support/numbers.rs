//! The shipped network with numbers of the car: the faster the car was measured to be, the slower it
//! wants to drive, and slower still with the high-level command `slow`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pilotage_graph::{
    ElementType, Gemm, Graph, Node, Op, ReadOptions, Tensor, TensorType, ValueId,
};

/// The folder of the shipped model, its recipe and its frames.
const ENGINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/engines");
/// What the shipped recipe multiplies the network's first number by, m/s.
pub const SPEED_SCALE: f64 = 17.5;
/// By how much of the measured speed the wanted speed is reduced.
pub const REDUCED: f64 = 0.15;
/// By how much `slow` reduces the wanted speed, m/s.
pub const SLOW: f64 = 3.5;
/// The rules of a recipe for the inputs of [`join`].
pub const RULES: &str = "[[measurement]]\ninput = \"motion\"\nvalues = [\"speed\"]\nscale = 0.1\n\n\
                         [command]\ninput = \"wish\"\nvalues = [\"fast\", \"slow\"]\ndefault = \"fast\"\n\n";
/// How many of the shipped frames the network is compiled with.
const FRAMES: usize = 180;

/// Writes `numbers.onnx`, `numbers.toml` and `frames`, and returns the recipe's text.
pub fn write(folder: &Path, precision: &str) -> String {
    let bytes = fs::read(format!("{ENGINES}/pilotnet.onnx")).unwrap();
    let mut graph = Graph::read(&bytes, &ReadOptions::default()).unwrap();
    let (image, controls) = (graph.inputs[0], graph.outputs[0]);
    let ([motion, wish], drive) = join(&mut graph, controls, "drive");
    graph.inputs = vec![wish, image, motion];
    graph.outputs = vec![drive];
    graph.check().unwrap();
    fs::write(folder.join("numbers.onnx"), graph.write()).unwrap();
    frames(&folder.join("frames"));

    let numbers = &format!("{RULES}[input]");
    let recipe = fs::read_to_string(format!("{ENGINES}/pilotnet.toml")).unwrap();
    let recipe = recipe
        .replace("\"pilotnet.onnx\"", "\"numbers.onnx\"")
        .replace("\"controls\"", "\"drive\"")
        .replace(
            "precision = \"int8\"",
            &format!("precision = \"{precision}\""),
        )
        .replacen("[input]", numbers, 1);
    fs::write(folder.join("numbers.toml"), &recipe).unwrap();
    recipe
}

/// Adds what is measured and commanded to the network's `controls`, as its output `name`. Returns the inputs
/// for both, and the output.
pub fn join(graph: &mut Graph, controls: ValueId, name: &str) -> ([ValueId; 2], ValueId) {
    let float = |shape: &[usize]| TensorType::new(ElementType::F32, shape);
    let motion = graph.add_value("motion", float(&[1, 1]), None);
    let wish = graph.add_value("wish", float(&[1, 2]), None);
    // The recipe gives the network a tenth of the speed.
    let reduced = (-REDUCED * 10.0 / SPEED_SCALE) as f32;
    let slow = (-SLOW / SPEED_SCALE) as f32;
    let by_speed = layer(graph, motion, "by_speed", vec![reduced, 0.0]);
    let by_wish = layer(graph, wish, "by_wish", vec![0.0, slow, 0.0, 0.0]);
    let sum = add(graph, [controls, by_speed], "sum");
    ([motion, wish], add(graph, [sum, by_wish], name))
}

/// The network's two numbers by a matrix of two rows.
fn layer(graph: &mut Graph, input: ValueId, name: &str, weights: Vec<f32>) -> ValueId {
    let weights = Tensor::new([2, weights.len() / 2], weights).unwrap();
    let weights = graph.add_value(
        &format!("{name}.weight"),
        weights.tensor_type(),
        Some(weights),
    );
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    node(graph, Op::Gemm(gemm), [input, weights], name)
}

fn add(graph: &mut Graph, inputs: [ValueId; 2], name: &str) -> ValueId {
    node(graph, Op::Add, inputs, name)
}

fn node(graph: &mut Graph, op: Op, inputs: [ValueId; 2], name: &str) -> ValueId {
    let output = graph.add_value(name, TensorType::new(ElementType::F32, [1, 2]), None);
    graph.nodes.push(Node {
        name: name.to_owned(),
        op,
        inputs: inputs.to_vec(),
        outputs: vec![output],
    });
    output
}

/// Some of the shipped frames, with numbers.
pub fn frames(to: &Path) {
    fs::create_dir(to).unwrap();
    let list = fs::read_to_string(format!("{ENGINES}/frames/data.csv")).unwrap();
    let mut text = "image_name,measured_speed,command\n".to_owned();
    for (index, row) in list.lines().skip(1).take(FRAMES).enumerate() {
        let name = row.split(',').next().unwrap();
        fs::copy(format!("{ENGINES}/frames/{name}"), to.join(name)).unwrap();
        let speed = 6.0 + 5.0 * (index as f64 * 0.7).sin();
        let wish = ["fast", "slow"][index / 3 % 2];
        writeln!(text, "{name},{speed},{wish}").unwrap();
    }
    fs::write(to.join("data.csv"), text).unwrap();
}

/// Compiles the recipe, and returns the path of the engine.
pub fn compiled(folder: &Path) -> String {
    let compiled = pilotage_compiler::compile(&folder.join("numbers.toml")).unwrap();
    let engine = folder.join("numbers.engine");
    fs::write(&engine, compiled.bytes).unwrap();
    engine.display().to_string()
}
