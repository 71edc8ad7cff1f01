//! The arithmetic that downscales camera frames: weighted sums of rows, then weighted sums
//! of columns, then the colour conversion. It uses integers, so that every instruction set
//! gives the same bytes. The plain loops define the result.
//!
//! `pilotage-vision`, which knows the formats of cameras and the inputs of networks, is
//! built on this module. It is in this crate because the vector code is.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::instruction_set::InstructionSet;

/// Fractional bits of a weight: the weights of one output sum to `1 << WEIGHT_BITS`.
pub const WEIGHT_BITS: u32 = 15;
/// Fractional bits of a sum of rows.
const BETWEEN_BITS: u32 = 8;
/// Fractional bits of a sum of columns.
const FRACTION: u32 = WEIGHT_BITS + BETWEEN_BITS;
const HALF: i32 = 1 << (FRACTION - 1);

/// Subtracted from the sums of rows, so that they fit signed 16-bit numbers.
const MIDDLE: i32 = 1 << 15;
/// The effect of [`MIDDLE`] on a sum of columns, which is added back.
const OFFSET: i32 = MIDDLE << WEIGHT_BITS;

/// Samples that one load reads.
pub const SAMPLES: usize = 8;

/// Pixels whose weights are stored together.
const PIXELS: usize = 8;

/// The smallest weight that does not fit the signed 16-bit numbers that vectors multiply.
const TOO_HEAVY: u16 = 1 << 15;

/// The vector code to use; plain loops if the machine lacks the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vectors(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Vectors {
    /// The vectors of an instruction set.
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

    /// Computes for each index of `out` the weighted sum of the bytes at this index of the
    /// rows, which are `stride` bytes apart. The sums have 8 fractional bits, and 32,768 is
    /// subtracted from them. The weights sum to `1 << WEIGHT_BITS`.
    ///
    /// # Panics
    /// If `rows` does not contain a row of `out`'s length for each weight.
    pub fn sum_rows(self, rows: &[u8], stride: usize, weights: &[u16], out: &mut [i16]) {
        let last = weights.len().saturating_sub(1) * stride;
        let rows = &rows[..last + out.len()];
        // SAFETY: `of` selects vectors only if the machine has the instructions. The slice
        // above has exactly the bytes up to the end of the last weight's row, of `out`'s
        // length. The first arm excludes weights over 32,767.
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
/// The initial value of a sum of rows: half of the last bit that is kept, for rounding, minus
/// [`MIDDLE`].
const ROW_START: i32 = (1 << (ROW_SHIFT - 1)) - (MIDDLE << ROW_SHIFT);

fn sum_rows(rows: &[u8], stride: usize, weights: &[u16], out: &mut [i16]) {
    /// Sums that are computed at a time.
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

/// How the four sums of a pixel are converted to its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epilogue {
    /// The first three sums are three channels.
    Three,
    /// The four sums are added to one channel.
    One,
    /// Red, green and blue are converted to one channel, their luminance by ITU-R BT.601
    /// (with the 16-bit weights of Pillow's `src/libImaging/Convert.c`).
    Luminance,
    /// The sum of the first two is luma, the others are blue and red chroma, in the limited
    /// range of ITU-R BT.601 (16 to 235 and 16 to 240). Converted to red, green, blue.
    Rgb,
    /// As [`Rgb`](Self::Rgb), but converted to blue, green, red.
    Bgr,
    /// As [`Rgb`](Self::Rgb), but converted to the luma alone, in the full range.
    Grey,
}

impl Epilogue {
    /// Bytes of a pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Three | Self::Rgb | Self::Bgr => 3,
            Self::One | Self::Luminance | Self::Grey => 1,
        }
    }

    /// The initial values of the sums, which compensate for [`MIDDLE`].
    fn start(self) -> [i32; 4] {
        match self {
            Self::Three | Self::Luminance => [OFFSET, OFFSET, OFFSET, 0],
            Self::One => [OFFSET, 0, 0, 0],
            Self::Rgb | Self::Bgr | Self::Grey => [OFFSET, 0, OFFSET, OFFSET],
        }
    }
}

/// Fractional bits of luma and chroma.
const YUV_BITS: u32 = 5;
const YUV_SHIFT: u32 = FRACTION - YUV_BITS;
const YUV_HALF: i32 = 1 << (YUV_SHIFT - 1);
/// The luma of black, and the chroma of grey.
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

