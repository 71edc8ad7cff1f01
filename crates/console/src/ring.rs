//! The ring of messages between the threads that report and the one that writes.
//!
//! A producer claims a slot with one compare-and-swap and formats into it; it waits neither
//! for the writer nor for another producer. The slots' mutexes are never contended: a slot
//! belongs to its producer until `ready`, and to the writer from then until `head` moves on.

use std::fmt::{self, Display, Write as _};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// Messages that wait to be written.
pub(crate) const CAPACITY: usize = 256;
/// Longer texts are cut.
const LONGEST: usize = 16 * 1024;
/// Room that a text has from the start; longer ones allocate.
const ROOM: usize = 256;

/// How a message is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Repeats are counted instead of printed.
    Coalesced,
    /// Printed each time.
    Each,
    /// A log record.
    Log(log::Level),
}

/// A message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) at: Instant,
    pub(crate) wall: SystemTime,
    pub(crate) kind: Kind,
    /// A log record's.
    pub(crate) target: String,
    pub(crate) text: String,
}

impl Message {
    pub(crate) fn new() -> Self {
        Self {
            at: Instant::now(),
            wall: SystemTime::UNIX_EPOCH,
            kind: Kind::Each,
            target: String::with_capacity(ROOM / 4),
            text: String::with_capacity(ROOM),
        }
    }
}

#[derive(Debug)]
struct Slot {
    ready: AtomicBool,
    message: Mutex<Message>,
}

/// Many producers, one consumer, neither of which waits.
#[derive(Debug)]
pub(crate) struct Ring {
    slots: Box<[Slot]>,
    /// Next slot to fill, and next to write; both only grow.
    tail: AtomicUsize,
    head: AtomicUsize,
    dropped: AtomicU64,
}

/// Hands a slot to the writer, also where formatting panicked.
struct Ready<'a>(&'a AtomicBool);

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Ring {
    pub(crate) fn new() -> Self {
        let slot = |_| Slot {
            ready: AtomicBool::new(false),
            message: Mutex::new(Message::new()),
        };
        Self {
            slots: (0..CAPACITY).map(slot).collect(),
            tail: AtomicUsize::new(0),
            head: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Puts a message in, or counts it as dropped where there is no room. Returns whether
    /// it is in.
    pub(crate) fn put(&self, kind: Kind, target: &str, text: impl Display) -> bool {
        let Some(slot) = self.claim() else {
            self.drop_message(1);
            return false;
        };
        let _ready = Ready(&slot.ready);
        let mut message = slot.message.lock().unwrap_or_else(PoisonError::into_inner);
        message.at = Instant::now();
        message.wall = SystemTime::now();
        message.kind = kind;
        message.target.clear();
        message.target.push_str(target);
        message.text.clear();
        // An error of a text's own Display leaves the text short.
        let _ = write!(Cut(&mut message.text), "{text}");
        drop(message);
        true
    }

    fn claim(&self) -> Option<&Slot> {
        let mut tail = self.tail.load(Ordering::Relaxed);
        loop {
            // Negative where `tail` is old; the exchange fails then.
            let filled = tail.wrapping_sub(self.head.load(Ordering::Acquire)) as isize;
            if filled >= CAPACITY as isize {
                return None;
            }
            let next = tail.wrapping_add(1);
            let (order, otherwise) = (Ordering::AcqRel, Ordering::Relaxed);
            match self
                .tail
                .compare_exchange_weak(tail, next, order, otherwise)
            {
                Ok(_) => return self.slots.get(tail % CAPACITY),
                Err(now) => tail = now,
            }
        }
    }

    /// For the writer: swaps the next message with `message`, if there is one.
    pub(crate) fn take(&self, message: &mut Message) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        let Some(slot) = self.slots.get(head % CAPACITY) else {
            return false;
        };
        if !slot.ready.load(Ordering::Acquire) {
            return false;
        }
        let mut filled = slot.message.lock().unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut *filled, message);
        drop(filled);
        slot.ready.store(false, Ordering::Relaxed);
        self.head.store(head.wrapping_add(1), Ordering::Release);
        true
    }

    /// Messages ever put in.
    pub(crate) fn put_so_far(&self) -> usize {
        self.tail.load(Ordering::Acquire)
    }

    /// Messages ever taken out.
    pub(crate) fn taken_so_far(&self) -> usize {
        self.head.load(Ordering::Acquire)
    }

    /// Counts messages that were not written.
    pub(crate) fn drop_message(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Messages dropped since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

/// A text of bounded length.
struct Cut<'a>(&'a mut String);

impl fmt::Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LONGEST.saturating_sub(self.0.len());
        let end = text.floor_char_boundary(room);
        self.0.push_str(text.get(..end).unwrap_or_default());
        if end < text.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_in_order_and_what_does_not_fit_is_counted() {
        let ring = Ring::new();
        for number in 0..CAPACITY + 3 {
            assert_eq!(ring.put(Kind::Each, "", number), number < CAPACITY);
        }
        assert_eq!(ring.take_dropped(), 3);
        let mut message = Message::new();
        for number in 0..CAPACITY {
            assert!(ring.take(&mut message));
            assert_eq!(message.text, number.to_string());
        }
        assert!(!ring.take(&mut message));
        assert!(ring.put(Kind::Each, "", "again"));
        assert!(ring.take(&mut message));
        assert_eq!(message.text, "again");
    }

    #[test]
    fn of_many_producers_each_message_is_written_or_counted() {
        const EACH: u64 = 20_000;
        let ring = Ring::new();
        let (mut taken, mut message) = (0, Message::new());
        std::thread::scope(|scope| {
            let producers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        for number in 0..EACH {
                            ring.put(Kind::Each, "", number);
                        }
                    })
                })
                .collect();
            while !producers.iter().all(|producer| producer.is_finished()) {
                while ring.take(&mut message) {
                    taken += 1;
                }
            }
        });
        while ring.take(&mut message) {
            taken += 1;
        }
        assert_eq!(taken + ring.take_dropped(), 4 * EACH);
    }

    #[test]
    fn a_text_whose_formatting_panics_does_not_stop_the_ring() {
        struct Panics;
        impl Display for Panics {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("in Display")
            }
        }
        let ring = Ring::new();
        let put = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            ring.put(Kind::Each, "", Panics)
        }));
        assert!(put.is_err());
        ring.put(Kind::Each, "", "next");
        let mut message = Message::new();
        assert!(ring.take(&mut message) && ring.take(&mut message));
        assert_eq!(message.text, "next");
    }

    #[test]
    fn a_long_text_is_cut() {
        let ring = Ring::new();
        ring.put(Kind::Each, "", "é".repeat(LONGEST));
        let mut message = Message::new();
        assert!(ring.take(&mut message));
        assert_eq!(message.text.len(), LONGEST);
    }
}
