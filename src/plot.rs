//! Draws pictures. The picture of a lap shows the circuit, the driven path coloured by speed, and
//! the main figures; that of a physical drive its commands over time, and that of a drive log the
//! seconds before a stop. The pictures of an engine show the quantization error of its layers, the
//! jitter of its inference time, and its answers to a recording. A frame of a film has the state of
//! the car below the picture. Those that compare engines show
//! error against time and size, bars of any figures, and driven paths side by side.

mod bars;
mod canvas;
mod commands;
mod drive;
mod film;
mod jitter;
mod layers;
mod palette;
mod pareto;
mod paths;
mod replay;
mod sheet;

use std::path::{Path, PathBuf};

use pilotage_simulator::{Circuit, PathPoint};

pub use bars::{Bar, BarPanel, bars_picture};
pub use commands::command_picture;
pub use drive::drive_picture;
pub(crate) use film::{FilmPanel, Gauge, Tone, film_colours, film_panel, film_panel_height};
pub use jitter::{Jitter, jitter_picture};
pub use layers::layer_picture;
pub use pareto::{Candidate, pareto_picture};
pub use paths::{DrivenPath, Track, paths_picture};
pub use replay::{Panel, PlottedFrame, Replayed, replay_picture, replay_svg};
pub(crate) use sheet::is_contact_sheet;
pub use sheet::{SheetFrame, SheetSection, sheet_picture};

use canvas::{Align, Canvas, Weight};
use palette::{
    ASPHALT, BACKGROUND, CHEQUER_DARK, CHEQUER_LIGHT, EDGE, FIGURE, MUTED, TROUBLE, speed_colour,
};

/// Why a picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The embedded font did not load.
    #[error("the embedded font cannot be used; this build of pilotage is damaged")]
    Font,
    /// Drawing failed.
    #[error("the picture could not be drawn: {0}")]
    Draw(String),
    /// The file's name says neither PNG nor SVG.
    #[error("{}: a plot is a PNG or an SVG; end its name with .png or .svg", .0.display())]
    Format(PathBuf),
    /// The contact sheet's name does not say PNG.
    #[error("{}: a contact sheet is a PNG; end its name with .png", .0.display())]
    NotPng(PathBuf),
    /// The file could not be written.
    #[error("cannot write the picture to {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: std::io::Error,
    },
}

/// A picture's name does not say that it is a PNG.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the picture is a PNG: end its name with .png")]
pub struct NotPng;

/// Parses the path of a picture to write, which ends in `.png`: an option of the command line.
///
/// # Errors
/// [`NotPng`] for another ending.
pub fn png_path(text: &str) -> Result<PathBuf, NotPng> {
    let path = PathBuf::from(text);
    match is_svg(&path) {
        Ok(false) => Ok(path),
        _ => Err(NotPng),
    }
}

/// A plot's name says neither that it is a PNG nor that it is an SVG.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a plot is a PNG or an SVG: end its name with .png or .svg")]
pub struct NoPlot;

/// Parses the path of a plot to write, which ends in `.png` or `.svg`: an option of the command
/// line.
///
/// # Errors
/// [`NoPlot`] for another ending.
pub fn plot_path(text: &str) -> Result<PathBuf, NoPlot> {
    let path = PathBuf::from(text);
    match is_svg(&path) {
        Ok(_) => Ok(path),
        Err(_) => Err(NoPlot),
    }
}

/// Whether a plot's name says SVG, else PNG.
pub(crate) fn is_svg(file: &Path) -> Result<bool, PlotError> {
    let extension = file.extension().and_then(|it| it.to_str()).unwrap_or("");
    match extension.to_ascii_lowercase().as_str() {
        "svg" => Ok(true),
        "png" => Ok(false),
        _ => Err(PlotError::Format(file.to_owned())),
    }
}

/// The text above the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// The title.
    pub title: String,
    /// Name and value of each figure, the most important first. There is space for five; more are
    /// drawn closer together.
    pub figures: Vec<(String, String)>,
    /// Whether the run was completed; if not, its end is marked with a cross.
    pub completed: bool,
}

/// The picture's width, pixels; its height follows the circuit's shape.
const WIDTH: f64 = 1600.0;
const MARGIN: f64 = 64.0;
const HEADER: f64 = 190.0;
const FOOTER: f64 = 110.0;
const LEAST_MAP_HEIGHT: f64 = 420.0;
const GREATEST_MAP_HEIGHT: f64 = 1100.0;

