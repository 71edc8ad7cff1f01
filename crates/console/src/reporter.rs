//! The writer thread: takes messages from the ring and writes them, which may block.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use crate::printable;
use crate::repeats::{Note, Repeats};
use crate::ring::{Kind, Message, Ring};
use crate::time::Timestamp;

/// The destination of lines. Writing may block.
pub trait Sink: Send + 'static {
    /// Writes one line.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] ends the output. After any other error the line is counted as
    /// dropped, and the next line is tried.
    fn write(&mut self, line: &[u8]) -> io::Result<()>;

    /// Whether a live line may have to be cleared first.
    fn is_terminal(&self) -> bool;
}

/// Moves to the start of a terminal's line and clears the line.
pub(crate) const CLEAR: &str = "\r\x1b[2K";
/// The interval at which the end of a flush is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// The stack size of the writer thread, which only formats and writes.
const STACK: usize = 128 * 1024;

#[derive(Debug)]
struct Shared {
    ring: Ring,
    /// The number of messages that were written or dropped since the start.
    done: AtomicUsize,
    closing: AtomicBool,
    closed: AtomicBool,
}

/// A ring of messages, and the thread that writes them.
#[derive(Debug)]
pub struct Reporter {
    shared: Arc<Shared>,
    /// None if the thread could not be started: all messages are dropped then.
    writer: Option<Thread>,
}

