//! A pilot's link to a guard that runs in its own process.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use pilotage_vehicle::{Command, Domain, Fault, Time};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;

use crate::protocol::wire::{
    FromGuard, LONGEST_ABOUT, Malformed, Numbered, REPLY_LEN, Rejected, Reply, Request, VERSION,
};
use crate::trim::{Point, Value};
use crate::{
    ArmRequest, CommandLink, Identification, Identity, LinkError, OperatorLink, Refusal, Status,
};

/// How long to wait for the reply to a stop, or to a held stop button. `pilotage stop` then kills
/// the guard. A guard that runs replies at its next poll, within microseconds. Together with the
/// start of the program and the write of failsafe, a stop has to take at most 20 ms.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_millis(7);
/// How long to wait for any other reply. A guard replies at its next poll, within microseconds.
const REPLY_TIMEOUT: Duration = Duration::from_millis(200);

/// A connection to a guard's socket. Sending a command never blocks.
#[derive(Debug)]
pub struct SocketLink {
    connection: OwnedFd,
    number: u64,
    received: Cell<Reply>,
    /// Whether the guard has closed the connection, or the connection failed.
    gone: Cell<bool>,
    /// Whether the guard has reported that another pilot took this one's place.
    replaced: Cell<bool>,
    /// The guard's protocol version: [`VERSION`] until a message with another one arrives.
    version: Cell<u16>,
}

/// Why there is no connection to a guard.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No guard listens, or this user may not connect to it.
    #[error(
        "no guard answers at {path} ({reason}): start it with `systemctl start pilotage-guard`, \
         or see its journal (`journalctl -u pilotage-guard`)"
    )]
    Unreachable {
        /// The socket.
        path: String,
        /// The system's error.
        reason: Errno,
    },
    /// The guard rejected this program, or did not answer.
    #[error(transparent)]
    Guard(#[from] LinkError),
}

/// Why a guard did not accept this program as its pilot.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The guard guards another car, or this car with another car.toml.
    #[error(
        "the guard runs with a different car.toml; the car was not armed.\n  pilot: {pilot}\n  \
         guard: {guard}\n{differences}restart the guard if car.toml was edited (`systemctl \
         restart pilotage-guard`, or end the program that started it); two cars need two \
         `guard.socket`s"
    )]
    OtherCar {
        /// This program's car.
        pilot: String,
        /// The guard's car.
        guard: String,
        /// One line for each differing key.
        differences: String,
    },
    /// The guard refused the request, did not answer, or disconnected.
    #[error("this program was not accepted as the pilot: {0}")]
    Link(LinkError),
}

// Not by `#[from]`: it would also make `error` the source, and the message would be printed twice.
impl From<LinkError> for HelloError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl SocketLink {
    /// Connects to the guard that listens on `path`.
    ///
    /// # Errors
    /// When no guard listens there, or this user may not connect.
    pub fn connect(path: &Path) -> Result<Self, ConnectError> {
        let unreachable = |reason| ConnectError::Unreachable {
            path: path.display().to_string(),
            reason,
        };
        let connection = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            // Non-blocking: if the queue of a hanging guard is full, connecting fails instead of
            // waiting.
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(unreachable)?;
        let address = SocketAddrUnix::new(path).map_err(unreachable)?;
        rustix::net::connect(&connection, &address).map_err(unreachable)?;
        Ok(Self::over(connection))
    }

    /// Uses `connection`, a connected `SOCK_SEQPACKET` socket to a guard. Until the first reply or
    /// report, [`CommandLink::status`] is disarmed.
    pub fn over(connection: OwnedFd) -> Self {
        Self {
            connection,
            number: 0,
            received: Cell::new(Reply {
                answers: 0,
                refused: None,
                status: Status::disarmed(),
                rejected: Rejected::default(),
            }),
            gone: Cell::new(false),
            replaced: Cell::new(false),
            version: Cell::new(VERSION),
        }
    }

    /// Declares this program as the pilot of a car, with an engine that was trained in `domain`.
    ///
    /// # Errors
    /// When the guard guards another car or has a pilot already; else as
    /// [`refresh`](Self::refresh).
    pub fn hello(&mut self, domain: Domain, car: &Identification) -> Result<(), HelloError> {
        self.declare(Some(domain), car)
    }

    /// Declares this program as one that trims a car, in place of a pilot.
    ///
    /// # Errors
    /// As [`hello`](Self::hello).
    pub fn hello_to_trim(&mut self, car: &Identification) -> Result<(), HelloError> {
        self.declare(None, car)
    }

    fn declare(&mut self, engine: Option<Domain>, car: &Identification) -> Result<(), HelloError> {
        let request = Request::Hello {
            engine,
            fingerprint: car.fingerprint,
        };
        match self.ask(request) {
            Err(LinkError::Refused(Refusal::OtherCar)) => Err(self.other_car(car)),
            done => Ok(done?),
        }
    }

