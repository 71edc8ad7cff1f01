//! The progress of a compilation on standard error: a line that is rewritten on a terminal, else
//! lines.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pilotage_compiler::{Observer, Stage};

/// The time between two updates on a terminal.
const UPDATE: Duration = Duration::from_millis(100);
/// The time between two lines of a stage elsewhere.
const LINE: Duration = Duration::from_secs(10);

/// Shows the stages of a compilation. Each stage leaves a line with its duration.
pub(super) struct Display<W: FnMut(&str) + Send> {
    terminal: bool,
    /// Where results of earlier compilations come from.
    cache: String,
    /// Frames of the present pass that are done.
    done: AtomicUsize,
    shown: Mutex<Shown<W>>,
}

struct Shown<W> {
    write: W,
    present: Option<Present>,
    /// When the latest text was written.
    written: Instant,
}

/// The stage that is shown.
struct Present {
    stage: Stage,
    began: Instant,
    passes: usize,
    /// Passes whose result was known.
    reused: usize,
    /// Frames of the present pass.
    frames: usize,
}

impl Present {
    fn new(stage: Stage, passes: usize, frames: usize) -> Self {
        Self {
            stage,
            began: Instant::now(),
            passes,
            reused: 0,
            frames,
        }
    }
}

impl Display<fn(&str)> {
    /// A display on standard error. `cache` is the file with the results of earlier compilations.
    pub(super) fn new(cache: Option<&Path>) -> Self {
        // Progress that cannot be shown does not end the compilation.
        let write: fn(&str) = |text| drop(pilotage_console::write_to_stderr(text.as_bytes()));
        let cache = cache.map(|file| file.display().to_string());
        Self::to(write, io::stderr().is_terminal(), cache.unwrap_or_default())
    }
}

impl<W: FnMut(&str) + Send> Display<W> {
    fn to(write: W, terminal: bool, cache: String) -> Self {
        Self {
            terminal,
            cache,
            done: AtomicUsize::new(0),
            shown: Mutex::new(Shown {
                write,
                present: None,
                written: Instant::now(),
            }),
        }
    }

    /// Shows the end of the last stage.
    pub(super) fn finish(&self) {
        self.shown().end(self.terminal, &self.cache);
    }

    fn shown(&self) -> MutexGuard<'_, Shown<W>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: FnMut(&str) + Send> Observer for Display<W> {
    fn pass(&self, stage: Stage, frames: usize) {
        let mut shown = self.shown();
        self.done.store(0, Ordering::Relaxed);
        match &mut shown.present {
            Some(present) if present.stage == stage => {
                present.passes += 1;
                present.frames = frames;
            }
            _ => {
                shown.end(self.terminal, &self.cache);
                shown.present = Some(Present::new(stage, 1, frames));
                shown.update(self.terminal, 0);
            }
        }
    }

    fn reused(&self, stage: Stage) {
        let mut shown = self.shown();
        if (shown.present.as_ref()).is_none_or(|present| present.stage != stage) {
            shown.end(self.terminal, &self.cache);
            shown.present = Some(Present::new(stage, 0, 0));
        }
        if let Some(present) = &mut shown.present {
            present.reused += 1;
        }
    }

    fn frame(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        // Another thread that shows the progress suffices.
        if let Ok(mut shown) = self.shown.try_lock() {
            let every = if self.terminal { UPDATE } else { LINE };
            if shown.written.elapsed() >= every {
                shown.update(self.terminal, done);
            }
        }
    }
}

impl<W: FnMut(&str)> Shown<W> {
    /// Shows how far the present pass is.
    fn update(&mut self, terminal: bool, done: usize) {
        let Some(present) = &self.present else {
            return;
        };
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{}: ", present.stage.name());
        if present.passes > 1 {
            let _ = write!(text, "pass {}, ", present.passes);
        }
        let _ = write!(text, "{done} of {} frames", present.frames);
        let seconds = present.began.elapsed().as_secs();
        if seconds > 0 {
            let _ = write!(text, ", {seconds} s");
        }
        let text = match (terminal, done) {
            (true, _) => format!("\r\x1b[2K{text}"),
            // Elsewhere the end of a stage gets a line, and its beginning none.
            (false, 0) => String::new(),
            (false, _) => format!("{text}\n"),
        };
        (self.write)(&text);
        self.written = Instant::now();
    }

    /// Shows the end of the present stage.
    fn end(&mut self, terminal: bool, cache: &str) {
        let Some(present) = self.present.take() else {
            return;
        };
        let clear = if terminal { "\r\x1b[2K" } else { "" };
        let what = match (present.passes, present.reused) {
            (0, _) => format!("reused from {cache}"),
            (1, 0) => format!("{} frames", present.frames),
            (passes, 0) => format!("{passes} passes"),
            (1, reused) => format!("1 pass, {reused} more reused from {cache}"),
            (passes, reused) => format!("{passes} passes, {reused} more reused from {cache}"),
        };
        let text = format!(
            "{clear}{}: {what}, {:.1} s\n",
            present.stage.name(),
            present.began.elapsed().as_secs_f64()
        );
        (self.write)(&text);
        self.written = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 4] = [
        "reading: 3 frames, TIME",
        "calibration: 2 passes, TIME",
        "search: reused from net.cache, TIME",
        "gate: 1 pass, 1 more reused from net.cache, TIME",
    ];

    /// What is shown of several stages, without the times.
    fn shown(terminal: bool) -> String {
        let text = Mutex::new(String::new());
        let write = |part: &str| text.lock().unwrap().push_str(part);
        let display = Display::to(write, terminal, "net.cache".to_owned());
        display.pass(Stage::Frames, 3);
        for _ in 0..3 {
            display.frame();
        }
        display.pass(Stage::Calibration, 2);
        display.frame();
        display.pass(Stage::Calibration, 2);
        display.reused(Stage::Search);
        display.pass(Stage::Gate, 2);
        display.reused(Stage::Gate);
        display.finish();
        display.finish();
        let text = text.into_inner().unwrap();
        let lines = text
            .split_inclusive('\n')
            .map(|line| match line.rsplit_once(", ") {
                Some((stage, _)) => format!("{stage}, TIME\n"),
                None => line.to_owned(),
            });
        lines.collect()
    }

    #[test]
    fn each_stage_leaves_a_line() {
        let lines: Vec<_> = shown(false).lines().map(str::to_owned).collect();
        assert_eq!(lines, LINES);
    }

    #[test]
    fn a_terminal_shows_the_present_stage_in_one_line() {
        let text = shown(true);
        assert!(
            text.starts_with("\r\x1b[2Kreading: 0 of 3 frames\r\x1b[2K"),
            "{text:?}"
        );
        // All but the lines that are left were cleared.
        let left: Vec<_> = text
            .split('\n')
            .map(|line| line.rsplit("\x1b[2K").next().unwrap())
            .collect();
        assert_eq!(left, [&LINES[..], &[""]].concat());
    }

    #[test]
    fn a_long_pass_shows_how_far_it_is() {
        let text = Mutex::new(String::new());
        let write = |part: &str| text.lock().unwrap().push_str(part);
        let display = Display::to(write, false, String::new());
        display.pass(Stage::Gate, 9);
        display.frame();
        // As after the time between two lines.
        display.shown().update(false, 4);
        display.pass(Stage::Gate, 9);
        display.shown().update(false, 5);
        let text = text.into_inner().unwrap();
        assert_eq!(text, "gate: 4 of 9 frames\ngate: pass 2, 5 of 9 frames\n");
    }
}
