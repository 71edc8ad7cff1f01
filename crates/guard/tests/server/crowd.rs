//! A guard that the test polls, with its pilot and further clients.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use pilotage_guard::wire::{Numbered, Request};
use pilotage_guard::{Identification, Limits, Mode, Server, State};
use pilotage_vehicle::{Command, Domain, Time};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;

use crate::{Shared, pair, server, simulated};

/// A server with a listener, a pilot and further clients. The test controls the clock.
pub(crate) struct Crowd {
    pub(crate) server: Server<Shared>,
    pub(crate) held: Shared,
    pub(crate) now: Time,
    pub(crate) pilot: OwnedFd,
    pub(crate) number: u64,
    pub(crate) path: tempfile::TempDir,
}

impl Crowd {
    pub(crate) fn with_pilot() -> Self {
        Self::with_pilot_for(simulated(), Domain::Simulated)
    }

    pub(crate) fn with_pilot_for(limits: Limits, engine: Domain) -> Self {
        let mut crowd = Self::with_starter(limits);
        let fingerprint = Identification::of_limits(&limits).fingerprint;
        crowd.send_as_pilot(Request::Hello {
            engine: Some(engine),
            fingerprint,
        });
        crowd
    }

    /// The program that started the guard has sent nothing yet.
    pub(crate) fn with_starter(limits: Limits) -> Self {
        let path = tempfile::tempdir().unwrap();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let listener = listener.unwrap();
        let address = SocketAddrUnix::new(path.path().join("sock")).unwrap();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 64).unwrap();
        let (pilot, guard_end) = pair();
        let held = Shared::default();
        let now = Time::from_nanos(1_000_000_000);
        let server = server(limits, held.clone(), now, Some(listener), guard_end);
        Self {
            server,
            held,
            now,
            pilot,
            number: 0,
            path,
        }
    }

    pub(crate) fn client(&mut self) -> OwnedFd {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let connection =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let connection = connection.unwrap();
        let address = SocketAddrUnix::new(self.path.path().join("sock")).unwrap();
        rustix::net::connect(&connection, &address).unwrap();
        self.poll();
        connection
    }

    /// A client of another user. Root only.
    pub(crate) fn client_of(&mut self, user: u32) -> OwnedFd {
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(self.path.path(), open.clone()).unwrap();
        std::fs::set_permissions(self.path.path().join("sock"), open).unwrap();
        let address = SocketAddrUnix::new(self.path.path().join("sock")).unwrap();
        let connect = move || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
            let connection = rustix::net::socket_with(family, kind, flags, None).unwrap();
            // This call changes only this thread.
            let user = Uid::from_raw(user);
            set_thread_res_uid(user, user, user).unwrap();
            rustix::net::connect(&connection, &address).unwrap();
            connection
        };
        let connection = std::thread::spawn(connect).join().unwrap();
        self.poll();
        connection
    }

    pub(crate) fn poll(&mut self) {
        let now = self.now;
        self.server.poll(|| now);
    }

    pub(crate) fn send_as_pilot(&mut self, request: Request) {
        self.number += 1;
        let bytes = Numbered {
            number: self.number,
            request,
        };
        rustix::net::send(&self.pilot, &bytes.write(), SendFlags::empty()).unwrap();
        self.poll();
    }

    pub(crate) fn send(&mut self, client: &OwnedFd, number: u64, request: Request) {
        let bytes = Numbered { number, request }.write();
        let _ = rustix::net::send(client, &bytes, SendFlags::NOSIGNAL);
        self.poll();
    }

    pub(crate) fn command(&self, steering: f32) -> Request {
        Request::Command(Command {
            steering,
            throttle: 1.0,
            captured: self.now,
            sequence: self.number + 1,
        })
    }

    pub(crate) fn drive(&mut self) {
        let operator = self.client();
        self.send(&operator, 1, Request::Arm(None));
        assert!(
            matches!(self.state(), State::Armed(_)),
            "{:?}",
            self.state()
        );
        let command = self.command(0.5);
        self.send_as_pilot(command);
        assert!(matches!(self.state(), State::Driving(_)));
    }

    pub(crate) fn state(&self) -> State {
        self.server.executor().status().state
    }

    pub(crate) fn mode(&self) -> Mode {
        self.held.0.lock().unwrap().unwrap().mode
    }
}
