//! The guard in the pilot's process: what it writes, and when.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use pilotage_guard::conformance::RecordingActuator;
use pilotage_guard::{
    Actuator, ActuatorError, ArmRequest, CommandLink, Executor, InProcessLink, Limits, LimitsSpec,
    LinkError, Mode, OperatorLink, Output, Point, QUEUE_CAPACITY, Refusal, StartError, State,
    StopReason,
};
use pilotage_vehicle::{Command, Domain, Fault, Time};
use proptest::prelude::*;

const START: Time = Time::from_nanos(7_000_000_001);
const ENGINE: ArmRequest = ArmRequest {
    engine: Domain::Simulated,
};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn after(ms: u64) -> Time {
    START + millis(ms)
}

fn limits() -> Limits {
    let mut spec = LimitsSpec::simulated();
    spec.steering.disarmed = -0.25;
    spec.steering.failsafe = 0.25;
    Limits::new(spec).unwrap()
}

fn start() -> InProcessLink<RecordingActuator> {
    InProcessLink::start(limits(), RecordingActuator::default(), START).unwrap()
}

fn command(captured: Time, sequence: u64) -> Command {
    Command {
        steering: 0.5,
        throttle: 0.25,
        captured,
        sequence,
    }
}

/// A guard that was armed at the start, with a command in force since 12 ms.
fn driving() -> InProcessLink<RecordingActuator> {
    let mut link = start();
    link.arm(START, ENGINE).unwrap();
    link.send_at(after(12), command(START, 1)).unwrap();
    link.advance_to(after(12)).unwrap();
    assert_eq!(link.status().output.mode, Mode::Drive);
    link
}

/// The time of each write, in microseconds after the start, and its mode.
fn modes(link: &InProcessLink<RecordingActuator>) -> Vec<(u64, Mode)> {
    let writes = link.actuator().writes.iter();
    writes
        .map(|(time, output)| (time.since(START).as_micros() as u64, output.mode))
        .collect()
}

#[test]
fn the_disarmed_values_are_written_first() {
    let link = start();
    let disarmed = Output::disarmed(&limits());
    assert_eq!(link.actuator().writes, [(START, disarmed)]);
    assert_eq!(link.status().state, State::Disarmed);
    assert_eq!(link.limits(), &limits());
    assert_eq!(link.now(), START);
}

#[test]
fn it_writes_on_every_tick_and_on_every_change() {
    use Mode::{Disarmed, Drive, Failsafe};
    let mut link = start();
    link.advance_to(after(11)).unwrap();
    link.arm(after(12), ENGINE).unwrap();
    link.send_at(after(16), command(after(14), 1)).unwrap();
    link.advance_to(after(26)).unwrap();
    let expected = [
        (0, Disarmed),
        (5_000, Disarmed),
        (10_000, Disarmed),
        (12_000, Failsafe),
        (15_000, Failsafe),
        (16_000, Drive),
        (20_000, Drive),
        (25_000, Drive),
    ];
    assert_eq!(modes(&link), expected);
    // 40 per second, starting at the failsafe value at the time of the last step.
    let steering = |at: usize| link.actuator().writes[at].1.steering;
    assert!((steering(5) - 0.29).abs() < 1e-6, "{}", steering(5));
    assert!((steering(6) - 0.45).abs() < 1e-6, "{}", steering(6));
    assert_eq!(steering(7), 0.5);
}

#[test]
fn a_command_that_arrives_with_a_tick_takes_effect_with_it() {
    let mut link = start();
    link.arm(START, ENGINE).unwrap();
    link.send_at(after(5), command(START, 1)).unwrap();
    link.advance_to(after(5)).unwrap();
    let (time, output) = *link.actuator().writes.last().unwrap();
    assert_eq!((time, output.mode), (after(5), Mode::Drive));
    assert!((output.steering - 0.45).abs() < 1e-6, "{}", output.steering);
}

#[test]
fn a_pilot_that_hangs_is_stopped_at_the_deadline() {
    let mut link = driving();
    link.advance_to(after(1012)).unwrap();
    let writes = modes(&link);
    let stopped = writes
        .iter()
        .position(|&(at, mode)| at > 0 && mode == Mode::Failsafe);
    let last_drive = writes.iter().rposition(|&(_, mode)| mode == Mode::Drive);
    let (at, _) = writes[last_drive.unwrap() + 1];
    assert_eq!(at, 162_000, "between two ticks, 150 ms after the command");
    assert!(stopped.is_some());
    assert!(
        writes[last_drive.unwrap() + 1..]
            .iter()
            .all(|&(_, mode)| mode == Mode::Failsafe)
    );
    assert_eq!(writes.last().unwrap().0, 1_010_000, "the ticks continue");
    let reason = StopReason::Deadline;
    assert_eq!(link.status().state, State::Stopped { reason });
    assert_eq!(link.status().counters.stops, 1);

    link.send_at(after(1012), command(after(1012), 2)).unwrap();
    link.advance_to(after(1020)).unwrap();
    assert_eq!(link.status().state, State::Stopped { reason });
    assert_eq!(link.status().counters.refused(Refusal::NotArmed), 1);
}

