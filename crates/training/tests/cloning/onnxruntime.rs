//! Compares the exported model with the trainer's own forward pass, in ONNX Runtime (the Python
//! environment that `cargo xtask test --install` creates).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pilotage_graph::Graph;
use pilotage_simulator::Random;
use pilotage_training::cloning::fit::Task;
use pilotage_training::cloning::frames::{Frames, Place};
use pilotage_training::cloning::model::Origin;
use pilotage_training::cloning::recipe::TrainingRecipe;
use pilotage_training::cloning::split::split;

/// ONNX Runtime's outputs, frame after frame.
fn onnxruntime(model: &[u8], pictures: &[u8]) -> Vec<f32> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = match std::env::var_os("PILOTAGE_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => root.join("target/python/bin/python"),
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("model.onnx"), model).unwrap();
    fs::write(file("frames"), pictures).unwrap();
    let status = Command::new(&python)
        .arg(root.join("crates/compiler/tests/onnxruntime_answers.py"))
        .args([file("model.onnx"), file("frames"), file("answers")])
        .status()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    assert!(status.success());
    let answers = fs::read(file("answers")).unwrap();
    let words = answers.as_chunks::<4>().0.iter();
    words.map(|&word| f32::from_le_bytes(word)).collect()
}

/// The script passes plain pixels, so the model that it runs has the recipe's mean and std in front.
#[test]
fn the_exported_model_answers_as_the_trainer_does() {
    for (network, side, colour) in [
        ("small", (41, 30), "grey"),
        ("small", (30, 27), "bgr"),
        ("linear", (64, 61), "rgb"),
    ] {
        let text = format!(
            "network = \"{network}\"\n[input]\nwidth = {}\nheight = {}\ncolour = \"{colour}\"\n\
             scale = 1.0\nmean = [100.0, 90.0, 80.0]\nstd = [40.0, 50.0, 60.0]\n\
             [[output]]\nmeaning = \"steering\"\nscale = 0.5\noffset = 0.1\n\
             [[output]]\nmeaning = \"throttle\"\nscale = 2.0\n[training]\nepochs = 1\nbatch = 8\n",
            side.0, side.1
        );
        let recipe = TrainingRecipe::parse("training.toml", &text).unwrap();
        let shape = recipe.architecture(2).unwrap();
        let mut frames = Frames::new(&recipe.input, 2);
        let size: usize = shape.input.iter().product();
        let mut random = Random::new(4);
        for index in 0..24 {
            let picture: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();
            let label = [random.range(-1.0, 1.0) as f32, 0.3];
            let time = index as f64 * 0.05;
            frames.push(&picture, &label, Place { drive: 0, time });
        }
        let steering: Vec<f32> = (0..24).map(|index| frames.label(index)[0]).collect();
        let split = split(&frames.places, &steering, 0.2, 1.0, 1).unwrap();
        let outputs = recipe.outputs(std::iter::empty()).unwrap();
        let task = Task::new(&recipe, Origin::Named(shape), outputs, &frames, split).unwrap();
        let fitted = task
            .fit(task.start().unwrap(), &mut |_| {
                Ok(std::ops::ControlFlow::Continue(()))
            })
            .unwrap();
        let all: Vec<usize> = (0..24).collect();
        let mut trained = task.network_of(&fitted.weights).unwrap();
        let own = task.answers(&mut trained, &all);

        let model = with_pixels(&task, task.exported(&trained).unwrap());
        let pictures: Vec<u8> = all
            .iter()
            .flat_map(|&i| frames.picture(i).to_vec())
            .collect();
        let theirs = onnxruntime(&model, &pictures);
        assert_eq!(own.len(), theirs.len());
        for (place, (own, theirs)) in own.iter().zip(&theirs).enumerate() {
            let output = task.outputs[place % 2];
            let theirs = theirs * output.scale + output.offset;
            let name = format!("{network}, {colour}, {place}");
            assert!((own - theirs).abs() < 2e-5, "{name}: {own} {theirs}");
        }
        let spread = own
            .iter()
            .fold(0f32, |most, v| most.max((v - own[0]).abs()));
        assert!(spread > 1e-3, "the answers depend on the picture");
    }
}

/// The model with the recipe's mean and std in front of it, which `pilotage-vision` applies; the
/// scale is 1.
fn with_pixels(task: &Task<'_>, mut graph: Graph) -> Vec<u8> {
    use pilotage_graph::{Node, Op, Tensor, TensorType};
    let input = &task.recipe.input;
    let pixels = graph.inputs[0];
    let of: TensorType = graph.value(pixels).tensor_type();
    let channels = input.colour.channels();
    let constant =
        |values: &[f32; 3]| Tensor::new([channels, 1, 1], values[..channels].to_vec()).unwrap();
    let (mean, std) = (constant(&input.mean), constant(&input.std));
    let mean = graph.add_value("mean", mean.tensor_type(), Some(mean));
    let std = graph.add_value("std", std.tensor_type(), Some(std));
    let centred = graph.add_value("centred", of.clone(), None);
    let scaled = graph.add_value("scaled", of, None);
    for node in &mut graph.nodes {
        for read in &mut node.inputs {
            if *read == pixels {
                *read = scaled;
            }
        }
    }
    let node = |name: &str, op, inputs, output| Node {
        name: name.to_owned(),
        op,
        inputs,
        outputs: vec![output],
    };
    graph
        .nodes
        .insert(0, node("subtract", Op::Sub, vec![pixels, mean], centred));
    graph
        .nodes
        .insert(1, node("divide", Op::Div, vec![centred, std], scaled));
    graph.check().unwrap();
    graph.write()
}
