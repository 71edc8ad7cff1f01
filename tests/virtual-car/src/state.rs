//! What the rig's threads share: the chip, what it put out when, and what is wrong just now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilotage_guard::conformance::ModelPca9685;
use pilotage_guard::monotonic;
use serde::Serialize;

use crate::adapter;

/// The pulses of both channels from a moment on.
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
    /// The road.
    Live,
    /// The same frame again and again.
    Frozen,
    /// Nothing.
    Black,
    /// There is no camera.
    Gone,
}

/// Behind the lock.
#[derive(Debug)]
pub struct State {
    chip: ModelPca9685,
    /// The chip's channels.
    channels: [usize; 2],
    /// Every change of the pulses, in order.
    pub pulses: Vec<Pulses>,
    /// Whether the chip answers.
    pub acknowledges: bool,
    /// Transfers that it did not answer.
    pub refused: u64,
    /// What the camera shows.
    pub picture: Picture,
    /// Frames handed to the kernel.
    pub frames: u64,
    /// Nanoseconds that the last frame took to draw and hand over.
    pub drawing: u64,
}

/// A handle on it.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// A chip as it comes up, with throttle and steering on these of its channels.
    pub fn new(throttle: usize, steering: usize) -> Self {
        let mut state = State {
            chip: ModelPca9685::default(),
            channels: [throttle, steering],
            pulses: Vec::new(),
            acknowledges: true,
            refused: 0,
            picture: Picture::Live,
            frames: 0,
            drawing: 0,
        };
        state.note();
        Self(Arc::new(Mutex::new(state)))
    }

    /// The state, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that died holding it leaves it whole: each change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The chip loses its power and has it again.
    pub fn reset_chip(&mut self) {
        self.chip.reset();
        self.note();
    }

    /// Keeps the pulses if they are others than before.
    fn note(&mut self) {
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

    fn speak<T>(&mut self, what: impl FnOnce(&mut ModelPca9685) -> T) -> T {
        let mut state = self.lock();
        let said = what(&mut state.chip);
        state.note();
        // Of use to those who look at the order of writes, and here it would grow for ever.
        state.chip.written.clear();
        said
    }
}
