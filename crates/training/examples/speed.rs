//! Prints how many samples a second the trainer works through.

use std::time::Instant;

use pilotage_training::dataset::Sample;
use pilotage_training::network::{Statistics, Weights};
use pilotage_training::trainer::{Learn, Trainer};

fn main() {
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
    let mut trainer = Trainer::new(Weights::fresh(statistics, 1), batch);
    for _ in 0..5 {
        let start = Instant::now();
        let error = trainer.step(&samples, 1e-3, &|_, input| {
            input.fill(0.3);
            [0.3, 0.5]
        });
        let rate = batch as f64 / start.elapsed().as_secs_f64();
        println!("{rate:.0} samples/s, error {error:.5}");
    }
}
