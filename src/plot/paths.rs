//! Driven paths side by side on one circuit, coloured by speed on one scale.

use std::path::Path;

use pilotage_simulator::{Circuit, PathPoint};
use serde::{Deserialize, Serialize};

use super::canvas::{Align, Canvas, Weight};
use super::palette::{BACKGROUND, FIGURE, MUTED};
use super::{
    Caption, FOOTER, HEADER, MARGIN, PlotError, View, WIDTH, Waypoint, bounds, centre_line,
    draw_cross, draw_header, draw_length_bar, draw_path, draw_road, draw_speed_bar, smooth,
    speed_range,
};

/// What is drawn of a circuit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// The closed centre line, metres.
    pub line: Vec<[f64; 2]>,
    /// Metres.
    pub road_width: f64,
}

impl Track {
    /// The track of a circuit.
    pub fn of(circuit: &Circuit) -> Self {
        Self {
            line: centre_line(circuit),
            road_width: circuit.road_width(),
        }
    }
}

/// A path and its title.
#[derive(Debug, Clone)]
pub struct DrivenPath {
    /// What drove.
    pub title: String,
    /// The main figures.
    pub note: String,
    /// The path.
    pub path: Vec<PathPoint>,
    /// Whether it was completed; if not, its end is marked with a cross.
    pub completed: bool,
}

/// Most maps in a row.
const ACROSS: usize = 3;
/// The space between maps, and the height of a map's title, pixels.
const SPACE: f64 = 40.0;
const TITLE: f64 = 66.0;
/// The range of a map's height, pixels.
const HEIGHTS: (f64, f64) = (200.0, 900.0);
/// The most maps of a picture, and the most pixels of a column of maps: its bitmap grows with both.
const MOST_MAPS: usize = 30;
const MOST_HEIGHT: f64 = 4000.0;

/// Writes a PNG with a map for each of `paths` on `track`: the first 30, and how many are left out.
///
/// # Errors
/// Fails if the picture cannot be drawn or the file cannot be written.
pub fn paths_picture(
    file: &Path,
    caption: &Caption,
    track: &Track,
    paths: &[DrivenPath],
) -> Result<(), PlotError> {
    let left_out = paths.len().saturating_sub(MOST_MAPS);
    let paths = &paths[..paths.len() - left_out];
    let smoothed: Vec<Vec<Waypoint>> = paths.iter().map(|it| smooth(&it.path)).collect();
    let range = speed_range(&smoothed.concat());
    let driven = smoothed.iter().flatten().map(|point| point.at);
    let all = bounds(track.line.iter().copied().chain(driven), track.road_width);
    let across = paths.len().clamp(1, ACROSS);
    let width = (WIDTH - 2.0 * MARGIN - SPACE * (across - 1) as f64) / across as f64;
    let (least, most) = all;
    let aspect = (most[1] - least[1]) / (most[0] - least[0]);
    let rows = paths.len().div_ceil(across);
    let tallest = HEIGHTS.1.min(MOST_HEIGHT / rows.max(1) as f64);
    let height = (width * aspect).clamp(HEIGHTS.0, tallest);
    let cell = TITLE + height + SPACE;
    let total = HEADER + cell * rows as f64 + FOOTER;
    let mut canvas = Canvas::named(file, WIDTH, total, BACKGROUND)?;
    draw_header(&mut canvas, caption)?;
    let mut scale = None;
    for (place, (driven, path)) in paths.iter().zip(&smoothed).enumerate() {
        let left = MARGIN + (place % across) as f64 * (width + SPACE);
        let top = HEADER + (place / across) as f64 * cell;
        let middle = [left + 0.5 * width, top + TITLE + 0.5 * height];
        let view = View::within(all, middle, width, height);
        draw_road(&mut canvas, &view, track.road_width, &track.line)?;
        draw_path(&mut canvas, &view, track.road_width, path, range)?;
        if let (Some(end), false) = (path.last(), driven.completed) {
            draw_cross(&mut canvas, view.place(end.at))?;
        }
        let (regular, bold, align) = (Weight::Regular, Weight::Bold, Align::Left);
        canvas.text(&driven.title, [left, top], 24.0, bold, align, FIGURE)?;
        canvas.text(
            &driven.note,
            [left, top + 32.0],
            18.0,
            regular,
            align,
            MUTED,
        )?;
        scale = Some(view);
    }
    let foot = total - 46.0;
    if let Some(view) = scale {
        draw_length_bar(&mut canvas, &view, foot)?;
    }
    if left_out > 0 {
        let text = format!("left out of this picture: {left_out}");
        let (regular, align) = (Weight::Regular, Align::Centre);
        // Between the two bars.
        canvas.text(
            &text,
            [0.4 * WIDTH, foot - 14.0],
            20.0,
            regular,
            align,
            MUTED,
        )?;
    }
    draw_speed_bar(&mut canvas, range, foot)?;
    canvas.save(file)
}
