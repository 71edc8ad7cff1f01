//! `pilotage arm --while-held`: the car is armed only while a key is held.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::car::{Car, Running, fails_safe, rests};
use crate::tty::Shell;
use crate::{PILOTAGE, SOON, START, wait};

/// A car that is driven by a program in the background, and that is disarmed.
fn ready_to_be_armed() -> (Car, Running) {
    let car = Car::new();
    let pilot = Running::drive(&car);
    car.arm();
    let mut disarm = Command::new(PILOTAGE);
    let disarm = disarm.args(["disarm", "--car"]).arg(car.file());
    assert!(disarm.status().unwrap().success());
    assert!(rests(car.pulses()));
    (car, pilot)
}

/// Starts `pilotage arm --while-held` in a shell, and holds the space bar until the car drives.
fn held_until_it_drives(car: &Car) -> Shell {
    let shell = Shell::open();
    shell.enter(&format!(
        "{PILOTAGE} arm --while-held --car {}; echo \"status=$?\"",
        car.file().display()
    ));
    shell.wait_for("hold a key down", START);
    assert!(rests(car.pulses()), "nothing is armed without a key");
    let began = Instant::now();
    while !car.moves() {
        assert!(
            began.elapsed() < START,
            "it does not drive: {}",
            shell.text()
        );
        shell.press(b' ');
        std::thread::sleep(Duration::from_millis(30));
    }
    shell
}

#[test]
fn a_car_that_is_armed_while_a_key_is_held_stops_when_it_is_released() {
    let (car, _pilot) = ready_to_be_armed();
    let shell = held_until_it_drives(&car);
    // It drives on for as long as the key repeats.
    for _ in 0..50 {
        shell.press(b' ');
        std::thread::sleep(Duration::from_millis(30));
    }
    assert!(car.moves(), "{}", shell.text());
    // The same from here as a connection that is lost: no more keys arrive.
    wait("released, it stops", || fails_safe(car.pulses()));
    shell.wait_for("released: stopped", SOON);
    shell.wait_for("status=0", SOON);
    car.stays("released");
}

#[test]
fn a_car_that_is_armed_while_a_key_is_held_stops_when_the_program_dies() {
    let (car, _pilot) = ready_to_be_armed();
    for signal in [Signal::KILL, Signal::STOP, Signal::INT] {
        let shell = held_until_it_drives(&car);
        let arm = shell.job("pilotage", SOON);
        rustix::process::kill_process(arm, signal).unwrap();
        wait("it stops", || fails_safe(car.pulses()));
        car.stays("the program that armed it died");
    }
    let shell = held_until_it_drives(&car);
    shell.hang_up();
    wait("the terminal is closed", || fails_safe(car.pulses()));
}
