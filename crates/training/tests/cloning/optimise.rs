//! Every optimisation strategy on one small network, from the recipe to the compiled engine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pilotage_compiler::{Network as Compiled, compile};
use pilotage_engine::Bundle;
use pilotage_graph::{ElementType, Graph, Op, ReadOptions, Tensor, TensorType};
use pilotage_learning::{Learner, Loss, Network, Optimizer, Schedule, Training};
use pilotage_training::optimise::recipe::OptimiseRecipe;
use pilotage_training::optimise::strategy::Strategy;
use pilotage_training::optimise::{OptimiseError, Optimised, Plan, optimise};

use crate::layers::Layers;
use crate::support::{frame, pedals, steering};

const FRAMES: usize = 200;

pub const RECIPE: &str = r#"
model = "lane.onnx"
precision = "int8"
domain = "physical"

[input]
width = 48
height = 40
mean = [0.5, 0.45, 0.4]
std = [0.25, 0.2, 0.25]

[[output]]
index = 0
meaning = "steering"
scale = 0.5
offset = 0.2
gate = { mse = 0.05, worst = 0.6 }

[[output]]
index = 1
meaning = "throttle"
scale = 0.1
offset = 0.4
gate = { mse = 0.05, worst = 0.6 }

[calibration]
frames = "tub"
max_frames = 64

[optimise]
epochs = 10
rate = 0.003
batch = 8
clusters = 8
block_s = 0.5

[augment]
mirror = false
light = false
shadow = false
shift = 0.0
"#;

/// Convolutions with batch normalization and a residual connection, and two fully connected layers:
/// some 6,000 parameters.
fn network() -> Graph {
    let mut b = Layers::new();
    let image = TensorType::new(ElementType::F32, [1, 3, 40, 48]);
    let x = b.builder.input("image", image).unwrap();
    let x = b.convolution("conv1", x, [8, 3, 5, 1], 2);
    let x = b.normalization("conv1", x, 8);
    let x = b.relu("conv1", x);
    let x = b.convolution("conv2", x, [12, 8, 3, 1], 2);
    let x = b.relu("conv2", x);
    let y = b.convolution("conv3", x, [12, 12, 3, 1], 1);
    let y = b.relu("conv3", y);
    let x = b.node("sum", Op::Add, &[x, y]);
    let x = b.convolution("conv4", x, [8, 12, 3, 1], 2);
    let x = b.relu("conv4", x);
    let x = b.node("flatten", Op::Flatten { axis: 1 }, &[x]);
    let x = b.dense("fc1", x, [24, 96]);
    let x = b.relu("fc1", x);
    let x = b.dense("fc2", x, [2, 24]);
    b.builder.output("controls", x).unwrap();
    b.builder.finish().unwrap()
}

/// The network's input for a frame.
fn normalised(frame: &[u8], input: &mut [f32]) {
    let plane = input.len() / 3;
    for (place, value) in input.iter_mut().enumerate() {
        let (channel, pixel) = (place / plane, place % plane);
        let byte = f32::from(frame[pixel * 3 + channel]);
        *value = (byte / 255.0 - [0.5, 0.45, 0.4][channel]) / [0.25, 0.2, 0.25][channel];
    }
}

/// The trained network.
fn trained() -> Graph {
    let training = Training {
        optimizer: Optimizer::ADAM,
        schedule: Schedule::constant(3e-3),
        loss: Loss::Squared,
        clip: None,
        average: None,
    };
    let frames: Vec<Vec<u8>> = (0..FRAMES).map(frame).collect();
    let mut learner = Learner::new(Network::from_graph(&network()).unwrap(), training).unwrap();
    for step in 0..150 {
        learner.step(16, &|index, example| {
            let index = (step * 16 + index) * 7 % FRAMES;
            normalised(&frames[index], example.inputs[0]);
            let steering = steering(index).clamp(-1.0, 1.0) as f32;
            let throttle = 0.5 - 0.2 * steering.abs();
            example.targets[0] = (steering - 0.2) / 0.5;
            example.targets[1] = (throttle - 0.4) / 0.1;
        });
    }
    learner.finish().to_graph().unwrap()
}

/// A folder with the trained model, a recording and the recipe.
pub fn project(folder: &Path) -> Plan {
    pedals(&folder.join("tub"), FRAMES);
    fs::write(folder.join("lane.onnx"), trained().write()).unwrap();
    fs::write(folder.join("lane.toml"), RECIPE).unwrap();
    Plan {
        recipe: folder.join("lane.toml"),
        data: vec![folder.join("tub")],
        model: None,
        strategies: Vec::new(),
        out: None,
        force: false,
    }
}

/// The integers of each layer's weights in an engine.
fn integers(bundle: &Bundle) -> Vec<Vec<i8>> {
    let graph = Graph::read(&bundle.sections["model.qdq.onnx"], &ReadOptions::default()).unwrap();
    let weights = graph.values.iter().filter(|value| value.shape.len() > 1);
    let weights = weights.filter_map(|value| value.constant.as_ref()?.as_i8());
    weights.map(<[i8]>::to_vec).collect()
}

