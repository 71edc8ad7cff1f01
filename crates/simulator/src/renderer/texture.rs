//! Tiling textures, made once per process.

use std::sync::OnceLock;

use crate::random::Random;

/// Size of a texel of the finest level, metres.
pub const TEXEL: f64 = 0.001;
/// log2 of the number of texels along a side of the finest level.
pub const BITS: u32 = 10;
/// The number of levels, each with half the side of the one before.
pub const LEVELS: usize = BITS as usize + 1;

/// A tiling grain in several levels (a mipmap), as deviations from the mean.
pub struct Grain {
    levels: Vec<Vec<i8>>,
}

impl Grain {
    pub fn level(&self, level: usize) -> &[i8] {
        &self.levels[level.min(LEVELS - 1)]
    }

    /// Sums layers of blurred white noise, each given by its radius in texels and its weight.
    fn new(seed: u64, layers: &[(usize, f32)]) -> Self {
        let size = 1_usize << BITS;
        let mut sum = vec![0.0_f32; size * size];
        for (index, &(radius, weight)) in layers.iter().enumerate() {
            let mut random = Random::stream(seed, index as u64);
            let mut layer: Vec<f32> = (0..size * size / 4)
                .flat_map(|_| {
                    let bits = random.bits();
                    [0, 16, 32, 48].map(|shift| ((bits >> shift) & 0xffff) as f32 / 65536.0 - 0.5)
                })
                .collect();
            for _ in 0..2 {
                blur_rows(&mut layer, size, radius);
                transpose(&mut layer, size);
                blur_rows(&mut layer, size, radius);
                transpose(&mut layer, size);
            }
            let square = layer.iter().map(|v| v * v).sum::<f32>() / layer.len() as f32;
            let scale = weight / square.sqrt().max(1e-6);
            for (total, value) in sum.iter_mut().zip(&layer) {
                *total += scale * value;
            }
        }
        let square = sum.iter().map(|v| v * v).sum::<f32>() / sum.len() as f32;
        let scale = 40.0 / square.sqrt().max(1e-6);
        let mut levels = vec![
            sum.iter()
                .map(|v| (v * scale).clamp(-127.0, 127.0) as i8)
                .collect::<Vec<i8>>(),
        ];
        for bits in (0..BITS).rev() {
            let (side, finer) = (1_usize << bits, &levels[levels.len() - 1]);
            let at = |x: usize, y: usize| i32::from(finer[y * side * 2 + x]);
            let level = (0..side * side)
                .map(|i| {
                    let (x, y) = (i % side * 2, i / side * 2);
                    let sum = at(x, y) + at(x + 1, y) + at(x, y + 1) + at(x + 1, y + 1);
                    (sum >> 2) as i8
                })
                .collect();
            levels.push(level);
        }
        Self { levels }
    }
}

/// A box blur over `2 * radius + 1` texels along each row, which wraps.
fn blur_rows(values: &mut [f32], size: usize, radius: usize) {
    if radius == 0 {
        return;
    }
    let mut old = vec![0.0; size];
    for row in values.chunks_exact_mut(size) {
        old.copy_from_slice(row);
        let mut sum: f32 = (0..=2 * radius)
            .map(|i| old[(i + size - radius) % size])
            .sum();
        for x in 0..size {
            row[x] = sum;
            sum += old[(x + radius + 1) % size] - old[(x + size - radius) % size];
        }
    }
}

fn transpose(values: &mut [f32], size: usize) {
    for y in 0..size {
        for x in 0..y {
            values.swap(y * size + x, x * size + y);
        }
    }
}

/// The grain of stones and bitumen.
pub fn asphalt() -> &'static Grain {
    static GRAIN: OnceLock<Grain> = OnceLock::new();
    GRAIN.get_or_init(|| Grain::new(1, &[(1, 1.0), (2, 0.8), (12, 0.4)]))
}

/// The grain of tufts of grass.
pub fn grass() -> &'static Grain {
    static GRAIN: OnceLock<Grain> = OnceLock::new();
    GRAIN.get_or_init(|| Grain::new(2, &[(1, 0.5), (4, 0.9), (20, 0.9)]))
}

/// Smooth tiling noise with values in -1..1, for patches and shadows.
pub struct Patches {
    values: Vec<f32>,
}

const PATCHES_BITS: u32 = 7;
const PATCHES_SIDE: usize = 1 << PATCHES_BITS;

impl Patches {
    fn new() -> Self {
        let mut random = Random::stream(3, 0);
        let mut values: Vec<f32> = (0..PATCHES_SIDE * PATCHES_SIDE)
            .map(|_| random.unit() as f32 - 0.5)
            .collect();
        for _ in 0..2 {
            blur_rows(&mut values, PATCHES_SIDE, 2);
            transpose(&mut values, PATCHES_SIDE);
        }
        let square = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        let scale = 0.5 / square.sqrt().max(1e-6);
        for value in &mut values {
            *value = (*value * scale).clamp(-1.0, 1.0);
        }
        Self { values }
    }

    /// The value at (x, y) in texels, interpolated between the four texels around it; wraps.
    pub fn at(&self, x: f64, y: f64) -> f32 {
        let (fx, fy) = (libm::floor(x), libm::floor(y));
        let (tx, ty) = ((x - fx) as f32, (y - fy) as f32);
        let mask = PATCHES_SIDE - 1;
        let (x0, y0) = (fx as i64 as usize & mask, fy as i64 as usize & mask);
        let (x1, y1) = ((x0 + 1) & mask, (y0 + 1) & mask);
        let v = |x: usize, y: usize| self.values[(y << PATCHES_BITS) | x];
        let top = v(x0, y0) + tx * (v(x1, y0) - v(x0, y0));
        let bottom = v(x0, y1) + tx * (v(x1, y1) - v(x0, y1));
        top + ty * (bottom - top)
    }
}

/// The patches that all renderers share.
pub fn patches() -> &'static Patches {
    static PATCHES: OnceLock<Patches> = OnceLock::new();
    PATCHES.get_or_init(Patches::new)
}

/// Log2 of the number of noise values.
const NOISE_BITS: u32 = 16;

/// Normal noise with standard deviation 32. The table is long enough that a row can begin at many
/// places.
pub fn noise() -> &'static [i8] {
    static NOISE: OnceLock<Vec<i8>> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut random = Random::stream(4, 0);
        (0..1_usize << NOISE_BITS)
            .map(|_| (random.normal() * 32.0).clamp(-127.0, 127.0) as i8)
            .collect()
    })
}