impl Reporter {
    /// Starts a thread that writes to `sink`.
    pub fn new(sink: impl Sink) -> Self {
        let shared = Arc::new(Shared {
            ring: Ring::new(),
            done: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let work = {
            let shared = Arc::clone(&shared);
            move || Writer::new(sink).run(&shared)
        };
        let thread = thread::Builder::new().name("console".to_owned());
        let writer = thread.stack_size(STACK).spawn(work);
        Self {
            shared,
            writer: writer.ok().map(|handle| handle.thread().clone()),
        }
    }

    pub(crate) fn say(&self, kind: Kind, text: impl Display) {
        self.put(kind, "", text);
    }

    pub(crate) fn put(&self, kind: Kind, target: &str, text: impl Display) {
        if self.shared.ring.put(kind, target, text) {
            self.wake();
        }
    }

    /// Prints a message, also if it repeats the one before.
    pub fn report(&self, text: impl Display) {
        self.say(Kind::Each, text);
    }

    fn wake(&self) {
        if let Some(writer) = &self.writer {
            writer.unpark();
        }
    }

    /// Waits until the messages that are in the ring now are written, for at most `limit`. Returns
    /// whether they are.
    pub fn flush(&self, limit: Duration) -> bool {
        let target_count = self.shared.ring.put_so_far();
        self.wait(limit, |shared| {
            let missing = target_count.wrapping_sub(shared.done.load(Ordering::Acquire)) as isize;
            missing <= 0
        })
    }

    /// Waits until everything is written, including the counts of repeats and drops, for at most
    /// `limit`. Returns whether it is.
    pub fn finish(&self, limit: Duration) -> bool {
        self.shared.closed.store(false, Ordering::Release);
        self.shared.closing.store(true, Ordering::Release);
        self.wake();
        self.wait(limit, |shared| shared.closed.load(Ordering::Acquire))
    }

    fn wait(&self, limit: Duration, done: impl Fn(&Shared) -> bool) -> bool {
        let until = Instant::now() + limit;
        while !done(&self.shared) {
            if self.writer.is_none() || Instant::now() >= until {
                return false;
            }
            thread::sleep(POLL_INTERVAL);
        }
        true
    }
}

/// The state of the writer thread.
struct Writer<S> {
    sink: S,
    terminal: bool,
    /// The reader has closed the output.
    ended: bool,
    /// Repeats of messages, and of log records, which begin with a time.
    message_repeats: Repeats,
    log_repeats: Repeats,
    line: String,
}

impl<S: Sink> Writer<S> {
    fn new(sink: S) -> Self {
        Self {
            terminal: sink.is_terminal(),
            sink,
            ended: false,
            message_repeats: Repeats::default(),
            log_repeats: Repeats::default(),
            line: String::new(),
        }
    }

    fn run(&mut self, shared: &Shared) {
        let mut message = Message::new();
        loop {
            if shared.ring.take(&mut message) {
                self.message(&message, shared);
                shared
                    .done
                    .store(shared.ring.taken_so_far(), Ordering::Release);
                continue;
            }
            let closing = shared.closing.load(Ordering::Acquire);
            let now = Instant::now();
            self.write_repeats(now, closing, shared);
            self.write_drops(shared);
            // A producer has claimed a slot and will fill it shortly.
            if shared.ring.put_so_far() != shared.ring.taken_so_far() {
                thread::park_timeout(POLL_INTERVAL);
                continue;
            }
            if closing {
                shared.closing.store(false, Ordering::Release);
                shared.closed.store(true, Ordering::Release);
                continue;
            }
            let next = [self.message_repeats.next_due(), self.log_repeats.next_due()];
            match next.into_iter().flatten().min() {
                Some(due) => thread::park_timeout(due.saturating_duration_since(now)),
                None => thread::park(),
            }
        }
    }

    fn message(&mut self, message: &Message, shared: &Shared) {
        let Message { at, kind, text, .. } = message;
        let mut body = std::mem::take(&mut self.line);
        body.clear();
        // Writing to a String does not fail.
        let _ = match kind {
            Kind::Coalesced | Kind::Each => write!(body, "{text}"),
            Kind::Log(level) => write!(
                body,
                "{level:<5} {}] {}",
                message.target,
                text.replace('\n', "\n    ")
            ),
        };
        if let Cow::Owned(text) = printable(&body) {
            body = text;
        }
        let note = match kind {
            Kind::Coalesced => self.message_repeats.note(&body, &body, *at),
            Kind::Log(log::Level::Error | log::Level::Warn) => {
                self.log_repeats.note(&body, &body, *at)
            }
            Kind::Each | Kind::Log(_) => Note::First,
        };
        if note != Note::Held {
            let line = match kind {
                Kind::Log(_) => log_line(message.wall, &body, note),
                Kind::Coalesced | Kind::Each => format!("{body}{note}"),
            };
            self.write(&line, shared);
        }
        self.line = body;
    }

    /// Writes the held texts that are due, with their counts.
    fn write_repeats(&mut self, now: Instant, all: bool, shared: &Shared) {
        while let Some((body, note)) = self.message_repeats.due(now, all) {
            self.write(&format!("{body}{note}"), shared);
        }
        while let Some((body, note)) = self.log_repeats.due(now, all) {
            self.write(&log_line(SystemTime::now(), &body, note), shared);
        }
    }

    fn write_drops(&mut self, shared: &Shared) {
        let count = shared.ring.take_dropped();
        if count > 0 && !self.ended {
            let text = match count {
                1 => "1 message was dropped: standard error did not take it in time".to_owned(),
                _ => format!("{count} messages dropped: standard error did not take them in time"),
            };
            let failed = self.try_write(&text).is_err();
            if failed {
                shared.ring.drop_message(count);
            }
        }
    }

    fn write(&mut self, text: &str, shared: &Shared) {
        if self.ended {
            return;
        }
        let failed = self.try_write(text).is_err();
        if failed && !self.ended {
            shared.ring.drop_message(1);
        }
    }

    fn try_write(&mut self, text: &str) -> io::Result<()> {
        let clear = if self.terminal { CLEAR } else { "" };
        let written = self.sink.write(format!("{clear}{text}\n").as_bytes());
        if let Err(error) = &written {
            self.ended = error.kind() == io::ErrorKind::BrokenPipe;
        }
        written
    }
}

fn log_line(wall: SystemTime, body: &str, note: Note) -> String {
    format!("[{} {body}{note}", Timestamp(wall))
}

#[cfg(test)]
mod tests;