/// Writes a PNG or an SVG of `path` on `circuit` to `file`, as its name says.
///
/// # Errors
/// Fails if the picture cannot be drawn or the file cannot be written; see [`PlotError`].
pub fn lap_picture(
    file: &Path,
    circuit: &Circuit,
    path: &[PathPoint],
    caption: &Caption,
) -> Result<(), PlotError> {
    let path = smooth(path);
    let line = centre_line(circuit);
    let road_width = circuit.road_width();
    let view = View::of(&line, &path, road_width);
    let height = HEADER + view.height + FOOTER;
    let mut canvas = Canvas::named(file, WIDTH, height, BACKGROUND)?;

    draw_road(&mut canvas, &view, road_width, &line)?;
    let range = speed_range(&path);
    draw_path(&mut canvas, &view, road_width, &path, range)?;
    draw_start(&mut canvas, &view, circuit)?;
    if let (Some(end), false) = (path.last(), caption.completed) {
        draw_cross(&mut canvas, view.place(end.at))?;
    }
    draw_header(&mut canvas, caption)?;
    let foot = HEADER + view.height + FOOTER - 46.0;
    draw_length_bar(&mut canvas, &view, foot)?;
    draw_speed_bar(&mut canvas, range, foot)?;
    canvas.save(file)
}

/// A point of the path and the speed there.
#[derive(Debug, Clone, Copy)]
struct Waypoint {
    at: [f64; 2],
    speed: f64,
}

/// The path, with seven points of a Catmull-Rom spline inserted between consecutive entries: at 20
/// entries per second a hairpin would otherwise have visible corners. Entries that are not valid
/// positions are left out.
fn smooth(path: &[PathPoint]) -> Vec<Waypoint> {
    const BETWEEN: usize = 8;
    /// The limit of a valid coordinate in metres, and of a valid speed in metres per second.
    const MOST: f64 = 1e6;
    let known: Vec<Waypoint> = path
        .iter()
        .filter(|p| [p.x, p.y, p.speed].iter().all(|v| v.abs() < MOST))
        .map(|p| Waypoint {
            at: [p.x, p.y],
            speed: p.speed,
        })
        .collect();
    let Some(last) = known.len().checked_sub(1) else {
        return known;
    };
    let mut smooth = Vec::with_capacity(last * BETWEEN + 1);
    for i in 0..last {
        let near = [
            known[i.saturating_sub(1)],
            known[i],
            known[i + 1],
            known[last.min(i + 2)],
        ];
        for step in 0..BETWEEN {
            let t = step as f64 / BETWEEN as f64;
            let blend = |p: [f64; 4]| {
                let cubic = 3.0 * (p[1] - p[2]) + p[3] - p[0];
                let square = 2.0 * p[0] - 5.0 * p[1] + 4.0 * p[2] - p[3];
                p[1] + 0.5 * t * (p[2] - p[0] + t * (square + t * cubic))
            };
            smooth.push(Waypoint {
                at: [0, 1].map(|axis| blend(near.map(|p| p.at[axis]))),
                speed: near[1].speed + t * (near[2].speed - near[1].speed),
            });
        }
    }
    smooth.push(known[last]);
    smooth
}

/// The closed centre line as points, a quarter of a metre apart.
fn centre_line(circuit: &Circuit) -> Vec<[f64; 2]> {
    const STEP: f64 = 0.25;
    let count = (circuit.length() / STEP).ceil().max(4.0);
    (0..=count as usize)
        .map(|i| circuit.point(circuit.length() * i as f64 / count))
        .collect()
}

/// Converts metres to pixels.
struct View {
    /// Pixels per metre.
    scale: f64,
    centre: [f64; 2],
    /// Where the centre is drawn, pixels.
    middle: [f64; 2],
    /// Height of the map, pixels.
    height: f64,
}

impl View {
    fn of(line: &[[f64; 2]], path: &[Waypoint], road_width: f64) -> Self {
        let points = line.iter().copied().chain(path.iter().map(|p| p.at));
        let (least, most) = bounds(points, road_width);
        let size = [0, 1].map(|axis| most[axis] - least[axis]);
        let width = WIDTH - 2.0 * MARGIN;
        let height = (width * size[1] / size[0]).clamp(LEAST_MAP_HEIGHT, GREATEST_MAP_HEIGHT);
        let middle = [0.5 * WIDTH, HEADER + 0.5 * height];
        Self::within((least, most), middle, width, height)
    }

