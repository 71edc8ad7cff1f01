//! The engine's inputs during a measurement.

use pilotage_engine::{Buffer, Bundle, ElementType, Port, ValidationSet};
use pilotage_vision::{Crop, Preprocess};
use serde::Serialize;

/// Where the inputs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::commands) enum Source {
    /// Frames from the engine file.
    Frames,
    /// Noise, because there are no frames.
    Noise,
}

/// Inputs that are used in rotation, each with a tensor for every port.
#[derive(Debug)]
pub(in crate::commands) struct Inputs {
    pub(in crate::commands) source: Source,
    pub(in crate::commands) frames: Vec<Vec<Buffer>>,
}

/// The number of noise frames before they repeat.
const NOISY_FRAMES: usize = 8;

impl Inputs {
    /// The validation frames of `bundle`, as the network gets them, or else noise.
    pub(in crate::commands) fn of(bundle: &Bundle) -> Self {
        if let Some(frames) = validation_frames(bundle).filter(|frames| !frames.is_empty()) {
            return Self {
                source: Source::Frames,
                frames,
            };
        }
        let ports: Vec<_> = (bundle.plan.inputs.iter())
            .map(|port| bundle.plan.port(port))
            .collect();
        let mut noise = Noise::default();
        let mut frame = || ports.iter().map(|port| noise.tensor(port)).collect();
        Self {
            source: Source::Noise,
            frames: (0..NOISY_FRAMES).map(|_| frame()).collect(),
        }
    }
}

/// `None` if there are no frames or they do not fit this input.
fn validation_frames(bundle: &Bundle) -> Option<Vec<Vec<Buffer>>> {
    let validation = ValidationSet::of(bundle).ok()?;
    let plan = &bundle.plan;
    let tensors = |frame: &Vec<u8>| {
        let inputs = plan.inputs.iter().map(|port| plan.port(port));
        let mut tensors: Vec<Buffer> = inputs.map(|port| Buffer::zeros(&port)).collect();
        // An engine takes pixels, and 8-bit integers are pixels minus 128.
        validation.fill(frame, 0, &mut tensors).ok()?;
        Some(tensors)
    };
    validation.frames().iter().map(tensors).collect()
}

/// The smallest frame that contains the recipe's crop; `whole` if nothing is cropped.
pub(in crate::commands) fn frame_size(preprocess: &Preprocess, whole: (u32, u32)) -> (u32, u32) {
    preprocess.crop.map_or(whole, Crop::end)
}

/// Reproducible pseudo-random numbers.
#[derive(Debug)]
pub(in crate::commands) struct Noise(u32);

impl Default for Noise {
    fn default() -> Self {
        Self(0x9e37_79b9)
    }
}

impl Noise {
    /// Xorshift, after Marsaglia.
    pub(in crate::commands) fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 >> 24) as u8
    }

    /// Floats from 0 to 1, and integers of one byte. Wider integers, which may be indices, and
    /// booleans are 0 and 1.
    fn tensor(&mut self, port: &Port) -> Buffer {
        let mut tensor = Buffer::zeros(port);
        let truth = port.element_type == ElementType::Bool;
        match &mut tensor {
            Buffer::F32(data) => data.fill_with(|| f32::from(self.byte()) / 255.0),
            Buffer::I64(data) => data.fill_with(|| i64::from(self.byte() & 1)),
            Buffer::I32(data) => data.fill_with(|| i32::from(self.byte() & 1)),
            Buffer::U8(data) if truth => data.fill_with(|| self.byte() & 1),
            Buffer::U8(data) => data.fill_with(|| self.byte()),
            Buffer::I8(data) => data.fill_with(|| self.byte().cast_signed()),
        }
        tensor
    }
}
