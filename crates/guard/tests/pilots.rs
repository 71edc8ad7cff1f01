//! Several clients of one guard, any of which may become the pilot. For any sequence of requests,
//! only the pilot's commands move the car, only after an arming for that pilot, and never while a
//! client holds a stop.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot continue fails"
)]

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::Duration;

use pilotage_guard::conformance::RecordingActuator;
use pilotage_guard::wire::{Numbered, Reply, Request};
use pilotage_guard::{Allowed, Executor, Identification, Limits, LimitsSpec, Mode, Server};
use pilotage_vehicle::{Command, Domain, Fault, Time};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

/// The steering of each program, which shows whose commands move the car.
const STEERING: [f32; 3] = [0.5, -0.5, 0.0];
const PROGRAMS: usize = STEERING.len();
const TICK: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy)]
enum Action {
    Connect,
    Disconnect,
    Hello,
    HelloOfAnotherCar,
    Command,
    Arm,
    Disarm,
    Stop,
    Hold(bool),
    Fault,
    Wait(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => Just(Action::Connect),
        3 => Just(Action::Disconnect),
        4 => Just(Action::Hello),
        1 => Just(Action::HelloOfAnotherCar),
        16 => Just(Action::Command),
        5 => Just(Action::Arm),
        1 => Just(Action::Disarm),
        1 => Just(Action::Stop),
        1 => Just(Action::Hold(true)),
        4 => Just(Action::Hold(false)),
        1 => Just(Action::Fault),
        4 => (1u64..40).prop_map(Action::Wait),
        // Beyond the deadline.
        1 => (150u64..200).prop_map(Action::Wait),
    ]
}

struct Program {
    socket: std::os::fd::OwnedFd,
    number: u64,
    holds: bool,
}

/// A guard, its clients, and the state that the test expects.
struct World {
    server: Server<RecordingActuator>,
    /// How many writes have been checked.
    checked: usize,
    now: Time,
    address: PathBuf,
    _folder: tempfile::TempDir,
    programs: [Option<Program>; PROGRAMS],
    sequence: u64,
    /// How often a pilot took the place of another that was silent.
    replaced: u32,
    /// The program whose commands may move the car.
    pilot: Option<usize>,
    /// When its last command was sent.
    commanded: Option<Time>,
    /// Whether an arming was accepted for that pilot, and no request or disconnect has stopped the
    /// car since. A stop at the deadline does not clear this.
    armed: bool,
}

