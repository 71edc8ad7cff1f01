//! A guard that serves clients over sockets: an [`Executor`] on the real clock, with access
//! control.
//!
//! One connection is the pilot's. Commands over any other connection are counted and dropped. A new
//! pilot takes its place only as `succession` describes.
//! Operators' requests are accepted over every connection. A new connection is never refused for
//! lack of room: the connection that has been idle longest is closed, but not the pilot's nor that
//! of the program that started the guard.

mod allowed;
mod client;
mod succession;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use arrayvec::ArrayVec;
use pilotage_vehicle::{Command, Domain, Fault, Time};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use crate::protocol::wire::{
    About, LEASE, LONGEST_ABOUT, Malformed, Numbered, REQUEST_LEN, Rejected, Reply, Request,
};
use crate::{Actuator, ArmRequest, Executor, Identity, Limits, Refusal, State};
use client::{Client, Lease};

pub use allowed::Allowed;

/// The largest number of connections at the same time: a pilot, its watcher, and operators'
/// programs.
pub(crate) const MOST_CLIENTS: usize = 16;
/// The largest number of messages of a connection that are read in one poll. A flood cannot delay
/// the guard's ticks: the remaining messages wait for the next poll.
const MOST_READ: usize = 32;
/// The longest time between two reports to the pilot.
const HEARTBEAT: Duration = Duration::from_millis(20);
/// A connection without a request for this long is closed, unless it is the pilot's, belongs to the
/// program that started the guard, or holds a stop or a lease.
const IDLE: Duration = Duration::from_secs(10);

/// Identifies the guarded car, to clients that ask and to pilots that connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// The fingerprint that a pilot's car must have.
    pub fingerprint: u64,
    /// [`About::text`].
    pub about: String,
}

impl Identification {
    /// The identification of a simulated car, whose pilot starts the guard with these limits.
    pub fn of_limits(limits: &Limits) -> Self {
        let identity = Identity::of_limits(limits);
        Self {
            fingerprint: identity.fingerprint(),
            about: format!("simulated car\n{}", identity.to_text()),
        }
    }
}

/// A guard that serves clients over sockets. It does not allocate after the start, except when a
/// write to the actuator fails.
pub struct Server<A> {
    executor: Executor<A>,
    identification: Identification,
    listener: Option<OwnedFd>,
    allowed: Allowed,
    clients: ArrayVec<Client, MOST_CLIENTS>,
    /// Where the pilot's engine was trained; `None` without a pilot, or with one that trims.
    engine: Option<Domain>,
    rejected: Rejected,
    reported: Time,
    /// The state in the last report to the pilot.
    state: State,
    /// Whether the program that started this guard has disconnected.
    orphaned: bool,
    /// Buffer for an [`About`].
    about: Box<[u8; LONGEST_ABOUT]>,
}

impl<A: Actuator> Server<A> {
    /// Serves `executor` on `listener`, a listening, non-blocking `SOCK_SEQPACKET` socket, and on
    /// `connected`, one end of a socket pair whose other end belongs to the pilot that started this
    /// guard.
    pub fn new(
        executor: Executor<A>,
        identification: Identification,
        listener: Option<OwnedFd>,
        connected: Option<OwnedFd>,
        allowed: Allowed,
    ) -> Self {
        let now = executor.now();
        let starter = connected.map(|connection| Client::new(connection, now, true));
        Self {
            executor,
            identification,
            listener,
            allowed,
            clients: starter.into_iter().collect(),
            engine: None,
            rejected: Rejected::default(),
            reported: now,
            state: State::Disarmed,
            orphaned: false,
            about: Box::new([0; LONGEST_ABOUT]),
        }
    }

    /// The policy and the actuator.
    pub const fn executor(&self) -> &Executor<A> {
        &self.executor
    }

    /// Counts of what has been rejected so far.
    pub const fn rejected(&self) -> Rejected {
        self.rejected
    }

    /// Whether the program that started this guard has disconnected.
    pub const fn orphaned(&self) -> bool {
        self.orphaned
    }

