//! The arithmetic that makes a camera's rows smaller: weighted sums of rows, then
//! of the columns of what they gave, then the colours. On integers, so that every
//! instruction set gives the same bytes; the plain loops here are the definition.
//!
//! This is what `pilotage-vision` is made of, which knows cameras' formats and
//! networks' inputs. It is in this crate because vectors are.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::cpu::InstructionSet;

/// Fractional bits of a weight: the weights of one output sum to `1 << WEIGHT_BITS`.
pub const WEIGHT_BITS: u32 = 15;
/// Fractional bits that the sum of rows keeps.
const BETWEEN_BITS: u32 = 8;
/// Those that the sum of columns has.
const FRACTION: u32 = WEIGHT_BITS + BETWEEN_BITS;
const HALF: i32 = 1 << (FRACTION - 1);

/// The sums of rows are kept less this, so that they are signed 16-bit numbers.
const MIDDLE: i32 = 1 << 15;
/// What that takes from the sum of columns.
const OFFSET: i32 = MIDDLE << WEIGHT_BITS;

/// What one load of columns reads.
pub const SAMPLES: usize = 8;

/// Pixels whose weights lie together.
const PIXELS: usize = 8;

/// Weights from here on do not fit the signed numbers that vectors multiply.
const TOO_HEAVY: u16 = 1 << 15;

/// Which vectors are used; plain loops where the machine lacks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vectors(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// With BW and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Vectors {
    /// Those of an instruction set.
    pub fn of(instruction_set: InstructionSet) -> Self {
        Self(match instruction_set {
            set if !set.is_available() => Kind::Plain,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Vnni => Kind::Avx512,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 | InstructionSet::AvxVnni | InstructionSet::Avx512 => Kind::Avx2,
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon | InstructionSet::NeonDotprod | InstructionSet::NeonI8mm => {
                Kind::Neon
            }
            _ => Kind::Plain,
        })
    }

    /// For each place of `out` the weighted sum of the bytes at that place of rows
    /// `stride` bytes apart, with 8 bits of fraction and less 32,768. The weights
    /// sum to `1 << WEIGHT_BITS`.
    ///
    /// # Panics
    /// Where `rows` does not hold a row of `out`'s length for each weight.
    pub fn sum_rows(self, rows: &[u8], stride: usize, weights: &[u16], out: &mut [i16]) {
        let last = weights.len().saturating_sub(1) * stride;
        let rows = &rows[..last + out.len()];
        // SAFETY: the machine has the instructions (see `of`); `rows` was just cut so
        // that it holds a row for each weight.
        let done = match self.0 {
            _ if weights.iter().any(|&weight| weight >= TOO_HEAVY) => 0,
            Kind::Plain => 0,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { x86::sum_rows(rows, stride, weights, out) },
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { x86::sum_rows_wide(rows, stride, weights, out) },
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => unsafe { arm::sum_rows(rows, stride, weights, out) },
        };
        sum_rows(&rows[done..], stride, weights, &mut out[done..]);
    }
}

const ROW_SHIFT: u32 = WEIGHT_BITS - BETWEEN_BITS;
/// Half of the last bit kept, less the middle.
const ROW_START: i32 = (1 << (ROW_SHIFT - 1)) - (MIDDLE << ROW_SHIFT);

fn sum_rows(rows: &[u8], stride: usize, weights: &[u16], out: &mut [i16]) {
    /// Sums held at a time.
    const BLOCK: usize = 32;
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let mut sums = [ROW_START; BLOCK];
        for (k, &weight) in weights.iter().enumerate() {
            let pixels = &rows[k * stride + block * BLOCK..][..out.len()];
            for (sum, &pixel) in sums.iter_mut().zip(pixels) {
                *sum += i32::from(weight) * i32::from(pixel);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = (sum >> ROW_SHIFT) as i16;
        }
    }
}

/// How four sums become the bytes of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The first three are three channels.
    Three,
    /// All together are one channel.
    One,
    /// Red, green and blue become one channel, their luminance by ITU-R BT.601
    /// (in the 16-bit weights of Pillow's `src/libImaging/Convert.c`).
    Luminance,
    /// The first two together are luma, the others blue and red chroma, of the limited
    /// range (16 to 235 and 240) by ITU-R BT.601; they become red, green, blue.
    Rgb,
    /// Likewise, to blue, green, red.
    Bgr,
    /// Likewise, to the luma alone, of the full range.
    Grey,
}

