use std::time::Duration;

use pilotage_simulator::TyreUse;
use pilotage_vehicle::{Command, Controls, Measurements, Time};
use proptest::prelude::*;

use super::timing::MOST;
use super::*;
use crate::pilot::Step;
use crate::recorder::RecordingCounts;

fn step(thinking: Duration, missed: u64) -> Step {
    Step {
        controls: Controls::Direct {
            steering: 0.0,
            throttle: 0.0,
        },
        command: Command {
            steering: 0.0,
            throttle: 0.0,
            captured: Time::ZERO,
            sequence: 1,
        },
        arrived: Time::ZERO,
        vision: thinking / 4,
        inference: thinking / 2,
        device: None,
        fallback: false,
        thinking,
        missed,
        measured: Measurements::default(),
        high_level: None,
        reaction: None,
    }
}

fn report() -> DriveReport {
    let mut timing = LoopTiming::new();
    for i in 1..=100 {
        timing.record(&step(Duration::from_micros(10 * i), i % 2));
    }
    DriveReport {
        completed: Some(true),
        outcome: "done in 36.42 s".to_owned(),
        circuit: Some(CircuitPart {
            circuit: "simple".to_owned(),
            circuit_length: 430.5,
            deviation_reference: "centre line".to_owned(),
        }),
        car: "unicycle".to_owned(),
        camera: None,
        hand: None,
        actuator: None,
        engine: Some(EnginePart {
            engine: "pilotnet".to_owned(),
            backend: "CPU, AVX2+FMA, 1 thread".to_owned(),
        }),
        metrics: Some(Metrics {
            laps: 1,
            lap_time: Some(36.42),
            time: 36.42,
            distance: 431.25,
            percentage_completed: 100.0,
            average_speed: 11.84,
            deviation_mean: 0.0264,
            deviation_p95: 0.071,
            deviation_max: 0.123,
            position_deviation_mae: Some(1.217),
            suddenness: 0.0456,
            brain_iteration_frequency: Some(1980.0),
            mean_inference_time: Some(0.00025),
            real_time_factor: Some(0.999),
            tyres: None,
        }),
        behavior_metrics: Some(BehaviorMetricsAverages::of(431.25, 36.42, Some(&timing))),
        timing: Some(timing.summary()),
        frames: None,
        guard: GuardCounts {
            accepted: 728,
            refused: 2,
            dropped: 1,
            stops: 3,
            write_errors: 4,
        },
        wall_seconds: 36.5,
        first_command_seconds: Some(0.21),
        recording: None,
    }
}

#[test]
fn the_table_reads_as_people_expect() {
    let expected = "\
simple, 430 m: done in 36.42 s
  laps                       1
  lap time                   36.42 s
  completed                  100.0 %
  distance                   431.2 m
  average speed              11.84 m/s
  lateral deviation          0.026 m mean, 0.071 m 95th percentile, 0.123 m max
  position deviation MAE     1.217 against the centre line
  suddenness                 0.0456

loop
  car                        unicycle
  engine                     pilotnet, CPU, AVX2+FMA, 1 thread
  frame to command           500 us median, 990 us p99, 1.00 ms max
    vision                   125 us median, 248 us p99, 250 us max
    inference                250 us median, 495 us p99, 500 us max
  brain iteration frequency  1980 Hz
  frames                     100 seen, 50 missed
  first command after        0.21 s
  wall clock                 36.50 s, 1.00 of real time
  guard                      728 commands accepted, 2 refused, 1 dropped; 3 stops, 4 failed writes";
    assert_eq!(report().table(), expected);
}

#[test]
fn a_car_with_tyres_reports_its_use_of_their_limits() {
    let mut report = report();
    report.metrics.as_mut().unwrap().tyres = Some(TyreUse {
        friction: 0.9,
        peak_lateral_acceleration: 8.125,
        peak_slip_angle: 0.1,
        largest_friction_share: 0.974,
        sliding_seconds: 0.0305,
    });
    let expected = "
  suddenness                 0.0456
  lateral acceleration       8.12 m/s2 max, at friction 0.90
  slip angle                 5.7 degrees max
  friction circle            97 % max; the tyres slid for 0.03 s

loop";
    assert!(report.table().contains(expected), "{}", report.table());
    let value: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let used = &value["metrics"]["tyres"];
    assert_eq!(used["friction"], 0.9);
    assert_eq!(used["peak_lateral_acceleration"], 8.125);
    assert_eq!(used["peak_slip_angle"], 0.1);
    assert_eq!(used["largest_friction_share"], 0.974);
    assert_eq!(used["sliding_seconds"], 0.0305);
}

#[test]
fn missing_measurements_are_not_in_the_table() {
    let mut report = report();
    let metrics = report.metrics.as_mut().unwrap();
    metrics.lap_time = None;
    metrics.position_deviation_mae = None;
    metrics.brain_iteration_frequency = None;
    metrics.real_time_factor = None;
    report.first_command_seconds = None;
    let table = report.table();
    for absent in [
        "lap time",
        "position deviation",
        "frequency",
        "of real time",
        "first command",
    ] {
        assert!(!table.contains(absent), "{absent} in\n{table}");
    }
}

