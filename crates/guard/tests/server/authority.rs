//! Who may arm, drive, trim and stop.

use std::time::Duration;

use pilotage_guard::wire::{Numbered, Request};
use pilotage_guard::{
    ArmRequest, CommandLink, Identification, Limits, LimitsSpec, LinkError, Mode, OperatorLink,
    Refusal, SocketLink, State, StopReason,
};
use pilotage_vehicle::{Command, Domain, Fault};
use rustix::net::SendFlags;

use crate::crowd::Crowd;
use crate::{hello, simulated};

#[test]
fn commands_of_another_connection_are_dropped_and_counted() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let second = crowd.client();
    let before = crowd.server.executor().status();
    crowd.now = crowd.now + Duration::from_millis(1);
    let full_right = crowd.command(-1.0);
    for number in 1..=3 {
        crowd.send(&second, number, full_right);
    }
    let after = crowd.server.executor().status();
    assert_eq!(after.counters.accepted, before.counters.accepted);
    let State::Driving(driving) = after.state else {
        panic!("the car keeps driving");
    };
    assert_eq!(driving.steering.target, 0.5, "the pilot's command");
    assert_eq!(crowd.server.rejected().unauthorized, 3);
    // A second pilot cannot take over.
    crowd.send(&second, 4, hello());
    crowd.send(&second, 5, full_right);
    assert_eq!(crowd.server.rejected().unauthorized, 5);
}

/// A pilot of a service's guard hangs, and another one connects. The first has not started the guard.
#[test]
fn a_new_pilot_of_the_same_user_replaces_one_that_is_silent_for_a_deadline() {
    let deadline = simulated().spec().deadline;
    let mut crowd = Crowd::with_starter(simulated());
    let old = crowd.client();
    let mut old_link = SocketLink::over(old.try_clone().unwrap());
    let new = crowd.client();
    crowd.send(&old, 1, hello());
    // It prepares its engine, and has not driven yet.
    crowd.now = crowd.now + deadline * 3;
    crowd.send(&new, 1, hello());
    assert_eq!(crowd.server.rejected().unauthorized, 1);
    let operator = crowd.client();
    crowd.send(&operator, 1, Request::Arm(None));
    crowd.now = crowd.now + Duration::from_millis(1);
    let command = |crowd: &Crowd, steering, sequence| {
        Request::Command(Command {
            steering,
            throttle: 0.5,
            captured: crowd.now,
            sequence,
        })
    };
    crowd.send(&old, 2, command(&crowd, 0.5, 1));
    assert_eq!(crowd.mode(), Mode::Drive);
    crowd.now = crowd.now + deadline - Duration::from_millis(1);
    crowd.send(&new, 2, hello());
    assert_eq!(crowd.server.rejected().unauthorized, 2);
    crowd.now = crowd.now + Duration::from_millis(1);
    crowd.poll();
    assert_eq!(crowd.mode(), Mode::Failsafe, "at the deadline");

    crowd.send(&new, 3, hello());
    assert_eq!(crowd.server.rejected().unauthorized, 2);
    // The old pilot receives the reason, and its connection is closed, whatever it sends.
    crowd.send(&old, 3, command(&crowd, 0.5, 2));
    assert_eq!(old_link.advance_to(crowd.now), Err(LinkError::Replaced));
    let arm = ArmRequest {
        engine: Domain::Simulated,
    };
    assert_eq!(old_link.arm(crowd.now, arm), Err(LinkError::Replaced));
    // The new pilot moves nothing until an operator arms.
    crowd.send(&new, 4, command(&crowd, -0.5, 1));
    assert_eq!(crowd.mode(), Mode::Failsafe);
    crowd.send(&operator, 2, Request::Arm(None));
    crowd.now = crowd.now + Duration::from_millis(1);
    crowd.send(&new, 5, command(&crowd, -0.5, 2));
    assert_eq!(crowd.mode(), Mode::Drive);
    // The end of the old pilot's process changes nothing.
    drop((old, old_link));
    crowd.poll();
    assert_eq!(crowd.mode(), Mode::Drive);
}

