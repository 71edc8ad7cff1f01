//! How far a pass over many pictures is, on standard error: a line that is rewritten on a terminal, elsewhere a line
//! every ten seconds.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

const UPDATE: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(10);

/// Shows the frames that are done and the time that is left. Dropped, it clears its line.
pub(crate) struct Progress {
    what: String,
    done: usize,
    of: usize,
    began: Instant,
    shown: Instant,
    is_terminal: bool,
}

impl Progress {
    /// The start of a pass over `of` frames; `what` names it.
    pub fn new(what: String, of: usize) -> Self {
        Self {
            what,
            done: 0,
            of,
            began: Instant::now(),
            shown: Instant::now(),
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Counts a frame.
    pub fn frame(&mut self) {
        self.done += 1;
        let every = if self.is_terminal { UPDATE } else { LINE };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let line = line(&self.what, self.done, self.of, self.began.elapsed());
        write(&match self.is_terminal {
            true => format!("\r\x1b[2K{line}"),
            false => format!("{line}\n"),
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            write("\r\x1b[2K");
        }
    }
}

/// Progress that cannot be shown does not end the pass.
fn write(text: &str) {
    let _ = pilotage_console::write_to_stderr(text.as_bytes());
}

fn line(what: &str, done: usize, of: usize, took: Duration) -> String {
    let left = took.as_secs_f64() * of.saturating_sub(done) as f64 / done.max(1) as f64;
    format!("{what}: {done} of {of} frames, {left:.0} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_follows_from_the_frames_that_are_done() {
        let text = line("replay of it", 25, 100, Duration::from_secs(10));
        assert_eq!(text, "replay of it: 25 of 100 frames, 30 s left");
        assert_eq!(
            line("replay of it", 0, 0, Duration::ZERO),
            "replay of it: 0 of 0 frames, 0 s left"
        );
    }
}
