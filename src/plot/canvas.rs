//! What pictures are drawn on: a bitmap that is drawn larger than it is saved, for smooth edges, or
//! an SVG.

use std::path::Path;
use std::sync::OnceLock;

use image::{ExtendedColorType, ImageError, ImageFormat, RgbImage};
use plotters::backend::BitMapBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, Polygon, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, TextStyle, register_font};
use svg::Document;
use svg::node::element::{self, Polyline, Rectangle};

use super::palette::Colour;
use super::{PlotError, is_svg};

/// Drawn pixels per saved pixel, along each side.
const FINENESS: u32 = 3;

const FONT: &str = "Inter";
/// The fonts of an SVG, of which the first that its reader has is used.
const FONTS: &str = "Inter, Helvetica, Arial, sans-serif";

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
    surface: Surface,
}

enum Surface {
    /// Pixels as they are drawn, RGB.
    Bitmap(Vec<u8>),
    Vector(Document),
}

impl Canvas {
    /// A bitmap or an SVG, as the name of `file` says.
    pub(super) fn named(
        file: &Path,
        width: f64,
        height: f64,
        background: Colour,
    ) -> Result<Self, PlotError> {
        match is_svg(file)? {
            true => Ok(Self::vector(width, height, background)),
            false => Self::new(width, height, background),
        }
    }

    /// A bitmap.
    pub(super) fn new(width: f64, height: f64, background: Colour) -> Result<Self, PlotError> {
        load_font()?;
        let size = (width.ceil() as u32, height.ceil() as u32);
        let count = size.0 as usize * size.1 as usize * (FINENESS * FINENESS) as usize;
        let surface = Surface::Bitmap(background.repeat(count));
        Ok(Self { size, surface })
    }

    /// An SVG.
    pub(super) fn vector(width: f64, height: f64, background: Colour) -> Self {
        let size = (width.ceil() as u32, height.ceil() as u32);
        let ground = Rectangle::new()
            .set("width", size.0)
            .set("height", size.1)
            .set("fill", hex(background));
        let document = Document::new()
            .set("viewBox", (0, 0, size.0, size.1))
            .set("width", size.0)
            .set("height", size.1)
            .add(ground);
        let surface = Surface::Vector(document);
        Self { size, surface }
    }

    /// Draws on either surface.
    fn draw(
        &mut self,
        on_bitmap: impl FnOnce(&DrawingArea<BitMapBackend<'_>, Shift>) -> Result<(), PlotError>,
        on_vector: impl FnOnce(Document) -> Document,
    ) -> Result<(), PlotError> {
        match &mut self.surface {
            Surface::Bitmap(pixels) => {
                let size = (self.size.0 * FINENESS, self.size.1 * FINENESS);
                on_bitmap(&BitMapBackend::with_buffer(pixels, size).into_drawing_area())
            }
            Surface::Vector(document) => {
                *document = on_vector(std::mem::replace(document, Document::new()));
                Ok(())
            }
        }
    }

    /// Draws a line through `points` with round joints, `width` wide. `colour` gives the colour for
    /// the index of a segment's first point.
    pub(super) fn stroke(
        &mut self,
        points: &[[f64; 2]],
        width: f64,
        colour: impl Fn(usize) -> Colour,
    ) -> Result<(), PlotError> {
        let on_vector = |mut document: Document| {
            let mut first = 0;
            while first + 1 < points.len() {
                let mut last = first + 1;
                while last + 1 < points.len() && colour(last) == colour(first) {
                    last += 1;
                }
                let line = Polyline::new()
                    .set("points", listed(&points[first..=last]))
                    .set("fill", "none")
                    .set("stroke", hex(colour(first)))
                    .set("stroke-width", width)
                    .set("stroke-linecap", "round")
                    .set("stroke-linejoin", "round");
                document = document.add(line);
                first = last;
            }
            document
        };
        self.draw(|area| stroke_discs(area, points, width, &colour), on_vector)
    }

    /// Draws discs; later ones are on top.
    pub(super) fn dots(
        &mut self,
        dots: impl Iterator<Item = ([f64; 2], Colour)> + Clone,
        radius: f64,
    ) -> Result<(), PlotError> {
        let on_bitmap = |area: &DrawingArea<BitMapBackend<'_>, Shift>| {
            let radius = (radius * f64::from(FINENESS)).round() as i32;
            for (place, colour) in dots.clone() {
                let disc = Circle::new(whole(fine(place)), radius, rgb(colour).filled());
                area.draw(&disc).map_err(drawing)?;
            }
            Ok(())
        };
        let on_vector = |document: Document| {
            dots.clone().fold(document, |document, ([x, y], colour)| {
                let disc = element::Circle::new()
                    .set("cx", short(x))
                    .set("cy", short(y))
                    .set("r", radius)
                    .set("fill", hex(colour));
                document.add(disc)
            })
        };
        self.draw(on_bitmap, on_vector)
    }

