//! The writer: takes messages from the ring and does the writing that may block.

use std::fmt::{Display, Write as _};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use crate::repeats::{Note, Repeats};
use crate::ring::{Kind, Message, Ring};
use crate::time::Timestamp;

/// Where lines are written. Writing may block.
pub trait Sink: Send + 'static {
    /// Writes a whole line.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] is the end of output; after any other error the line is
    /// counted as dropped, and the next one is tried.
    fn write(&mut self, line: &[u8]) -> io::Result<()>;

    /// Whether a live line may have to be cleared first.
    fn is_terminal(&self) -> bool;
}

/// Returns to the start of a terminal's line and clears it.
pub(crate) const CLEAR: &str = "\r\x1b[2K";
/// How often the end of a flush is looked for.
const GLANCE: Duration = Duration::from_millis(1);
/// The formatting into a slot and the writing itself need little.
const STACK: usize = 128 * 1024;

#[derive(Debug)]
struct Shared {
    ring: Ring,
    /// Messages ever written or given up.
    done: AtomicUsize,
    closing: AtomicBool,
    closed: AtomicBool,
}

/// A ring of messages and the thread that writes them.
#[derive(Debug)]
pub struct Reporter {
    shared: Arc<Shared>,
    /// None where the system has no thread for it: everything is dropped then.
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

    /// Prints a message each time.
    pub fn report(&self, text: impl Display) {
        self.say(Kind::Each, text);
    }

    fn wake(&self) {
        if let Some(writer) = &self.writer {
            writer.unpark();
        }
    }

    /// Waits until what is in the ring now is written, or for `limit`. Returns whether it is.
    pub fn flush(&self, limit: Duration) -> bool {
        let wanted = self.shared.ring.put_so_far();
        self.wait(limit, |shared| {
            let missing = wanted.wrapping_sub(shared.done.load(Ordering::Acquire)) as isize;
            missing <= 0
        })
    }

    /// Has everything written, counts of repeats and drops too, in at most `limit`. Returns
    /// whether it is.
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
            thread::sleep(GLANCE);
        }
        true
    }
}

/// What the thread works with.
struct Writer<S> {
    sink: S,
    terminal: bool,
    /// The reader is gone for good.
    ended: bool,
    /// Of messages, and of log records, which get a time in front.
    says: Repeats,
    logs: Repeats,
    line: String,
}

impl<S: Sink> Writer<S> {
    fn new(sink: S) -> Self {
        Self {
            terminal: sink.is_terminal(),
            sink,
            ended: false,
            says: Repeats::default(),
            logs: Repeats::default(),
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
            self.counted(now, closing, shared);
            self.dropped(shared);
            // A slot that is claimed and not ready yet is filled in a moment.
            if shared.ring.put_so_far() != shared.ring.taken_so_far() {
                thread::park_timeout(GLANCE);
                continue;
            }
            if closing {
                shared.closing.store(false, Ordering::Release);
                shared.closed.store(true, Ordering::Release);
                continue;
            }
            let next = [self.says.next_due(), self.logs.next_due()];
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
        let note = match kind {
            Kind::Coalesced => self.says.note(&body, &body, *at),
            Kind::Log(log::Level::Error | log::Level::Warn) => self.logs.note(&body, &body, *at),
            Kind::Each | Kind::Log(_) => Note::First,
        };
        if note != Note::Held {
            let line = match kind {
                Kind::Log(_) => logged(message.wall, &body, note),
                Kind::Coalesced | Kind::Each => format!("{body}{note}"),
            };
            self.write(&line, shared);
        }
        self.line = body;
    }

    /// Writes what was held back and is due, with its counts.
    fn counted(&mut self, now: Instant, all: bool, shared: &Shared) {
        while let Some((body, note)) = self.says.due(now, all) {
            self.write(&format!("{body}{note}"), shared);
        }
        while let Some((body, note)) = self.logs.due(now, all) {
            self.write(&logged(SystemTime::now(), &body, note), shared);
        }
    }

    fn dropped(&mut self, shared: &Shared) {
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

fn logged(wall: SystemTime, body: &str, note: Note) -> String {
    format!("[{} {body}{note}", Timestamp(wall))
}

#[cfg(test)]
mod tests;
