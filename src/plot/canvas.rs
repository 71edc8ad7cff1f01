//! A bitmap that is drawn larger than it is saved, for smooth edges.

use std::path::Path;
use std::sync::OnceLock;

use image::{ExtendedColorType, ImageError, ImageFormat};
use plotters::backend::BitMapBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, Polygon, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, TextStyle, register_font};

use super::PlotError;
use super::palette::Colour;

/// Drawn pixels per saved pixel, along each side.
const FINENESS: u32 = 3;

const FONT: &str = "Inter";

/// The horizontal alignment of a text at its position.
#[derive(Debug, Clone, Copy)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// The weight of a text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Weight {
    Regular,
    Bold,
}

/// All positions and sizes are in saved pixels, y downwards.
pub(super) struct Canvas {
    size: (u32, u32),
    pixels: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: f64, height: f64, background: Colour) -> Result<Self, PlotError> {
        load_font()?;
        let size = (width.ceil() as u32, height.ceil() as u32);
        let count = size.0 as usize * size.1 as usize * (FINENESS * FINENESS) as usize;
        Ok(Self {
            size,
            pixels: background.repeat(count),
        })
    }

    fn area(&mut self) -> DrawingArea<BitMapBackend<'_>, Shift> {
        let size = (self.size.0 * FINENESS, self.size.1 * FINENESS);
        BitMapBackend::with_buffer(&mut self.pixels, size).into_drawing_area()
    }

    /// Draws a line through `points` with round joints, `width` wide. `colour` gives the colour for
    /// the index of a segment's first point.
    pub(super) fn stroke(
        &mut self,
        points: &[[f64; 2]],
        width: f64,
        colour: impl Fn(usize) -> Colour,
    ) -> Result<(), PlotError> {
        let radius = 0.5 * width * f64::from(FINENESS);
        let area = self.area();
        for (i, pair) in points.windows(2).enumerate() {
            let [from, to] = [fine(pair[0]), fine(pair[1])];
            let distance = (to[0] - from[0]).hypot(to[1] - from[1]);
            // A row of discs has no gaps and needs no joints. Discs an eighth of the radius apart
            // ripple the edge by less than a five-hundredth of the radius.
            let steps = (distance / (radius / 8.0).max(1.0)).ceil().max(1.0);
            let style = rgb(colour(i)).filled();
            for step in 0..=steps as usize {
                let share = step as f64 / steps;
                let place = [0, 1].map(|axis| from[axis] + share * (to[axis] - from[axis]));
                area.draw(&Circle::new(whole(place), radius.round() as i32, style))
                    .map_err(drawing)?;
            }
        }
        Ok(())
    }

    /// Draws discs; later ones are on top.
    pub(super) fn dots(
        &mut self,
        dots: impl Iterator<Item = ([f64; 2], Colour)>,
        radius: f64,
    ) -> Result<(), PlotError> {
        let radius = (radius * f64::from(FINENESS)).round() as i32;
        let area = self.area();
        for (place, colour) in dots {
            let disc = Circle::new(whole(fine(place)), radius, rgb(colour).filled());
            area.draw(&disc).map_err(drawing)?;
        }
        Ok(())
    }

    pub(super) fn polygon(&mut self, points: &[[f64; 2]], colour: Colour) -> Result<(), PlotError> {
        let points: Vec<_> = points.iter().map(|&p| whole(fine(p))).collect();
        let polygon = Polygon::new(points, rgb(colour).filled());
        self.area().draw(&polygon).map_err(drawing)
    }

    /// Draws one line of text, its top at `place`.
    pub(super) fn text(
        &mut self,
        text: &str,
        place: [f64; 2],
        size: f64,
        weight: Weight,
        align: Align,
        colour: Colour,
    ) -> Result<(), PlotError> {
        let style = match weight {
            Weight::Regular => FontStyle::Normal,
            Weight::Bold => FontStyle::Bold,
        };
        let across = match align {
            Align::Left => HPos::Left,
            Align::Centre => HPos::Center,
            Align::Right => HPos::Right,
        };
        let colour = rgb(colour);
        let font = (FONT, size * f64::from(FINENESS), style).into_font();
        let style = TextStyle::from(font)
            .color(&colour)
            .pos(Pos::new(across, VPos::Top));
        self.area()
            .draw(&Text::new(text, whole(fine(place)), style))
            .map_err(drawing)
    }

    /// Draws a picture of `size` pixels, rows of red, green and blue, with its upper left corner at
    /// `place`, as large as fits in `width` and `height`.
    pub(super) fn image(
        &mut self,
        rgb: &[u8],
        size: (u32, u32),
        place: [f64; 2],
        width: f64,
        height: f64,
    ) {
        let (columns, rows) = (f64::from(size.0.max(1)), f64::from(size.1.max(1)));
        let scale = (width / columns).min(height / rows);
        let [left, top] = fine(place).map(|at| at.round().max(0.0) as usize);
        let drawn = fine([columns * scale, rows * scale]).map(|side| side.round() as usize);
        let line = (self.size.0 * FINENESS) as usize;
        let source = |at: usize, of: usize, count: u32| {
            (at * count as usize / of.max(1)).min((count as usize).saturating_sub(1))
        };
        for y in 0..drawn[1] {
            for x in 0..drawn[0] {
                let from =
                    source(y, drawn[1], size.1) * size.0 as usize + source(x, drawn[0], size.0);
                let to = (top + y) * line + left + x;
                let pixel = rgb.get(3 * from..3 * from + 3);
                let target = self.pixels.get_mut(3 * to..3 * to + 3);
                if left + x < line
                    && let (Some(pixel), Some(target)) = (pixel, target)
                {
                    target.copy_from_slice(pixel);
                }
            }
        }
    }

    /// Averages the drawn pixels and writes a PNG.
    pub(super) fn save(self, file: &Path) -> Result<(), PlotError> {
        let (width, height) = self.size;
        let fineness = FINENESS as usize;
        let row = width as usize * 3;
        let mut sums = vec![0_u32; row];
        let mut saved = Vec::with_capacity(row * height as usize);
        for rows in self.pixels.chunks_exact(row * fineness * fineness) {
            sums.fill(0);
            for drawn in rows.chunks_exact(row * fineness) {
                let blocks = drawn.chunks_exact(3 * fineness);
                for (sum, block) in sums.chunks_exact_mut(3).zip(blocks) {
                    for (i, &level) in block.iter().enumerate() {
                        sum[i % 3] += u32::from(level);
                    }
                }
            }
            let count = FINENESS * FINENESS;
            saved.extend(sums.iter().map(|sum| ((sum + count / 2) / count) as u8));
        }
        let written = image::save_buffer_with_format(
            file,
            &saved,
            width,
            height,
            ExtendedColorType::Rgb8,
            ImageFormat::Png,
        );
        written.map_err(|error| PlotError::Write {
            path: file.to_owned(),
            source: match error {
                ImageError::IoError(source) => source,
                other => std::io::Error::other(other),
            },
        })
    }
}

fn fine(place: [f64; 2]) -> [f64; 2] {
    place.map(|p| p * f64::from(FINENESS))
}

fn whole([x, y]: [f64; 2]) -> (i32, i32) {
    (x.round() as i32, y.round() as i32)
}

fn rgb([r, g, b]: Colour) -> RGBColor {
    RGBColor(r, g, b)
}

fn drawing(error: impl std::fmt::Display) -> PlotError {
    PlotError::Draw(error.to_string())
}

/// The fonts are compiled in: no system fonts are used.
fn load_font() -> Result<(), PlotError> {
    static LOADED: OnceLock<bool> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        let regular = include_bytes!("../../assets/fonts/Inter-Regular.ttf");
        let bold = include_bytes!("../../assets/fonts/Inter-SemiBold.ttf");
        register_font(FONT, FontStyle::Normal, regular).is_ok()
            && register_font(FONT, FontStyle::Bold, bold).is_ok()
    });
    loaded.then_some(()).ok_or(PlotError::Font)
}
