//! A radio receiver's three channels: steering, throttle, and a switch.

use crate::frame::Us;

/// Microseconds without a pulse after which a channel is lost: five pulses of a receiver with
/// 50 Hz.
pub const REMOTE_TIMEOUT: u64 = 100_000;
/// The pulses of a receiver; others are noise.
const VALID: core::ops::RangeInclusive<Us> = 800..=2200;
/// The switch's pulses from which the transmitter drives, and up to which the computer does. In
/// between nothing changes.
const TAKE_OVER: Us = 1650;
const GIVE_BACK: Us = 1350;

/// A channel of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The steering servo's.
    Steering,
    /// The speed controller's.
    Throttle,
    /// The switch: a long pulse takes the car over.
    Switch,
}

/// What the receiver requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// There is no receiver: it has never sent a pulse.
    Nothing,
    /// The computer drives.
    Computer,
    /// The transmitter drives, with these pulses for steering and throttle.
    Transmitter(Us, Us),
    /// A channel has no pulses any more.
    Lost,
}

/// The pulses of a receiver.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// Each channel's last pulse, and when it came.
    channels: [Option<(u64, Us)>; 3],
    is_taken: bool,
}

impl Remote {
    pub(crate) const fn new() -> Self {
        Self {
            channels: [None; 3],
            is_taken: false,
        }
    }

    pub(crate) fn pulse(&mut self, now: u64, input: Input, us: Us) {
        if !VALID.contains(&us) {
            return;
        }
        self.channels[index(input)] = Some((now, us));
        if input == Input::Switch {
            self.is_taken = match us {
                TAKE_OVER.. => true,
                ..=GIVE_BACK => false,
                _ => self.is_taken,
            };
        }
    }

    /// The receiver's request. Only the switch shows that there is a receiver: the other channels
    /// may be free.
    pub(crate) fn request(&self, now: u64) -> Request {
        let fresh = |input| match self.channels[index(input)] {
            Some((at, us)) if now.saturating_sub(at) < REMOTE_TIMEOUT => Some(us),
            _ => None,
        };
        if self.channels[index(Input::Switch)].is_none() {
            return Request::Nothing;
        }
        match (fresh(Input::Switch), self.is_taken) {
            (None, _) => Request::Lost,
            (Some(_), false) => Request::Computer,
            (Some(_), true) => match (fresh(Input::Steering), fresh(Input::Throttle)) {
                (Some(steering), Some(throttle)) => Request::Transmitter(steering, throttle),
                _ => Request::Lost,
            },
        }
    }
}

const fn index(input: Input) -> usize {
    match input {
        Input::Steering => 0,
        Input::Throttle => 1,
        Input::Switch => 2,
    }
}
