//! The part of a log around its last stop.

use std::collections::VecDeque;
use std::io::Read;

use crate::entry::{End, Frame, Guard, Message, Pause, Picture, Start};
use crate::{Entry, ReadError, Reader};

/// How much before a stop or the end is kept, milliseconds.
const BEFORE: f64 = 30_000.0;
/// How much after a stop is kept, milliseconds.
const AFTER: f64 = 2_000.0;
/// Most entries of a kind, whatever their times are.
const MOST: usize = 40_000;
/// Most pictures, and their bytes.
const MOST_PICTURES: usize = 1_000;
const MOST_PICTURE_BYTES: usize = 64 << 20;

/// The entries around the last stop of a log, or before its end if it has no stop. Bounded in
/// memory, whatever the log contains.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// What is known of the drive.
    pub start: Start,
    /// Iterations, in their order.
    pub frames: VecDeque<Frame>,
    /// Pictures.
    pub pictures: VecDeque<Picture>,
    /// Messages of the pilot.
    pub messages: VecDeque<Message>,
    /// Pauses of the pilot.
    pub pauses: VecDeque<Pause>,
    /// The end of the drive, if the log has it.
    pub end: Option<End>,
    /// The place in `frames` of the first one that saw the car stopped.
    pub stop: Option<usize>,
    /// The number of stops in the log.
    pub stops: usize,
    /// The log ended early or was damaged.
    pub damaged: bool,
    picture_bytes: usize,
}

impl Window {
    /// Nothing of the drive that `start` describes yet.
    pub fn new(start: Start) -> Self {
        Self {
            start,
            frames: VecDeque::new(),
            pictures: VecDeque::new(),
            messages: VecDeque::new(),
            pauses: VecDeque::new(),
            end: None,
            stop: None,
            stops: 0,
            damaged: false,
            picture_bytes: 0,
        }
    }

    /// Reads a log to its end.
    ///
    /// # Errors
    /// Fails if the log cannot be read.
    pub fn read<R: Read>(reader: &mut Reader<R>) -> Result<Self, ReadError> {
        let mut window = Self::new(reader.start().clone());
        // What follows the last stop so far: another stop may be in it.
        let mut next: Option<Self> = None;
        let mut stops = 0;
        while let Some(entry) = reader.next_entry()? {
            if let Entry::End(end) = entry {
                window.end = Some(end);
                continue;
            }
            let late = window.is_after_stop(&entry);
            let target = match late {
                true => next.get_or_insert_with(|| Self::new(window.start.clone())),
                false => &mut window,
            };
            stops += usize::from(target.add(entry));
            if let Some(newer) = next.take_if(|next| next.stop.is_some()) {
                window = newer;
            }
        }
        window.stops = stops;
        window.damaged = reader.damaged();
        Ok(window)
    }

    /// Whether the entry is long after the stop.
    fn is_after_stop(&self, entry: &Entry) -> bool {
        let stop = self.stop_ms();
        let both = stop.zip(entry.time_ms());
        both.is_some_and(|(stop, time)| time > stop + AFTER)
    }

    /// Adds the next entry. Returns whether it is a stop.
    pub fn add(&mut self, entry: Entry) -> bool {
        let mut stops = false;
        match entry {
            Entry::Start(_) => {}
            Entry::Frame(frame) => {
                let before = self.frames.back();
                stops = is_stopped(&frame) && before.is_some_and(|before| !is_stopped(before));
                push(&mut self.frames, &mut self.stop, *frame);
                if stops {
                    self.stop = Some(self.frames.len() - 1);
                }
            }
            Entry::Picture(picture) => {
                self.picture_bytes += picture.jpeg.len();
                self.pictures.push_back(picture);
            }
            Entry::Message(message) => push(&mut self.messages, &mut None, message),
            Entry::Pause(pause) => push(&mut self.pauses, &mut None, pause),
            // A diagnosis needs none.
            Entry::Scan(_) => {}
            Entry::End(end) => self.end = Some(end),
        }
        self.shorten();
        stops
    }

    /// Drops what is too old.
    fn shorten(&mut self) {
        let newest = self.frames.back().map(|frame| frame.published_ms);
        let horizon = self.stop_ms().or(newest).unwrap_or(f64::NEG_INFINITY) - BEFORE;
        while self
            .frames
            .front()
            .is_some_and(|it| it.published_ms < horizon)
        {
            self.frames.pop_front();
            self.stop = self.stop.and_then(|stop| stop.checked_sub(1));
        }
        let first = self.frames.front().map(|frame| frame.published_ms);
        let first = first.unwrap_or(f64::NEG_INFINITY) - 1_000.0;
        while self.pictures.len() > MOST_PICTURES
            || self.picture_bytes > MOST_PICTURE_BYTES
            || self
                .pictures
                .front()
                .is_some_and(|it| it.captured_ms < first)
        {
            let Some(picture) = self.pictures.pop_front() else {
                break;
            };
            self.picture_bytes -= picture.jpeg.len();
        }
        while self.messages.front().is_some_and(|it| it.time_ms < first) {
            self.messages.pop_front();
        }
        while self.pauses.front().is_some_and(|it| it.end_ms < first) {
            self.pauses.pop_front();
        }
    }

    /// When the car was seen stopped, on the drive's clock.
    pub fn stop_ms(&self) -> Option<f64> {
        Some(self.frames.get(self.stop?)?.published_ms)
    }
}

fn is_stopped(frame: &Frame) -> bool {
    frame.guard == Guard::Stopped
}

/// Adds an entry; drops the first of too many, and moves the place of the stop with it.
fn push<T>(to: &mut VecDeque<T>, stop: &mut Option<usize>, entry: T) {
    if to.len() >= MOST {
        to.pop_front();
        *stop = stop.and_then(|stop| stop.checked_sub(1));
    }
    to.push_back(entry);
}
