//! `pilotage film` from the command line: the films are decoded again and looked at.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use gif::{ColorOutput, DecodeOptions};
use image::{Rgb, RgbImage};
use pilotage_drivelog::{Entry, Frame, Guard, Inputs, LogWriter, Picture, Start, Stop};
use pilotage_tap::FrameRecord;
use pilotage_vehicle::Time;
use running::{Running, err, out, wait_for};
use rustix::process::Signal;
use tempfile::TempDir;

#[path = "support/running.rs"]
mod running;

/// The height of a picture of 160x120 in a film of 320 pixels' width, and where the panel has the bars'
/// middle row and the steering's columns.
const PICTURE: u32 = 240;
const BARS: u32 = PICTURE + 33;
const STEERING: std::ops::Range<u32> = 56..154;

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotage"));
    command.args(arguments).current_dir(folder);
    command.env("XDG_STATE_HOME", folder).stdin(Stdio::null());
    command
}

fn film(folder: &Path, arguments: &[&str]) -> Output {
    let arguments = [&["film"], arguments].concat();
    command(folder, &arguments).output().unwrap()
}

/// Makes a film, and returns what is printed.
#[track_caller]
fn made(folder: &Path, arguments: &[&str]) -> String {
    let output = film(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", err(&output));
    out(&output)
}

/// The message of a film that is refused. Nothing of it is left.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let before = names(folder);
    let output = film(folder, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert_eq!(names(folder), before, "{arguments:?}");
    let message = err(&output);
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The frames of a GIF as they are seen, and how long, in hundredths of a second.
fn frames(gif: &Path) -> Vec<(RgbImage, u16)> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    let file = BufReader::new(File::open(gif).unwrap());
    let mut decoder = options.read_info(file).unwrap();
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let mut seen = RgbImage::new(width, height);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        let columns = usize::from(frame.width);
        for (place, pixel) in frame.buffer.chunks_exact(4).enumerate() {
            let x = u32::from(frame.left) + (place % columns) as u32;
            let y = u32::from(frame.top) + (place / columns) as u32;
            if pixel[3] > 0 {
                seen.put_pixel(x, y, Rgb([pixel[0], pixel[1], pixel[2]]));
            }
        }
        frames.push((seen.clone(), frame.delay));
    }
    frames
}

/// The mean column of the steering's pixels that are `meant`, from -1 (left) to 1.
fn steering(frame: &RgbImage, meant: impl Fn([u8; 3]) -> bool) -> Option<f32> {
    let columns: Vec<f32> = STEERING
        .filter(|&x| meant(frame.get_pixel(x, BARS).0))
        .map(|x| x as f32 + 0.5)
        .collect();
    let half = (STEERING.end - STEERING.start) as f32 / 2.0;
    let mean = columns.iter().sum::<f32>() / columns.len().max(1) as f32;
    (!columns.is_empty()).then_some((mean - STEERING.start as f32 - half) / half)
}

fn given(frame: &RgbImage) -> Option<f32> {
    steering(frame, |[r, g, b]| r > 200 && g > 200 && b > 200)
}

fn asked(frame: &RgbImage) -> Option<f32> {
    steering(frame, |[r, _, b]| r > 200 && b < 120)
}

fn picture(number: u64) -> RgbImage {
    RgbImage::from_fn(160, 120, |x, y| {
        let road = x.abs_diff(40 + number as u32) < 30;
        Rgb([x as u8, y as u8 + 100, if road { 200 } else { 40 }])
    })
}

fn jpeg(number: u64) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let format = image::ImageFormat::Jpeg;
    picture(number).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn start() -> Start {
    Start {
        version: "0.1.0".to_owned(),
        car: "a car".to_owned(),
        simulated: false,
        driver: "an engine".to_owned(),
        started_ns: 1_767_225_600_000_000_000,
        epoch_ns: 1_767_225_500_000_000_000,
        deadline_ms: 150.0,
        frame_period_ms: 50.0,
        wheelbase: 0.33,
        steering_range: 0.42,
        speed_to_throttle: Vec::new(),
        whole_drive: true,
        inputs: Inputs::default(),
    }
}