impl Finish {
    /// Bytes of a pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Three | Self::Rgb | Self::Bgr => 3,
            Self::One | Self::Luminance | Self::Grey => 1,
        }
    }

    /// What each sum starts with: back what the middle took.
    fn start(self) -> [i32; 4] {
        match self {
            Self::Three | Self::Luminance => [OFFSET, OFFSET, OFFSET, 0],
            Self::One => [OFFSET, 0, 0, 0],
            Self::Rgb | Self::Bgr | Self::Grey => [OFFSET, 0, OFFSET, OFFSET],
        }
    }
}

/// Fractional bits that luma and chroma keep.
const YUV_BITS: u32 = 5;
const YUV_SHIFT: u32 = FRACTION - YUV_BITS;
const YUV_HALF: i32 = 1 << (YUV_SHIFT - 1);
/// Black's luma and no colour's chroma.
const BLACK: i32 = 16 << YUV_BITS;
const NO_COLOUR: i32 = 128 << YUV_BITS;
/// Fractional bits of the factors below.
const FACTOR_BITS: u32 = 13;
/// 255 / 219.
const LUMA: i32 = 9_539;
/// 255 / 224 times 1.402, 0.714136, 0.344136 and 1.772.
const RED_OF_V: i32 = 13_075;
const GREEN_OF_V: i32 = -6_660;
const GREEN_OF_U: i32 = -3_209;
const BLUE_OF_U: i32 = 16_525;
const LEVEL_SHIFT: u32 = FACTOR_BITS + YUV_BITS;
const LEVEL_HALF: i32 = 1 << (LEVEL_SHIFT - 1);

/// One pixel by its four sums.
#[inline(always)]
fn finish(finish: Finish, sums: [i32; 4], out: &mut [u8]) {
    let level = |sum: i32| ((sum + HALF) >> FRACTION) as u8;
    let less = |sum: i32, zero: i32| ((sum + YUV_HALF) >> YUV_SHIFT) - zero;
    let hold = |sum: i32| ((sum + LEVEL_HALF) >> LEVEL_SHIFT).clamp(0, 255) as u8;
    let luma = || less(sums[0] + sums[1], BLACK) * LUMA;
    match (finish, out) {
        (Finish::Three, [a, b, c]) => {
            [*a, *b, *c] = [level(sums[0]), level(sums[1]), level(sums[2])];
        }
        (Finish::One, [out]) => *out = level(sums.iter().sum()),
        (Finish::Luminance, [out]) => {
            let [red, green, blue, _] = sums.map(i64::from);
            let sum = red * 19_595 + green * 38_470 + blue * 7_471;
            *out = level((sum >> 16) as i32);
        }
        (Finish::Grey, [out]) => *out = hold(luma()),
        (Finish::Rgb | Finish::Bgr, [a, b, c]) => {
            let (u, v) = (less(sums[2], NO_COLOUR), less(sums[3], NO_COLOUR));
            let luma = luma();
            let red = hold(luma + v * RED_OF_V);
            let green = hold(luma + u * GREEN_OF_U + v * GREEN_OF_V);
            let blue = hold(luma + u * BLUE_OF_U);
            [*a, *b, *c] = match finish {
                Finish::Bgr => [blue, green, red],
                _ => [red, green, blue],
            };
        }
        _ => {}
    }
}

/// Weighted sums along a row: for each pixel of the output four sums of the samples
/// around it, and the bytes made of them.
///
/// A pixel's samples are read eight at a time and put in an order, in which each two
/// belong to one of the four sums.
#[derive(Debug, Clone)]
pub struct Columns {
    vectors: Vectors,
    /// For each place, which of the eight samples goes there.
    order: [u8; SAMPLES],
    /// Samples from one load to the next.
    advance: usize,
    /// As many for each pixel.
    loads: usize,
    /// The first sample of each pixel.
    starts: Vec<u32>,
    /// Eight for each load of each pixel, in the order; see [`Columns::weight`].
    weights: Vec<u16>,
    finish: Finish,
    row: usize,
    /// Where vectors hold four pixels at a time.
    #[cfg(target_arch = "x86_64")]
    fours: Option<avx512::Fours>,
}

