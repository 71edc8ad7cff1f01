//! The shipped network with all kinds of inputs: two pictures, a state, its own latest answers, the measured
//! speed and a high-level command.

use std::fs;
use std::path::Path;

use pilotage_graph::{Graph, ReadOptions};

use crate::{memory, numbers};

/// Writes `combined.onnx`, `combined.toml` and `frames`, and compiles them. Returns the engine's bytes.
pub fn compiled(folder: &Path, precision: &str) -> Vec<u8> {
    memory::write(concat!(env!("CARGO_MANIFEST_DIR"), "/engines"), folder);
    let bytes = fs::read(folder.join("memory.onnx")).unwrap();
    let mut graph = Graph::read(&bytes, &ReadOptions::default()).unwrap();
    let drive = graph.outputs[0];
    let (inputs, wanted) = numbers::join(&mut graph, drive, "wanted");
    graph.inputs.extend(inputs);
    graph.outputs[0] = wanted;
    graph.check().unwrap();
    fs::write(folder.join("combined.onnx"), graph.write()).unwrap();
    numbers::frames(&folder.join("frames"));

    let recipe = fs::read_to_string(folder.join("memory.toml")).unwrap();
    let (before, _) = recipe.split_once("frames = ").unwrap();
    let recipe = before
        .replace("\"memory.onnx\"", "\"combined.onnx\"")
        .replace("\"drive\"", "\"wanted\"")
        .replace(
            "precision = \"int8\"",
            &format!("precision = \"{precision}\""),
        )
        .replacen("[input]", &format!("{}[input]", numbers::RULES), 1);
    let path = folder.join("combined.toml");
    fs::write(&path, format!("{recipe}frames = \"frames\"\n")).unwrap();
    pilotage_compiler::compile(&path).unwrap().bytes
}
