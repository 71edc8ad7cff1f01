//! A picture of the quantization error of each layer.

use std::path::Path;

use pilotage_compiler::LayerReport;

use super::PlotError;
use super::canvas::{Align, Canvas, Weight};
use super::palette::{ASPHALT, BACKGROUND, EDGE, FIGURE, MUTED, TROUBLE, speed_colour};

const WIDTH: f64 = 1600.0;
const MARGIN: f64 = 64.0;
const HEADER: f64 = 170.0;
const ROW: f64 = 46.0;
const FOOTER: f64 = 60.0;
/// The horizontal range of the bars of signal to noise.
const NOISE: (f64, f64) = (380.0, 900.0);
/// The horizontal range of the bars of ranges.
const RANGE: (f64, f64) = (1010.0, 1330.0);
/// A full bar of signal to noise, dB: 8 bits of a signal that fills its range.
const FULL: f64 = 50.0;
/// Below this a layer's signal to noise is poor, dB.
const POOR: f64 = 15.0;
/// The largest number of layers that are drawn.
const MOST: usize = 80;

/// Writes a PNG or an SVG, by the file's extension: for each layer its ratio of signal to quantization noise, and the share of the
/// calibration range that is kept.
///
/// # Errors
/// Fails if the picture cannot be drawn or the file cannot be written; see [`PlotError`].
pub fn layer_picture(file: &Path, title: &str, layers: &[LayerReport]) -> Result<(), PlotError> {
    let shown = &layers[..layers.len().min(MOST)];
    let height = HEADER + ROW * shown.len() as f64 + FOOTER;
    let mut canvas = Canvas::named(file, WIDTH, height, BACKGROUND)?;
    let (left, right) = (Align::Left, Align::Right);
    let (regular, bold) = (Weight::Regular, Weight::Bold);
    canvas.text(title, [MARGIN, 44.0], 34.0, bold, left, FIGURE)?;
    let titles = [
        ("layer", MARGIN, left),
        ("signal to quantization noise, dB", NOISE.0, left),
        ("kept of the range seen", RANGE.0, left),
        ("cut off", WIDTH - MARGIN, right),
    ];
    for (text, x, align) in titles {
        canvas.text(text, [x, 122.0], 20.0, regular, align, MUTED)?;
    }
    for (i, layer) in shown.iter().enumerate() {
        let top = HEADER + ROW * i as f64;
        let label = shortened(&layer.name, 26);
        canvas.text(&label, [MARGIN, top], 22.0, regular, left, FIGURE)?;
        let noise = layer.signal_to_noise;
        let share = (noise / FULL).clamp(0.0, 1.0);
        let colour = match noise < POOR {
            true => TROUBLE,
            false => speed_colour(0.25 + 0.75 * share),
        };
        bar(&mut canvas, NOISE, top, share, colour)?;
        let figure = format!("{noise:.1}");
        let place = [NOISE.1 + 14.0, top];
        canvas.text(&figure, place, 22.0, regular, left, FIGURE)?;
        match (layer.largest, layer.limit, layer.clipped) {
            (Some(largest), Some(limit), Some(clipped)) => {
                let share = f64::from(limit / largest.max(f32::MIN_POSITIVE));
                bar(&mut canvas, RANGE, top, share.clamp(0.0, 1.0), EDGE)?;
                let figure = format!("{limit:.2}");
                let place = [RANGE.1 + 14.0, top];
                canvas.text(&figure, place, 22.0, regular, left, MUTED)?;
                let figure = format!("{:.3} %", 100.0 * clipped);
                let place = [WIDTH - MARGIN, top];
                canvas.text(&figure, place, 22.0, regular, right, FIGURE)?;
            }
            _ => {
                let place = [RANGE.0, top];
                canvas.text("floating point", place, 22.0, regular, left, MUTED)?;
            }
        }
    }
    canvas.save(file)
}

/// A bar that is full at `share` 1, on a background of full length.
fn bar(
    canvas: &mut Canvas,
    (from, to): (f64, f64),
    top: f64,
    share: f64,
    colour: super::palette::Colour,
) -> Result<(), PlotError> {
    let mut block = |end: f64, colour| {
        let (top, low) = (top - 4.0, top + 18.0);
        canvas.polygon(&[[from, top], [end, top], [end, low], [from, low]], colour)
    };
    block(to, ASPHALT)?;
    // A share of zero must still be visible as a bar.
    block(from + ((to - from) * share).max(2.0), colour)
}

/// At most `most` characters. The end is kept, because names of PyTorch's nodes differ most at
/// their end.
fn shortened(name: &str, most: usize) -> String {
    let count = name.chars().count();
    match count > most {
        true => ['…']
            .into_iter()
            .chain(name.chars().skip(count - most + 1))
            .collect(),
        false => name.to_owned(),
    }
}
