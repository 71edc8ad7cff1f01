//! Messages to standard error and output to standard output, for programs that drive a car.
//!
//! [`say`] and the `log` macros put a message into a bounded ring and return at once: they never
//! wait for a terminal or a reader. A separate thread writes to standard error. While standard
//! error is blocked, messages that do not fit are dropped and counted. Control characters in messages
//! are replaced ([`printable()`]). A closed standard error ends
//! the output and is not an error. [`print()`] writes to standard output for one-shot commands; when
//! the reader has closed it, the output ends.
//!
//! A program calls [`run`] from `main`, before it requests real-time priority and after it blocks
//! signals: the writer thread inherits priority and signal mask from the thread that starts it.

mod faults;
mod logger;
mod output;
mod panics;
mod printable;
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
pub use printable::printable;
pub use repeats::{Note, Repeats};
pub use reporter::{Reporter, Sink};

use ring::Kind;

/// The longest wait for messages at the end of a program.
pub const FLUSH: Duration = Duration::from_millis(200);
/// Exit status of a program whose main function panicked, the same as that of Rust's runtime.
const PANICKED: u8 = 101;
/// Exit status when writing to standard output failed.
const NOT_PRINTED: u8 = 2;

static REPORTER: OnceLock<Reporter> = OnceLock::new();

fn reporter() -> &'static Reporter {
    REPORTER.get_or_init(|| Reporter::new(output::Stderr))
}

/// Starts the writer, installs the logger of the `log` macros (level `warn`, or as set by
/// RUST_LOG), and reports panics through the same ring. A second call changes nothing.
pub fn start() {
    reporter();
    panics::report();
    if let Err(error) = logger::install() {
        say(format_args!("warning: RUST_LOG: {error}"));
    }
}

/// Starts the console, runs `main`, and writes the remaining messages, which takes at most
/// [`FLUSH`].
pub fn run(main: impl FnOnce() -> ExitCode) -> ExitCode {
    start();
    // The hook reports the panic. What `main` captured is not used again.
    let code = catch_unwind(AssertUnwindSafe(main)).unwrap_or(ExitCode::from(PANICKED));
    finish(code)
}

/// Prints a message as a line on standard error, and never blocks. Repeats of the same text are
/// counted: the text is printed once, and later with the count.
pub fn say(text: impl Display) {
    reporter().say(Kind::Coalesced, text);
}

/// Like [`say`], but prints repeats too: for replies to an operator and changes of state.
pub fn say_always(text: impl Display) {
    reporter().say(Kind::Each, text);
}

/// Waits until all messages so far are written, for at most `limit`. Returns whether they are.
pub fn flush(limit: Duration) -> bool {
    REPORTER.get().is_none_or(|reporter| reporter.flush(limit))
}

/// Ends the output and returns the exit status: `code`, unless `code` is success and standard
/// output failed. Takes at most [`FLUSH`].
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
