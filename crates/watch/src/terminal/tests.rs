//! The screen on a terminal that is a buffer.

use pilotage_guard::{Mode, Output, State, StopReason};
use pilotage_tap::{Drive, EngineInputs, FrameRecord, Sensed, Simulated};
use pilotage_vehicle::{Command, Measurements, Rays, Scan, Time};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;

fn drive() -> Drive {
    Drive {
        name: "a car \u{1b}[31m".to_owned(),
        simulated: true,
        deadline: Duration::from_millis(100),
        frame_period: Duration::from_millis(50),
        track: Vec::new(),
        inputs: EngineInputs {
            measured: [true, true, false, false],
            scan: Rays::new(3, -90.0, 90.0),
            memory: true,
            ..EngineInputs::default()
        },
        lidar_rays: 3,
    }
}

/// Frame `number` of a car that was stopped by an operator, with speed but without a yaw rate.
fn record(number: u64) -> FrameRecord {
    let at = Time::from_nanos((1 + number) * 50_000_000);
    let mut record = FrameRecord::new(number, at);
    record.arrived = record.captured + 2_000_000;
    record.sent = 8_000_000;
    record.missed = 1;
    record.set_asked(&Command {
        steering: 0.5,
        throttle: 0.25,
        captured: at,
        sequence: number,
    });
    let reason = StopReason::Operator;
    let output = Output {
        mode: Mode::Failsafe,
        steering: 0.25,
        throttle: 0.0,
    };
    record.set_guard(State::Stopped { reason }, output);
    record.set_simulated(Simulated {
        speed: 2.5,
        ..Simulated::default()
    });
    record.set_sensed(&Sensed {
        measured: Measurements::new([Some(1.5), None, None, None]),
        scan_age: Duration::from_millis(17),
        lacking: [false, true, false, false],
        ..Sensed::default()
    });
    record.set_high_level(Some("left"));
    record.scan = 1;
    record
}

/// The lines of the screen, and the colour behind the state.
fn shown(seen: &Seen, now: Instant, (width, height): (u16, u16)) -> (Vec<String>, Color) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| screen::draw(frame, seen, now))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(move |x| buffer[(x, y)].symbol()).collect();
    let lines = (0..height).map(row).collect();
    let colour = if height > 1 {
        buffer[(0, 1)].bg
    } else {
        Color::Reset
    };
    (lines, colour)
}

fn seen() -> Seen {
    let mut seen = Seen::of(&drive());
    (0..300).for_each(|number| seen.frame(record(number)));
    let rays = Rays::new(3, -90.0, 90.0).unwrap();
    seen.scan(&NumberedScan {
        number: 1,
        taken: Time::ZERO,
        scan: Scan {
            rays,
            millimetres: vec![0, 3000, 1250],
        },
    });
    seen
}

#[test]
fn the_screen_has_the_numbers_of_the_page() {
    let seen = seen();
    let (lines, colour) = shown(&seen, seen.newest.unwrap(), (100, 26));
    let text = lines.join("\n");
    for expected in [
        "stopped: an operator stopped the car",
        "asked +0.50, got +0.25",
        "median 10.0 ms, slowest 10.0 ms; deadline 100 ms",
        "20.0",
        "300 of 600",
        "2.5 m/s",
        "+1.50 m/s",
        "yaw rate         missing",
        "left",
        "17 ms old, 1.25 m at +90 degrees",
        "memory anew      0",
        "STOP",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
    assert_eq!(colour, Color::Red);
    // The name of a car is not obeyed by the terminal.
    assert!(lines[0].starts_with("a car  [31m"), "{}", lines[0]);
    // No terminal is too small or too large.
    for size in [(1, 1), (20, 5), (40, 12), (300, 90)] {
        shown(&seen, Instant::now(), size);
    }
}

#[test]
fn old_values_do_not_look_like_present_ones() {
    let mut seen = seen();
    let later = seen.newest.unwrap() + Duration::from_secs(3);
    let first = |seen: &Seen| shown(seen, later, (100, 26)).0[1].clone();
    assert!(first(&seen).starts_with("no frames for 3 s; last state: stopped"));
    seen.without("the pilot has ended");
    assert!(first(&seen).starts_with("the pilot has ended; last state: stopped"));
    let mut none = Seen::default();
    none.without("no pilot answers");
    assert!(first(&none).starts_with("no pilot answers"));
    none.notice = Some(Notice::bad("STOP: it failed"));
    let lines = shown(&none, later, (60, 24)).0.join("\n");
    assert!(lines.contains("STOP: it failed"), "{lines}");
}

#[test]
fn a_bar_shows_what_was_asked_and_granted() {
    for (asked, granted, expected) in [
        (0.0, Some(0.0), "[-----|-----]"),
        (1.0, Some(0.4), "[-----+==--|]"),
        (-0.6, Some(-0.4), "[--|==+-----]"),
        (f32::NAN, None, "[|----+-----]"),
        (9.0, Some(f32::INFINITY), "[-----+====|]"),
    ] {
        assert_eq!(
            screen::bar(11, asked, granted),
            expected,
            "{asked} {granted:?}"
        );
    }
}

#[test]
fn keys_stop_and_quit() {
    let key = |code| wanted(KeyEvent::new(code, KeyModifiers::NONE));
    for code in [KeyCode::Char(' '), KeyCode::Char('s'), KeyCode::Esc] {
        assert_eq!(key(code), Some(Wanted::Stop), "{code:?}");
    }
    assert_eq!(key(KeyCode::Char('q')), Some(Wanted::Quit));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(wanted(interrupt), Some(Wanted::Quit));
    assert_eq!(key(KeyCode::Char('c')), None);
}
