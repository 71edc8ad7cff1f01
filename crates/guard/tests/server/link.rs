//! The link of a pilot to its guard.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pilotage_guard::conformance::{self, LinkRig};
use pilotage_guard::wire::{Numbered, REQUEST_LEN, Request, VERSION};
use pilotage_guard::{
    CommandLink, HelloError, Identification, InProcessLink, Limits, LimitsSpec, LinkError, Mode,
    Refusal, SocketLink, State, StopReason,
};
use pilotage_vehicle::{Command, Domain, Time};
use rustix::net::{RecvFlags, SendFlags};

use crate::crowd::Crowd;
use crate::rig::Rig;
use crate::{Shared, hello, pair, server, simulated};

#[test]
fn a_socket_is_a_link() {
    conformance::link(|limits| Rig::start(limits, Some(Domain::Simulated)));
}

#[test]
fn a_pilot_that_disconnects_stops_the_car_at_once() {
    let mut rig = Rig::start(simulated(), Some(Domain::Simulated));
    rig.drive();
    let (pilot_end, _) = pair();
    // Like the system, which closes the connections of a killed process.
    drop(std::mem::replace(
        &mut rig.link,
        SocketLink::over(pilot_end),
    ));
    while rig.polls.load(Ordering::SeqCst) < u64::MAX / 2 {
        std::thread::sleep(Duration::from_micros(50));
    }
    assert_eq!(rig.held().mode, Mode::Failsafe);
}

#[test]
fn a_pilot_that_sends_nothing_is_stopped_at_the_deadline() {
    let mut rig = Rig::start(simulated(), Some(Domain::Simulated));
    rig.drive();
    rig.wait(Duration::from_millis(129));
    assert_eq!(rig.held().mode, Mode::Drive);
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.held().mode, Mode::Failsafe);
    let reason = StopReason::Deadline;
    assert_eq!(rig.link.status().state, State::Stopped { reason });
}

#[test]
fn without_a_pilot_the_car_is_not_armed() {
    let mut rig = Rig::start(simulated(), None);
    let refused = Err(LinkError::Refused(Refusal::NoPilot));
    assert_eq!(rig.link.arm_pilot(), refused);
    let car = Identification::of_limits(&simulated());
    rig.link.hello(Domain::Simulated, &car).unwrap();
    assert_eq!(rig.link.arm_pilot(), Ok(()));
    // The pilot may declare itself again.
    rig.link.hello(Domain::Simulated, &car).unwrap();
}

