//! Renders sky and ground of one row, with texture.

use std::ops::Range;

use super::coverage::Coverage;
use super::texture::{self, Grain, Patches};
use super::view::View;
use crate::Appearance;
use crate::appearance::Surroundings;
use crate::random::Random;

/// Pixels between two knots. At a knot the ray is intersected with the ground; between knots,
/// position and shade are interpolated linearly.
const KNOT: usize = 16;

/// The number of shades in a palette; half of it is full daylight.
const SHADES: usize = 1024;

/// Size of a texel of the patches, metres.
const PATCH: f64 = 0.5;

/// A pixel's red, green and blue.
type Rgb = [u8; 3];

/// The colours of the pixels between two knots, and one spare byte.
type Colours = [u8; KNOT * 3 + 1];

/// The colour of a material in every shade.
struct Palette {
    /// Red, green, blue, and a byte of padding for fast copies.
    shades: Vec<[u8; 4]>,
    /// Shades per step of the grain, in 1/65536.
    grain: i32,
}

impl Palette {
    fn new(looks: &Appearance, colour: Rgb, grain: f64) -> Self {
        let shades = (0..SHADES)
            .map(|shade| {
                let light = shade as f64 / (SHADES / 2) as f64;
                let [r, g, b] = colour.map(|c| camera_level(looks, f64::from(c) * light));
                [r, g, b, 0]
            })
            .collect();
        // The grain's standard deviation is 40 steps; at full strength that is a quarter of the
        // light.
        let grain = grain * 0.25 * (SHADES / 2) as f64 / 40.0 * 65536.0;
        Self {
            shades,
            grain: grain as i32,
        }
    }

    fn along(&self, run: &Run, grain: &[i8; KNOT]) -> Colours {
        let mut shades = [0_i32; KNOT];
        for ((shade, &light), &grain) in shades.iter_mut().zip(&run.shade).zip(grain) {
            let lit = (light + i32::from(grain) * self.grain) >> 16;
            *shade = lit.clamp(0, SHADES as i32 - 1);
        }
        // The next colour overwrites the fourth byte of each colour.
        let mut colours = [0; KNOT * 3 + 1];
        for (i, &shade) in shades.iter().enumerate() {
            colours[i * 3..i * 3 + 4].copy_from_slice(&self.shades[shade as usize]);
        }
        colours
    }

    /// The colour in full daylight.
    fn full(&self) -> Rgb {
        let [r, g, b, _] = self.shades[SHADES / 2];
        [r, g, b]
    }
}

/// Converts light to a grey level, with the exposure of the looks.
pub fn camera_level(looks: &Appearance, level: f64) -> u8 {
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
    /// The position of the world's origin in the patches.
    origin: [f64; 2],
    road_shares: Vec<u16>,
    line_shares: Vec<u16>,
    knots: Vec<Knot>,
}

/// The ground point of the ray at a knot.
#[derive(Clone, Copy, Default)]
struct Knot {
    /// Position in texels of the finest level, in 1/256, wrapping.
    u: i32,
    v: i32,
    /// Shade in 1/65536.
    shade: i32,
    level: u32,
}

impl Ground {
    pub fn new(looks: &Appearance, width: usize) -> Self {
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

    /// Renders row `row` of the frame, which is row `index` of the coverages.
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
        // How far the middle of a column is below the horizon, in pixels.
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
        self.intersect_ground(view, ray, step, width);
        let road_span = road.row(index, &mut self.road_shares);
        let line_span = paint.row(index, &mut self.line_shares);
        let all_ground = left >= 0.5 && right >= 0.5;
        for block in 0..width.div_ceil(KNOT) {
            let columns = block * KNOT..((block + 1) * KNOT).min(width);
            let (a, b) = (self.knots[block], self.knots[block + 1]);
            let run = Run::between(a, b);
            let pixels = &mut rgb[columns.start * 3..columns.end * 3];
            let road = Shares::of(&self.road_shares, road_span, &columns);
            let line = Shares::of(&self.line_shares, line_span, &columns);
            let road_texels = Texels::of(self.road_grain, a.level);
            let beside_texels = Texels::of(self.beside_grain, a.level);
            if all_ground {
                let alone = match (road, line) {
                    (_, Shares::Full) => Some((&self.line, &road_texels)),
                    (Shares::Full, Shares::None) => Some((&self.asphalt, &road_texels)),
                    (Shares::None, Shares::None) => Some((&self.beside, &beside_texels)),
                    _ => None,
                };
                if let Some((palette, texels)) = alone {
                    let colours = palette.along(&run, &texels.along(&run));
                    let bytes = pixels.len();
                    pixels.copy_from_slice(&colours[..bytes]);
                    continue;
                }
            }
            let grain = road_texels.along(&run);
            let line_colours = self.line.along(&run, &grain);
            let road_colours = self.asphalt.along(&run, &grain);
            let beside_colours = self.beside.along(&run, &beside_texels.along(&run));
            for ((i, column), pixel) in columns.enumerate().zip(pixels.chunks_exact_mut(3)) {
                let ground = if all_ground {
                    256
                } else {
                    let share = (below(column as f64 + 0.5) + 0.5).clamp(0.0, 1.0);
                    (share * 256.0 + 0.5) as u32
                };
                let line = line.at(&self.line_shares, column).min(ground);
                let road = road.at(&self.road_shares, column).min(ground).max(line);
                let at =
                    |colours: &Colours| [colours[i * 3], colours[i * 3 + 1], colours[i * 3 + 2]];
                let colour = mix([
                    (at(&line_colours), line),
                    (at(&road_colours), road - line),
                    (at(&beside_colours), ground - road),
                    (sky, 256 - ground),
                ]);
                pixel.copy_from_slice(&colour);
            }
        }
    }