/// Two seconds at 20 Hz: to the left, to the right from 1 s, and stopped from 1.5 s. More is asked than
/// granted.
fn iteration(number: u64) -> Frame {
    let captured = 5_000_000_000 + number * 50_000_000;
    let mut record = FrameRecord::new(number, Time::from_nanos(captured));
    record.arrived = captured + 1_000_000;
    record.published = captured + 7_000_000;
    let mut frame = Frame::of(&record, 0);
    let steering = if number < 20 { 0.4 } else { -0.4 };
    frame.asked = [2.0 * steering, 0.5];
    frame.command = true;
    (frame.guard, frame.stop, frame.granted) = match number {
        0..30 => (Guard::Driving, None, Some([steering, 0.5])),
        _ => (Guard::Stopped, Some(Stop::Deadline), Some([0.0, 0.0])),
    };
    frame
}

/// Writes a log as `log.mcap`, with the pictures that `jpeg` gives.
fn write_log(folder: &Path, jpeg: impl Fn(u64) -> Option<Vec<u8>>) -> PathBuf {
    let path = folder.join("log.mcap");
    let mut log = LogWriter::new(File::create(&path).unwrap(), &start()).unwrap();
    for number in 0..=40 {
        let frame = iteration(number);
        if let Some(jpeg) = jpeg(number) {
            let (sequence, captured_ms) = (frame.sequence, frame.captured_ms);
            let picture = Picture {
                sequence,
                captured_ms,
                jpeg,
            };
            log.write(&Entry::Picture(picture)).unwrap();
        }
        log.write(&Entry::Frame(Box::new(frame))).unwrap();
        log.flush().unwrap();
    }
    log.finish().unwrap();
    path
}

fn logged() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path(), |number| Some(jpeg(number)));
    folder
}

#[test]
fn a_log_becomes_a_gif_with_the_steering_and_the_guards_state() {
    let folder = logged();
    let printed = made(folder.path(), &["log.mcap", "it.gif", "--width", "320"]);
    assert!(printed.contains("21 frames of 320x302"), "{printed}");
    let seen = frames(&folder.path().join("it.gif"));
    assert_eq!(seen.len(), 21);
    assert!(seen[..20].iter().all(|(_, delay)| *delay == 10));
    assert!(
        seen.iter()
            .all(|(frame, _)| frame.dimensions() == (320, 302))
    );
    // Left until 1 s, then right; more is asked than granted.
    for (index, sign) in [(1, -1.0), (8, -1.0), (11, 1.0), (13, 1.0)] {
        let (given, asked) = (given(&seen[index].0), asked(&seen[index].0));
        let (given, asked) = (given.unwrap(), asked.unwrap());
        assert!((given * sign - 0.2).abs() < 0.05, "{index}: {given}");
        assert!((asked * sign - 0.8).abs() < 0.05, "{index}: {asked}");
    }
    assert_eq!(given(&seen[19].0), None, "stopped");
    // The state is written in red when the car is stopped.
    let red = |frame: &RgbImage| {
        let panel = frame.enumerate_pixels().filter(|(_, y, _)| *y > PICTURE);
        let is_red = |[r, g, b]: [u8; 3]| r > 200 && g < 120 && b < 110;
        panel.filter(|(_, _, pixel)| is_red(pixel.0)).count()
    };
    assert!(red(&seen[10].0) == 0 && red(&seen[18].0) > 60);
    // The picture is that of the log.
    for (index, number) in [(0, 0), (10, 20), (20, 40)] {
        let original = picture(number);
        for (x, y) in [(20, 20), (60, 60), (140, 100)] {
            let (found, meant) = (
                seen[index].0.get_pixel(2 * x, 2 * y),
                original.get_pixel(x, y),
            );
            for channel in 0..3 {
                let difference = found.0[channel].abs_diff(meant.0[channel]);
                assert!(difference < 30, "{index} {x} {y}: {found:?} {meant:?}");
            }
        }
    }
}

#[test]
fn a_part_of_a_log_is_shown_at_any_speed_and_rate() {
    let folder = logged();
    let count = |arguments: &[&str]| {
        let arguments = [
            &["log.mcap", "it.gif", "--force", "--width", "160"],
            arguments,
        ]
        .concat();
        made(folder.path(), &arguments);
        let seen = frames(&folder.path().join("it.gif"));
        let stopped = seen.iter().filter(|(frame, _)| is_stopped(frame)).count();
        (seen.len(), stopped)
    };
    assert_eq!(count(&["--from", "0.5", "--to", "1"]), (6, 0));
    assert_eq!(count(&["--last", "0.4"]), (5, 5));
    assert_eq!(count(&["--speed-up", "4"]).0, 6);
    assert_eq!(count(&["--rate", "20"]).0, 41);
}