#[test]
fn a_pilot_of_another_car_is_refused_and_shown_what_differs() {
    let mut rig = Rig::start(simulated(), None);
    let mut spec = LimitsSpec::simulated();
    spec.throttle.max = 0.5;
    let other = Identification::of_limits(&Limits::new(spec).unwrap());
    let error = rig.link.hello(Domain::Simulated, &other).unwrap_err();
    assert!(matches!(error, HelloError::OtherCar { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("max: 0.5") && text.contains("max: 1.0"),
        "{text}"
    );
    let refused = Err(LinkError::Refused(Refusal::NoPilot));
    assert_eq!(rig.link.arm_pilot(), refused, "it is not the pilot");
}

#[test]
fn garbage_replays_and_floods_are_counted_and_have_no_effect() {
    let (raw, guard_end) = pair();
    let held = Shared::default();
    let mut now = Time::from_nanos(1_000_000_000);
    let mut server = server(simulated(), held.clone(), now, None, guard_end);
    let send = |bytes: &[u8]| rustix::net::send(&raw, bytes, SendFlags::DONTWAIT).is_ok();
    let numbered = |number, request| Numbered { number, request }.write();
    for (number, request) in [(1, hello()), (2, Request::Arm(None))] {
        assert!(send(&numbered(number, request)));
    }
    server.poll(|| now);
    assert!(matches!(server.executor().status().state, State::Armed(_)));

    // Malformed messages, and a replayed one.
    let command = |captured: Time, sequence| {
        Request::Command(Command {
            steering: 1.0,
            throttle: 1.0,
            captured,
            sequence,
        })
    };
    let good = numbered(3, command(now, 1));
    let mut damaged = good;
    damaged[30] ^= 1;
    for bytes in [
        &damaged[..],
        &good[..REQUEST_LEN - 1],
        &[0; REQUEST_LEN + 1],
        &[7; 200],
    ] {
        assert!(send(bytes));
    }
    assert!(send(&numbered(2, command(now, 1))));
    server.poll(|| now);
    assert!(matches!(server.executor().status().state, State::Armed(_)));

    // A flood: more messages than the socket holds, repeatedly. The deadline is kept.
    assert!(send(&good));
    server.poll(|| now);
    assert!(matches!(
        server.executor().status().state,
        State::Driving(_)
    ));
    let began = now;
    let mut number = 4;
    while now.since(began) < Duration::from_millis(150) {
        // Old commands: the sequence number does not increase.
        while send(&numbered(number, command(began, 1))) {
            number += 1;
        }
        now = now + Duration::from_millis(5);
        server.poll(|| now);
    }
    let status = server.executor().status();
    let reason = StopReason::Deadline;
    assert_eq!(status.state, State::Stopped { reason });
    assert_eq!(held.0.lock().unwrap().unwrap().mode, Mode::Failsafe);
    assert!(status.counters.refused(Refusal::Replayed) > 0);

    // The counters that the guard reports.
    let link = SocketLink::over(raw);
    let rejected = link.rejected();
    let counted = (rejected.malformed, rejected.replayed);
    assert_eq!(counted, (4, 1), "{rejected:?}");
}

#[test]
fn a_poll_allocates_nothing() {
    let (raw, guard_end) = pair();
    let now = Time::from_nanos(1_000_000_000);
    let mut server = server(simulated(), Shared::default(), now, None, guard_end);
    let mut link = SocketLink::over(raw);
    let mut moment = now;
    let allocated = allocation_counter::measure(|| {
        for sequence in 1..200 {
            moment = moment + Duration::from_millis(5);
            let command = Command {
                steering: 0.1,
                throttle: 0.1,
                captured: moment,
                sequence,
            };
            link.send_at(moment, command).unwrap();
            assert_eq!(server.connections().len(), 1);
            server.poll(|| moment);
            let _ = link.status();
        }
    });
    assert_eq!(allocated.count_total, 0);
}

/// A longer message is not read as the message that it begins with.
#[test]
fn a_request_with_a_byte_too_many_is_malformed() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let client = crowd.client();
    let request = Request::Stop;
    let mut bytes = Numbered { number: 1, request }.write().to_vec();
    assert_eq!(bytes.len(), REQUEST_LEN);
    bytes.push(0);
    rustix::net::send(&client, &bytes, SendFlags::empty()).unwrap();
    crowd.poll();
    assert_eq!(crowd.server.rejected().malformed, 1);
    assert!(matches!(crowd.state(), State::Driving(_)));
}

#[test]
fn a_client_of_another_version_is_answered_with_this_one() {
    let mut crowd = Crowd::with_pilot();
    let client = crowd.client();
    let mut bytes = Numbered {
        number: 1,
        request: Request::Ask,
    }
    .write();
    bytes[4..6].copy_from_slice(&(VERSION + 1).to_le_bytes());
    rustix::net::send(&client, &bytes, SendFlags::empty()).unwrap();
    crowd.poll();
    let mut reply = [0; 1024];
    let (_, length) = rustix::net::recv(&client, &mut reply[..], RecvFlags::DONTWAIT).unwrap();
    assert!(length > 8);
    assert_eq!(reply[4..6], VERSION.to_le_bytes());
}

#[test]
fn a_tick_is_due_within_a_tick_from_now() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    for _ in 0..10 {
        let due = crowd.server.due();
        let tick = InProcessLink::<Shared>::TICK;
        assert!(due > crowd.now && due <= crowd.now + tick, "{due:?}");
        crowd.now = due;
        crowd.poll();
    }
}
