//! Compares the speed of the trainer of this crate with that of `pilotage-learning` on PilotNet: the
//! same network, batch of 128 and optimiser, in turn in one run. Prints samples for each second of
//! processor time, which other load of the machine disturbs less than the time that passes.
//!
//!     cargo run --release -p pilotage-training --example learning_speed -- [THREADS [ROUNDS]]
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measurement prints its result and ends at an error"
)]

use std::fs;

use pilotage_learning::{Learner, Loss, Network, Optimizer, Schedule, Training};
use pilotage_training::architecture::Architecture;
use pilotage_training::descent::Descent;
use pilotage_training::export::graph;
use pilotage_training::network::{Statistics, Weights};
use pilotage_vision::Layout;

const BATCH: usize = 128;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| {
        let argument = arguments.next();
        argument.map_or(default, |n| n.parse().expect("a number"))
    };
    let (threads, rounds) = (number(2), number(5));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.expect("threads");

    let shape = Architecture::of_the_simulator();
    let statistics = Statistics {
        mean: [0.4; 3],
        variance: [0.05; 3],
    };
    let weights = Weights::fresh(statistics, 1);
    let size = shape.picture();
    let pictures: Vec<f32> = (0..BATCH * size)
        .map(|at| (at * 31 % 251) as f32 / 251.0)
        .collect();

    let model = graph(&shape, &statistics, &weights.values, Layout::Nchw).expect("a graph");
    let mut network = Network::from_graph(&model).expect("a network");
    network.set_threads(threads);
    let training = Training {
        optimizer: Optimizer::ADAM,
        schedule: Schedule::constant(1e-4),
        loss: Loss::Squared,
        clip: None,
        average: None,
    };
    let mut learner = Learner::new(network, training).expect("a learner");
    let mut descent = Descent::new(&shape, weights.values, BATCH);

    let mut own = || {
        pool.install(|| {
            descent.step(BATCH, 1e-4, &|index, example| {
                example
                    .input
                    .copy_from_slice(&pictures[index * size..][..size]);
                example.wanted.fill(0.5);
            })
        });
    };
    let mut general = || {
        learner.step(BATCH, &|index, example| {
            example.inputs[0].copy_from_slice(&pictures[index * size..][..size]);
            example.targets.fill(0.5);
        });
    };
    let timed = |step: &mut dyn FnMut()| {
        let start = processor_seconds();
        step();
        step();
        2.0 * BATCH as f64 / (processor_seconds() - start).max(1e-3)
    };
    timed(&mut own);
    timed(&mut general);
    let (mut owns, mut generals, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (a, b) = (timed(&mut own), timed(&mut general));
        owns.push(a);
        generals.push(b);
        ratios.push(b / a);
        println!(
            "own {a:7.1}   learning {b:7.1} samples/CPU s   ratio {:.2}",
            b / a
        );
    }
    println!(
        "medians with {threads} threads: own {:.1}, learning {:.1} samples/CPU s, ratio {:.2}",
        median(&mut owns),
        median(&mut generals),
        median(&mut ratios)
    );
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

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
