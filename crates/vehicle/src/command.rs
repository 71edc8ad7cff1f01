use crate::Time;

/// The answer of a network, in the network's units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Controls {
    /// Speed and yaw rate, as policies for mobile robots give.
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

/// A command for the actuator. The guard checks it before anything moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Command {
    /// -1 (full right) to 1 (full left).
    pub steering: f32,
    /// -1 (full reverse) to 1 (full ahead).
    pub throttle: f32,
    /// The capture time of the frame from which this command comes.
    pub captured: Time,
    /// The sequence number of that frame. It increases from command to command.
    pub sequence: u64,
}
