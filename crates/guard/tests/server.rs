//! A guard behind its socket: the conformance suite for links, and tests of the server. The test
//! controls the guard's clock, so that the load of the machine does not matter.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue fails"
)]

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use pilotage_guard::conformance::{self, LinkRig};
use pilotage_guard::wire::{LEASE, Numbered, REQUEST, Request, VERSION};
use pilotage_guard::{
    Actuator, ActuatorError, Allowed, ArmRequest, Executor, HelloError, Identification,
    InProcessLink, Limits, LimitsSpec, Link, LinkError, Mode, Output, Refusal, Server, SocketLink,
    State, StopReason,
};
use pilotage_vehicle::{Command, Domain, Fault, Time};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

/// Shares the last write with the test.
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

/// A server that has one end, `pilot`, of the connection to its pilot.
fn server<A: Actuator>(
    limits: Limits,
    actuator: A,
    now: Time,
    listener: Option<OwnedFd>,
    pilot: OwnedFd,
) -> Server<A> {
    let tick = InProcessLink::<A>::TICK;
    let executor = Executor::start(limits, actuator, now, tick).unwrap();
    let car = Identification::of_limits(&limits);
    Server::new(executor, car, listener, Some(pilot), Allowed::own())
}

/// A guard's thread, and the pilot's connection to it.
struct Rig {
    clock: Arc<AtomicU64>,
    polls: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    held: Shared,
    link: SocketLink,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    /// Starts a guard. With `pilot`, the link declares itself as the pilot, with an engine from
    /// that domain.
    fn start(limits: Limits, pilot: Option<Domain>) -> Self {
        let (pilot_end, guard_end) = pair();
        let held = Shared::default();
        // Not zero, so that an unset time can be distinguished.
        let clock = Arc::new(AtomicU64::new(1_000_000_000));
        let (polls, end) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = {
            let (held, clock) = (held.clone(), Arc::clone(&clock));
            let (polls, end) = (Arc::clone(&polls), Arc::clone(&end));
            std::thread::spawn(move || {
                let now = || Time::from_nanos(clock.load(Ordering::SeqCst));
                let mut server = server(limits, held, now(), None, guard_end);
                while !end.load(Ordering::SeqCst) && !server.orphaned() {
                    server.poll(now);
                    polls.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_micros(50));
                }
                polls.store(u64::MAX / 2, Ordering::SeqCst);
            })
        };
        let mut rig = Self {
            clock,
            polls,
            end,
            held,
            link: SocketLink::over(pilot_end),
            thread: Some(thread),
        };
        if let Some(domain) = pilot {
            let car = Identification::of_limits(&limits);
            rig.link.hello(domain, &car).unwrap();
        }
        rig.settle();
        rig
    }

    /// Waits for a complete poll of the guard.
    fn settle(&self) {
        let before = self.polls.load(Ordering::SeqCst);
        while self.polls.load(Ordering::SeqCst) < before + 2 {
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
        // What has been sent is received before time passes.
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
fn a_pilot_that_disconnects_stops_the_car_at_once() {
    let mut rig = Rig::start(simulated(), Some(Domain::Simulated));
    rig.drive();
    let (pilot_end, _) = pair();
    // Like the system, which closes the connections of a killed process.
    drop(std::mem::replace(
        &mut rig.link,
        SocketLink::over(pilot_end),
    ));
    while rig.polls.load(Ordering::SeqCst) < u64::MAX / 2 {
        std::thread::sleep(Duration::from_micros(50));
    }
    assert_eq!(rig.held().mode, Mode::Failsafe);
}

#[test]
fn a_pilot_that_sends_nothing_is_stopped_at_the_deadline() {
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
fn without_a_pilot_the_car_is_not_armed() {
    let mut rig = Rig::start(simulated(), None);
    let refused = Err(LinkError::Refused(Refusal::NoPilot));
    assert_eq!(rig.link.arm_pilot(), refused);
    let car = Identification::of_limits(&simulated());
    rig.link.hello(Domain::Simulated, &car).unwrap();
    assert_eq!(rig.link.arm_pilot(), Ok(()));
    // The pilot may declare itself again.
    rig.link.hello(Domain::Simulated, &car).unwrap();
}

#[test]
fn a_pilot_of_another_car_is_refused_and_shown_what_differs() {
    let mut rig = Rig::start(simulated(), None);
    let mut spec = LimitsSpec::simulated();
    spec.throttle.max = 0.5;
    let other = Identification::of_limits(&Limits::new(spec).unwrap());
    let error = rig.link.hello(Domain::Simulated, &other).unwrap_err();
    assert!(matches!(error, HelloError::OtherCar { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("max: 0.5") && text.contains("max: 1.0"),
        "{text}"
    );
    let refused = Err(LinkError::Refused(Refusal::NoPilot));
    assert_eq!(rig.link.arm_pilot(), refused, "it is not the pilot");
}

fn hello() -> Request {
    Request::Hello {
        engine: Some(Domain::Simulated),
        fingerprint: Identification::of_limits(&simulated()).fingerprint,
    }
}

#[test]
fn garbage_replays_and_floods_are_counted_and_have_no_effect() {
    let (raw, guard_end) = pair();
    let held = Shared::default();
    let mut now = Time::from_nanos(1_000_000_000);
    let mut server = server(simulated(), held.clone(), now, None, guard_end);
    let send = |bytes: &[u8]| rustix::net::send(&raw, bytes, SendFlags::DONTWAIT).is_ok();
    let numbered = |number, request| Numbered { number, request }.write();
    for (number, request) in [(1, hello()), (2, Request::Arm(None))] {
        assert!(send(&numbered(number, request)));
    }
    server.poll(|| now);
    assert!(matches!(server.executor().status().state, State::Armed(_)));

    // Malformed messages, and a replayed one.
    let command = |captured: Time, sequence| {
        Request::Command(Command {
            steering: 1.0,
            throttle: 1.0,
            captured,
            sequence,
        })
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
    server.poll(|| now);
    assert!(matches!(server.executor().status().state, State::Armed(_)));

    // A flood: more messages than the socket holds, repeatedly. The deadline is kept.
    assert!(send(&good));
    server.poll(|| now);
    assert!(matches!(
        server.executor().status().state,
        State::Driving(_)
    ));
    let began = now;
    let mut number = 4;
    while now.since(began) < Duration::from_millis(150) {
        // Old commands: the sequence number does not increase.
        while send(&numbered(number, command(began, 1))) {
            number += 1;
        }
        now = now + Duration::from_millis(5);
        server.poll(|| now);
    }
    let status = server.executor().status();
    let reason = StopReason::Deadline;
    assert_eq!(status.state, State::Stopped { reason });
    assert_eq!(held.0.lock().unwrap().unwrap().mode, Mode::Failsafe);
    assert!(status.counters.refused(Refusal::Replayed) > 0);

    // The counters that the guard reports.
    let link = SocketLink::over(raw);
    let rejected = link.rejected();
    let counted = (rejected.malformed, rejected.replayed);
    assert_eq!(counted, (4, 1), "{rejected:?}");
}

#[test]
fn a_poll_allocates_nothing() {
    let (raw, guard_end) = pair();
    let now = Time::from_nanos(1_000_000_000);
    let mut server = server(simulated(), Shared::default(), now, None, guard_end);
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
            assert_eq!(server.connections().len(), 1);
            server.poll(|| moment);
            let _ = link.status();
        }
    });
    assert_eq!(allocated.count_total, 0);
}

/// A server with a listener, a pilot and further clients. The test controls the clock.
struct Crowd {
    server: Server<Shared>,
    held: Shared,
    now: Time,
    pilot: OwnedFd,
    number: u64,
    path: tempfile::TempDir,
}

impl Crowd {
    fn with_pilot() -> Self {
        Self::with_pilot_for(simulated(), Domain::Simulated)
    }

    fn with_pilot_for(limits: Limits, engine: Domain) -> Self {
        let mut crowd = Self::with_starter(limits);
        let fingerprint = Identification::of_limits(&limits).fingerprint;
        crowd.send_as_pilot(Request::Hello {
            engine: Some(engine),
            fingerprint,
        });
        crowd
    }

    /// The program that started the guard has sent nothing yet.
    fn with_starter(limits: Limits) -> Self {
        let path = tempfile::tempdir().unwrap();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let listener = listener.unwrap();
        let address = SocketAddrUnix::new(path.path().join("sock")).unwrap();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 64).unwrap();
        let (pilot, guard_end) = pair();
        let held = Shared::default();
        let now = Time::from_nanos(1_000_000_000);
        let server = server(limits, held.clone(), now, Some(listener), guard_end);
        Self {
            server,
            held,
            now,
            pilot,
            number: 0,
            path,
        }
    }

    fn client(&mut self) -> OwnedFd {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let connection =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let connection = connection.unwrap();
        let address = SocketAddrUnix::new(self.path.path().join("sock")).unwrap();
        rustix::net::connect(&connection, &address).unwrap();
        self.poll();
        connection
    }

    fn poll(&mut self) {
        let now = self.now;
        self.server.poll(|| now);
    }

    fn send_as_pilot(&mut self, request: Request) {
        self.number += 1;
        let bytes = Numbered {
            number: self.number,
            request,
        };
        rustix::net::send(&self.pilot, &bytes.write(), SendFlags::empty()).unwrap();
        self.poll();
    }

    fn send(&mut self, client: &OwnedFd, number: u64, request: Request) {
        let bytes = Numbered { number, request }.write();
        let _ = rustix::net::send(client, &bytes, SendFlags::NOSIGNAL);
        self.poll();
    }

    fn command(&self, steering: f32) -> Request {
        Request::Command(Command {
            steering,
            throttle: 1.0,
            captured: self.now,
            sequence: self.number + 1,
        })
    }

    fn drive(&mut self) {
        let operator = self.client();
        self.send(&operator, 1, Request::Arm(None));
        assert!(
            matches!(self.state(), State::Armed(_)),
            "{:?}",
            self.state()
        );
        let command = self.command(0.5);
        self.send_as_pilot(command);
        assert!(matches!(self.state(), State::Driving(_)));
    }

    fn state(&self) -> State {
        self.server.executor().status().state
    }

    fn mode(&self) -> Mode {
        self.held.0.lock().unwrap().unwrap().mode
    }
}

#[test]
fn commands_of_another_connection_are_dropped_and_counted() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let second = crowd.client();
    let before = crowd.server.executor().status();
    crowd.now = crowd.now + Duration::from_millis(1);
    let full_right = crowd.command(-1.0);
    for number in 1..=3 {
        crowd.send(&second, number, full_right);
    }
    let after = crowd.server.executor().status();
    assert_eq!(after.counters.accepted, before.counters.accepted);
    let State::Driving(driving) = after.state else {
        panic!("the car keeps driving");
    };
    assert_eq!(driving.steering.target, 0.5, "the pilot's command");
    assert_eq!(crowd.server.rejected().unauthorized, 3);
    // A second pilot cannot take over.
    crowd.send(&second, 4, hello());
    crowd.send(&second, 5, full_right);
    assert_eq!(crowd.server.rejected().unauthorized, 5);
}

#[test]
fn stops_that_come_at_once_with_many_connections_are_not_lost() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let connect = |crowd: &Crowd| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let connection =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let connection = connection.unwrap();
        let address = SocketAddrUnix::new(crowd.path.path().join("sock")).unwrap();
        rustix::net::connect(&connection, &address).unwrap();
        connection
    };
    let operator = connect(&crowd);
    let stop = Numbered {
        number: 1,
        request: Request::Stop,
    };
    rustix::net::send(&operator, &stop.write(), SendFlags::empty()).unwrap();
    // More connections wait than the server has room for, and all of them are accepted in one poll.
    let others: Vec<OwnedFd> = (0..30).map(|_| connect(&crowd)).collect();
    crowd.poll();
    let reason = StopReason::Operator;
    assert_eq!(crowd.state(), State::Stopped { reason });
    drop(others);
}

