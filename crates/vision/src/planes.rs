//! Resizes the bytes of each pixel format to pixels of the network's input.

use pilotage_engine::resample::{Columns, Epilogue, SAMPLES, Share, Vectors};

use crate::resample::Axis;
use crate::{ColourOrder, Crop, PixelFormat, Preprocess};

/// The resize tables for frames of one format and size, and for one crop, input size and colour
/// order.
#[derive(Debug, Clone)]
pub(crate) struct Planes {
    vectors: Vectors,
    first: Plane,
    /// The chroma of [`PixelFormat::Nv12`].
    second: Option<Plane>,
    columns: Columns,
    /// One row of the crop after the vertical resize, padded as [`Columns`] require.
    line: Vec<i16>,
}

/// One plane of a frame.
#[derive(Debug, Clone)]
struct Plane {
    /// The crop's first byte.
    start: usize,
    /// The distance between the starts of two rows, in bytes.
    stride: usize,
    rows: Axis,
    /// The crop's bytes in a row.
    len: usize,
    /// The result of the vertical resize, for formats with two planes; otherwise empty.
    sums: Vec<i16>,
}

impl Plane {
    /// Computes the vertical resize for row `y` of the output.
    fn sum(&self, vectors: Vectors, data: &[u8], y: usize, out: &mut [i16]) {
        let (first, weights) = self.rows.taps(y);
        let rows = &data[self.start + first * self.stride..];
        vectors.sum_rows(rows, self.stride, weights, out);
    }
}

impl Planes {
    /// Builds the tables. The caller has checked that `size` is valid for `format`, and that `crop`
    /// lies within it.
    pub(crate) fn new(
        vectors: Vectors,
        format: PixelFormat,
        size: (u32, u32),
        crop: Crop,
        preprocess: &Preprocess,
    ) -> Self {
        let rows = Axis::triangle(crop.height, preprocess.height);
        let across = Axis::triangle(crop.width, preprocess.width);
        let [width, height, x, y] = [size.0, size.1, crop.x, crop.y].map(|n| n as usize);
        // In formats with shared chroma, the processed part begins and ends with whole pairs of
        // pixels.
        let odd = crop.x % 2 == 1;
        let pairs = (crop.x + crop.width).div_ceil(2) - crop.x / 2;
        let (pairs, pixels) = (pairs as usize, crop.width as usize);
        let plane = |start, stride, rows, len| Plane {
            start,
            stride,
            rows,
            len,
            sums: Vec::new(),
        };
        let (first, second) = match format {
            PixelFormat::Rgb8 | PixelFormat::Bgr8 => {
                let start = (y * width + x) * 3;
                (plane(start, width * 3, rows, pixels * 3), None)
            }
            PixelFormat::Grey8 => (plane(y * width + x, width, rows, pixels), None),
            PixelFormat::Yuyv | PixelFormat::Uyvy => {
                let start = (y * width + x / 2 * 2) * 2;
                (plane(start, width * 2, rows, pairs * 4), None)
            }
            PixelFormat::Nv12 => {
                let chroma = rows.paired(crop.y % 2 == 1);
                let left = x / 2 * 2;
                let below = height * width + y / 2 * width + left;
                let mut planes = [
                    plane(y * width + left, width, rows, pairs * 2),
                    plane(below, width, chroma, pairs * 2),
                ];
                for plane in &mut planes {
                    plane.sums = vec![0; plane.len];
                }
                let [luma, chroma] = planes;
                (luma, Some(chroma))
            }
        };
        let columns = columns(vectors, format, preprocess.colour, &across, odd);
        let bytes = first.len + second.as_ref().map_or(0, |plane| plane.len);
        Self {
            vectors,
            first,
            second,
            line: vec![0; columns.row_len().max(bytes)],
            columns,
        }
    }

    /// The number of rows of the input.
    pub(crate) fn rows(&self) -> usize {
        self.first.rows.len()
    }

