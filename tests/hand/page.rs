//! Driving with the page. The page's program is a substitute: a script that passes on what a test
//! writes to a pipe (crates/watch tests the program itself).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::harness::{Car, Pad, Running, wait};
use crate::pins::FAILSAFE;
use crate::{DEAD_MAN, GOING, NEUTRAL, PILOTAGE};

/// `pilotage drive --by-page` with a page that writes what the pad sends.
fn drive(car: &Car) -> (Running, Pad) {
    let folder = car.folder.path().join("programs");
    fs::create_dir(&folder).unwrap();
    let page = folder.join("page");
    mkfifoat(CWD, &page, Mode::from_raw_mode(0o600)).unwrap();
    let script = format!(
        "#!/bin/sh\ncase $1 in --version) echo pilotage-watch {};; *) exec cat {} ;; esac\n",
        env!("CARGO_PKG_VERSION"),
        page.display()
    );
    let program = folder.join("pilotage-watch");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    // The programs of a folder belong together.
    let built = PathBuf::from(PILOTAGE);
    for name in ["pilotage", "pilotage-guard"] {
        let _ = fs::copy(built.with_file_name(name), folder.join(name));
    }
    symlink(car.folder.path().join("pictures"), folder.join("pictures")).unwrap();
    let mut command = Command::new(folder.join("pilotage"));
    command
        .args(["drive", "--by-page", "--no-log", "--car"])
        .arg(car.file())
        .stdin(Stdio::null());
    let running = Running::start(command);
    (running, Pad::plug_in(&page))
}

#[test]
fn the_page_drives_as_a_gamepad_and_its_end_stops_the_car() {
    let car = Car::pins();
    let (mut running, mut page) = drive(&car);
    running.wait_for_message("by hand with the page");
    car.wait_for("disarmed");
    car.arm(&mut page);
    page.hold(DEAD_MAN);
    page.full_left_and_ahead();
    car.wait_pulses(&mut page, GOING);
    // A page that is silent moves nothing.
    wait("neutral", || car.pulses() == NEUTRAL);
    page.send(&[]);
    page.release(DEAD_MAN);
    page.hold(DEAD_MAN);
    page.full_left_and_ahead();
    car.wait_pulses(&mut page, GOING);
    drop(page);
    wait("a stop", || car.pulses() == FAILSAFE);
    car.wait_for("stopped");
    running.wait_for_message("the page's program has ended");
}
