//! The progress of a compilation on standard error: a line that is rewritten on a terminal, else
//! lines.

use std::fmt::Write;
use std::io::{self, IsTerminal};
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
    /// Frames of the present pass.
    frames: usize,
}

impl Display<fn(&str)> {
    /// A display on standard error.
    pub(super) fn new() -> Self {
        // Progress that cannot be shown does not end the compilation.
        let write: fn(&str) = |text| drop(pilotage_console::write_to_stderr(text.as_bytes()));
        Self::to(write, io::stderr().is_terminal())
    }
}

impl<W: FnMut(&str) + Send> Display<W> {
    fn to(write: W, terminal: bool) -> Self {
        Self {
            terminal,
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
        self.shown().end(self.terminal);
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
                shown.end(self.terminal);
                shown.present = Some(Present {
                    stage,
                    began: Instant::now(),
                    passes: 1,
                    frames,
                });
                shown.update(self.terminal, 0);
            }
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
    fn end(&mut self, terminal: bool) {
        let Some(present) = self.present.take() else {
            return;
        };
        let clear = if terminal { "\r\x1b[2K" } else { "" };
        let what = match present.passes {
            1 => format!("{} frames", present.frames),
            passes => format!("{passes} passes"),
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

    /// What is shown of two stages, without the times.
    fn shown(terminal: bool) -> String {
        let text = Mutex::new(String::new());
        let display = Display::to(|part: &str| text.lock().unwrap().push_str(part), terminal);
        display.pass(Stage::Frames, 3);
        for _ in 0..3 {
            display.frame();
        }
        display.pass(Stage::Calibration, 2);
        display.frame();
        display.pass(Stage::Calibration, 2);
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
        let lines = "reading: 3 frames, TIME\ncalibration: 2 passes, TIME\n";
        assert_eq!(shown(false), lines);
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
        assert_eq!(
            left,
            ["reading: 3 frames, TIME", "calibration: 2 passes, TIME", ""]
        );
    }

    #[test]
    fn a_long_pass_shows_how_far_it_is() {
        let text = Mutex::new(String::new());
        let display = Display::to(|part: &str| text.lock().unwrap().push_str(part), false);
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
