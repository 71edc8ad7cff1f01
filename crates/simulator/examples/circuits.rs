//! Prints length, smallest radius and bends of the shipped circuits, and of random circuits:
//! `circuits [COUNT]`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints its results"
)]

use std::time::Instant;

use pilotage_simulator::Circuit;

fn describe(circuit: &Circuit) {
    let step = 0.1;
    let curvatures: Vec<f64> = (0..(circuit.length() / step) as u32)
        .map(|i| circuit.curvature(f64::from(i) * step))
        .collect();
    let share = |test: fn(f64) -> bool| {
        let count = curvatures.iter().filter(|&&k| test(k)).count();
        100.0 * count as f64 / curvatures.len() as f64
    };
    println!(
        "{:<12} {:7.1} m  smallest radius {:5.2} m  road {:.2} m  straight {:3.0} %  under 4 m {:3.0} %  left {:3.0} %  right {:3.0} %",
        circuit.name(),
        circuit.length(),
        circuit.smallest_radius(),
        circuit.road_width(),
        share(|k| k.abs() < 0.01),
        share(|k| k.abs() > 0.25),
        share(|k| k > 0.01),
        share(|k| k < -0.01),
    );
}

fn main() {
    let count = std::env::args().nth(1).and_then(|n| n.parse().ok());
    for circuit in Circuit::shipped_names()
        .iter()
        .filter_map(|n| Circuit::shipped(n))
    {
        describe(&circuit);
    }
    let start = Instant::now();
    let count = count.unwrap_or(20_u32);
    for seed in 0..count {
        describe(&Circuit::random(u64::from(seed)));
    }
    let each = start.elapsed().as_secs_f64() * 1e3 / f64::from(count.max(1));
    println!("{each:.1} ms for each random circuit");
}
