//! The record of one frame.

use std::time::Duration;

use pilotage_guard_policy::{Output, State};
use pilotage_vehicle::{
    Command, Controls, Fault, LONGEST_COMMAND, Measurement, Measurements, Time,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::codes::{fault, fault_code};
use crate::{FaultDetail, GuardState};

/// The largest number of a network's raw outputs in a record.
pub const MAX_OUTPUTS: usize = 8;

/// Bits of [`FrameRecord::flags`].
pub mod flags {
    /// The fallback answered in the engine's place.
    pub const FALLBACK: u32 = 1;
    /// No command was sent for this frame; [`FrameRecord::fault`](super::FrameRecord::fault) has
    /// the reason.
    pub const NO_COMMAND: u32 = 1 << 1;
    /// An operator drives by hand; there are no outputs of a network.
    pub const BY_HAND: u32 = 1 << 2;
    /// The controls are speed and yaw rate, not steering and throttle.
    pub const TWIST: u32 = 1 << 3;
    /// [`FrameRecord::granted`](super::FrameRecord::granted) is known.
    pub const GRANTED: u32 = 1 << 4;
    /// [`FrameRecord::simulated`](super::FrameRecord::simulated) is known.
    pub const SIMULATED: u32 = 1 << 5;
    /// An operator holds a stop button.
    pub const STOP_HELD: u32 = 1 << 6;
    /// The last write to the actuator failed.
    pub const ACTUATOR_FAILED: u32 = 1 << 7;
    /// An operator who drives by hand holds the dead-man button.
    pub const DEAD_MAN: u32 = 1 << 8;
    /// The first of the record's `measured` is known; the bits above are
    /// those of the others.
    pub const MEASURED: u32 = 1 << 9;
    /// The engine gets the first of the record's `measured`, and it was missing
    /// or too old; the bits above are those of the others.
    pub const LACKING: u32 = 1 << 13;
    /// The engine gets a scan, and it was missing or too old.
    pub const SCAN_LACKING: u32 = 1 << 17;
    /// Frames were missed, and the network's memory went on without them.
    pub const MEMORY_HELD: u32 = 1 << 18;
    /// Frames were missed, and the network's memory started anew.
    pub const MEMORY_RESET: u32 = 1 << 19;
}

/// What became of the network's memory when frames were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// It went on without them.
    Held,
    /// It started anew.
    Reset,
}

/// What the car's sensors gave for a frame, and what the engine lacked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sensed {
    /// The latest numbers.
    pub measured: Measurements,
    /// How long ago they were measured.
    pub measured_age: Duration,
    /// How long ago the latest scan was complete.
    pub scan_age: Duration,
    /// Which numbers the engine gets, and were missing or too old, in the order of [`Measurement::ALL`].
    pub lacking: [bool; Measurement::ALL.len()],
    /// The engine gets a scan, and it was missing or too old.
    pub scan_lacking: bool,
    /// What became of the network's memory, if frames were missed.
    pub gap: Option<Gap>,
}

/// What the pilot did with one frame. Plain data in the byte order of the machine, on which writer
/// and reader both run.
///
/// Times are nanoseconds. `captured`, `arrived` and `published` are on the clock of the drive
/// (CLOCK_MONOTONIC, except for a simulated drive on simulated time); the others are durations.
#[derive(Debug, Clone, Copy, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FrameRecord {
    /// The frame's sequence number.
    pub sequence: u64,
    /// When the camera took the frame.
    pub captured: u64,
    /// When the loop received the frame.
    pub arrived: u64,
    /// When the record was written, after the command was sent or the iteration failed.
    pub published: u64,
    /// From arrival to the filled input of the network.
    pub vision: u64,
    /// The engine's own time.
    pub inference: u64,
    /// The share of `inference` that the device (a GPU) took; 0 if it does not differ.
    pub device: u64,
    /// From arrival to the command sent.
    pub sent: u64,
    /// From capture of the previous command's frame until the guard accepted that command; 0 if
    /// the guard has not reported it.
    pub reaction: u64,
    /// The number of frames that were missed since the previous record.
    pub missed: u64,
    /// The network's raw outputs; `output_count` of them are valid.
    pub outputs: [f32; MAX_OUTPUTS],
    /// How many of `outputs` are valid, at most [`MAX_OUTPUTS`].
    pub output_count: u32,
    /// Bits of [`flags`].
    pub flags: u32,
    /// The network's controls: steering and throttle (-1 to 1), or speed (m/s) and yaw rate
    /// (rad/s) with [`flags::TWIST`].
    pub controls: [f32; 2],
    /// The command that was sent to the guard: steering and throttle, -1 to 1.
    pub asked: [f32; 2],
    /// The guard's last known output: steering and throttle, -1 to 1; valid with
    /// [`flags::GRANTED`].
    pub granted: [f32; 2],
    guard_state: u32,
    stop_reason: u32,
    fault: u32,
    detail: u32,
    /// The simulated car; valid with [`flags::SIMULATED`].
    pub simulated: Simulated,
    measured: [f32; Measurement::ALL.len()],
    /// The name of the high-level command, filled up with zeros.
    high_level: [u8; LONGEST_COMMAND],
    /// How long ago `measured` was measured.
    measured_age: u64,
    /// How long ago the scan was complete.
    scan_age: u64,
    /// The number of the lidar's scan that was the latest, counted from 1; 0 without one.
    pub scan: u64,
}

/// The state of a simulated car.
#[derive(Debug, Clone, Copy, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Simulated {
    /// Share of the lap done, 0 to 1.
    pub lap: f32,
    /// Speed, m/s.
    pub speed: f32,
    /// Distance from the line in metres, left positive.
    pub offset: f32,
    /// Position, metres.
    pub x: f32,
    /// Position, metres.
    pub y: f32,
    /// Heading in radians, counter-clockwise from x.
    pub heading: f32,
}

