//! Stopping the car and writing failsafe without the guard, its socket, or car.toml.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use pilotage_guard::{CommandLink, Record, SocketLink, State, StopReason, Stopped};
use rustix::process::Signal;

use crate::car::{Car, GUARD, message, stop};
use crate::pins::FAILSAFE;

#[test]
fn failsafe_takes_over_from_a_guard_that_runs() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    car.drive(&mut car.connect());
    let written = car.command(&["--failsafe"]).output().unwrap();
    assert!(written.status.success(), "{}", message(&written));
    assert_eq!(car.pulses(), FAILSAFE);
    assert_eq!(guard.ended().signal(), Some(Signal::KILL.as_raw()));
}

#[test]
fn failsafe_and_stop_need_no_car_toml() {
    let good = fs::read_to_string(Car::new().file()).unwrap();
    type Edit = fn(&str) -> String;
    let broken: [(&str, Edit); 5] = [
        ("half a key", |good| format!("{good}\nneutral_u")),
        ("empty", |_| String::new()),
        ("out of range", |good| {
            good.replace("rate = 50", "rate = -3")
        }),
        ("another socket", |good| {
            good.replace("guard.sock", "guard2.sock")
        }),
        ("other motors", |good| {
            good.replace("\"pwm\"", "\"dry-run\"")
        }),
    ];
    assert!(good.contains("rate = 50"));
    for (what, edit) in broken {
        let car = Car::new();
        let good = fs::read_to_string(car.file()).unwrap();
        let mut guard = car.guard(&[]);
        let mut link = car.connect();
        car.drive(&mut link);
        fs::write(car.file(), edit(&good)).unwrap();
        let Ok(Stopped::ByGuard { status, .. }) = stop(&car) else {
            panic!("{what}: the guard answers");
        };
        assert_eq!(status.state.stopped(), Some(StopReason::Operator), "{what}");
        assert_eq!(car.pulses(), FAILSAFE, "{what}");

        fs::write(car.file(), &good).unwrap();
        car.arm(&mut link);
        fs::write(car.file(), edit(&good)).unwrap();
        guard.kill(Signal::KILL);
        guard.ended();
        let written = car.command(&["--failsafe"]).output().unwrap();
        assert!(written.status.success(), "{what}: {}", message(&written));
        assert_eq!(car.pulses(), FAILSAFE, "{what}");
        let _ = fs::remove_file(&Record::of(&car.file())[0].path);
    }
}

#[test]
fn a_stop_needs_no_socket_file() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    fs::remove_file(&car.settings().socket).unwrap();
    let stopped = stop(&car).unwrap();
    assert!(
        matches!(
            stopped,
            Stopped::WithoutGuard {
                killed: Some(_),
                ..
            }
        ),
        "{stopped:?}"
    );
    assert_eq!(car.pulses(), FAILSAFE);
    guard.ended();
}

#[test]
fn a_stop_needs_no_guard_that_answers() {
    let car = Car::new();
    let without_guard = stop(&car).unwrap();
    assert!(
        matches!(without_guard, Stopped::WithoutGuard { killed: None, .. }),
        "{without_guard:?}"
    );
    assert_eq!(car.pulses(), FAILSAFE);

    let guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    let Ok(Stopped::ByGuard { status, .. }) = stop(&car) else {
        panic!("the guard answers");
    };
    assert_eq!(status.state.stopped(), Some(StopReason::Operator));
    assert_eq!(status.failure, None);
    assert_eq!(car.pulses(), FAILSAFE);

    car.arm(&mut link);
    guard.kill(Signal::STOP);
    let stopped = stop(&car).unwrap();
    let Stopped::WithoutGuard { killed, .. } = stopped else {
        panic!("{stopped:?}");
    };
    assert_eq!(killed, Some(guard.pid().as_raw_nonzero().get()));
    assert_eq!(car.pulses(), FAILSAFE);
}

/// A copy of car.toml describes the same motors, so the same car is stopped.
#[test]
fn a_stop_by_a_copy_of_the_file_stops_the_guard_of_these_motors() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    car.drive(&mut car.connect());
    let copy = car.folder.path().join("copy.toml");
    let text = fs::read_to_string(car.file()).unwrap();
    fs::write(&copy, text.replace("guard.sock", "copy.sock")).unwrap();
    let mut command = Command::new(GUARD);
    let written = command.args(["--failsafe", "--car"]).arg(&copy).output();
    assert!(written.unwrap().status.success());
    assert_eq!(guard.ended().signal(), Some(Signal::KILL.as_raw()));
    assert_eq!(car.pulses(), FAILSAFE);
}

#[test]
fn failsafe_for_a_dead_guard_leaves_the_next_one_alone() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    let written = car.command(&["--failsafe", "--if-dead"]).output().unwrap();
    assert!(written.status.success(), "{}", message(&written));
    link.refresh().unwrap();
    assert!(matches!(link.status().state, State::Driving(_)));
}

#[test]
fn a_stop_reaches_the_guard_behind_more_connections_than_it_has_room_for() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    car.drive(&mut car.connect());
    let idle: Vec<SocketLink> = (0..20).map(|_| car.connect()).collect();
    let stopped = stop(&car).unwrap();
    assert!(matches!(stopped, Stopped::ByGuard { .. }), "{stopped:?}");
    assert!(
        guard.0.try_wait().unwrap().is_none(),
        "the guard keeps running"
    );
    drop(idle);
}

#[test]
fn a_stop_finds_its_guard_among_many_records() {
    let car = Car::new();
    let guard = car.guard(&[]);
    car.drive(&mut car.connect());
    let own = Record::of(&car.file()).remove(0);
    // Records of killed guards, whose cars' files still exist.
    let text = fs::read_to_string(&own.path).unwrap();
    let process = guard.pid().as_raw_nonzero().to_string();
    let stale = text.replace(&format!("process = {process} "), "process = 999999999 ");
    let others: Vec<_> = (0..200)
        .map(|number| own.path.with_file_name(format!("{number:016x}.guard")))
        .collect();
    for other in &others {
        fs::write(other, &stale).unwrap();
        fs::set_permissions(other, fs::Permissions::from_mode(0o640)).unwrap();
    }
    let by_file = stop(&car);
    // The same motors, by another file.
    let copy = car.folder.path().join("copy.toml");
    fs::copy(car.file(), &copy).unwrap();
    let by_motors = Command::new(GUARD)
        .args(["--failsafe", "--if-dead", "--car"])
        .arg(&copy)
        .output()
        .unwrap();
    for other in &others {
        fs::remove_file(other).unwrap();
    }
    assert!(
        matches!(by_file, Ok(Stopped::ByGuard { .. })),
        "{by_file:?}"
    );
    // The guard was found, and was not stopped.
    assert!(by_motors.status.success(), "{}", message(&by_motors));
    assert_eq!(message(&by_motors), "");
    assert!(car.connect().refresh().is_ok());
}
