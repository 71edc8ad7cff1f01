//! A running lidar, with a model at the other end of its port.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pilotage_lidar::{Lidar, LidarConfig, LidarError, look};
use pilotage_vehicle::{Scan, monotonic};

use ld06::Ld06;

#[path = "support/ld06.rs"]
mod ld06;
#[path = "../../guard/tests/support/pty.rs"]
mod pty;

/// 2 m, and 1 m straight to the lidar's right.
fn room(angle: f64) -> u16 {
    if (89.0..=91.0).contains(&angle) {
        1000
    } else {
        2000
    }
}

fn config(folder: &Path) -> LidarConfig {
    LidarConfig {
        port: folder.join("lidar"),
        forward: 0.0,
        is_upside_down: false,
        rays: 450,
        mask: Vec::new(),
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn say(text: &str) {
    SAID.lock().unwrap().push(text.to_owned());
}

fn said(part: &str) -> bool {
    let said = SAID.lock().unwrap();
    said.iter().any(|text| text.contains(part))
}

#[test]
fn a_lidar_gives_scans_until_it_is_unplugged_and_again_after_that() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let model = Ld06::plug(&config.port, room, |_, _| ());
    let mut lidar = Lidar::start(&config, say).unwrap();
    let mut scan = Scan::default();
    until("the first scan", || lidar.latest(&mut scan).is_some());
    let first = lidar.latest(&mut scan).unwrap();
    assert!(scan.is_whole() && first <= monotonic());
    assert_eq!(scan.rays, lidar.rays());
    let at = |angle| scan.millimetres[scan.rays.nearest(angle).unwrap()];
    assert_eq!((at(-90.0), at(90.0)), (1000, 2000));
    let memory = scan.millimetres.as_ptr();
    until("a later scan", || lidar.latest(&mut scan) > Some(first));
    assert_eq!(scan.millimetres.as_ptr(), memory);

    drop(model);
    until("no scan", || lidar.latest(&mut scan).is_none());
    assert!(!scan.is_whole());
    until("a message", || said("the lidar gives no scans"));
    let _model = Ld06::plug(&config.port, room, |_, _| ());
    until("a scan again", || lidar.latest(&mut scan).is_some());
    until("the end", || said("the lidar gives scans again"));
}

#[test]
fn a_lidar_that_falls_silent_has_an_old_scan_and_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let _model = Ld06::plug(&config.port, room, |number, bytes| {
        // After 8 turns its packets are of no lidar.
        if number > 300 {
            bytes.fill(0);
        }
    });
    let mut lidar = Lidar::start(&config, say).unwrap();
    until("a message", || said("no whole turn"));
    let mut scan = Scan::default();
    let at = lidar.latest(&mut scan).unwrap();
    assert!(monotonic().since(at) > Duration::from_millis(500));
}

#[test]
fn what_is_no_lidar_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let start = || Lidar::start(&config, say).unwrap_err().to_string();
    let message = start();
    assert!(message.contains("/dev/serial/by-id"), "{message}");
    let seen = |ms| look(&config, Duration::from_millis(ms)).unwrap_err();
    assert!(matches!(seen(50), LidarError::Open { .. }));

    let silent = pty::plug(&config.port);
    assert!(matches!(seen(50), LidarError::Silent { .. }));
    drop(silent);
    let noise = Ld06::plug(&config.port, room, |_, bytes| bytes.fill(0x55));
    assert!(matches!(seen(200), LidarError::Strange { .. }));
    drop(noise);
    // Each second packet is damaged: no turn is whole.
    let _bad = Ld06::plug(&config.port, room, |number, bytes| {
        bytes[20] ^= (number % 2) as u8;
    });
    let message = start();
    assert!(message.contains("no whole turn"), "{message}");
}

#[test]
fn a_look_says_how_a_lidar_does() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    // One packet of a hundred.
    let damage = |number, bytes: &mut [u8]| bytes[20] ^= u8::from(number % 100 == 7);
    let _model = Ld06::plug(&config.port, room, damage);
    let sight = look(&config, Duration::from_secs(2)).unwrap();
    let (angle, millimetres) = sight.scan.nearest_echo().unwrap();
    assert_eq!((sight.rpm, millimetres), (600.0, 1000));
    assert!((angle + 90.0).abs() < 1.0, "{angle}");
    assert!(sight.counts.bad > 0 && sight.bad_share() < 0.1, "{sight:?}");
    let text = sight.to_string();
    let nearest = "nearest echo at 1.00 m, 90 degrees to the right";
    assert!(text.contains(nearest) && text.contains("600 rpm"), "{text}");
    // A second program does not take the lidar's bytes.
    let _lidar = Lidar::start(&config, say).unwrap();
    let busy = look(&config, Duration::from_millis(50)).unwrap_err();
    assert!(busy.to_string().contains("another program"), "{busy}");
}
