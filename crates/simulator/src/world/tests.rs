use std::time::Duration;

use proptest::prelude::*;

use pilotage_vehicle::Measurement;

use super::*;
use crate::{Preset, TyreCar};

fn world(name: &str, kind: CarKind) -> World {
    let camera = CameraSpec {
        width: 32,
        height: 24,
        ..CameraSpec::default()
    };
    let circuit = Circuit::shipped(name).unwrap();
    World::new(
        circuit,
        &Appearance::default(),
        &camera,
        kind,
        Mixer::simulated(),
    )
}

/// Steers towards the point 1.5 m ahead on the line (pure pursuit, R. C. Coulter 1992).
fn pursuit(world: &World, speed: f64) -> (f32, f32) {
    let goal = world.circuit().point(world.s() + 1.5);
    let pose = world.pose();
    let (dx, dy) = (goal[0] - pose.x, goal[1] - pose.y);
    let (sin, cos) = libm::sincos(pose.heading);
    let left = dy * cos - dx * sin;
    let curvature = 2.0 * left / (dx * dx + dy * dy);
    let mixer = world.car().mixer();
    let steering = libm::atan(curvature * mixer.wheelbase()) / mixer.steering_range();
    (steering as f32, mixer.throttle(speed) as f32)
}

fn drive(world: &mut World, speed: f64) -> Outcome {
    loop {
        let (steering, throttle) = pursuit(world, speed);
        world.advance_to(world.now() + Duration::from_millis(10), steering, throttle);
        if let Some(outcome) = world.outcome() {
            return outcome;
        }
    }
}

#[test]
fn a_lap_is_counted_with_either_car() {
    for kind in [CarKind::Unicycle, CarKind::Ackermann] {
        let mut world = world("simple", kind);
        let length = world.circuit().length();
        let Outcome::LapDone { seconds } = drive(&mut world, 6.0) else {
            panic!("{:?}", world.outcome());
        };
        let metrics = world.metrics(None, None);
        assert_eq!(metrics.laps, 1);
        assert_eq!(metrics.lap_time, Some(seconds));
        assert!((99.9..100.1).contains(&metrics.percentage_completed));
        assert!((metrics.distance - length).abs() < 0.02 * length);
        assert!((metrics.average_speed - metrics.distance / seconds).abs() < 1e-9);
        assert!(metrics.deviation_mean > 0.0 && metrics.deviation_mean < 0.1);
        assert!(metrics.deviation_mean <= metrics.deviation_p95);
        assert!(metrics.deviation_p95 <= metrics.deviation_max);
        let mae = metrics.position_deviation_mae.unwrap();
        assert!(mae > 1.0 && mae < 2.0, "{mae}");
        assert!(metrics.suddenness > 0.0 && metrics.suddenness < 0.2);
    }
}

#[test]
fn a_lap_with_tyres_reports_how_near_it_was_to_their_limits() {
    let car = TyreCar::new(Preset::Kart);
    let mut world = World::new(
        Circuit::shipped("simple").unwrap(),
        &Appearance::default(),
        &CameraSpec::default(),
        CarKind::Tyres(car),
        car.dynamics().mixer().unwrap(),
    );
    let outcome = drive(&mut world, 5.0);
    assert!(matches!(outcome, Outcome::LapDone { .. }), "{outcome:?}");
    let metrics = world.metrics(None, None);
    assert!(metrics.deviation_max < 0.5, "{metrics:?}");
    let used = metrics.tyres.unwrap();
    // 5 m/s in the narrowest bend of the circuit, whose radius is about 6 m.
    assert!(
        (2.0..7.0).contains(&used.peak_lateral_acceleration),
        "{used:?}"
    );
    assert!(
        (0.2..0.9).contains(&used.largest_friction_share),
        "{used:?}"
    );
    assert!((0.005..0.1).contains(&used.peak_slip_angle), "{used:?}");
    assert_eq!((used.friction, used.sliding_seconds), (1.2, 0.0));
    // The other cars have no tyres.
    let metrics = self::world("simple", CarKind::Ackermann).metrics(None, None);
    assert_eq!(metrics.tyres, None);
}

