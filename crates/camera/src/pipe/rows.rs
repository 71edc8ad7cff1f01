//! The bytes of a frame in a pipe: rows, which may have padding between them.

use pilotage_vision::{PixelFormat, VisionError};

/// How a frame arrives, and how it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    /// Bytes of a row without padding, as in a frame.
    row: usize,
    /// Bytes from one row to the next in the pipe.
    stride: usize,
    /// Rows of the first plane.
    height: usize,
    /// Rows of all planes: for NV12 height + height / 2.
    rows: usize,
    /// The chroma arrives as two planes.
    planar: bool,
}

impl Rows {
    /// For frames of a format and size. `stride` is the bytes from one row to the next, if there is
    /// padding.
    ///
    /// # Errors
    /// Fails if the size does not fit the format.
    pub fn new(
        format: PixelFormat,
        planar: bool,
        (width, height): (u32, u32),
        stride: Option<u32>,
    ) -> Result<Self, VisionError> {
        let len = format.frame_len(width, height)?;
        let height = height as usize;
        let rows = match format {
            PixelFormat::Nv12 => height + height / 2,
            _ => height,
        };
        let row = len / rows;
        Ok(Self {
            row,
            stride: stride.map_or(row, |stride| row.max(stride as usize)),
            height,
            rows,
            planar,
        })
    }

    /// The bytes of a frame in the pipe.
    pub fn len(&self) -> usize {
        self.stride * self.rows
    }

    /// The bytes from one row to the next if frames of `len` bytes have the same rows, but with
    /// other padding.
    pub fn stride_of(&self, len: usize) -> Option<usize> {
        let stride = len / self.rows;
        (len.is_multiple_of(self.rows) && stride > self.row).then_some(stride)
    }

    /// Copies the frame in `from`, of [`len`](Self::len) bytes, to `frame`.
    pub fn copy(&self, from: &[u8], frame: &mut [u8]) {
        let packed = match self.planar {
            true => self.height,
            false => self.rows,
        };
        let (luma, chroma) = from.split_at(self.stride * packed);
        let (to, pairs) = frame.split_at_mut(self.row * packed);
        for (to, from) in to.chunks_mut(self.row).zip(luma.chunks(self.stride)) {
            to.copy_from_slice(&from[..self.row]);
        }
        // A plane of blue, then one of red, whose rows are half as long.
        let (blue, red) = chroma.split_at(chroma.len() / 2);
        let half = (self.stride / 2).max(1);
        let planes = blue.chunks(half).zip(red.chunks(half));
        for (row, (blue, red)) in pairs.chunks_mut(self.row).zip(planes) {
            for (pair, (blue, red)) in row.chunks_exact_mut(2).zip(blue.iter().zip(red)) {
                pair.copy_from_slice(&[*blue, *red]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(rows: &Rows, from: &[u8]) -> Vec<u8> {
        assert_eq!(rows.len(), from.len());
        let mut frame = vec![0; rows.row * rows.rows];
        rows.copy(from, &mut frame);
        frame
    }

    /// Two by two pixels share a blue and a red chroma.
    #[test]
    fn planes_of_chroma_are_interleaved() {
        let planes = [1, 2, 3, 4, 5, 6, 7, 8, 20, 21, 30, 31];
        let rows = Rows::new(PixelFormat::Nv12, true, (4, 2), None).unwrap();
        let expected = [1, 2, 3, 4, 5, 6, 7, 8, 20, 30, 21, 31];
        assert_eq!(copied(&rows, &planes), expected);
        // With two bytes of padding after each row of luma, and one after those of chroma.
        let padded = [1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0, 20, 21, 0, 30, 31, 0];
        let rows = Rows::new(PixelFormat::Nv12, true, (4, 2), Some(6)).unwrap();
        assert_eq!(copied(&rows, &padded), expected);
    }

    #[test]
    fn padding_is_left_out() {
        let rows = Rows::new(PixelFormat::Rgb8, false, (1, 2), Some(4)).unwrap();
        assert_eq!(copied(&rows, &[1, 2, 3, 0, 4, 5, 6, 0]), [1, 2, 3, 4, 5, 6]);
        let rows = Rows::new(PixelFormat::Nv12, false, (2, 2), Some(3)).unwrap();
        let frame = copied(&rows, &[1, 2, 0, 3, 4, 0, 5, 6, 0]);
        assert_eq!(frame, [1, 2, 3, 4, 5, 6]);
        let without = Rows::new(PixelFormat::Rgb8, false, (1, 2), None).unwrap();
        assert_eq!(without.stride_of(8), Some(4));
        assert_eq!((without.stride_of(7), without.stride_of(4)), (None, None));
    }
}
