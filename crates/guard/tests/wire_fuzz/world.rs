//! A guard, its clients, and the state that the test tracks.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilotage_guard::wire::{Numbered, Reply, Request};
use pilotage_guard::{
    Actuator, ActuatorError, Allowed, Channel, Executor, Identification, Limits, LimitsSpec, Mode,
    Output, Server,
};
use pilotage_vehicle::{Domain, Time};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::random::Random;

/// Connections besides the pilot's.
pub(crate) const OTHERS: usize = 3;
/// Without messages the guard is polled at this interval, as by its own timer.
pub(crate) const TICK: Duration = Duration::from_millis(5);

// Only these functions depend on how requests are built.

pub(crate) fn hello() -> Request {
    Request::Hello {
        engine: Some(Domain::Simulated),
        fingerprint: Identification::of_limits(&limits()).fingerprint,
    }
}

pub(crate) fn arm() -> Request {
    Request::Arm(None)
}

pub(crate) fn bytes(number: u64, request: Request) -> Vec<u8> {
    Numbered { number, request }.write().to_vec()
}

pub(crate) fn refused(reply: &[u8], answers: u64) -> Option<bool> {
    let reply = Reply::read(reply).ok()?;
    (reply.answers == answers).then_some(reply.refused.is_some())
}

/// Records every output until it is checked.
#[derive(Clone, Default)]
pub(crate) struct Motors(Arc<Mutex<Vec<Output>>>);

impl Actuator for Motors {
    fn name(&self) -> &str {
        "a list"
    }

    fn write(&mut self, _: Time, output: &Output) -> Result<(), ActuatorError> {
        self.0.lock().unwrap().push(*output);
        Ok(())
    }
}

pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    pub(crate) number: u64,
}

/// A guard, its clients, and the state that the test tracks.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) limits: Limits,
    pub(crate) now: Time,
    pub(crate) server: Server<Motors>,
    pub(crate) motors: Motors,
    pub(crate) last: Output,
    pub(crate) address: PathBuf,
    _folder: tempfile::TempDir,
    pub(crate) pilot: Option<Connection>,
    pub(crate) others: Vec<Option<Connection>>,
    pub(crate) sequence: u64,
    pub(crate) sent: u64,
}

pub(crate) fn limits() -> Limits {
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
    pub(crate) fn new(seed: u64) -> Self {
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
    pub(crate) fn poll(&mut self) {
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

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.poll();
    }

    pub(crate) fn assert_stopped(&self, why: &str) {
        assert_ne!(
            self.last.mode,
            Mode::Drive,
            "{why}, after {} messages",
            self.sent
        );
    }

    /// A new connection to the guard.
    pub(crate) fn connect(&mut self) -> Option<Connection> {
        let socket = socket();
        let address = SocketAddrUnix::new(&self.address).unwrap();
        rustix::net::connect(&socket, &address).ok()?;
        self.poll();
        Some(Connection { socket, number: 0 })
    }

    /// Sends bytes over a connection, if there is one.
    pub(crate) fn send(&mut self, over: &mut Option<Connection>, bytes: &[u8]) {
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
    pub(crate) fn request_refused(
        &mut self,
        over: &mut Option<Connection>,
        request: Request,
    ) -> Option<bool> {
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

    /// Connects a pilot if there is none, and arms the car.
    pub(crate) fn connect_and_arm(&mut self) {
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
    pub(crate) fn pilot_dies(&mut self) {
        if self.pilot.take().is_some() {
            self.poll();
            self.assert_stopped("the pilot is gone");
        }
    }

    /// Without a message for a deadline the car is stopped, and stays stopped.
    pub(crate) fn silence(&mut self) {
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

pub(crate) fn socket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

pub(crate) fn receive(connection: &Connection, mut with: impl FnMut(&[u8])) {
    let mut reply = [0; 1024];
    while let Ok((length @ 1.., _)) =
        rustix::net::recv(&connection.socket, &mut reply[..], RecvFlags::DONTWAIT)
    {
        with(&reply[..length.min(reply.len())]);
    }
}

pub(crate) fn drain(connection: &Connection) {
    receive(connection, |_| {});
}
