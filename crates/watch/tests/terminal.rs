//! `pilotage-watch --terminal` in a pseudo-terminal: it shows a drive, STOP reaches the pilot, and the terminal is
//! restored at the end.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use pilotage_tap::{Drive, FrameRecord, PixelFormat, Tap, TapServer};
use pilotage_vehicle::Time;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A terminal of 100 x 30 characters: the operator's end, and the program's.
fn terminal() -> (File, OwnedFd) {
    let operator = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&operator).unwrap();
    unlockpt(&operator).unwrap();
    let name = ptsname(&operator, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let program = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    let size = Winsize {
        ws_row: 30,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&program, size).unwrap();
    (operator.into(), program)
}

#[test]
fn a_drive_is_shown_and_stopped_in_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap.sock");
    let drive = Drive {
        name: "a car in a terminal".to_owned(),
        simulated: true,
        ..Drive::default()
    };
    let (mut tap, source) = Tap::create(&drive, (PixelFormat::Grey8, 8, 8)).unwrap();
    let _server = TapServer::start(source, Some(&path), Vec::new()).unwrap();
    let (mut operator, program) = terminal();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pilotage-watch"))
        .args(["--terminal", "--tap"])
        .arg(&path)
        .env("TERM", "xterm-256color")
        .stdin(Stdio::from(program.try_clone().unwrap()))
        .stdout(Stdio::from(program))
        .spawn()
        .unwrap();
    let (send, screen) = channel();
    let mut reader = operator.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        // The terminal ends with an error when the program has ended.
        while let Ok(length @ 1..) = reader.read(&mut bytes) {
            let _ = send.send(String::from_utf8_lossy(&bytes[..length]).into_owned());
        }
    });
    let mut shown = String::new();
    let mut wait = |what: &str, done: &mut dyn FnMut(&str) -> bool| {
        let began = Instant::now();
        while !done(&shown) {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{what}: {shown:?}"
            );
            if let Ok(text) = screen.recv_timeout(Duration::from_millis(20)) {
                shown += &text;
            }
        }
    };
    let mut number = 0;
    wait("the drive is shown", &mut |shown| {
        number += 1;
        tap.publish(&FrameRecord::new(number, Time::from_nanos(number)));
        shown.contains("terminal") && shown.contains("guard")
    });
    assert!(!tap.take_stop());
    operator.write_all(b" ").unwrap();
    wait("the stop arrives", &mut |_| tap.take_stop());
    operator.write_all(b"q").unwrap();
    // The main screen, and a cursor.
    wait("the terminal is restored", &mut |shown| {
        shown.contains("\u{1b}[?1049l") && shown.contains("\u{1b}[?25h")
    });
    assert!(child.wait().unwrap().success());
}
