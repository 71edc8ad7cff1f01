//! Sky and ground of one row, with texture.

use super::coverage::Coverage;
use super::texture::{self, Grain, Patches};
use super::view::View;
use crate::Looks;
use crate::looks::Surroundings;
use crate::random::Random;

/// Pixels between two places where the view's rays are followed to the ground;
/// between them position and shade run evenly.
const KNOT: usize = 16;

/// Levels of shade in a palette; one half of them is full daylight.
const SHADES: usize = 1024;

/// Metres of one texel of the patches.
const PATCH: f64 = 0.5;

/// A pixel's red, green and blue.
type Rgb = [u8; 3];

/// One material's colour in every shade.
struct Palette {
    shades: Vec<Rgb>,
    /// Shades per step of the grain, in 1/65536.
    grain: i32,
}

impl Palette {
    fn new(looks: &Looks, colour: Rgb, grain: f64) -> Self {
        let shades = (0..SHADES)
            .map(|shade| {
                let light = shade as f64 / (SHADES / 2) as f64;
                colour.map(|c| camera_level(looks, f64::from(c) * light))
            })
            .collect();
        // The grain's deviation is 40 steps; at full strength it is a quarter of the light.
        let grain = grain * 0.25 * (SHADES / 2) as f64 / 40.0 * 65536.0;
        Self {
            shades,
            grain: grain as i32,
        }
    }

    fn at(&self, shade: i32, grain: i8) -> Rgb {
        let shade = (shade + i32::from(grain) * self.grain) >> 16;
        self.shades[shade.clamp(0, SHADES as i32 - 1) as usize]
    }
}

/// Light to grey level, by the looks' exposure.
pub fn camera_level(looks: &Looks, level: f64) -> u8 {
    let lit = (level * looks.brightness / 255.0).max(0.0);
    let curved = if looks.gamma == 1.0 {
        lit
    } else {
        libm::pow(lit, looks.gamma)
    };
    let contrasted = 0.5 + (curved - 0.5) * looks.contrast;
    (contrasted * 255.0 + 0.5).clamp(0.0, 255.0) as u8
}

pub struct Ground {
    line: Palette,
    asphalt: Palette,
    beside: Palette,
    sky: Palette,
    haze: Palette,
    road_grain: &'static Grain,
    beside_grain: &'static Grain,
    patches: Option<&'static Patches>,
    patch_strength: f64,
    shadow_strength: f64,
    /// Where in the patches the world's origin lies.
    origin: [f64; 2],
    road_shares: Vec<u16>,
    line_shares: Vec<u16>,
    knots: Vec<Knot>,
}

/// What a ray at a knot meets.
#[derive(Clone, Copy, Default)]
struct Knot {
    /// Texels of the finest level, in 1/256, wrapping.
    u: i64,
    v: i64,
    /// Shade in 1/65536.
    shade: i32,
    level: u32,
}

impl Ground {
    pub fn new(looks: &Looks, width: usize) -> Self {
        let mut random = Random::stream(looks.seed, 0x6d);
        let patterned = looks.patches > 0.0 || looks.shadows > 0.0;
        Self {
            line: Palette::new(looks, looks.line, 0.7 * looks.asphalt_texture),
            asphalt: Palette::new(looks, looks.asphalt, looks.asphalt_texture),
            beside: Palette::new(looks, looks.ground, looks.ground_texture),
            sky: Palette::new(looks, looks.sky, 0.0),
            haze: Palette::new(looks, looks.haze, 0.0),
            road_grain: texture::asphalt(),
            beside_grain: match looks.surroundings {
                Surroundings::Grass => texture::grass(),
                Surroundings::Gravel => texture::asphalt(),
            },
            patches: patterned.then(texture::patches),
            patch_strength: 0.3 * looks.patches,
            shadow_strength: looks.shadows,
            origin: [random.range(0.0, 128.0), random.range(0.0, 128.0)],
            road_shares: vec![0; width],
            line_shares: vec![0; width],
            knots: vec![Knot::default(); width / KNOT + 2],
        }
    }