    /// As large as fits `width` and `height` pixels around `middle`.
    fn within(
        (least, most): ([f64; 2], [f64; 2]),
        middle: [f64; 2],
        width: f64,
        height: f64,
    ) -> Self {
        let size = [0, 1].map(|axis| most[axis] - least[axis]);
        Self {
            scale: (width / size[0]).min(height / size[1]),
            centre: [0, 1].map(|axis| 0.5 * (most[axis] + least[axis])),
            middle,
            height,
        }
    }

    fn place(&self, at: [f64; 2]) -> [f64; 2] {
        [
            self.middle[0] + (at[0] - self.centre[0]) * self.scale,
            self.middle[1] - (at[1] - self.centre[1]) * self.scale,
        ]
    }

    /// The width of `metres` in pixels, but at least `least` pixels.
    fn width(&self, metres: f64, least: f64) -> f64 {
        (metres * self.scale).max(least)
    }
}

/// The least and the largest coordinates of points and the road around them; at least a metre
/// apart.
fn bounds(points: impl Iterator<Item = [f64; 2]>, road_width: f64) -> ([f64; 2], [f64; 2]) {
    let mut least = [f64::INFINITY; 2];
    let mut most = [f64::NEG_INFINITY; 2];
    for at in points {
        for axis in 0..2 {
            least[axis] = least[axis].min(at[axis] - road_width);
            most[axis] = most[axis].max(at[axis] + road_width);
        }
    }
    for axis in 0..2 {
        if least[axis] > most[axis] {
            (least[axis], most[axis]) = (0.0, 0.0);
        }
        most[axis] = most[axis].max(least[axis] + 1.0);
    }
    (least, most)
}

fn draw_road(
    canvas: &mut Canvas,
    view: &View,
    road_width: f64,
    line: &[[f64; 2]],
) -> Result<(), PlotError> {
    let road = view.width(road_width, 7.0);
    let points: Vec<_> = line.iter().map(|&at| view.place(at)).collect();
    canvas.stroke(&points, road + 4.0, |_| EDGE)?;
    canvas.stroke(&points, road, |_| ASPHALT)
}

fn draw_path(
    canvas: &mut Canvas,
    view: &View,
    road_width: f64,
    path: &[Waypoint],
    (slowest, fastest): (f64, f64),
) -> Result<(), PlotError> {
    let points: Vec<_> = path.iter().map(|p| view.place(p.at)).collect();
    let width = view.width(0.32 * road_width, 4.0).min(12.0);
    let share = |i: usize| (path[i].speed - slowest) / (fastest - slowest);
    canvas.stroke(&points, width, |i| speed_colour(share(i)))
}

/// Draws a chequered strip across the road, and an arrow in the driving direction.
fn draw_start(canvas: &mut Canvas, view: &View, circuit: &Circuit) -> Result<(), PlotError> {
    const ROWS: i32 = 2;
    let start = circuit.start();
    let ahead = [start.heading.cos(), -start.heading.sin()];
    let left = [-start.heading.sin(), -start.heading.cos()];
    let centre = view.place(circuit.point(circuit.start_s()));
    let at = |forward: f64, sideways: f64| {
        [0, 1].map(|axis| centre[axis] + forward * ahead[axis] + sideways * left[axis])
    };
    let half = 0.5 * view.width(circuit.road_width(), 14.0) + 3.0;
    let across = (2.0 * half / 5.0).round().max(4.0) as i32;
    let side = 2.0 * half / f64::from(across);
    for row in 0..ROWS {
        for column in 0..across {
            let colour = if (row + column) % 2 == 0 {
                CHEQUER_LIGHT
            } else {
                CHEQUER_DARK
            };
            let (forward, sideways) = (
                side * f64::from(row - ROWS / 2),
                side * f64::from(column) - half,
            );
            canvas.polygon(
                &[
                    at(forward, sideways),
                    at(forward + side, sideways),
                    at(forward + side, sideways + side),
                    at(forward, sideways + side),
                ],
                colour,
            )?;
        }
    }
    let beside = half + 18.0;
    canvas.polygon(
        &[
            at(24.0, beside),
            at(2.0, beside + 9.0),
            at(7.0, beside),
            at(2.0, beside - 9.0),
        ],
        FIGURE,
    )
}