#[test]
fn a_stop_finds_room_however_many_are_connected() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let idle: Vec<OwnedFd> = (0..40).map(|_| crowd.client()).collect();
    let operator = crowd.client();
    crowd.send(&operator, 1, Request::Stop);
    let reason = StopReason::Operator;
    assert_eq!(crowd.state(), State::Stopped { reason });
    assert_eq!(crowd.mode(), Mode::Failsafe);
    assert!(
        crowd.server.rejected().evicted >= 24,
        "{:?}",
        crowd.server.rejected()
    );
    drop(idle);
    // The pilot's connection was not closed.
    crowd.drive();
}

#[test]
fn the_program_that_started_the_guard_is_never_evicted() {
    let mut crowd = Crowd::with_starter(simulated());
    let all: Vec<OwnedFd> = (0..40).map(|_| crowd.client()).collect();
    assert!(!crowd.server.orphaned());
    drop(all);
}

/// A longer message is not read as the message that it begins with.
#[test]
fn a_request_with_a_byte_too_many_is_malformed() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let client = crowd.client();
    let request = Request::Stop;
    let mut bytes = Numbered { number: 1, request }.write().to_vec();
    assert_eq!(bytes.len(), REQUEST);
    bytes.push(0);
    rustix::net::send(&client, &bytes, SendFlags::empty()).unwrap();
    crowd.poll();
    assert_eq!(crowd.server.rejected().malformed, 1);
    assert!(matches!(crowd.state(), State::Driving(_)));
}

