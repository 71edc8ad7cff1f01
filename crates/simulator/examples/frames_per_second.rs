//! Prints how many frames per second the renderer draws on one core, for all shipped circuits or
//! for the given ones. On Linux it measures CPU time instead of wall-clock time, so that other work
//! on the machine has little influence.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints its results"
)]

use std::time::Instant;

use pilotage_simulator::{Appearance, CameraSpec, Circuit, Renderer};

/// The CPU time of this thread in nanoseconds.
fn processor_nanos() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

struct Stopwatch {
    wall: Instant,
    processor: Option<u64>,
}

impl Stopwatch {
    fn start() -> Self {
        Self {
            wall: Instant::now(),
            processor: processor_nanos(),
        }
    }

    fn seconds(&self) -> f64 {
        match (self.processor, processor_nanos()) {
            (Some(before), Some(now)) if now > before => (now - before) as f64 * 1e-9,
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

fn main() {
    let camera = CameraSpec::default();
    let mut frame = vec![0_u8; camera.frame_bytes()];
    let named: Vec<String> = std::env::args().skip(1).collect();
    for name in Circuit::shipped_names() {
        if !named.is_empty() && !named.iter().any(|n| n == name) {
            continue;
        }
        let Some(circuit) = Circuit::shipped(name) else {
            continue;
        };
        for (looks_name, looks) in [
            ("default", Appearance::default()),
            (
                "random",
                Appearance {
                    shadows: 0.4,
                    ..Appearance::random(5)
                },
            ),
        ] {
            let mut renderer = Renderer::new(&circuit, &looks, &camera);
            for (rows_name, rows) in [("480 rows", 0..480), ("240 rows", 240..480)] {
                let frames = 100;
                let start = Stopwatch::start();
                for i in 0..frames {
                    let s = circuit.length() * f64::from(i) / f64::from(frames);
                    let pose = circuit.pose(s, 0.1, 0.05);
                    renderer.render_rows(rows.clone(), pose, u64::from(i as u32), &mut frame);
                }
                let rate = f64::from(frames) / start.seconds();
                println!("{name:<12} {looks_name:<8} {rows_name}: {rate:6.0} frames a second");
            }
        }
    }
}
