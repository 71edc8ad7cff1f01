//! The appearance of the world: colours, textures, light, sensor noise.

use crate::circuit::Colours;
use crate::random::Random;

/// The kind of ground beside the road. It selects the texture; the colour is set separately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Surroundings {
    /// Coarse and blotchy.
    #[default]
    Grass,
    /// Fine and even.
    Gravel,
}

/// The appearance of the world. Colours are sRGB.
#[derive(Debug, Clone, PartialEq)]
pub struct Appearance {
    /// The painted line.
    pub line: [u8; 3],
    /// The road.
    pub asphalt: [u8; 3],
    /// The ground beside the road.
    pub ground: [u8; 3],
    /// The texture of the ground beside the road.
    pub surroundings: Surroundings,
    /// The sky overhead.
    pub sky: [u8; 3],
    /// The sky above the horizon.
    pub haze: [u8; 3],
    /// The walls; every other group of panels is darker.
    pub walls: [u8; 3],
    /// Grain of the road and the line, 0 (none) to 1 (coarse).
    pub asphalt_texture: f64,
    /// Grain of the ground beside the road, 0 to 1.
    pub ground_texture: f64,
    /// Strength of lighter and darker patches, which are metres wide, 0 to 1.
    pub patches: f64,
    /// The fraction of light that shadows remove, 0 (no shadows) to 0.8.
    pub shadows: f64,
    /// Factor on the light, about 0.5 to 1.6.
    pub brightness: f64,
    /// Factor on the distance from middle grey.
    pub contrast: f64,
    /// Exponent of the camera's response curve; 1 leaves colours unchanged.
    pub gamma: f64,
    /// Darkening towards the corners, 0 to 1.
    pub vignetting: f64,
    /// Decrease of light towards the left (negative) or the right (positive), -0.6 to 0.6.
    pub sidelight: f64,
    /// Standard deviation of the sensor noise, grey levels.
    pub noise: f64,
    /// Seed of the position of textures and shadows.
    pub seed: u64,
}

impl Default for Appearance {
    /// A red line on dark asphalt, green grass, a blue-grey sky.
    fn default() -> Self {
        Self {
            line: [186, 24, 28],
            asphalt: [62, 63, 66],
            ground: [74, 112, 48],
            surroundings: Surroundings::Grass,
            sky: [112, 146, 182],
            haze: [196, 206, 212],
            walls: [170, 168, 160],
            asphalt_texture: 0.5,
            ground_texture: 0.6,
            patches: 0.3,
            shadows: 0.0,
            brightness: 1.0,
            contrast: 1.0,
            gamma: 1.0,
            vignetting: 0.15,
            sidelight: 0.0,
            noise: 2.0,
            seed: 0,
        }
    }
}

impl Appearance {
    /// A strongly varied appearance, the same for the same seed. The line has any hue, but its
    /// colour always differs clearly from the road's.
    pub fn random(seed: u64) -> Self {
        let mut random = Random::stream(seed, 0x100c);
        let r = &mut random;
        let asphalt = grey(r, 28.0, 175.0, 10.0);
        let line = loop {
            let hue = if r.chance(0.45) {
                r.range(-0.05, 0.04)
            } else {
                r.unit()
            };
            let strength = if r.chance(0.15) {
                r.range(0.0, 0.3)
            } else {
                r.range(0.55, 1.0)
            };
            let line = colour(hue, strength, r.range(0.25, 1.0));
            if difference(line, asphalt) > 75.0 {
                break line;
            }
        };
        let ground = match r.below(6) {
            0..3 => colour(r.range(0.17, 0.38), r.range(0.2, 0.75), r.range(0.2, 0.75)),
            3 => colour(r.range(0.07, 0.14), r.range(0.2, 0.6), r.range(0.35, 0.9)),
            4 => grey(r, 60.0, 220.0, 14.0),
            _ => colour(r.unit(), r.range(0.1, 0.6), r.range(0.2, 0.8)),
        };
        let sky = if r.chance(0.6) {
            colour(r.range(0.52, 0.64), r.range(0.1, 0.7), r.range(0.4, 1.0))
        } else {
            grey(r, 60.0, 245.0, 16.0)
        };
        let white = r.range(0.2, 0.8);
        let haze = sky.map(|c| (f64::from(c) + (235.0 - f64::from(c)) * white) as u8);
        let surroundings = if r.chance(0.5) {
            Surroundings::Grass
        } else {
            Surroundings::Gravel
        };
        Self {
            line,
            asphalt,
            ground,
            surroundings,
            sky,
            haze,
            walls: colour(r.unit(), r.range(0.0, 0.6), r.range(0.3, 0.95)),
            asphalt_texture: r.unit(),
            ground_texture: r.unit(),
            patches: r.range(0.0, 0.9),
            shadows: if r.chance(0.35) {
                r.range(0.2, 0.65)
            } else {
                0.0
            },
            brightness: r.log_range(0.6, 1.5),
            contrast: r.log_range(0.75, 1.35),
            gamma: r.log_range(0.75, 1.35),
            vignetting: if r.chance(0.5) {
                r.range(0.0, 0.6)
            } else {
                0.0
            },
            sidelight: if r.chance(0.5) {
                r.range(-0.5, 0.5)
            } else {
                0.0
            },
            noise: if r.chance(0.7) {
                r.range(0.0, 9.0)
            } else {
                0.0
            },
            seed: r.bits(),
        }
    }

    /// This appearance with the colours that a circuit prescribes.
    #[must_use]
    pub fn with_colours(mut self, colours: Colours) -> Self {
        self.line = colours.line.unwrap_or(self.line);
        self.asphalt = colours.asphalt.unwrap_or(self.asphalt);
        self.ground = colours.surroundings.unwrap_or(self.ground);
        self.sky = colours.sky.unwrap_or(self.sky);
        self.walls = colours.walls.unwrap_or(self.walls);
        self
    }

    /// The same colours without texture, shadow, noise or uneven light.
    #[must_use]
    pub fn plain(self) -> Self {
        Self {
            asphalt_texture: 0.0,
            ground_texture: 0.0,
            patches: 0.0,
            shadows: 0.0,
            vignetting: 0.0,
            sidelight: 0.0,
            noise: 0.0,
            ..self
        }
    }
}

fn grey(random: &mut Random, low: f64, high: f64, tint: f64) -> [u8; 3] {
    let level = random.range(low, high);
    [(); 3].map(|()| (level + random.range(-tint, tint)).clamp(0.0, 255.0) as u8)
}

/// Converts hue, saturation and value, each 0..1, to sRGB; the hue wraps.
fn colour(hue: f64, saturation: f64, value: f64) -> [u8; 3] {
    let channel = |shift: f64| {
        let k = libm::fmod(shift + (hue + 1.0) * 6.0, 6.0);
        let part = k.min(4.0 - k).clamp(0.0, 1.0);
        (255.0 * value * (1.0 - saturation * part)) as u8
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

/// The distance between two colours, 0..441.
fn difference(a: [u8; 3], b: [u8; 3]) -> f64 {
    let square = |i: usize| (f64::from(a[i]) - f64::from(b[i])).powi(2);
    libm::sqrt(square(0) + square(1) + square(2))
}
