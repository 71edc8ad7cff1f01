//! The conformance suite for actuators.

use std::time::Duration;

use pilotage_vehicle::Time;

use crate::{Actuator, Mode, Output};

/// Writes to `actuator` as a guard does, and reads with `in_force` the steering and throttle that
/// are in force. They may be off by `tolerance`, because a PWM chip has steps.
///
/// # Panics
/// At the first violation.
pub fn actuator<A: Actuator>(
    actuator: &mut A,
    tolerance: f32,
    mut in_force: impl FnMut(&mut A) -> (f32, f32),
) {
    assert!(!actuator.name().is_empty(), "an actuator has a name");
    let mut now = Time::from_nanos(1);
    let tick = Duration::from_millis(5);
    let outputs = [
        // The disarmed and failsafe values never change, as on a car: some motors are configured
        // with them.
        (Mode::Disarmed, -0.5, 0.0),
        (Mode::Failsafe, 0.5, 0.0),
        (Mode::Drive, 1.0, 1.0),
        (Mode::Drive, -1.0, -1.0),
        (Mode::Drive, 0.25, 0.5),
        (Mode::Drive, -0.75, 0.125),
        (Mode::Failsafe, 0.5, 0.0),
        (Mode::Disarmed, -0.5, 0.0),
    ];
    for (mode, steering, throttle) in outputs {
        let output = Output {
            mode,
            steering,
            throttle,
        };
        // Write at a new time, again at the same time, and again at the next tick.
        for wait in [tick, Duration::ZERO, tick] {
            now = now + wait;
            let written = actuator.write(now, &output);
            assert!(written.is_ok(), "{output:?} is accepted: {written:?}");
            let held = in_force(actuator);
            let close = |a: f32, b: f32| (a - b).abs() <= tolerance;
            assert!(
                close(held.0, steering) && close(held.1, throttle),
                "{output:?} is in force at once, not {held:?}"
            );
        }
    }
}
