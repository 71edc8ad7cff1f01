//! Trains a network that answers with way-points, in the simulator: eight points of the painted line ahead
//! of the car. Writes the model and its recipes, compiles them to fp32 and INT8, and lets both drive circuits
//! that the training has not seen, by pure pursuit.
//!
//!     cargo run --release -p pilotage-training --example waypoints -- FOLDER [FRAMES [PASSES]]
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measurement prints its result and ends at an error"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_compiler::{FEW, compile};
use pilotage_engine::{Buffer, Bundle, CpuEngine, CpuOptions, Engine, fill_inputs};
use pilotage_learning::{Learner, Network, Training};
use pilotage_simulator::{Appearance, CameraSpec, CarKind, Circuit, Outcome, Pose, Random};
use pilotage_training::architecture::{Architecture, NetworkKind};
use pilotage_training::network::{HEIGHT, PICTURE, Statistics, WIDTH};
use pilotage_training::observation::{plain, write_planes};
use pilotage_training::rollout::{Conditions, Drive};
use pilotage_vision::{Layout, Preprocess};
use serde::Deserialize;

/// The points, and the metres of line from one to the next.
const POINTS: usize = 8;
const SPACING: f64 = 0.4;
const BATCH: usize = 64;
/// The first of the circuits that are driven; the training uses those from 0 on.
const UNSEEN: u64 = 1_000;
const CIRCUITS: u64 = 5;

/// A picture and its way-points: x and y of each.
type Example = (Vec<u8>, [f32; 2 * POINTS]);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let mut number = |default: usize| {
        arguments
            .next()
            .map_or(default, |n| n.parse().expect("a number"))
    };
    let (frames, passes) = (number(5_000), number(12));
    fs::create_dir_all(folder.join("frames")).expect("a folder that can be written");
    let examples: Vec<Example> = (0..frames as u64).map(example).collect();
    for (index, (picture, _)) in examples
        .iter()
        .step_by((frames / (3 * FEW)).max(1))
        .enumerate()
    {
        let file = folder.join(format!("frames/{index:04}.png"));
        let (width, height) = (WIDTH as u32, HEIGHT as u32);
        image::save_buffer(file, picture, width, height, image::ColorType::Rgb8).expect("a file");
    }
    let model = train(&examples, passes);
    fs::write(folder.join("waypoints.onnx"), model).expect("a file");
    for precision in ["fp32", "int8"] {
        let recipe = folder.join(format!("waypoints-{precision}.toml"));
        fs::write(&recipe, text(precision)).expect("a file");
        drive(&recipe);
    }
}

fn text(precision: &str) -> String {
    format!(
        "model = \"waypoints.onnx\"\nprecision = \"{precision}\"\ndomain = \"simulated\"\n\n\
         [input]\ncrop = {{ x = 0, y = 240, width = 640, height = 240 }}\n\
         width = {WIDTH}\nheight = {HEIGHT}\n\n\
         [decoder]\nkind = \"waypoints\"\npoints = {POINTS}\nlook_ahead = 1.2\nspeed = 3.0\n\n\
         [calibration]\nframes = \"frames\"\n"
    )
}

fn conditions(circuit: Circuit, start: [f64; 3], seed: u64) -> Conditions {
    Conditions {
        circuit,
        looks: Appearance {
            seed,
            ..Appearance::default()
        },
        camera: CameraSpec::default(),
        car: CarKind::Ackermann,
        latency: Duration::from_millis(10),
        dropped: 0.0,
        start,
        speed: 0.0,
        seed,
    }
}

/// A car somewhere beside the line of a circuit.
fn example(seed: u64) -> Example {
    let mut random = Random::stream(seed, 77);
    let circuit = Circuit::random(random.below(200) as u64);
    let s = random.range(0.0, circuit.length());
    let start = [s, random.range(-0.6, 0.6), random.range(-0.4, 0.4)];
    let mut drive = Drive::new(&conditions(circuit, start, seed), 1).expect("a camera that fits");
    drive.look().expect("a picture");
    let circuit = drive.world.circuit();
    let pose = drive.world.pose();
    let mut points = [0.0; 2 * POINTS];
    for (index, point) in points.chunks_exact_mut(2).enumerate() {
        let ahead = circuit.point(s + SPACING * (index + 1) as f64);
        point.copy_from_slice(&seen_from(pose, ahead));
    }
    (drive.picture().to_vec(), points)
}

/// A point in the axes of a car: metres ahead and to the left.
fn seen_from(pose: Pose, [x, y]: [f64; 2]) -> [f32; 2] {
    let (sin, cos) = libm::sincos(pose.heading);
    let (x, y) = (x - pose.x, y - pose.y);
    [(x * cos + y * sin) as f32, (y * cos - x * sin) as f32]
}

