//! Messages to standard error and output to standard output, for programs that drive.
//!
//! [`say`] and the `log` macros put a message into a bounded ring and return at once: they
//! never wait for a terminal or a reader. A thread of its own writes to standard error. While
//! standard error is blocked, messages that do not fit are dropped and counted; a closed one
//! is an end of output, not an error. [`print`] writes to standard output for one-shot
//! commands and treats a reader that is gone as an end of output.
//!
//! A program calls [`run`] from `main`, before it asks for real-time priority and after it
//! blocks signals: the writer inherits both from the thread that starts it.

mod faults;
mod logger;
mod output;
mod panics;
mod repeats;
mod reporter;
mod ring;
mod time;

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

pub use faults::FaultReports;
pub use output::{out, print, print_within, write_to_stderr};
pub use repeats::{Note, Repeats};
pub use reporter::{Reporter, Sink};

use ring::Kind;

/// Longest wait for messages at the end of a program.
pub const FLUSH: Duration = Duration::from_millis(200);
/// Exit status of a program whose main function panicked, as Rust's runtime has it.
const PANICKED: u8 = 101;
/// Exit status where standard output did not take what was printed.
const NOT_PRINTED: u8 = 2;

static REPORTER: OnceLock<Reporter> = OnceLock::new();

fn reporter() -> &'static Reporter {
    REPORTER.get_or_init(|| Reporter::new(output::Stderr))
}

/// Starts the writer, becomes the logger of the `log` macros (level `warn`, or what RUST_LOG
/// asks for), and reports panics through the same ring. A second call changes nothing.
pub fn start() {
    reporter();
    panics::report();
    if let Err(error) = logger::install() {
        say(format_args!("warning: RUST_LOG: {error}"));
    }
}

/// Starts the console, runs `main`, and writes what is left of its messages, which takes at
/// most [`FLUSH`].
pub fn run(main: impl FnOnce() -> ExitCode) -> ExitCode {
    start();
    // The panic itself is reported by the hook; what it left behind is not used again.
    let code = catch_unwind(AssertUnwindSafe(main)).unwrap_or(ExitCode::from(PANICKED));
    finish(code)
}

/// Prints a message as a line on standard error, and never blocks. The same text again and
/// again is printed once, then with a count.
pub fn say(text: impl Display) {
    reporter().say(Kind::Coalesced, text);
}

/// Like [`say`], for text that matters each time: answers to an operator, changes of state.
pub fn say_always(text: impl Display) {
    reporter().say(Kind::Each, text);
}

/// Waits until what was said so far is written, or for `limit`. Returns whether all is written.
pub fn flush(limit: Duration) -> bool {
    REPORTER.get().is_none_or(|reporter| reporter.flush(limit))
}

/// Ends the output and returns the exit status: `code`, unless that is a success and
/// standard output failed. Takes at most [`FLUSH`].
pub fn finish(code: ExitCode) -> ExitCode {
    let mut code = code;
    if let Some(error) = output::failure() {
        say_always(format_args!("error: standard output: {error}"));
        if code == ExitCode::SUCCESS {
            code = ExitCode::from(NOT_PRINTED);
        }
    }
    if let Some(reporter) = REPORTER.get() {
        reporter.finish(FLUSH);
    }
    code
}