    /// The descriptors to wait on: the listener and the connections.
    pub fn connections(&self) -> ArrayVec<BorrowedFd<'_>, { MOST_CLIENTS + 1 }> {
        let listener = self.listener.iter().map(AsFd::as_fd);
        let clients = self.clients.iter().map(|client| client.connection.as_fd());
        listener.chain(clients).collect()
    }

    /// When the next tick or stop is due.
    pub fn due(&self) -> Time {
        self.executor.next_due()
    }

    /// How long to wait at `now` until the next tick or stop is due, at most a tick.
    pub fn until_due(&self, now: Time) -> Duration {
        self.executor.until_due(now)
    }

    /// Skips the ticks that have been missed by `now`.
    pub fn skip_missed_ticks(&mut self, now: Time) {
        self.executor.skip_missed_ticks(now);
    }

    /// Runs the ticks and stops that are due by `now`, without reading requests.
    pub fn advance(&mut self, now: Time) {
        self.executor.advance(now);
    }

    /// Advances to the current time, then handles the received requests. `clock` is read again
    /// after each message, so that a command that was captured while others were read is not
    /// rejected as being from the future.
    pub fn poll(&mut self, clock: impl Fn() -> Time) {
        let now = clock();
        self.executor.advance(now);
        self.close_idle(now);
        self.accept(&clock);
        let mut index = 0;
        while index < self.clients.len() {
            if !self.clients[index].replaced && self.receive(index, &clock) {
                index += 1;
            } else {
                self.disconnect(index, clock());
            }
        }
        // After the requests, so that a guard that was late does not end a lease that was renewed.
        self.end_leases(clock());
        self.report(clock());
    }

    /// Ends the guard: stops the car, and with `disarm` (an operator ended the guard) disarms it.
    pub fn end(&mut self, now: Time, disarm: bool) {
        self.executor.report(now, Fault::Pilot);
        if disarm {
            self.executor.disarm(now);
        }
    }

    /// Stops the car if a lease was not renewed in time, or the clock went back so that its time
    /// cannot be measured.
    fn end_leases(&mut self, now: Time) {
        let mut ended = false;
        for client in &mut self.clients {
            if let Lease::Held(renewed) = client.lease
                && (now < renewed || now.since(renewed) >= LEASE)
            {
                client.lease = Lease::Ended;
                ended = true;
            }
        }
        if ended {
            self.executor.stop(now);
        }
    }

    fn close_idle(&mut self, now: Time) {
        let mut index = 0;
        while index < self.clients.len() {
            let client = &self.clients[index];
            if client.expendable() && now.since(client.active) >= IDLE {
                self.rejected.evicted += 1;
                self.disconnect(index, now);
            } else {
                index += 1;
            }
        }
    }

    fn accept(&mut self, clock: &impl Fn() -> Time) {
        // Accept a bounded number in one poll; the others wait for the next poll.
        for _ in 0..MOST_CLIENTS {
            let Some(listener) = &self.listener else {
                return;
            };
            // Each call on the connection has the flag DONTWAIT.
            let Ok(connection) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC) else {
                return;
            };
            if !self.allowed.permits(&connection) {
                // Dropping the connection closes it.
                self.rejected.unauthorized += 1;
                continue;
            }
            let now = clock();
            self.make_room(now);
            // Cannot fail: `make_room` freed a slot.
            let _ = self.clients.try_push(Client::new(connection, now, false));
            // Handle what the client has already sent, because the next connection may evict it.
            let newest = self.clients.len() - 1;
            if !self.receive(newest, clock) {
                // Not `now`: the executor may have advanced beyond it.
                self.disconnect(newest, clock());
            }
        }
    }

    /// Closes the connection that has been idle longest, if there is no room. Connections that hold
    /// a stop or a lease are closed last. If one of them is closed, the car is stopped
    /// or stays stopped.
    fn make_room(&mut self, now: Time) {
        if !self.clients.is_full() {
            return;
        }
        let clients = self.clients.iter().enumerate();
        let closable = clients.filter(|(_, client)| !client.pilot && !client.starter);
        let idlest = closable.min_by_key(|(_, client)| {
            let holds = client.holds_stop || client.lease.is_held();
            (holds, client.active)
        });
        if let Some((index, _)) = idlest {
            self.rejected.evicted += 1;
            self.disconnect(index, now);
        }
    }

    /// Reads what one client has sent. Returns false when it has disconnected.
    fn receive(&mut self, index: usize, clock: &impl Fn() -> Time) -> bool {
        let mut newest = None;
        let mut open = true;
        for _ in 0..MOST_READ {
            let mut bytes = [0; REQUEST_LEN + 1];
            let connection = &self.clients[index].connection;
            let read = rustix::net::recv(connection, &mut bytes[..], RecvFlags::DONTWAIT);
            let length = match read {
                // The client has disconnected: no message of this protocol is empty.
                Ok((_, 0)) => {
                    open = false;
                    break;
                }
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    open = false;
                    break;
                }
            };
            let numbered = match Numbered::read(&bytes[..length.min(bytes.len())]) {
                Ok(numbered) => numbered,
                Err(malformed) => {
                    self.rejected.malformed += 1;
                    if matches!(malformed, Malformed::Version(_)) {
                        // The reply's header carries this guard's protocol version.
                        self.answer(index, 0, None);
                    }
                    continue;
                }
            };
            if numbered.number <= self.clients[index].number {
                self.rejected.replayed += 1;
                continue;
            }
            let now = clock();
            self.clients[index].number = numbered.number;
            self.clients[index].active = now;
            match numbered.request {
                // Only the newest of the waiting commands is used.
                Request::Command(command) => newest = Some(command),
                Request::Describe => self.describe(index, numbered.number),
                request => {
                    // Commands that were sent before this request take effect first.
                    self.command(index, newest.take(), now);
                    let refused = self.act(index, request, now);
                    self.answer(index, numbered.number, refused);
                }
            }
        }
        self.command(index, newest, clock());
        open
    }

    fn command(&mut self, index: usize, command: Option<Command>, now: Time) {
        let Some(command) = command else { return };
        if self.clients[index].pilot && self.engine.is_some() {
            self.clients[index].commanded = Some(now);
            self.executor.command(now, command);
            // Report whether the command was accepted, and when.
            self.answer(index, 0, None);
        } else {
            self.rejected.unauthorized += 1;
        }
    }

    /// Handles a request.
    fn act(&mut self, index: usize, request: Request, now: Time) -> Option<Refusal> {
        match request {
            Request::Hello {
                engine,
                fingerprint,
            } => return self.hello(index, engine, fingerprint, now),
            Request::Arm(named) => return self.arm(index, named, now),
            Request::Trim { point, value } => {
                // Only a client that declared itself for trimming may trim, not a pilot with an
                // engine.
                if !self.clients[index].pilot || self.engine.is_some() {
                    self.rejected.unauthorized += 1;
                    return Some(Refusal::NotThePilot);
                }
                return self.executor.trim(now, point, value);
            }
            Request::Disarm => self.executor.disarm(now),
            Request::Stop => self.executor.stop(now),
            Request::HoldStop(held) => {
                self.clients[index].holds_stop = held;
                self.update_held_stop(now);
            }
            Request::Lease(true) => self.clients[index].lease = Lease::Held(now),
            Request::Lease(false) => {
                // The operator has released the lease, even if it had ended already.
                self.clients[index].lease = Lease::None;
                self.executor.stop(now);
            }
            Request::Fault(fault) => self.executor.report(now, fault),
            Request::Ask => {}
            // Handled by the caller.
            Request::Command(_) | Request::Describe => {}
        }
        None
    }

    fn hello(
        &mut self,
        index: usize,
        engine: Option<Domain>,
        fingerprint: u64,
        now: Time,
    ) -> Option<Refusal> {
        let pilot = self.clients.iter().position(|client| client.pilot);
        let other = pilot.filter(|&pilot| pilot != index);
        if other.is_some_and(|other| !self.may_replace(other, index, now)) {
            self.rejected.unauthorized += 1;
            return Some(Refusal::NotThePilot);
        }
        if fingerprint != self.identification.fingerprint {
            self.rejected.unauthorized += 1;
            return Some(Refusal::OtherCar);
        }
        if let Some(other) = other {
            self.replace(other, now);
        }
        self.clients[index].pilot = true;
        self.engine = engine;
        None
    }

    /// Arms for the engine that the pilot declared. A request that names another engine is refused.
    fn arm(&mut self, index: usize, named: Option<ArmRequest>, now: Time) -> Option<Refusal> {
        let Some(engine) = self.engine else {
            return Some(Refusal::NoPilot);
        };
        if self.clients[index].lease == Lease::Ended {
            // The operator may have released it since: refuse, as while a stop is held.
            return Some(Refusal::StopHeld);
        }
        if named.is_some_and(|named| named.engine != engine) {
            return Some(Refusal::OtherEngine);
        }
        let physical = self.executor.limits().spec().actuator == Domain::Physical;
        if self.clients[index].pilot && physical && engine == Domain::Physical {
            return Some(Refusal::PilotArms);
        }
        self.executor.arm(now, ArmRequest { engine })
    }

    fn update_held_stop(&mut self, now: Time) {
        let held = self.clients.iter().any(|client| client.holds_stop);
        self.executor.hold_stop(now, held);
    }

    /// Removes a connection. When the pilot disconnects, the car is stopped at once.
    fn disconnect(&mut self, index: usize, now: Time) {
        let client = self.clients.swap_remove(index);
        self.orphaned |= client.starter;
        if client.pilot {
            self.engine = None;
            self.executor.report(now, Fault::Pilot);
        }
        if client.holds_stop {
            self.update_held_stop(now);
        }
        if client.lease != Lease::None {
            self.executor.stop(now);
        }
    }

    /// Sends the pilot each change of state, and otherwise a report every [`HEARTBEAT`].
    fn report(&mut self, now: Time) {
        let state = self.executor.status().state;
        let changed = std::mem::discriminant(&state) != std::mem::discriminant(&self.state);
        if !changed && now.since(self.reported) < HEARTBEAT {
            return;
        }
        self.reported = now;
        self.state = state;
        for index in 0..self.clients.len() {
            if self.clients[index].pilot {
                self.answer(index, 0, None);
            }
        }
    }

    fn answer(&self, index: usize, answers: u64, refused: Option<Refusal>) {
        let reply = Reply {
            answers,
            refused,
            status: self.executor.status(),
            rejected: self.rejected,
        };
        self.send(index, &reply.write());
    }

    fn describe(&mut self, index: usize, answers: u64) {
        let length = About::write(answers, &self.identification.about, &mut self.about);
        self.send(index, &self.about[..length]);
    }

    fn send(&self, index: usize, bytes: &[u8]) {
        // A client that does not read misses the message; the guard does not wait.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let _ = rustix::net::send(&self.clients[index].connection, bytes, flags);
    }
}

#[cfg(test)]
mod tests;
