//! The panel below a film's picture: the guard's state, steering and throttle, speed and time.

use image::RgbImage;
use pilotage_drivelog::plain;

use super::PlotError;
use super::canvas::{Align, Canvas, Weight};
use super::palette::{
    ANSWERS, ASPHALT, BACKGROUND, Colour, EDGE, FIGURE, GOOD, MUTED, RECORDED, TROUBLE,
};

/// What was asked, and what was granted or recorded.
const ASKED: Colour = ANSWERS[0];
const GIVEN: Colour = RECORDED;

/// The width that the following sizes are for; a wider panel is larger in all.
const NARROW: f64 = 320.0;
const HEIGHT: f64 = 62.0;
const SIDE: f64 = 9.0;
/// The size of labels, and the height of a capital letter as a share of a text's size. A text begins at
/// its capitals' top.
const LABEL: f64 = 10.5;
const CAPITAL: f64 = 0.73;
/// The lines of the panel: the tops of their texts.
const LINES: [f64; 3] = [9.0, 28.5, 46.5];
/// A value that is nearer to zero has no bar.
const LEAST: f32 = 0.004;
/// Where the gauges' bars are: from, to.
const STEERING: (f64, f64) = (56.0, 154.0);
const THROTTLE: (f64, f64) = (218.0, 311.0);

/// How the state is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// The car drives.
    Good,
    /// It does not, as it should.
    Idle,
    /// It was stopped.
    Trouble,
}

/// Steering or throttle, -1 to 1; steering is positive to the left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Gauge {
    /// What the pilot asked.
    pub asked: Option<f32>,
    /// What the guard granted, or what was recorded.
    pub given: Option<f32>,
}

/// What is shown below a picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FilmPanel {
    /// The guard's state in words.
    pub status: String,
    /// How it is marked.
    pub tone: Tone,
    /// Seconds from the first picture.
    pub time: f64,
    /// m/s.
    pub speed: Option<f32>,
    /// For how long there has been no picture, if that is long; seconds.
    pub missing: Option<f64>,
    pub steering: Gauge,
    pub throttle: Gauge,
    /// Whether a guard granted the values, else they were recorded.
    pub is_guarded: bool,
}

/// The colours of a panel, which a palette must have.
pub(crate) fn film_colours() -> [Colour; 9] {
    [
        BACKGROUND, ASPHALT, EDGE, FIGURE, MUTED, GOOD, TROUBLE, ASKED, GIVEN,
    ]
}

/// The height of a panel of this width, pixels; an even number.
pub(crate) fn film_panel_height(width: u32) -> u32 {
    2 * (HEIGHT * f64::from(width) / NARROW / 2.0).round() as u32
}

/// Draws a panel that is `width` pixels wide.
///
/// # Errors
/// When it cannot be drawn.
pub(crate) fn film_panel(width: u32, panel: &FilmPanel) -> Result<RgbImage, PlotError> {
    let height = film_panel_height(width);
    let canvas = Canvas::new(f64::from(width), f64::from(height), BACKGROUND)?;
    let mut sketch = Sketch {
        canvas,
        unit: f64::from(width) / NARROW,
    };
    sketch.status(panel)?;
    sketch.gauge("steering", STEERING, panel.steering, true)?;
    sketch.gauge("throttle", THROTTLE, panel.throttle, false)?;
    sketch.figures(panel)?;
    sketch.legend(panel.is_guarded)?;
    let drawn = sketch.canvas.into_rgb();
    drawn.ok_or_else(|| PlotError::Draw("the panel has no pixels".to_owned()))
}

/// Draws in the sizes of a narrow panel.
struct Sketch {
    canvas: Canvas,
    unit: f64,
}

impl Sketch {
    fn text(
        &mut self,
        text: &str,
        [x, y]: [f64; 2],
        size: f64,
        weight: Weight,
        align: Align,
        colour: Colour,
    ) -> Result<(), PlotError> {
        let place = [x * self.unit, y * self.unit];
        let size = size * self.unit;
        self.canvas.text(text, place, size, weight, align, colour)
    }

    fn label(&mut self, text: &str, place: [f64; 2], colour: Colour) -> Result<(), PlotError> {
        self.text(text, place, LABEL, Weight::Regular, Align::Left, colour)
    }