fn draw_cross(canvas: &mut Canvas, [x, y]: [f64; 2]) -> Result<(), PlotError> {
    const ARM: f64 = 13.0;
    for (width, colour) in [(11.0, BACKGROUND), (6.0, TROUBLE)] {
        canvas.stroke(&[[x - ARM, y - ARM], [x + ARM, y + ARM]], width, |_| colour)?;
        canvas.stroke(&[[x - ARM, y + ARM], [x + ARM, y - ARM]], width, |_| colour)?;
    }
    Ok(())
}

fn draw_header(canvas: &mut Canvas, caption: &Caption) -> Result<(), PlotError> {
    canvas.text(
        &caption.title,
        [MARGIN, 46.0],
        40.0,
        Weight::Bold,
        Align::Left,
        FIGURE,
    )?;
    let count = caption.figures.len().max(5);
    let step = (WIDTH - 2.0 * MARGIN) / count as f64;
    for (i, (name, value)) in caption.figures.iter().enumerate() {
        let x = MARGIN + step * i as f64;
        canvas.text(name, [x, 112.0], 20.0, Weight::Regular, Align::Left, MUTED)?;
        canvas.text(value, [x, 138.0], 30.0, Weight::Bold, Align::Left, FIGURE)?;
    }
    Ok(())
}

/// Draws a scale bar whose length is a round number of metres.
fn draw_length_bar(canvas: &mut Canvas, view: &View, y: f64) -> Result<(), PlotError> {
    let metres = round_number(220.0 / view.scale);
    let end = MARGIN + metres * view.scale;
    canvas.stroke(&[[MARGIN, y], [end, y]], 3.0, |_| MUTED)?;
    for x in [MARGIN, end] {
        canvas.stroke(&[[x, y - 6.0], [x, y + 6.0]], 3.0, |_| MUTED)?;
    }
    let text = format!("{metres} m");
    let place = [0.5 * (MARGIN + end), y - 34.0];
    canvas.text(&text, place, 20.0, Weight::Regular, Align::Centre, MUTED)
}

/// Draws a bar with the colours of the path and the speeds that they represent.
fn draw_speed_bar(
    canvas: &mut Canvas,
    (slowest, fastest): (f64, f64),
    y: f64,
) -> Result<(), PlotError> {
    const LENGTH: f64 = 520.0;
    let left = WIDTH - MARGIN - LENGTH;
    let points: Vec<_> = (0..=LENGTH as usize)
        .map(|i| [left + i as f64, y])
        .collect();
    canvas.stroke(&points, 14.0, |i| speed_colour(i as f64 / LENGTH))?;
    let step = round_number((fastest - slowest) / 4.0);
    let mut speed = (slowest / step).ceil() * step;
    while speed <= fastest + 1e-9 {
        let x = left + LENGTH * (speed - slowest) / (fastest - slowest);
        let text = format!("{}", (speed * 100.0).round() / 100.0);
        canvas.text(
            &text,
            [x, y - 38.0],
            20.0,
            Weight::Regular,
            Align::Centre,
            MUTED,
        )?;
        speed += step;
    }
    let place = [left - 22.0, y - 14.0];
    canvas.text("m/s", place, 20.0, Weight::Regular, Align::Right, MUTED)
}

/// The slowest and fastest speed of the bar, in whole m/s. The slowest 2 % of the path's points are
/// ignored, because they may belong to a start from standstill.
fn speed_range(path: &[Waypoint]) -> (f64, f64) {
    let mut speeds: Vec<f64> = path.iter().map(|p| p.speed.abs()).collect();
    speeds.sort_by(f64::total_cmp);
    let slowest = speeds
        .get(speeds.len() / 50)
        .copied()
        .unwrap_or(0.0)
        .floor();
    let fastest = speeds.last().copied().unwrap_or(1.0).ceil();
    (slowest, fastest.max(slowest + 1.0))
}

/// The largest number of the form 1, 2 or 5 times a power of ten that is at most `value`, for
/// values of at least 0.001.
fn round_number(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-3).log10().floor());
    let digit = match value / power {
        d if d >= 5.0 => 5.0,
        d if d >= 2.0 => 2.0,
        _ => 1.0,
    };
    digit * power
}

#[cfg(test)]
mod tests;
