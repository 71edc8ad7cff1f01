//! A pilot that does not exist: it writes invented records and pictures to a tap, for work on the
//! page without a drive. Nothing here is a measurement.
//!
//!     cargo run -p pilotage-watch --example synthetic_drive -- /tmp/tap.sock
//!     cargo run -p pilotage-watch -- --tap /tmp/tap.sock
//!
//! The stop of the page stops the invented car; ten seconds later it is armed again. With a second path, it
//! takes commands there (`pilotage-watch --commands`). For a part of each lap the invented gyroscope gives
//! nothing.

#![allow(clippy::print_stdout, reason = "an example")]

use std::f32::consts::TAU;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pilotage_guard::{Driving, Mode, Motion, Output, State, StopReason};
use pilotage_tap::{
    Drive, EngineInputs, FrameRecord, PictureView, PixelFormat, Sensed, Simulated, Tap, TapServer,
    flags,
};
use pilotage_vehicle::{Command, Controls, Measurements, Rays, Scan, Time, monotonic};

const WIDTH: u32 = 160;
const HEIGHT: u32 = 120;
const PERIOD: Duration = Duration::from_millis(33);
const COMMANDS: [&str; 3] = ["left", "straight", "right"];
/// Frames of a lap.
const LAP: u64 = 900;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.ok_or("usage: synthetic_drive SOCKET [COMMANDS]")?;
    let command = Arc::new(AtomicUsize::new(1));
    if let Some(socket) = std::env::args_os().nth(2) {
        let listener = UnixListener::bind(socket)?;
        let command = Arc::clone(&command);
        std::thread::spawn(move || take_commands(&listener, &command));
    }
    let drive = Drive {
        name: "synthetic car, not a measurement".to_owned(),
        simulated: true,
        deadline: Duration::from_millis(100),
        frame_period: PERIOD,
        track: (0..240).map(|step| track(step as f32 / 240.0)).collect(),
        inputs: EngineInputs {
            measured: [true, true, false, false],
            replacements: Measurements::new([None, Some(0.0), None, None]),
            commands: COMMANDS.map(str::to_owned).to_vec(),
            scan: Rays::new(541, -135.0, 135.0),
            scan_replacement: None,
            memory: false,
        },
        lidar_rays: 541,
    };
    let (mut tap, source) = Tap::create(&drive, (PixelFormat::Rgb8, WIDTH, HEIGHT))?;
    let _server = TapServer::start(source, Some(&path), Vec::new())?;
    println!("pilotage-watch --tap {}", path.display());
    let mut pixels = vec![0; (WIDTH * HEIGHT * 3) as usize];
    let mut stopped: Option<Instant> = None;
    let mut place = 0;
    for number in 0_u64.. {
        std::thread::sleep(PERIOD);
        if tap.take_stop() {
            stopped = Some(Instant::now());
        }
        stopped = stopped.filter(|at| at.elapsed() < Duration::from_secs(10));
        place += u64::from(stopped.is_none());
        let mut record = record(number, place, stopped.is_some());
        let name = COMMANDS.get(command.load(Ordering::Relaxed));
        record.set_high_level(name.copied());
        record.scan = tap.offer_scan(&scan(&record), Time::from_nanos(record.captured));
        tap.publish(&record);
        paint(&mut pixels, record.asked[0]);
        tap.offer_picture(&PictureView {
            format: PixelFormat::Rgb8,
            width: WIDTH,
            height: HEIGHT,
            data: &pixels,
            sequence: number,
            captured: record.captured,
        });
    }
    Ok(())
}

/// The point of the closed track at `share` of a lap.
fn track(share: f32) -> [f32; 2] {
    let angle = share * TAU;
    let radius = 4.0 + 1.1 * (2.0 * angle).cos() + 0.5 * (3.0 * angle).sin();
    [1.4 * radius * angle.cos(), radius * angle.sin()]
}