#[test]
fn a_silent_pilot_is_not_replaced_by_another_user_nor_where_it_started_the_guard() {
    let deadline = simulated().spec().deadline;
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    crowd.now = crowd.now + deadline * 2;
    let new = crowd.client();
    crowd.send(&new, 1, hello());
    assert_eq!(crowd.server.rejected().unauthorized, 1, "its guard");

    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can connect as another user");
        return;
    }
    let mut crowd = Crowd::with_starter(simulated());
    let (old, new) = (crowd.client_of(65534), crowd.client());
    crowd.send(&old, 1, hello());
    let operator = crowd.client();
    crowd.send(&operator, 1, Request::Arm(None));
    let command = crowd.command(0.5);
    crowd.send(&old, 2, command);
    assert_eq!(crowd.mode(), Mode::Drive);
    crowd.now = crowd.now + deadline * 2;
    crowd.send(&new, 1, hello());
    assert_eq!(crowd.server.rejected().unauthorized, 1, "another user's");
    // A pilot of the same user is accepted.
    let same = crowd.client_of(65534);
    crowd.send(&same, 1, hello());
    assert_eq!(crowd.server.rejected().unauthorized, 1);
}

#[test]
fn a_stop_held_by_one_operator_overrides_the_other() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let (first, second) = (crowd.client(), crowd.client());
    crowd.send(&first, 1, Request::HoldStop(true));
    assert_eq!(crowd.mode(), Mode::Failsafe);
    for number in 1..=5 {
        crowd.send(&second, number, Request::Arm(None));
        crowd.now = crowd.now + Duration::from_millis(1);
        let command = crowd.command(0.1);
        crowd.send_as_pilot(command);
        assert_eq!(crowd.mode(), Mode::Failsafe);
    }
    // After the release the car is stopped until an operator arms it.
    crowd.send(&first, 2, Request::HoldStop(false));
    assert_eq!(crowd.mode(), Mode::Failsafe);
    crowd.drive();
    // A disconnect also releases the stop, and the car does not move.
    crowd.send(&first, 3, Request::HoldStop(true));
    drop(first);
    crowd.poll();
    assert!(!crowd.server.executor().status().stop_held);
    assert_eq!(crowd.mode(), Mode::Failsafe);
}

#[test]
fn arming_is_for_the_engine_that_the_pilot_declared() {
    let mut spec = LimitsSpec::simulated();
    spec.actuator = Domain::Physical;
    let limits = Limits::new(spec).unwrap();
    let mut crowd = Crowd::with_pilot_for(limits, Domain::Simulated);
    let operator = crowd.client();
    let engine = Domain::Physical;
    crowd.send(&operator, 1, Request::Arm(Some(ArmRequest { engine })));
    crowd.send(&operator, 2, Request::Arm(None));
    assert_eq!(crowd.state(), State::Disarmed);
    assert_eq!(
        crowd
            .server
            .executor()
            .status()
            .counters
            .refused(Refusal::SimulatedEngine),
        1
    );
}

#[test]
fn a_pilot_does_not_arm_a_physical_car_itself() {
    let mut spec = LimitsSpec::simulated();
    spec.actuator = Domain::Physical;
    let limits = Limits::new(spec).unwrap();
    let mut crowd = Crowd::with_pilot_for(limits, Domain::Physical);
    crowd.send_as_pilot(Request::Arm(None));
    let engine = Domain::Physical;
    crowd.send_as_pilot(Request::Arm(Some(ArmRequest { engine })));
    assert_eq!(crowd.state(), State::Disarmed);
    crowd.drive();
}

#[test]
fn a_dead_pilots_commands_and_those_of_the_future_never_act() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let accepted = crowd.server.executor().status().counters.accepted;
    for ahead in [1, 100, 10_000, u64::MAX / 4_000_000] {
        let captured = crowd.now + Duration::from_millis(ahead);
        crowd.send_as_pilot(Request::Command(Command {
            steering: -1.0,
            throttle: 1.0,
            captured,
            sequence: u64::MAX,
        }));
    }
    let status = crowd.server.executor().status();
    assert_eq!(status.counters.accepted, accepted);
    assert_eq!(status.counters.refused(Refusal::FromFuture), 4);
    // No more commands: the deadline is kept, and no command takes effect later.
    for _ in 0..400 {
        crowd.now = crowd.now + Duration::from_millis(5);
        crowd.poll();
        if crowd.state().stopped().is_some() {
            assert_eq!(crowd.mode(), Mode::Failsafe);
        }
    }
    let reason = StopReason::Deadline;
    assert_eq!(crowd.state(), State::Stopped { reason });
    let operator = crowd.client();
    crowd.send(&operator, 1, Request::Arm(None));
    for _ in 0..100 {
        crowd.now = crowd.now + Duration::from_millis(5);
        crowd.poll();
        assert_eq!(crowd.mode(), Mode::Failsafe, "armed, without a new command");
    }
}

