//! A guard behind its socket: the suite for links, and what a socket brings with it.
//! The guard's clock is the test's, so that a busy machine changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use pilotage_guard::conformance::{self, LinkRig};
use pilotage_guard::wire::{Numbered, REQUEST, Request};
use pilotage_guard::{
    Actuator, ActuatorError, Allowed, ArmRequest, Domain, InProcessLink, Limits, LimitsSpec, Link,
    LinkError, Mode, Output, Refusal, Server, SocketLink, State, StopReason,
};
use pilotage_vehicle::{Command, Time};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

/// Keeps the last write where the test sees it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Option<Output>>>);

impl Actuator for Shared {
    fn name(&self) -> &str {
        "shared stand-in"
    }

    fn write(&mut self, _: Time, output: &Output) -> Result<(), ActuatorError> {
        *self.0.lock().unwrap() = Some(*output);
        Ok(())
    }
}

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// A guard's thread, and the pilot's line to it.
struct Rig {
    clock: Arc<AtomicU64>,
    turns: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    held: Shared,
    link: SocketLink,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    /// `pilot` says that it is, for an engine from there.
    fn start(limits: Limits, pilot: Option<Domain>) -> Self {
        let (ours, theirs) = pair();
        let held = Shared::default();
        // A clock that begins at zero could not be told from none.
        let clock = Arc::new(AtomicU64::new(1_000_000_000));
        let (turns, end) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = {
            let (held, clock) = (held.clone(), Arc::clone(&clock));
            let (turns, end) = (Arc::clone(&turns), Arc::clone(&end));
            std::thread::spawn(move || {
                let now = || Time::from_nanos(clock.load(Ordering::SeqCst));
                let guard = InProcessLink::start(limits, held, now()).unwrap();
                let mut server = Server::new(guard, None, Some(theirs), Allowed::own());
                while !end.load(Ordering::SeqCst) && !server.orphaned() {
                    server.turn(now());
                    turns.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_micros(50));
                }
                turns.store(u64::MAX / 2, Ordering::SeqCst);
            })
        };
        let mut rig = Self {
            clock,
            turns,
            end,
            held,
            link: SocketLink::over(ours),
            thread: Some(thread),
        };
        if let Some(domain) = pilot {
            rig.link.hello(domain).unwrap();
        }
        rig.settle();
        rig
    }

    /// A whole turn of the guard's.
    fn settle(&self) {
        let before = self.turns.load(Ordering::SeqCst);
        while self.turns.load(Ordering::SeqCst) < before + 2 {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn held(&self) -> Output {
        self.held.0.lock().unwrap().unwrap()
    }

    fn command(&self, sequence: u64) -> Command {
        Command {
            steering: 0.5,
            throttle: 0.25,
            captured: self.now(),
            sequence,
        }
    }

    fn drive(&mut self) {
        let now = self.now();
        let request = ArmRequest {
            engine: Domain::Simulated,
        };
        self.link.arm(now, request).unwrap();
        self.link.send_at(now, self.command(1)).unwrap();
        self.wait(Duration::from_millis(20));
        assert_eq!(self.held().mode, Mode::Drive);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl LinkRig for Rig {
    type Link = SocketLink;

    fn link(&mut self) -> &mut SocketLink {
        &mut self.link
    }

    fn now(&self) -> Time {
        Time::from_nanos(self.clock.load(Ordering::SeqCst))
    }

    fn wait(&mut self, duration: Duration) {
        // What was sent before is heard before.
        self.settle();
        let nanos = u64::try_from(duration.as_nanos()).unwrap();
        self.clock.fetch_add(nanos, Ordering::SeqCst);
        self.settle();
        self.link.refresh().unwrap();
    }

    fn in_force(&mut self) -> Output {
        self.held()
    }

    fn slack(&self) -> Duration {
        Duration::ZERO
    }
}

fn simulated() -> Limits {
    Limits::new(LimitsSpec::simulated()).unwrap()
}

#[test]
fn a_socket_is_a_link() {
    conformance::link(|limits| Rig::start(limits, Some(Domain::Simulated)));
}

#[test]
fn a_pilot_whose_line_ends_stops_the_car_at_once() {
    let mut rig = Rig::start(simulated(), Some(Domain::Simulated));
    rig.drive();
    let (ours, _) = pair();
    // As when the system closes what a killed process had open.
    drop(std::mem::replace(&mut rig.link, SocketLink::over(ours)));
    while rig.turns.load(Ordering::SeqCst) < u64::MAX / 2 {
        std::thread::sleep(Duration::from_micros(50));
    }
    assert_eq!(rig.held().mode, Mode::Failsafe);
}

#[test]
fn a_pilot_that_falls_silent_is_stopped_at_the_deadline() {
    let mut rig = Rig::start(simulated(), Some(Domain::Simulated));
    rig.drive();
    rig.wait(Duration::from_millis(129));
    assert_eq!(rig.held().mode, Mode::Drive);
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.held().mode, Mode::Failsafe);
    let reason = StopReason::Deadline;
    assert_eq!(rig.link.status().state, State::Stopped { reason });
}

#[test]
fn without_a_pilot_nobody_arms() {
    let mut rig = Rig::start(simulated(), None);
    let refused = Err(LinkError::Refused(Refusal::NoPilot));
    assert_eq!(rig.link.arm_pilot(), refused);
    rig.link.hello(Domain::Simulated).unwrap();
    assert_eq!(rig.link.arm_pilot(), Ok(()));
    // One that says so twice is the same pilot still.
    assert_eq!(rig.link.hello(Domain::Simulated), Ok(()));
}

#[test]
fn garbage_replays_and_floods_are_counted_and_move_nothing() {
    let (raw, theirs) = pair();
    let held = Shared::default();
    let mut now = Time::from_nanos(1_000_000_000);
    let guard = InProcessLink::start(simulated(), held.clone(), now).unwrap();
    let mut server = Server::new(guard, None, Some(theirs), Allowed::own());
    let send = |bytes: &[u8]| rustix::net::send(&raw, bytes, SendFlags::DONTWAIT).is_ok();
    let numbered = |number, request| Numbered { number, request }.write();
    for (number, request) in [
        (1, Request::Hello(Domain::Simulated)),
        (2, Request::Arm(None)),
    ] {
        assert!(send(&numbered(number, request)));
    }
    server.turn(now);
    assert!(matches!(server.guard().status().state, State::Armed(_)));

    // None of these is a message, or a new one.
    let command = |at: Time, sequence| Request::Command {
        at,
        command: Command {
            steering: 1.0,
            throttle: 1.0,
            captured: at,
            sequence,
        },
    };
    let good = numbered(3, command(now, 1));
    let mut damaged = good;
    damaged[30] ^= 1;
    for bytes in [
        &damaged[..],
        &good[..REQUEST - 1],
        &[0; REQUEST + 1],
        &[7; 200],
    ] {
        assert!(send(bytes));
    }
    assert!(send(&numbered(2, command(now, 1))));
    server.turn(now);
    assert!(matches!(server.guard().status().state, State::Armed(_)));

    // A flood: more than the socket holds, again and again. The deadline holds none the less.
    assert!(send(&good));
    server.turn(now);
    assert!(matches!(server.guard().status().state, State::Driving(_)));
    let began = now;
    let mut number = 4;
    while now.since(began) < Duration::from_millis(150) {
        // Old commands: the sequence does not rise.
        while send(&numbered(number, command(began, 1))) {
            number += 1;
        }
        now = now + Duration::from_millis(5);
        server.turn(now);
    }
    let status = server.guard().status();
    let reason = StopReason::Deadline;
    assert_eq!(status.state, State::Stopped { reason });
    assert_eq!(held.0.lock().unwrap().unwrap().mode, Mode::Failsafe);
    assert!(status.counters.refused(Refusal::Replayed) > 0);

    // Read what it says of that.
    let link = SocketLink::over(raw);
    let noise = link.noise();
    assert_eq!((noise.malformed, noise.replayed), (4, 1), "{noise:?}");
}

#[test]
fn a_turn_allocates_nothing() {
    let (raw, theirs) = pair();
    let now = Time::from_nanos(1_000_000_000);
    let guard = InProcessLink::start(simulated(), Shared::default(), now).unwrap();
    let mut server = Server::new(guard, None, Some(theirs), Allowed::own());
    let mut link = SocketLink::over(raw);
    let mut moment = now;
    let allocated = allocation_counter::measure(|| {
        for sequence in 1..200 {
            moment = moment + Duration::from_millis(5);
            let command = Command {
                steering: 0.1,
                throttle: 0.1,
                captured: moment,
                sequence,
            };
            link.send_at(moment, command).unwrap();
            assert_eq!(server.lines().len(), 1);
            server.turn(moment);
            let _ = link.status();
        }
    });
    assert_eq!(allocated.count_total, 0);
}
