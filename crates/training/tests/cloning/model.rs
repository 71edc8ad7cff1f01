//! Fine-tuning of users' models: exports of PyTorch and Keras, and models of this program.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use pilotage_compiler::{Recipe, compile_recipe};
use pilotage_config::Source;
use pilotage_graph::{Graph, Op, ReadOptions, metadata};
use pilotage_learning::Loss;
use pilotage_training::cloning::fit::Task;
use pilotage_training::cloning::frames::{Frames, Place};
use pilotage_training::cloning::model::Origin;
use pilotage_training::cloning::recipe::TrainingRecipe;
use pilotage_training::cloning::split::{Method, Split};
use pilotage_training::cloning::{Plan, Trained, train};
use pilotage_vision::Layout;

use crate::support::{RECIPE, model, path, pedals, plan};

fn run(plan: &Plan) -> Trained {
    train(plan, |_| ControlFlow::Continue(())).unwrap()
}

fn export(name: &str) -> PathBuf {
    let exports = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compiler/tests/exports");
    exports.join(format!("{name}.onnx"))
}

fn read(bytes: &[u8]) -> Graph {
    Graph::read(bytes, &ReadOptions::default()).unwrap()
}

/// A plan with the model `path` in its recipe.
fn tuning(data: &Path, path: &Path, recipe: &str, folder: &Path, name: &str) -> Plan {
    let mut plan = plan(data, recipe, folder, name);
    plan.recipe.model = Some(path.to_owned());
    plan
}

/// The weights of each layer, by the node's name.
fn layers(graph: &Graph) -> Vec<(String, Vec<f32>)> {
    let nodes = graph.nodes.iter();
    let nodes = nodes.filter(|node| matches!(node.op, Op::Conv(_) | Op::Gemm(_) | Op::MatMul));
    let weights = |node: &pilotage_graph::Node| {
        let constant = graph.value(node.inputs[1]).constant.as_ref().unwrap();
        constant.as_f32().unwrap().to_vec()
    };
    nodes
        .map(|node| (node.name.clone(), weights(node)))
        .collect()
}

/// The export of PyTorch learns the lane with frozen convolutions, and compiles as it was written.
#[test]
fn a_model_of_pytorch_is_fine_tuned_and_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    pedals(&data, 120);
    let recipe = "[training]\nepochs = 40\npatience = 40\nbatch = 8\nrate = 0.003\nblock_s = 0.5\n\
                  freeze = [\"/conv/\"]\n";
    let tuning = tuning(&data, &export("pytorch"), recipe, folder.path(), "car");
    let trained = run(&tuning);
    let steering = &trained.scores[0];
    assert!(
        steering.network.root_mean_square < 0.8 * steering.mean.root_mean_square,
        "{steering:?}"
    );
    let before = read(&fs::read(export("pytorch")).unwrap());
    let after = read(&model(folder.path(), "car"));
    let names = |graph: &Graph| -> Vec<String> {
        let values = graph.values.iter();
        values.map(|value| value.name.clone()).collect()
    };
    assert_eq!(names(&before), names(&after));
    assert_eq!(before.nodes, after.nodes);
    let layers = [layers(&before), layers(&after)];
    assert_eq!(layers[0].len(), 8);
    for (before, after) in layers[0].iter().zip(&layers[1]) {
        assert_eq!(
            before == after,
            before.0.starts_with("/conv/"),
            "{}",
            before.0
        );
    }
    let (recipe, text) = Recipe::read(&folder.path().join("car.toml")).unwrap();
    let source = Source::new("car.toml", &text);
    compile_recipe(recipe, &source, folder.path(), "car").unwrap();
}

#[test]
fn a_model_of_keras_keeps_its_layout_and_the_names_of_its_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    pedals(&data, 40);
    // The second output first.
    let recipe = "[[output]]\nmeaning = \"throttle\"\nname = \"Identity_1:0\"\n\
                  [[output]]\nmeaning = \"steering\"\nname = \"Identity:0\"\nscale = -1.0\n\
                  [training]\nepochs = 1\nbatch = 8\n";
    run(&tuning(
        &data,
        &export("keras"),
        recipe,
        folder.path(),
        "car",
    ));
    let (recipe, _) = Recipe::read(&folder.path().join("car.toml")).unwrap();
    assert_eq!(recipe.input.layout, Layout::Nhwc);
    assert_eq!((recipe.input.width, recipe.input.height), (200, 66));
    let outputs: Vec<_> = recipe
        .output
        .iter()
        .map(|it| (it.name.as_deref(), it.scale))
        .collect();
    assert_eq!(
        outputs,
        [(Some("Identity_1:0"), 1.0), (Some("Identity:0"), -1.0)]
    );
    let before = read(&fs::read(export("keras")).unwrap());
    let after = read(&model(folder.path(), "car"));
    assert!(
        layers(&before)
            .iter()
            .zip(layers(&after))
            .all(|(a, b)| a.1 != b.1)
    );
}

