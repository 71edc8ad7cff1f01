//! The real programs for a long time: `pilotage drive` at 60 frames per second with the INT8
//! engine, its guard, and motors that move nothing.
//!
//! `cargo xtask soak` runs it for 100,000 frames and prints the time from the sensor until the
//! guard acts. PILOTAGE_SOAK is the number of frames; PILOTAGE_SOAK_BUSY keeps the second core
//! busy.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print their measurements"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

#[path = "support/film.rs"]
mod film;

use film::{RUN, film};

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
    let mut drive = Command::new(env!("CARGO_BIN_EXE_pilotage"));
    drive.args(["drive", "--json", "--frames", &frames.to_string(), "--car"]);
    drive.arg(&file).stdin(Stdio::null());
    let driven = drive.output().unwrap();
    end.store(true, Ordering::Relaxed);
    if let Some(spin) = spin {
        spin.join().unwrap();
    }
    let printed = String::from_utf8_lossy(&driven.stderr);
    assert!(driven.status.success(), "{printed}");
    let report: serde_json::Value = serde_json::from_slice(&driven.stdout).unwrap();
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
