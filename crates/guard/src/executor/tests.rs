//! The brake, from the stop to its end.

use std::time::Duration;

use pilotage_vehicle::{Command, Domain, Fault, Time};

use super::{Executor, TICK};
use crate::conformance::RecordingActuator;
use crate::{ArmRequest, Limits, LimitsSpec, Mode, State};

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