#[test]
fn connections_that_hold_a_stop_are_evicted_last() {
    let mut crowd = Crowd::with_pilot();
    let holder = crowd.client();
    crowd.send(&holder, 1, Request::HoldStop(true));
    let idle: Vec<OwnedFd> = (0..40).map(|_| crowd.client()).collect();
    assert!(crowd.server.executor().status().stop_held);
    drop(idle);
    crowd.now = crowd.now + Duration::from_secs(60);
    crowd.poll();
    assert!(crowd.server.executor().status().stop_held, "it is not idle");
}

#[test]
fn idle_connections_are_closed() {
    let mut crowd = Crowd::with_pilot();
    let client = crowd.client();
    let before = crowd.server.connections().len();
    crowd.now = crowd.now + Duration::from_secs(11);
    crowd.poll();
    assert_eq!(crowd.server.connections().len(), before - 1);
    assert_eq!(crowd.server.rejected().evicted, 1);
    drop(client);
}

#[test]
fn a_stop_held_by_one_operator_overrides_the_other() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let (first, second) = (crowd.client(), crowd.client());
    crowd.send(&first, 1, Request::HoldStop(true));
    assert_eq!(crowd.mode(), Mode::Failsafe);
    for number in 1..=5 {
        crowd.send(&second, number, Request::Arm(None));
        crowd.now = crowd.now + Duration::from_millis(1);
        let command = crowd.command(0.1);
        crowd.send_as_pilot(command);
        assert_eq!(crowd.mode(), Mode::Failsafe);
    }
    // After the release the car is stopped until an operator arms it.
    crowd.send(&first, 2, Request::HoldStop(false));
    assert_eq!(crowd.mode(), Mode::Failsafe);
    crowd.drive();
    // A disconnect also releases the stop, and the car does not move.
    crowd.send(&first, 3, Request::HoldStop(true));
    drop(first);
    crowd.poll();
    assert!(!crowd.server.executor().status().stop_held);
    assert_eq!(crowd.mode(), Mode::Failsafe);
}

