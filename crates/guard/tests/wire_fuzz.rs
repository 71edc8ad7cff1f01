//! A long sequence of random messages to a guard behind its socket: valid ones, nearly valid ones
//! and garbage, from a pilot and operators, while clients connect and disconnect and time passes.
//! Many commands are accepted, so that the guard is tested while it drives.
//!
//! `cargo xtask wire` sends a million. PILOTAGE_MESSAGES sets the number of messages, PILOTAGE_SEED
//! the seed.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue fails"
)]

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilotage_guard::wire::{Numbered, Reply, Request};
use pilotage_guard::{
    Actuator, ActuatorError, Allowed, Channel, Executor, Identification, Limits, LimitsSpec, Mode,
    Output, Server,
};
use pilotage_vehicle::{Command, Domain, Fault, Time};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

/// The default number of messages.
const MESSAGES: u64 = 50_000;
/// At least one in this many messages is an accepted command. A guard that can be made to ignore
/// its pilot accepts fewer.
const ACCEPTED: u64 = 5;
/// Connections besides the pilot's.
const OTHERS: usize = 3;
/// The clock advances by at most this much between two messages.
const STEP_NS: u64 = 300_000;
/// Without messages the guard is polled at this interval, as by its own timer.
const TICK: Duration = Duration::from_millis(5);
/// Bytes of the longest garbage message.
const LONGEST: u64 = 600;

// Only these functions depend on how requests are built.

fn hello() -> Request {
    Request::Hello {
        engine: Some(Domain::Simulated),
        fingerprint: Identification::of_limits(&limits()).fingerprint,
    }
}

fn arm() -> Request {
    Request::Arm(None)
}

fn bytes(number: u64, request: Request) -> Vec<u8> {
    Numbered { number, request }.write().to_vec()
}

/// The steering of a request, if it is a command.
fn steering(of: &Request) -> Option<f32> {
    match of {
        Request::Command(command) => Some(command.steering),
        _ => None,
    }
}

