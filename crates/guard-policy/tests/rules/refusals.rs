//! The rules of what is refused, and what each refusal means.

use std::time::Duration;

use pilotage_guard_policy::{
    ArmRequest, Event, Interlocks, Limits, Refusal, State, StopReason, step,
};
use pilotage_vehicle::{Command, Domain};
use proptest::prelude::*;

use crate::lives::*;

proptest! {
    #[test]
    fn rule_7_implausible_commands_are_refused((limits, moments) in life()) {
        let spec = limits.spec();
        let mut last: Option<u64> = None;
        let mut armed = START;
        for moment in moments {
            if let (Event::Arm(..), None) = (moment.event, moment.step.refused) {
                (armed, last) = (moment.now, None);
            }
            let Some(command) = command_of(&moment) else { continue };
            if moment.step.refused.is_some() {
                continue;
            }
            prop_assert!(command.steering.abs() <= 1.0 && command.throttle.abs() <= 1.0);
            prop_assert!(command.captured <= moment.now);
            prop_assert!(command.captured >= armed);
            prop_assert!(moment.now <= command.captured + spec.max_age);
            prop_assert!(last.is_none_or(|last| command.sequence > last));
            last = Some(command.sequence);
        }
    }

    #[test]
    fn rule_7_good_commands_are_not_refused((limits, moments) in life()) {
        let spec = limits.spec();
        for moment in moments {
            let Some(command) = command_of(&moment) else { continue };
            let (armed, last) = match moment.before {
                State::Armed(armed) => (armed.armed, None),
                State::Driving(driving) => (driving.armed, Some(driving.sequence)),
                _ => continue,
            };
            let good = command.steering.abs() <= 1.0
                && command.throttle.abs() <= 1.0
                && (armed..=moment.now).contains(&command.captured)
                && moment.now.since(command.captured) <= spec.max_age
                && last.is_none_or(|last| command.sequence > last);
            let expired = moment.before.expires(&limits).is_some_and(|time| moment.now >= time);
            if good && !expired {
                prop_assert_eq!(moment.step.refused, None);
                prop_assert!(matches!(moment.step.state, State::Driving(_)));
            }
        }
    }

    #[test]
    fn rule_8_what_is_refused_changes_nothing((limits, moments) in life()) {
        for moment in moments {
            if moment.step.refused.is_some() {
                let ticked = step(moment.before, &limits, moment.now, Event::Tick);
                prop_assert_eq!(moment.step.state, ticked.state);
                prop_assert_eq!(moment.step.output, ticked.output);
            }
        }
    }
}

#[test]
fn each_refusal_names_its_cause() {
    let limits = Limits::simulated();
    let arm = |engine| Event::Arm(ArmRequest { engine }, Interlocks::default());
    let armed = step(State::Disarmed, &limits, START, arm(Domain::Simulated)).state;
    let now = START + Duration::from_millis(500);
    let good = Command {
        steering: 0.0,
        throttle: 0.0,
        captured: now,
        sequence: 7,
    };
    let driving = step(armed, &limits, now, Event::Command(good)).state;
    let later = now + Duration::from_millis(10);
    let next = Command {
        captured: later,
        sequence: 8,
        ..good
    };
    let refusal = |state, command| step(state, &limits, later, Event::Command(command)).refused;

    assert_eq!(refusal(driving, next), None);
    assert_eq!(refusal(State::Disarmed, next), Some(Refusal::NotArmed));
    let reason = StopReason::Operator;
    assert_eq!(
        refusal(State::Stopped { reason }, next),
        Some(Refusal::NotArmed)
    );
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let steering = Command {
            steering: value,
            ..next
        };
        let throttle = Command {
            throttle: value,
            ..next
        };
        assert_eq!(refusal(driving, steering), Some(Refusal::NotFinite));
        assert_eq!(refusal(driving, throttle), Some(Refusal::NotFinite));
    }
    let beyond = 1.0 + f32::EPSILON;
    for value in [beyond, -beyond] {
        let steering = Command {
            steering: value,
            ..next
        };
        let throttle = Command {
            throttle: value,
            ..next
        };
        assert_eq!(refusal(driving, steering), Some(Refusal::OutOfRange));
        assert_eq!(refusal(driving, throttle), Some(Refusal::OutOfRange));
    }
    for value in [1.0, -1.0] {
        let edge = Command {
            steering: value,
            throttle: value,
            ..next
        };
        assert_eq!(refusal(driving, edge), None);
    }
    let nanosecond = Duration::from_nanos(1);
    let captured = |captured| Command { captured, ..next };
    let oldest = later - limits.spec().max_age;
    assert_eq!(refusal(driving, captured(oldest)), None);
    let too_old = captured(oldest - nanosecond);
    assert_eq!(refusal(driving, too_old), Some(Refusal::TooOld));
    let early = captured(later + nanosecond);
    assert_eq!(refusal(driving, early), Some(Refusal::FromFuture));
    for sequence in [0, 7] {
        let replay = Command { sequence, ..next };
        assert_eq!(refusal(driving, replay), Some(Refusal::Replayed));
        assert_eq!(refusal(armed, replay), None, "each arming starts anew");
    }
    let request = step(driving, &limits, later, arm(Domain::Simulated));
    assert_eq!(request.refused, Some(Refusal::AlreadyArmed));
    let request = step(armed, &limits, later, arm(Domain::Simulated));
    assert_eq!(request.refused, Some(Refusal::AlreadyArmed));

    let freshly = step(State::Disarmed, &limits, later, arm(Domain::Physical)).state;
    let command = |captured| Event::Command(Command { captured, ..next });
    let before = step(freshly, &limits, later, command(later - nanosecond));
    assert_eq!(before.refused, Some(Refusal::BeforeArming));
    assert_eq!(step(freshly, &limits, later, command(later)).refused, None);
}
