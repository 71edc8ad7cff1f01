//! Applies uneven light and sensor noise to the picture.

use super::texture;
use crate::random::Random;
use crate::{Appearance, CameraSpec};

/// The factor 1: factors are in units of 1/256, and at most 1.
const ONE: f64 = 256.0;

pub struct Light {
    /// A factor for every byte of a row, and a factor for every row. Unused when the light is even.
    columns: Vec<u16>,
    rows: Vec<u16>,
    even: bool,
    /// Standard deviation of the noise in 1/256 grey levels per step of the noise table.
    noise: i16,
}

impl Light {
    pub fn new(looks: &Appearance, camera: &CameraSpec) -> Self {
        // Decreases with the square of the distance from the middle, separately for both axes.
        let vignette = |i: usize, n: usize| {
            let t = (2.0 * (i as f64 + 0.5) / n as f64) - 1.0;
            (1.0 - 0.5 * looks.vignetting * t * t, t)
        };
        let column = |i: usize| {
            let (factor, t) = vignette(i, camera.width);
            let side = 1.0 - 0.5 * looks.sidelight.abs() * (1.0 + t * looks.sidelight.signum());
            (factor * side * ONE).clamp(0.0, ONE) as u16
        };
        Self {
            columns: (0..camera.width * 3).map(|i| column(i / 3)).collect(),
            rows: (0..camera.height)
                .map(|i| (vignette(i, camera.height).0 * ONE).clamp(0.0, ONE) as u16)
                .collect(),
            even: looks.vignetting == 0.0 && looks.sidelight == 0.0,
            noise: (looks.noise.clamp(0.0, 30.0) * 8.0) as i16,
        }
    }

    pub fn row(&self, row: usize, frame_seed: u64, rgb: &mut [u8]) {
        if !self.even {
            let across = self.rows[row];
            let dim = |byte: &mut u8, factor: u16| *byte = ((u16::from(*byte) * factor) >> 8) as u8;
            // The product fits in 16 bits unless both factors are ONE.
            if across == ONE as u16 {
                for (byte, &column) in rgb.iter_mut().zip(&self.columns) {
                    dim(byte, column);
                }
            } else {
                for (byte, &column) in rgb.iter_mut().zip(&self.columns) {
                    dim(byte, (column * across) >> 8);
                }
            }
        }
        if self.noise > 0 {
            let table = texture::noise();
            let mut random = Random::stream(frame_seed, row as u64);
            let from = random.below(table.len() - rgb.len().min(table.len() - 1));
            for (byte, &noise) in rgb.iter_mut().zip(&table[from..]) {
                let shift = (i16::from(noise) * self.noise) >> 8;
                *byte = (i16::from(*byte) + shift).clamp(0, 255) as u8;
            }
        }
    }
}