fn refused(reply: &[u8], answers: u64) -> Option<bool> {
    let reply = Reply::read(reply).ok()?;
    (reply.answers == answers).then_some(reply.refused.is_some())
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    /// True with a probability of `percent`.
    fn share(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn extreme(&mut self, near: u64) -> u64 {
        let around = near
            .wrapping_add(self.below(2_000_000_000))
            .wrapping_sub(1_000_000_000);
        let any = self.next();
        self.of(&[
            0,
            1,
            near,
            around,
            around,
            any,
            1 << 31,
            u64::from(u32::MAX),
            1 << 63,
            u64::MAX,
        ])
    }

    fn float(&mut self) -> f32 {
        let share = self.below(1000) as f32 / 1000.0;
        self.of(&[
            share,
            share,
            -share,
            0.0,
            -0.0,
            1.0,
            -1.0,
            1.000_000_1,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            1e-45,
            3.4e38,
        ])
    }
}

/// Records every output until it is checked.
#[derive(Clone, Default)]
struct Motors(Arc<Mutex<Vec<Output>>>);

impl Actuator for Motors {
    fn name(&self) -> &str {
        "a list"
    }

    fn write(&mut self, _: Time, output: &Output) -> Result<(), ActuatorError> {
        self.0.lock().unwrap().push(*output);
        Ok(())
    }
}

struct Connection {
    socket: OwnedFd,
    number: u64,
}

/// A guard, its clients, and the state that the test tracks.
struct World {
    random: Random,
    limits: Limits,
    now: Time,
    server: Server<Motors>,
    motors: Motors,
    last: Output,
    address: PathBuf,
    _folder: tempfile::TempDir,
    pilot: Option<Connection>,
    others: Vec<Option<Connection>>,
    sequence: u64,
    sent: u64,
}

/// The pilot steers only to the left. Other clients, whose commands must be dropped, steer to the
/// right.
const PILOT_STEERING: std::ops::RangeInclusive<f32> = 0.0..=1.0;

fn limits() -> Limits {
    let spec = LimitsSpec::simulated();
    Limits::new(LimitsSpec {
        throttle: Channel {
            min: 0.0,
            max: 0.2,
            ..spec.throttle
        },
        ..spec
    })
    .unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("guard.sock");
        let listener = socket();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&address).unwrap()).unwrap();
        rustix::net::listen(&listener, 16).unwrap();
        let motors = Motors::default();
        let now = Time::from_nanos(1_000_000_000);
        let guard = Executor::start(limits(), motors.clone(), now, TICK).unwrap();
        let car = Identification::of_limits(&limits());
        let server = Server::new(guard, car, Some(listener), None, Allowed::own());
        Self {
            random: Random(seed),
            limits: limits(),
            now,
            server,
            motors,
            last: Output::disarmed(&limits()),
            address,
            _folder: folder,
            pilot: None,
            others: (0..OTHERS).map(|_| None).collect(),
            sequence: 0,
            sent: 0,
        }
    }

    /// Polls the guard, and checks that every output is within the limits.
    fn poll(&mut self) {
        let now = self.now;
        self.server.poll(|| now);
        let spec = *self.limits.spec();
        let outputs = std::mem::take(&mut *self.motors.0.lock().unwrap());
        for output in outputs {
            let within =
                |value: f32, channel: &Channel| (channel.min..=channel.max).contains(&value);
            assert!(
                within(output.steering, &spec.steering) && within(output.throttle, &spec.throttle),
                "outside the limits after {} messages: {output:?}",
                self.sent
            );
            let expected = match output.mode {
                Mode::Drive => output,
                Mode::Failsafe => Output::failsafe(&self.limits),
                Mode::Brake => Output::brake(&self.limits),
                Mode::Disarmed => Output::disarmed(&self.limits),
            };
            assert_eq!(output, expected, "after {} messages", self.sent);
            assert!(
                output.steering >= 0.0,
                "a command moved the car that was not its pilot's, after {} messages: {output:?}",
                self.sent
            );
            self.last = output;
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.poll();
    }

    fn assert_stopped(&self, why: &str) {
        assert_ne!(
            self.last.mode,
            Mode::Drive,
            "{why}, after {} messages",
            self.sent
        );
    }

    /// A new connection to the guard.
    fn connect(&mut self) -> Option<Connection> {
        let socket = socket();
        let address = SocketAddrUnix::new(&self.address).unwrap();
        rustix::net::connect(&socket, &address).ok()?;
        self.poll();
        Some(Connection { socket, number: 0 })
    }

    /// Sends bytes over a connection, if there is one.
    fn send(&mut self, over: &mut Option<Connection>, bytes: &[u8]) {
        self.sent += 1;
        let Some(connection) = over else { return };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::send(&connection.socket, bytes, flags) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::MSGSIZE) => {}
            // The guard has closed the connection.
            Err(_) => *over = None,
        }
    }

    /// Sends a valid request. Returns whether it was refused, if there is a reply.
    fn request_refused(&mut self, over: &mut Option<Connection>, request: Request) -> Option<bool> {
        let number = match over {
            Some(connection) => {
                drain(connection);
                connection.number += 1;
                connection.number
            }
            None => return None,
        };
        self.send(over, &bytes(number, request));
        self.poll();
        let connection = over.as_ref()?;
        let mut answer = None;
        receive(connection, |reply| {
            answer = answer.or(refused(reply, number))
        });
        answer
    }

    /// Sends the pilot's next command, which is good unless its capture time is `ahead`.
    fn drive(&mut self, ahead: Duration) {
        self.sequence += 1;
        let steering = self.random.below(1000) as f32 / 1000.0;
        let throttle = self.random.below(1000) as f32 / 1000.0;
        let good = Command {
            steering,
            throttle,
            captured: self.now + ahead,
            sequence: self.sequence,
        };
        let mut pilot = self.pilot.take();
        if let Some(connection) = &mut pilot {
            connection.number += 1;
            let message = bytes(connection.number, Request::Command(good));
            self.send(&mut pilot, &message);
        }
        self.pilot = pilot;
    }

    /// A command with arbitrary fields. Only clients other than the pilot steer to the right.
    fn odd(&mut self, number: u64, from_pilot: bool) -> (u64, Request) {
        let now = self.now.as_nanos();
        let captured = match self.random.share(50) {
            true => now.saturating_sub(self.random.below(200_000_000)),
            false => self.random.extreme(now),
        };
        // The pilot's sequence number must stay low enough to increase again.
        let sequence = match from_pilot {
            true => self.random.below(self.sequence + 2),
            false => self.random.extreme(self.sequence),
        };
        let mut steering = self.random.float();
        if from_pilot && !PILOT_STEERING.contains(&steering) && steering >= -1.0 {
            steering = 0.5;
        }
        if !from_pilot {
            steering = self.random.of(&[-1.0, -0.5, steering]);
        }
        let odd = Command {
            steering,
            throttle: self.random.float(),
            captured: Time::from_nanos(captured),
            sequence,
        };
        let number = match self.random.share(80) || from_pilot {
            true => number,
            false => self.random.extreme(number),
        };
        (number, Request::Command(odd))
    }

    /// A request with some bytes changed, and with a correct checksum in half of the cases.
    fn mutated(&mut self, number: u64, from_pilot: bool) -> Vec<u8> {
        let request = match self.random.below(4) {
            0 => hello(),
            1 => Request::Ask,
            _ => self.odd(number, from_pilot).1,
        };
        let mut message = bytes(number, request);
        for _ in 0..1 + self.random.below(3) {
            let at = self.random.below(message.len() as u64) as usize;
            message[at] = self.random.next() as u8;
        }
        let end = message.len() - 4;
        if self.random.share(50) {
            let checksum = crc32fast::hash(&message[..end]);
            message[end..].copy_from_slice(&checksum.to_le_bytes());
        }
        message
    }

    fn garbage(&mut self) -> Vec<u8> {
        let length = self.random.below(LONGEST);
        (0..length).map(|_| self.random.next() as u8).collect()
    }

    /// Whether a random message happens to be a valid request that would invalidate the state that
    /// the test tracks.
    fn is_real(message: &[u8], from_pilot: bool) -> bool {
        match Numbered::read(message) {
            Err(_) => false,
            Ok(Numbered { request, .. }) => match request {
                Request::Command(_) if !from_pilot => false,
                Request::Command(_) => !steering(&request).is_some_and(|it| it >= 0.0),
                Request::Ask => false,
                _ => true,
            },
        }
    }

    /// Sends the pilot's next message.
    fn pilot_sends(&mut self) {
        if self.random.share(85) {
            return self.drive(Duration::ZERO);
        }
        if self.random.share(10) {
            // Good except for its capture time. If the guard kept it for later, it would move a car
            // whose pilot sends nothing.
            let ahead = self.random.below(200);
            return self.drive(Duration::from_millis(ahead));
        }
        let Some(number) = self.pilot.as_ref().map(|pilot| pilot.number + 1) else {
            return;
        };
        let message = match self.random.below(4) {
            0 => self.garbage(),
            1 => self.mutated(number, true),
            _ => {
                let (number, odd) = self.odd(number, true);
                bytes(number, odd)
            }
        };
        if Self::is_real(&message, true) || message.is_empty() {
            return;
        }
        let read = Numbered::read(&message).ok().map(|read| read.number);
        // The pilot's numbers must be able to increase.
        if read.is_some_and(|read| read > number + 1000) {
            return;
        }
        let mut pilot = self.pilot.take();
        if let (Some(pilot), Some(read)) = (&mut pilot, read) {
            pilot.number = pilot.number.max(read);
        }
        self.send(&mut pilot, &message);
        self.pilot = pilot;
    }

    /// Sends a message of a client that is not the pilot.
    fn other_sends(&mut self) {
        let index = self.random.below(OTHERS as u64) as usize;
        let mut other = self.others[index].take();
        if other.is_none() {
            other = self.connect();
        }
        let number = other.as_ref().map_or(1, |other| other.number + 1);
        match self.random.below(100) {
            // Disconnect, by closing or by an empty message.
            0..4 => other = None,
            4..6 => self.send(&mut other, &[]),
            // There is a pilot, so this client must be refused.
            6..10 if self.pilot.is_some() => {
                let refused = self.request_refused(&mut other, hello());
                assert_ne!(refused, Some(false), "two pilots");
            }
            10..12 => {
                let stop = self.random.of(&[
                    Request::Stop,
                    Request::Disarm,
                    Request::Fault(Fault::Camera),
                ]);
                if self.request_refused(&mut other, stop) == Some(false) {
                    self.assert_stopped("stopped by an operator");
                }
            }
            12..40 => {
                let message = self.mutated(number, false);
                if !Self::is_real(&message, false) {
                    record_number(&mut other, &message);
                    self.send(&mut other, &message);
                }
            }
            40..60 => {
                let message = self.garbage();
                self.send(&mut other, &message);
            }
            _ => {
                let (number, odd) = self.odd(number, false);
                let message = bytes(number, odd);
                record_number(&mut other, &message);
                self.send(&mut other, &message);
            }
        }
        self.others[index] = other;
    }

    /// Connects a pilot if there is none, and arms the car.
    fn connect_and_arm(&mut self) {
        if self.pilot.is_none() {
            let mut pilot = self.connect();
            if self.request_refused(&mut pilot, hello()) == Some(false) {
                self.pilot = pilot;
            }
        }
        // A new connection, whose numbers can increase.
        let mut operator = self.connect();
        self.request_refused(&mut operator, arm());
    }

    /// Closes the pilot's connection, as when its process dies.
    fn pilot_dies(&mut self) {
        if self.pilot.take().is_some() {
            self.poll();
            self.assert_stopped("the pilot is gone");
        }
    }

    /// Without a message for a deadline the car is stopped, and stays stopped.
    fn silence(&mut self) {
        let deadline = self.limits.spec().deadline;
        // Messages that were sent are read first.
        self.poll();
        let silent = self.now;
        while self.now.since(silent) < deadline {
            self.pass(TICK);
        }
        self.assert_stopped("silent for a deadline");
        while self.now.since(silent) < deadline * 3 {
            self.pass(TICK);
            self.assert_stopped("silent for more than a deadline");
        }
    }
}