#[test]
fn a_time_in_the_past_means_now() {
    let mut link = driving();
    link.send_at(START, command(after(12), 2)).unwrap();
    link.advance_to(START).unwrap();
    assert_eq!(link.now(), after(12), "time does not go back");
    assert_eq!(link.status().counters.accepted, 2);
    link.stop(START).unwrap();
    let reason = StopReason::Operator;
    assert_eq!(link.status().state, State::Stopped { reason });
}

#[test]
fn an_operators_request_discards_commands_in_flight() {
    let mut link = driving();
    link.send_at(after(20), command(after(12), 2)).unwrap();
    link.send_at(after(30), command(after(12), 3)).unwrap();
    link.stop(after(25)).unwrap();
    link.advance_to(after(40)).unwrap();
    let counters = link.status().counters;
    assert_eq!(
        counters.accepted, 2,
        "commands that arrived before are accepted"
    );
    assert_eq!(
        counters.refused_in_all(),
        0,
        "commands in flight are discarded"
    );
    assert_eq!(link.status().output, Output::failsafe(&limits()));
}

#[test]
fn a_full_queue_refuses_and_counts() {
    let mut link = driving();
    for sequence in 0..QUEUE_CAPACITY as u64 {
        let sent = link.send_at(after(20), command(after(12), 2 + sequence));
        assert_eq!(sent, Ok(()));
    }
    let sent = link.send_at(after(20), command(after(12), 100));
    assert_eq!(sent, Err(LinkError::QueueFull));
    assert_eq!(link.status().counters.dropped, 1);
    link.report(after(13), Fault::Camera).unwrap();
    let reason = StopReason::Fault(Fault::Camera);
    assert_eq!(
        link.status().state,
        State::Stopped { reason },
        "a fault is reported although the queue is full"
    );
    link.disarm(after(14)).unwrap();
    link.arm(after(15), ENGINE).unwrap();
    link.advance_to(after(20)).unwrap();
    let counters = link.status().counters;
    assert_eq!(counters.refused_in_all(), 0, "the fault discarded them");
    let sent = link.send_at(after(21), command(after(20), 100));
    assert_eq!(sent, Ok(()));
}

#[test]
fn an_actuator_that_fails_stops_the_car_and_is_retried_each_tick() {
    let mut link = driving();
    link.actuator_mut().broken = true;
    link.advance_to(after(22)).unwrap();
    let reason = StopReason::Fault(Fault::Actuator);
    assert_eq!(link.status().state, State::Stopped { reason });
    let failsafe = Output::failsafe(&limits());
    let failed = &link.actuator().failed;
    let tried: Vec<_> = failed
        .iter()
        .map(|&(time, output)| (time, output.mode))
        .collect();
    let expected = [
        (after(15), Mode::Drive),
        (after(15), Mode::Failsafe),
        (after(20), Mode::Failsafe),
    ];
    assert_eq!(tried, expected);
    assert_eq!(link.status().counters.write_errors, 3);
    assert_eq!(link.status().counters.stops, 1);
    let failure = link.status().failure.unwrap();
    assert!(failure.contains("recording stand-in"), "{failure}");
    let refused = Err(LinkError::Refused(Refusal::ActuatorFailed));
    assert_eq!(link.arm(after(22), ENGINE), refused);

    link.actuator_mut().broken = false;
    link.advance_to(after(26)).unwrap();
    assert_eq!(link.actuator().writes.last(), Some(&(after(25), failsafe)));
    assert_eq!(
        link.status().state,
        State::Stopped { reason },
        "stopped until armed again"
    );
    assert_eq!(link.status().failure, None);
    link.arm(after(27), ENGINE).unwrap();
    assert!(matches!(link.status().state, State::Armed(_)));
}

#[test]
fn a_disarmed_guard_stays_disarmed_when_its_actuator_fails() {
    let mut link = start();
    link.actuator_mut().broken = true;
    link.advance_to(after(10)).unwrap();
    assert_eq!(link.status().state, State::Disarmed);
    assert_eq!(link.status().counters.write_errors, 2);
    assert_eq!(link.status().counters.stops, 0);
    link.actuator_mut().broken = false;
    link.advance_to(after(15)).unwrap();
    let disarmed = Output::disarmed(&limits());
    assert_eq!(link.actuator().writes.last(), Some(&(after(15), disarmed)));
}