fn zeros<T: PartialEq + Default>(layers: &[Vec<T>]) -> f64 {
    let all: usize = layers.iter().map(Vec::len).sum();
    let zeros = layers.iter().flatten().filter(|&x| *x == T::default());
    zeros.count() as f64 / all as f64
}

/// The weights of the layers whose name begins with `name`.
fn weights(onnx: &Path, name: &str) -> Vec<Vec<f32>> {
    let graph = Graph::read(&fs::read(onnx).unwrap(), &ReadOptions::default()).unwrap();
    let named = graph.values.iter().filter(|value| value.shape.len() > 1);
    let named = named.filter(|value| value.name.starts_with(name));
    let weights = named.filter_map(|value| value.constant.as_ref()?.as_f32());
    weights.map(<[f32]>::to_vec).collect()
}

/// The most different integers of a layer.
fn levels(layers: &[Vec<i8>]) -> usize {
    let count = |layer: &Vec<i8>| layer.iter().collect::<BTreeSet<_>>().len();
    layers.iter().map(count).max().unwrap()
}

/// Whether of each four neighbours along the inputs, which are axis 1 of `shape`, at least two are 0.
fn is_two_of_four(weights: &[i8], shape: &[usize]) -> bool {
    let taps: usize = shape[2..].iter().product();
    let units = weights.chunks(shape[1] * taps);
    let zeros = |group: &[i8], tap: usize| (0..4).filter(|i| group[i * taps + tap] == 0).count();
    let mut groups = units.flat_map(|unit| unit.chunks_exact(4 * taps));
    groups.all(|group| (0..taps).all(|tap| zeros(group, tap) >= 2))
}

/// The layers of which two of each four weights are 0 are those with enough inputs and weights.
fn assert_two_of_four(bundle: &Bundle) {
    let graph = Graph::read(&bundle.sections["model.qdq.onnx"], &ReadOptions::default()).unwrap();
    let mut found = [0, 0];
    for value in graph.values.iter().filter(|value| value.shape.len() > 1) {
        let Some(weights) = value.constant.as_ref().and_then(Tensor::as_i8) else {
            continue;
        };
        let large = value.shape[1] >= 4 && weights.len() >= 512;
        found[usize::from(large)] += 1;
        match large {
            true => assert!(is_two_of_four(weights, &value.shape), "{}", value.name),
            false => assert!(zeros(&[weights.to_vec()]) < 0.3, "{}", value.name),
        }
    }
    // The first convolution has three inputs, and the last layer 48 weights.
    assert_eq!(found, [2, 4]);
}

/// The engine computes the bits that training computed.
fn assert_same_answers(result: &Optimised, bundle: &Bundle) {
    let engine = Compiled::of_plan(bundle.plan.clone(), false);
    let frames: Vec<&[u8]> = result.examples.iter().map(|e| &e.picture[..]).collect();
    assert!(frames.len() >= 20, "{}", frames.len());
    let bits = |answer: &[f32]| answer.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for (answer, example) in engine
        .answers(&frames)
        .unwrap()
        .iter()
        .zip(&result.examples)
    {
        assert_eq!(bits(answer), bits(&example.answer), "{:?}", result.strategy);
    }
}

