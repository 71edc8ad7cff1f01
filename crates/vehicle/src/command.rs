use crate::Time;

/// What a network says, in its own units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Controls {
    /// A speed and a turn, as mobile-robot policies give.
    Twist {
        /// Metres per second, forward positive.
        speed: f32,
        /// Radians per second, left positive.
        yaw_rate: f32,
    },
    /// Steering and throttle, as Donkeycar and JetRacer policies give.
    Direct {
        /// -1 (full right) to 1 (full left).
        steering: f32,
        /// -1 (full reverse) to 1 (full ahead).
        throttle: f32,
    },
}

/// What the car is told to do. The guard checks it before anything moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Command {
    /// -1 (full right) to 1 (full left).
    pub steering: f32,
    /// -1 (full reverse) to 1 (full ahead).
    pub throttle: f32,
    /// When the frame behind this command was captured.
    pub captured: Time,
    /// The number of the frame behind this command; it only ever rises.
    pub sequence: u64,
}
