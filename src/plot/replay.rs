//! A picture of an engine's answers to a recording: over time, and against what was recorded.

use std::collections::HashSet;
use std::path::Path;

use super::canvas::{Align, Canvas, Weight};
use super::palette::{ANSWERS, ASPHALT, BACKGROUND, Colour, EDGE, FIGURE, MUTED, RECORDED};
use super::{Caption, HEADER, MARGIN, PlotError, WIDTH, draw_header, round_number};

/// The data to draw.
#[derive(Debug, Clone)]
pub struct Replayed<'a> {
    /// Title and main figures.
    pub caption: &'a Caption,
    /// The engines' names, at most two.
    pub engines: &'a [String],
    /// `seconds` or `frames`.
    pub axis: &'static str,
    /// A panel for each quantity.
    pub panels: Vec<Panel>,
}

/// One quantity.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Its name and unit.
    pub title: &'static str,
    /// Runs of frames without gaps.
    pub runs: Vec<Vec<PlottedFrame>>,
}

/// A frame of a panel.
#[derive(Debug, Clone)]
pub struct PlottedFrame {
    /// Its place on the axis.
    pub at: f64,
    /// The recorded value.
    pub recorded: f64,
    /// The answer of each engine that has one.
    pub answers: Vec<Option<f64>>,
}

/// The horizontal range of the time, and of the scatter plot.
const RUN: (f64, f64) = (MARGIN + 84.0, 1130.0);
const SCATTER: (f64, f64) = (1230.0, WIDTH - MARGIN);
/// A panel's height and the space below it, pixels.
const PANEL: f64 = WIDTH - MARGIN - 1230.0;
const SPACE: f64 = 90.0;
const FOOTER: f64 = 30.0;
/// Points of the scatter plot within a square of this width are drawn once.
const CELL: f64 = 3.0;

/// Writes a PNG or an SVG, by the file's extension: recorded and predicted values over time, and
/// beside them the predictions over what was recorded.
///
/// # Errors
/// Fails if the name is of another format, or the file cannot be written.
pub fn replay_picture(file: &Path, replayed: &Replayed<'_>) -> Result<(), PlotError> {
    let (width, height) = (WIDTH, height(replayed));
    let mut canvas = Canvas::named(file, width, height, BACKGROUND)?;
    draw(&mut canvas, replayed)?;
    canvas.save(file)
}

/// As [`replay_picture`], as the text of an SVG.
///
/// # Errors
/// As [`replay_picture`].
pub fn replay_svg(replayed: &Replayed<'_>) -> Result<String, PlotError> {
    let mut canvas = Canvas::vector(WIDTH, height(replayed), BACKGROUND);
    draw(&mut canvas, replayed)?;
    Ok(canvas.into_svg())
}

fn height(replayed: &Replayed<'_>) -> f64 {
    HEADER + replayed.panels.len() as f64 * (PANEL + SPACE) + FOOTER
}

fn draw(canvas: &mut Canvas, replayed: &Replayed<'_>) -> Result<(), PlotError> {
    draw_header(canvas, replayed.caption)?;
    for (place, panel) in replayed.panels.iter().enumerate() {
        let top = HEADER + 34.0 + place as f64 * (PANEL + SPACE);
        let scale = Scale::of(panel, top);
        for (from, to) in [RUN, SCATTER] {
            let (top, low) = (top, top + PANEL);
            canvas.polygon(&[[from, top], [to, top], [to, low], [from, low]], ASPHALT)?;
        }
        scale.draw_values(canvas)?;
        draw_time(canvas, replayed, panel, &scale)?;
        draw_scatter(canvas, panel, &scale)?;
        draw_titles(canvas, replayed, panel, top)?;
    }
    Ok(())
}

/// From values to pixels.
struct Scale {
    top: f64,
    /// The least and the largest value.
    values: (f64, f64),
    /// The first and the last place on the axis.
    axis: (f64, f64),
}

impl Scale {
    fn of(panel: &Panel, top: f64) -> Self {
        let (mut values, mut axis) = ([f64::MAX, f64::MIN], [f64::MAX, f64::MIN]);
        for frame in panel.runs.iter().flatten() {
            axis = [axis[0].min(frame.at), axis[1].max(frame.at)];
            for value in frame.answers.iter().flatten().chain([&frame.recorded]) {
                values = [values[0].min(*value), values[1].max(*value)];
            }
        }
        if values[0] > values[1] {
            (values, axis) = ([-1.0, 1.0], [0.0, 1.0]);
        }
        let margin = (0.06 * (values[1] - values[0])).max(0.01);
        Self {
            top,
            values: (values[0] - margin, values[1] + margin),
            axis: (axis[0], axis[1].max(axis[0] + 1e-3)),
        }
    }

    fn share(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        ((value - low) / (high - low)).clamp(0.0, 1.0)
    }

    fn row(&self, value: f64) -> f64 {
        self.top + PANEL * (1.0 - self.share(value))
    }

    fn column(&self, at: f64) -> f64 {
        let (first, last) = self.axis;
        RUN.0 + (RUN.1 - RUN.0) * ((at - first) / (last - first)).clamp(0.0, 1.0)
    }

    /// The horizontal position of a recorded value in the scatter plot.
    fn across(&self, value: f64) -> f64 {
        SCATTER.0 + (SCATTER.1 - SCATTER.0) * self.share(value)
    }

    /// Round values within the scale.
    fn ticks(low: f64, high: f64) -> impl Iterator<Item = f64> {
        let step = round_number((high - low) / 4.0);
        let first = (low / step).ceil();
        let ticks = (0..12).map(move |i| (first + f64::from(i)) * step);
        ticks.filter(move |tick| *tick <= high)
    }