#[test]
fn every_strategy_buys_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = project(folder.path());
    use clap::ValueEnum;
    plan.strategies = Strategy::value_variants().to_vec();
    let results = optimise(&plan, |_| ()).unwrap();
    assert_eq!(results.len(), 21);
    let source = fs::metadata(folder.path().join("lane.onnx")).unwrap().len();
    let mut worst: f64 = 0.0;
    for result in &results {
        let strategy = result.strategy;
        let made = compile(&result.toml).unwrap_or_else(|e| panic!("{strategy:?}: {e}"));
        assert_eq!(made.manifest.precision, strategy.precision().name());
        let bundle = Bundle::read(&made.bytes).unwrap();
        if let Some((before, after)) = result.errors {
            assert!(before < 0.1, "{before}");
            println!("{strategy:?}: {after}, trained model {before}");
            worst = worst.max(after);
        }
        assert_eq!(result.onnx.is_some(), strategy.trains());
        let onnx = result.onnx.as_deref().unwrap_or(folder.path());
        if strategy.is_quantized() {
            assert_same_answers(result, &bundle);
        }
        match strategy {
            Strategy::Int4 => {
                let recipe = fs::read_to_string(&result.toml).unwrap();
                assert!(recipe.contains("int4_group = 64"), "{recipe}");
            }
            Strategy::Prune => {
                let zeros = zeros(&weights(onnx, ""));
                assert!((0.78..0.82).contains(&zeros), "{zeros}");
            }
            Strategy::PruneInt8 | Strategy::PruneQat | Strategy::Pqat => {
                let zeros = zeros(&integers(&bundle));
                assert!((0.78..0.87).contains(&zeros), "{strategy:?}: {zeros}");
            }
            Strategy::PruneTwoOfFour => {
                assert_two_of_four(&bundle);
                assert!(bundle.manifest.tensorrt().unwrap().sparse_weights);
                let recipe = fs::read_to_string(&result.toml).unwrap();
                assert!(
                    recipe.contains("[tensorrt]\nsparse_weights = true"),
                    "{recipe}"
                );
            }
            Strategy::PruneLocal => {
                let share = |name| zeros(&weights(onnx, name));
                assert!((0.29..0.31).contains(&share("conv")), "{}", share("conv"));
                assert!((0.49..0.51).contains(&share("fc1")), "{}", share("fc1"));
                // Small layers keep all weights.
                assert_eq!(share("fc2"), 0.0);
            }
            Strategy::PruneGlobal => {
                let zeros = zeros(&weights(onnx, ""));
                assert!((0.29..0.31).contains(&zeros), "{zeros}");
            }
            Strategy::Cqat => {
                let found = levels(&integers(&bundle));
                assert!((4..=8).contains(&found), "{found}");
            }
            Strategy::Pcqat => {
                let integers = integers(&bundle);
                let (zeros, found) = (zeros(&integers), levels(&integers));
                assert!((0.78..0.87).contains(&zeros), "{zeros}");
                assert!((3..=8).contains(&found), "{found}");
            }
            Strategy::Structured | Strategy::StructuredQat | Strategy::StructuredCqat => {
                let share = result.multiply_adds.unwrap();
                assert!((0.3..=0.5).contains(&share), "{share}");
                assert!(fs::metadata(onnx).unwrap().len() < source * 3 / 4);
                if strategy.clusters() {
                    let found = levels(&integers(&bundle));
                    assert!((3..=8).contains(&found), "{found}");
                }
            }
            _ => {}
        }
    }
    assert!(worst < 0.3, "{worst}");
}

/// A strategy gives the same bytes alone as after others: it starts from the trained model.
#[test]
fn no_strategy_depends_on_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = project(folder.path());
    plan.strategies = vec![Strategy::PruneGlobal, Strategy::Qat];
    let both = optimise(&plan, |_| ()).unwrap();
    let onnx = both[1].onnx.clone().unwrap();
    let after_another = fs::read(&onnx).unwrap();
    plan.strategies = vec![Strategy::Qat];
    let error = optimise(&plan, |_| ()).unwrap_err();
    assert!(matches!(error, OptimiseError::Target(_)), "{error}");
    plan.force = true;
    optimise(&plan, |_| ()).unwrap();
    assert!(fs::read(&onnx).unwrap() == after_another);
    // Nothing replaces the trained model.
    plan.out = Some(folder.path().join("lane.onnx"));
    let error = optimise(&plan, |_| ()).unwrap_err();
    assert!(error.to_string().contains("lane"), "{error}");
}

/// The time of the small network is measured, and a limit that it keeps removes hardly anything.
#[test]
fn a_time_of_inference_can_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = project(folder.path());
    let text = RECIPE.replace("epochs = 10", "epochs = 1\nmicroseconds = 900000");
    fs::write(folder.path().join("lane.toml"), text).unwrap();
    plan.strategies = vec![Strategy::Structured];
    let made = optimise(&plan, |_| ()).unwrap();
    assert!(
        made[0].multiply_adds.unwrap() > 0.9,
        "{:?}",
        made[0].multiply_adds
    );
}

#[test]
fn errors_name_the_line_and_the_key() {
    let message = |from: &str, to: &str| {
        let text = RECIPE.replace(from, to);
        assert_ne!(text, RECIPE);
        OptimiseRecipe::parse("lane.toml", &text)
            .unwrap_err()
            .to_string()
    };
    let line = 1 + RECIPE
        .lines()
        .position(|line| line == "epochs = 10")
        .unwrap();
    let found = message("epochs = 10", "epoch = 3");
    assert!(found.starts_with(&format!("lane.toml:{line}: ")), "{found}");
    assert!(found.contains("did you mean `epochs`"), "{found}");
    let found = message("epochs = 10", "strategy = \"prune-locale\"");
    assert!(found.contains("prune-local"), "{found}");
    for (to, key) in [
        ("epochs = 0", "optimise.epochs"),
        ("from = 0.9", "optimise.from"),
        ("share = 1.0", "optimise.share"),
        ("clusters = 1\n#", "optimise.clusters"),
        ("teacher = -0.1", "optimise.teacher"),
        ("microseconds = 0.5", "optimise.microseconds"),
        ("microseconds = 40\nshare = 0.5", "optimise.microseconds"),
    ] {
        let from = if to.starts_with("clusters") {
            "clusters = 8"
        } else {
            "epochs = 10"
        };
        let found = message(from, to);
        assert!(found.contains(key), "{found}");
    }
}