/// The car drives while the lease is renewed, however late the guard is, and is stopped when the
/// lease ends: in time, by its operator, or with the connection.
#[test]
fn a_lease_that_ends_stops_the_car() {
    let renew = |crowd: &mut Crowd, operator: &OwnedFd, number: u64| {
        crowd.send(operator, number, Request::Lease(true));
    };
    let drives = |crowd: &mut Crowd, time: Duration| {
        // The pilot's commands continue.
        for _ in 0..time.as_millis() / 10 {
            crowd.now = crowd.now + Duration::from_millis(10);
            let command = crowd.command(0.1);
            crowd.send_as_pilot(command);
        }
        crowd.mode() == Mode::Drive
    };
    for end in 0..3 {
        let mut crowd = Crowd::with_pilot();
        let operator = crowd.client();
        renew(&mut crowd, &operator, 1);
        crowd.drive();
        for number in 2..6 {
            assert!(drives(&mut crowd, LEASE - Duration::from_millis(10)));
            renew(&mut crowd, &operator, number);
        }
        match end {
            0 => assert!(!drives(&mut crowd, LEASE)),
            1 => crowd.send(&operator, 6, Request::Lease(false)),
            _ => {
                drop(operator);
                crowd.poll();
            }
        }
        let reason = StopReason::Operator;
        assert_eq!(crowd.state(), State::Stopped { reason }, "end {end}");
    }
}

