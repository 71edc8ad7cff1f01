//! Writes an animated GIF in one palette. A frame has only the rectangle that differs from the frame
//! before it, and in it only the pixels that look different.

use std::io::{self, Write};

use gif::{DisposalMethod, Encoder, EncodingError, Frame, Repeat};
use image::RgbImage;

use super::palette::{Palette, UNCHANGED, distance};

/// A pixel that differs less from what is shown is not written: the noise of a camera would otherwise
/// be most of a film.
const VISIBLE: i32 = 300;
/// How much longer the last frame is shown, hundredths of a second.
const HOLD: u16 = 100;

/// Writes the frames of a film, of one size.
pub(super) struct GifWriter<W: Write> {
    encoder: Encoder<W>,
    palette: Palette,
    size: (u16, u16),
    /// The index of each pixel that is shown.
    shown: Vec<u8>,
    /// The frame before, whose time ends with the next one.
    waiting: Option<Frame<'static>>,
    /// Frames a second.
    rate: f64,
    count: u32,
}

impl<W: Write> GifWriter<W> {
    /// Begins a film of `size` pixels.
    pub fn new(to: W, size: (u16, u16), palette: Palette, rate: f64) -> io::Result<Self> {
        let mut encoder =
            Encoder::new(to, size.0, size.1, &palette.bytes()).map_err(of_encoding)?;
        encoder.set_repeat(Repeat::Infinite).map_err(of_encoding)?;
        Ok(Self {
            encoder,
            palette,
            size,
            shown: Vec::new(),
            waiting: None,
            rate,
            count: 0,
        })
    }

    /// Adds a frame.
    pub fn write(&mut self, frame: &RgbImage) -> io::Result<()> {
        self.put_waiting(0)?;
        let mut indices = Vec::with_capacity(frame.pixels().len());
        let is_first = self.shown.is_empty();
        for (place, pixel) in frame.pixels().enumerate() {
            let shown = self.shown.get(place).copied();
            let is_seen =
                shown.is_none_or(|shown| distance(self.palette.colour(shown), pixel.0) >= VISIBLE);
            indices.push(match is_seen {
                true => self.palette.nearest(pixel.0),
                false => UNCHANGED,
            });
        }
        for (place, index) in indices.iter_mut().enumerate() {
            match self.shown.get_mut(place) {
                Some(shown) if *shown == *index => *index = UNCHANGED,
                Some(shown) if *index != UNCHANGED => *shown = *index,
                _ => {}
            }
        }
        if is_first {
            self.shown.clone_from(&indices);
        }
        self.waiting = Some(self.frame(&indices));
        Ok(())
    }

    /// The rectangle of `indices` that changes.
    fn frame(&self, indices: &[u8]) -> Frame<'static> {
        let width = usize::from(self.size.0).max(1);
        let is_changed = |index: &u8| *index != UNCHANGED;
        let rows = || indices.chunks_exact(width);
        let top = rows().position(|row| row.iter().any(is_changed));
        let low = rows().rposition(|row| row.iter().any(is_changed));
        let left = rows()
            .filter_map(|row| row.iter().position(is_changed))
            .min();
        let right = rows()
            .filter_map(|row| row.iter().rposition(is_changed))
            .max();
        // A frame without a pixel is none to some readers.
        let (top, low) = top.zip(low).unwrap_or((0, 0));
        let (left, right) = left.zip(right).unwrap_or((0, 0));
        let part = rows().skip(top).take(low - top + 1);
        let part: Vec<u8> = part.flat_map(|row| row[left..=right].to_vec()).collect();
        Frame {
            left: left as u16,
            top: top as u16,
            width: (right - left + 1) as u16,
            height: (low - top + 1) as u16,
            buffer: part.into(),
            transparent: Some(UNCHANGED),
            dispose: DisposalMethod::Keep,
            ..Frame::default()
        }
    }

    /// Writes the frame that waits, shown for its time and `longer`. Times are rounded so that their
    /// sum is right.
    fn put_waiting(&mut self, longer: u16) -> io::Result<()> {
        let Some(mut frame) = self.waiting.take() else {
            return Ok(());
        };
        let end = |count: u32| (100.0 * f64::from(count) / self.rate).round() as u32;
        let delay = end(self.count + 1) - end(self.count);
        frame.delay = u16::try_from(delay)
            .unwrap_or(u16::MAX)
            .saturating_add(longer);
        self.count += 1;
        self.encoder.write_frame(&frame).map_err(of_encoding)
    }

    /// Ends the film. Returns what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.put_waiting(HOLD)?;
        self.encoder.into_inner().map_err(of_encoding)
    }
}

fn of_encoding(error: EncodingError) -> io::Error {
    match error {
        EncodingError::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use gif::{ColorOutput, DecodeOptions};
    use image::Rgb;

    use super::*;

    /// The frames as they were written: place, size and time.
    fn written(frames: &[RgbImage], rate: f64) -> Vec<(u16, u16, u16, u16, u16)> {
        let size = (frames[0].width() as u16, frames[0].height() as u16);
        let palette = Palette::of(frames);
        let mut writer = GifWriter::new(Vec::new(), size, palette, rate).unwrap();
        for frame in frames {
            writer.write(frame).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::Indexed);
        let mut decoder = options.read_info(&bytes[..]).unwrap();
        let mut found = Vec::new();
        while let Some(it) = decoder.read_next_frame().unwrap() {
            found.push((it.left, it.top, it.width, it.height, it.delay));
        }
        found
    }

    #[test]
    fn only_what_changes_is_written() {
        let first = RgbImage::from_pixel(40, 30, Rgb([90, 90, 90]));
        let mut second = first.clone();
        for (x, y) in [(10, 5), (19, 5), (12, 9)] {
            second.put_pixel(x, y, Rgb([250, 20, 20]));
        }
        // Noise that cannot be seen.
        let mut third = second.clone();
        third.put_pixel(30, 20, Rgb([93, 92, 90]));
        let found = written(&[first.clone(), second, third, first], 10.0);
        assert_eq!(
            found,
            [
                (0, 0, 40, 30, 10),
                (10, 5, 10, 5, 10),
                (0, 0, 1, 1, 10),
                (10, 5, 10, 5, 110)
            ]
        );
    }

    #[test]
    fn times_that_are_rounded_add_up() {
        let frame = RgbImage::from_pixel(8, 8, Rgb([1, 2, 3]));
        let found = written(&vec![frame; 16], 12.0);
        let total: u16 = found.iter().map(|it| it.4).sum();
        assert_eq!(total, 133 + HOLD);
        assert!(found[..15].iter().all(|it| (8..=9).contains(&it.4)));
    }
}
