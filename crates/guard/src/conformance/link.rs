//! The conformance suite for links, each with its guard.

use std::time::Duration;

use pilotage_vehicle::{Command, Domain, Fault, Time};

use crate::{
    ArmRequest, Channel, CommandLink, Limits, LimitsSpec, LinkError, Mode, OperatorLink, Output,
    Refusal, State, StopReason,
};

/// A link under test with its guard, clock and an actuator that can be inspected.
pub trait LinkRig {
    /// The link under test.
    type Link: OperatorLink;

    /// The link under test.
    fn link(&mut self) -> &mut Self::Link;

    /// The current time.
    fn now(&self) -> Time;

    /// Lets time pass for the guard.
    fn wait(&mut self, duration: Duration);

    /// The output that is in force.
    fn in_force(&mut self) -> Output;

    /// The tolerance of the guard's timing; zero on simulated time.
    fn slack(&self) -> Duration;
}

/// Runs the suite; `start` starts a guard with the given limits and a link to it.
///
/// # Panics
/// At the first violation.
pub fn link<R: LinkRig>(start: impl Fn(Limits) -> R) {
    let bench = |actuator| Bench::start(&start, actuator);
    starts_disarmed(bench(Domain::Simulated));
    simulated_engine_on_a_physical_car_is_refused(bench(Domain::Physical));
    arming_holds_failsafe_and_is_not_repeated(bench(Domain::Simulated));
    good_commands_drive_and_bad_ones_do_not(bench(Domain::Simulated));
    silence_stops(bench(Domain::Simulated));
    operators_and_faults_stop(bench(Domain::Simulated));
}

/// Runs the suite for links on simulated time, whose commands may be sent ahead.
///
/// # Panics
/// As [`link`].
pub fn delayed_link<R: LinkRig>(start: impl Fn(Limits) -> R) {
    let bench = |actuator| Bench::start(&start, actuator);
    commands_arrive_when_they_are_due(bench(Domain::Simulated));
    an_operators_request_ends_commands_in_flight(bench(Domain::Simulated));
}

/// The disarmed, failsafe and driving values all differ.
fn limits(actuator: Domain) -> Limits {
    let spec = LimitsSpec {
        steering: Channel {
            failsafe: 0.25,
            disarmed: -0.25,
            min: -1.0,
            max: 1.0,
            slew_per_second: 1e6,
        },
        throttle: Channel {
            failsafe: 0.0,
            disarmed: 0.0,
            min: -0.5,
            max: 0.5,
            slew_per_second: 1e6,
        },
        actuator,
        ..LimitsSpec::simulated()
    };
    let Ok(limits) = Limits::new(spec) else {
        unreachable!("these limits keep every rule");
    };
    limits
}

struct Bench<R> {
    rig: R,
    limits: Limits,
    sequence: u64,
}

const FRAME: Duration = Duration::from_millis(50);
const ENGINE: ArmRequest = ArmRequest {
    engine: Domain::Simulated,
};

impl<R: LinkRig> Bench<R> {
    fn start(start: &impl Fn(Limits) -> R, actuator: Domain) -> Self {
        let limits = limits(actuator);
        Self {
            rig: start(limits),
            limits,
            sequence: 0,
        }
    }

    fn arm(&mut self, request: ArmRequest) -> Result<(), LinkError> {
        let now = self.rig.now();
        self.rig.link().arm(now, request)
    }

    /// A good command, as of now.
    fn command(&mut self) -> Command {
        self.sequence += 1;
        Command {
            steering: -0.5,
            throttle: 0.25,
            captured: self.rig.now(),
            sequence: self.sequence,
        }
    }

    /// Sends `command` to arrive now, and waits until it has taken effect.
    fn send(&mut self, command: Command) {
        let now = self.rig.now();
        let sent = self.rig.link().send_at(now, command);
        assert_eq!(sent, Ok(()), "a command can be sent");
        self.settle();
    }

    /// Waits for one tick.
    fn settle(&mut self) {
        let slack = self.rig.slack();
        self.rig.wait(Duration::from_millis(5) + slack);
    }