    fn block(
        &mut self,
        (from, to): (f64, f64),
        (top, low): (f64, f64),
        colour: Colour,
    ) -> Result<(), PlotError> {
        let corners = [[from, top], [to, top], [to, low], [from, low]];
        let corners = corners.map(|corner| corner.map(|it| it * self.unit));
        self.canvas.polygon(&corners, colour)
    }

    /// The state, and the time.
    fn status(&mut self, panel: &FilmPanel) -> Result<(), PlotError> {
        let colour = match panel.tone {
            Tone::Good => GOOD,
            Tone::Idle => MUTED,
            Tone::Trouble => TROUBLE,
        };
        let top = LINES[0];
        let centre = [
            (SIDE + 4.0) * self.unit,
            (top + 0.5 * CAPITAL * 12.5) * self.unit,
        ];
        self.canvas
            .dots([(centre, colour)].into_iter(), 4.0 * self.unit)?;
        let status = plain(&panel.status, 64);
        // A letter is about as wide as half its size. A long reason is written smaller.
        let room = NARROW - SIDE - 22.0 - 46.0;
        let size = (room / (0.52 * status.chars().count().max(1) as f64)).clamp(7.5, 12.5);
        let place = [22.0, top + 0.5 * (12.5 - size)];
        let ink = match panel.tone {
            Tone::Trouble => TROUBLE,
            _ => FIGURE,
        };
        self.text(&status, place, size, Weight::Bold, Align::Left, ink)?;
        let time = format!("{:.1} s", panel.time);
        let place = [NARROW - SIDE, top];
        self.text(&time, place, 12.5, Weight::Regular, Align::Right, FIGURE)
    }

    /// A bar from the middle to the value that is given, with a mark at the one that was asked.
    fn gauge(
        &mut self,
        name: &str,
        (from, to): (f64, f64),
        gauge: Gauge,
        is_lateral: bool,
    ) -> Result<(), PlotError> {
        let top = LINES[1];
        self.label(name, [from - 47.0, top], MUTED)?;
        let centre = top + 0.5 * CAPITAL * LABEL;
        let (rows, mark) = ((centre - 4.5, centre + 4.5), (centre - 6.5, centre + 6.5));
        self.block((from, to), rows, ASPHALT)?;
        let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
        let column = |value: f32| {
            let value = f64::from(value).clamp(-1.0, 1.0);
            middle + half * if is_lateral { -value } else { value }
        };
        if let Some(given) = gauge.given.filter(|it| it.abs() >= LEAST) {
            let at = column(given);
            self.block((middle.min(at), middle.max(at)), rows, GIVEN)?;
        }
        self.block((middle - 0.5, middle + 0.5), mark, EDGE)?;
        if let Some(asked) = gauge.asked {
            let at = column(asked);
            self.block((at - 1.25, at + 1.25), mark, ASKED)?;
        }
        Ok(())
    }

    fn figures(&mut self, panel: &FilmPanel) -> Result<(), PlotError> {
        let place = [SIDE, LINES[2]];
        match (panel.missing, panel.speed) {
            (Some(age), _) => self.label(&format!("no picture for {age:.1} s"), place, TROUBLE),
            (None, Some(speed)) => self.label(&format!("{speed:.1} m/s"), place, FIGURE),
            (None, None) => Ok(()),
        }
    }

    /// What the bar and the mark are.
    fn legend(&mut self, is_guarded: bool) -> Result<(), PlotError> {
        let top = LINES[2];
        let centre = top + 0.5 * CAPITAL * LABEL;
        let (name, left) = match is_guarded {
            true => ("granted by the guard", 202.0),
            false => ("recorded", 264.0),
        };
        self.block(
            (left - 14.0, left - 4.0),
            (centre - 3.75, centre + 3.75),
            GIVEN,
        )?;
        self.label(name, [left, top], MUTED)?;
        if is_guarded {
            self.block((141.0, 143.5), (centre - 5.75, centre + 5.75), ASKED)?;
            self.label("asked", [148.0, top], MUTED)?;
        }
        Ok(())
    }
}