#[test]
fn a_lease_arms_nothing_and_is_not_idle() {
    let mut crowd = Crowd::with_pilot();
    let operator = crowd.client();
    crowd.send(&operator, 1, Request::Lease(true));
    assert_eq!(crowd.state(), State::Disarmed);
    crowd.now = crowd.now + LEASE;
    crowd.poll();
    assert_eq!(crowd.state(), State::Disarmed);
    crowd.drive();
    // A connection with a lease is not idle, and not the first to make room.
    crowd.send(&operator, 3, Request::Lease(true));
    let idle: Vec<OwnedFd> = (0..40).map(|_| crowd.client()).collect();
    assert_eq!(crowd.mode(), Mode::Drive);
    drop(idle);
}

/// A guard that was late sees the renewal before it judges.
#[test]
fn a_late_guard_ends_no_lease_that_was_renewed() {
    let mut crowd = Crowd::with_pilot();
    let operator = crowd.client();
    crowd.send(&operator, 1, Request::Lease(true));
    crowd.send(&operator, 2, Request::Arm(None));
    let renewal = Numbered {
        number: 3,
        request: Request::Lease(true),
    };
    rustix::net::send(&operator, &renewal.write(), SendFlags::empty()).unwrap();
    crowd.now = crowd.now + LEASE;
    crowd.poll();
    assert!(
        matches!(crowd.state(), State::Armed(_)),
        "{:?}",
        crowd.state()
    );
    crowd.now = crowd.now + LEASE;
    crowd.poll();
    let reason = StopReason::Operator;
    assert_eq!(crowd.state(), State::Stopped { reason });
}

#[test]
fn arming_is_for_the_engine_that_the_pilot_declared() {
    let mut spec = LimitsSpec::simulated();
    spec.actuator = Domain::Physical;
    let limits = Limits::new(spec).unwrap();
    let mut crowd = Crowd::with_pilot_for(limits, Domain::Simulated);
    let operator = crowd.client();
    let engine = Domain::Physical;
    crowd.send(&operator, 1, Request::Arm(Some(ArmRequest { engine })));
    crowd.send(&operator, 2, Request::Arm(None));
    assert_eq!(crowd.state(), State::Disarmed);
    assert_eq!(
        crowd
            .server
            .executor()
            .status()
            .counters
            .refused(Refusal::SimulatedEngine),
        1
    );
}

#[test]
fn a_pilot_does_not_arm_a_physical_car_itself() {
    let mut spec = LimitsSpec::simulated();
    spec.actuator = Domain::Physical;
    let limits = Limits::new(spec).unwrap();
    let mut crowd = Crowd::with_pilot_for(limits, Domain::Physical);
    crowd.send_as_pilot(Request::Arm(None));
    let engine = Domain::Physical;
    crowd.send_as_pilot(Request::Arm(Some(ArmRequest { engine })));
    assert_eq!(crowd.state(), State::Disarmed);
    crowd.drive();
}

#[test]
fn a_dead_pilots_commands_and_those_of_the_future_never_act() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let accepted = crowd.server.executor().status().counters.accepted;
    for ahead in [1, 100, 10_000, u64::MAX / 4_000_000] {
        let captured = crowd.now + Duration::from_millis(ahead);
        crowd.send_as_pilot(Request::Command(Command {
            steering: -1.0,
            throttle: 1.0,
            captured,
            sequence: u64::MAX,
        }));
    }
    let status = crowd.server.executor().status();
    assert_eq!(status.counters.accepted, accepted);
    assert_eq!(status.counters.refused(Refusal::FromFuture), 4);
    // No more commands: the deadline is kept, and no command takes effect later.
    for _ in 0..400 {
        crowd.now = crowd.now + Duration::from_millis(5);
        crowd.poll();
        if crowd.state().stopped().is_some() {
            assert_eq!(crowd.mode(), Mode::Failsafe);
        }
    }
    let reason = StopReason::Deadline;
    assert_eq!(crowd.state(), State::Stopped { reason });
    let operator = crowd.client();
    crowd.send(&operator, 1, Request::Arm(None));
    for _ in 0..100 {
        crowd.now = crowd.now + Duration::from_millis(5);
        crowd.poll();
        assert_eq!(crowd.mode(), Mode::Failsafe, "armed, without a new command");
    }
}

