//! docs/log-lines.md explains every line that the guard and the pilot of a real car write.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Files that write lines themselves.
const WRITERS: [&str; 16] = [
    "crates/guard/src/daemon/process.rs",
    "crates/guard/src/daemon.rs",
    "crates/guard/src/daemon/watcher.rs",
    "crates/guard/src/drivers",
    "crates/tensorrt/src/session.rs",
    "crates/camera/src",
    "crates/lidar/src",
    "src/commands/compile/machine.rs",
    "src/drive",
    "src/engines/fallback.rs",
    "src/engines/process/keeper.rs",
    "src/operator",
    "src/guarded/real.rs",
    "src/recorder",
    "src/recorder.rs",
    "src/sensors",
];
const MARKS: [&str; 5] = [
    "log::error!(",
    "log::warn!(",
    "log::info!(",
    "say(",
    "print(",
];

/// Errors and reasons that appear in such lines. Those of car.toml's keys and of TensorRT are left
/// out, as the page states.
const REASONS: [&str; 30] = [
    "crates/engine/src/decoder.rs",
    "crates/guard/src/executor/actuator.rs",
    "crates/guard/src/drivers/device_lock.rs",
    "crates/guard/src/drivers/failure.rs",
    "crates/guard/src/drivers/i2c.rs",
    "crates/guard/src/drivers/open.rs",
    "crates/guard/src/drivers/worker.rs",
    "crates/guard/src/daemon.rs",
    "crates/guard/src/protocol/link.rs",
    "crates/guard/src/daemon/process.rs",
    "crates/guard/src/protocol/socket_link.rs",
    "crates/guard-policy/src/state.rs",
    "crates/vehicle/src/fault.rs",
    "crates/guard/src/daemon/stop.rs",
    "crates/guard/src/protocol/users.rs",
    "crates/camera/src/error.rs",
    "crates/camera/src/supervised.rs",
    "crates/lidar/src/error.rs",
    "src/engines.rs",
    "src/engines/embedded.rs",
    "src/engines/process.rs",
    "crates/gamepad/src/lib.rs",
    "src/operator.rs",
    "src/pilot.rs",
    "src/recorder.rs",
    "src/recorder/folder.rs",
    "src/sensors.rs",
    "src/sensors/iio.rs",
    "src/sensors/imu.rs",
    "src/signature.rs",
];

/// The least length of a literal part between two placeholders that identifies a line.
const LEAST_PART: usize = 8;

#[test]
fn every_line_of_guard_and_pilot_is_explained() {
    let page = fs::read_to_string(root().join("docs/log-lines.md")).unwrap();
    let page = one_line(&page);
    let mut lines = Vec::new();
    for file in WRITERS.iter().flat_map(|place| sources(place)) {
        lines.extend(literals(&file, &MARKS));
    }
    let written = lines.len();
    for file in REASONS.iter().flat_map(|place| sources(place)) {
        lines.extend(literals(&file, &["#[error("]));
    }
    assert!(
        written > 20 && lines.len() > written + 30,
        "what is looked for is no longer written like that: {written}, {}",
        lines.len()
    );
    let unexplained: Vec<&String> = lines
        .iter()
        .filter(|line| !parts(line).all(|part| page.contains(&part)))
        .collect();
    assert!(
        unexplained.is_empty(),
        "docs/log-lines.md says nothing of {unexplained:#?}"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files at `place`, a file or a folder.
fn sources(place: &str) -> Vec<PathBuf> {
    let path = root().join(place);
    if path.is_file() {
        return vec![path];
    }
    let files: Vec<PathBuf> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| path.file_name().is_some_and(|name| name != "tests.rs"))
        .collect();
    assert!(!files.is_empty(), "{place}");
    files
}

/// The string literals that follow each of `marks`, outside of a file's tests.
fn literals(file: &Path, marks: &[&str]) -> Vec<String> {
    let source = fs::read_to_string(file).unwrap();
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for mark in marks {
        for (at, _) in source.match_indices(mark) {
            let rest = source[at + mark.len()..].trim_start();
            let formatted = ["&format!(", "format_args!("];
            let formatted = formatted.iter().find_map(|mark| rest.strip_prefix(mark));
            let rest = formatted.unwrap_or(rest).trim_start();
            if let Some(text) = rest.strip_prefix('"') {
                found.push(literal(text));
            }
        }
    }
    found
}

/// The text of a string literal, up to its closing quote.
fn literal(text: &str) -> String {
    let mut content = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => match characters.next() {
                // A continued line; its indentation is removed.
                Some('\n') => content.push('\n'),
                Some('r' | 'x' | 'n') | None => {}
                Some(other) => content.push(other),
            },
            other => content.push(other),
        }
    }
    // White space before a continued line is not part of the text.
    one_line(&content.replace(" \n", "\n"))
}

/// The literal parts between the placeholders.
fn parts(line: &str) -> impl Iterator<Item = String> {
    let mut outside = Vec::new();
    let (mut part, mut depth) = (String::new(), 0_u32);
    for character in line.chars() {
        match character {
            '{' => {
                depth += 1;
                outside.push(std::mem::take(&mut part));
            }
            '}' => depth = depth.saturating_sub(1),
            other if depth == 0 => part.push(other),
            _ => {}
        }
    }
    outside.push(part);
    outside
        .into_iter()
        .map(|part| part.trim().to_owned())
        .filter(|part| part.chars().count() >= LEAST_PART)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