fn socket() -> std::os::fd::OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("guard.sock");
        let listener = socket();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&address).unwrap()).unwrap();
        rustix::net::listen(&listener, 16).unwrap();
        let limits = Limits::new(LimitsSpec::simulated()).unwrap();
        let now = Time::from_nanos(1_000_000_000);
        let executor = Executor::start(limits, RecordingActuator::default(), now, TICK).unwrap();
        let car = Identification::of_limits(&limits);
        let server = Server::new(executor, car, Some(listener), None, Allowed::own());
        Self {
            server,
            checked: 0,
            now,
            address,
            _folder: folder,
            programs: [const { None }; PROGRAMS],
            sequence: 0,
            replaced: 0,
            pilot: None,
            commanded: None,
            armed: false,
        }
    }

    fn poll(&mut self) {
        let now = self.now;
        self.server.poll(|| now);
    }

    /// Sends a request. Returns the guard's reply, if there is one.
    fn ask(&mut self, index: usize, request: Request) -> Option<Reply> {
        let program = self.programs[index].as_mut()?;
        program.number += 1;
        let number = program.number;
        let message = Numbered { number, request }.write();
        rustix::net::send(&program.socket, &message, SendFlags::NOSIGNAL).unwrap();
        self.poll();
        let program = self.programs[index].as_ref()?;
        let mut answer = None;
        let mut bytes = [0; 1024];
        while let Ok((length @ 1.., _)) =
            rustix::net::recv(&program.socket, &mut bytes[..], RecvFlags::DONTWAIT)
        {
            let reply = Reply::read(&bytes[..length]).ok();
            answer = answer.or(reply.filter(|reply| reply.answers == number));
        }
        answer
    }

    fn held(&self) -> bool {
        self.programs.iter().flatten().any(|program| program.holds)
    }

    fn act(&mut self, index: usize, action: Action) {
        match action {
            Action::Connect if self.programs[index].is_none() => {
                let socket = socket();
                let address = SocketAddrUnix::new(&self.address).unwrap();
                rustix::net::connect(&socket, &address).unwrap();
                self.programs[index] = Some(Program {
                    socket,
                    number: 0,
                    holds: false,
                });
                self.poll();
            }
            Action::Connect => {}
            Action::Disconnect => {
                self.programs[index] = None;
                if self.pilot == Some(index) {
                    (self.pilot, self.commanded, self.armed) = (None, None, false);
                }
                self.poll();
            }
            Action::Hello => self.hello(index),
            Action::HelloOfAnotherCar => {
                let request = Request::Hello {
                    engine: Some(Domain::Simulated),
                    fingerprint: 1,
                };
                let answer = self.ask(index, request);
                assert!(answer.is_none_or(|reply| reply.refused.is_some()));
            }
            Action::Command => self.command(index),
            Action::Arm => {
                if let Some(reply) = self.ask(index, Request::Arm(None)) {
                    let may = self.pilot.is_some() && !self.held();
                    assert!(may || reply.refused.is_some(), "{:?}", self.pilot);
                    self.armed |= reply.refused.is_none();
                }
            }
            Action::Disarm => self.stop(index, Request::Disarm),
            Action::Stop => self.stop(index, Request::Stop),
            Action::Fault => self.stop(index, Request::Fault(Fault::Camera)),
            Action::Hold(held) => {
                if let Some(program) = &mut self.programs[index] {
                    program.holds = held;
                    self.armed &= !held;
                    self.ask(index, Request::HoldStop(held)).unwrap();
                }
            }
            Action::Wait(millis) => {
                self.now = self.now + Duration::from_millis(millis);
                self.poll();
            }
        }
    }

    fn hello(&mut self, index: usize) {
        let limits = *self.server.executor().limits();
        let request = Request::Hello {
            engine: Some(Domain::Simulated),
            fingerprint: Identification::of_limits(&limits).fingerprint,
        };
        if let Some(reply) = self.ask(index, request) {
            let deadline = limits.spec().deadline;
            let silent = self
                .commanded
                .is_some_and(|commanded| self.now.since(commanded) >= deadline);
            let other = self.pilot.filter(|&pilot| pilot != index);
            let free = other.is_none() || silent;
            assert_eq!(reply.refused.is_none(), free, "pilot: {:?}", self.pilot);
            if !free {
                return;
            }
            if let Some(other) = other {
                // The guard has closed its connection, which frees a stop that it held.
                self.programs[other] = None;
                (self.commanded, self.armed) = (None, false);
                self.replaced += 1;
            }
            self.pilot = Some(index);
        }
    }

    fn command(&mut self, index: usize) {
        self.sequence += 1;
        self.now = self.now + Duration::from_millis(1);
        let command = Command {
            steering: STEERING[index],
            throttle: 0.1,
            captured: self.now,
            sequence: self.sequence,
        };
        self.ask(index, Request::Command(command));
        if self.pilot == Some(index) && self.programs[index].is_some() {
            self.commanded = Some(self.now);
        }
    }

    fn stop(&mut self, index: usize, request: Request) {
        if self.ask(index, request).is_some() {
            self.armed = false;
        }
    }

    /// Checks each output since the last check. Returns whether the car drove.
    fn check(&mut self, before: Option<usize>) -> bool {
        let mut drove = false;
        let writes = &self.server.executor().actuator().writes;
        for (_, output) in &writes[self.checked..] {
            if output.mode != Mode::Drive {
                continue;
            }
            drove = true;
            // The output that was in force before the action may be written once more.
            let pilot = self.pilot.or(before).expect("a car drives with its pilot");
            let steering = STEERING[pilot];
            let between = steering.min(0.0)..=steering.max(0.0);
            assert!(between.contains(&output.steering), "{output:?} of {pilot}");
        }
        self.checked = writes.len();
        drove
    }

    /// Checks the output that is in force now.
    fn check_in_force(&self) {
        if self.server.executor().status().output.mode == Mode::Drive {
            assert!(self.pilot.is_some(), "without a pilot");
            assert!(
                self.armed,
                "not armed since the last stop, or for this pilot"
            );
            assert!(!self.held(), "while a stop is held");
        }
    }
}

#[test]
fn only_the_pilot_moves_the_car_among_several_clients() {
    let drives = RefCell::new([0_u32; PROGRAMS]);
    let (taken_over, replaced) = (Cell::new(0_u32), Cell::new(0_u32));
    let mut runner = TestRunner::new(Config {
        cases: 600,
        failure_persistence: None,
        ..Config::default()
    });
    let life = prop::collection::vec((0..PROGRAMS, action()), 1..200);
    let result = runner.run(&life, |life| {
        let mut world = World::new();
        let mut last = None;
        for (index, action) in life {
            let before = world.pilot;
            world.act(index, action);
            if world.check(before)
                && let Some(pilot) = world.pilot
            {
                drives.borrow_mut()[pilot] += 1;
                taken_over.set(taken_over.get() + u32::from(last.is_some_and(|it| it != pilot)));
                last = Some(pilot);
            }
            world.check_in_force();
        }
        replaced.set(replaced.get() + world.replaced);
        Ok(())
    });
    result.unwrap();
    // The test is effective only if each program drove, and one took over from another.
    assert!(
        drives.borrow().iter().all(|&drove| drove > 100),
        "{drives:?}"
    );
    assert!(taken_over.get() > 10, "{taken_over:?}");
    assert!(replaced.get() > 10, "{replaced:?}");
}
