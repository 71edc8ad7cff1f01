//! A guard behind sockets: an [`Executor`] on the real clock, and who may speak to it.
//!
//! One connection is the pilot's. Commands of any other are counted and move nothing; what an
//! operator asks for may come over any. A new connection is never refused for lack of room:
//! the one that has been idle longest makes room for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use arrayvec::ArrayVec;
use pilotage_vehicle::{Command, Time};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use crate::wire::{About, LONGEST_ABOUT, Malformed, Numbered, REQUEST, Rejected, Reply, Request};
use crate::{Actuator, ArmRequest, Domain, Executor, Fault, Identity, Limits, Refusal, State, sys};

/// Connections at once: a pilot, its watcher, and operators' programs.
pub(crate) const MOST_CLIENTS: usize = 16;
/// Messages of a connection that are read in one poll. A flood then cannot keep the guard
/// from its ticks: what is left waits for the next poll.
const MOST_READ: usize = 32;
/// A client in more groups than this is authorized by its user only.
const MOST_GROUPS: usize = 64;
/// The pilot receives a report at least this often.
const HEARTBEAT: Duration = Duration::from_millis(20);
/// A connection without a request for this long, that neither drives nor holds a stop, is
/// closed.
const IDLE: Duration = Duration::from_secs(10);

/// Who may speak to a guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// These users, and root.
    pub users: Vec<u32>,
    /// And the members of these groups.
    pub groups: Vec<u32>,
}

impl Allowed {
    /// The guard's own user, and root.
    pub fn own() -> Self {
        Self {
            users: vec![rustix::process::geteuid().as_raw()],
            groups: Vec::new(),
        }
    }

    /// Whether the peer of `connection` may speak, by its credentials as the kernel has them.
    fn permits(&self, connection: &OwnedFd) -> bool {
        let Ok(peer) = rustix::net::sockopt::socket_peercred(connection) else {
            return false;
        };
        let (user, group) = (peer.uid.as_raw(), peer.gid.as_raw());
        if user == 0 || self.users.contains(&user) || self.groups.contains(&group) {
            return true;
        }
        let mut others = [0; MOST_GROUPS];
        !self.groups.is_empty()
            && sys::peer_groups(connection.as_fd(), &mut others)
                .is_ok_and(|others| others.iter().any(|group| self.groups.contains(group)))
    }
}

struct Client {
    connection: OwnedFd,
    /// The last request's number.
    number: u64,
    /// When its last request came.
    active: Time,
    /// It is the pilot's.
    pilot: bool,
    /// It is that of the program which started this guard.
    starter: bool,
    /// It holds a stop button down.
    holds_stop: bool,
}

impl Client {
    const fn new(connection: OwnedFd, now: Time, starter: bool) -> Self {
        Self {
            connection,
            number: 0,
            active: now,
            pilot: false,
            starter,
            holds_stop: false,
        }
    }

    /// Whether it may be closed for being idle.
    const fn expendable(&self) -> bool {
        !self.pilot && !self.starter && !self.holds_stop
    }
}

/// What a guard guards, for the clients that ask and for the pilots that come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// The fingerprint of the car that a pilot must have.
    pub fingerprint: u64,
    /// [`About::text`].
    pub about: String,
}

impl Identification {
    /// That of a simulated car, whose pilot starts its guard with these limits.
    pub fn of_limits(limits: &Limits) -> Self {
        let identity = Identity::of_limits(limits);
        Self {
            fingerprint: identity.fingerprint(),
            about: format!("simulated car\n{}", identity.to_text()),
        }
    }
}

/// A guard behind sockets. Nothing is allocated after the start.
pub struct Server<A> {
    executor: Executor<A>,
    identification: Identification,
    listener: Option<OwnedFd>,
    allowed: Allowed,
    clients: ArrayVec<Client, MOST_CLIENTS>,
    /// Where the pilot's engine was trained; none while there is no pilot, or one that trims.
    engine: Option<Domain>,
    rejected: Rejected,
    reported: Time,
    /// What the pilot was last sent.
    state: State,
    /// The program that started this guard is gone.
    orphaned: bool,
    /// Room for an [`About`].
    about: Box<[u8; LONGEST_ABOUT]>,
}

impl<A: Actuator> Server<A> {
    /// Puts `executor` behind `listener`, which is listening, does not block, and keeps the
    /// bounds of messages; and behind `connected`, the end of a pair whose other end is that
    /// of the pilot which started this guard.
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

    /// What was rejected so far.
    pub const fn rejected(&self) -> Rejected {
        self.rejected
    }

    /// Whether the program that started this guard is gone.
    pub const fn orphaned(&self) -> bool {
        self.orphaned
    }

