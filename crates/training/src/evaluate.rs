//! Evaluates how well a policy drives.

use std::time::Duration;

use pilotage_simulator::{Appearance, CameraSpec, CarKind, Circuit, Limits, Outcome, Random};
use pilotage_vision::VisionError;

use crate::policy::Policy;
use crate::rollout::{Conditions, Drive};

/// The number of cars that drive at the same time.
const LANES: usize = 32;

/// The result of one drive.
#[derive(Debug, Clone, PartialEq)]
pub struct Drove {
    /// The circuit.
    pub circuit: String,
    /// Whether every lap was finished.
    pub done: bool,
    /// The number of driven laps, with its fraction.
    pub laps: f64,
    /// Mean speed, m/s.
    pub speed: f64,
    /// Distance from the line in metres: mean, 95th percentile, largest.
    pub deviation: [f64; 3],
}

/// Drives `laps` laps under each of `conditions`.
///
/// # Errors
/// When resizing fails, which it does not with the cameras made here.
pub fn drive(
    policy: &mut Policy,
    conditions: &[Conditions],
    laps: u32,
) -> Result<Vec<Drove>, VisionError> {
    let mut waiting = conditions.iter().enumerate();
    let mut running: Vec<(usize, Drive)> = Vec::new();
    let mut results: Vec<Option<Drove>> = vec![None; conditions.len()];
    loop {
        while running.len() < LANES {
            let Some((index, conditions)) = waiting.next() else {
                break;
            };
            let mut drive = Drive::new(conditions, policy.pictures())?;
            let seconds = 20.0 + f64::from(laps) * conditions.circuit.length() / 3.0;
            drive.world = drive.world.with_limits(Limits { laps, seconds });
            running.push((index, drive));
        }
        if running.is_empty() {
            return Ok(results.into_iter().flatten().collect());
        }
        let (indices, mut drives): (Vec<_>, Vec<_>) = running.into_iter().unzip();
        let answers = policy.answers(&mut drives)?;
        for (drive, answer) in drives.iter_mut().zip(answers) {
            if let Some((speed, yaw_rate)) = answer {
                drive.answer(speed, yaw_rate);
            }
            drive.advance();
        }
        running = Vec::new();
        for (index, drive) in indices.into_iter().zip(drives) {
            match drive.world.outcome() {
                Some(outcome) => results[index] = Some(drove(&drive, outcome)),
                None => running.push((index, drive)),
            }
        }
    }
}

fn drove(drive: &Drive, outcome: Outcome) -> Drove {
    let world = &drive.world;
    let metrics = world.metrics(None, None);
    Drove {
        circuit: world.circuit().name().to_owned(),
        done: matches!(outcome, Outcome::LapDone { .. }),
        laps: world.lap_fraction(),
        speed: metrics.average_speed,
        deviation: [
            metrics.deviation_mean,
            metrics.deviation_p95,
            metrics.deviation_max,
        ],
    }
}

/// The standard conditions: from rest at the start, with default looks and camera and without
/// latency.
pub fn plain(circuit: Circuit, seed: u64) -> Conditions {
    let start = [circuit.start_s(), 0.0, 0.0];
    Conditions {
        circuit,
        looks: Appearance::default(),
        camera: CameraSpec::default(),
        car: CarKind::Unicycle,
        latency: Duration::ZERO,
        dropped: 0.0,
        start,
        speed: 0.0,
        seed,
    }
}

/// The first seed of random circuits, looks and disturbances that are only used for evaluation.
const UNSEEN: u64 = Circuit::UNSEEN;

/// A set of drives that test one condition.
pub struct Suite {
    /// The condition.
    pub name: String,
    /// Laps of each drive.
    pub laps: u32,
    /// The drives.
    pub conditions: Vec<Conditions>,
}

/// The suites for a shipped model: all shipped circuits; `random` circuits that are not used for
/// training; and, for each difficult condition, the shipped circuits and the first `hard` of the
/// random ones.
pub fn suites(random: u64, hard: u64) -> Vec<Suite> {
    let shipped: Vec<Conditions> = Circuit::shipped_names()
        .iter()
        .filter_map(|name| Circuit::shipped(name))
        .map(|circuit| plain(circuit, 1))
        .collect();
    let drawn: Vec<Conditions> = (0..random)
        .map(|index| plain(Circuit::random(UNSEEN + index), index))
        .collect();
    let hard = drawn.iter().take(hard as usize);
    let both: Vec<Conditions> = shipped.iter().chain(hard).cloned().collect();
    let mut suites = Vec::new();
    let mut add = |name: &str, laps, from: &[Conditions], change: &dyn Fn(u64, &mut Conditions)| {
        let mut conditions = from.to_vec();
        for (index, conditions) in conditions.iter_mut().enumerate() {
            change(index as u64, conditions);
        }
        suites.push(Suite {
            name: name.to_owned(),
            laps,
            conditions,
        });
    };
    add("shipped", 1, &shipped, &|_, _| {});
    add("random", 1, &drawn, &|_, _| {});
    add("ackermann", 1, &both, &|_, c| c.car = CarKind::Ackermann);
    for millis in [50, 100] {
        add(&format!("latency {millis} ms"), 1, &both, &|_, c| {
            c.latency = Duration::from_millis(millis);
        });
    }
    add("ackermann, latency 100 ms", 1, &both, &|_, c| {
        c.car = CarKind::Ackermann;
        c.latency = Duration::from_millis(100);
    });
    add("20 % of frames lost", 1, &both, &|_, c| c.dropped = 0.2);
    add(
        "ackermann, 50 ms, 20 % of frames lost",
        1,
        &both,
        &|_, c| {
            c.car = CarKind::Ackermann;
            c.latency = Duration::from_millis(50);
            c.dropped = 0.2;
        },
    );
    add("looks never seen", 1, &both, &|index, c| {
        c.looks = Appearance::random(UNSEEN + index);
    });
    add("camera off by 2 cm and 3 degrees", 1, &both, &|index, c| {
        let mut random = Random::stream(UNSEEN, index);
        let mut sign = |size: f64| if random.chance(0.5) { size } else { -size };
        let angle = 3.0_f64.to_radians();
        match index % 6 {
            0 => c.camera.left += sign(0.02),
            1 => c.camera.up += sign(0.02),
            2 => c.camera.forward += sign(0.02),
            3 => c.camera.pitch += sign(angle),
            4 => c.camera.roll += sign(angle),
            _ => c.camera.yaw += sign(angle),
        }
    });
    add("starts off the line, 3 laps", 3, &both, &|index, c| {
        let mut random = Random::stream(UNSEEN + 1, index);
        c.start[1] = random.range(-0.8, 0.8);
        c.start[2] = random.range(-0.4, 0.4);
    });
    add(
        "road 2.4 m and 4.4 m, line 6 cm and 16 cm",
        1,
        &both,
        &|index, c| {
            let road = if index % 2 == 0 { 2.4 } else { 4.4 };
            let line = if index % 4 < 2 { 0.06 } else { 0.16 };
            c.circuit = c
                .circuit
                .clone()
                .with_road_width(road)
                .with_line_width(line);
        },
    );
    suites
}