/// Whether a film of 160 pixels' width has a red state.
fn is_stopped(frame: &RgbImage) -> bool {
    let mut panel = frame.enumerate_pixels().filter(|(_, y, _)| *y > 120);
    panel.any(|(_, _, pixel)| pixel.0[0] > 200 && pixel.0[2] < 110 && pixel.0[1] < 120)
}

#[test]
fn a_folder_gets_numbered_pictures_and_the_line_for_a_video() {
    let folder = logged();
    let printed = made(folder.path(), &["log.mcap", "film", "--width", "320"]);
    let line = "ffmpeg -framerate 10 -i 'film/%05d.png' -pix_fmt yuv420p 'film.mp4'";
    assert!(printed.contains(line), "{printed}");
    let pictures = names(&folder.path().join("film"));
    assert_eq!(pictures.len(), 21);
    assert_eq!((&*pictures[0], &*pictures[20]), ("00001.png", "00021.png"));
    let last = image::open(folder.path().join("film/00009.png")).unwrap();
    let last = last.to_rgb8();
    assert_eq!(last.dimensions(), (320, 302));
    assert!(given(&last).unwrap() < -0.1);
}

#[test]
fn a_recording_becomes_a_film_with_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    fs::create_dir(&tape).unwrap();
    let mut list = "image_name,v,w,timestamp,steering,throttle\n".to_owned();
    for number in 0..20_u32 {
        let name = format!("{number:02}.png");
        picture(number.into()).save(tape.join(&name)).unwrap();
        let steering = f64::from(number) / 10.0 - 1.0;
        // A minute between two drives is not shown.
        let time = 0.1 * f64::from(number) + if number < 10 { 0.0 } else { 60.0 };
        list += &format!("{name},1.5,0,{time},{steering},0.3\n");
    }
    fs::write(tape.join("data.csv"), list).unwrap();
    made(folder.path(), &["tape", "it.gif", "--width", "320"]);
    let seen = frames(&folder.path().join("it.gif"));
    assert_eq!(seen.len(), 19);
    let right = given(&seen[2].0).unwrap();
    let left = given(&seen[18].0).unwrap();
    assert!(right > 0.3 && left < -0.3, "{right} {left}");
    assert_eq!(asked(&seen[2].0), None, "nothing is asked of a recording");
}

/// What a drive itself writes: the newest log of its folder.
#[test]
fn a_simulated_drive_becomes_a_film_that_shows_what_an_engine_steers_by() {
    let folder = tempfile::tempdir().unwrap();
    let drive = ["drive", "--pace", "fast", "--latency", "10"];
    let drive = [&drive[..], &["--time-limit", "4", "--log", "logs"]].concat();
    let driven = command(folder.path(), &drive).output().unwrap();
    assert_eq!(driven.status.code(), Some(1), "{}", err(&driven));
    let short = ["--width", "320", "--from", "2", "--to", "2.2"];
    made(
        folder.path(),
        &[&["logs", "plain.gif"], &short[..]].concat(),
    );
    let plain = frames(&folder.path().join("plain.gif"));
    assert_eq!(plain.len(), 3);
    let named = ["logs", "seen.gif", "--engine", "pilotnet"];
    made(folder.path(), &[&named, &short[..]].concat());
    let seen = frames(&folder.path().join("seen.gif"));
    let red = |frame: &RgbImage| {
        let picture = frame.enumerate_pixels().filter(|(_, y, _)| *y < 240);
        let red = picture.map(|(_, _, pixel)| i64::from(pixel.0[0]) - i64::from(pixel.0[2]));
        red.sum::<i64>()
    };
    let (before, after) = (red(&plain[0].0), red(&seen[0].0));
    assert!(after > before + 100_000, "{before} {after}");
}

#[test]
fn a_file_is_replaced_only_by_force() {
    let folder = logged();
    let arguments = ["log.mcap", "it.gif", "--width", "160", "--last", "0.2"];
    fs::write(folder.path().join("it.gif"), "of the user").unwrap();
    let error = refused(folder.path(), &arguments);
    assert!(error.contains("exists; name another file") && error.contains("--force"));
    made(folder.path(), &[&arguments[..], &["--force"]].concat());
    assert_eq!(frames(&folder.path().join("it.gif")).len(), 3);
    assert_eq!(names(folder.path()), ["it.gif", "log.mcap"]);

    fs::create_dir(folder.path().join("film")).unwrap();
    fs::write(folder.path().join("film/note"), "of the user").unwrap();
    fs::create_dir(folder.path().join("folder.gif")).unwrap();
    for out in ["film", "folder.gif", "log.mcap/it.gif", "missing/it.gif"] {
        let error = refused(folder.path(), &["log.mcap", out, "--force"]);
        assert!(error.contains(out), "{error}");
    }
    assert_eq!(names(&folder.path().join("film")), ["note"]);
}

