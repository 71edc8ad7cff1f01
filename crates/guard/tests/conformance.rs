//! Runs the conformance suites on this crate's implementations, and on faulty ones, which the
//! suites must detect.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use pilotage_guard::conformance::{self, LinkRig, RecordingActuator};
use pilotage_guard::{
    Actuator, ActuatorError, ArmRequest, CommandLink, InProcessLink, Limits, LinkError,
    OperatorLink, Output, Refusal, Status,
};
use pilotage_vehicle::{Command, Fault, Time};

fn held(actuator: &mut RecordingActuator) -> (f32, f32) {
    let output = actuator.last().unwrap();
    (output.steering, output.throttle)
}

#[test]
fn the_recording_stand_in_is_an_actuator() {
    let mut recording = RecordingActuator::default();
    conformance::actuator(&mut recording, 0.0, held);
    assert_eq!(recording.name(), "recording stand-in");
    assert_eq!(recording.writes.len(), 24);
}

#[test]
#[should_panic(expected = "is accepted")]
fn an_actuator_whose_writes_fail_is_detected() {
    let mut broken = RecordingActuator {
        broken: true,
        ..RecordingActuator::default()
    };
    conformance::actuator(&mut broken, 0.0, |_| (0.0, 0.0));
}

/// Ignores one of the channels.
struct OneChannel(bool, (f32, f32));

impl Actuator for OneChannel {
    fn name(&self) -> &str {
        "one-channel stand-in"
    }

    fn write(&mut self, _: Time, output: &Output) -> Result<(), ActuatorError> {
        match self.0 {
            true => self.1.0 = output.steering,
            false => self.1.1 = output.throttle,
        }
        Ok(())
    }
}

#[test]
#[should_panic(expected = "is in force at once")]
fn an_actuator_without_throttle_is_detected() {
    conformance::actuator(&mut OneChannel(true, (0.0, 0.0)), 0.1, |actuator| {
        actuator.1
    });
}

#[test]
#[should_panic(expected = "is in force at once")]
fn an_actuator_without_steering_is_detected() {
    conformance::actuator(&mut OneChannel(false, (0.0, 0.0)), 0.1, |actuator| {
        actuator.1
    });
}

/// Faults of a link.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    None,
    /// Arms the car when it starts.
    StartsArmed,
    /// Reports that it armed the car, but does not.
    IgnoresArm,
    /// Accepts arming an armed car.
    ArmsAgain,
    /// Arms for any engine.
    IgnoresDomain,
    /// Reports that it disarmed the car, but does not.
    IgnoresDisarm,
    /// Reports that it stopped the car, but does not.
    IgnoresStop,
    /// Does not report faults.
    IgnoresFaults,
    /// Replaces the capture time with the present.
    Restamps,
    /// Replaces NaN with a number.
    Clamps,
    /// Loses commands.
    LosesCommands,
    /// Arms the car again when a command arrives after a stop.
    Wakes,
    /// Delivers every command at once.
    Hasty,
    /// Repeats the last command when none has arrived for more than a frame.
    Repeats,
}

struct Flawed {
    link: InProcessLink<RecordingActuator>,
    flaw: Flaw,
    last: Option<Command>,
}

impl OperatorLink for Flawed {
    fn arm(&mut self, now: Time, request: ArmRequest) -> Result<(), LinkError> {
        match self.flaw {
            Flaw::IgnoresArm => Ok(()),
            Flaw::ArmsAgain => {
                let armed = self.link.arm(now, request);
                match armed {
                    Err(LinkError::Refused(Refusal::AlreadyArmed)) => Ok(()),
                    armed => armed,
                }
            }
            Flaw::IgnoresDomain => {
                let engine = self.link.limits().spec().actuator;
                self.link.arm(now, ArmRequest { engine })
            }
            _ => self.link.arm(now, request),
        }
    }

    fn disarm(&mut self, now: Time) -> Result<(), LinkError> {
        match self.flaw {
            Flaw::IgnoresDisarm => Ok(()),
            _ => self.link.disarm(now),
        }
    }

    fn stop(&mut self, now: Time) -> Result<(), LinkError> {
        match self.flaw {
            Flaw::IgnoresStop => Ok(()),
            _ => self.link.stop(now),
        }
    }
}