    /// Intersects the row's rays with the ground at every knot.
    fn intersect_ground(&mut self, view: &View, ray: [f64; 3], step: [f64; 3], width: usize) {
        let height = view.position[2];
        for block in 0..=width.div_ceil(KNOT) {
            let column = (block * KNOT) as f64 + 0.5;
            let fall = -(ray[2] + column * step[2]);
            // Above the horizon the result is not used; just below it, the ground is too far away
            // for texture.
            let reach = height / fall.max(1e-4 * view.focal);
            let x = view.position[0] + reach * (ray[0] + column * step[0]);
            let y = view.position[1] + reach * (ray[1] + column * step[1]);
            let texel = |metres: f64| (metres * (256.0 / texture::TEXEL)) as i64 as i32;
            // The size of a pixel on the ground, across and along the ray.
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
            // Patches that are smaller than a pixel fade out.
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

    /// The sky's colour in a row: haze at the horizon, the sky colour above.
    fn sky_colour(&self, view: &View, row: usize) -> Rgb {
        let above = (view.centre[1] - row as f64 - 0.5) / view.focal;
        let share = (above * 1.8).clamp(0.0, 1.0) * 256.0;
        mix([
            (self.sky.full(), share as u32),
            (self.haze.full(), 256 - share as u32),
            ([0; 3], 0),
            ([0; 3], 0),
        ])
    }
}

/// Texture positions and shades of the columns between two knots.
struct Run {
    u: [i32; KNOT],
    v: [i32; KNOT],
    shade: [i32; KNOT],
}

impl Run {
    fn between(a: Knot, b: Knot) -> Self {
        let even = |from: i32, to: i32| {
            let step = to.wrapping_sub(from) / KNOT as i32;
            let mut at = [from; KNOT];
            for (i, value) in at.iter_mut().enumerate() {
                *value = from.wrapping_add(step.wrapping_mul(i as i32));
            }
            at
        };
        Self {
            u: even(a.u, b.u),
            v: even(a.v, b.v),
            shade: even(a.shade, b.shade),
        }
    }
}

/// How far a shape covers a group of neighbouring pixels.
#[derive(Clone, Copy)]
enum Shares {
    None,
    Full,
    Mixed,
}

impl Shares {
    /// `span` is the range of columns outside of which nothing is covered; there, `shares` is out
    /// of date.
    fn of(shares: &[u16], span: (usize, usize), columns: &Range<usize>) -> Self {
        if columns.end <= span.0 || columns.start >= span.1 {
            return Self::None;
        }
        let shares = &shares[columns.clone()];
        if shares.iter().all(|&share| share == 0) {
            Self::None
        } else if shares.iter().all(|&share| share == 256) {
            Self::Full
        } else {
            Self::Mixed
        }
    }

    fn at(self, shares: &[u16], column: usize) -> u32 {
        match self {
            Self::None => 0,
            Self::Full => 256,
            Self::Mixed => u32::from(shares[column]),
        }
    }
}

/// One level of a grain, addressed in 1/256 texels of the finest level.
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

    fn along(&self, run: &Run) -> [i8; KNOT] {
        let mask = (1_u32 << self.bits) - 1;
        let mut places = [0_u32; KNOT];
        for ((place, &u), &v) in places.iter_mut().zip(&run.u).zip(&run.v) {
            let (x, y) = (
                (u >> self.shift) as u32 & mask,
                (v >> self.shift) as u32 & mask,
            );
            *place = (y << self.bits) | x;
        }
        let mut grain = [0; KNOT];
        for (value, &place) in grain.iter_mut().zip(&places) {
            *value = self.texels[place as usize];
        }
        grain
    }
}

/// Mixes colours by their weights, whose sum is 256.
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
