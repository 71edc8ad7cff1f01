//! Driving with the page, as the pilot's gamepad sees it.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use pilotage_gamepad::{DriveRequest, Gamepad};
use pilotage_guard::{Limits, LimitsSpec};
use pilotage_vehicle::monotonic;
use pilotage_watch::Wheel;
use serde_json::{Value, json as object};
use tungstenite::{Message, WebSocket};

use crate::harness::{Running, json, start_with, wait_until};

/// The pilot's end.
struct Pilot(Gamepad);

impl Pilot {
    fn start() -> (Running, Self) {
        let (reads, writes): (OwnedFd, OwnedFd) = {
            let (reads, writes) = std::io::pipe().unwrap();
            (reads.into(), writes.into())
        };
        let limits = Limits::new(LimitsSpec::simulated()).unwrap();
        let pad = Gamepad::of_page(reads, &limits).unwrap();
        (
            start_with(Some(Wheel::over(writes).unwrap()), None),
            Self(pad),
        )
    }

    fn request(&mut self) -> DriveRequest {
        let now = monotonic();
        self.0.read(now).unwrap();
        self.0.hand().request(now)
    }

    fn presses(&mut self) -> (bool, bool) {
        self.0.read(monotonic()).unwrap();
        let presses = self.0.hand().take_presses();
        (presses.arm, presses.stop)
    }
}

/// A page that drives.
struct Page {
    socket: WebSocket<TcpStream>,
    number: u64,
    beat: u64,
}

impl Page {
    fn open(running: &Running) -> Self {
        Self {
            socket: running.page().unwrap(),
            number: 0,
            beat: 0,
        }
    }

