//! How a pilot reaches a guard.

use arrayvec::ArrayString;
use pilotage_vehicle::{Command, Time};

use crate::{ArmRequest, Fault, Output, QUEUE_CAPACITY, Refusal, State};

/// The pilot's way to a guard. All moments are on the injected clock.
///
/// `now` is the present. A guard inside the process is advanced to it by each call; a guard
/// process reads the same clock itself. `conformance::link` checks an implementation.
pub trait Link {
    /// Asks the guard to let the car drive, on behalf of an operator.
    ///
    /// # Errors
    /// [`LinkError::Refused`] when the guard will not.
    fn arm(&mut self, now: Time, request: ArmRequest) -> Result<(), LinkError>;

    /// Disarms the car, on behalf of an operator.
    ///
    /// # Errors
    /// When the guard cannot be reached.
    fn disarm(&mut self, now: Time) -> Result<(), LinkError>;

    /// Stops the car, on behalf of an operator.
    ///
    /// # Errors
    /// When the guard cannot be reached.
    fn stop(&mut self, now: Time) -> Result<(), LinkError>;

    /// Tells the guard of a fault.
    ///
    /// # Errors
    /// When the guard cannot be reached.
    fn report(&mut self, now: Time, fault: Fault) -> Result<(), LinkError>;

    /// Sends `command`. `at` is the pilot's present, with the time that simulated thinking
    /// is charged: a guard inside the process takes the command at that moment, a guard
    /// process as soon as it arrives. What became of it is in [`Link::status`].
    ///
    /// # Errors
    /// When it could not be sent.
    fn send_at(&mut self, at: Time, command: Command) -> Result<(), LinkError>;

    /// Lets the guard live up to `now`.
    ///
    /// # Errors
    /// When the guard cannot be reached.
    fn advance_to(&mut self, now: Time) -> Result<(), LinkError>;

    /// The guard's status, as last received.
    fn status(&self) -> Status;
}

/// Why a guard was not reached, or would not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The guard refused.
    #[error("the guard refused: {0}")]
    Refused(Refusal),
    /// Too many commands are under way.
    #[error(
        "{QUEUE_CAPACITY} commands are on their way to the guard and none has arrived: let time \
         advance, or send fewer"
    )]
    QueueFull,
    /// The guard's process is gone, or none listens there.
    #[error(
        "the guard is gone, or does not admit this user: start it again (`systemctl restart \
         pilotage-guard`, or drive anew)"
    )]
    Gone,
    /// The guard's process does not answer.
    #[error("the guard does not answer: `pilotage stop` stops the car without it")]
    Silent,
    /// The guard is of another version of Pilotage.
    #[error(
        "the guard speaks protocol {guard}, this program protocol {own}: both must be of one \
         version of Pilotage; restart the guard (`systemctl restart pilotage-guard`)"
    )]
    OtherVersion {
        /// The guard's protocol version.
        guard: u16,
        /// This program's.
        own: u16,
    },
}

/// Why the actuator does not take writes, with its device, cut to this many bytes.
pub type FailureText = ArrayString<240>;

/// The state of a guard and of its actuator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Status {
    /// The policy's state.
    pub state: State,
    /// An operator holds a stop button down: nothing arms.
    pub stop_held: bool,
    /// Why the actuator did not take the last write; none while it takes them.
    pub failure: Option<FailureText>,
    /// What it last gave its actuator, whether or not that took it.
    pub output: Output,
    /// What it has seen since it started.
    pub counters: Counters,
}

/// What a guard has seen since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Good commands.
    pub accepted: u64,
    /// Commands that found the queue full and never reached the guard.
    pub dropped: u64,
    /// Stops, whatever the reason.
    pub stops: u64,
    /// Writes that the actuator did not take.
    pub write_errors: u64,
    refused: [u64; Refusal::ALL.len()],
}

impl Counters {
    /// How often the guard refused for this reason.
    pub const fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize]
    }

    /// How often the guard refused.
    pub fn refused_in_all(&self) -> u64 {
        self.refused.iter().sum()
    }

    /// How many numbers there are.
    pub(crate) const NUMBERS: usize = 4 + Refusal::ALL.len();

    /// All of it, in a fixed order.
    pub(crate) fn numbers(&self) -> [u64; Self::NUMBERS] {
        let mut numbers = [0; Self::NUMBERS];
        let first = [self.accepted, self.dropped, self.stops, self.write_errors];
        numbers[..4].copy_from_slice(&first);
        numbers[4..].copy_from_slice(&self.refused);
        numbers
    }

    /// The same back.
    pub(crate) fn of_numbers(numbers: [u64; Self::NUMBERS]) -> Self {
        let mut refused = [0; Refusal::ALL.len()];
        refused.copy_from_slice(&numbers[4..]);
        let [accepted, dropped, stops, write_errors, ..] = numbers;
        Self {
            accepted,
            dropped,
            stops,
            write_errors,
            refused,
        }
    }

    pub(crate) const fn count_refusal(&mut self, refusal: Refusal) {
        self.refused[refusal as usize] += 1;
    }
}