/// A pilot with an engine must not trim.
#[test]
fn only_a_trimming_client_trims_and_it_never_drives() {
    let point = pilotage_guard::Point::Neutral;
    let trim = Request::Trim { point, value: 1800 };
    let mut crowd = Crowd::with_pilot();
    crowd.send_as_pilot(trim);
    assert_eq!(crowd.state(), State::Disarmed);
    assert_eq!(crowd.server.rejected().unauthorized, 1);
    let fingerprint = Identification::of_limits(&simulated()).fingerprint;
    let engine = None;
    crowd.send_as_pilot(Request::Hello {
        engine,
        fingerprint,
    });
    let operator = crowd.client();
    crowd.send(&operator, 1, Request::Arm(None));
    let command = crowd.command(0.5);
    crowd.send_as_pilot(command);
    assert_eq!(crowd.state(), State::Disarmed, "it has no engine to arm");
}

#[test]
fn faults_and_trims_of_another_connection() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let second = crowd.client();
    let value = 1500;
    let point = pilotage_guard::Point::Centre;
    crowd.send(&second, 1, Request::Trim { point, value });
    assert_eq!(crowd.mode(), Mode::Drive);
    assert_eq!(crowd.server.rejected().unauthorized, 1);
    // A fault stops the car, and every client may stop it.
    crowd.send(&second, 2, Request::Fault(Fault::Gamepad));
    assert_eq!(crowd.mode(), Mode::Failsafe);
}

/// Before any pilot has declared itself.
#[test]
fn a_client_that_did_not_declare_itself_does_not_trim() {
    let mut crowd = Crowd::with_starter(simulated());
    let client = crowd.client();
    let point = pilotage_guard::Point::Centre;
    let trim = Request::Trim { point, value: 1500 };
    crowd.send(&client, 1, trim);
    assert_eq!(crowd.server.rejected().unauthorized, 1);
    // This actuator has no points, which is not the client's fault.
    let hello = Request::Hello {
        engine: None,
        fingerprint: Identification::of_limits(&simulated()).fingerprint,
    };
    crowd.send(&client, 2, hello);
    crowd.send(&client, 3, trim);
    assert_eq!(crowd.server.rejected().unauthorized, 1);
}

#[test]
fn a_pilot_of_another_car_is_counted() {
    let mut crowd = Crowd::with_starter(simulated());
    for count in [1, 2] {
        crowd.send_as_pilot(Request::Hello {
            engine: Some(Domain::Simulated),
            fingerprint: 42,
        });
        assert_eq!(crowd.server.rejected().unauthorized, count);
    }
}

#[test]
fn a_client_of_another_version_is_answered_with_this_one() {
    let mut crowd = Crowd::with_pilot();
    let client = crowd.client();
    let mut bytes = Numbered {
        number: 1,
        request: Request::Ask,
    }
    .write();
    bytes[4..6].copy_from_slice(&(VERSION + 1).to_le_bytes());
    rustix::net::send(&client, &bytes, SendFlags::empty()).unwrap();
    crowd.poll();
    let mut reply = [0; 1024];
    let (_, length) = rustix::net::recv(&client, &mut reply[..], RecvFlags::DONTWAIT).unwrap();
    assert!(length > 8);
    assert_eq!(reply[4..6], VERSION.to_le_bytes());
}

/// The pilot may capture a frame after a poll begins and before that poll reads the command.
#[test]
fn a_command_that_is_sent_during_a_poll_is_not_from_the_future() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    crowd.number += 1;
    let captured = crowd.now + Duration::from_micros(50);
    let request = Request::Command(Command {
        steering: 0.25,
        throttle: 0.0,
        captured,
        sequence: 1_000,
    });
    let bytes = Numbered {
        number: crowd.number,
        request,
    };
    rustix::net::send(&crowd.pilot, &bytes.write(), SendFlags::empty()).unwrap();
    let clock = std::cell::Cell::new(crowd.now);
    crowd.server.poll(|| {
        let now = clock.get();
        clock.set(now + Duration::from_micros(60));
        now
    });
    assert_eq!(
        crowd.server.executor().status().counters.refused_in_all(),
        0
    );
}

