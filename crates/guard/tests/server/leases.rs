//! Leases of operators.

use std::os::fd::OwnedFd;
use std::time::Duration;

use pilotage_guard::wire::{LEASE, Numbered, Request};
use pilotage_guard::{Mode, State, StopReason};
use rustix::net::SendFlags;

use crate::crowd::Crowd;

/// The car drives while the lease is renewed, however late the guard is, and is stopped when the
/// lease ends: in time, by its operator, or with the connection.
#[test]
fn a_lease_that_ends_stops_the_car() {
    let renew = |crowd: &mut Crowd, operator: &OwnedFd, number: u64| {
        crowd.send(operator, number, Request::Lease(true));
    };
    let drives = |crowd: &mut Crowd, time: Duration| {
        // The pilot's commands continue.
        for _ in 0..time.as_millis() / 10 {
            crowd.now = crowd.now + Duration::from_millis(10);
            let command = crowd.command(0.1);
            crowd.send_as_pilot(command);
        }
        crowd.mode() == Mode::Drive
    };
    for end in 0..3 {
        let mut crowd = Crowd::with_pilot();
        let operator = crowd.client();
        renew(&mut crowd, &operator, 1);
        crowd.drive();
        for number in 2..6 {
            assert!(drives(&mut crowd, LEASE - Duration::from_millis(10)));
            renew(&mut crowd, &operator, number);
        }
        match end {
            0 => assert!(!drives(&mut crowd, LEASE)),
            1 => crowd.send(&operator, 6, Request::Lease(false)),
            _ => {
                drop(operator);
                crowd.poll();
            }
        }
        let reason = StopReason::Operator;
        assert_eq!(crowd.state(), State::Stopped { reason }, "end {end}");
    }
}

#[test]
fn a_lease_arms_nothing_and_is_not_idle() {
    let mut crowd = Crowd::with_pilot();
    let operator = crowd.client();
    crowd.send(&operator, 1, Request::Lease(true));
    assert_eq!(crowd.state(), State::Disarmed);
    crowd.now = crowd.now + LEASE;
    crowd.poll();
    assert_eq!(crowd.state(), State::Disarmed);
    crowd.drive();
    // A connection with a lease is not idle, and not the first to make room.
    crowd.send(&operator, 3, Request::Lease(true));
    let idle: Vec<OwnedFd> = (0..40).map(|_| crowd.client()).collect();
    assert_eq!(crowd.mode(), Mode::Drive);
    drop(idle);
}

/// A guard that was late sees the renewal before it judges.
#[test]
fn a_late_guard_ends_no_lease_that_was_renewed() {
    let mut crowd = Crowd::with_pilot();
    let operator = crowd.client();
    crowd.send(&operator, 1, Request::Lease(true));
    crowd.send(&operator, 2, Request::Arm(None));
    let renewal = Numbered {
        number: 3,
        request: Request::Lease(true),
    };
    rustix::net::send(&operator, &renewal.write(), SendFlags::empty()).unwrap();
    crowd.now = crowd.now + LEASE;
    crowd.poll();
    assert!(
        matches!(crowd.state(), State::Armed(_)),
        "{:?}",
        crowd.state()
    );
    crowd.now = crowd.now + LEASE;
    crowd.poll();
    let reason = StopReason::Operator;
    assert_eq!(crowd.state(), State::Stopped { reason });
}

/// An operator who armed with a lease may have released the key while it could not be renewed.
#[test]
fn an_ended_lease_arms_nothing_and_its_release_still_stops() {
    let mut crowd = Crowd::with_pilot();
    let holder = crowd.client();
    crowd.send(&holder, 1, Request::Lease(true));
    crowd.now = crowd.now + Duration::from_millis(301);
    crowd.poll();
    crowd.send(&holder, 2, Request::Arm(None));
    assert!(
        !matches!(crowd.state(), State::Armed(_)),
        "{:?}",
        crowd.state()
    );
    // With a new lease it arms; another operator's car stops when this one releases it.
    crowd.send(&holder, 3, Request::Lease(true));
    crowd.send(&holder, 4, Request::Disarm);
    crowd.send(&holder, 5, Request::Arm(None));
    assert!(
        matches!(crowd.state(), State::Armed(_)),
        "{:?}",
        crowd.state()
    );
    crowd.send(&holder, 6, Request::Lease(false));
    assert!(crowd.state().stopped().is_some());

    // Without a lease any more, letting go stops the car all the same.
    crowd.send(&holder, 7, Request::Disarm);
    crowd.drive();
    crowd.send(&holder, 8, Request::Lease(false));
    assert!(crowd.state().stopped().is_some());
}