    /// Draws row `row` of the frame, the `index`-th of the coverages.
    pub fn row(
        &mut self,
        view: &View,
        row: usize,
        index: usize,
        road: &Coverage,
        paint: &Coverage,
        rgb: &mut [u8],
    ) {
        let width = self.road_shares.len();
        let (ray, step) = view.row_rays(row as f64 + 0.5);
        // How far below the horizon a column's middle is, in pixels.
        let slope = view.horizon_slope();
        let below = |column: f64| -(ray[2] + column * step[2]) / slope;
        let (left, right) = (below(0.5), below(width as f64 - 0.5));
        let sky = self.sky_colour(view, row);
        if left <= -0.5 && right <= -0.5 {
            for pixel in rgb.chunks_exact_mut(3) {
                pixel.copy_from_slice(&sky);
            }
            return;
        }
        self.follow(view, ray, step, width);
        let road_span = road.row(index, &mut self.road_shares);
        let line_span = paint.row(index, &mut self.line_shares);
        let all_ground = left >= 0.5 && right >= 0.5;
        for block in 0..width.div_ceil(KNOT) {
            let columns = block * KNOT..((block + 1) * KNOT).min(width);
            let (a, b) = (self.knots[block], self.knots[block + 1]);
            let mut run = Run::between(a, b);
            let pixels = &mut rgb[columns.start * 3..columns.end * 3];
            let has_road = columns.end > road_span.0 && columns.start < road_span.1;
            let has_line = columns.end > line_span.0 && columns.start < line_span.1;
            let beside = Texels::of(self.beside_grain, a.level);
            if all_ground && !has_road && !has_line {
                for pixel in pixels.chunks_exact_mut(3) {
                    let (at, shade) = run.next();
                    pixel.copy_from_slice(&self.beside.at(shade, beside.at(at)));
                }
                continue;
            }
            let asphalt = Texels::of(self.road_grain, a.level);
            for (column, pixel) in columns.zip(pixels.chunks_exact_mut(3)) {
                let (at, shade) = run.next();
                let road = if has_road {
                    self.road_shares[column]
                } else {
                    0
                };
                let line = if has_line {
                    self.line_shares[column]
                } else {
                    0
                };
                let ground = if all_ground {
                    256
                } else {
                    let share = (below(column as f64 + 0.5) + 0.5).clamp(0.0, 1.0);
                    (share * 256.0 + 0.5) as u16
                };
                let colour = if ground == 256 && line == 0 && road == 256 {
                    self.asphalt.at(shade, asphalt.at(at))
                } else if ground == 256 && line == 256 {
                    self.line.at(shade, asphalt.at(at))
                } else if ground == 256 && line == 0 && road == 0 {
                    self.beside.at(shade, beside.at(at))
                } else {
                    let ground = u32::from(ground);
                    let line = u32::from(line).min(ground);
                    let road = u32::from(road).min(ground).max(line);
                    mix([
                        (self.line.at(shade, asphalt.at(at)), line),
                        (self.asphalt.at(shade, asphalt.at(at)), road - line),
                        (self.beside.at(shade, beside.at(at)), ground - road),
                        (sky, 256 - ground),
                    ])
                };
                pixel.copy_from_slice(&colour);
            }
        }
    }

    /// Follows the row's rays to the ground at every knot.
    fn follow(&mut self, view: &View, ray: [f64; 3], step: [f64; 3], width: usize) {
        let height = view.position[2];
        for block in 0..=width.div_ceil(KNOT) {
            let column = (block * KNOT) as f64 + 0.5;
            let fall = -(ray[2] + column * step[2]);
            // Above the horizon nothing of this is seen; just below it, the ground
            // is too far for texture.
            let reach = height / fall.max(1e-4 * view.focal);
            let x = view.position[0] + reach * (ray[0] + column * step[0]);
            let y = view.position[1] + reach * (ray[1] + column * step[1]);
            let texel = |metres: f64| (metres * (256.0 / texture::TEXEL)) as i64;
            // What one pixel spans on the ground, across and along the ray.
            let across = reach.max(1e-9);
            let along = across * reach * view.focal / height;
            let span = across * libm::sqrt(libm::sqrt(along / across)) / texture::TEXEL;
            self.knots[block] = Knot {
                u: texel(x),
                v: texel(y),
                shade: self.shade(x, y, along),
                level: (span.max(1.0) as u64)
                    .ilog2()
                    .min(texture::LEVELS as u32 - 1),
            };
        }
    }