    fn draw_values(&self, canvas: &mut Canvas) -> Result<(), PlotError> {
        let (low, high) = self.values;
        for value in Self::ticks(low, high) {
            let (x, y) = (self.across(value), self.row(value));
            let width = if value.abs() < 1e-9 { 2.0 } else { 1.0 };
            canvas.stroke(&[[RUN.0, y], [RUN.1, y]], width, |_| EDGE)?;
            canvas.stroke(&[[SCATTER.0, y], [SCATTER.1, y]], width, |_| EDGE)?;
            canvas.stroke(&[[x, self.top], [x, self.top + PANEL]], width, |_| EDGE)?;
            for (right, y) in [(RUN.0, y - 10.0), (SCATTER.0, y - 10.0)] {
                label(canvas, value, [right - 14.0, y], Align::Right)?;
            }
            label(canvas, value, [x, self.top + PANEL + 10.0], Align::Centre)?;
        }
        Ok(())
    }
}

fn label(canvas: &mut Canvas, value: f64, place: [f64; 2], align: Align) -> Result<(), PlotError> {
    let text = format!("{}", (value * 1e3).round() / 1e3 + 0.0);
    canvas.text(&text, place, 18.0, Weight::Regular, align, MUTED)
}

/// The engines' lines below the recording's, which the eye compares them with.
fn draw_time(
    canvas: &mut Canvas,
    replayed: &Replayed<'_>,
    panel: &Panel,
    scale: &Scale,
) -> Result<(), PlotError> {
    for at in Scale::ticks(scale.axis.0, scale.axis.1) {
        let place = [scale.column(at), scale.top + PANEL + 10.0];
        label(canvas, at, place, Align::Centre)?;
    }
    let line = |values: &dyn Fn(&PlottedFrame) -> Option<f64>| {
        let runs = panel.runs.iter().map(|run| {
            let points = run.iter().filter_map(|it| Some((it.at, values(it)?)));
            let points = points.map(|(at, value)| [scale.column(at), scale.row(value)]);
            thinned(points)
        });
        runs.collect::<Vec<_>>()
    };
    let mut draw = |runs: Vec<Vec<[f64; 2]>>, width, colour: Colour| {
        runs.iter()
            .try_for_each(|run| canvas.stroke(run, width, |_| colour))
    };
    draw(line(&|it| Some(it.recorded)), 3.0, RECORDED)?;
    for (engine, colour) in (0..replayed.engines.len()).zip(ANSWERS) {
        draw(line(&|it| *it.answers.get(engine)?), 1.8, colour)?;
    }
    Ok(())
}

/// The points of a line; of many in one column of pixels the first, the extremes and the last.
fn thinned(points: impl Iterator<Item = [f64; 2]>) -> Vec<[f64; 2]> {
    let points: Vec<[f64; 2]> = points.collect();
    let mut thinned = Vec::new();
    for column in points.chunk_by(|one, next| one[0].round() == next[0].round()) {
        match column {
            [first, .., last] if column.len() > 4 => {
                let by_row = |a: &&[f64; 2], b: &&[f64; 2]| a[1].total_cmp(&b[1]);
                thinned.push(*first);
                thinned.extend(column.iter().min_by(by_row));
                thinned.extend(column.iter().max_by(by_row));
                thinned.push(*last);
            }
            _ => thinned.extend(column),
        }
    }
    thinned
}

fn draw_scatter(canvas: &mut Canvas, panel: &Panel, scale: &Scale) -> Result<(), PlotError> {
    let (low, high) = scale.values;
    let diagonal = [low, high].map(|value| [scale.across(value), scale.row(value)]);
    canvas.stroke(&diagonal, 2.0, |_| MUTED)?;
    let mut seen = HashSet::new();
    let mut dots = Vec::new();
    for frame in panel.runs.iter().flatten() {
        for (engine, (answer, colour)) in frame.answers.iter().zip(ANSWERS).enumerate() {
            let Some(answer) = answer else {
                continue;
            };
            let place = [scale.across(frame.recorded), scale.row(*answer)];
            let cell = place.map(|it| (it / CELL).floor() as i64);
            if seen.insert((engine, cell)) {
                dots.push((place, colour));
            }
        }
    }
    canvas.dots(dots.into_iter(), 2.0)
}

fn draw_titles(
    canvas: &mut Canvas,
    replayed: &Replayed<'_>,
    panel: &Panel,
    top: f64,
) -> Result<(), PlotError> {
    let (left, right) = (Align::Left, Align::Right);
    let (regular, bold) = (Weight::Regular, Weight::Bold);
    let above = top - 30.0;
    canvas.text(panel.title, [RUN.0, above], 20.0, bold, left, FIGURE)?;
    let across = "across: recorded, up: predicted";
    canvas.text(across, [SCATTER.0, above], 18.0, regular, left, MUTED)?;
    let below = [RUN.1, top + PANEL + 36.0];
    canvas.text(replayed.axis, below, 18.0, regular, right, MUTED)?;
    // The legend, from the right.
    let names = replayed.engines.iter().map(String::as_str).zip(ANSWERS);
    let names: Vec<(&str, Colour)> = [("recorded", RECORDED)].into_iter().chain(names).collect();
    let mut x = RUN.1;
    for (name, colour) in names.into_iter().rev() {
        let name: String = name.chars().take(30).collect();
        canvas.text(&name, [x, above], 18.0, regular, right, colour)?;
        x -= 24.0 + 10.0 * name.chars().count() as f64;
    }
    Ok(())
}
