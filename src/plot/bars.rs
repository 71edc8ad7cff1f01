//! Bars: a row for each engine, a panel for each figure.

use std::path::Path;

use super::canvas::{Align, Canvas, Weight};
use super::palette::{ANSWERS, ASPHALT, BACKGROUND, FIGURE, MUTED};
use super::{MARGIN, PlotError, WIDTH};

/// A bar and its spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Its length, 0 or more.
    pub value: f64,
    /// The standard deviation, if there is any.
    pub spread: Option<f64>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct BarPanel {
    /// Its name and unit.
    pub title: String,
    /// Digits after the point.
    pub digits: usize,
    /// A bar for each row that has the figure.
    pub bars: Vec<Option<Bar>>,
}

/// The width of the rows' names, the space between panels, a row's height, pixels.
const NAMES: f64 = 300.0;
const SPACE: f64 = 36.0;
const ROW: f64 = 40.0;
/// The height above the rows.
const TOP: f64 = 150.0;
/// The width of a bar's number.
const NUMBER: f64 = 96.0;
/// The most rows of a picture: its bitmap grows with each.
const MOST_ROWS: usize = 60;
/// The most characters of a name.
const MOST_CHARACTERS: usize = 30;

/// Writes a PNG with the rows of these `names`: the first 60, and how many are left out.
///
/// # Errors
/// Fails if the picture cannot be drawn or the file cannot be written.
pub fn bars_picture(
    file: &Path,
    title: &str,
    names: &[String],
    panels: &[BarPanel],
) -> Result<(), PlotError> {
    let left_out = names.len().saturating_sub(MOST_ROWS);
    let names = &names[..names.len() - left_out];
    let foot = TOP + ROW * names.len() as f64;
    let height = foot + MARGIN + if left_out > 0 { ROW } else { 0.0 };
    let mut canvas = Canvas::named(file, WIDTH, height, BACKGROUND)?;
    let (left, bold, regular) = (Align::Left, Weight::Bold, Weight::Regular);
    canvas.text(title, [MARGIN, 40.0], 36.0, bold, left, FIGURE)?;
    for (row, name) in names.iter().enumerate() {
        let y = TOP + ROW * row as f64 + 8.0;
        let name: String = name.chars().take(MOST_CHARACTERS).collect();
        canvas.text(&name, [MARGIN, y], 20.0, regular, left, FIGURE)?;
    }
    let count = panels.len().max(1) as f64;
    let width = (WIDTH - 2.0 * MARGIN - NAMES - SPACE * count) / count;
    for (place, panel) in panels.iter().enumerate() {
        let x = MARGIN + NAMES + SPACE + place as f64 * (width + SPACE);
        canvas.text(&panel.title, [x, TOP - 40.0], 20.0, bold, left, MUTED)?;
        draw_panel(&mut canvas, panel, x, width)?;
    }
    if left_out > 0 {
        let text = format!("rows left out of this picture: {left_out}");
        canvas.text(&text, [MARGIN, foot + 20.0], 20.0, regular, left, MUTED)?;
    }
    canvas.save(file)
}

fn draw_panel(canvas: &mut Canvas, panel: &BarPanel, x: f64, width: f64) -> Result<(), PlotError> {
    let ends = panel.bars.iter().take(MOST_ROWS).flatten();
    let ends = ends.map(|bar| bar.value + bar.spread.unwrap_or(0.0));
    let largest = ends.filter(|it| it.is_finite()).fold(0.0, f64::max);
    let length = |value: f64| {
        let share = value / largest.max(f64::MIN_POSITIVE);
        (width - NUMBER) * share.clamp(0.0, 1.0)
    };
    for (row, bar) in panel.bars.iter().take(MOST_ROWS).enumerate() {
        let top = TOP + ROW * row as f64 + 6.0;
        let low = top + ROW - 12.0;
        let block = |from: f64, to: f64| [[from, top], [to, top], [to, low], [from, low]];
        canvas.polygon(&block(x, x + width - NUMBER), ASPHALT)?;
        let number = x + width - NUMBER + 10.0;
        let mut text = |text: &str, colour| {
            let (left, regular) = (Align::Left, Weight::Regular);
            canvas.text(text, [number, top + 3.0], 18.0, regular, left, colour)
        };
        let Some(bar) = bar.filter(|bar| bar.value.is_finite()) else {
            text("-", MUTED)?;
            continue;
        };
        text(&format!("{:.*}", panel.digits, bar.value), FIGURE)?;
        canvas.polygon(&block(x, x + length(bar.value).max(1.0)), ANSWERS[1])?;
        if let Some(spread) = bar.spread.filter(|it| *it > 0.0) {
            let middle = 0.5 * (top + low);
            let [from, to] = [-spread, spread].map(|by| x + length(bar.value + by));
            canvas.stroke(&[[from, middle], [to, middle]], 3.0, |_| ANSWERS[0])?;
        }
    }
    Ok(())
}
