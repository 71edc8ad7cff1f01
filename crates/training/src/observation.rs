//! What a network gets with each frame: pictures, and numbers measured on the car.

use std::fmt;

use pilotage_vehicle::{Measurement, Measurements};

use crate::network::{HEIGHT, PICTURE, WIDTH};

/// What a car's network gets with a frame.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The latest pictures, the oldest first: rows of interleaved RGB.
    pub pictures: &'a [u8],
    /// What the car's sensors measured.
    pub measured: Measurements,
}

/// The inputs of a network of the simulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputForm {
    /// The number of pictures: the present one, and those before it.
    pub pictures: usize,
    /// The measurements. Each is an input of its own, of 1x1, with the measurement's name.
    pub measurements: Vec<Measurement>,
}

impl Default for InputForm {
    /// One picture.
    fn default() -> Self {
        Self {
            pictures: 1,
            measurements: Vec::new(),
        }
    }
}

impl fmt::Display for InputForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pictures {
            1 => write!(f, "1 picture")?,
            count => write!(f, "{count} pictures")?,
        }
        for measurement in &self.measurements {
            write!(f, ", measured {}", measurement.name())?;
        }
        Ok(())
    }
}

/// A measured number as a network gets it: `scale * number + offset`, in an input of its own, of 1x1,
/// with the measurement's name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// What is measured.
    pub measurement: Measurement,
    /// The factor.
    pub scale: f32,
    /// Added after the multiplication.
    pub offset: f32,
}

impl Number {
    /// A measurement of the simulator's car. Its numbers then lie within about 2, as the features of
    /// the picture do, beside which they are quantized: those have one scale.
    pub const fn simulated(measurement: Measurement) -> Self {
        let (scale, offset) = match measurement {
            // Around 8 m/s.
            Measurement::Speed => (0.25, -2.0),
            Measurement::YawRate => (0.5, 0.0),
            Measurement::Acceleration | Measurement::LateralAcceleration => (0.125, 0.0),
        };
        Self {
            measurement,
            scale,
            offset,
        }
    }

    /// Whether the sign depends on left and right.
    pub const fn turns(self) -> bool {
        match self.measurement {
            Measurement::YawRate | Measurement::LateralAcceleration => true,
            Measurement::Speed | Measurement::Acceleration => false,
        }
    }

    /// The network's element for a number. A mirrored car turns the other way.
    pub fn element(self, number: f32, mirrored: bool) -> f32 {
        let is_negated = mirrored && self.turns();
        self.scale * if is_negated { -number } else { number } + self.offset
    }

    /// The table of a recipe for `pilotage compile`.
    pub fn table(self) -> String {
        let Self { scale, offset, .. } = self;
        let name = self.measurement.name();
        format!(
            "\n[[measurement]]\ninput = \"{name}\"\nvalues = [\"{name}\"]\nscale = {scale:?}\n\
             offset = {offset:?}\n"
        )
    }
}

/// Writes the inputs of a network of the simulator for `measurements`, which are one element each.
/// What is not measured is 0, in the unit of the measurement.
pub fn write_numbers<'a>(
    measured: &Measurements,
    measurements: &[Measurement],
    mirrored: bool,
    inputs: impl Iterator<Item = &'a mut [f32]>,
) {
    for (&measurement, input) in measurements.iter().zip(inputs) {
        let number = measured.get(measurement).unwrap_or(0.0);
        input.fill(Number::simulated(measurement).element(number, mirrored));
    }
}

/// The network's input for every byte, by colour.
pub fn plain() -> [[f32; 256]; 3] {
    [std::array::from_fn(|byte| byte as f32 / 255.0); 3]
}

/// Writes the network's input for `picture`, one plane for each colour, with the value of every byte
/// by colour. Left and right are exchanged when `mirrored`.
pub fn write_planes(picture: &[u8], values: &[[f32; 256]; 3], mirrored: bool, out: &mut [f32]) {
    debug_assert_eq!((picture.len(), out.len()), (PICTURE, PICTURE));
    let planes = out.chunks_exact_mut(HEIGHT * WIDTH).zip(values);
    for (colour, (plane, values)) in planes.enumerate() {
        let rows = picture.chunks_exact(3 * WIDTH);
        for (row, out) in rows.zip(plane.chunks_exact_mut(WIDTH)) {
            let bytes = row[colour..].iter().step_by(3);
            let write = |(to, &byte): (&mut f32, &u8)| *to = values[usize::from(byte)];
            match mirrored {
                true => out.iter_mut().rev().zip(bytes).for_each(write),
                false => out.iter_mut().zip(bytes).for_each(write),
            }
        }
    }
}
