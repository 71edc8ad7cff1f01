use pilotage_vehicle::{Mixer, Time};

use super::*;
use crate::{Appearance, CameraSpec, CarKind, Circuit};

fn entry(time: f64, x: f64, y: f64) -> PathPoint {
    PathPoint {
        time,
        x,
        y,
        heading: 0.0,
        speed: 0.0,
        offset: 0.0,
        steering: 0.0,
        throttle: 0.0,
    }
}

#[test]
fn a_path_beside_the_reference_scores_a_thousand_to_its_distance() {
    let path: Vec<PathPoint> = (0..40)
        .map(|i| entry(0.05 * f64::from(i), 0.7 * f64::from(i), 0.1))
        .collect();
    let reference: Vec<[f64; 2]> = (1..50).map(|i| [0.51 * f64::from(i), 0.0]).collect();
    let expected = libm::pow(1000.0, 0.1);
    assert!((position_deviation(&path, &reference).unwrap() - expected).abs() < 1e-9);
    let on_it: Vec<[f64; 2]> = reference.iter().map(|p| [p[0], 0.1]).collect();
    assert!((position_deviation(&path, &on_it).unwrap() - 1.0).abs() < 1e-5);
}

#[test]
fn distances_are_to_the_spline_and_not_to_its_knots() {
    // A circle of 10 m, sampled every metre: reference points lie between knots.
    let at = |angle: f64, radius: f64| [radius * libm::cos(angle), radius * libm::sin(angle)];
    let path: Vec<PathPoint> = (0..=70)
        .map(|i| {
            let [x, y] = at(0.1 * f64::from(i), 10.0);
            entry(0.05 * f64::from(i), x, y)
        })
        .collect();
    let reference: Vec<[f64; 2]> = (0..40)
        .map(|i| at(1.05 + 0.1 * f64::from(i), 10.2))
        .collect();
    let expected = libm::pow(1000.0, 0.2);
    assert!((position_deviation(&path, &reference).unwrap() / expected - 1.0).abs() < 1e-3);
}

#[test]
fn without_points_there_is_no_score() {
    let start = entry(0.0, 0.0, 0.0);
    let point = [[0.0, 0.0]];
    assert_eq!(position_deviation(&[], &point), None);
    assert_eq!(position_deviation(&[start], &point), None);
    assert_eq!(
        position_deviation(&[start, entry(0.05, 1.0, 0.0)], &[]),
        None
    );
}

#[test]
fn suddenness_is_the_mean_step_of_the_normalized_controls() {
    let mut world = World::new(
        Circuit::shipped("simple").unwrap(),
        &Appearance::default(),
        &CameraSpec::default(),
        CarKind::Unicycle,
        Mixer::simulated(),
    );
    // Alternately 6 and 12 m/s, straight on: each step is 6 / 17.5.
    for i in 1..=20_u64 {
        let throttle = if i % 2 == 0 { 0.25 } else { 0.5 };
        world.advance_to(Time::from_nanos(i * 50_000_000), 0.0, throttle);
    }
    let metrics = world.metrics(None, None);
    assert!((metrics.suddenness - 6.0 / 17.5).abs() < 1e-9);
    assert!((metrics.average_speed - 9.0).abs() < 1e-6);
    assert!(metrics.brain_iteration_frequency.is_none());
}

#[test]
fn the_loops_own_timing_is_reported() {
    let world = World::new(
        Circuit::shipped("simple").unwrap(),
        &Appearance::default(),
        &CameraSpec::default(),
        CarKind::Unicycle,
        Mixer::simulated(),
    );
    let timing = LoopTiming {
        loop_seconds: 0.004,
        inference_seconds: 0.0015,
        real_time_factor: 12.0,
    };
    let metrics = world.metrics(None, Some(timing));
    assert_eq!(metrics.brain_iteration_frequency, Some(250.0));
    assert_eq!(metrics.mean_inference_time, Some(0.0015));
    assert_eq!(metrics.real_time_factor, Some(12.0));
}

#[test]
fn percentiles_are_by_rank() {
    let values: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!(percentile(&values, 0.95), 95.0);
    assert_eq!(percentile(&values[..1], 0.95), 1.0);
    assert_eq!(percentile(&[], 0.95), 0.0);
}

#[test]
fn a_reference_is_read_from_csv() {
    let points = reference_from_csv("x,y\n1,2\n3,4\n").unwrap();
    assert_eq!(points, [[1.0, 2.0], [3.0, 4.0]]);
    let error = reference_from_csv("1,2\nthree,4\n")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("line 2"), "{error}");
}

#[test]
fn a_reference_without_valid_points_is_rejected() {
    let message = |text: &str| reference_from_csv(text).unwrap_err().to_string();
    for text in ["", "\n\n", "# a comment\n", "x,y\n"] {
        assert!(message(text).contains("no point"), "{text:?}");
    }
    for point in ["nan,2", "1,inf", "-inf,0", "1e300,0"] {
        let error = message(&format!("x,y\n0,0\n{point}\n5,5\n"));
        assert!(error.starts_with("point 2 "), "{error}");
    }
}