    pub(super) fn polygon(&mut self, points: &[[f64; 2]], colour: Colour) -> Result<(), PlotError> {
        let on_bitmap = |area: &DrawingArea<BitMapBackend<'_>, Shift>| {
            let points: Vec<_> = points.iter().map(|&p| whole(fine(p))).collect();
            area.draw(&Polygon::new(points, rgb(colour).filled()))
                .map_err(drawing)
        };
        let on_vector = |document: Document| {
            let polygon = element::Polygon::new()
                .set("points", listed(points))
                .set("fill", hex(colour));
            document.add(polygon)
        };
        self.draw(on_bitmap, on_vector)
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
        let on_bitmap = |area: &DrawingArea<BitMapBackend<'_>, Shift>| {
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
            area.draw(&Text::new(text, whole(fine(place)), style))
                .map_err(drawing)
        };
        let on_vector = |document: Document| {
            let weight = match weight {
                Weight::Regular => "normal",
                Weight::Bold => "600",
            };
            let anchor = match align {
                Align::Left => "start",
                Align::Centre => "middle",
                Align::Right => "end",
            };
            // XML has no way to write control characters.
            let text: String = text.chars().filter(|it| !it.is_control()).collect();
            let [x, y] = place;
            let text = element::Text::new(text)
                .set("x", short(x))
                // The base line: capitals have 0.73 of Inter's size.
                .set("y", short(y + 0.86 * size))
                .set("font-family", FONTS)
                .set("font-size", size)
                .set("font-weight", weight)
                .set("text-anchor", anchor)
                .set("fill", hex(colour));
            document.add(text)
        };
        self.draw(on_bitmap, on_vector)
    }

    /// Draws a picture of `size` pixels, rows of red, green and blue, with its upper left corner at
    /// `place`, as large as fits in `width` and `height`. An SVG gets no pictures.
    pub(super) fn image(
        &mut self,
        rgb: &[u8],
        size: (u32, u32),
        place: [f64; 2],
        width: f64,
        height: f64,
    ) {
        let Surface::Bitmap(pixels) = &mut self.surface else {
            return;
        };
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
                let target = pixels.get_mut(3 * to..3 * to + 3);
                if left + x < line
                    && let (Some(pixel), Some(target)) = (pixel, target)
                {
                    target.copy_from_slice(pixel);
                }
            }
        }
    }

    /// Writes the picture: a bitmap as PNG.
    pub(super) fn save(self, file: &Path) -> Result<(), PlotError> {
        let size = self.size;
        let failed = |reason| PlotError::Write {
            path: file.to_owned(),
            reason,
        };
        let pixels = match self.surface {
            Surface::Vector(document) => {
                return std::fs::write(file, document.to_string()).map_err(failed);
            }
            Surface::Bitmap(pixels) => averaged(&pixels, size.0),
        };
        let (width, height) = size;
        let (colour, format) = (ExtendedColorType::Rgb8, ImageFormat::Png);
        let written = image::save_buffer_with_format(file, &pixels, width, height, colour, format);
        written.map_err(|error| {
            failed(match error {
                ImageError::IoError(reason) => reason,
                other => std::io::Error::other(other),
            })
        })
    }

    /// The picture of a bitmap; `None` for an SVG.
    pub(super) fn into_rgb(self) -> Option<RgbImage> {
        let (width, height) = self.size;
        match self.surface {
            Surface::Bitmap(pixels) => RgbImage::from_raw(width, height, averaged(&pixels, width)),
            Surface::Vector(_) => None,
        }
    }

    /// The text of an SVG; empty for a bitmap.
    pub(super) fn into_svg(self) -> String {
        match self.surface {
            Surface::Vector(document) => document.to_string(),
            Surface::Bitmap(_) => String::new(),
        }
    }
}

/// The mean of the drawn pixels of each saved one; `width` pixels are saved per row.
fn averaged(drawn: &[u8], width: u32) -> Vec<u8> {
    let fineness = FINENESS as usize;
    let row = width as usize * 3;
    let mut sums = vec![0_u32; row];
    let mut saved = Vec::with_capacity(drawn.len() / (fineness * fineness));
    for rows in drawn.chunks_exact(row * fineness * fineness) {
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
    saved
}

/// A row of discs has no gaps and needs no joints. Discs an eighth of the radius apart ripple the
/// edge by less than a five-hundredth of the radius.
fn stroke_discs(
    area: &DrawingArea<BitMapBackend<'_>, Shift>,
    points: &[[f64; 2]],
    width: f64,
    colour: impl Fn(usize) -> Colour,
) -> Result<(), PlotError> {
    let radius = 0.5 * width * f64::from(FINENESS);
    for (i, pair) in points.windows(2).enumerate() {
        let [from, to] = [fine(pair[0]), fine(pair[1])];
        let distance = (to[0] - from[0]).hypot(to[1] - from[1]);
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

/// A colour of an SVG.
fn hex([r, g, b]: Colour) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// A coordinate to a tenth of a pixel.
fn short(coordinate: f64) -> f64 {
    (coordinate * 10.0).round() / 10.0
}

/// The points of an SVG's line.
fn listed(points: &[[f64; 2]]) -> String {
    let points = points.iter();
    let points: Vec<String> = points
        .map(|&[x, y]| format!("{},{}", short(x), short(y)))
        .collect();
    points.join(" ")
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