/// A pilot with an engine must not trim.
#[test]
fn only_a_trimming_client_trims_and_it_never_drives() {
    let point = pilotage_guard::Point::Neutral;
    let trim = Request::Trim { point, value: 1800 };
    let mut crowd = Crowd::with_pilot();
    crowd.send_as_pilot(trim);
    assert_eq!(crowd.state(), State::Disarmed);
    assert_eq!(crowd.server.rejected().unauthorized, 1);
    let fingerprint = Identification::of_limits(&simulated()).fingerprint;
    let engine = None;
    crowd.send_as_pilot(Request::Hello {
        engine,
        fingerprint,
    });
    let operator = crowd.client();
    crowd.send(&operator, 1, Request::Arm(None));
    let command = crowd.command(0.5);
    crowd.send_as_pilot(command);
    assert_eq!(crowd.state(), State::Disarmed, "it has no engine to arm");
}

#[test]
fn faults_and_trims_of_another_connection() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    let second = crowd.client();
    let value = 1500;
    let point = pilotage_guard::Point::Centre;
    crowd.send(&second, 1, Request::Trim { point, value });
    assert_eq!(crowd.mode(), Mode::Drive);
    assert_eq!(crowd.server.rejected().unauthorized, 1);
    // A fault stops the car, and every client may stop it.
    crowd.send(&second, 2, Request::Fault(Fault::Gamepad));
    assert_eq!(crowd.mode(), Mode::Failsafe);
}

/// Before any pilot has declared itself.
#[test]
fn a_client_that_did_not_declare_itself_does_not_trim() {
    let mut crowd = Crowd::with_starter(simulated());
    let client = crowd.client();
    let point = pilotage_guard::Point::Centre;
    let trim = Request::Trim { point, value: 1500 };
    crowd.send(&client, 1, trim);
    assert_eq!(crowd.server.rejected().unauthorized, 1);
    // This actuator has no points, which is not the client's fault.
    let hello = Request::Hello {
        engine: None,
        fingerprint: Identification::of_limits(&simulated()).fingerprint,
    };
    crowd.send(&client, 2, hello);
    crowd.send(&client, 3, trim);
    assert_eq!(crowd.server.rejected().unauthorized, 1);
}

#[test]
fn a_pilot_of_another_car_is_counted() {
    let mut crowd = Crowd::with_starter(simulated());
    for count in [1, 2] {
        crowd.send_as_pilot(Request::Hello {
            engine: Some(Domain::Simulated),
            fingerprint: 42,
        });
        assert_eq!(crowd.server.rejected().unauthorized, count);
    }
}

/// The pilot may capture a frame after a poll begins and before that poll reads the command.
#[test]
fn a_command_that_is_sent_during_a_poll_is_not_from_the_future() {
    let mut crowd = Crowd::with_pilot();
    crowd.drive();
    crowd.number += 1;
    let captured = crowd.now + Duration::from_micros(50);
    let request = Request::Command(Command {
        steering: 0.25,
        throttle: 0.0,
        captured,
        sequence: 1_000,
    });
    let bytes = Numbered {
        number: crowd.number,
        request,
    };
    rustix::net::send(&crowd.pilot, &bytes.write(), SendFlags::empty()).unwrap();
    let clock = std::cell::Cell::new(crowd.now);
    crowd.server.poll(|| {
        let now = clock.get();
        clock.set(now + Duration::from_micros(60));
        now
    });
    assert_eq!(
        crowd.server.executor().status().counters.refused_in_all(),
        0
    );
}

#[test]
fn the_end_of_a_guard_stops_the_car_and_an_operators_end_disarms_it() {
    for (disarm, mode) in [(false, Mode::Failsafe), (true, Mode::Disarmed)] {
        let mut crowd = Crowd::with_pilot();
        crowd.drive();
        crowd.server.end(crowd.now, disarm);
        assert_eq!(crowd.mode(), mode);
    }
}
