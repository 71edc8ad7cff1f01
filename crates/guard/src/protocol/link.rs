//! The interface of a guard to a pilot and to an operator.

use arrayvec::ArrayString;
use pilotage_vehicle::{Command, Fault, MeasuredSpeed, Time};

use crate::{ArmRequest, Mode, Output, QUEUE_CAPACITY, Refusal, State};

/// A pilot's connection to a guard: commands and faults there, its status back. All times are on
/// the injected clock.
///
/// `now` is the current time. A guard in the same process is advanced to it by each call; a guard
/// process reads the same clock itself. `conformance::link` checks an implementation.
pub trait CommandLink {
    /// Sends `command`. `at` is the pilot's current time plus the simulated inference time. A guard
    /// in the same process handles the command at that time, a guard process as soon as it arrives.
    /// [`status`](Self::status) shows the outcome.
    ///
    /// # Errors
    /// When the command could not be sent.
    fn send_at(&mut self, at: Time, command: Command) -> Result<(), LinkError>;

    /// Reports a fault to the guard.
    ///
    /// # Errors
    /// When the guard cannot be reached.
    fn report(&mut self, now: Time, fault: Fault) -> Result<(), LinkError>;

    /// Advances the guard to `now`.
    ///
    /// # Errors
    /// When the guard cannot be reached.
    fn advance_to(&mut self, now: Time) -> Result<(), LinkError>;

    /// The guard's last received status.
    fn status(&self) -> Status;
}

/// A connection that also carries an operator's requests: a drive's, over which the operator who
/// started it arms the car and the drive's end disarms it.
pub trait OperatorLink: CommandLink {
    /// Arms the car, on behalf of an operator.
    ///
    /// # Errors
    /// [`LinkError::Refused`] when the guard refuses; another error when it cannot be reached.
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
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The guard refused.
    #[error("the guard refused: {0}")]
    Refused(Refusal),
    /// Too many commands are in flight.
    #[error(
        "{QUEUE_CAPACITY} commands are on their way to the guard and none has arrived: let time \
         advance, or send fewer"
    )]
    QueueFull,
    /// The guard has closed the connection, or the connection failed.
    #[error(
        "the guard is gone, or does not admit this user: start it again (`systemctl restart \
         pilotage-guard`, or drive anew)"
    )]
    Gone,
    /// The guard has closed the connection, because another pilot of this user has connected after
    /// this one had sent no command for a deadline.
    #[error(
        "another `pilotage drive` has taken this one's place, because this one had sent no command \
         within the deadline"
    )]
    Replaced,
    /// The guard's process does not answer in time.
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

/// Why writes to the actuator fail, with its device, truncated to this many bytes.
pub type FailureText = ArrayString<240>;

/// The state of a guard and of its actuator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Status {
    /// The policy's state.
    pub state: State,
    /// Whether an operator holds a stop button down. The car cannot be armed then.
    pub stop_held: bool,
    /// Why the last write to the actuator failed; `None` if it succeeded.
    pub failure: Option<FailureText>,
    /// The last output that the guard tried to write to the actuator.
    pub output: Output,
    /// Counters since the guard's start.
    pub counters: Counters,
    /// The speed that the actuator measured last, if it measures one.
    pub speed: Option<MeasuredSpeed>,
}

impl Status {
    /// Of a guard that has done nothing yet: disarmed.
    pub fn disarmed() -> Self {
        Self {
            state: State::Disarmed,
            stop_held: false,
            failure: None,
            output: Output {
                mode: Mode::Disarmed,
                steering: 0.0,
                throttle: 0.0,
            },
            counters: Counters::default(),
            speed: None,
        }
    }
}

/// A guard's counters since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Accepted commands.
    pub accepted: u64,
    /// Commands that were dropped because the queue was full.
    pub dropped: u64,
    /// Stops for any reason.
    pub stops: u64,
    /// Failed writes to the actuator.
    pub write_errors: u64,
    refused: [u64; Refusal::ALL.len()],
}

impl Counters {
    /// How often the guard refused a request for this reason.
    pub const fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize]
    }

    /// How often the guard refused a request.
    pub fn refused_in_all(&self) -> u64 {
        self.refused.iter().sum()
    }

    /// How many counters there are.
    pub(crate) const NUMBERS: usize = 4 + Refusal::ALL.len();

    /// All counters, in a fixed order.
    pub(crate) fn numbers(&self) -> [u64; Self::NUMBERS] {
        let mut numbers = [0; Self::NUMBERS];
        let first = [self.accepted, self.dropped, self.stops, self.write_errors];
        numbers[..4].copy_from_slice(&first);
        numbers[4..].copy_from_slice(&self.refused);
        numbers
    }

    /// The inverse of [`numbers`](Self::numbers).
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