    /// The light on the ground at a point, where a pixel spans `along` metres.
    fn shade(&self, x: f64, y: f64, along: f64) -> i32 {
        let mut light = 1.0;
        if let Some(patches) = self.patches {
            // Patches finer than a pixel fade.
            let seen = (1.0 - along / (4.0 * PATCH)).clamp(0.0, 1.0);
            if seen > 0.0 {
                let (px, py) = (x / PATCH + self.origin[0], y / PATCH + self.origin[1]);
                light += seen * self.patch_strength * f64::from(patches.at(px, py));
                if self.shadow_strength > 0.0 {
                    let cloud = f64::from(patches.at(0.31 * py + 40.0, 0.31 * px + 17.0));
                    let dark = ((cloud - 0.15) * 8.0).clamp(0.0, 1.0);
                    light *= 1.0 - seen * self.shadow_strength * dark;
                }
            }
        }
        (light.clamp(0.0, 1.99) * (SHADES / 2) as f64 * 65536.0) as i32
    }

    /// The sky's colour in a row: haze at the horizon, the sky's own above.
    fn sky_colour(&self, view: &View, row: usize) -> Rgb {
        let above = (view.centre[1] - row as f64 - 0.5) / view.focal;
        let share = (above * 1.8).clamp(0.0, 1.0) * 256.0;
        let full = (SHADES as i32 / 2) << 16;
        mix([
            (self.sky.at(full, 0), share as u32),
            (self.haze.at(full, 0), 256 - share as u32),
            ([0; 3], 0),
            ([0; 3], 0),
        ])
    }
}

/// Texture place and shade along the columns between two knots.
struct Run {
    u: i64,
    v: i64,
    shade: i32,
    steps: (i64, i64, i32),
}

impl Run {
    fn between(a: Knot, b: Knot) -> Self {
        let knot = KNOT as i64;
        Self {
            u: a.u,
            v: a.v,
            shade: a.shade,
            steps: (
                (b.u - a.u) / knot,
                (b.v - a.v) / knot,
                (b.shade - a.shade) / KNOT as i32,
            ),
        }
    }

    fn next(&mut self) -> ((i64, i64), i32) {
        let here = ((self.u, self.v), self.shade);
        self.u += self.steps.0;
        self.v += self.steps.1;
        self.shade += self.steps.2;
        here
    }
}

/// One level of a grain, addressed in 1/256 texels of the finest.
struct Texels<'a> {
    texels: &'a [i8],
    shift: u32,
    bits: u32,
}

impl<'a> Texels<'a> {
    fn of(grain: &'a Grain, level: u32) -> Self {
        Self {
            texels: grain.level(level as usize),
            shift: 8 + level,
            bits: texture::BITS - level,
        }
    }

    fn at(&self, (u, v): (i64, i64)) -> i8 {
        let mask = (1_usize << self.bits) - 1;
        let (x, y) = (
            (u >> self.shift) as usize & mask,
            (v >> self.shift) as usize & mask,
        );
        self.texels[(y << self.bits) | x]
    }
}

/// Colours by their shares of 256.
fn mix(parts: [(Rgb, u32); 4]) -> Rgb {
    let channel = |k: usize| {
        let sum: u32 = parts
            .iter()
            .map(|(rgb, share)| u32::from(rgb[k]) * share)
            .sum();
        ((sum + 128) >> 8).min(255) as u8
    };
    [channel(0), channel(1), channel(2)]
}