impl CommandLink for Flawed {
    fn report(&mut self, now: Time, fault: Fault) -> Result<(), LinkError> {
        match self.flaw {
            Flaw::IgnoresFaults => Ok(()),
            _ => self.link.report(now, fault),
        }
    }

    fn send_at(&mut self, at: Time, command: Command) -> Result<(), LinkError> {
        self.last = Some(command);
        match self.flaw {
            Flaw::LosesCommands => Ok(()),
            Flaw::Restamps => {
                let captured = at;
                self.link.send_at(
                    at,
                    Command {
                        captured,
                        ..command
                    },
                )
            }
            Flaw::Clamps => {
                let steering = command.steering.max(-1.0);
                self.link.send_at(
                    at,
                    Command {
                        steering,
                        ..command
                    },
                )
            }
            Flaw::Wakes if self.status().state.stopped().is_some() => {
                let engine = self.link.limits().spec().actuator;
                self.link.arm(command.captured, ArmRequest { engine })?;
                self.link.send_at(at, command)
            }
            Flaw::Hasty => self.link.send_at(self.link.now(), command),
            _ => self.link.send_at(at, command),
        }
    }

    fn advance_to(&mut self, now: Time) -> Result<(), LinkError> {
        if let (Flaw::Repeats, Some(last)) = (self.flaw, self.last.as_mut()) {
            while last.captured + Duration::from_millis(60) < now {
                last.captured = last.captured + Duration::from_millis(60);
                last.sequence += 1;
                self.link.send_at(last.captured, *last)?;
                self.link.advance_to(last.captured)?;
            }
        }
        self.link.advance_to(now)
    }

    fn status(&self) -> Status {
        self.link.status()
    }
}

struct Rig {
    link: Flawed,
    now: Time,
}

impl Rig {
    fn start(limits: Limits, flaw: Flaw) -> Self {
        let now = Time::from_nanos(1_000_000_007);
        let mut link = InProcessLink::start(limits, RecordingActuator::default(), now).unwrap();
        if flaw == Flaw::StartsArmed {
            let engine = limits.spec().actuator;
            link.arm(now, ArmRequest { engine }).unwrap();
        }
        let last = None;
        Self {
            link: Flawed { link, flaw, last },
            now,
        }
    }
}

impl LinkRig for Rig {
    type Link = Flawed;

    fn link(&mut self) -> &mut Flawed {
        &mut self.link
    }

    fn now(&self) -> Time {
        self.now
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.link.advance_to(self.now).unwrap();
    }

    fn in_force(&mut self) -> Output {
        self.link.link.actuator().last().unwrap()
    }

    fn slack(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn the_in_process_link_is_a_link() {
    conformance::link(|limits| Rig::start(limits, Flaw::None));
    conformance::delayed_link(|limits| Rig::start(limits, Flaw::None));
}

#[test]
fn faulty_links_are_detected() {
    let flaws = [
        (Flaw::StartsArmed, "a guard starts disarmed"),
        (Flaw::IgnoresDomain, "the domain is checked"),
        (Flaw::IgnoresArm, "the domain is checked"),
        (Flaw::ArmsAgain, "an armed guard is not armed again"),
        (Flaw::Restamps, "a frame from before the arming"),
        (Flaw::Clamps, "the command is not a number"),
        (Flaw::LosesCommands, "it is refused"),
        (Flaw::Hasty, "not before its moment"),
        (Flaw::Wakes, "a stopped guard holds failsafe"),
        (Flaw::Repeats, "a stopped guard holds failsafe"),
        (Flaw::IgnoresFaults, "a stopped guard holds failsafe"),
        (Flaw::IgnoresStop, "a stopped guard holds failsafe"),
        (Flaw::IgnoresDisarm, "an operator can disarm the car"),
    ];
    for (flaw, rule) in flaws {
        let found = std::panic::catch_unwind(|| {
            conformance::link(|limits| Rig::start(limits, flaw));
            conformance::delayed_link(|limits| Rig::start(limits, flaw));
        });
        let found = found.unwrap_err();
        let message = found.downcast_ref::<String>().unwrap();
        assert!(message.contains(rule), "{flaw:?}: {message}");
    }
}
