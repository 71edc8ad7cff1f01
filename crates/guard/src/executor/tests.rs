//! The brake, from the stop to its end, and a clock that goes back.

use std::time::Duration;

use pilotage_vehicle::{Command, Domain, Fault, Time};

use super::{Executor, TICK};
use crate::conformance::RecordingActuator;
use crate::{ArmRequest, Limits, LimitsSpec, Mode, Refusal, State, StopReason};

const BRAKE: Duration = Duration::from_micros(32_500);

/// A guard that drives ahead, and the time.
fn driving() -> (Executor<RecordingActuator>, Time) {
    let limits = Limits::new(LimitsSpec {
        brake: BRAKE,
        ..LimitsSpec::simulated()
    })
    .unwrap();
    let start = Time::from_nanos(1_000_000_000);
    let mut guard = Executor::start(limits, RecordingActuator::default(), start, TICK).unwrap();
    let engine = Domain::Simulated;
    assert_eq!(guard.arm(start, ArmRequest { engine }), None);
    let now = start + Duration::from_millis(1);
    let command = Command {
        steering: 0.5,
        throttle: 0.5,
        captured: now,
        sequence: 1,
    };
    assert_eq!(guard.command(now, command), None);
    let now = now + Duration::from_millis(50);
    guard.advance(now);
    assert_eq!(guard.status().output.mode, Mode::Drive);
    (guard, now)
}

/// The mode of each write from `since` on, without repetitions, with its first time.
fn modes(guard: &Executor<RecordingActuator>, since: Time) -> Vec<(Time, Mode)> {
    let writes = guard.actuator().writes.iter();
    let mut modes: Vec<_> = writes
        .filter(|(at, _)| *at >= since)
        .map(|(at, output)| (*at, output.mode))
        .collect();
    modes.dedup_by_key(|(_, mode)| *mode);
    modes
}

#[test]
fn a_stop_brakes_and_releases_the_brake_at_its_moment_and_not_at_a_tick() {
    let (mut guard, now) = driving();
    guard.stop(now);
    assert!(guard.status().state.stopped().is_some());
    guard.advance(now + Duration::from_secs(1));
    let expected = [(now, Mode::Brake), (now + BRAKE, Mode::Failsafe)];
    assert_eq!(modes(&guard, now), expected);
    assert_eq!(guard.status().counters.stops, 1);
}

#[test]
fn the_deadline_brakes_too() {
    let (mut guard, now) = driving();
    let deadline = Time::from_nanos(1_001_000_000) + LimitsSpec::simulated().deadline;
    guard.advance(now + Duration::from_secs(1));
    let stopped = [(deadline, Mode::Brake), (deadline + BRAKE, Mode::Failsafe)];
    assert_eq!(modes(&guard, deadline), stopped);
}

/// The write of the brake fails: what the controller got is not known.
#[test]
fn a_failed_write_ends_the_brake() {
    let (mut guard, now) = driving();
    guard.actuator_mut().broken = true;
    guard.stop(now);
    assert!(matches!(guard.status().state, State::Stopped { .. }));
    guard.actuator_mut().broken = false;
    guard.advance(now + Duration::from_millis(5));
    assert_eq!(
        guard.actuator().last().map(|output| output.mode),
        Some(Mode::Failsafe)
    );
    let (mut guard, now) = driving();
    guard.report(now, Fault::Actuator);
    assert_eq!(modes(&guard, now)[0].1, Mode::Failsafe);
}

/// The times of the actuator never decrease, whatever the clock does.
fn assert_times_never_decrease(guard: &Executor<RecordingActuator>) {
    let writes = &guard.actuator().writes;
    assert!(writes.windows(2).all(|pair| pair[0].0 <= pair[1].0));
}

#[test]
fn a_clock_that_goes_back_stops_the_car_at_once() {
    let ms = Duration::from_millis;
    let reason = StopReason::ClockWentBack;
    for back in [Duration::from_nanos(1), ms(20), Duration::from_secs(1)] {
        let (mut guard, now) = driving();
        let last = guard.actuator().writes.len();
        let earlier = now - back;
        guard.advance(earlier);
        assert_eq!(guard.status().state, State::Stopped { reason });
        assert_eq!(guard.now(), earlier);
        let (at, output) = guard.actuator().writes[last];
        assert_eq!(
            (at, output.mode),
            (now, Mode::Failsafe),
            "without a tick's delay"
        );
        // The ticks continue on the clock as it is, and nothing but an operator ends the stop.
        guard.advance(earlier + ms(10));
        let ticks = &guard.actuator().writes[last + 1..];
        assert_eq!(ticks.len(), 2, "{ticks:?}");
        assert!(
            ticks
                .iter()
                .all(|(_, output)| output.mode == Mode::Failsafe)
        );
        let command = Command {
            steering: 0.5,
            throttle: 0.5,
            captured: guard.now(),
            sequence: 2,
        };
        assert_eq!(guard.command(guard.now(), command), Some(Refusal::NotArmed));
        // After an operator has armed the car again, its deadline is measured on that clock.
        let engine = Domain::Simulated;
        let armed = guard.now();
        assert_eq!(guard.arm(armed, ArmRequest { engine }), None);
        let command = Command {
            captured: armed,
            ..command
        };
        assert_eq!(guard.command(armed, command), None);
        guard.advance(armed + LimitsSpec::simulated().deadline);
        let stopped = guard.status().state.stopped();
        assert_eq!(stopped, Some(StopReason::Deadline));
        assert_times_never_decrease(&guard);
    }
}

/// No request at an earlier time is handled as if the clock could be trusted.
#[test]
fn a_command_at_an_earlier_time_stops_the_car() {
    let (mut guard, now) = driving();
    let earlier = now - Duration::from_millis(1);
    let command = Command {
        steering: 0.5,
        throttle: 0.5,
        captured: earlier,
        sequence: 2,
    };
    assert_eq!(guard.command(earlier, command), Some(Refusal::NotArmed));
    let reason = StopReason::ClockWentBack;
    assert_eq!(guard.status().state, State::Stopped { reason });
}

/// Also if the clock goes back to a time after the brake began.
#[test]
fn a_clock_that_goes_back_ends_the_brake() {
    let (mut guard, now) = driving();
    guard.stop(now);
    guard.advance(now + Duration::from_millis(20));
    assert_eq!(guard.status().output.mode, Mode::Brake);
    guard.advance(now + Duration::from_millis(19));
    let reason = StopReason::Operator;
    assert_eq!(guard.status().state, State::Stopped { reason });
    assert_eq!(guard.status().output.mode, Mode::Failsafe);
    assert_times_never_decrease(&guard);
}

#[test]
fn a_disarmed_guard_follows_a_clock_that_goes_back() {
    let (mut guard, now) = driving();
    guard.disarm(now);
    let earlier = now - Duration::from_millis(20);
    guard.advance(earlier);
    assert_eq!(guard.status().state, State::Disarmed);
    assert_eq!(guard.until_due(earlier), TICK);
    // A caller whose clock went back since then waits no longer than a tick.
    guard.advance(earlier + Duration::from_secs(1));
    assert_eq!(guard.until_due(earlier), TICK);
    assert_times_never_decrease(&guard);
}
