//! The state that the rig's threads share: the chip, the history of its pulses, and the faults that
//! are active.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pilotage_guard::conformance::ModelPca9685;
use pilotage_vehicle::monotonic;
use serde::Serialize;

use crate::adapter;

/// The pulses of both channels from the time `at` on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pulses {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub at: u64,
    /// Microseconds; 0 is no pulse.
    pub throttle: f32,
    /// Microseconds; 0 is no pulse.
    pub steering: f32,
}

/// What the camera shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    /// The current view of the road.
    Live,
    /// The same frame repeatedly.
    Frozen,
    /// Black frames.
    Black,
    /// No frames: the camera is removed.
    Gone,
}

/// The shared state.
#[derive(Debug)]
pub struct State {
    chip: ModelPca9685,
    /// The chip's channels.
    channels: [usize; 2],
    /// Every change of the pulses, in order.
    pub pulses: Vec<Pulses>,
    /// Whether the chip acknowledges.
    pub acknowledges: bool,
    /// How long the next transfer blocks.
    pub hang: Option<Duration>,
    /// Whether the adapter makes SMBus commands only.
    pub smbus: bool,
    /// The number of transfers that the chip did not acknowledge.
    pub refused: u64,
    /// What the camera shows.
    pub picture: Picture,
    /// The number of frames written to the kernel.
    pub frames: u64,
    /// How long rendering and writing the last frame took, nanoseconds.
    pub drawing: u64,
}

/// A handle of the shared state.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// A chip after power-up, with the channels of throttle and steering.
    pub fn new(throttle: usize, steering: usize) -> Self {
        let mut state = State {
            chip: ModelPca9685::default(),
            channels: [throttle, steering],
            pulses: Vec::new(),
            acknowledges: true,
            hang: None,
            smbus: false,
            refused: 0,
            picture: Picture::Live,
            frames: 0,
            drawing: 0,
        };
        state.record_change();
        Self(Arc::new(Mutex::new(state)))
    }

    /// Locks the state.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while holding the lock leaves a consistent state: each change is
        // one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Power-cycles the chip.
    pub fn reset_chip(&mut self) {
        self.chip.reset();
        self.record_change();
    }

    /// Records the pulses if they have changed.
    fn record_change(&mut self) {
        let [throttle, steering] = self.channels.map(|channel| self.chip.micros(channel));
        let last = self.pulses.last();
        if last.is_none_or(|last| (last.throttle, last.steering) != (throttle, steering)) {
            self.pulses.push(Pulses {
                at: monotonic().as_nanos(),
                throttle,
                steering,
            });
        }
    }
}

impl adapter::Chip for Shared {
    fn acknowledges(&mut self) -> bool {
        let mut state = self.lock();
        if !state.acknowledges {
            state.refused += 1;
        }
        state.acknowledges
    }

    fn hang(&mut self) -> Option<Duration> {
        self.lock().hang.take()
    }

    fn is_smbus(&mut self) -> bool {
        self.lock().smbus
    }

    fn speak<T>(&mut self, what: impl FnOnce(&mut ModelPca9685) -> T) -> T {
        let mut state = self.lock();
        let result = what(&mut state.chip);
        state.record_change();
        // Other tests check the order of writes; here the list would grow without limit.
        state.chip.written.clear();
        result
    }
}