#[test]
fn what_is_no_film_is_refused_with_a_reason() {
    let folder = logged();
    let cases: [(&[&str], &str); 11] = [
        (&["log.mcap", "it.mp4"], "ffmpeg"),
        (&["log.mcap", "it.png"], "end its name with .gif"),
        (
            &["log.mcap", "it.gif", "--from", "3"],
            "the pictures are of 2.0 s",
        ),
        (
            &["log.mcap", "it.gif", "--from", "1", "--to", "1"],
            "nothing is between",
        ),
        (
            &["log.mcap", "it.gif", "--last", "1", "--to", "1"],
            "cannot be used with",
        ),
        (
            &["log.mcap", "it.gif", "--speed-up", "0"],
            "must be 0.1 to 100",
        ),
        (&["log.mcap", "it.gif", "--rate", "0"], "1..=50"),
        (&["log.mcap", "it.gif", "--width", "5"], "160..=1920"),
        (&["log.mcap", "it.gif", "--engine", "nosuch"], "nosuch"),
        (&["missing.mcap", "it.gif"], "missing.mcap"),
        (&[".", "it.gif"], "no pictures"),
    ];
    for (arguments, reason) in cases {
        let error = refused(folder.path(), arguments);
        assert!(error.contains(reason), "{arguments:?}: {error}");
    }
}

#[test]
fn a_log_without_pictures_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path(), |_| None);
    let error = refused(folder.path(), &["log.mcap", "it.gif"]);
    assert!(error.contains("has no pictures"), "{error}");
    assert!(error.contains("pilotage record"), "{error}");
}

#[test]
fn damaged_logs_are_shown_as_far_as_they_go_or_refused() {
    let folder = logged();
    let log = folder.path().join("log.mcap");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() / 2]).unwrap();
    let output = film(folder.path(), &["log.mcap", "it.gif", "--width", "160"]);
    assert!(output.status.success(), "{}", err(&output));
    assert!(err(&output).contains("warning"), "{}", err(&output));
    let count = frames(&folder.path().join("it.gif")).len();
    assert!((5..16).contains(&count), "{count}");

    for bytes in [&b"GIF89a"[..], b"", &whole[..40]] {
        fs::write(&log, bytes).unwrap();
        let error = refused(folder.path(), &["log.mcap", "no.gif"]);
        assert!(error.contains("log.mcap"), "{error}");
    }
    // Some bad pictures are passed over, and many are refused.
    let bad = |every: u64| {
        write_log(folder.path(), |number| match number % every {
            1 => Some(b"no picture".to_vec()),
            _ => Some(jpeg(number)),
        });
    };
    bad(35);
    let output = film(
        folder.path(),
        &["log.mcap", "two.gif", "--width", "160", "--rate", "20"],
    );
    assert!(
        err(&output).contains("2 of 41 pictures"),
        "{}",
        err(&output)
    );
    assert_eq!(frames(&folder.path().join("two.gif")).len(), 41);
    bad(2);
    let error = refused(folder.path(), &["log.mcap", "no.gif", "--rate", "20"]);
    assert!(error.contains("more than 5 %"), "{error}");
}

#[test]
fn after_a_signal_nothing_is_left() {
    for (out, part) in [("it.gif", "it.gif."), ("film", "film.")] {
        let folder = logged();
        // Thousands of frames, which take a while.
        let arguments = ["film", "log.mcap", out, "--rate", "50", "--speed-up", "0.1"];
        let arguments = [&arguments[..], &["--width", "1920"]].concat();
        let running = Running::start(command(folder.path(), &arguments));
        let is_begun = || names(folder.path()).iter().any(|it| it.starts_with(part));
        wait_for(Duration::from_secs(60), "it begins", is_begun);
        running.kill(Signal::INT);
        let ended = running.end();
        assert_eq!(ended.status.code(), Some(1), "{}", err(&ended));
        assert!(err(&ended).contains("no film is written"));
        assert_eq!(names(folder.path()), ["log.mcap"]);
    }
}
