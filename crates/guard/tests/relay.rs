//! The actuator of a simulated car: the guard's outputs on a socket to the pilot's simulator.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use pilotage_guard::wire::Applied;
use pilotage_guard::{Actuator, Mode, Output, Relay};
use pilotage_vehicle::Time;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};

fn pair() -> (Relay, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    let (own, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    (Relay::new(own), other)
}

fn applied(nanos: u64) -> Applied {
    Applied {
        at: Time::from_nanos(nanos),
        output: Output {
            mode: Mode::Drive,
            steering: 0.25,
            throttle: -0.5,
        },
    }
}

#[test]
fn outputs_arrive_in_order_with_their_times() {
    let (mut relay, other) = pair();
    assert_eq!(relay.name(), "simulated car");
    assert_eq!(Relay::read(&other).unwrap(), None);
    for nanos in [5, 7] {
        let Applied { at, output } = applied(nanos);
        relay.write(at, &output).unwrap();
    }
    assert_eq!(Relay::read(&other).unwrap(), Some(applied(5)));
    assert_eq!(Relay::read(&other).unwrap(), Some(applied(7)));
    assert_eq!(Relay::read(&other).unwrap(), None);
    drop(relay);
    let error = Relay::read(&other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn messages_of_another_length_are_skipped() {
    let flags = SocketFlags::CLOEXEC;
    let (own, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let whole = applied(5).write();
    let send = |bytes: &[u8]| rustix::net::send(&own, bytes, SendFlags::empty()).unwrap();
    send(&whole[1..]);
    send(&[&whole[..], &[0]].concat());
    assert_eq!(Relay::read(&other).unwrap(), None);
    send(&whole);
    assert_eq!(Relay::read(&other).unwrap(), Some(applied(5)));
}

/// A simulator that does not read is a failed write, and the guard does not wait for it.
#[test]
fn a_simulator_that_does_not_read_is_an_error() {
    let (mut relay, other) = pair();
    let Applied { at, output } = applied(5);
    let failed = (0..100_000).any(|_| relay.write(at, &output).is_err());
    assert!(failed);
    drop(other);
    relay.write(at, &output).unwrap_err();
}
