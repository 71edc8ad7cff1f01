//! What an engine steers by: parts of the picture are covered one after the other, and those that
//! change the steering are coloured (occlusion; Zeiler and Fergus, "Visualizing and Understanding
//! Convolutional Networks", 2014).

use image::{Rgb, RgbImage};
use pilotage_dataset::Picture;

use crate::car::Car;
use crate::film::FilmError;
use crate::film::footage::Footage;
use crate::pilot::StepError;
use crate::replay::replayer::Replayer;

/// The places that are covered, across and down. The engine runs once for each, and once for the
/// whole picture.
const ACROSS: usize = 12;
const DOWN: usize = 9;
/// A change of the steering that is coloured fully if no other in the picture is larger.
const LEAST: f32 = 0.05;
/// The change of the steering that a car stands for that would stop.
const MOST_CHANGE: f32 = 1.0;
/// The colour, and how much of a pixel it replaces at most.
const COLOUR: [f32; 3] = [255.0, 64.0, 48.0];
const STRENGTH: f32 = 0.65;

/// Colours pictures by what an engine steers by.
pub(crate) struct Saliency {
    replayer: Replayer,
}

impl Saliency {
    /// Of the engine of `car`, for the pictures of `footage`.
    ///
    /// # Errors
    /// When the engine cannot be loaded, does not fit the pictures, or there are none.
    pub fn new(car: &Car, footage: &Footage) -> anyhow::Result<Self> {
        let first = footage.first_picture()?;
        let replayer = Replayer::new(car, first.dimensions())?;
        if replayer.has_memory() {
            return Err(FilmError::Memory(replayer.engine).into());
        }
        Ok(Self { replayer })
    }

    /// What an operator should know of the engine.
    pub fn notes(&self) -> &[String] {
        &self.replayer.notes
    }

    /// Colours `shown`, the scaled `picture`. A picture of another size than the first stays as it is:
    /// an engine takes one size.
    pub fn colour(&mut self, picture: &RgbImage, shown: &mut RgbImage) -> anyhow::Result<()> {
        if picture.dimensions() != self.replayer.size {
            return Ok(());
        }
        let changes = self.changes(picture)?;
        let most = changes.iter().copied().fold(LEAST, f32::max);
        let (width, height) = shown.dimensions();
        for (x, y, pixel) in shown.enumerate_pixels_mut() {
            let column = (x as f32 + 0.5) / width as f32 * ACROSS as f32 - 0.5;
            let row = (y as f32 + 0.5) / height as f32 * DOWN as f32 - 0.5;
            let share = STRENGTH * (between(&changes, column, row) / most).clamp(0.0, 1.0);
            for (level, colour) in pixel.0.iter_mut().zip(COLOUR) {
                *level = (f32::from(*level) * (1.0 - share) + colour * share).round() as u8;
            }
        }
        Ok(())
    }

    /// How much the steering changes when each place is covered, row by row.
    fn changes(&mut self, picture: &RgbImage) -> anyhow::Result<Vec<f32>> {
        let Some(whole) = self.steering(picture)? else {
            // Without a path there is no steering that could change.
            return Ok(vec![0.0; ACROSS * DOWN]);
        };
        let cover = mean(picture);
        let mut changes = Vec::with_capacity(ACROSS * DOWN);
        for place in 0..ACROSS * DOWN {
            let mut covered = picture.clone();
            let (left, right) = side(place % ACROSS, ACROSS, picture.width());
            let (top, low) = side(place / ACROSS, DOWN, picture.height());
            for y in top..low {
                for x in left..right {
                    covered.put_pixel(x, y, cover);
                }
            }
            // A car that would stop is the largest change.
            let change = self.steering(&covered)?;
            changes.push(change.map_or(MOST_CHANGE, |steering| (steering - whole).abs()));
        }
        Ok(changes)
    }

    /// The steering that the engine answers with; `None` if it finds no path in the picture.
    fn steering(&mut self, picture: &RgbImage) -> Result<Option<f32>, FilmError> {
        let (width, height) = picture.dimensions();
        let picture = Picture {
            width,
            height,
            rgb: picture.as_raw().clone(),
            turned: false,
        };
        let step = self.replayer.answer(picture);
        if matches!(step, Err(StepError::Path(_))) {
            return Ok(None);
        }
        let step = step.map_err(|reason| FilmError::Engine {
            engine: self.replayer.engine.clone(),
            reason,
        })?;
        Ok(Some(step.command.steering))
    }
}

/// The pixels of the `index`-th of `count` parts of `length`, and half a part around it: what lies on
/// the edge of two parts is covered as a whole, too.
fn side(index: usize, count: usize, length: u32) -> (u32, u32) {
    let part = f64::from(length) / count as f64;
    let at = |place: f64| (place * part).round().clamp(0.0, f64::from(length)) as u32;
    (at(index as f64 - 0.5), at(index as f64 + 1.5))
}

/// The mean colour of a picture.
fn mean(picture: &RgbImage) -> Rgb<u8> {
    let mut sums = [0_u64; 3];
    for pixel in picture.pixels() {
        for (sum, level) in sums.iter_mut().zip(pixel.0) {
            *sum += u64::from(level);
        }
    }
    let count = (picture.pixels().len() as u64).max(1);
    Rgb(sums.map(|sum| (sum / count) as u8))
}

/// The value between the places of a grid of `ACROSS` by `DOWN`, linear in both directions.
fn between(grid: &[f32], column: f32, row: f32) -> f32 {
    let column = column.clamp(0.0, (ACROSS - 1) as f32);
    let row = row.clamp(0.0, (DOWN - 1) as f32);
    let (left, top) = (column as usize, row as usize);
    let (right, low) = ((left + 1).min(ACROSS - 1), (top + 1).min(DOWN - 1));
    let (across, down) = (column - left as f32, row - top as f32);
    let at = |x: usize, y: usize| grid.get(y * ACROSS + x).copied().unwrap_or(0.0);
    let upper = at(left, top) * (1.0 - across) + at(right, top) * across;
    let lower = at(left, low) * (1.0 - across) + at(right, low) * across;
    upper * (1.0 - down) + lower * down
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_covered_by_a_part_and_half_its_neighbours() {
        assert_eq!(side(0, 12, 640), (0, 80));
        assert_eq!(side(1, 12, 640), (27, 133));
        assert_eq!(side(11, 12, 640), (560, 640));
        for length in [1, 5, 12, 640] {
            let covered = |x: u32| {
                (0..ACROSS).any(|index| {
                    let (from, to) = side(index, ACROSS, length);
                    (from..to).contains(&x)
                })
            };
            assert!((0..length).all(covered), "{length}");
        }
    }

    #[test]
    fn values_between_the_places_are_linear() {
        let grid: Vec<f32> = (0..ACROSS * DOWN)
            .map(|place| (place % ACROSS) as f32 + 100.0 * (place / ACROSS) as f32)
            .collect();
        for (column, row, value) in [
            (0.0, 0.0, 0.0),
            (3.5, 2.25, 228.5),
            (-1.0, 99.0, 800.0),
            (99.0, 0.0, 11.0),
        ] {
            assert!((between(&grid, column, row) - value).abs() < 1e-3);
        }
    }
}
