//! A guard behind sockets: [`InProcessLink`] on the real clock, and who may speak to it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use arrayvec::ArrayVec;
use pilotage_vehicle::{Command, Time};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use crate::wire::{Malformed, Noise, Numbered, REQUEST, Reply, Request};
use crate::{
    Actuator, ArmRequest, Domain, Fault, InProcessLink, Link, LinkError, Refusal, State, sys,
};

/// Connections at once: a pilot, and people's commands.
const MOST_CLIENTS: usize = 8;
/// Messages of a connection that are read in one turn. A flood then cannot keep the guard
/// from its ticks: what is left waits for the next turn.
const MOST_READ: usize = 32;
/// Whoever is in more groups than this is asked for by user only.
const MOST_GROUPS: usize = 64;
/// The pilot hears from a guard at least this often.
const HEARTBEAT: Duration = Duration::from_millis(20);

/// Who may speak to a guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// These users, and root.
    pub users: Vec<u32>,
    /// And whoever is in one of these groups.
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

    /// Whether who is at the other end of `line` may speak, by what the kernel says of them.
    fn one(&self, line: &OwnedFd) -> bool {
        let Ok(who) = rustix::net::sockopt::socket_peercred(line) else {
            return false;
        };
        let (user, group) = (who.uid.as_raw(), who.gid.as_raw());
        if user == 0 || self.users.contains(&user) || self.groups.contains(&group) {
            return true;
        }
        let mut others = [0; MOST_GROUPS];
        !self.groups.is_empty()
            && sys::peer_groups(line.as_fd(), &mut others)
                .is_ok_and(|others| others.iter().any(|group| self.groups.contains(group)))
    }
}

struct Client {
    line: OwnedFd,
    /// The last request's number.
    number: u64,
    /// It said that it is the pilot, and no other was.
    pilot: bool,
    /// It started this guard.
    starter: bool,
}

/// A guard behind sockets. Nothing is allocated after the start.
pub struct Server<A> {
    guard: InProcessLink<A>,
    listener: Option<OwnedFd>,
    allowed: Allowed,
    clients: ArrayVec<Client, MOST_CLIENTS>,
    /// Where the pilot's engine was trained; `None` while there is no pilot.
    engine: Option<Domain>,
    noise: Noise,
    told: Time,
    /// What the pilot was last told of.
    state: State,
    /// Who started this guard is gone.
    orphaned: bool,
}

impl<A: Actuator> Server<A> {
    /// Puts `guard` behind `listener`, which is listening, does not block, and keeps the
    /// bounds of messages; and behind `connected`, the end of a pair whose other end is
    /// the pilot's that started this guard.
    pub fn new(
        guard: InProcessLink<A>,
        listener: Option<OwnedFd>,
        connected: Option<OwnedFd>,
        allowed: Allowed,
    ) -> Self {
        let told = guard.now();
        let mut clients = ArrayVec::new();
        if let Some(line) = connected {
            clients.push(Client {
                line,
                number: 0,
                pilot: false,
                starter: true,
            });
        }
        Self {
            guard,
            listener,
            allowed,
            clients,
            engine: None,
            noise: Noise::default(),
            told,
            state: State::Disarmed,
            orphaned: false,
        }
    }

    /// The guard.
    pub const fn guard(&self) -> &InProcessLink<A> {
        &self.guard
    }

    /// When [`turn`](Self::turn) is next due, though nobody says anything.
    pub fn due(&self) -> Time {
        self.guard.next_due().min(self.told + HEARTBEAT)
    }

