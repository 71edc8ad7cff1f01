//! A picture of the commands of a drive over time.

use std::path::Path;

use super::canvas::{Align, Canvas, Weight};
use super::palette::{ASPHALT, BACKGROUND, EDGE, FIGURE, MUTED, speed_colour};
use super::{Caption, HEADER, MARGIN, PlotError, WIDTH, draw_header, round_number};
use crate::drive::Span;

/// The picture's height, pixels.
const HEIGHT: f64 = 900.0;
/// The horizontal range of the time axis.
const TIME_AXIS: (f64, f64) = (MARGIN + 84.0, WIDTH - MARGIN);
/// The top (value 1) and bottom (value -1) of the panels of steering and throttle.
const PANELS: [(&str, f64, f64); 2] = [
    ("steering", HEADER + 30.0, HEADER + 300.0),
    ("throttle", HEADER + 350.0, HEADER + 620.0),
];

/// Writes a PNG or an SVG, by the file's extension, of steering and throttle over time. The background
/// is lighter while the guard let the commands drive the car.
///
/// # Errors
/// Fails if the picture cannot be drawn or the file cannot be written; see [`PlotError`].
pub fn command_picture(file: &Path, spans: &[Span], caption: &Caption) -> Result<(), PlotError> {
    let mut canvas = Canvas::named(file, WIDTH, HEIGHT, BACKGROUND)?;
    draw_header(&mut canvas, caption)?;
    let longest = spans.last().map_or(0.0, |span| span.start).max(1e-3);
    let column = |seconds: f64| {
        TIME_AXIS.0 + (TIME_AXIS.1 - TIME_AXIS.0) * (seconds / longest).clamp(0.0, 1.0)
    };
    for (name, top, bottom) in PANELS {
        draw_driving(&mut canvas, spans, (top, bottom), column)?;
        let row = |value: f64| 0.5 * (top + bottom) - 0.5 * (bottom - top) * value.clamp(-1.0, 1.0);
        for value in [1.0, 0.5, 0.0, -0.5, -1.0] {
            let y = row(value);
            canvas.stroke(&[[TIME_AXIS.0, y], [TIME_AXIS.1, y]], 1.0, |_| EDGE)?;
            let (right, regular) = (Align::Right, Weight::Regular);
            let place = [TIME_AXIS.0 - 14.0, y - 10.0];
            canvas.text(&value.to_string(), place, 20.0, regular, right, MUTED)?;
        }
        let place = [TIME_AXIS.0 + 8.0, top - 28.0];
        canvas.text(name, place, 20.0, Weight::Bold, Align::Left, FIGURE)?;
        // Up and down within each span, so that every extreme is visible.
        let line: Vec<[f64; 2]> = spans
            .iter()
            .flat_map(|span| {
                let values = match name {
                    "steering" => span.steering,
                    _ => span.throttle,
                };
                values.map(|value| [column(span.start), row(f64::from(value))])
            })
            .collect();
        canvas.stroke(&line, 2.0, |_| speed_colour(0.8))?;
    }
    draw_seconds(&mut canvas, longest, column)?;
    canvas.save(file)
}

/// Draws the background of each interval in which the commands drove the car, up to the start of the
/// next interval.
fn draw_driving(
    canvas: &mut Canvas,
    spans: &[Span],
    (top, bottom): (f64, f64),
    column: impl Fn(f64) -> f64,
) -> Result<(), PlotError> {
    let mut intervals = spans.chunk_by(|a, b| a.driving == b.driving).peekable();
    while let Some(interval) = intervals.next() {
        // The last span of the drive ends where it starts: the time of its end is not known.
        let next = intervals.peek().and_then(|next| next.first());
        if let (Some(first), Some(end)) = (interval.first(), next.or(interval.last()))
            && first.driving
        {
            let (from, to) = (column(first.start), column(end.start));
            let background = [[from, top], [to, top], [to, bottom], [from, bottom]];
            canvas.polygon(&background, ASPHALT)?;
        }
    }
    Ok(())
}

fn draw_seconds(
    canvas: &mut Canvas,
    longest: f64,
    column: impl Fn(f64) -> f64,
) -> Result<(), PlotError> {
    let (regular, centre) = (Weight::Regular, Align::Centre);
    let top = PANELS[1].2 + 14.0;
    let step = round_number(longest / 4.0).max(1e-3);
    let ticks = (0..20).map(|i| f64::from(i) * step);
    for seconds in ticks.filter(|&seconds| seconds <= longest) {
        let text = format!("{}", (seconds * 1e3).round() / 1e3);
        canvas.text(&text, [column(seconds), top], 20.0, regular, centre, MUTED)?;
    }
    let text = "seconds since the start; lighter while the guard let the commands drive";
    let middle = 0.5 * (TIME_AXIS.0 + TIME_AXIS.1);
    canvas.text(text, [middle, top + 34.0], 20.0, regular, centre, MUTED)
}