#[test]
fn a_full_server_waits_on_its_listener_and_on_each_connection() {
    let mut crowd = Crowd::with_pilot();
    let all: Vec<OwnedFd> = (0..40).map(|_| crowd.client()).collect();
    assert_eq!(crowd.server.connections().len(), 17);
    drop(all);
}

#[test]
fn the_end_of_a_guard_stops_the_car_and_an_operators_end_disarms_it() {
    for (disarm, mode) in [(false, Mode::Failsafe), (true, Mode::Disarmed)] {
        let mut crowd = Crowd::with_pilot();
        crowd.drive();
        crowd.server.end(crowd.now, disarm);
        assert_eq!(crowd.mode(), mode);
    }
}

#[test]
fn a_tick_is_due_within_a_tick_from_now() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    for _ in 0..10 {
        let due = crowd.server.due();
        let tick = InProcessLink::<Shared>::TICK;
        assert!(due > crowd.now && due <= crowd.now + tick, "{due:?}");
        crowd.now = due;
        crowd.poll();
    }
}

/// The number of messages that have arrived at this end since the last call.
fn received(connection: &OwnedFd) -> usize {
    let mut bytes = [0; 4096];
    let mut count = 0;
    while rustix::net::recv(connection, &mut bytes[..], RecvFlags::DONTWAIT).is_ok() {
        count += 1;
    }
    count
}

#[test]
fn the_pilot_is_sent_each_change_of_state_and_else_a_report_every_20_ms() {
    let mut crowd = Crowd::with_pilot();
    let operator = crowd.client();
    crowd.drive();
    received(&crowd.pilot);
    crowd.now = crowd.now + Duration::from_millis(19);
    crowd.poll();
    assert_eq!(received(&crowd.pilot), 0);
    crowd.now = crowd.now + Duration::from_millis(1);
    crowd.poll();
    assert_eq!(received(&crowd.pilot), 1);
    crowd.poll();
    assert_eq!(received(&crowd.pilot), 0);
    crowd.send(&operator, 1, Request::Stop);
    assert_eq!(received(&crowd.pilot), 1, "the stop");
    assert_eq!(received(&operator), 1, "its own answer");
}

/// The guard never waits for a client that does not read.
#[test]
fn a_client_that_does_not_read_delays_nothing() {
    let mut crowd = Crowd::with_pilot();
    let client = crowd.client();
    for number in 1..5000 {
        crowd.send(&client, number, Request::Ask);
    }
    crowd.drive();
    assert!(received(&client) < 4999, "some answers were left out");
}

/// An operator who armed with a lease may have let go while it could not be renewed.
#[test]
fn an_ended_lease_arms_nothing_and_its_release_still_stops() {
    let mut crowd = Crowd::with_pilot();
    let holder = crowd.client();
    crowd.send(&holder, 1, Request::Lease(true));
    crowd.now = crowd.now + Duration::from_millis(301);
    crowd.poll();
    crowd.send(&holder, 2, Request::Arm(None));
    assert!(
        !matches!(crowd.state(), State::Armed(_)),
        "{:?}",
        crowd.state()
    );
    // With a new lease it arms; another operator's car stops when this one lets go.
    crowd.send(&holder, 3, Request::Lease(true));
    crowd.send(&holder, 4, Request::Disarm);
    crowd.send(&holder, 5, Request::Arm(None));
    assert!(
        matches!(crowd.state(), State::Armed(_)),
        "{:?}",
        crowd.state()
    );
    crowd.send(&holder, 6, Request::Lease(false));
    assert!(crowd.state().stopped().is_some());

    // Without a lease any more, letting go stops the car all the same.
    crowd.send(&holder, 7, Request::Disarm);
    crowd.drive();
    crowd.send(&holder, 8, Request::Lease(false));
    assert!(crowd.state().stopped().is_some());
}