/// Converts the four sums of one pixel to its bytes.
#[inline(always)]
fn finish(finish: Epilogue, sums: [i32; 4], out: &mut [u8]) {
    let round = |sum: i32| ((sum + HALF) >> FRACTION) as u8;
    let round_yuv = |sum: i32, zero: i32| ((sum + YUV_HALF) >> YUV_SHIFT) - zero;
    let clamp = |sum: i32| ((sum + LEVEL_HALF) >> LEVEL_SHIFT).clamp(0, 255) as u8;
    let luma = || round_yuv(sums[0] + sums[1], BLACK) * LUMA;
    match (finish, out) {
        (Epilogue::Three, [a, b, c]) => {
            [*a, *b, *c] = [round(sums[0]), round(sums[1]), round(sums[2])];
        }
        (Epilogue::One, [out]) => *out = round(sums.iter().sum()),
        (Epilogue::Luminance, [out]) => {
            let [red, green, blue, _] = sums.map(i64::from);
            let sum = red * 19_595 + green * 38_470 + blue * 7_471;
            *out = round((sum >> 16) as i32);
        }
        (Epilogue::Grey, [out]) => *out = clamp(luma()),
        (Epilogue::Rgb | Epilogue::Bgr, [a, b, c]) => {
            let (u, v) = (round_yuv(sums[2], NO_COLOUR), round_yuv(sums[3], NO_COLOUR));
            let luma = luma();
            let red = clamp(luma + v * RED_OF_V);
            let green = clamp(luma + u * GREEN_OF_U + v * GREEN_OF_V);
            let blue = clamp(luma + u * BLUE_OF_U);
            [*a, *b, *c] = match finish {
                Epilogue::Bgr => [blue, green, red],
                _ => [red, green, blue],
            };
        }
        _ => {}
    }
}

/// Weighted sums along a row: for each output pixel, four sums of the samples around it,
/// which are then converted to the pixel's bytes.
///
/// A pixel's samples are read eight at a time and permuted, so that each pair of adjacent
/// samples belongs to one of the four sums.
#[derive(Debug, Clone)]
pub struct Columns {
    vectors: Vectors,
    /// The permutation: for each place, the index of the sample that goes there.
    order: [u8; SAMPLES],
    /// Samples from one load to the next.
    advance: usize,
    /// Number of loads for each pixel.
    loads: usize,
    /// The first sample of each pixel.
    starts: Vec<u32>,
    /// Eight for each load of each pixel, permuted; see [`Columns::weight`].
    weights: Vec<u16>,
    finish: Epilogue,
    row: usize,
    /// For vectors that hold four pixels.
    #[cfg(target_arch = "x86_64")]
    fours: Option<avx512::Fours>,
}

/// The weight of one sample of a pixel.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// The index of the load, from the pixel's first sample on.
    pub load: usize,
    /// The place after the permutation, 0 to 7; two for each sum.
    pub place: usize,
    /// The weight.
    pub weight: u16,
}

impl Columns {
    /// `pixels` is the first sample and the shares of each pixel. The samples of each load
    /// are `advance` after those of the previous load, and are permuted by `order`.
    pub fn new<S: IntoIterator<Item = Share>>(
        vectors: Vectors,
        order: [u8; SAMPLES],
        advance: usize,
        finish: Epilogue,
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

    /// The index of a load's eight weights. Of eight pixels the first and the fifth are
    /// adjacent, then the second and the sixth, and so on, for vectors that hold two.
    fn weight(loads: usize, x: usize, load: usize) -> usize {
        let (group, pixel) = (x / PIXELS, x % PIXELS);
        let pair = group * PIXELS / 2 + pixel % (PIXELS / 2);
        ((pair * loads + load) * 2 + pixel / (PIXELS / 2)) * SAMPLES
    }

    /// Number of samples that a row must have, some of which have no weight.
    pub fn row_len(&self) -> usize {
        self.row
    }

    /// Converts one row of sums (see [`Vectors::sum_rows`]) to one row of pixels.
    ///
    /// # Panics
    /// If `row` is shorter than [`row_len`](Self::row_len), or the length of `out` is not the
    /// number of bytes of the pixels.
    pub fn run(&self, row: &[i16], out: &mut [u8]) {
        assert!(row.len() >= self.row, "the row's samples");
        let channels = self.finish.channels();
        assert_eq!(out.len(), self.starts.len() * channels, "the row's bytes");
        // SAFETY: `Vectors::of` selects vectors only if the machine has the instructions. The
        // assertions above check the lengths. `new` uses plain loops if a weight is over
        // 32,767, and creates `fours` only for AVX-512, from these columns.
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
