//! A server's connections and ticks that no link can see.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

use std::os::fd::OwnedFd;
use std::time::Duration;

use pilotage_guard::conformance::RecordingActuator;
use pilotage_guard::{Allowed, Executor, Identification, InProcessLink, Limits, Server};
use pilotage_vehicle::Time;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_res_uid;

const START: Time = Time::from_nanos(1_000_000_000);

fn server(listener: Option<OwnedFd>, allowed: Allowed) -> Server<RecordingActuator> {
    let limits = Limits::simulated();
    let actuator = RecordingActuator::default();
    let tick = InProcessLink::<RecordingActuator>::TICK;
    let executor = Executor::start(limits, actuator, START, tick).unwrap();
    let car = Identification::of_limits(&limits);
    Server::new(executor, car, listener, None, allowed)
}

#[test]
fn a_server_that_was_held_up_writes_the_newest_tick_only() {
    let mut server = server(None, Allowed::own());
    let before = server.executor().actuator().writes.len();
    let late = START + InProcessLink::<RecordingActuator>::TICK * 6;
    server.skip_missed_ticks(late);
    server.poll(|| late);
    assert_eq!(server.executor().actuator().writes.len(), before + 1);
}

#[test]
fn each_connection_of_an_unauthorized_user_is_counted_and_closed() {
    let socket = |flags: SocketFlags| {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        rustix::net::socket_with(family, kind, flags, None).unwrap()
    };
    let name = format!("pilotage-admission-{}", std::process::id());
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
    let listener = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 8).unwrap();
    let another = Allowed {
        users: vec![4_000_000],
        groups: Vec::new(),
    };
    let mut server = server(Some(listener), another);
    let client = std::thread::spawn(move || {
        if geteuid().is_root() {
            // This call changes only this thread.
            let unprivileged = Uid::from_raw(65534);
            set_thread_res_uid(unprivileged, unprivileged, unprivileged).unwrap();
        }
        [0, 1].map(|_| {
            let connection = socket(SocketFlags::CLOEXEC);
            rustix::net::connect(&connection, &address).unwrap();
            connection
        })
    });
    let connections = client.join().unwrap();
    server.poll(|| START + Duration::from_millis(1));
    assert_eq!(server.rejected().unauthorized, 2);
    for connection in connections {
        let mut bytes = [0; 1];
        let received = rustix::net::recv(&connection, &mut bytes[..], RecvFlags::DONTWAIT);
        let (received, _) = received.unwrap();
        assert_eq!(received, 0, "closed");
    }
}