#[test]
fn a_guard_does_not_start_without_an_actuator_or_a_valid_tick() {
    let broken = RecordingActuator {
        broken: true,
        ..RecordingActuator::default()
    };
    let error = InProcessLink::start(limits(), broken, START).unwrap_err();
    assert!(matches!(error, StartError::Actuator(_)), "{error}");
    let start = |tick| {
        InProcessLink::start_with_tick(limits(), RecordingActuator::default(), START, tick)
            .map(|link| link.now())
            .map_err(|error| error.to_string())
    };
    for tick in [Duration::ZERO, Duration::from_micros(99), millis(50)] {
        let error = start(tick).unwrap_err();
        assert!(error.contains("shorter than a frame"), "{error}");
    }
    assert_eq!(start(Duration::from_micros(100)), Ok(START));
    assert_eq!(start(Duration::from_micros(49_999)), Ok(START));
}

#[test]
fn missed_ticks_are_skipped() {
    let tick = InProcessLink::<RecordingActuator>::TICK;
    let actuator = RecordingActuator::default();
    let mut guard = Executor::start(limits(), actuator, START, tick).unwrap();
    assert_eq!(guard.arm(after(10), ENGINE), None);
    assert_eq!(guard.command(after(12), command(after(12), 1)), None);
    let (before, then) = (guard.actuator().writes.len(), guard.now() + millis(32));
    guard.skip_missed_ticks(then);
    guard.advance(then);
    let writes = &guard.actuator().writes[before..];
    assert_eq!(writes.len(), 1, "of six ticks the newest: {writes:?}");
    assert!(then.since(writes[0].0) < millis(5));
    // A stop is never skipped.
    let late = then + Duration::from_secs(1);
    guard.skip_missed_ticks(late);
    guard.advance(late);
    let reason = StopReason::Deadline;
    assert_eq!(guard.status().state, State::Stopped { reason });
    let (_, output) = guard.actuator().writes.last().unwrap();
    assert_eq!(*output, Output::failsafe(&limits()));
}

#[test]
fn an_absurd_jump_of_the_clock_is_not_a_hang() {
    for year in [1, 100] {
        let mut link = driving();
        let then = START + Duration::from_secs(year * 31_557_600);
        link.advance_to(then).unwrap();
        assert_eq!(link.now(), then);
        let reason = StopReason::Deadline;
        assert_eq!(link.status().state, State::Stopped { reason });
        let writes = &link.actuator().writes;
        // 36 writes until the stop, then the ticks of the last minute, both ends included.
        assert_eq!(writes.len(), 36 + 12_001);
        let (last, output) = *writes.last().unwrap();
        assert!(then.since(last) < millis(5), "the last tick is written");
        assert_eq!(output, Output::failsafe(&limits()));
        assert_eq!(
            last.since(START).as_nanos() % millis(5).as_nanos(),
            0,
            "at the same ticks"
        );
        link.arm(then, ENGINE).unwrap();
        link.send_at(then, command(then, 2)).unwrap();
        link.advance_to(then + millis(1)).unwrap();
        assert_eq!(link.status().output.mode, Mode::Drive);
    }
    let mut link = driving();
    link.advance_to(Time::from_nanos(u64::MAX)).unwrap();
    assert!(link.status().state.stopped().is_some());
    link.advance_to(Time::from_nanos(u64::MAX)).unwrap();
}

#[test]
fn no_ticks_are_skipped_up_to_a_minute() {
    let mut link = start();
    link.advance_to(START + Duration::from_secs(60)).unwrap();
    assert_eq!(link.actuator().writes.len(), 1 + 12_000);
}

#[test]
fn a_held_stop_keeps_the_car_from_being_armed_until_it_is_released() {
    let tick = InProcessLink::<RecordingActuator>::TICK;
    let actuator = RecordingActuator::default();
    let mut guard = Executor::start(limits(), actuator, START, tick).unwrap();
    assert_eq!(guard.arm(after(10), ENGINE), None);
    assert_eq!(guard.command(after(12), command(after(12), 1)), None);
    guard.hold_stop(after(14), true);
    let reason = StopReason::Operator;
    assert_eq!(guard.status().state, State::Stopped { reason });
    assert!(guard.status().stop_held);
    assert_eq!(guard.arm(after(16), ENGINE), Some(Refusal::StopHeld));
    let refused = guard.trim(after(16), Point::Centre, 1500);
    assert_eq!(refused, Some(Refusal::StopHeld));
    guard.disarm(after(17));
    assert_eq!(guard.arm(after(18), ENGINE), Some(Refusal::StopHeld));
    guard.hold_stop(after(20), false);
    let state = guard.status().state;
    assert_eq!(state, State::Disarmed, "a release does not arm");
    assert_eq!(guard.arm(after(22), ENGINE), None);
}

