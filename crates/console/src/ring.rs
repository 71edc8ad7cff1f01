//! The ring of messages between the threads that report and the thread that writes.
//!
//! A producer claims a slot with one compare-and-swap and formats into it. It waits neither for the
//! writer nor for another producer. The mutexes of the slots are never contended: a slot belongs to
//! its producer until `ready`, and then to the writer until `head` advances.

use std::fmt::{self, Display, Write as _};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// The number of slots.
pub(crate) const CAPACITY: usize = 256;
/// The longest text, in bytes; longer ones are truncated.
const LONGEST: usize = 16 * 1024;
/// The initial capacity of a text; longer ones allocate.
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
    /// The target of a log record.
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

/// A ring with many producers and one consumer, none of which waits.
#[derive(Debug)]
pub(crate) struct Ring {
    slots: Box<[Slot]>,
    /// The next slot to fill, and the next slot to write. Both only increase.
    tail: AtomicUsize,
    head: AtomicUsize,
    dropped: AtomicU64,
}

/// Passes a slot to the writer on drop, also when formatting panicked.
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

    /// Puts a message into the ring, or counts it as dropped when the ring is full. Returns whether
    /// the message is in the ring.
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
        // If the text's Display fails, the text is incomplete.
        let _ = write!(Truncated(&mut message.text), "{text}");
        drop(message);
        true
    }

    fn claim(&self) -> Option<&Slot> {
        let mut tail = self.tail.load(Ordering::Relaxed);
        loop {
            // Negative if `tail` is out of date; the exchange fails then.
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

    /// For the writer: swaps the next message with `message`. Returns whether there was one.
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

    /// The number of messages that were put in since the start.
    pub(crate) fn put_so_far(&self) -> usize {
        self.tail.load(Ordering::Acquire)
    }

    /// The number of messages that were taken out since the start.
    pub(crate) fn taken_so_far(&self) -> usize {
        self.head.load(Ordering::Acquire)
    }

    /// Counts messages that were not written.
    pub(crate) fn drop_message(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// The number of messages that were dropped since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

/// Truncates a text at [`LONGEST`] bytes.
struct Truncated<'a>(&'a mut String);

impl fmt::Write for Truncated<'_> {
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
    fn messages_stay_in_order_and_drops_are_counted() {
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
    fn each_message_of_many_producers_is_written_or_counted() {
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
    fn a_long_text_is_truncated() {
        let ring = Ring::new();
        ring.put(Kind::Each, "", "é".repeat(LONGEST));
        let mut message = Message::new();
        assert!(ring.take(&mut message));
        assert_eq!(message.text.len(), LONGEST);
    }
}
