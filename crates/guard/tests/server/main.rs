//! A guard behind its socket: the conformance suite for links, and tests of the server. The test
//! controls the guard's clock, so that the load of the machine does not matter.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue fails"
)]

mod authority;
mod connections;
mod crowd;
mod leases;
mod link;
mod rig;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use pilotage_guard::wire::Request;
use pilotage_guard::{
    Actuator, ActuatorError, Allowed, Executor, Identification, InProcessLink, Limits, LimitsSpec,
    Output, Server,
};
use pilotage_vehicle::{Domain, Time};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Shares the last write with the test.
#[derive(Clone, Default)]
pub(crate) struct Shared(pub(crate) Arc<Mutex<Option<Output>>>);

impl Actuator for Shared {
    fn name(&self) -> &str {
        "shared stand-in"
    }

    fn write(&mut self, _: Time, output: &Output) -> Result<(), ActuatorError> {
        *self.0.lock().unwrap() = Some(*output);
        Ok(())
    }
}

pub(crate) fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// A server that has one end, `pilot`, of the connection to its pilot.
pub(crate) fn server<A: Actuator>(
    limits: Limits,
    actuator: A,
    now: Time,
    listener: Option<OwnedFd>,
    pilot: OwnedFd,
) -> Server<A> {
    let tick = InProcessLink::<A>::TICK;
    let executor = Executor::start(limits, actuator, now, tick).unwrap();
    let car = Identification::of_limits(&limits);
    // Another user connects in one test.
    let mut allowed = Allowed::own();
    allowed.users.push(65534);
    Server::new(executor, car, listener, Some(pilot), allowed)
}

pub(crate) fn simulated() -> Limits {
    Limits::new(LimitsSpec::simulated()).unwrap()
}

pub(crate) fn hello() -> Request {
    Request::Hello {
        engine: Some(Domain::Simulated),
        fingerprint: Identification::of_limits(&simulated()).fingerprint,
    }
}