    fn state(&mut self) -> String {
        json(&mut self.socket, "wheel")["state"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Sends; the server may have closed the connection.
    fn ask(&mut self, message: &Value) -> bool {
        self.socket.send(Message::text(message.to_string())).is_ok()
    }

    fn take(running: &Running) -> Self {
        let mut page = Self::open(running);
        assert_eq!(page.state(), "free");
        page.ask(&object!({ "kind": "take" }));
        assert_eq!(page.state(), "yours");
        page
    }

    /// Answers the next beat.
    fn drive(&mut self, steering: f32, throttle: f32, held: bool) {
        self.beat = json(&mut self.socket, "beat")["beat"].as_u64().unwrap();
        self.drive_at_once(steering, throttle, held);
    }

    fn drive_at_once(&mut self, steering: f32, throttle: f32, held: bool) {
        self.number += 1;
        let (number, beat) = (self.number, self.beat);
        let message = object!({
            "kind": "drive", "steering": steering, "throttle": throttle, "held": held,
            "number": number, "beat": beat,
        });
        self.ask(&message);
    }

    /// Holds the stick there until the pilot has that request.
    fn hold_until(
        &mut self,
        pilot: &mut Pilot,
        (steering, throttle): (f32, f32),
        mut done: impl FnMut(DriveRequest) -> bool,
    ) {
        wait_until(|| {
            self.drive(steering, throttle, true);
            std::thread::sleep(Duration::from_millis(2));
            done(pilot.request())
        });
    }

    fn arm(&mut self) {
        self.number += 1;
        let (number, beat) = (self.number, self.beat);
        self.ask(&object!({ "kind": "arm", "number": number, "beat": beat }));
    }

    /// Whether the server has closed the connection, whatever it sent before.
    fn is_closed(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if self.socket.read().is_err() {
                return true;
            }
        }
        false
    }
}

#[test]
fn the_car_is_driven_while_the_stick_is_held() {
    let (running, mut pilot) = Pilot::start();
    let mut page = Page::take(&running);
    page.drive(0.0, 0.0, false);
    page.hold_until(&mut pilot, (0.0, 0.0), |request| request.driven);
    page.hold_until(&mut pilot, (0.5, 0.25), |request| {
        let near = |value: f32, wanted: f32| (value - wanted).abs() < 0.02;
        near(request.steering, 0.49) && near(request.throttle, 0.24)
    });
    page.drive(0.5, 0.25, false);
    wait_until(|| !pilot.request().driven);
    assert_eq!(pilot.request(), DriveRequest::default());
    assert_eq!(pilot.presses(), (false, false));
    page.arm();
    wait_until(|| pilot.presses() == (true, false));
    page.ask(&object!({ "kind": "release" }));
    assert_eq!(page.state(), "free");
    assert_eq!((pilot.presses(), running.stops()), ((false, false), 0));
}

#[test]
fn silence_is_neutral_and_then_a_stop() {
    let (running, mut pilot) = Pilot::start();
    let mut page = Page::take(&running);
    page.hold_until(&mut pilot, (0.0, 0.0), |request| request.driven);
    page.hold_until(&mut pilot, (0.0, 1.0), |request| request.throttle > 0.9);
    // Nothing is sent any more, while the connection stays.
    wait_until(|| pilot.request() == DriveRequest::default());
    assert!(page.is_closed());
    wait_until(|| pilot.presses() == (false, true));
    wait_until(|| running.stops() == 1);
}

#[test]
fn a_page_that_goes_away_stops_the_car_and_another_may_drive_then() {
    let (running, mut pilot) = Pilot::start();
    let mut page = Page::take(&running);
    page.hold_until(&mut pilot, (0.0, 0.0), |request| request.driven);
    let mut other = Page::open(&running);
    assert_eq!(other.state(), "taken");
    // It cannot take the wheel, drive or arm.
    other.ask(&object!({ "kind": "take" }));
    other.drive_at_once(1.0, 1.0, true);
    other.arm();
    page.hold_until(&mut pilot, (0.0, 0.5), |request| {
        assert_eq!(request.steering, 0.0);
        request.throttle > 0.4
    });
    assert_eq!(pilot.presses(), (false, false));
    drop(page);
    wait_until(|| pilot.presses() == (false, true));
    wait_until(|| running.stops() == 1);
    assert_eq!(pilot.request(), DriveRequest::default());
    assert_eq!(other.state(), "free");
    other.ask(&object!({ "kind": "take" }));
    assert_eq!(other.state(), "yours");
}

/// Checks for a while that the pilot gets neither a command nor an arming.
fn nothing_happens(pilot: &mut Pilot) {
    for _ in 0..40 {
        assert_eq!(pilot.request(), DriveRequest::default());
        assert_eq!(pilot.presses(), (false, false));
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_was_under_way_for_too_long_moves_and_arms_nothing() {
    let (running, mut pilot) = Pilot::start();
    let mut page = Page::take(&running);
    page.hold_until(&mut pilot, (0.0, 0.0), |request| request.driven);
    // It answers a beat of more than 200 ms ago, while the connection goes on.
    for held in [false, true] {
        std::thread::sleep(Duration::from_millis(300));
        page.arm();
        page.drive_at_once(1.0, 1.0, held);
        nothing_happens(&mut pilot);
        // Fresh messages keep the wheel.
        for _ in 0..12 {
            page.drive(0.0, 0.0, false);
        }
    }
    // A release counts however late: the axes have to be seen at rest after it.
    page.hold_until(&mut pilot, (0.0, 0.0), |request| request.driven);
    page.hold_until(&mut pilot, (0.0, 0.5), |request| request.throttle > 0.4);
    let latest = std::mem::replace(&mut page.beat, 1);
    page.drive_at_once(0.0, 1.0, false);
    page.beat = latest;
    for _ in 0..4 {
        page.drive(0.0, 0.5, true);
    }
    page.hold_until(&mut pilot, (0.0, 0.5), |request| {
        assert_eq!(request.throttle, 0.0);
        request.driven
    });
    assert_eq!(running.stops(), 0);
}

#[test]
fn what_waits_for_a_pilot_that_hangs_moves_and_arms_nothing_later() {
    let (running, mut pilot) = Pilot::start();
    let mut page = Page::take(&running);
    page.hold_until(&mut pilot, (0.0, 0.0), |request| request.driven);
    // The pilot does not read for longer than the pipe holds.
    for _ in 0..40 {
        page.drive(1.0, 1.0, true);
    }
    page.arm();
    std::thread::sleep(Duration::from_millis(300));
    nothing_happens(&mut pilot);
    assert_eq!(running.stops(), 0);
}

#[test]
fn a_stop_reaches_the_pilot_by_the_wheel_too() {
    let (running, mut pilot) = Pilot::start();
    assert_eq!(running.stop(), 200);
    wait_until(|| pilot.presses() == (false, true));
    assert_eq!(running.stops(), 1);
}

#[test]
fn wrong_messages_end_the_connection_and_stop_the_car() {
    let drive = |number: i64, beat: u64| {
        object!({
            "kind": "drive", "steering": 0.0, "throttle": 1.0, "held": true, "number": number,
            "beat": beat,
        })
        .to_string()
    };
    let wrong = [
        "{".to_owned(),
        "null".to_owned(),
        object!({ "kind": "fly" }).to_string(),
        object!({ "kind": "take", "more": 1 }).to_string(),
        drive(-1, 0),
        // Numbers that do not rise, and a beat that was never sent.
        drive(0, 0),
        drive(5, u64::MAX),
        drive(5, 1000),
    ];
    for (count, message) in wrong.into_iter().enumerate() {
        let (running, mut pilot) = Pilot::start();
        let mut page = Page::take(&running);
        let _ = page.socket.send(Message::text(message.clone()));
        assert!(page.is_closed(), "{count}: {message}");
        wait_until(|| running.stops() == 1);
        wait_until(|| pilot.presses().1);
        assert_eq!(pilot.request(), DriveRequest::default(), "{message}");
    }
    // Without a wheel, a page sends receipts only.
    let running = start_with(None, None);
    let mut page = Page::open(&running);
    page.ask(&object!({ "kind": "take" }));
    assert!(page.is_closed());
    assert_eq!(running.stops(), 0);
}

#[test]
fn a_page_that_floods_is_cut_off() {
    let (running, mut pilot) = Pilot::start();
    let mut page = Page::take(&running);
    for _ in 0..2000 {
        page.number += 1;
        let number = page.number;
        let message = object!({
            "kind": "drive", "steering": 1.0, "throttle": 1.0, "held": false, "number": number,
            "beat": 0,
        });
        if !page.ask(&message) {
            break;
        }
    }
    assert!(page.is_closed());
    wait_until(|| running.stops() == 1);
    assert_eq!(pilot.request(), DriveRequest::default());
}