    fn other_car(&mut self, car: &Identification) -> HelloError {
        let about = match self.describe() {
            Ok(about) => about,
            Err(error) => return error.into(),
        };
        let split = |about: &str| {
            let (title, identity) = about.split_once('\n').unwrap_or((about, ""));
            (title.to_owned(), Identity::from_text(identity))
        };
        let (pilot, own) = split(&car.about);
        let (guard, theirs) = split(&about);
        let differing = own.differences(&theirs);
        HelloError::OtherCar {
            pilot,
            guard,
            differences: differing
                .iter()
                .map(|difference| format!("  {difference}\n"))
                .collect(),
        }
    }

    /// Requests [`Identification::about`]: a line for operators, followed by the car's identity.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub fn describe(&mut self) -> Result<String, LinkError> {
        let number = self.send(Request::Describe)?;
        let mut text = None;
        // Large enough for the longest reply and for a report.
        let mut bytes = vec![0; LONGEST_ABOUT];
        self.wait_into(&mut bytes, REPLY_TIMEOUT, |message| match message {
            FromGuard::About(about) if about.answers == number => {
                text = Some(about.text.clone());
                true
            }
            _ => false,
        })?;
        text.ok_or(LinkError::Silent)
    }

    /// The car in one line, from the guard.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub fn car(&mut self) -> Result<String, LinkError> {
        let about = self.describe()?;
        Ok(about.lines().next().unwrap_or_default().to_owned())
    }

    /// Arms the car for the pilot's engine, on behalf of an operator.
    ///
    /// # Errors
    /// When the guard refuses; else as [`refresh`](Self::refresh).
    pub fn arm_pilot(&mut self) -> Result<(), LinkError> {
        self.ask(Request::Arm(None))
    }

    /// Holds a stop button down, or releases it. The button is also released when this client
    /// disconnects.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh), but after 7 ms.
    pub fn hold_stop(&mut self, held: bool) -> Result<(), LinkError> {
        self.ask_within(Request::HoldStop(held), STOP_PATIENCE)
    }

    /// Lets the car be armed only as long as this is repeated within
    /// [`LEASE`](crate::wire::LEASE); with false, or when this client disconnects, the car is
    /// stopped.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub fn lease(&mut self, held: bool) -> Result<(), LinkError> {
        self.ask(Request::Lease(held))
    }

    /// Tries `value` at `point` for one deadline. Only a client that called
    /// [`hello_to_trim`](Self::hello_to_trim) may.
    ///
    /// # Errors
    /// When the guard refuses; else as [`refresh`](Self::refresh).
    pub fn trim(&mut self, point: Point, value: Value) -> Result<(), LinkError> {
        self.ask(Request::Trim { point, value })
    }

    /// Stops the car on behalf of an operator, and waits at most `timeout` for the reply.
    ///
    /// # Errors
    /// As [`refresh_within`](Self::refresh_within).
    pub fn stop_within(&mut self, timeout: Duration) -> Result<(), LinkError> {
        self.ask_within(Request::Stop, timeout)
    }

    /// The guard's process, if the connection was made by [`connect`](Self::connect).
    pub fn process(&self) -> Option<Pid> {
        let peer = rustix::net::sockopt::socket_peercred(&self.connection);
        // The kernel keeps the credentials of the process that listened.
        peer.ok().map(|peer| peer.pid)
    }

    /// Requests the guard's status; [`CommandLink::status`] then returns it.
    ///
    /// # Errors
    /// When the guard does not answer within 200 ms, has another protocol version or has closed the
    /// connection, or the queue of requests to it is full.
    pub fn refresh(&mut self) -> Result<(), LinkError> {
        self.ask(Request::Ask)
    }

    /// As [`refresh`](Self::refresh), but waits at most `timeout`.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh), but after `timeout`.
    pub fn refresh_within(&mut self, timeout: Duration) -> Result<(), LinkError> {
        self.ask_within(Request::Ask, timeout)
    }

    /// Counts of what the guard has rejected, as last reported.
    pub fn rejected(&self) -> Rejected {
        self.receive();
        self.received.get().rejected
    }

    /// Whether the guard has closed the connection, or the connection failed.
    pub fn is_gone(&self) -> bool {
        self.receive();
        self.gone.get()
    }

    /// Sends a request without waiting, and returns its number.
    fn send(&mut self, request: Request) -> Result<u64, LinkError> {
        self.number += 1;
        let bytes = Numbered {
            number: self.number,
            request,
        }
        .write();
        loop {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            return match rustix::net::send(&self.connection, &bytes, flags) {
                Ok(_) => Ok(self.number),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Err(LinkError::QueueFull),
                Err(_) => {
                    // The report that came before the end may not have been read.
                    self.receive();
                    self.gone.set(true);
                    Err(self.end())
                }
            };
        }
    }

    /// Why the connection is closed.
    fn end(&self) -> LinkError {
        match self.replaced.get() {
            true => LinkError::Replaced,
            false => LinkError::Gone,
        }
    }

    /// Sends a request, and waits for the reply.
    fn ask(&mut self, request: Request) -> Result<(), LinkError> {
        self.ask_within(request, REPLY_TIMEOUT)
    }

    fn ask_within(&mut self, request: Request, timeout: Duration) -> Result<(), LinkError> {
        let number = self.send(request)?;
        let mut refused = None;
        self.wait(timeout, |message| match message {
            FromGuard::Reply(reply) if reply.answers == number => {
                refused = reply.refused;
                true
            }
            _ => false,
        })?;
        refused.map_or(Ok(()), |refusal| Err(LinkError::Refused(refusal)))
    }

    /// Reads messages until `is_expected` returns true for one, for at most `timeout`.
    fn wait(
        &self,
        timeout: Duration,
        is_expected: impl FnMut(&FromGuard) -> bool,
    ) -> Result<(), LinkError> {
        self.wait_into(&mut [0; REPLY_LEN + 1], timeout, is_expected)
    }

    fn wait_into(
        &self,
        bytes: &mut [u8],
        timeout: Duration,
        mut is_expected: impl FnMut(&FromGuard) -> bool,
    ) -> Result<(), LinkError> {
        let until = Instant::now() + timeout;
        loop {
            while let Some(message) = self.next_into(bytes) {
                if is_expected(&message) {
                    return Ok(());
                }
            }
            if self.version.get() != VERSION {
                return Err(LinkError::OtherVersion {
                    guard: self.version.get(),
                    own: VERSION,
                });
            }
            if self.gone.get() {
                return Err(self.end());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LinkError::Silent);
            }
            self.await_message(left);
        }
    }

    fn await_message(&self, left: Duration) {
        let mut connections = [PollFd::from_borrowed_fd(
            self.connection.as_fd(),
            PollFlags::IN,
        )];
        let left = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(0),
            tv_nsec: left.subsec_nanos().into(),
        };
        // The result is ignored: the connection is read next.
        let _ = rustix::event::poll(&mut connections, Some(&left));
    }

    /// Reads all messages that have arrived.
    fn receive(&self) {
        while self.next().is_some() {}
    }

    fn next(&self) -> Option<FromGuard> {
        self.next_into(&mut [0; REPLY_LEN + 1])
    }

    /// The next message. Messages that are longer than `bytes` are skipped.
    fn next_into(&self, bytes: &mut [u8]) -> Option<FromGuard> {
        loop {
            match rustix::net::recv(&self.connection, &mut *bytes, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => {
                    self.gone.set(true);
                    return None;
                }
                Ok((length, _)) => match FromGuard::read(&bytes[..length]) {
                    Ok(message) => {
                        if let FromGuard::Reply(reply) = message {
                            // Other refusals answer a request.
                            if (reply.answers, reply.refused) == (0, Some(Refusal::NotThePilot)) {
                                self.replaced.set(true);
                            }
                            self.received.set(reply);
                        }
                        return Some(message);
                    }
                    Err(Malformed::Version(version)) => self.version.set(version),
                    // Skip messages that do not parse.
                    Err(_) => {}
                },
                // After the other end has closed without reading all: what it sent before comes next,
                // and then the end.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(Errno::AGAIN) => return None,
                Err(_) => {
                    self.gone.set(true);
                    return None;
                }
            }
        }
    }
}

impl OperatorLink for SocketLink {
    fn arm(&mut self, _now: Time, request: ArmRequest) -> Result<(), LinkError> {
        self.ask(Request::Arm(Some(request)))
    }

    fn disarm(&mut self, _now: Time) -> Result<(), LinkError> {
        self.ask(Request::Disarm)
    }

    fn stop(&mut self, _now: Time) -> Result<(), LinkError> {
        self.ask(Request::Stop)
    }
}

impl CommandLink for SocketLink {
    fn report(&mut self, _now: Time, fault: Fault) -> Result<(), LinkError> {
        // Faults are rare, so waiting for the reply is acceptable.
        self.ask(Request::Fault(fault))
    }

    fn send_at(&mut self, _at: Time, command: Command) -> Result<(), LinkError> {
        self.send(Request::Command(command)).map(|_| ())
    }

    fn advance_to(&mut self, _now: Time) -> Result<(), LinkError> {
        self.receive();
        match self.gone.get() {
            true => Err(self.end()),
            false => Ok(()),
        }
    }

    fn status(&self) -> Status {
        self.receive();
        self.received.get().status
    }
}
