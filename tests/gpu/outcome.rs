//! What a drive must do when a call fails, from docs/tensorrt.md, and what it did.

use std::collections::BTreeMap;
use std::path::Path;

use crate::repeat::check_timing;
use crate::run::{DriveOptions, DriveReport, When};

/// The failure modes of each call, and their notation in faults.h.
pub const FAILURE_MODES: [(&str, &str); 3] = [
    ("fails", "fail"),
    ("is late", "once 400"),
    ("hangs", "hang"),
];

/// The outcome of one call's fault, in the words of docs/tensorrt.md and without its times. The
/// times are checked against their limits here.
pub fn outcome(
    case: &Case,
    cpu: &DriveReport,
    report: &DriveReport,
) -> Result<&'static str, String> {
    let options = case.options();
    let &Case {
        when,
        ref call,
        mode,
        ..
    } = case;
    let case = || {
        let DriveReport { notes, left, .. } = report;
        let (error, fallbacks) = (&report.error, &report.fallbacks);
        format!(
            "{call} {mode}, {when:?}: {notes:?} {error:?} {left:?} {fallbacks:?} first {} ms, \
             longest {} ms, started {} ms",
            report.first, report.longest, report.started
        )
    };
    assert!(
        report.error.is_none() && report.stopped.is_none(),
        "{}",
        case()
    );
    // The commands must be the same, whichever engine answers.
    let (count, frames) = (report.commands.len(), options.frames);
    assert!(Some(count) == frames, "{}", case());
    assert_eq!(report.commands, cpu.commands[..count], "{}", case());
    let releases = ["Destroy", "Free", "Release"];
    let all_released = match (when, mode) {
        // A process that is in a call is killed; the kernel releases what it held.
        (When::Start, "hangs") | (When::MidLap, "is late" | "hangs") => false,
        // Memory is kept if it is unknown whether the work on it has finished.
        (When::Start, "fails") if ["cuEventQuery", "cuEventRecord"].contains(&&**call) => false,
        // What cannot be released remains.
        (_, "fails") if releases.iter().any(|word| call.contains(word)) => false,
        (When::End, "fails") => false,
        _ => true,
    };
    if all_released {
        assert!(report.left.is_empty() && report.released, "{}", case());
    }
    // Rule 1: within the deadline, which is 175 ms.
    check_timing(report.longest < 175.0, case)?;
    let waited = report.started >= START_S * 1e3;
    match when {
        When::Start if !report.notes.is_empty() => {
            assert_eq!(report.backend.find("TensorRT"), None, "{}", case());
            Ok(match waited {
                true => "the CPU drives, reported after `gpu_start_s`",
                false => "the CPU drives, reported at once",
            })
        }
        When::Start if mode == "is late" => {
            assert!(report.started >= LATE_MS, "{}", case());
            Ok("the GPU drives, later")
        }
        When::Start => Ok("the GPU drives"),
        _ if report.fallbacks.is_empty() => Ok("nothing changes"),
        When::MidLap => {
            check_timing(report.fallbacks[0] == FAILS, case)?;
            // An error is known at once; a call that does not return is waited for.
            match mode {
                "fails" => check_timing(report.first < LIMIT_MS, case)?,
                _ => assert!(report.first >= LIMIT_MS, "{}", case()),
            }
            Ok("the CPU answers")
        }
        When::WarmUp => {
            check_timing(report.fallbacks[0] == 0, case)?;
            Ok("the CPU answers")
        }
        When::End => panic!("{}", case()),
    }
}

/// The frames at which a fault of [`When::MidLap`] begins and ends, and of the whole drive.
pub const FAILS: usize = 24;
const HEALS: usize = 40;
const FRAMES: usize = 52;

/// `gpu_start_s` for a call that hangs while the engine is loaded.
pub const START_S: f64 = 1.0;
/// The delay of a late call.
const LATE_MS: f64 = 400.0;
/// `gpu_limit_ms` (gpu/run.rs).
const LIMIT_MS: f64 = 50.0;

/// A call, its failure mode, and the part of a drive.
pub struct Case {
    pub when: When,
    pub call: String,
    pub mode: &'static str,
    pub notation: &'static str,
}

impl Case {
    /// The drive with this fault: as short as its outcome allows, since there are hundreds.
    pub fn options(&self) -> DriveOptions {
        let frames = match (self.when, self.mode) {
            // The engine's process ends in order if it is free again before the drive ends.
            (When::WarmUp, "is late") => 160,
            _ => FRAMES,
        };
        DriveOptions {
            fault: Some((self.when, format!("{} {}", self.call, self.notation))),
            fails: FAILS,
            heals: HEALS,
            frames: Some(frames),
            ..DriveOptions::default()
        }
    }
}

/// The outcomes in docs/tensorrt.md for each call in each part of a drive and each of
/// [`FAILURE_MODES`], without the measured times.
pub fn documented() -> BTreeMap<(When, String), Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tensorrt.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page
        .split_once("| while | call | fails | 400 ms late | hangs |\n")
        .unwrap();
    let mut found = BTreeMap::new();
    for row in table.lines().skip(1).take_while(|row| row.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [part, calls, outcomes @ ..] = &cells[..] else {
            panic!("{row}");
        };
        let when = match *part {
            "loading" => When::Start,
            "warm-up" => When::WarmUp,
            "mid-lap" => When::MidLap,
            "giving back" => When::End,
            _ => panic!("{row}"),
        };
        let outcomes: Vec<String> = outcomes.iter().map(|cell| untimed(cell)).collect();
        assert_eq!(outcomes.len(), FAILURE_MODES.len(), "{row}");
        for call in calls.split(',') {
            let call = call.trim().trim_matches('`').to_owned();
            let before = found.insert((when, call), outcomes.clone());
            assert!(before.is_none(), "a call is in two rows: {row}");
        }
    }
    found
}

/// Removes "after 53 ms" and "0.5 s".
fn untimed(cell: &str) -> String {
    match cell.split_once(" after ") {
        Some((outcome, time)) if time.starts_with(|c: char| c.is_ascii_digit()) => {
            outcome.to_owned()
        }
        _ => cell.replace("0.5 s ", ""),
    }
}
