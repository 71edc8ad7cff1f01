//! Measures the training of each named network: batches of 128, Adam. Prints samples for each second
//! of processor time, which other load of the machine disturbs less than the time that passes. The
//! networks are measured in turn.
//!
//!     cargo run --release -p pilotage-training --example learning_speed -- [THREADS [ROUNDS]]
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measurement prints its result and ends at an error"
)]

use std::fs;

use pilotage_learning::{Learner, Loss, Network, Optimizer, Schedule, Training};
use pilotage_training::architecture::{Architecture, NetworkKind};
use pilotage_training::network::Statistics;
use pilotage_vision::Layout;

const BATCH: usize = 128;
const KINDS: [NetworkKind; 4] = [
    NetworkKind::Small,
    NetworkKind::Pilotnet,
    NetworkKind::Large,
    NetworkKind::Linear,
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| {
        let argument = arguments.next();
        argument.map_or(default, |n| n.parse().expect("a number"))
    };
    let (threads, rounds) = (number(1), number(5));
    let mut learners = KINDS.map(|kind| learner(kind, threads));
    let mut speeds = KINDS.map(|_| Vec::new());
    for round in 0..=rounds {
        for (learner, speeds) in learners.iter_mut().zip(&mut speeds) {
            let speed = measured(learner);
            // The first round allocates the buffers.
            if round > 0 {
                speeds.push(speed);
            }
        }
    }
    println!("medians with {threads} threads, input 200 x 66 x 3, batch {BATCH}, Adam:");
    for (kind, speeds) in KINDS.iter().zip(&mut speeds) {
        speeds.sort_by(f64::total_cmp);
        let median = speeds[speeds.len() / 2];
        let (least, most) = (speeds[0], speeds[speeds.len() - 1]);
        let name = kind.name();
        println!("{name:9} {median:7.1} samples/CPU s ({least:.1} to {most:.1})");
    }
}

fn learner(kind: NetworkKind, threads: usize) -> Learner {
    let statistics = Statistics {
        mean: [0.4; 3],
        variance: [0.05; 3],
    };
    let shape = Architecture::new(kind, [66, 200, 3], 2).expect("an architecture");
    let graph = shape.graph(&statistics, &[0.5; 2], Layout::Nchw, 1);
    let mut network = Network::from_graph(&graph.expect("a graph")).expect("a network");
    for (node, share) in shape.dropouts() {
        network.set_dropout(&node, share).expect("a node");
    }
    network.set_threads(threads);
    let training = Training {
        optimizer: Optimizer::ADAM,
        schedule: Schedule::constant(1e-4),
        loss: Loss::Squared,
        clip: None,
        average: None,
    };
    Learner::new(network, training).expect("a learner")
}

/// Samples for each second of processor time.
fn measured(learner: &mut Learner) -> f64 {
    let start = processor_seconds();
    for _ in 0..2 {
        learner.step(BATCH, &|index, example| {
            for (at, x) in example.inputs[0].iter_mut().enumerate() {
                *x = ((at + index) & 255) as f32 / 256.0;
            }
            example.targets.fill(0.5);
            example.seed = index as u64;
        });
    }
    2.0 * BATCH as f64 / (processor_seconds() - start).max(1e-3)
}

/// User and system time of this process: fields 14 and 15 of Linux's /proc/self/stat (proc(5)), in
/// hundredths of a second.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / 100.0
}
