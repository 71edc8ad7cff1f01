//! The outputs of a PWM chip's channels.

use arrayvec::ArrayVec;

/// Most channels of a chip that a car uses: four motors of three each.
pub(crate) const MOST_TARGETS: usize = 12;

/// The output of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Always low: no pulse.
    Low,
    /// Always high.
    High,
    /// High for this many of a cycle's 4096 ticks.
    Ticks(u16),
}

impl Level {
    /// Ticks per cycle.
    pub(crate) const CYCLE: u16 = 4096;

    /// A level that is high for this share of a cycle, 0 to 1.
    pub(crate) fn share(share: f32) -> Self {
        Self::ticks(share * f32::from(Self::CYCLE))
    }

    /// A pulse of `micros` microseconds every `1 / frequency` seconds; `None` is no pulse.
    pub(crate) fn pulse(micros: Option<f32>, frequency: f32) -> Self {
        micros.map_or(Self::Low, |micros| Self::share(micros * frequency / 1e6))
    }

    fn ticks(ticks: f32) -> Self {
        // The conversion saturates, and NaN becomes 0.
        match ticks.round() as u16 {
            0 => Self::Low,
            ticks if ticks < Self::CYCLE => Self::Ticks(ticks),
            _ => Self::High,
        }
    }
}

/// A channel and its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) channel: u8,
    pub(crate) level: Level,
}

/// All of a car's channels, in the order in which they are written.
pub(crate) type Targets = ArrayVec<Target, MOST_TARGETS>;