    /// What to wait on: the listener and the connections.
    pub fn connections(&self) -> ArrayVec<BorrowedFd<'_>, { MOST_CLIENTS + 1 }> {
        let listener = self.listener.iter().map(AsFd::as_fd);
        let clients = self.clients.iter().map(|client| client.connection.as_fd());
        listener.chain(clients).collect()
    }

    /// When something next happens by itself.
    pub fn due(&self) -> Time {
        self.executor.next_due()
    }

    /// Leaves out the ticks that the clock has overtaken.
    pub fn skip_missed_ticks(&mut self, now: Time) {
        self.executor.skip_missed_ticks(now);
    }

    /// Advances to the present, then does what has been requested. `clock` is asked again
    /// after each message: one that was sent while others were read is not of the future.
    pub fn poll(&mut self, clock: impl Fn() -> Time) {
        let now = clock();
        self.executor.advance(now);
        self.close_idle(now);
        self.accept(&clock);
        let mut index = 0;
        while index < self.clients.len() {
            if self.receive(index, &clock) {
                index += 1;
            } else {
                self.disconnect(index, clock());
            }
        }
        self.report(clock());
    }

    /// The end: the car is stopped, and where an operator ended the guard, disarmed.
    pub fn end(&mut self, now: Time, disarm: bool) {
        self.executor.report(now, Fault::Pilot);
        if disarm {
            self.executor.disarm(now);
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
        // As many as there is room for in one poll: others wait for the next.
        for _ in 0..MOST_CLIENTS {
            let Some(listener) = &self.listener else {
                return;
            };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let Ok(connection) = rustix::net::accept_with(listener, flags) else {
                return;
            };
            if !self.allowed.permits(&connection) {
                // Dropped, and so closed.
                self.rejected.unauthorized += 1;
                continue;
            }
            let now = clock();
            self.make_room(now);
            // Room was made.
            let _ = self.clients.try_push(Client::new(connection, now, false));
            // What it has sent already takes effect, though the next one may take its place.
            let newest = self.clients.len() - 1;
            if !self.receive(newest, clock) {
                self.disconnect(newest, now);
            }
        }
    }

    /// Closes the connection that has been idle longest, where there is no room. Those that
    /// hold a stop are closed last: the others that hold one keep the car stopped.
    fn make_room(&mut self, now: Time) {
        if !self.clients.is_full() {
            return;
        }
        let clients = self.clients.iter().enumerate();
        let closable = clients.filter(|(_, client)| !client.pilot && !client.starter);
        let idlest = closable.min_by_key(|(_, client)| (client.holds_stop, client.active));
        if let Some((index, _)) = idlest {
            self.rejected.evicted += 1;
            self.disconnect(index, now);
        }
    }

    /// Reads what one connection has sent. False when it has ended.
    fn receive(&mut self, index: usize, clock: &impl Fn() -> Time) -> bool {
        let mut newest = None;
        let mut open = true;
        for _ in 0..MOST_READ {
            let mut bytes = [0; REQUEST + 1];
            let connection = &self.clients[index].connection;
            let read = rustix::net::recv(connection, &mut bytes[..], RecvFlags::DONTWAIT);
            let length = match read {
                // The other end is closed; no message of this protocol is empty.
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
                        // The reply's header shows the client which version this is.
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
                // Of many that wait only the newest is of use.
                Request::Command(command) => newest = Some(command),
                Request::Describe => self.describe(index, numbered.number),
                request => {
                    // What was sent before takes effect before.
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
            self.executor.command(now, command);
            // What became of it, and when.
            self.answer(index, 0, None);
        } else {
            self.rejected.unauthorized += 1;
        }
    }

    /// Does what is requested.
    fn act(&mut self, index: usize, request: Request, now: Time) -> Option<Refusal> {
        match request {
            Request::Hello {
                engine,
                fingerprint,
            } => return self.hello(index, engine, fingerprint),
            Request::Arm(named) => return self.arm(index, named, now),
            Request::Trim { point, value } => {
                // Only who came to trim may: a pilot, whose engine drives, never tries values.
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
            Request::Fault(fault) => self.executor.report(now, fault),
            Request::Ask => {}
            // Done by the caller.
            Request::Command(_) | Request::Describe => {}
        }
        None
    }

    fn hello(&mut self, index: usize, engine: Option<Domain>, fingerprint: u64) -> Option<Refusal> {
        let taken = self.clients.iter().any(|client| client.pilot);
        if taken && !self.clients[index].pilot {
            self.rejected.unauthorized += 1;
            return Some(Refusal::NotThePilot);
        }
        if fingerprint != self.identification.fingerprint {
            self.rejected.unauthorized += 1;
            return Some(Refusal::OtherCar);
        }
        self.clients[index].pilot = true;
        self.engine = engine;
        None
    }

    /// Arms for the engine that the pilot declared, whatever the request names.
    fn arm(&mut self, index: usize, named: Option<ArmRequest>, now: Time) -> Option<Refusal> {
        let Some(engine) = self.engine else {
            return Some(Refusal::NoPilot);
        };
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

    /// A connection has ended. The pilot's end is its death: the car stops at once.
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
    }

    /// The pilot is sent every change, and now and then that all is well.
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
        // A client that does not read misses it; the guard does not wait.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let _ = rustix::net::send(&self.clients[index].connection, bytes, flags);
    }
}

#[cfg(test)]
mod tests;
