use proptest::prelude::*;

use super::*;

fn refused(change: impl FnOnce(&mut LimitsSpec)) -> String {
    let mut spec = LimitsSpec::simulated();
    change(&mut spec);
    Limits::new(spec).unwrap_err().to_string()
}

fn accepted(change: impl FnOnce(&mut LimitsSpec)) -> Limits {
    let mut spec = LimitsSpec::simulated();
    change(&mut spec);
    let limits = Limits::new(spec).unwrap();
    assert_eq!(limits.spec(), &spec);
    limits
}

#[test]
fn the_simulated_cars_own_limits_pass_the_check() {
    assert_eq!(accepted(|_| ()), Limits::simulated());
    assert_eq!(Limits::simulated().patience(), Duration::from_millis(150));
    let spec = LimitsSpec::simulated();
    assert_eq!(spec.actuator, Domain::Simulated);
    assert_eq!(spec.steering.slew_per_second, 40.0);
    assert_eq!(spec.throttle.slew_per_second, 20.0);
    assert_eq!((spec.throttle.min, spec.throttle.max), (-1.0, 1.0));
}

#[test]
fn a_deadline_is_3_to_20_frame_periods() {
    let message = refused(|spec| spec.deadline = Duration::from_micros(149_999));
    assert_eq!(
        message,
        "the deadline must be from 3 to 20 frame periods, here 150 to 1000 ms, not 149.999 ms"
    );
    refused(|spec| spec.deadline = Duration::from_micros(1_000_001));
    accepted(|spec| spec.deadline = Duration::from_millis(1000));
    refused(|spec| spec.frame_period = Duration::from_micros(50_001));
    refused(|spec| spec.frame_period = Duration::MAX);
    let message = refused(|spec| spec.frame_period = Duration::ZERO);
    assert!(message.contains("frame rate"), "{message}");
}

#[test]
fn a_slow_actuator_leaves_the_guard_a_frame_period() {
    let limits = accepted(|spec| spec.actuator_delay = Duration::from_millis(100));
    assert_eq!(limits.patience(), Duration::from_millis(50));
    let message = refused(|spec| spec.actuator_delay = Duration::from_millis(101));
    assert!(message.contains("101 ms to act"), "{message}");
    refused(|spec| spec.actuator_delay = Duration::MAX);
}

#[test]
fn a_command_may_be_as_old_as_the_deadline() {
    accepted(|spec| spec.max_age = Duration::from_nanos(1));
    let message = refused(|spec| spec.max_age = Duration::from_micros(150_001));
    assert!(message.contains("not 150.001 ms"), "{message}");
    refused(|spec| spec.max_age = Duration::ZERO);
}

#[test]
fn the_wait_for_the_first_command_is_from_the_deadline_to_a_minute() {
    accepted(|spec| spec.first_command = Duration::from_millis(150));
    accepted(|spec| spec.first_command = Duration::from_secs(60));
    let message = refused(|spec| spec.first_command = Duration::from_millis(149));
    assert!(message.contains("not 149 ms"), "{message}");
    refused(|spec| spec.first_command = Duration::from_millis(60_001));
}

#[test]
fn a_stop_brakes_for_two_seconds_at_most() {
    accepted(|spec| spec.brake = Duration::from_secs(2));
    let message = refused(|spec| spec.brake = Duration::from_micros(2_000_001));
    assert_eq!(
        message,
        "a stop may brake for at most 2000 ms, not 2000.001 ms"
    );
}

#[test]
fn a_channels_values_lie_within_their_ranges() {
    accepted(|spec| spec.steering.failsafe = 1.0);
    accepted(|spec| spec.steering.disarmed = -1.0);
    accepted(|spec| (spec.throttle.min, spec.throttle.max) = (0.0, 0.0));
    assert_eq!(
        refused(|spec| spec.steering.max = 1.5),
        "steering: `max` must lie between -1 and 1, not 1.5"
    );
    assert_eq!(
        refused(|spec| spec.throttle.min = f32::NAN),
        "throttle: `min` must lie between -1 and 1, not NaN"
    );
    refused(|spec| spec.steering.failsafe = f32::NAN);
    refused(|spec| spec.steering.disarmed = -1.1);
    assert_eq!(
        refused(|spec| (spec.steering.min, spec.steering.max) = (0.5, 0.25)),
        "steering: `min` (0.5) must not be above `max` (0.25)"
    );
    assert_eq!(
        refused(|spec| (spec.steering.min, spec.steering.disarmed) = (-0.5, -0.75)),
        "steering: `disarmed` (-0.75) must lie between `min` (-0.5) and `max` (1)"
    );
    assert_eq!(
        refused(|spec| (spec.steering.max, spec.steering.failsafe) = (0.5, 0.75)),
        "steering: `failsafe` (0.75) must lie between `min` (-1) and `max` (0.5)"
    );
}

#[test]
fn a_slew_rate_is_a_positive_number() {
    accepted(|spec| spec.throttle.slew_per_second = f32::MIN_POSITIVE);
    for value in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let message = refused(|spec| spec.throttle.slew_per_second = value);
        assert!(message.contains("throttle: `slew_per_second`"), "{message}");
        refused(|spec| spec.steering.slew_per_second = value);
    }
}

#[test]
fn throttle_is_zero_while_the_car_is_not_driving() {
    for value in [0.1, -0.1] {
        let message = refused(|spec| spec.throttle.failsafe = value);
        assert!(message.contains("`failsafe` must be 0"), "{message}");
        let message = refused(|spec| spec.throttle.disarmed = value);
        assert!(message.contains("`disarmed` must be 0"), "{message}");
    }
}

proptest! {
    #[test]
    fn a_channel_approaches_its_target_at_its_rate_and_never_passes_it(
        value in -1.0f32..=1.0,
        target in -1.0f32..=1.0,
        slew_per_second in 0.01f32..1e6,
        micros in 0u64..2_000_000,
    ) {
        let channel = Channel { slew_per_second, ..LimitsSpec::simulated().steering };
        let elapsed = Duration::from_micros(micros);
        let moved = channel.approach(value, target, elapsed);
        let step = f64::from(slew_per_second) * elapsed.as_secs_f64();
        let distance = f64::from(target) - f64::from(value);
        let expected = f64::from(value) + distance.clamp(-step, step);
        prop_assert!((f64::from(moved) - expected).abs() < 1e-6, "{moved} {expected}");
        prop_assert!(moved >= value.min(target) && moved <= value.max(target));
    }
}