impl FrameRecord {
    /// A record of the frame with this number and capture time; everything else is zero or unknown.
    pub fn new(sequence: u64, captured: Time) -> Self {
        Self {
            sequence,
            captured: captured.as_nanos(),
            ..Self::default()
        }
    }

    /// Whether all bits of `flag` are set.
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }

    /// Stores the network's raw outputs; those beyond [`MAX_OUTPUTS`] are left out.
    pub fn set_outputs(&mut self, outputs: &[f32]) {
        self.output_count = 0;
        for (slot, &output) in self.outputs.iter_mut().zip(outputs) {
            *slot = output;
            self.output_count += 1;
        }
    }

    /// The network's raw outputs.
    pub fn outputs(&self) -> &[f32] {
        let count = (self.output_count as usize).min(MAX_OUTPUTS);
        self.outputs.get(..count).unwrap_or_default()
    }

    /// Stores the network's controls.
    pub const fn set_controls(&mut self, controls: Controls) {
        self.controls = match controls {
            Controls::Direct { steering, throttle } => [steering, throttle],
            Controls::Twist { speed, yaw_rate } => {
                self.flags |= flags::TWIST;
                [speed, yaw_rate]
            }
        };
    }

    /// Stores the command that was sent.
    pub const fn set_asked(&mut self, command: &Command) {
        self.asked = [command.steering, command.throttle];
    }

    /// Stores the guard's state and its last output.
    pub fn set_guard(&mut self, state: State, output: Output) {
        (self.guard_state, self.stop_reason) = GuardState::from(state).codes();
        self.granted = [output.steering, output.throttle];
        self.flags |= flags::GRANTED;
    }

    /// The guard's state.
    pub fn guard(&self) -> GuardState {
        GuardState::of_codes(self.guard_state, self.stop_reason)
    }

    /// Stores that no command was sent, because of `fault`; `detail` is what exactly failed, if
    /// that is known.
    pub const fn set_fault(&mut self, fault: Fault, detail: Option<FaultDetail>) {
        self.flags |= flags::NO_COMMAND;
        self.fault = fault_code(fault);
        self.detail = match detail {
            Some(detail) => detail.code(),
            None => 0,
        };
    }

    /// Why no command was sent, if none was.
    pub const fn fault(&self) -> Option<Fault> {
        fault(self.fault)
    }

    /// What exactly failed, if that is known.
    pub fn detail(&self) -> Option<FaultDetail> {
        FaultDetail::of_code(self.detail)
    }

    /// Stores what the car's sensors gave, and what the engine lacked.
    pub fn set_sensed(&mut self, sensed: &Sensed) {
        let nanos = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let numbers = self.measured.iter_mut().zip(Measurement::ALL);
        for (index, (slot, measurement)) in numbers.enumerate() {
            if let Some(number) = sensed.measured.get(measurement) {
                *slot = number;
                self.flags |= flags::MEASURED << index;
            }
        }
        for (index, _) in sensed.lacking.iter().enumerate().filter(|(_, it)| **it) {
            self.flags |= flags::LACKING << index;
        }
        if sensed.scan_lacking {
            self.flags |= flags::SCAN_LACKING;
        }
        self.flags |= match sensed.gap {
            Some(Gap::Held) => flags::MEMORY_HELD,
            Some(Gap::Reset) => flags::MEMORY_RESET,
            None => 0,
        };
        self.measured_age = nanos(sensed.measured_age);
        self.scan_age = nanos(sensed.scan_age);
    }

    /// What the car's sensors gave, and what the engine lacked.
    pub fn sensed(&self) -> Sensed {
        let mut measured = Measurements::default();
        let numbers = self.measured.iter().zip(Measurement::ALL);
        for (index, (&number, measurement)) in numbers.enumerate() {
            let known = self.has(flags::MEASURED << index);
            measured.set(measurement, known.then_some(number));
        }
        Sensed {
            measured,
            measured_age: Duration::from_nanos(self.measured_age),
            scan_age: Duration::from_nanos(self.scan_age),
            lacking: [0, 1, 2, 3].map(|index| self.has(flags::LACKING << index)),
            scan_lacking: self.has(flags::SCAN_LACKING),
            gap: match (self.has(flags::MEMORY_RESET), self.has(flags::MEMORY_HELD)) {
                (true, _) => Some(Gap::Reset),
                (false, true) => Some(Gap::Held),
                (false, false) => None,
            },
        }
    }

    /// Stores the name of the high-level command, which is cut after [`LONGEST_COMMAND`] bytes.
    pub fn set_high_level(&mut self, name: Option<&str>) {
        let bytes = name.unwrap_or_default().bytes().chain(std::iter::repeat(0));
        for (slot, byte) in self.high_level.iter_mut().zip(bytes) {
            *slot = byte;
        }
    }

    /// The name of the high-level command, if one is set.
    pub fn high_level(&self) -> Option<&str> {
        let end = self.high_level.iter().position(|&byte| byte == 0);
        let bytes = &self.high_level[..end.unwrap_or(LONGEST_COMMAND)];
        std::str::from_utf8(bytes)
            .ok()
            .filter(|name| !name.is_empty())
    }

    /// Stores the state of the simulated car.
    pub const fn set_simulated(&mut self, car: Simulated) {
        self.flags |= flags::SIMULATED;
        self.simulated = car;
    }

    /// The simulated car, if one is driven.
    pub fn simulated(&self) -> Option<Simulated> {
        self.has(flags::SIMULATED).then_some(self.simulated)
    }
}
