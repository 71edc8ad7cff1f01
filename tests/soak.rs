//! The real programs for a long time: `pilotage drive` at 60 frames per second with the INT8
//! engine, its guard, and motors that move nothing.
//!
//! `cargo xtask soak` runs it for 100,000 frames and prints the time from the sensor until the
//! guard acts. PILOTAGE_SOAK is the number of frames; PILOTAGE_SOAK_BUSY keeps the second core
//! busy; PILOTAGE_OBSERVED opens the page in Chromium, logs the drive and lets an observer hang.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print their measurements"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

#[path = "browser/chromium.rs"]
#[allow(dead_code, reason = "the page's own tests use more of it")]
mod chromium;
#[path = "support/film.rs"]
mod film;
#[path = "support/observed.rs"]
mod observed;

use film::{RUN, film};
use observed::Observers;

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");
const RATE: u32 = 60;
/// The largest share of the camera's frames that may be skipped, not reach the guard, or have no
/// known reaction: a shared machine sometimes takes the core away for longer than a frame.
const MOST_LOST: f64 = 0.02;
/// The largest duration of the drive as a multiple of the nominal duration of its frames, with half
/// a second more for the first frame.
const MOST_WALL: f64 = 1.05;
const FIRST_FRAME: f64 = 0.5;
/// The guard acts on 99 of 100 commands before the next frame.
const MOST_REACTION: Duration = Duration::from_nanos(1_000_000_000 / RATE as u64);

/// Drives the car of `folder` for `frames` frames, observed if that is asked for. Returns the report.
fn drive(folder: &Path, frames: u64) -> serde_json::Value {
    let mut drive = Command::new(PILOTAGE);
    drive.args(["drive", "--json", "--frames", &frames.to_string(), "--car"]);
    drive.arg(folder.join("car.toml")).stdin(Stdio::null());
    if observed::asked() {
        drive.args(observed::arguments(folder));
    }
    drive.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut observers = observed::asked().then(Observers::start);
    let mut driven = drive.spawn().unwrap();
    let stderr = driven.stderr.take().unwrap();
    let printed = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&printed);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            *shared.lock().unwrap() += &(line + "\n");
        }
    });
    let messages = || printed.lock().unwrap().clone();
    if let Some(observers) = &mut observers {
        let began = Instant::now();
        while observed::address(&messages()).is_none() {
            assert!(began.elapsed() < Duration::from_secs(30), "{}", messages());
            std::thread::sleep(Duration::from_millis(10));
        }
        let url = messages();
        let url = observed::address(&url).unwrap();
        observers.watch(Path::new(PILOTAGE), url, folder);
    }
    let driven = driven.wait_with_output().unwrap();
    assert!(driven.status.success(), "{}", messages());
    reader.join().unwrap();
    if let Some(observers) = &mut observers {
        let shown = observers.shown();
        println!("observed: page, log and an observer that hangs; the page counted {shown} frames");
        assert!(10 * shown > 7 * frames, "{shown} of {frames} shown");
    }
    serde_json::from_slice(&driven.stdout).unwrap()
}

#[test]
fn every_frame_reaches_the_guard() {
    let frames = std::env::var("PILOTAGE_SOAK").ok();
    let frames: u64 = frames.map_or(1800, |frames| frames.parse().unwrap());
    let busy = std::env::var_os("PILOTAGE_SOAK_BUSY").is_some();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("camera.pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let socket = folder.path().join("guard.sock");
    let text = format!(
        "[camera]\nkind = \"pipe\"\ncommand = [\"cat\", {pipe:?}]\nformat = \"GREY\"\n\
         width = 640\nheight = 480\nrate = {RATE}\n\
         [guard]\nsocket = {socket:?}\n\
         [actuator]\nkind = \"dry-run\"\n"
    );
    let file = folder.path().join("car.toml");
    fs::write(&file, text).unwrap();
    let period = Duration::from_secs(1) / RATE;
    let camera = Arc::new(AtomicU8::new(RUN));
    std::thread::spawn(move || film(&pipe, period, &camera));
    let end = Arc::new(AtomicBool::new(false));
    let spin = busy.then(|| {
        let end = Arc::clone(&end);
        std::thread::spawn(move || while !end.load(Ordering::Relaxed) {})
    });
    let report = drive(folder.path(), frames);
    end.store(true, Ordering::Relaxed);
    if let Some(spin) = spin {
        spin.join().unwrap();
    }
    let number = |of: &serde_json::Value| of.as_f64().unwrap();
    let timing = &report["timing"];
    println!(
        "| from the first byte of a frame to | median ms | 99 % ms | 99.9 % ms | longest ms |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for (what, spread) in [
        ("the guard's acting on its command", &timing["reaction"]),
        ("of it the pilot's thinking", &timing["thinking"]),
    ] {
        let [median, p99, p999, longest] =
            ["p50_us", "p99_us", "p999_us", "max_us"].map(|key| number(&spread[key]) / 1e3);
        println!("| {what} | {median:.2} | {p99:.2} | {p999:.2} | {longest:.2} |");
    }
    println!(
        "{frames} frames, busy second core: {busy}; {}",
        report["frames"]
    );
    println!("guard: {}", report["guard"]);
    let wall = number(&report["wall_seconds"]);
    let without_reaction = frames as f64 - number(&timing["reactions"]);
    println!("{wall:.2} s; commands without a known reaction: {without_reaction}");
    assert_eq!(number(&timing["frames"]), frames as f64);
    // `--frames` counts the frames that the pilot took; the camera's other frames count too.
    let missed = number(&timing["missed_frames"]);
    let [skipped, lost, broken] =
        ["skipped", "lost", "broken"].map(|key| number(&report["frames"][key]));
    let unseen = missed.max(skipped + lost + broken);
    let most = |of: f64| of * MOST_LOST;
    assert!(
        unseen <= most(frames as f64 + unseen),
        "{missed} missed, {skipped} skipped, {lost} lost, {broken} broken beside {frames} seen"
    );
    assert_eq!(number(&report["frames"]["reopened"]), 0.0);
    let accepted = number(&report["guard"]["accepted"]);
    assert!(
        accepted >= frames as f64 - most(frames as f64),
        "{accepted} of {frames} accepted"
    );
    assert!(
        without_reaction <= most(frames as f64),
        "{without_reaction} of {frames} without a known reaction"
    );
    let by_rate = frames as f64 / f64::from(RATE);
    assert!(
        wall <= by_rate * MOST_WALL + FIRST_FRAME,
        "{wall} s for {by_rate} s of frames"
    );
    let reaction = number(&timing["reaction"]["p99_us"]);
    assert!(
        reaction <= MOST_REACTION.as_secs_f64() * 1e6,
        "99 % of the reactions within {reaction} us"
    );
    assert_eq!(number(&report["guard"]["write_errors"]), 0.0);
}
