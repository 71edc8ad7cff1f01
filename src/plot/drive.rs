//! A picture of the seconds before a stop, from a drive log.

use std::path::Path;

use pilotage_drivelog::{Diagnosis, Frame, Guard, Stage, Window, plain};

use super::canvas::{Align, Canvas, Weight};
use super::palette::{ASPHALT, BACKGROUND, Colour, EDGE, FIGURE, MUTED, TROUBLE, speed_colour};
use super::{MARGIN, PlotError, WIDTH, round_number};

/// How much is drawn before and after the stop, milliseconds.
const BEFORE: f64 = 5_000.0;
const AFTER: f64 = 1_000.0;
/// The horizontal range of the time.
const RUN: (f64, f64) = (MARGIN + 84.0, WIDTH - MARGIN);
/// Vertical ranges.
const STAGES: (f64, f64) = (170.0, 430.0);
const STEERING: (f64, f64) = (490.0, 640.0);
const THROTTLE: (f64, f64) = (700.0, 850.0);
const PICTURES: f64 = 950.0;
const HEIGHT: f64 = 1180.0;
/// Pictures in the row, and the space between them.
const COUNT: usize = 6;
const GAP: f64 = 12.0;
/// Most iterations that are drawn as a bar each.
const MOST_BARS: usize = 1_000;

/// Writes a PNG of the seconds before the stop in `window`, or before its end: each iteration's
/// stages against the guard's deadline, commands asked and granted, and pictures.
///
/// # Errors
/// Fails if the picture cannot be drawn or the file cannot be written; see [`PlotError`].
pub fn drive_picture(file: &Path, window: &Window, diagnosis: &Diagnosis) -> Result<(), PlotError> {
    let mut canvas = Canvas::new(WIDTH, HEIGHT, BACKGROUND)?;
    let last = window.frames.back().map(|frame| frame.published_ms);
    let end = window.stop_ms().or(last).unwrap_or_default();
    let view = View { end };
    let title = diagnosis.stop.map_or_else(
        || "not stopped by the guard".to_owned(),
        |stop| format!("stopped: {}", stop.words()),
    );
    let left = [MARGIN, 40.0];
    canvas.text(
        &plain(&title, 90),
        left,
        34.0,
        Weight::Bold,
        Align::Left,
        FIGURE,
    )?;
    let cause = plain(&diagnosis.cause.words(window), 130);
    canvas.text(
        &cause,
        [MARGIN, 92.0],
        22.0,
        Weight::Regular,
        Align::Left,
        MUTED,
    )?;
    stages(&mut canvas, window, &view)?;
    for (index, name, rows) in [(0, "steering", STEERING), (1, "throttle", THROTTLE)] {
        commands(&mut canvas, window, &view, (index, name, rows))?;
    }
    seconds(&mut canvas, &view)?;
    pictures(&mut canvas, window, &view)?;
    if window.stop.is_some() {
        let x = view.column(end);
        for (top, low) in [STAGES, STEERING, THROTTLE] {
            canvas.stroke(&[[x, top], [x, low]], 2.0, |_| TROUBLE)?;
        }
    }
    canvas.save(file)
}

/// The time axis.
struct View {
    /// The stop, or the end of the log.
    end: f64,
}

impl View {
    fn column(&self, ms: f64) -> f64 {
        let share = (ms - self.end + BEFORE) / (BEFORE + AFTER);
        RUN.0 + (RUN.1 - RUN.0) * share.clamp(0.0, 1.0)
    }

    fn shows(&self, ms: f64) -> bool {
        (self.end - BEFORE..=self.end + AFTER).contains(&ms)
    }
}

fn colour(stage: Stage) -> Colour {
    match stage {
        Stage::Camera => EDGE,
        Stage::Vision => speed_colour(0.1),
        Stage::Engine => speed_colour(0.6),
        Stage::Sending => speed_colour(1.0),
    }
}

/// Draws a bar for each iteration, its stages on top of each other.
fn stages(canvas: &mut Canvas, window: &Window, view: &View) -> Result<(), PlotError> {
    let deadline = window.start.deadline_ms.clamp(1.0, 60_000.0);
    let pairs = window.frames.iter().zip(window.frames.iter().skip(1));
    let shown: Vec<(&Frame, &Frame)> = pairs
        .filter(|(_, frame)| view.shows(frame.published_ms))
        .collect();
    let whole = |(before, frame): &(&Frame, &Frame)| frame.published_ms - before.published_ms;
    let longest = shown.iter().map(whole).fold(0.0, f64::max);
    let most = (1.2 * deadline).max(1.1 * longest).min(10.0 * deadline);
    let (top, low) = STAGES;
    let row = |ms: f64| low - (low - top) * (ms / most).clamp(0.0, 1.0);
    axis(canvas, "ms from iteration to iteration, by stage", STAGES)?;
    let newest = shown.len().saturating_sub(MOST_BARS);
    for (before, frame) in shown.get(newest..).unwrap_or_default() {
        let right = view.column(frame.published_ms);
        let left = view
            .column(before.published_ms)
            .max(right - 14.0)
            .min(right - 1.0);
        let mut from = 0.0;
        for stage in Stage::ALL {
            let to = from + stage.of(before, frame);
            let bar = [
                [left, row(from)],
                [right, row(from)],
                [right, row(to)],
                [left, row(to)],
            ];
            canvas.polygon(&bar, colour(stage))?;
            from = to;
        }
    }
    let y = row(deadline);
    canvas.stroke(&[[RUN.0, y], [RUN.1, y]], 2.0, |_| TROUBLE)?;
    let label = format!("{deadline:.0} deadline");
    let place = [RUN.0 - 8.0, y - 10.0];
    canvas.text(&label, place, 18.0, Weight::Regular, Align::Right, TROUBLE)?;
    let mut x = RUN.0 + 480.0;
    for stage in Stage::ALL {
        let mark = [
            [x, top - 22.0],
            [x + 16.0, top - 22.0],
            [x + 16.0, top - 8.0],
            [x, top - 8.0],
        ];
        canvas.polygon(&mark, colour(stage))?;
        let place = [x + 24.0, top - 26.0];
        canvas.text(
            stage.name(),
            place,
            20.0,
            Weight::Regular,
            Align::Left,
            MUTED,
        )?;
        x += 200.0;
    }
    Ok(())
}