    fn drive(&mut self) {
        assert_eq!(self.arm(ENGINE), Ok(()), "an operator can arm the car");
        let command = self.command();
        self.send(command);
        self.expect(
            Output {
                mode: Mode::Drive,
                steering: -0.5,
                throttle: 0.25,
            },
            "a good command drives",
        );
    }

    fn expect(&mut self, output: Output, rule: &str) {
        assert_eq!(self.rig.in_force(), output, "{rule}");
        assert_eq!(
            self.rig.link().status().output,
            output,
            "{rule}, also in the status"
        );
    }

    fn expect_disarmed(&mut self, rule: &str) {
        self.expect(Output::disarmed(&self.limits), rule);
    }

    fn expect_failsafe(&mut self, rule: &str) {
        self.expect(Output::failsafe(&self.limits), rule);
    }

    fn expect_stopped(&mut self, reason: StopReason) {
        self.expect_failsafe("a stopped guard holds failsafe");
        let state = self.rig.link().status().state;
        assert_eq!(state, State::Stopped { reason }, "the reason is kept");
    }

    fn refused(&mut self, refusal: Refusal) -> u64 {
        self.rig.link().status().counters.refused(refusal)
    }
}

fn starts_disarmed<R: LinkRig>(mut bench: Bench<R>) {
    bench.expect_disarmed("a guard starts disarmed");
    let command = bench.command();
    bench.send(command);
    bench.expect_disarmed("a command does not arm");
    assert_eq!(bench.refused(Refusal::NotArmed), 1, "it is refused");
    bench.rig.wait(2 * bench.limits.spec().deadline);
    bench.expect_disarmed("time does not arm");
}

fn simulated_engine_on_a_physical_car_is_refused<R: LinkRig>(mut bench: Bench<R>) {
    let refused = Err(LinkError::Refused(Refusal::SimulatedEngine));
    assert_eq!(bench.arm(ENGINE), refused, "the domain is checked");
    bench.expect_disarmed("a refused request does not arm");
}

fn arming_holds_failsafe_and_is_not_repeated<R: LinkRig>(mut bench: Bench<R>) {
    let early = bench.command();
    bench.settle();
    assert_eq!(bench.arm(ENGINE), Ok(()), "an operator can arm the car");
    bench.expect_failsafe("an armed guard holds failsafe until a command comes");
    let again = Err(LinkError::Refused(Refusal::AlreadyArmed));
    assert_eq!(
        bench.arm(ENGINE),
        again,
        "an armed guard is not armed again"
    );
    bench.send(early);
    bench.expect_failsafe("a frame from before the arming does not drive");
    assert_eq!(bench.refused(Refusal::BeforeArming), 1, "it is refused");
    bench.rig.wait(bench.limits.spec().first_command);
    bench.settle();
    bench.expect_stopped(StopReason::NoFirstCommand);
}

fn good_commands_drive_and_bad_ones_do_not<R: LinkRig>(mut bench: Bench<R>) {
    bench.drive();
    let replayed = bench.command().sequence - 1;
    let good = Command {
        steering: 1.0,
        throttle: 0.5,
        captured: bench.rig.now(),
        sequence: u64::MAX,
    };
    let bad = [
        (
            Command {
                steering: f32::NAN,
                ..good
            },
            Refusal::NotFinite,
        ),
        (
            Command {
                throttle: 1.5,
                ..good
            },
            Refusal::OutOfRange,
        ),
        (
            Command {
                captured: good.captured + Duration::from_secs(3600),
                ..good
            },
            Refusal::FromFuture,
        ),
        (
            Command {
                sequence: replayed,
                ..good
            },
            Refusal::Replayed,
        ),
    ];
    for (command, refusal) in bad {
        bench.send(command);
        assert_eq!(bench.rig.in_force().steering, -0.5, "{refusal}: no effect");
        assert_eq!(bench.refused(refusal), 1, "{refusal}: counted");
    }
    let command = bench.command();
    bench.send(Command {
        throttle: 1.0,
        ..command
    });
    assert_eq!(bench.rig.in_force().throttle, 0.5, "the throttle limit");
    let counters = bench.rig.link().status().counters;
    assert_eq!(counters.accepted, 2, "good commands are counted");
    assert_eq!(counters.refused_in_all(), 4, "bad commands are counted");
}

