//! The rules of `docs/safety.md`, each tested with arbitrary limits and event sequences.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lives;
mod refusals;

use std::time::Duration;

use pilotage_guard_policy::{
    Braking, Event, Interlocks, Limits, Mode, Output, Refusal, State, StopReason, step,
};
use pilotage_vehicle::{Command, Domain, Fault, Time};
use proptest::prelude::*;

use crate::lives::*;

proptest! {
    #[test]
    fn rule_1_a_guard_starts_disarmed_and_only_a_request_arms_it((limits, moments) in life()) {
        prop_assert_eq!(State::default(), State::Disarmed);
        let mut armed = false;
        for moment in moments {
            match moment.event {
                // An operator also requests a trim, which ends in a stop like a drive.
                Event::Arm(..) | Event::Trim(..) if moment.step.refused.is_none() => armed = true,
                Event::Disarm => armed = false,
                _ => {}
            }
            prop_assert_eq!(armed, moment.step.output.mode != Mode::Disarmed);
            if !armed {
                prop_assert_eq!(moment.step.output, Output::disarmed(&limits));
            }
        }
    }

    #[test]
    fn rule_2_a_simulators_engine_never_arms_a_physical_actuator((limits, moments) in life()) {
        for moment in moments {
            let Event::Arm(request, interlocks) = moment.event else { continue };
            let wrong = request.engine == Domain::Simulated
                && limits.spec().actuator == Domain::Physical;
            let idle = matches!(moment.before, State::Disarmed | State::Stopped { .. });
            if idle && interlocks == Interlocks::default() {
                let refused = wrong.then_some(Refusal::SimulatedEngine);
                prop_assert_eq!(moment.step.refused, refused);
                prop_assert_eq!(matches!(moment.step.state, State::Armed(_)), !wrong);
            }
            if wrong {
                prop_assert!(moment.step.refused.is_some());
            }
        }
    }

    #[test]
    fn rule_3_failsafe_from_the_deadline_after_the_last_good_command((limits, moments) in life()) {
        let spec = limits.spec();
        let mut good: Option<Time> = None;
        for moment in moments {
            let alive = good.is_some_and(|time| {
                moment.now.since(time) + spec.actuator_delay < spec.deadline
            });
            match command_of(&moment) {
                Some(_) if moment.step.refused.is_none() => {
                    let first = matches!(moment.before, State::Armed(_));
                    prop_assert!(alive || first, "a late command does not revive the car");
                    good = Some(moment.now);
                }
                _ if matches!(moment.step.state, State::Trimming(_)) => good = None,
                _ => prop_assert!(alive || moment.step.output.mode != Mode::Drive),
            }
        }
    }

    #[test]
    fn rule_4_an_armed_guard_without_a_good_command_stops((limits, moments) in life()) {
        for moment in moments {
            let State::Armed(armed) = moment.before else { continue };
            if moment.now >= armed.armed + limits.spec().first_command
                && !matches!(moment.event, Event::Disarm | Event::Arm(..))
            {
                let reason = StopReason::NoFirstCommand;
                prop_assert_eq!(moment.step.state, State::Stopped { reason });
            }
        }
    }

    #[test]
    fn rule_5_a_brake_lasts_until_it_is_over_and_is_no_way_out_of_a_stop((limits, moments) in life()) {
        for moment in moments {
            let State::Braking(Braking { began, reason }) = moment.before else { continue };
            let over = moment.now >= began + limits.spec().brake;
            match moment.event {
                Event::Disarm => prop_assert_eq!(moment.step.state, State::Disarmed),
                Event::Arm(..) if moment.step.refused.is_none() => {
                    prop_assert!(matches!(moment.step.state, State::Armed(_)));
                    prop_assert_eq!(moment.step.output, Output::failsafe(&limits));
                }
                event if over || event == Event::Fault(Fault::Actuator) => {
                    prop_assert_eq!(moment.step.state, State::Stopped { reason });
                    prop_assert_eq!(moment.step.output, Output::failsafe(&limits));
                }
                _ => {
                    prop_assert_eq!(moment.step.state, moment.before);
                    prop_assert_eq!(moment.step.output, Output::brake(&limits));
                }
            }
        }
    }

    #[test]
    fn rule_5_a_stop_lasts_until_an_operator_arms_or_disarms((limits, moments) in life()) {
        for moment in moments {
            let State::Stopped { .. } = moment.before else { continue };
            match moment.event {
                Event::Disarm => prop_assert_eq!(moment.step.state, State::Disarmed),
                Event::Arm(..) if moment.step.refused.is_none() => {
                    prop_assert!(matches!(moment.step.state, State::Armed(_)));
                    prop_assert_eq!(moment.step.output, Output::failsafe(&limits));
                }
                _ => {
                    prop_assert_eq!(moment.step.state, moment.before, "the reason is kept");
                    prop_assert_eq!(moment.step.output, Output::failsafe(&limits));
                }
            }
        }
    }

    #[test]
    fn rule_6_operators_and_faults_stop_at_once((limits, moments) in life()) {
        for moment in moments {
            let reason = match moment.event {
                Event::Stop => StopReason::Operator,
                Event::Fault(fault) => StopReason::Fault(fault),
                _ => continue,
            };
            let expired = moment.before.expires(&limits).is_some_and(|time| moment.now >= time);
            match moment.before {
                State::Driving(_) if !expired && brakes(&limits, &moment, reason) => {
                    let braking = Braking { began: moment.now, reason };
                    prop_assert_eq!(moment.step.state, State::Braking(braking));
                    prop_assert_eq!(moment.step.output, Output::brake(&limits));
                }
                State::Armed(_) | State::Driving(_) | State::Trimming(_) if !expired => {
                    prop_assert_eq!(moment.step.state, State::Stopped { reason });
                    prop_assert_eq!(moment.step.output, Output::failsafe(&limits));
                }
                State::Disarmed => prop_assert_eq!(moment.step.state, State::Disarmed),
                _ => prop_assert!(moment.step.state.stopped().is_some()),
            }
        }
    }

    /// From the outputs alone: the brake follows an output that drove ahead, lasts for its time at
    /// most, and has the channels' failsafe values, so that it never commands a motion.
    #[test]
    fn rule_6_the_brake_follows_driving_ahead_and_ends_in_time((limits, moments) in life()) {
        let mut began = None;
        for moment in moments {
            if moment.step.output.mode != Mode::Brake {
                began = None;
                continue;
            }
            let failsafe = Output::failsafe(&limits);
            prop_assert_eq!(Output { mode: Mode::Failsafe, ..moment.step.output }, failsafe);
            match began {
                None => {
                    prop_assert_eq!(moment.held.mode, Mode::Drive);
                    prop_assert!(moment.held.throttle > 0.0);
                    began = Some(moment.now);
                }
                Some(began) => prop_assert!(moment.now.since(began) < limits.spec().brake),
            }
        }
    }

    #[test]
    fn rule_9_outputs_stay_within_their_ranges((limits, moments) in life()) {
        let spec = limits.spec();
        for moment in moments {
            let output = moment.step.output;
            if let State::Trimming(_) = moment.step.state {
                // Trimming may use the servo's full range, also beyond the limits for driving.
                prop_assert!(output.steering.abs() <= 1.0 && output.throttle == 0.0);
                continue;
            }
            prop_assert!((spec.steering.min..=spec.steering.max).contains(&output.steering));
            prop_assert!((spec.throttle.min..=spec.throttle.max).contains(&output.throttle));
        }
    }

    #[test]
    fn rule_9_a_command_is_reached_within_the_range((limits, moments) in life()) {
        let spec = limits.spec();
        for moment in moments {
            let (Some(command), State::Driving(mut driving)) =
                (command_of(&moment), moment.step.state) else { continue };
            if moment.step.refused.is_none() {
                // After an hour of slewing the output is at its target.
                driving.seen = driving.seen - Duration::from_secs(3600);
                driving.accepted = moment.now;
                let output = step(State::Driving(driving), &limits, moment.now, Event::Tick).output;
                let (steering, throttle) = (&spec.steering, &spec.throttle);
                prop_assert_eq!(output.mode, Mode::Drive);
                prop_assert_eq!(output.steering, command.steering.max(steering.min).min(steering.max));
                prop_assert_eq!(output.throttle, command.throttle.max(throttle.min).min(throttle.max));
            }
        }
    }

    #[test]
    fn rule_10_no_faster_than_the_slew_rate_while_driving((limits, moments) in life()) {
        let spec = limits.spec();
        let mut last = START;
        for moment in moments {
            let seconds = moment.now.since(last).as_secs_f64();
            last = moment.now;
            let output = moment.step.output;
            if output.mode == Mode::Drive && !matches!(moment.step.state, State::Trimming(_)) {
                for (now, then, channel) in [
                    (output.steering, moment.held.steering, spec.steering),
                    (output.throttle, moment.held.throttle, spec.throttle),
                ] {
                    let largest = f64::from(channel.slew_per_second) * seconds;
                    let moved = (f64::from(now) - f64::from(then)).abs();
                    prop_assert!(moved <= largest * (1.0 + 1e-6) + 1e-6, "{} in {}", moved, seconds);
                }
            }
        }
    }

    #[test]
    fn rule_11_a_clock_that_goes_back_stops(
        (limits, moments) in life(),
        event in prop_oneof![
            Just(Event::Tick),
            fault().prop_map(Event::Fault),
            Just(Event::Command(Command {
                steering: 0.0, throttle: 0.0, captured: START, sequence: u64::MAX,
            })),
        ],
        back in 1u64..10_000_000_000,
    ) {
        let Some(moment) = moments.last() else { return Ok(()) };
        let now = moment.now - Duration::from_nanos(back);
        let after = step(moment.step.state, &limits, now, event);
        match moment.step.state {
            State::Armed(_) | State::Driving(_) => {
                let reason = StopReason::ClockWentBack;
                prop_assert_eq!(after.state, State::Stopped { reason });
                prop_assert_eq!(after.output, Output::failsafe(&limits));
            }
            // For a trim, the clock went back if the time is before the last confirmation.
            State::Trimming(trimming) if now < trimming.confirmed => {
                prop_assert!(after.state.stopped().is_some());
            }
            State::Trimming(_) => {}
            State::Braking(Braking { began, reason }) if now < began => {
                prop_assert_eq!(after.state, State::Stopped { reason });
            }
            State::Braking(_) => prop_assert!(after.state.stopped().is_some()),
            state => prop_assert_eq!(after.state, state),
        }
    }

    #[test]
    fn rule_12_an_interlock_keeps_the_car_from_being_armed((limits, moments) in life()) {
        for moment in moments {
            let Event::Arm(_, interlocks) = moment.event else { continue };
            if interlocks != Interlocks::default() {
                prop_assert!(moment.step.refused.is_some());
                let idle = matches!(moment.before, State::Disarmed | State::Stopped { .. });
                let armed = matches!(moment.step.state, State::Armed(_));
                prop_assert!(!(idle && armed));
            }
        }
        let _ = limits;
    }

    #[test]
    fn rule_13_a_trim_value_holds_the_throttle_at_rest_and_for_one_deadline((limits, moments) in life()) {
        let mut confirmed: Option<Time> = None;
        for moment in moments {
            match moment.event {
                Event::Trim(steering, _) if moment.step.refused.is_none() => {
                    prop_assert!((-1.0..=1.0).contains(&steering));
                    let idle = matches!(moment.before, State::Disarmed | State::Trimming(_));
                    prop_assert!(idle, "from {:?}", moment.before);
                    confirmed = Some(moment.now);
                }
                _ => {}
            }
            if let State::Trimming(_) = moment.step.state {
                prop_assert_eq!(moment.step.output.throttle, 0.0);
                let since = confirmed.map(|at| moment.now.since(at));
                prop_assert!(since.is_some_and(|since| since < limits.patience()));
            }
        }
    }

    /// The model checker relies on this: it represents times as ages and starts every step with the
    /// same sequence number.
    #[test]
    fn the_origins_of_time_and_sequence_have_no_effect(
        limits in limits(),
        happenings in prop::collection::vec(happening(), 1..60),
        later in 0u64..1_000_000_000_000,
        rise in 0u64..1_000_000_000,
    ) {
        let later = Duration::from_nanos(later);
        let mut state = State::default();
        for moment in live(&limits, &happenings) {
            let event = match moment.event {
                Event::Command(command) => Event::Command(Command {
                    captured: command.captured + later,
                    sequence: command.sequence + rise,
                    ..command
                }),
                event => event,
            };
            let moved = step(state, &limits, moment.now + later, event);
            prop_assert_eq!(moved.output, moment.step.output);
            prop_assert_eq!(moved.refused, moment.step.refused);
            state = moved.state;
        }
    }

    #[test]
    fn the_policy_accepts_any_time(
        limits in limits(),
        moments in prop::collection::vec((any::<u64>(), happening()), 1..60),
    ) {
        let mut state = State::default();
        for (nanos, Happening { what, .. }) in moments {
            let now = Time::from_nanos(nanos);
            let event = match what {
                What::Event(event) => event,
                What::Command { age, steering, throttle, .. } => Event::Command(Command {
                    steering, throttle, captured: now - age, sequence: nanos,
                }),
            };
            let step = step(state, &limits, now, event);
            prop_assert!(step.output.steering.abs() <= 1.0);
            state = step.state;
        }
    }
}

/// Whether a stop for `reason` at `moment` brakes.
fn brakes(limits: &Limits, moment: &Moment, reason: StopReason) -> bool {
    moment.held.throttle > 0.0
        && !limits.spec().brake.is_zero()
        && reason != StopReason::Fault(Fault::Actuator)
}

/// The rule tests are effective only if the sequences contain enough driving, stops and refusals.
#[test]
fn the_sequences_drive_stop_and_refuse() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let (mut driven, mut stopped, mut braked, mut refused) = (0, 0, 0, 0);
    for _ in 0..200 {
        let (_, moments) = life().new_tree(&mut runner).unwrap().current();
        let mode = |mode| {
            moments
                .iter()
                .filter(|m| m.step.output.mode == mode)
                .count()
        };
        driven += mode(Mode::Drive);
        stopped += mode(Mode::Failsafe);
        braked += mode(Mode::Brake);
        refused += moments.iter().filter(|m| m.step.refused.is_some()).count();
    }
    assert!(
        driven > 300 && stopped > 300 && braked > 30 && refused > 300,
        "{driven} {stopped} {braked} {refused}"
    );
}