/// Draws what was asked, and what the guard granted.
fn commands(
    canvas: &mut Canvas,
    window: &Window,
    view: &View,
    (index, name, rows): (usize, &str, (f64, f64)),
) -> Result<(), PlotError> {
    axis(
        canvas,
        &format!("{name}: asked (bright), granted (dark)"),
        rows,
    )?;
    let (top, low) = rows;
    let row = |value: f32| {
        let value = f64::from(value).clamp(-1.0, 1.0);
        0.5 * (top + low) - 0.5 * (low - top) * value
    };
    for value in [1.0, 0.0, -1.0] {
        let y = row(value);
        canvas.stroke(&[[RUN.0, y], [RUN.1, y]], 1.0, |_| EDGE)?;
        let place = [RUN.0 - 14.0, y - 10.0];
        canvas.text(
            &value.to_string(),
            place,
            18.0,
            Weight::Regular,
            Align::Right,
            MUTED,
        )?;
    }
    let shown = || {
        window
            .frames
            .iter()
            .filter(|frame| view.shows(frame.published_ms))
    };
    let point = |frame: &Frame, value: f32| {
        value
            .is_finite()
            .then(|| [view.column(frame.published_ms), row(value)])
    };
    let granted: Vec<[f64; 2]> = shown()
        .filter_map(|frame| point(frame, *frame.granted?.get(index)?))
        .collect();
    canvas.stroke(&granted, 3.0, |_| speed_colour(0.2))?;
    let asked: Vec<[f64; 2]> = shown()
        .filter(|frame| frame.command && frame.guard != Guard::Disarmed)
        .filter_map(|frame| point(frame, *frame.asked.get(index)?))
        .collect();
    canvas.stroke(&asked, 2.0, |_| speed_colour(0.9))
}

/// The ground of a panel, with its name.
fn axis(canvas: &mut Canvas, name: &str, (top, low): (f64, f64)) -> Result<(), PlotError> {
    let ground = [[RUN.0, top], [RUN.1, top], [RUN.1, low], [RUN.0, low]];
    canvas.polygon(&ground, ASPHALT)?;
    let place = [RUN.0, top - 28.0];
    canvas.text(name, place, 20.0, Weight::Bold, Align::Left, FIGURE)
}

fn seconds(canvas: &mut Canvas, view: &View) -> Result<(), PlotError> {
    let low = THROTTLE.1 + 10.0;
    let step = round_number((BEFORE + AFTER) * 1e-3 / 6.0);
    let mut at = -BEFORE * 1e-3;
    while at <= AFTER * 1e-3 {
        let place = [view.column(view.end + at * 1e3), low];
        let text = format!("{at:+.0} s");
        canvas.text(&text, place, 18.0, Weight::Regular, Align::Centre, MUTED)?;
        at += step;
    }
    Ok(())
}

/// Draws pictures from before the stop to it, evenly chosen.
fn pictures(canvas: &mut Canvas, window: &Window, view: &View) -> Result<(), PlotError> {
    let shown: Vec<_> = window
        .pictures
        .iter()
        .filter(|picture| view.shows(picture.captured_ms) && picture.captured_ms <= view.end)
        .collect();
    let width = (WIDTH - 2.0 * MARGIN - GAP * (COUNT - 1) as f64) / COUNT as f64;
    let count = COUNT.min(shown.len());
    for place in 0..count {
        let last = shown.len() - 1;
        let index = if count == 1 {
            last
        } else {
            place * last / (count - 1)
        };
        let left = MARGIN + place as f64 * (width + GAP);
        // A picture that is damaged is left out: the log may come from anywhere.
        let Ok(decoded) = pilotage_dataset::decode(&shown[index].jpeg) else {
            continue;
        };
        let size = (decoded.width, decoded.height);
        canvas.image(
            &decoded.rgb,
            size,
            [left, PICTURES],
            width,
            HEIGHT - PICTURES - 20.0,
        );
        let text = format!("{:+.2} s", (shown[index].captured_ms - view.end) * 1e-3);
        let place = [left, PICTURES - 26.0];
        canvas.text(&text, place, 18.0, Weight::Regular, Align::Left, MUTED)?;
    }
    Ok(())
}
