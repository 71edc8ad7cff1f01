//! Drives of the simulated car on the wall clock, at a terminal.

use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::processes::{children, comm, lives, state};
use crate::tty::{INTERRUPT, QUIT, SUSPEND, Shell};
use crate::{PILOTAGE, SOON, START, calm, wait};

/// Starts a drive of the simulated car on the wall clock, at a terminal; returns its pilot and its
/// guard.
fn simulated() -> (Shell, Pid, Pid) {
    let shell = Shell::open();
    shell.enter(&format!("{PILOTAGE} drive --pace real --time-limit 60"));
    let pilot = shell.job("pilotage", START);
    let began = Instant::now();
    let guard = loop {
        let child = children(pilot).into_iter().next();
        if let Some(guard) = child.filter(|&child| is_ours(child)) {
            break guard;
        }
        assert!(began.elapsed() < START, "no guard: {}", shell.text());
        std::thread::sleep(Duration::from_millis(5));
    };
    // Let it take some frames.
    std::thread::sleep(Duration::from_millis(700));
    (shell, pilot, guard)
}

fn is_ours(process: Pid) -> bool {
    comm(process).is_some_and(|name| name.starts_with("pilotage"))
}

#[test]
fn ctrl_c_ends_a_simulated_drive_in_one_calm_line() {
    let (shell, pilot, guard) = simulated();
    let before = shell.text().len();
    shell.press(INTERRUPT);
    wait("the pilot ends", || !lives(pilot));
    wait("its guard ends", || !lives(guard));
    shell.enter("echo \"status=$?\"");
    // The laps are not complete: status 1, or the shell's status for a signal.
    shell.wait_for("status=1", SOON);
    let text = shell.text()[before..].to_owned();
    calm(&text);
    assert_eq!(text.matches("the car is disarmed").count(), 1, "{text}");
}

#[test]
fn ctrl_backslash_ends_a_simulated_drive_and_its_guard() {
    let (shell, pilot, guard) = simulated();
    shell.press(QUIT);
    wait("the pilot ends", || !lives(pilot));
    wait("its guard ends", || !lives(guard));
    calm(&shell.text());
}

#[test]
fn a_terminal_that_is_closed_ends_a_simulated_drive_and_its_guard() {
    let (shell, pilot, guard) = simulated();
    shell.hang_up();
    wait("the pilot ends", || !lives(pilot));
    wait("its guard ends", || !lives(guard));
}

#[test]
fn ctrl_z_stops_the_simulated_car_as_it_stops_a_real_one() {
    let (shell, pilot, guard) = simulated();
    shell.press(SUSPEND);
    wait("the pilot is stopped", || state(pilot) == Some('T'));
    // The guard has a session of its own, so that it survives to stop the car.
    assert_ne!(
        state(guard),
        Some('T'),
        "the guard was stopped with its pilot"
    );
    std::thread::sleep(SOON);
    let before = shell.text().len();
    shell.enter("fg");
    wait("the drive ends", || !lives(pilot));
    wait("its guard ends", || !lives(guard));
    let text = shell.text()[before..].to_owned();
    assert!(text.contains("the guard stopped the car"), "{text}");
    calm(&text);
}
