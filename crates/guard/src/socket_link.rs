//! A pilot's way to a guard in a process of its own.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use pilotage_vehicle::{Command, Time};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;

use crate::wire::{Noise, Numbered, REPLY, Reply, Request};
use crate::{
    ArmRequest, Counters, Domain, Fault, Link, LinkError, Mode, Output, Refusal, State, Status,
};

/// How long an answer is waited for. A guard answers at its next turn, some microseconds on.
const PATIENCE: Duration = Duration::from_millis(200);

/// A line to a guard's socket. Sending a command never waits.
#[derive(Debug)]
pub struct SocketLink {
    line: OwnedFd,
    number: u64,
    heard: Cell<Reply>,
    /// The other end is closed.
    gone: Cell<bool>,
}

/// Why there is no line to a guard.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens, or may be reached.
    #[error(
        "no guard answers at {path} ({reason}): start it with `systemctl start pilotage-guard`, \
         or see its journal (`journalctl -u pilotage-guard`)"
    )]
    Unreachable {
        /// The socket.
        path: String,
        /// The system's word.
        reason: Errno,
    },
    /// It would not have this program for a pilot, or did not answer.
    #[error(transparent)]
    Guard(#[from] LinkError),
}

impl SocketLink {
    /// A line to the guard that listens at `path`.
    ///
    /// # Errors
    /// When nobody does.
    pub fn connect(path: &Path) -> Result<Self, ConnectError> {
        let unreachable = |reason| ConnectError::Unreachable {
            path: path.display().to_string(),
            reason,
        };
        let line = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            // Too many who wait for a guard that hangs are an error, not one more who waits.
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(unreachable)?;
        let address = SocketAddrUnix::new(path).map_err(unreachable)?;
        rustix::net::connect(&line, &address).map_err(unreachable)?;
        Ok(Self::over(line))
    }

    /// The same over a line that is there.
    pub fn over(line: OwnedFd) -> Self {
        Self {
            line,
            number: 0,
            heard: Cell::new(Reply {
                answers: 0,
                refused: None,
                status: Status {
                    state: State::Disarmed,
                    output: Output {
                        mode: Mode::Disarmed,
                        steering: 0.0,
                        throttle: 0.0,
                    },
                    counters: Counters::default(),
                },
                noise: Noise::default(),
            }),
            gone: Cell::new(false),
        }
    }

    /// Says that this is the pilot, whose engine was trained in `domain`.
    ///
    /// # Errors
    /// When there is a pilot already, or the guard does not answer.
    pub fn hello(&mut self, domain: Domain) -> Result<(), LinkError> {
        self.ask(Request::Hello(domain))
    }

    /// Arms the car for whatever engine the pilot has: a person's wish.
    ///
    /// # Errors
    /// When the guard will not.
    pub fn arm_pilot(&mut self) -> Result<(), LinkError> {
        self.ask(Request::Arm(None))
    }

    /// Stops the car on behalf of a person who waits no longer than `patience`.
    ///
    /// # Errors
    /// When the guard does not answer in time.
    pub fn stop_within(&mut self, patience: Duration) -> Result<(), LinkError> {
        self.ask_within(Request::Stop, patience)
    }

    /// The guard's process, where the line was made by [`connect`](Self::connect).
    pub fn process(&self) -> Option<Pid> {
        let peer = rustix::net::sockopt::socket_peercred(&self.line);
        // The system says who listened.
        peer.ok().map(|peer| peer.pid)
    }

    /// Asks where the guard stands; [`Link::status`] has it then.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn refresh(&mut self) -> Result<(), LinkError> {
        self.ask(Request::Ask)
    }

    /// The same, waiting no longer than `patience`.
    ///
    /// # Errors
    /// When the guard does not answer in time.
    pub fn refresh_within(&mut self, patience: Duration) -> Result<(), LinkError> {
        self.ask_within(Request::Ask, patience)
    }

    /// What came over the guard's sockets that was no good, as last heard.
    pub fn noise(&self) -> Noise {
        self.hear();
        self.heard.get().noise
    }

    /// Whether the guard's end is closed.
    pub fn is_gone(&self) -> bool {
        self.hear();
        self.gone.get()
    }

    /// Sends without waiting, and gives the request's number.
    fn send(&mut self, request: Request) -> Result<u64, LinkError> {
        self.number += 1;
        let bytes = Numbered {
            number: self.number,
            request,
        }
        .write();
        loop {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            return match rustix::net::send(&self.line, &bytes, flags) {
                Ok(_) => Ok(self.number),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Err(LinkError::QueueFull),
                Err(_) => {
                    self.gone.set(true);
                    Err(LinkError::Gone)
                }
            };
        }
    }

    /// Sends, and waits for the answer.
    fn ask(&mut self, request: Request) -> Result<(), LinkError> {
        self.ask_within(request, PATIENCE)
    }

    fn ask_within(&mut self, request: Request, patience: Duration) -> Result<(), LinkError> {
        let number = self.send(request)?;
        let until = Instant::now() + patience;
        loop {
            if let Some(refused) = self.answer(number) {
                return refused.map_or(Ok(()), |refusal| Err(LinkError::Refused(refusal)));
            }
            if self.gone.get() {
                return Err(LinkError::Gone);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LinkError::Silent);
            }
            self.await_reply(left);
        }
    }

    fn await_reply(&self, left: Duration) {
        let mut lines = [PollFd::from_borrowed_fd(self.line.as_fd(), PollFlags::IN)];
        let left = Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        // Whatever it says, the line is looked at next.
        let _ = rustix::event::poll(&mut lines, Some(&left));
    }

    /// Reads all that has come.
    fn hear(&self) {
        while self.next().is_some() {}
    }

    /// The answer to that request, if it has come.
    fn answer(&self, number: u64) -> Option<Option<Refusal>> {
        while let Some(reply) = self.next() {
            if reply.answers == number {
                return Some(reply.refused);
            }
        }
        None
    }

    fn next(&self) -> Option<Reply> {
        let mut bytes = [0; REPLY + 1];
        loop {
            let read = rustix::net::recv(&self.line, &mut bytes[..], RecvFlags::DONTWAIT);
            match read {
                Ok((_, 0)) => {
                    self.gone.set(true);
                    return None;
                }
                Ok((length, _)) => {
                    let read = Reply::read(&bytes[..length.min(bytes.len())]);
                    // What is none is of another version; the next may be of this one.
                    if let Ok(reply) = read {
                        self.heard.set(reply);
                        return Some(reply);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(_) => {
                    self.gone.set(true);
                    return None;
                }
            }
        }
    }
}

impl Link for SocketLink {
    fn arm(&mut self, _now: Time, request: ArmRequest) -> Result<(), LinkError> {
        self.ask(Request::Arm(Some(request)))
    }

    fn disarm(&mut self, _now: Time) -> Result<(), LinkError> {
        self.ask(Request::Disarm)
    }

    fn stop(&mut self, _now: Time) -> Result<(), LinkError> {
        self.ask(Request::Stop)
    }

    fn report(&mut self, _now: Time, fault: Fault) -> Result<(), LinkError> {
        // Seldom, and to be sure of.
        self.ask(Request::Fault(fault))
    }

    fn send_at(&mut self, at: Time, command: Command) -> Result<(), LinkError> {
        self.send(Request::Command { at, command }).map(|_| ())
    }

    fn advance_to(&mut self, _now: Time) -> Result<(), LinkError> {
        self.hear();
        match self.gone.get() {
            true => Err(LinkError::Gone),
            false => Ok(()),
        }
    }

    fn status(&self) -> Status {
        self.hear();
        self.heard.get().status
    }
}
