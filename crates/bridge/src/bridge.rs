//! What a bridge puts out.

use crate::frame::{COMMAND, Command, Drive, Parser, STATUS, State, Status, Us};
use crate::remote::{Input, Remote, Request};

/// Microseconds without a new command after which the bridge stops the car.
pub const DEAD_MAN: u64 = 100_000;

/// The pulses to put out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The servo's.
    pub steering: Us,
    /// The speed controller's.
    pub throttle: Us,
}

/// A bridge. Times are microseconds of a clock that starts with the microcontroller.
///
/// [`outputs`](Self::outputs) has to be called often, at least once in a servo's period: it is what
/// notices that nothing comes any more.
#[derive(Debug, Clone)]
pub struct Bridge {
    parser: Parser<COMMAND>,
    /// The last good command, and when it came.
    last: Option<(u64, Command)>,
    /// Whether no command drives until one comes that does not.
    is_held: bool,
    /// Until when the bridge brakes.
    brakes_until: u64,
    remote: Remote,
    dropped: u16,
}

impl Default for Bridge {
    fn default() -> Self {
        Self::new()
    }
}

impl Bridge {
    /// A bridge that has just got power. It puts out no pulses until the first command specifies
    /// those that stop the car, and does not drive before a command that does not drive.
    pub const fn new() -> Self {
        Self {
            parser: Parser::of_commands(),
            last: None,
            is_held: true,
            brakes_until: 0,
            remote: Remote::new(),
            dropped: 0,
        }
    }

    /// Takes a byte from the computer. Returns what to send: the answer to a new command that ends
    /// with this byte.
    pub fn receive(&mut self, now: u64, byte: u8) -> Option<[u8; STATUS]> {
        let bytes = self.parser.take(byte)?;
        let Some(command) = Command::read(&bytes) else {
            self.dropped = self.dropped.wrapping_add(1);
            return None;
        };
        self.parser.clear();
        // What has expired by now is not revived by a late command.
        self.advance(now);
        // The whole command: a new process on the computer may begin with the last one's number.
        if self.last.is_some_and(|(_, last)| last == command) {
            return None;
        }
        self.last = Some((now, command));
        if command.drive == Drive::No && self.obeys_computer(now) {
            self.is_held = false;
            self.brakes_until = 0;
        }
        let (outputs, state) = self.advance(now);
        let status = Status {
            sequence: command.sequence,
            state,
            steering: outputs.steering,
            throttle: outputs.throttle,
            dropped: self.dropped,
        };
        Some(status.write())
    }

    /// Takes a pulse that the radio receiver has sent.
    pub fn pulse(&mut self, now: u64, input: Input, us: Us) {
        self.remote.pulse(now, input, us);
    }

    /// The pulses to put out now.
    pub fn outputs(&mut self, now: u64) -> Outputs {
        self.advance(now).0
    }

    fn obeys_computer(&self, now: u64) -> bool {
        matches!(
            self.remote.request(now),
            Request::Nothing | Request::Computer
        )
    }

    /// Stops the car where nothing new has come, and decides what is put out.
    fn advance(&mut self, now: u64) -> (Outputs, State) {
        let Some((at, command)) = self.last else {
            return (self.without_command(now), State::Holds);
        };
        let request = self.remote.request(now);
        let is_silent = now.saturating_sub(at) >= DEAD_MAN;
        if (is_silent || !self.obeys_computer(now)) && !self.is_held {
            self.is_held = true;
            if command.drive == Drive::Ahead && command.brake != 0 {
                self.brakes_until = now + 1000 * u64::from(command.brake_millis);
            }
        }
        if let Request::Transmitter(..) = request {
            // The transmitter's driver brakes.
            self.brakes_until = 0;
        }
        let stopped = Outputs {
            steering: command.stopped_steering,
            throttle: match now < self.brakes_until && command.brake != 0 {
                true => command.brake,
                false => command.stopped_throttle,
            },
        };
        match request {
            Request::Transmitter(steering, throttle) => {
                (Outputs { steering, throttle }, State::Remote)
            }
            Request::Lost => (stopped, State::RemoteLost),
            Request::Nothing | Request::Computer if self.is_held => (stopped, State::Holds),
            Request::Nothing | Request::Computer => {
                let (steering, throttle) = (command.steering, command.throttle);
                (Outputs { steering, throttle }, State::Obeys)
            }
        }
    }

    /// Before the first command only a transmitter can drive: which pulses stop the car is not
    /// known.
    fn without_command(&self, now: u64) -> Outputs {
        match self.remote.request(now) {
            Request::Transmitter(steering, throttle) => Outputs { steering, throttle },
            Request::Nothing | Request::Computer | Request::Lost => Outputs::default(),
        }
    }
}