fn record(number: u64, place: u64, stopped: bool) -> FrameRecord {
    let share = (place % LAP) as f32 / LAP as f32;
    let waver = (number as f32 * 0.37).sin() + (number as f32 * 1.7).sin();
    let sway = (number as f32 * 0.06).sin();
    let slow = number.is_multiple_of(173);
    let micros = |value: f32| (value.max(1.0) * 1e3) as u64;
    let now = monotonic();
    let mut record = FrameRecord::new(number, now - Duration::from_micros(6200));
    record.arrived = now.as_nanos();
    record.vision = micros(900.0 + 60.0 * waver);
    record.inference = micros(if slow {
        31_000.0
    } else {
        4200.0 + 500.0 * waver
    });
    record.sent = record.vision + record.inference + micros(350.0 + 40.0 * waver);
    record.reaction = record.sent + micros(7000.0);
    record.missed = u64::from(number % 311 == 310);
    let steering = 0.35 * (share * TAU * 3.0).sin() + 0.04 * waver;
    let throttle = 0.30 - 0.12 * steering.abs();
    record.set_outputs(&[steering * 2.1, throttle * 5.0]);
    record.set_controls(Controls::Direct { steering, throttle });
    record.set_asked(&Command {
        steering,
        throttle,
        captured: now,
        sequence: number,
    });
    let (state, mode) = match stopped {
        true => {
            let reason = StopReason::Operator;
            (State::Stopped { reason }, Mode::Failsafe)
        }
        false => (driving(now), Mode::Drive),
    };
    let moves = if stopped { 0.0 } else { 1.0 };
    record.set_guard(
        state,
        Output {
            mode,
            steering: moves * steering * 0.93,
            throttle: moves * throttle,
        },
    );
    if slow {
        record.flags |= flags::FALLBACK;
    }
    let ([x, y], [ahead_x, ahead_y]) = (track(share), track(share + 0.002));
    let yaw_rate = moves * 3.0 * steering;
    let has_gyroscope = place % LAP < LAP - 90;
    record.set_sensed(&Sensed {
        measured: Measurements::new([
            Some(moves * (2.4 - steering.abs()) + 0.02 * waver),
            has_gyroscope.then_some(yaw_rate + 0.02 * waver),
            None,
            None,
        ]),
        measured_age: Duration::from_millis(10),
        scan_age: Duration::from_millis(14 + number % 25),
        lacking: [false, !has_gyroscope, false, false],
        ..Sensed::default()
    });
    record.set_simulated(Simulated {
        lap: share,
        speed: moves * (2.4 - steering.abs()),
        offset: 0.06 * sway,
        x: x + 0.06 * sway,
        y: y + 0.06 * sway,
        heading: (ahead_y - y).atan2(ahead_x - x),
    });
    record
}

/// Walls at both sides of a road that bends as the car steers, and a box on it.
fn scan(record: &FrameRecord) -> Scan {
    let rays = Rays::new(541, -135.0, 135.0).unwrap_or(Scan::default().rays);
    let bend = record.asked[0];
    let distance = |ray: usize| {
        let angle = rays.angle(ray).to_radians() as f32;
        let straight = |metres: f32| angle.sin() - 0.16 * bend * metres * angle.cos().max(0.0);
        // The nearest point at which the ray is beyond one of the walls.
        let mut metres = 0.1;
        while metres < 9.0 {
            let side = metres * straight(metres);
            let in_box = (metres * angle.cos() - 4.0).abs() < 0.25 && (side + 0.4).abs() < 0.25;
            if !(-0.9..0.7).contains(&side) || in_box {
                break;
            }
            metres += 0.02;
        }
        metres
    };
    let millimetres = (0..541).map(distance).map(|metres| match metres {
        0.0..9.0 => (1000.0 * metres) as u16,
        _ => 0,
    });
    Scan {
        rays,
        millimetres: millimetres.collect(),
    }
}

/// Sets the place of each command that is received.
fn take_commands(listener: &UnixListener, command: &AtomicUsize) {
    for stream in listener.incoming().flatten() {
        let mut line = String::new();
        let mut reader = BufReader::new(&stream);
        if reader.read_line(&mut line).is_err() {
            continue;
        }
        let place = COMMANDS.iter().position(|name| *name == line.trim_end());
        let answer = match place {
            Some(place) => {
                command.store(place, Ordering::Relaxed);
                "set"
            }
            None => "there is no such command",
        };
        // A client may be gone.
        let _ = writeln!(&stream, "{answer}");
    }
}

fn driving(now: Time) -> State {
    let rest = Motion {
        value: 0.0,
        target: 0.0,
    };
    State::Driving(Driving {
        armed: now,
        seen: now,
        accepted: now,
        sequence: 0,
        steering: rest,
        throttle: rest,
    })
}

/// A road with a line that bends as the car steers.
fn paint(pixels: &mut [u8], steering: f32) {
    for (index, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let (x, y) = (index as u32 % WIDTH, index as u32 / WIDTH);
        let (x, y) = (x as f32 / WIDTH as f32 - 0.5, y as f32 / HEIGHT as f32);
        let depth = y - 0.35;
        let colour = if depth < 0.0 {
            [150, 185, 215].map(|channel: u8| channel.saturating_add((y * 90.0) as u8))
        } else {
            let middle = -steering * 0.5 * (1.0 - depth / 0.65).powi(2);
            let across = (x - middle).abs();
            match depth {
                _ if across < 0.012 + 0.05 * depth => [235, 215, 90],
                _ if across < 0.05 + 0.75 * depth => [88, 88, 94],
                _ => [96, 132, 74],
            }
        };
        pixel.copy_from_slice(&colour);
    }
}
