//! Prints how many samples per second each backend of this build processes.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints its results"
)]

use std::time::Instant;

use clap::ValueEnum;
use pilotage_training::backend::Backend;
use pilotage_training::dataset::Sample;
use pilotage_training::network::{Statistics, Weights};
use pilotage_training::trainer::LearnError;

fn main() -> Result<(), LearnError> {
    let statistics = Statistics {
        mean: [0.5; 3],
        variance: [0.1; 3],
    };
    let batch = 128;
    let samples = vec![
        Sample {
            index: 0,
            mirrored: false
        };
        batch
    ];
    for backend in Backend::value_variants() {
        let mut learner = match backend.learner(Weights::fresh(statistics, 1), batch) {
            Ok(learner) => learner,
            Err(reason) => {
                println!("{backend:?}: {reason}");
                continue;
            }
        };
        for _ in 0..5 {
            let start = Instant::now();
            let error = learner.step(&samples, 1e-3, &|_, input| {
                input.fill(0.3);
                [0.3, 0.5]
            })?;
            let rate = batch as f64 / start.elapsed().as_secs_f64();
            println!("{backend:?}: {rate:.0} samples/s, error {error:.5}");
        }
    }
    Ok(())
}