/// A model of this program has its crop and its outputs in its metadata. An interrupted run with a
/// frozen layer ends as one that was not interrupted.
#[test]
fn a_model_of_this_program_is_trained_on_with_its_own_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    pedals(&data, 40);
    let outputs = "[[output]]\nmeaning = \"steering\"\nscale = 0.5\n\
                   [[output]]\nmeaning = \"throttle\"\n[augment]";
    let first = RECIPE
        .replace("[augment]", outputs)
        .replace("epochs = 3", "epochs = 1");
    run(&plan(&data, &first, folder.path(), "first"));
    let own = path(folder.path(), "first");
    let recipe = "[training]\nepochs = 2\nbatch = 8\nfreeze = [\"conv1\"]\n";
    run(&tuning(&data, &own, recipe, folder.path(), "whole"));
    let (first, _) = Recipe::read(&folder.path().join("first.toml")).unwrap();
    let (whole, text) = Recipe::read(&folder.path().join("whole.toml")).unwrap();
    assert_eq!(first.input, whole.input);
    assert_eq!(first.output, whole.output);
    let entries = metadata(&model(folder.path(), "whole"), &ReadOptions::default()).unwrap();
    assert_eq!(entries.into_values().collect::<Vec<_>>(), [text]);

    let parts = tuning(&data, &own, recipe, folder.path(), "parts");
    train(&parts, |_| ControlFlow::Break(())).unwrap_err();
    run(&parts);
    let layers = |name: &str| layers(&read(&model(folder.path(), name)));
    assert_eq!(layers("parts"), layers("whole"));
    assert_eq!(layers("first")[0], layers("whole")[0]);
    assert_ne!(layers("first")[1], layers("whole")[1]);
}

#[test]
fn what_cannot_be_fine_tuned_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tub");
    pedals(&data, 24);
    let refused = |model: &Path, recipe: &str| {
        let plan = tuning(&data, model, recipe, folder.path(), "car");
        let error = train(&plan, |_| ControlFlow::Continue(())).unwrap_err();
        let error = error.to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    let quantized = refused(&export("pytorch_qdq"), "");
    assert!(
        quantized.contains("these nodes is not supported"),
        "{quantized}"
    );
    assert!(
        quantized.matches("(QuantizeLinear)").count() > 3,
        "{quantized}"
    );
    assert!(refused(Path::new("none.onnx"), "").starts_with("none.onnx: cannot be read"));
    let output = "[[output]]\nmeaning = \"steering\"\nname = \"it\"\n\
                  [[output]]\nmeaning = \"throttle\"\nindex = 1\n";
    let steering = "throttle = { constant = 0.2 }\n";
    let full = "throttle = { straight = 0.2, full = 0.1 }\n[[output]]\nmeaning = \"steering\"\nindex = 0\n";
    for (recipe, expected) in [
        (RECIPE, "is 200 x 66 x 3, and [input] is 40 x 28 x 3"),
        (output, "none of them `it` with the index 0"),
        (steering, "2 numbers, and 1 are learned"),
        (full, "needs one of [1, 1]"),
        (
            "[training]\nfreeze = [\"head\"]\n",
            "begins with `head`; there is /conv/",
        ),
    ] {
        let error = refused(&export("pytorch"), recipe);
        assert!(error.contains(expected), "{error}");
    }
    let own = folder.path().join("car.onnx");
    fs::copy(export("pytorch"), &own).unwrap();
    let mut plan = tuning(&data, &own, "", folder.path(), "other");
    plan.target = pilotage_training::cloning::Target::new(&own, None, true, false).unwrap();
    let error = train(&plan, |_| ControlFlow::Continue(()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("is the model to fine-tune"), "{error}");
    plan.recipe = TrainingRecipe::parse("it", "[training]\nfreeze = [\"fc\"]").unwrap();
    let error = train(&plan, |_| ControlFlow::Continue(()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`training.freeze` is only for a user's model"),
        "{error}"
    );
}

/// The loss of one step depends on the sample's seed for a network with dropout, and only for it.
#[test]
fn linear_drops_outputs_while_it_is_trained() {
    for (name, drops) in [("small", false), ("linear", true)] {
        let text = format!("network = \"{name}\"\n[input]\nwidth = 62\nheight = 62\n");
        let recipe = TrainingRecipe::parse("it", &text).unwrap();
        let mut frames = Frames::new(&recipe.input, 2);
        for index in 0..2 {
            let time = index as f64;
            frames.push(
                &vec![90; 62 * 62 * 3],
                &[0.1, 0.2],
                Place { drive: 0, time },
            );
        }
        let split = Split {
            learned: vec![0],
            held_back: vec![1],
            method: Method::Recordings,
        };
        let records = [pilotage_dataset::Record {
            steering: Some(0.1),
            throttle: Some(0.2),
            ..Default::default()
        }];
        let outputs = recipe.outputs(records.iter()).unwrap();
        let origin = Origin::Named(recipe.architecture(2).unwrap());
        let task = Task::new(&recipe, origin, outputs, &frames, split).unwrap();
        let mut network = task.network().unwrap();
        let mut loss = |seed: u64| {
            let fill = |index: usize, example: &mut pilotage_learning::Example<'_>| {
                let pixels = example.inputs[0].iter_mut().enumerate();
                pixels.for_each(|(at, x)| *x = ((at + index) % 7) as f32 * 0.2);
                example.seed = seed;
            };
            network.gradients(1, Loss::Squared, &fill).mean
        };
        assert_eq!(loss(1), loss(1));
        assert_eq!(loss(1) != loss(2), drops, "{name}");
    }
}