/// The trained network, as ONNX.
fn train(examples: &[Example], passes: usize) -> Vec<u8> {
    let pictures: Vec<u8> = examples
        .iter()
        .take(500)
        .flat_map(|it| it.0.clone())
        .collect();
    debug_assert_eq!(pictures.len() % PICTURE, 0);
    let statistics = Statistics::measure(&pictures);
    let mean = |at: usize| examples.iter().map(|it| it.1[at]).sum::<f32>() / examples.len() as f32;
    let means: Vec<f32> = (0..2 * POINTS).map(mean).collect();
    let shape = Architecture::new(NetworkKind::Small, [HEIGHT, WIDTH, 3], 2 * POINTS);
    let graph = shape
        .expect("an architecture")
        .graph(&statistics, &means, Layout::Nchw, 1);
    let mut network = Network::from_graph(&graph.expect("a graph")).expect("a network");
    network.set_threads(2);
    let steps = examples.len() / BATCH;
    let training = Training::adam(1e-3, (passes * steps) as u64, 1e-2);
    let mut learner = Learner::new(network, training).expect("a learner");
    let (mut random, values) = (Random::stream(1, 78), plain());
    let mut order: Vec<usize> = (0..examples.len()).collect();
    for pass in 0..passes {
        random.shuffle(&mut order);
        let mut sum = 0.0;
        for batch in order.chunks_exact(BATCH) {
            let losses = learner.step(BATCH, &|index, example| {
                let (picture, points) = &examples[batch[index]];
                write_planes(picture, &values, false, example.inputs[0]);
                example.targets.copy_from_slice(points);
                example.seed = index as u64;
            });
            sum += losses.mean / steps as f64;
        }
        println!("pass {pass}: mean squared error {sum:.5} m2");
    }
    learner.finish().to_graph().expect("a graph").write()
}

/// Compiles a recipe and drives a lap of each unseen circuit.
fn drive(recipe: &Path) {
    let compiled = compile(recipe).expect("an engine");
    for result in &compiled.manifest.gate {
        println!("{result:?}");
    }
    let bundle = Bundle::read(&compiled.bytes).expect("an engine");
    let preprocess = Preprocess::deserialize(&bundle.manifest.preprocessing).expect("an input");
    let mut engine = CpuEngine::new(&bundle.plan, CpuOptions::default()).expect("an engine");
    let outputs = engine.outputs().to_vec();
    let outputs: Vec<(&str, usize)> = outputs
        .iter()
        .map(|it| (it.name.as_str(), it.len()))
        .collect();
    let decoder = bundle.manifest.decoder.as_ref().expect("a decoder");
    let path = decoder.bind(&outputs).expect("the path");
    let mut inputs: Vec<Buffer> = engine.inputs().iter().map(Buffer::zeros).collect();
    let mut answer = vec![0.0; outputs.iter().map(|it| it.1).sum()];
    for circuit in UNSEEN..UNSEEN + CIRCUITS {
        let conditions = conditions(Circuit::random(circuit), [0.0; 3], circuit);
        let mut drive = Drive::new(&conditions, 1).expect("a camera that fits");
        let (mut frames, mut off) = (0_u32, 0.0);
        while drive.world.outcome().is_none() {
            drive.look().expect("a picture");
            let form = preprocess.picture_form();
            fill_inputs(drive.picture(), form, 0, &mut inputs).expect("an input that fits");
            let tensors: Vec<_> = inputs.iter().map(Buffer::as_ref).collect();
            let view = pilotage_engine::TensorMut::F32(&mut answer);
            engine.infer(&tensors, &mut [view]).expect("an answer");
            match path.command(&answer) {
                Ok(command) => {
                    let yaw_rate = command.speed * command.curvature;
                    drive.answer(command.speed as f32, yaw_rate as f32);
                }
                Err(reason) => {
                    println!("circuit {circuit}: {reason}");
                    break;
                }
            }
            drive.advance();
            frames += 1;
            off += drive.world.offset().abs();
        }
        let end = match drive.world.outcome() {
            Some(Outcome::LapDone { seconds }) => format!("a lap in {seconds:.1} s"),
            end => format!("{end:?}"),
        };
        let mean = off / f64::from(frames.max(1));
        let widest = drive.world.widest();
        println!(
            "{} circuit {circuit}: {end}, {mean:.3} m from the line, {widest:.3} at most",
            bundle.manifest.precision
        );
    }
}