fn socket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

fn receive(connection: &Connection, mut with: impl FnMut(&[u8])) {
    let mut reply = [0; 1024];
    while let Ok((length @ 1.., _)) =
        rustix::net::recv(&connection.socket, &mut reply[..], RecvFlags::DONTWAIT)
    {
        with(&reply[..length.min(reply.len())]);
    }
}

fn drain(connection: &Connection) {
    receive(connection, |_| {});
}

/// Records the number of a message, which the guard counts for every valid request. A number that
/// is too high for another to follow is used only until the next connection.
fn record_number(connection: &mut Option<Connection>, message: &[u8]) {
    if let (Some(connection), Ok(read)) = (connection, Numbered::read(message)) {
        connection.number = connection.number.max(read.number.min(u64::MAX - 1_000_000));
    }
}

#[test]
fn only_the_pilot_moves_the_car_and_only_within_its_limits() {
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok();
        given.map_or(default, |given| given.parse().unwrap())
    };
    let messages = number("PILOTAGE_MESSAGES", MESSAGES);
    let mut world = World::new(number("PILOTAGE_SEED", 0x5EED_0001));
    let mut silences = 0;
    while world.sent < messages {
        match world.random.below(1000) {
            0 => {
                world.silence();
                silences += 1;
            }
            1..3 => world.pilot_dies(),
            3..30 => world.connect_and_arm(),
            30..600 => world.pilot_sends(),
            _ => world.other_sends(),
        }
        for connection in world.pilot.iter().chain(world.others.iter().flatten()) {
            drain(connection);
        }
        let step = world.random.below(STEP_NS);
        world.pass(Duration::from_nanos(step));
    }
    world.silence();
    let status = world.server.executor().status();
    let accepted = status.counters.accepted;
    println!(
        "{} messages, {accepted} commands accepted, {} refused, {silences} silences",
        world.sent,
        status.counters.refused_in_all()
    );
    assert!(silences > 0);
    assert!(
        accepted >= messages / ACCEPTED,
        "only {accepted} of {messages} messages were accepted commands"
    );
}
