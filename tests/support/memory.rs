//! The shipped network with a memory: it reads the newer of two pictures, its answers pass a low-pass
//! filter whose state is fed back, and its latest answers are an input of no weight.

use std::fs;
use std::path::Path;

use pilotage_graph::{
    ElementType, Graph, Node, Op, ReadOptions, SliceAxis, Tensor, TensorType, ValueId,
};

/// Writes `memory.onnx` and `memory.toml` to `folder`. `engines` is the folder of the shipped model, its
/// recipe and its frames.
pub fn write(engines: &str, folder: &Path) {
    let bytes = fs::read(format!("{engines}/pilotnet.onnx")).unwrap();
    let mut graph = Graph::read(&bytes, &ReadOptions::default()).unwrap();
    let (image, controls) = (graph.inputs[0], graph.outputs[0]);
    let float = |shape: &[usize]| TensorType::new(ElementType::F32, shape);
    let pictures = graph.add_value("pictures", float(&[1, 6, 66, 200]), None);
    let state = graph.add_value("h", float(&[1, 2]), None);
    let latest = graph.add_value("latest", float(&[1, 2]), None);
    let whole = |length: usize| SliceAxis {
        start: 0,
        step: 1,
        length,
    };
    let newer = SliceAxis {
        start: 3,
        ..whole(3)
    };
    let axes = vec![whole(1), newer, whole(66), whole(200)];
    graph.nodes.insert(
        0,
        Node {
            name: "newer".to_owned(),
            op: Op::Slice { axes },
            inputs: vec![pictures],
            outputs: vec![image],
        },
    );
    let node = |graph: &mut Graph, op: Op, inputs: [ValueId; 2], name: &str| {
        let output = graph.add_value(name, float(&[1, 2]), None);
        graph.nodes.push(Node {
            name: name.to_owned(),
            op,
            inputs: inputs.to_vec(),
            outputs: vec![output],
        });
        output
    };
    let scaled = |graph: &mut Graph, value: ValueId, factor: f32, name: &str| {
        let tensor = Tensor::new([1, 1], vec![factor]).unwrap();
        let factor = graph.add_value("factor", tensor.tensor_type(), Some(tensor));
        node(graph, Op::Mul, [value, factor], name)
    };
    let fresh = scaled(&mut graph, controls, 0.75, "fresh");
    let kept = scaled(&mut graph, state, 0.25, "kept");
    let none = scaled(&mut graph, latest, 1e-6, "none");
    let filtered = node(&mut graph, Op::Add, [fresh, kept], "filtered");
    let drive = node(&mut graph, Op::Add, [filtered, none], "drive");
    graph.inputs = vec![state, pictures, latest];
    graph.outputs = vec![drive, filtered];
    graph.check().unwrap();
    fs::write(folder.join("memory.onnx"), graph.write()).unwrap();

    let recipe = fs::read_to_string(format!("{engines}/pilotnet.toml")).unwrap();
    // Fewer frames than are shipped compile faster.
    let frames = format!("frames = \"{engines}/frames\"\nmax_frames = 200");
    let memory = "[memory]\npictures = 2\nafter_gap = \"reset\"\n\
                  [[memory.state]]\ninput = \"h\"\noutput = \"filtered\"\nstart = 0.5\n\
                  [[memory.signal]]\ninput = \"latest\"\nvalues = [\"speed\", \"yaw_rate\"]\n\n[input]";
    let recipe = recipe
        .replace("\"pilotnet.onnx\"", "\"memory.onnx\"")
        .replace("\"controls\"", "\"drive\"")
        .replace("frames = \"frames\"", &frames)
        .replacen("[input]", memory, 1);
    fs::write(folder.join("memory.toml"), recipe).unwrap();
}