#[test]
fn laps_are_counted_from_where_the_car_was_placed() {
    let limits = Limits {
        laps: 2,
        seconds: 300.0,
    };
    let mut world = world("walled", CarKind::Unicycle)
        .placed(100.0, 0.4, 0.1)
        .with_limits(limits);
    assert!((world.s() - 100.0).abs() < 1e-3 && (world.offset() - 0.4).abs() < 1e-6);
    assert!((world.heading_error() - 0.1).abs() < 1e-3);
    assert!(matches!(drive(&mut world, 5.0), Outcome::LapDone { .. }));
    assert_eq!(world.laps().len(), 2);
    assert!((world.lap_fraction() - 2.0).abs() < 1e-3);
}

#[test]
fn crossing_the_start_back_and_forth_is_not_a_lap() {
    let mut world = world("simple", CarKind::Unicycle);
    for step in 0..40_u64 {
        let throttle = if step % 2 == 0 { -0.1 } else { 0.1 };
        world.advance_to(Time::from_nanos((step + 1) * 500_000_000), 0.0, throttle);
    }
    assert_eq!(world.outcome(), None);
    assert!(world.laps().is_empty());
    assert!(world.lap_fraction().abs() < 0.01);
}

#[test]
fn driving_straight_on_ends_off_the_road() {
    let mut world = world("simple", CarKind::Unicycle);
    world.advance_to(Time::from_nanos(60_000_000_000), 0.0, 0.4);
    let Some(Outcome::OffRoad { offset, .. }) = world.outcome() else {
        panic!("{:?}", world.outcome());
    };
    // Half of the road's 3 m, and the margin of 1 m.
    assert!(offset.abs() > 2.5 && offset.abs() < 2.6);
    assert_eq!(world.now(), Time::from_nanos(60_000_000_000));
    assert!(world.metrics(None, None).position_deviation_mae.is_none());
    let end_pose = world.pose();
    world.advance_to(Time::from_nanos(70_000_000_000), 0.0, 0.4);
    assert_eq!(world.pose(), end_pose);
}

#[test]
fn a_car_at_rest_stalls_and_a_slow_one_reaches_the_time_limit() {
    let mut at_rest = world("simple", CarKind::Unicycle);
    at_rest.advance_to(Time::from_nanos(9_990_000_000), 0.0, 0.0);
    assert_eq!(at_rest.outcome(), None);
    at_rest.advance_to(Time::from_nanos(10_010_000_000), 0.0, 0.0);
    assert!(matches!(at_rest.outcome(), Some(Outcome::Stalled { .. })));
    let limits = Limits {
        laps: 1,
        seconds: 12.0,
    };
    let mut slow = world("simple", CarKind::Unicycle).with_limits(limits);
    slow.advance_to(Time::from_nanos(20_000_000_000), 0.0, 0.01);
    assert_eq!(slow.outcome(), Some(Outcome::TimeLimit));
}

#[test]
fn the_path_has_twenty_entries_a_second() {
    let mut world = world("simple", CarKind::Unicycle);
    world.advance_to(Time::from_nanos(1_000_000_000), 0.0, 0.25);
    assert_eq!(world.path().len(), 21);
    for (i, entry) in world.path().iter().enumerate() {
        assert!((entry.time - 0.05 * i as f64).abs() < 1e-9);
    }
    assert!((world.path()[20].speed - 6.0).abs() < 1e-6);
    assert!((world.distance() - 6.0).abs() < 1e-6);
}