    /// What to wait on until then.
    pub fn lines(&self) -> ArrayVec<BorrowedFd<'_>, { MOST_CLIENTS + 1 }> {
        let clients = self.clients.iter().map(|client| client.line.as_fd());
        self.listener
            .iter()
            .map(AsFd::as_fd)
            .chain(clients)
            .collect()
    }

    /// Whether the pilot that started this guard is gone.
    pub const fn orphaned(&self) -> bool {
        self.orphaned
    }

    /// For a clock that does not wait: see [`InProcessLink::overtake`].
    pub fn overtake(&mut self, now: Time) {
        self.guard.overtake(now);
    }

    /// Lets the guard live up to `now`, then hears what has been said.
    pub fn turn(&mut self, now: Time) {
        // It never fails: this guard is in the process.
        let _ = self.guard.advance_to(now);
        self.accept();
        let mut index = 0;
        while index < self.clients.len() {
            if self.hear(index, now) {
                index += 1;
            } else {
                self.part(index, now);
            }
        }
        self.tell(now);
    }

    /// The end: the car stands, and where a person wanted the end, it is disarmed.
    pub fn end(&mut self, now: Time, disarm: bool) {
        let _ = self.guard.report(now, Fault::Pilot);
        if disarm {
            let _ = self.guard.disarm(now);
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        // As many as there is room for, and one to refuse: others wait.
        for _ in 0..=MOST_CLIENTS {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let Ok(line) = rustix::net::accept_with(listener, flags) else {
                return;
            };
            if !self.allowed.one(&line) || self.clients.is_full() {
                // Dropped, and so closed.
                self.noise.strangers += 1;
                continue;
            }
            self.clients.push(Client {
                line,
                number: 0,
                pilot: false,
                starter: false,
            });
        }
    }

    /// Hears one connection out. False when it has ended.
    fn hear(&mut self, index: usize, now: Time) -> bool {
        let mut newest = None;
        let mut open = true;
        for _ in 0..MOST_READ {
            let mut bytes = [0; REQUEST + 1];
            let line = &self.clients[index].line;
            let read = rustix::net::recv(line, &mut bytes[..], RecvFlags::DONTWAIT);
            let length = match read {
                // The other end is closed; no message of ours is empty.
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
                Err(
                    Malformed::Length(_)
                    | Malformed::Magic
                    | Malformed::Checksum
                    | Malformed::Content,
                ) => {
                    self.noise.malformed += 1;
                    continue;
                }
            };
            if numbered.number <= self.clients[index].number {
                self.noise.replayed += 1;
                continue;
            }
            self.clients[index].number = numbered.number;
            match numbered.request {
                // Of many that wait only the newest is of use.
                Request::Command { at, command } => newest = Some((at, command)),
                request => {
                    // What was said before comes before.
                    self.command(index, newest.take(), now);
                    let refused = self.act(index, request, now);
                    self.answer(index, numbered.number, refused);
                }
            }
        }
        self.command(index, newest, now);
        open
    }

    fn command(&mut self, index: usize, said: Option<(Time, Command)>, now: Time) {
        let Some((at, command)) = said else { return };
        if self.clients[index].pilot {
            // A full queue is counted by the guard.
            let _ = self.guard.send_at(at, command);
            let _ = self.guard.advance_to(now);
            // What became of it, and when.
            self.answer(index, 0, None);
        } else {
            self.noise.strangers += 1;
        }
    }

    /// Does what is asked.
    fn act(&mut self, index: usize, request: Request, now: Time) -> Option<Refusal> {
        let done = match request {
            Request::Hello(engine) => {
                let taken = self.clients.iter().any(|client| client.pilot);
                if taken && !self.clients[index].pilot {
                    self.noise.strangers += 1;
                    return Some(Refusal::NotThePilot);
                }
                self.clients[index].pilot = true;
                self.engine = Some(engine);
                Ok(())
            }
            Request::Arm(named) => {
                // A person names no engine: the pilot's is the one that would drive.
                let engine = named.map(|request| request.engine).or(self.engine);
                match (engine, self.engine) {
                    (Some(engine), Some(_)) => self.guard.arm(now, ArmRequest { engine }),
                    _ => return Some(Refusal::NoPilot),
                }
            }
            Request::Disarm => self.guard.disarm(now),
            Request::Stop => self.guard.stop(now),
            Request::Fault(fault) => self.guard.report(now, fault),
            Request::Ask => Ok(()),
            // Heard above.
            Request::Command { .. } => Ok(()),
        };
        match done {
            Err(LinkError::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }

    /// A connection has ended. The pilot's end is its death: the car stops at once.
    fn part(&mut self, index: usize, now: Time) {
        let client = self.clients.swap_remove(index);
        self.orphaned |= client.starter;
        if client.pilot {
            self.engine = None;
            let _ = self.guard.report(now, Fault::Pilot);
        }
    }

    /// The pilot hears of every change, and now and then that all is well.
    fn tell(&mut self, now: Time) {
        let state = self.guard.status().state;
        let changed = std::mem::discriminant(&state) != std::mem::discriminant(&self.state);
        if !changed && now.since(self.told) < HEARTBEAT {
            return;
        }
        self.told = now;
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
            status: self.guard.status(),
            noise: self.noise,
        };
        // Who does not listen misses it; the guard does not wait.
        let _ = rustix::net::send(
            &self.clients[index].line,
            &reply.write(),
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        );
    }
}

#[cfg(test)]
mod tests;
