//! Many connections at once: who is served, evicted and sent reports.

use std::os::fd::OwnedFd;
use std::time::Duration;

use pilotage_guard::wire::{Numbered, Request};
use pilotage_guard::{Mode, State, StopReason};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::crowd::Crowd;
use crate::simulated;

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
fn a_full_server_waits_on_its_listener_and_on_each_connection() {
    let mut crowd = Crowd::with_pilot();
    let all: Vec<OwnedFd> = (0..40).map(|_| crowd.client()).collect();
    assert_eq!(crowd.server.connections().len(), 17);
    drop(all);
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
