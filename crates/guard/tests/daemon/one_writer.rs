//! One guard for each car: a second guard, other files at the socket's path, and locks.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use pilotage_guard::{Record, SocketLink};
use rustix::process::Signal;

use crate::car::{Car, GUARD, Running, message, wait};
use crate::pins::FAILSAFE;

#[test]
fn a_second_guard_is_refused() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    car.drive(&mut car.connect());
    let second = car.command(&[]).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let text = message(&second);
    assert!(text.contains("another guard holds it"), "{text}");
}

#[test]
fn a_foreign_lock_on_the_pins_keeps_nobody_from_failsafe() {
    let car = Car::new();
    let pin = car.folder.path().join("pwmchip0/pwm1/duty_cycle");
    let held = fs::File::open(pin).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut guard = car.guard(&[]);
    car.drive(&mut car.connect());
    guard.kill(Signal::KILL);
    guard.ended();
    let written = car.command(&["--failsafe"]).output().unwrap();
    assert!(written.status.success(), "{}", message(&written));
    assert_eq!(car.pulses(), FAILSAFE);
}

#[test]
fn a_file_that_is_not_a_socket_is_kept() {
    let car = Car::new();
    let precious = car.settings().socket;
    fs::write(&precious, "a season's recordings").unwrap();
    let refused = car.command(&[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let text = message(&refused);
    assert!(text.contains("does not replace"), "{text}");
    assert_eq!(
        fs::read_to_string(&precious).unwrap(),
        "a season's recordings"
    );
}

/// The files that a guard has open.
fn open_files(guard: &Running) -> Vec<PathBuf> {
    let folder = format!("/proc/{}/fd", guard.pid().as_raw_nonzero());
    let links = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    links
        .filter_map(|link| fs::read_link(link.path()).ok())
        .collect()
}

/// Two defences, each of which has to be sufficient alone.
#[test]
fn a_second_guard_is_kept_out_by_the_lock_and_by_the_record() {
    for without in ["the record", "the locks"] {
        let car = Car::new();
        let guard = car.guard(&[]);
        car.drive(&mut car.connect());
        let record = Record::of(&car.file()).remove(0).path;
        match without {
            "the record" => fs::remove_file(record).unwrap(),
            _ => {
                let folder = record.parent().unwrap();
                let mut locks = open_files(&guard);
                locks.retain(|file| file.starts_with(folder));
                assert_eq!(locks.len(), 2, "one for each pin: {locks:?}");
                locks.iter().for_each(|lock| fs::remove_file(lock).unwrap());
            }
        }
        // The same motors, with another socket.
        let text = fs::read_to_string(car.file()).unwrap();
        let file = car.folder.path().join("copy.toml");
        fs::write(&file, text.replace("guard.sock", "other.sock")).unwrap();
        let mut second = Command::new(GUARD);
        second.arg("--car").arg(&file).stdin(Stdio::null());
        let second = second.output().unwrap();
        assert_eq!(second.status.code(), Some(2), "without {without}");
        let text = message(&second);
        assert!(text.contains("another guard holds it"), "{text}");
        assert_eq!(car.connect().process(), Some(guard.pid()));
    }
}

#[test]
fn a_guard_waits_for_one_that_is_ending() {
    let car = Car::new();
    let mut first = car.guard(&[]);
    car.connect();
    let second = car.guard(&[]);
    // By then the second guard has found the first one, and still waits.
    std::thread::sleep(Duration::from_millis(200));
    first.kill(Signal::TERM);
    assert!(first.ended().success());
    wait("the second guard listens", || {
        let link = SocketLink::connect(&car.settings().socket).ok();
        link.and_then(|link| link.process()) == Some(second.pid())
    });
}
