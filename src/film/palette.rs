//! One palette for a whole film.

use color_quant::NeuQuant;
use image::RgbImage;

use crate::plot::film_colours;

/// The index that shows what was there before.
pub(super) const UNCHANGED: u8 = 255;
/// Pixels that the palette is made of.
const PIXELS: usize = 400_000;
/// NeuQuant's thoroughness, 1 (all pixels) to 30.
const SAMPLED: i32 = 3;

/// Up to 255 colours, and the nearest of them to any colour.
pub(super) struct Palette {
    colours: Vec<[u8; 3]>,
    /// By red, green and blue; `UNCHANGED` is not known yet. It takes 16 MB, and a film has hundreds of
    /// millions of pixels.
    nearest: Vec<u8>,
}

impl Palette {
    /// The panel's colours, and those that represent `samples` best.
    pub fn of(samples: &[RgbImage]) -> Self {
        let mut colours: Vec<[u8; 3]> = film_colours().to_vec();
        let count: usize = samples.iter().map(|it| it.pixels().len()).sum();
        let pixels = samples.iter().flat_map(RgbImage::pixels);
        let chosen = pixels.step_by(count.div_ceil(PIXELS).max(1));
        let rgba: Vec<u8> = chosen
            .flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2], 255])
            .collect();
        if !rgba.is_empty() {
            let room = usize::from(UNCHANGED) - colours.len();
            let learned = NeuQuant::new(SAMPLED, room, &rgba).color_map_rgb();
            let (learned, _) = learned.as_chunks::<3>();
            colours.extend(learned.iter().take(room));
        }
        Self {
            colours,
            nearest: vec![UNCHANGED; 1 << 24],
        }
    }

    /// The colours as a GIF has them.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.colours.concat();
        bytes.resize(3 * 256, 0);
        bytes
    }

    pub fn colour(&self, index: u8) -> [u8; 3] {
        let colour = self.colours.get(usize::from(index));
        colour.copied().unwrap_or_default()
    }

    /// The index of the nearest colour.
    pub fn nearest(&mut self, colour: [u8; 3]) -> u8 {
        let [r, g, b] = colour.map(usize::from);
        let place = r << 16 | g << 8 | b;
        if self.nearest[place] == UNCHANGED {
            let found = (0..UNCHANGED)
                .zip(&self.colours)
                .min_by_key(|(_, candidate)| distance(**candidate, colour));
            self.nearest[place] = found.map_or(0, |(index, _)| index);
        }
        self.nearest[place]
    }
}

/// The square of the distance of two colours, weighted by how bright the eye sees red, green and blue.
pub(super) fn distance(a: [u8; 3], b: [u8; 3]) -> i32 {
    const WEIGHTS: [i32; 3] = [3, 4, 2];
    let squares = (0..3).map(|i| {
        let difference = i32::from(a[i]) - i32::from(b[i]);
        WEIGHTS[i] * difference * difference
    });
    squares.sum::<i32>() / 3
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_palette_has_the_panels_colours_and_those_of_the_samples() {
        let sample = RgbImage::from_fn(64, 64, |x, y| match (x / 32, y / 32) {
            (0, 0) => Rgb([200, 30, 30]),
            (1, 0) => Rgb([20, 180, 40]),
            _ => Rgb([x as u8, y as u8, 128]),
        });
        let mut palette = Palette::of(&[sample]);
        assert_eq!(palette.bytes().len(), 768);
        for colour in film_colours() {
            let index = palette.nearest(colour);
            assert_eq!(palette.colour(index), colour);
        }
        for colour in [[200, 30, 30], [20, 180, 40], [10, 60, 128]] {
            let index = palette.nearest(colour);
            let found = palette.colour(index);
            assert!(distance(found, colour) < 60, "{colour:?} {found:?}");
        }
    }

    #[test]
    fn without_samples_there_are_the_panels_colours() {
        let mut palette = Palette::of(&[]);
        let white = palette.nearest([255, 255, 255]);
        assert!(distance(palette.colour(white), [255; 3]) < 1000);
    }
}