#[test]
fn releasing_a_stop_that_is_not_held_has_no_effect() {
    let tick = InProcessLink::<RecordingActuator>::TICK;
    let mut guard = Executor::start(limits(), RecordingActuator::default(), START, tick).unwrap();
    assert_eq!(guard.arm(after(10), ENGINE), None);
    assert_eq!(guard.command(after(12), command(after(12), 1)), None);
    guard.hold_stop(after(14), false);
    assert_eq!(guard.status().output.mode, Mode::Drive);
}

#[test]
fn an_actuator_without_points_is_not_trimmed() {
    let tick = InProcessLink::<RecordingActuator>::TICK;
    let mut guard = Executor::start(limits(), RecordingActuator::default(), START, tick).unwrap();
    let refused = guard.trim(after(10), Point::Centre, 1500);
    assert_eq!(refused, Some(Refusal::NotTrimming));
    assert_eq!(guard.status().state, State::Disarmed);
}

/// Counts writes, and does not allocate.
struct Sink(u64);

impl Actuator for Sink {
    fn name(&self) -> &str {
        "sink stand-in"
    }

    fn write(&mut self, _: Time, _: &Output) -> Result<(), ActuatorError> {
        self.0 += 1;
        Ok(())
    }
}

#[test]
fn nothing_is_allocated_after_the_start() {
    let mut link = InProcessLink::start(limits(), Sink(0), START).unwrap();
    let counted = allocation_counter::measure(|| {
        link.arm(START, ENGINE).unwrap();
        for frame in 0..100u64 {
            let captured = after(50 * frame);
            link.send_at(captured + millis(20), command(captured, frame))
                .unwrap();
            link.advance_to(captured + millis(50)).unwrap();
        }
        for sequence in 0..QUEUE_CAPACITY as u64 + 4 {
            let _ = link.send_at(after(5010), command(after(5000), sequence));
        }
        link.report(after(5020), Fault::Engine).unwrap();
        link.disarm(after(5030)).unwrap();
    });
    assert_eq!(counted.count_total, 0, "allocations");
    let counters = link.status().counters;
    assert_eq!(counters.accepted, 100);
    assert_eq!(counters.dropped, 4);
    assert!(link.actuator().0 > 1000);
}

#[derive(Debug, Clone)]
enum Act {
    Arm,
    Disarm,
    Stop,
    Report,
    Send { delay: u64, age: u64 },
}

proptest! {
    /// The writes do not depend on how often the guard is run between calls.
    #[test]
    fn writes_do_not_depend_on_how_often_the_guard_is_run(
        acts in prop::collection::vec(
            (0u64..300_000, prop_oneof![
                3 => Just(Act::Arm),
                1 => Just(Act::Disarm),
                1 => Just(Act::Stop),
                1 => Just(Act::Report),
                12 => (0u64..80_000, 0u64..30_000).prop_map(|(delay, age)| Act::Send { delay, age }),
            ]),
            1..40,
        ),
        steps in prop::collection::vec(1u64..20_000, 1..20),
    ) {
        let mut links = [start(), start()];
        let [rarely, often] = &mut links;
        let mut now = START;
        let mut steps = steps.iter().cycle();
        for (sequence, (wait, act)) in (0u64..).zip(acts) {
            let then = now + Duration::from_micros(wait);
            while now < then {
                let step = Duration::from_micros(*steps.next().unwrap());
                now = (now + step).min(then);
                often.advance_to(now).unwrap();
            }
            let mut calls = Vec::new();
            for link in [&mut *rarely, &mut *often] {
                calls.push(match act {
                    Act::Arm => link.arm(now, ENGINE),
                    Act::Disarm => link.disarm(now),
                    Act::Stop => link.stop(now),
                    Act::Report => link.report(now, Fault::Engine),
                    Act::Send { delay, age } => {
                        let captured = now - Duration::from_micros(age);
                        let at = now + Duration::from_micros(delay);
                        // Advance first: whether the queue is full depends on how often the guard
                        // is run.
                        link.advance_to(now).and_then(|()| {
                            link.send_at(at, command(captured, sequence))
                        })
                    }
                });
            }
            prop_assert_eq!(calls[0], calls[1]);
        }
        let end = now + Duration::from_secs(3);
        rarely.advance_to(end).unwrap();
        often.advance_to(end).unwrap();
        prop_assert_eq!(&rarely.actuator().writes, &often.actuator().writes);
        prop_assert_eq!(rarely.status(), often.status());
    }
}
