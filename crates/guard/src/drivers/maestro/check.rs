//! Reads back the error register and the channels' positions.
//!
//! An answer has neither a frame nor a checksum: only its length shows that nothing else is in the
//! line. It is therefore judged shortly before the next request, and a position that differs is
//! read a second time.

use std::io;
use std::time::Duration;

use arrayvec::ArrayVec;
use pilotage_vehicle::Time;

use super::super::failure::Failure;
use super::super::serial::Port;
use super::commands::Commands;
use super::{Channel, Targets};

/// The interval of the requests. Each of them also restarts the board's serial time-out.
const INTERVAL: Duration = Duration::from_millis(50);
/// After this many consecutive requests without a valid answer the board is considered silent. A
/// pause without requests does not count.
const MAX_UNANSWERED: u32 = 10;
/// The bits of the error register that have a meaning (User's Guide, "Errors").
const ERRORS: u16 = 0x01FF;
/// The error register and two positions.
const ANSWER: usize = 6;
/// The error register as it was before the board was set up.
const EARLIER_ERRORS: usize = 2;

/// The request in flight, and what earlier ones found.
#[derive(Debug, Default)]
pub(super) struct Check {
    asked: Option<Asked>,
    /// The bytes since the request, and one more than an answer may have.
    received: ArrayVec<u8, { EARLIER_ERRORS + ANSWER + 1 }>,
    /// Requests since the last valid answer: the time of the first one, and their number.
    unanswered: Option<(Time, u32)>,
    /// Whether the last answer had a position that differs.
    suspected: bool,
}

/// A request.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Time,
    expected: Targets,
    /// Whether the answer starts with the errors from before the set-up.
    set_up: bool,
}

impl Check {
    /// Collects the bytes that have arrived.
    ///
    /// # Errors
    /// When the port is gone.
    pub(super) fn receive(&mut self, port: &mut Port) -> io::Result<()> {
        port.receive_waiting(|bytes| {
            let kept = bytes.len().min(self.received.remaining_capacity());
            self.received.extend(bytes[..kept].iter().copied());
        })
    }

    /// Whether the request in flight has had its time, and the next one is due.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.asked
            .is_none_or(|asked| now.since(asked.at) >= INTERVAL)
    }

    /// Judges the answer to the request in flight; `None` if it decides nothing.
    pub(super) fn verdict(&mut self, now: Time) -> Option<Result<(), Failure>> {
        let asked = self.asked?;
        let Some((errors, positions)) = self.answer(asked) else {
            let (first, requests) = self.unanswered.unwrap_or((asked.at, 0));
            let requests = requests.saturating_add(1);
            self.unanswered = Some((first, requests));
            let millis = now.since(first).as_millis() as u64;
            return (requests >= MAX_UNANSWERED).then_some(Err(Failure::Silent { millis }));
        };
        self.unanswered = None;
        if errors != 0 {
            return Some(Err(Failure::Errors(errors)));
        }
        let mut channels = asked.expected.iter().zip(positions);
        let differs = channels.find(|(channel, position)| channel.target != *position);
        let suspected = std::mem::replace(&mut self.suspected, differs.is_some());
        match differs {
            None => Some(Ok(())),
            Some((channel, position)) if suspected => Some(Err(Failure::Position {
                channel: channel.number,
                written: channel.target,
                holds: position,
            })),
            Some(_) => None,
        }
    }

    /// The errors and the positions, if exactly one answer has arrived.
    fn answer(&self, asked: Asked) -> Option<(u16, [u16; 2])> {
        let answer = match asked.set_up {
            true => self.received.get(EARLIER_ERRORS..)?,
            false => &self.received,
        };
        let &[a, b, c, d, e, f] = answer else {
            return None;
        };
        let [errors, first, second] = [[a, b], [c, d], [e, f]].map(u16::from_le_bytes);
        (errors & !ERRORS == 0).then_some((errors, [first, second]))
    }

    /// Adds a request to `commands`, which put `targets` in force and which clear the errors from
    /// before if they set up the board. What has not been judged until now is dropped.
    pub(super) fn ask(
        &mut self,
        now: Time,
        commands: &mut Commands,
        targets: Targets,
        set_up: bool,
    ) {
        commands.get_errors();
        for Channel { number, .. } in targets {
            commands.get_position(number);
        }
        self.received.clear();
        self.asked = Some(Asked {
            at: now,
            expected: targets,
            set_up,
        });
    }
}
