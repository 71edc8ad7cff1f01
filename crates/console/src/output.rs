//! Writes to standard output and standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::reporter::Sink;

/// Whether standard output is closed, or its reader has closed it.
static ENDED: AtomicBool = AtomicBool::new(false);
/// The code of the first other error of standard output; 0 for none.
static FAILED: AtomicI32 = AtomicI32::new(0);
/// Serializes prints.
static PRINTING: Mutex<()> = Mutex::new(());

/// Prints a line to standard output, after the messages before it. For one-shot commands: it waits
/// for a slow reader. When the reader has closed the output, the output ends without an error. Any
/// other error becomes the program's exit status ([`finish`](crate::finish)).
pub fn print(line: impl Display) {
    out(format_args!("{line}\n"));
}

/// Like [`print()`], but does not end the line.
pub fn out(text: impl Display) {
    crate::flush(crate::FLUSH);
    write_out(text.to_string().as_bytes());
}

/// Like [`print()`], but waits at most `limit` for a slow reader. For the report of a program that
/// drove a car. Returns whether everything was printed.
pub fn print_within(line: impl Display, limit: Duration) -> bool {
    crate::flush(crate::FLUSH);
    let text = format!("{line}\n");
    let (done, wait) = channel();
    let work = move || {
        write_out(text.as_bytes());
        // After `limit`, the receiver is gone.
        let _ = done.send(());
    };
    let printer = thread::Builder::new().name("print".to_owned());
    printer.spawn(work).is_ok() && wait.recv_timeout(limit).is_ok()
}

/// The error of standard output, if there was one.
pub(crate) fn failure() -> Option<io::Error> {
    match FAILED.load(Ordering::Relaxed) {
        0 => None,
        code => Some(io::Error::from_raw_os_error(code)),
    }
}

fn write_out(bytes: &[u8]) {
    let _lock = PRINTING.lock();
    if ENDED.load(Ordering::Relaxed) {
        return;
    }
    match write_all(io::stdout().as_fd(), bytes) {
        Ok(()) => {}
        Err(Errno::PIPE | Errno::BADF) => ENDED.store(true, Ordering::Relaxed),
        Err(error) => {
            let code = error.raw_os_error();
            let _ = FAILED.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Writes to standard error from the calling thread, which may block. For a thread that may wait,
/// such as that of a live line.
///
/// # Errors
/// When standard error is closed or fails.
pub fn write_to_stderr(bytes: &[u8]) -> io::Result<()> {
    Ok(write_all(io::stderr().as_fd(), bytes)?)
}

/// Standard error as a sink.
pub(crate) struct Stderr;

impl Sink for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match write_all(io::stderr().as_fd(), line) {
            Err(Errno::BADF) => Err(io::ErrorKind::BrokenPipe.into()),
            written => Ok(written?),
        }
    }

    fn is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }
}

/// Writes without std's locks and buffers, so that a blocked write does not block other threads.
fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Another process that shares the open file has made it non-blocking.
            Err(Errno::AGAIN) => {
                let mut writable = [PollFd::from_borrowed_fd(file, PollFlags::OUT)];
                match poll(&mut writable, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