fn commands_arrive_when_they_are_due<R: LinkRig>(mut bench: Bench<R>) {
    bench.drive();
    let (now, slack) = (bench.rig.now(), bench.rig.slack());
    let command = bench.command();
    let late = Command {
        steering: 0.75,
        ..command
    };
    let sent = bench.rig.link().send_at(now + FRAME, late);
    assert_eq!(sent, Ok(()), "a command can be sent ahead");
    bench.rig.wait(FRAME - Duration::from_millis(1) - slack);
    assert_eq!(bench.rig.in_force().steering, -0.5, "not before its moment");
    bench.rig.wait(Duration::from_millis(1) + slack);
    bench.settle();
    assert_eq!(bench.rig.in_force().steering, 0.75, "at its moment");
}

fn an_operators_request_ends_commands_in_flight<R: LinkRig>(mut bench: Bench<R>) {
    type RequestFn<R> = fn(&mut <R as LinkRig>::Link, Time) -> Result<(), LinkError>;
    let requests: [RequestFn<R>; 3] = [
        |link, now| link.stop(now),
        |link, now| link.disarm(now),
        |link, now| link.report(now, Fault::Camera),
    ];
    for send_request in requests {
        bench.drive();
        let now = bench.rig.now();
        let command = bench.command();
        let ahead = Command {
            captured: now + FRAME,
            ..command
        };
        let sent = bench.rig.link().send_at(now + FRAME, ahead);
        assert_eq!(sent, Ok(()), "a command can be sent ahead");
        assert_eq!(send_request(bench.rig.link(), now), Ok(()));
        assert_eq!(bench.arm(ENGINE), Ok(()), "an operator can arm again");
        bench.rig.wait(2 * FRAME);
        bench.settle();
        bench.expect_failsafe("a command from before the stop never drives");
        let now = bench.rig.now();
        assert_eq!(bench.rig.link().disarm(now), Ok(()));
    }
}

fn silence_stops<R: LinkRig>(mut bench: Bench<R>) {
    bench.drive();
    let (slack, deadline) = (bench.rig.slack(), bench.limits.spec().deadline);
    let before = deadline - Duration::from_millis(6) - 2 * slack;
    bench.rig.wait(before);
    assert_eq!(bench.rig.in_force().mode, Mode::Drive, "not too early");
    bench.rig.wait(Duration::from_millis(1) + 2 * slack);
    bench.expect_stopped(StopReason::Deadline);
    for _ in 0..3 {
        let command = bench.command();
        bench.send(command);
        bench.expect_stopped(StopReason::Deadline);
    }
    assert_eq!(bench.rig.link().status().counters.stops, 1, "one stop");
    bench.drive();
}

fn operators_and_faults_stop<R: LinkRig>(mut bench: Bench<R>) {
    bench.drive();
    let now = bench.rig.now();
    assert_eq!(bench.rig.link().report(now, Fault::Engine), Ok(()));
    bench.expect_stopped(StopReason::Fault(Fault::Engine));
    let now = bench.rig.now();
    assert_eq!(bench.rig.link().stop(now), Ok(()));
    bench.expect_stopped(StopReason::Fault(Fault::Engine));

    bench.drive();
    let now = bench.rig.now();
    assert_eq!(bench.rig.link().stop(now), Ok(()));
    bench.expect_stopped(StopReason::Operator);

    bench.drive();
    let now = bench.rig.now();
    assert_eq!(bench.rig.link().disarm(now), Ok(()));
    bench.expect_disarmed("an operator can disarm the car");
    let command = bench.command();
    bench.send(command);
    bench.expect_disarmed("a command does not arm");
}
