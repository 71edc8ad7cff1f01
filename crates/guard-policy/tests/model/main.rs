//! Model checks every reachable state of the shipped `step` with stateright.
//!
//! Time is counted in ticks, each shorter than any of the limits. The policy's times are
//! represented as ages that saturate past the longest limit, and its sequence number is reset to a
//! fixed number after every step; `tests/rules` tests that `step` does not depend on the origins of
//! time and sequence. The facts that the properties refer to (the time of the last good command,
//! the operator's requests) are tracked by the model itself, not read from the policy.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test prints its measurements"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod actions;
mod walk;

use std::time::Duration;

use pilotage_guard_policy::{Armed, Braking, Event, Interlocks, Limits, State, Step, step};
use pilotage_vehicle::{Command, Time};
use stateright::{Checker, Model};

use crate::actions::{Action, TICK};
use crate::walk::{
    BRAKE_KEPT, DEADLINE_KEPT, DISARMED_KEPT, Guard, HELD_KEPT, SLEW_KEPT, STOP_KEPT,
};

#[test]
fn the_policy_has_its_properties_in_every_state() {
    let checker = Guard::new(step).checker().spawn_bfs().join();
    println!(
        "{} states, {} transitions, longest path {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    assert!(checker.is_done(), "every state was visited");
    assert!(
        checker.unique_state_count() > 1000,
        "the model has many states"
    );
    checker.assert_properties();
}

/// Checks a faulty policy, and asserts that the violated property is found.
fn assert_found(step: fn(State, &Limits, Time, Event) -> Step, property: &'static str) {
    let checker = Guard::new(step).checker().spawn_bfs().join();
    let path = checker.assert_any_discovery(property);
    println!("found in {} steps: {property}", path.into_actions().len());
}

#[test]
fn a_policy_that_ignores_the_deadline_is_found() {
    fn faulty(mut state: State, limits: &Limits, now: Time, event: Event) -> Step {
        if let State::Driving(driving) = &mut state {
            driving.accepted = now;
        }
        step(state, limits, now, event)
    }
    assert_found(faulty, DEADLINE_KEPT);
}

#[test]
fn a_policy_that_ignores_the_actuators_delay_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let mut spec = *limits.spec();
        spec.actuator_delay = Duration::ZERO;
        step(state, &Limits::new(spec).unwrap(), now, event)
    }
    assert_found(faulty, DEADLINE_KEPT);
}

#[test]
fn a_policy_that_extends_the_deadline_with_refused_commands_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let mut step = step(state, limits, now, event);
        if let (State::Driving(driving), Some(_)) = (&mut step.state, step.refused) {
            driving.accepted = now;
        }
        step
    }
    assert_found(faulty, DEADLINE_KEPT);
}

#[test]
fn a_policy_that_accepts_replays_is_found() {
    fn faulty(mut state: State, limits: &Limits, now: Time, event: Event) -> Step {
        if let State::Driving(driving) = &mut state {
            driving.sequence = 0;
        }
        step(state, limits, now, event)
    }
    assert_found(faulty, DEADLINE_KEPT);
}

#[test]
fn a_policy_that_accepts_old_frames_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let event = match event {
            Event::Command(command) if command.captured < now => Event::Command(Command {
                captured: now,
                ..command
            }),
            event => event,
        };
        step(state, limits, now, event)
    }
    assert_found(faulty, DEADLINE_KEPT);
}

#[test]
fn a_policy_that_a_command_revives_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let state = match (state, event) {
            (State::Stopped { .. }, Event::Command(_)) => State::Armed(Armed {
                armed: now,
                seen: now - TICK,
            }),
            (state, _) => state,
        };
        step(state, limits, now, event)
    }
    assert_found(faulty, STOP_KEPT);
}

#[test]
fn a_policy_that_commands_arm_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let state = match (state, event) {
            (State::Disarmed, Event::Command(_)) => State::Armed(Armed {
                armed: now,
                seen: now,
            }),
            (state, _) => state,
        };
        step(state, limits, now, event)
    }
    assert_found(faulty, DISARMED_KEPT);
}

#[test]
fn a_policy_that_arms_any_engine_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let event = match event {
            Event::Arm(..) => Action::ArmPhysical.event(),
            event => event,
        };
        step(state, limits, now, event)
    }
    assert_found(faulty, DISARMED_KEPT);
}

#[test]
fn a_policy_that_jumps_to_its_target_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let mut step = step(state, limits, now, event);
        if let State::Driving(driving) = &mut step.state {
            driving.steering.value = driving.steering.target;
        }
        step.output = step.state.output(limits);
        step
    }
    assert_found(faulty, SLEW_KEPT);
}

#[test]
fn a_policy_that_arms_while_a_stop_is_held_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let event = match event {
            Event::Arm(request, _) => Event::Arm(request, Interlocks::default()),
            event => event,
        };
        step(state, limits, now, event)
    }
    assert_found(faulty, DISARMED_KEPT);
}

#[test]
fn a_policy_that_holds_a_trim_indefinitely_is_found() {
    fn faulty(mut state: State, limits: &Limits, now: Time, event: Event) -> Step {
        if let State::Trimming(trimming) = &mut state {
            trimming.confirmed = now;
        }
        step(state, limits, now, event)
    }
    assert_found(faulty, STOP_KEPT);
}

#[test]
fn a_policy_that_drives_with_a_command_from_the_future_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let event = match event {
            Event::Command(command) if command.captured > now => Event::Command(Command {
                captured: now,
                ..command
            }),
            event => event,
        };
        step(state, limits, now, event)
    }
    assert_found(faulty, HELD_KEPT);
}

#[test]
fn a_policy_that_brakes_without_end_is_found() {
    fn faulty(mut state: State, limits: &Limits, now: Time, event: Event) -> Step {
        if let State::Braking(braking) = &mut state {
            braking.began = now;
        }
        step(state, limits, now, event)
    }
    assert_found(faulty, BRAKE_KEPT);
}

/// The pulse that brakes a car that rolls ahead may drive one back that stands.
#[test]
fn a_policy_that_brakes_a_car_that_does_not_drive_ahead_is_found() {
    fn faulty(state: State, limits: &Limits, now: Time, event: Event) -> Step {
        let mut step = step(state, limits, now, event);
        if let (State::Driving(_), State::Stopped { reason }) = (state, step.state) {
            step.state = State::Braking(Braking { began: now, reason });
            step.output = step.state.output(limits);
        }
        step
    }
    assert_found(faulty, BRAKE_KEPT);
}