#[test]
fn the_picture_follows_the_car() {
    let mut world = world("simple", CarKind::Unicycle);
    let mut before = vec![0; world.camera().frame_bytes()];
    world.render(&mut before);
    let mut again = before.clone();
    world.render(&mut again);
    assert_eq!(before, again);
    world.advance_to(Time::from_nanos(200_000_000), 0.3, 0.2);
    world.render(&mut again);
    assert_ne!(before, again);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_result_does_not_depend_on_the_calls(
        cuts in prop::collection::vec(0..2_000_000_000_u64, 0..30),
        kind in prop::sample::select(vec![
            CarKind::Unicycle,
            CarKind::Ackermann,
            CarKind::Tyres(TyreCar::new(Preset::Kart)),
        ]),
        steering in -0.05..0.05_f32,
        throttle in 0.0..0.5_f32,
    ) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let end = Time::from_nanos(2_000_000_000);
        let mut in_parts = world("simple", kind);
        for at in cuts {
            in_parts.advance_to(Time::from_nanos(at), steering, throttle);
        }
        in_parts.advance_to(end, steering, throttle);
        let mut whole = world("simple", kind);
        whole.advance_to(end, steering, throttle);
        prop_assert_eq!(in_parts.pose(), whole.pose());
        prop_assert_eq!(in_parts.path(), whole.path());
        prop_assert_eq!(in_parts.outcome(), whole.outcome());
        prop_assert_eq!(in_parts.now(), whole.now());
    }
}

#[test]
fn memory_for_the_whole_run_is_reserved_once() {
    for seconds in [600.0, 7_200.0] {
        let limits = Limits {
            laps: 3_000,
            seconds,
        };
        let world = world("simple", CarKind::Unicycle).with_limits(limits);
        let entries = (seconds * 20.0) as usize + 2;
        let capacity = world.path.capacity();
        assert!(
            (entries..entries + entries / 2).contains(&capacity),
            "{capacity} for {entries}"
        );
        assert!(world.laps.capacity() >= 3_000);
    }
}

#[test]
fn sensors_give_what_the_car_did_before_their_delay() {
    let spec = SensorSpec {
        delay_ms: 40,
        noise: 0.0,
    };
    let mut world = world("simple", CarKind::Ackermann).with_sensors(spec);
    assert_eq!(world.measured().get(Measurement::Speed), Some(0.0));
    let mut past = Vec::new();
    for step in 1..400_u64 {
        world.advance_to(Time::from_nanos(step * STEP_NANOS), 0.3, 0.5);
        past.push((world.car().speed(), world.car().yaw_rate()));
        if step <= 60 {
            continue;
        }
        let (speed, yaw_rate) = past[step as usize - 1 - 40];
        let acceleration = (speed - past[step as usize - 1 - 60].0) / 0.02;
        let measured = world.measured();
        for (measurement, exact) in [
            (Measurement::Speed, speed),
            (Measurement::YawRate, yaw_rate),
            (Measurement::Acceleration, acceleration),
            (Measurement::LateralAcceleration, speed * yaw_rate),
        ] {
            assert_eq!(
                measured.get(measurement),
                Some(exact as f32),
                "{measurement:?}"
            );
        }
    }
    // The car was faster at the end, and turned.
    assert!(
        past[398].0 > past[200].0 + 0.1 && past[398].1 > 0.1,
        "{past:?}"
    );
}

#[test]
fn noise_of_sensors_repeats_with_the_seed() {
    let at_rest = |seed, noise| {
        let spec = SensorSpec { delay_ms: 0, noise };
        let mut world = world("simple", CarKind::Unicycle)
            .with_seed(seed)
            .with_sensors(spec);
        let speeds = (1..200_u64).map(|step| {
            world.advance_to(Time::from_nanos(step * STEP_NANOS), 0.0, 0.0);
            f64::from(world.measured().get(Measurement::Speed).unwrap())
        });
        speeds.collect::<Vec<f64>>()
    };
    let one = at_rest(1, 1.0);
    assert_eq!(one, at_rest(1, 1.0));
    assert_ne!(one, at_rest(2, 1.0));
    assert!(at_rest(1, 0.0).iter().all(|&speed| speed == 0.0));
    let deviation = (one.iter().map(|x| x * x).sum::<f64>() / one.len() as f64).sqrt();
    assert!((0.016..0.024).contains(&deviation), "{deviation}");
}