#[test]
fn the_json_has_the_figures_under_their_names() {
    let mut report = report();
    report.metrics.as_mut().unwrap().suddenness = f64::NAN;
    let value: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(value["completed"], true);
    assert_eq!(value["circuit"], "simple");
    assert_eq!(value["metrics"]["lap_time"], 36.42);
    assert_eq!(value["metrics"]["suddenness"], serde_json::Value::Null);
    assert_eq!(value["timing"]["thinking"]["max_us"], 1000.0);
    assert_eq!(value["timing"]["missed_frames"], 50);
    assert_eq!(value["guard"]["refused"], 2);
    assert_eq!(value["first_command_seconds"], 0.21);
}

/// The parts of a recorded drive by hand of a physical car, and none of the others.
#[test]
fn a_part_that_does_not_apply_is_left_out() {
    let by_hand = DriveReport {
        completed: None,
        outcome: "stopped by a signal".to_owned(),
        circuit: None,
        car: "jetracer".to_owned(),
        hand: Some(HandPart {
            gamepad: "Xbox pad".to_owned(),
            commands: 500,
        }),
        actuator: Some("pca9685".to_owned()),
        engine: None,
        metrics: None,
        behavior_metrics: None,
        timing: None,
        recording: Some(RecordingReport {
            folder: "monday".into(),
            counts: RecordingCounts {
                written: 200,
                dropped: 1,
                failed: 0,
            },
        }),
        ..report()
    };
    let expected = "\
jetracer: stopped by a signal
  gamepad                    Xbox pad
  motors                     pca9685
  commands                   500
  first command after        0.21 s
  wall clock                 36.50 s
  guard                      728 commands accepted, 2 refused, 1 dropped; 3 stops, 4 failed writes
  recorded                   200 frames in monday; 1 dropped, the disk too slow; 0 that it did not \
                    take";
    assert_eq!(by_hand.table(), expected);
    let value: serde_json::Value = serde_json::from_str(&by_hand.json().unwrap()).unwrap();
    let keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "actuator",
            "car",
            "commands",
            "first_command_seconds",
            "gamepad",
            "guard",
            "outcome",
            "recording",
            "wall_seconds"
        ]
    );
    assert_eq!(value["recording"]["written"], 200);
}

#[test]
fn the_caption_of_an_incomplete_lap_has_its_progress() {
    let mut report = report();
    assert_eq!(report.caption().title, "simple, 430 m: done in 36.42 s");
    assert_eq!(report.caption().figures[0].1, "36.42 s");
    report.completed = Some(false);
    let metrics = report.metrics.as_mut().unwrap();
    metrics.lap_time = None;
    metrics.percentage_completed = 41.27;
    let caption = report.caption();
    assert!(!caption.completed);
    assert_eq!(
        caption.figures[0],
        ("Completed".to_owned(), "41.3 %".to_owned())
    );
}

#[test]
fn before_the_first_frame_everything_is_zero() {
    let timing = LoopTiming::new();
    assert_eq!(timing.thinking_p99(), Duration::ZERO);
    let zero = Spread {
        mean_us: 0.0,
        p50_us: 0.0,
        p99_us: 0.0,
        p999_us: 0.0,
        max_us: 0.0,
    };
    assert_eq!(timing.summary().thinking, zero);
    assert_eq!(timing.averages(1.0).loop_seconds, 0.0);
}

proptest! {
    #[test]
    fn quantiles_are_those_of_the_sorted_durations(
        nanos in proptest::collection::vec(0..20_000_000_000_u64, 1..300),
    ) {
        let mut timing = LoopTiming::new();
        for &n in &nanos {
            timing.record(&step(Duration::from_nanos(n), 0));
        }
        let mut sorted = nanos.clone();
        sorted.sort_unstable();
        let summary = timing.summary();
        let exact = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            // The histogram counts durations beyond its bound as the bound.
            sorted[rank.max(1) - 1].min(MOST) as f64
        };
        for (got, share) in [(summary.thinking.p50_us, 0.5), (summary.thinking.p99_us, 0.99)] {
            let expected = exact(share);
            prop_assert!((got * 1e3 - expected).abs() <= 0.001 * expected + 512.0, "{share}");
        }
        prop_assert_eq!(summary.thinking.max_us, *sorted.last().unwrap() as f64 * 1e-3);
        let mean = nanos.iter().sum::<u64>() as f64 / nanos.len() as f64;
        prop_assert!((summary.thinking.mean_us * 1e3 - mean).abs() < 1.0);
        prop_assert!((timing.averages(2.0).loop_seconds * 1e9 - mean).abs() < 1.0);
    }
}

proptest! {
    #[test]
    fn behavior_metrics_leaves_ten_inferences_out_at_each_end(
        micros in proptest::collection::vec(1_u64..1_000_000, 0..60),
    ) {
        let mut timing = LoopTiming::new();
        for &inference in &micros {
            timing.record(&step(Duration::from_micros(2 * inference), 0));
        }
        let averages = BehaviorMetricsAverages::of(10.0, 2.75, Some(&timing));
        prop_assert_eq!(averages.average_speed, Some(5.0));
        let middle = micros.get(10..micros.len().saturating_sub(10)).filter(|it| !it.is_empty());
        let mean = middle.map(|it| it.iter().sum::<u64>() as f64 * 1e-6 / it.len() as f64);
        match (averages.mean_inference_time, mean) {
            (Some(found), Some(mean)) => prop_assert!((found / mean - 1.0).abs() < 1e-12),
            (found, mean) => prop_assert_eq!(found, mean),
        }
        prop_assert_eq!(BehaviorMetricsAverages::of(10.0, 0.9, None).average_speed, None);
    }
}