/// What one sample weighs.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Which load from the pixel's first sample on.
    pub load: usize,
    /// Which place of the eight in their order; two for each sum.
    pub place: usize,
    /// How much.
    pub weight: u16,
}

impl Columns {
    /// For each pixel its first sample and shares. The samples of one load come
    /// `advance` after those of the last, and go where `order` says.
    pub fn new<S: IntoIterator<Item = Share>>(
        vectors: Vectors,
        order: [u8; SAMPLES],
        advance: usize,
        finish: Finish,
        pixels: impl IntoIterator<Item = (usize, S)>,
    ) -> Self {
        let pixels: Vec<(usize, Vec<Share>)> = pixels
            .into_iter()
            .map(|(start, shares)| (start, shares.into_iter().collect()))
            .collect();
        let shares = || pixels.iter().flat_map(|(_, shares)| shares);
        let loads = shares().map(|share| share.load + 1).max().unwrap_or(0);
        let mut weights = vec![0; pixels.len().next_multiple_of(PIXELS) * loads * SAMPLES];
        for (x, (_, shares)) in pixels.iter().enumerate() {
            for share in shares {
                let first = Self::weight(loads, x, share.load);
                weights[first + share.place % SAMPLES] = share.weight;
            }
        }
        let heavy = weights.iter().any(|&weight| weight >= TOO_HEAVY);
        let last = pixels.iter().map(|&(start, _)| start).max().unwrap_or(0);
        let this = Self {
            vectors: if heavy { Vectors(Kind::Plain) } else { vectors },
            order: order.map(|sample| sample % SAMPLES as u8),
            advance,
            loads,
            starts: pixels.iter().map(|&(start, _)| start as u32).collect(),
            weights,
            finish,
            row: last + loads.saturating_sub(1) * advance + SAMPLES,
            #[cfg(target_arch = "x86_64")]
            fours: None,
        };
        #[cfg(target_arch = "x86_64")]
        if this.vectors.0 == Kind::Avx512
            && let Some(fours) = avx512::Fours::new(&this)
        {
            return Self {
                row: this.row.max(fours.row_len(&this)),
                fours: Some(fours),
                ..this
            };
        }
        this
    }

    /// Where a load's eight weights are. Of eight pixels the first and the fifth lie
    /// together, and so on, for vectors that hold two.
    fn weight(loads: usize, x: usize, load: usize) -> usize {
        let (group, pixel) = (x / PIXELS, x % PIXELS);
        let pair = group * PIXELS / 2 + pixel % (PIXELS / 2);
        ((pair * loads + load) * 2 + pixel / (PIXELS / 2)) * SAMPLES
    }

    /// Samples that a row must have, some of which weigh nothing.
    pub fn row_len(&self) -> usize {
        self.row
    }

    /// One row of sums of rows to one row of pixels.
    ///
    /// # Panics
    /// Where `row` is not at least [`row_len`](Self::row_len) long or `out` not as long as
    /// the pixels' bytes.
    pub fn run(&self, row: &[i16], out: &mut [u8]) {
        assert!(row.len() >= self.row, "the row's samples");
        let channels = self.finish.channels();
        assert_eq!(out.len(), self.starts.len() * channels, "the row's bytes");
        // SAFETY: the machine has the instructions (see `Vectors::of`), and the
        // lengths were just checked.
        let done = match self.vectors.0 {
            Kind::Plain => 0,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 | Kind::Avx512 => unsafe {
                match &self.fours {
                    Some(fours) => avx512::sum_columns(self, fours, row, out),
                    None => x86::sum_columns(self, row, out),
                }
            },
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => unsafe { arm::sum_columns(self, row, out) },
        };
        for (x, out) in out.chunks_exact_mut(channels).enumerate().skip(done) {
            finish(self.finish, self.sums(row, x), out);
        }
    }

    /// The four sums of one pixel.
    fn sums(&self, row: &[i16], x: usize) -> [i32; 4] {
        let mut sums = self.finish.start();
        for load in 0..self.loads {
            let weights = &self.weights[Self::weight(self.loads, x, load)..][..SAMPLES];
            let samples = &row[self.starts[x] as usize + load * self.advance..][..SAMPLES];
            for (place, &weight) in weights.iter().enumerate() {
                let sample = samples[usize::from(self.order[place])];
                sums[place / 2] += i32::from(sample) * i32::from(weight);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests;