    /// Computes row `y` of the input, with interleaved channels.
    pub(crate) fn resize_row(&mut self, data: &[u8], y: usize, out: &mut [u8]) {
        let vectors = self.vectors;
        match &mut self.second {
            None => {
                let line = &mut self.line[..self.first.len];
                self.first.sum(vectors, data, y, line);
            }
            Some(chroma) => {
                for plane in [&mut self.first, chroma] {
                    // Move the buffer out, so that the plane can be borrowed at the same time.
                    let mut sums = std::mem::take(&mut plane.sums);
                    plane.sum(vectors, data, y, &mut sums);
                    plane.sums = sums;
                }
                let chroma = self.second.as_ref().map_or(&[][..], |plane| &plane.sums);
                let pairs = self.first.sums.iter().zip(chroma);
                for (pair, (&luma, &chroma)) in self.line.chunks_exact_mut(2).zip(pairs) {
                    pair.copy_from_slice(&[luma, chroma]);
                }
            }
        }
        self.columns.run(&self.line, out);
    }
}

/// The table of the horizontal resize. The two planes of NV12 are interleaved as in YUYV.
fn columns(
    vectors: Vectors,
    format: PixelFormat,
    colour: ColourOrder,
    across: &Axis,
    odd: bool,
) -> Columns {
    let taps = |i| {
        let (first, weights) = across.taps(i);
        (first, weights.iter().copied().enumerate())
    };
    let grey = colour == ColourOrder::Grey;
    match format {
        PixelFormat::Grey8 if grey => {
            let pixels = (0..across.len()).map(|i| {
                let (first, taps) = taps(i);
                let shares = taps.map(|(tap, weight)| Share {
                    load: tap / SAMPLES,
                    place: tap % SAMPLES,
                    weight,
                });
                (first, shares)
            });
            let order = [0, 1, 2, 3, 4, 5, 6, 7];
            Columns::new(vectors, order, SAMPLES, Epilogue::One, pixels)
        }
        PixelFormat::Rgb8 | PixelFormat::Bgr8 | PixelFormat::Grey8 => {
            // One load covers two pixels. Each of the three sums takes one channel of both.
            let blue_first = match colour {
                ColourOrder::Bgr => format == PixelFormat::Rgb8,
                ColourOrder::Rgb | ColourOrder::Grey => format == PixelFormat::Bgr8,
            };
            let (samples, order) = match (format, blue_first) {
                (PixelFormat::Grey8, _) => (1, [0, 1, 0, 1, 0, 1, 0, 1]),
                (_, false) => (3, [0, 3, 1, 4, 2, 5, 6, 7]),
                (_, true) => (3, [2, 5, 1, 4, 0, 3, 6, 7]),
            };
            let pixels = (0..across.len()).map(|i| {
                let (first, taps) = taps(i);
                let shares = taps.flat_map(|(tap, weight)| {
                    [0, 2, 4].map(|place| Share {
                        load: tap / 2,
                        place: place + tap % 2,
                        weight,
                    })
                });
                (first * samples, shares)
            });
            let finish = if grey {
                Epilogue::Luminance
            } else {
                Epilogue::Three
            };
            Columns::new(vectors, order, 2 * samples, finish, pixels)
        }
        PixelFormat::Yuyv | PixelFormat::Uyvy | PixelFormat::Nv12 => {
            // One load covers two pairs of pixels: four luma samples, and two of each chroma.
            let shared = across.paired(odd);
            let pixels = (0..across.len()).map(|i| {
                let (first, taps) = taps(i);
                let first = first + usize::from(odd);
                let luma = taps.map(move |(tap, weight)| {
                    let tap = first % 2 + tap;
                    Share {
                        load: tap / 4,
                        place: tap % 4,
                        weight,
                    }
                });
                let (pair, weights) = shared.taps(i);
                let chroma = weights.iter().enumerate().flat_map(|(tap, &weight)| {
                    [4, 6].map(|place| Share {
                        load: tap / 2,
                        place: place + tap % 2,
                        weight,
                    })
                });
                (pair * 4, luma.chain(chroma))
            });
            let order = match format {
                PixelFormat::Uyvy => [1, 3, 5, 7, 0, 4, 2, 6],
                _ => [0, 2, 4, 6, 1, 5, 3, 7],
            };
            let finish = match colour {
                ColourOrder::Rgb => Epilogue::Rgb,
                ColourOrder::Bgr => Epilogue::Bgr,
                ColourOrder::Grey => Epilogue::Grey,
            };
            Columns::new(vectors, order, SAMPLES, finish, pixels)
        }
    }
}
