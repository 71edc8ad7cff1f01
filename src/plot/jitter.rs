//! A picture of the jitter of an inference's time.

use std::collections::HashMap;
use std::path::Path;

use super::canvas::{Align, Canvas, Weight};
use super::palette::{ASPHALT, BACKGROUND, EDGE, FIGURE, MUTED, speed_colour};
use super::{Caption, HEADER, MARGIN, PlotError, WIDTH, draw_header, round_number};

/// The data to draw.
#[derive(Debug, Clone, Copy)]
pub struct Jitter<'a> {
    /// The title: what was measured.
    pub title: &'a str,
    /// The start of each inference in seconds, and its duration in microseconds.
    pub points: &'a [[f64; 2]],
    /// Name and microseconds of each percentile, from low to high; five fit well.
    pub percentiles: &'a [(&'a str, f64)],
}

/// The picture's height, pixels.
const HEIGHT: f64 = 900.0;
/// The vertical range of the times, from long to short.
const ROWS: (f64, f64) = (HEADER + 40.0, HEIGHT - 100.0);
/// The horizontal range of the inferences in order.
const RUN: (f64, f64) = (MARGIN + 84.0, 1000.0);
/// The horizontal range of the distribution.
const TAIL: (f64, f64) = (1050.0, 1420.0);
/// A point's radius.
const RADIUS: f64 = 2.0;
/// Points within a square of this width cannot be told apart.
const CELL: f64 = 5.0;
/// Where the colours begin for a single point.
const DARKEST: f64 = 0.25;
/// The least distance between the names of percentiles.
const LINE: f64 = 25.0;

/// Writes a PNG or an SVG, by the file's extension: the time of each inference over the run, and beside it the number of inferences
/// that took longer than each time.
///
/// # Errors
/// Fails if the picture cannot be drawn or the file cannot be written; see [`PlotError`].
pub fn jitter_picture(file: &Path, jitter: &Jitter<'_>) -> Result<(), PlotError> {
    let mut canvas = Canvas::named(file, WIDTH, HEIGHT, BACKGROUND)?;
    let figures = jitter.percentiles.iter();
    draw_header(
        &mut canvas,
        &Caption {
            title: jitter.title.to_owned(),
            figures: figures
                .map(|(name, us)| ((*name).to_owned(), micros(*us)))
                .collect(),
            completed: true,
        },
    )?;
    let mut times: Vec<f64> = jitter.points.iter().map(|[_, took]| *took).collect();
    times.sort_by(f64::total_cmp);
    let scale = Scale::of(&times);
    for (from, to) in [RUN, TAIL] {
        let (top, low) = (ROWS.0 - 12.0, ROWS.1 + 12.0);
        let ground = [
            [from - 12.0, top],
            [to + 12.0, top],
            [to + 12.0, low],
            [from - 12.0, low],
        ];
        canvas.polygon(&ground, ASPHALT)?;
    }
    draw_times(&mut canvas, &scale)?;
    draw_percentiles(&mut canvas, &scale, jitter.percentiles)?;
    draw_run(&mut canvas, &scale, jitter.points)?;
    draw_tail(&mut canvas, &scale, &times)?;
    canvas.save(file)
}

/// The vertical axis.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    /// Whether the axis is logarithmic.
    logarithmic: bool,
}

impl Scale {
    /// A scale for `sorted` times.
    fn of(sorted: &[f64]) -> Self {
        /// The least time, microseconds.
        const LEAST: f64 = 1e-3;
        let low = sorted.first().copied().unwrap_or(1.0).max(LEAST);
        let high = sorted.last().copied().unwrap_or(1.0).max(low);
        match high / low > 3.0 {
            true => Self {
                low: low / 1.1,
                high: high * 1.1,
                logarithmic: true,
            },
            false => {
                let about = (high - low).max(low * 0.02) * 0.08;
                Self {
                    low: (low - about).max(0.0),
                    high: high + about,
                    logarithmic: false,
                }
            }
        }
    }

    /// The vertical position of a time, pixels.
    fn row(&self, us: f64) -> f64 {
        let share = match self.logarithmic {
            true => (us.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            false => (us - self.low) / (self.high - self.low),
        };
        ROWS.1 + (ROWS.0 - ROWS.1) * share.clamp(0.0, 1.0)
    }

    /// Round times within the scale.
    fn ticks(&self) -> Vec<f64> {
        let within = |us: &f64| (self.low..=self.high).contains(us);
        if !self.logarithmic {
            let step = round_number((self.high - self.low) / 4.0);
            let first = (self.low / step).ceil();
            let ticks = (0..50).map(|i| (first + f64::from(i)) * step);
            return ticks.filter(within).collect();
        }
        let steps: &[f64] = match self.high / self.low {
            ratio if ratio > 100.0 => &[1.0, 3.0],
            ratio if ratio > 10.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
        };
        let decades = (-3..=12).map(|power| 10_f64.powi(power));
        let ticks = decades.flat_map(|decade| steps.iter().map(move |step| step * decade));
        ticks.filter(within).collect()
    }
}

fn draw_times(canvas: &mut Canvas, scale: &Scale) -> Result<(), PlotError> {
    let (right, regular) = (Align::Right, Weight::Regular);
    for us in scale.ticks() {
        let y = scale.row(us);
        for (from, to) in [RUN, TAIL] {
            canvas.stroke(&[[from - 12.0, y], [to + 12.0, y]], 1.0, |_| BACKGROUND)?;
        }
        let place = [RUN.0 - 24.0, y - 10.0];
        canvas.text(&micros(us), place, 20.0, regular, right, MUTED)?;
    }
    Ok(())
}

/// A line through both panels for each percentile, with its name to the right.
fn draw_percentiles(
    canvas: &mut Canvas,
    scale: &Scale,
    percentiles: &[(&str, f64)],
) -> Result<(), PlotError> {
    let rows: Vec<f64> = percentiles.iter().map(|&(_, us)| scale.row(us)).collect();
    for ((name, _), (&y, label)) in percentiles.iter().zip(rows.iter().zip(apart(&rows))) {
        for (from, to) in [RUN, TAIL] {
            canvas.stroke(&[[from - 12.0, y], [to + 12.0, y]], 1.4, |_| EDGE)?;
        }
        let (from, to) = (TAIL.1 + 12.0, TAIL.1 + 34.0);
        canvas.stroke(&[[from, y], [to, label]], 1.4, |_| EDGE)?;
        let place = [to + 10.0, label - 10.0];
        canvas.text(name, place, 20.0, Weight::Regular, Align::Left, FIGURE)?;
    }
    Ok(())
}

/// Moves `rows`, which rise up the picture, until all are at least a line of text apart.
fn apart(rows: &[f64]) -> Vec<f64> {
    let mut apart = rows.to_vec();
    // First upwards from the lowest, then downwards from the top of the picture.
    for i in 1..apart.len() {
        apart[i] = apart[i].min(apart[i - 1] - LINE);
    }
    let mut least = ROWS.0;
    for row in apart.iter_mut().rev() {
        *row = row.max(least);
        least = *row + LINE;
    }
    apart
}

/// Draws the inferences, brighter where there are many.
fn draw_run(canvas: &mut Canvas, scale: &Scale, points: &[[f64; 2]]) -> Result<(), PlotError> {
    let longest = points.last().map_or(0.0, |[at, _]| *at).max(1e-9);
    let place = |[at, took]: [f64; 2]| {
        let x = RUN.0 + (RUN.1 - RUN.0) * (at / longest).clamp(0.0, 1.0);
        [x, scale.row(took)]
    };
    let cell = |[x, y]: [f64; 2], size: f64| [(x / size) as i32, (y / size) as i32];
    let mut crowd: HashMap<[i32; 2], usize> = HashMap::new();
    // The number of visible cells is bounded, however many inferences there are.
    let mut seen: HashMap<[i32; 2], [f64; 2]> = HashMap::new();
    for &point in points {
        let at = place(point);
        *crowd.entry(cell(at, CELL)).or_default() += 1;
        seen.entry(cell(at, 0.5)).or_insert(at);
    }
    let most = crowd.values().copied().max().unwrap_or(1).max(2);
    let mut dots: Vec<(usize, [f64; 2])> = seen
        .into_values()
        .map(|at| (crowd.get(&cell(at, CELL)).copied().unwrap_or(1), at))
        .collect();
    // Dense cells on top, and a stable order, so that the picture is reproducible.
    dots.sort_by(|(a, [ax, ay]), (b, [bx, by])| {
        (a.cmp(b)).then(ax.total_cmp(bx)).then(ay.total_cmp(by))
    });
    // The darkest colours would not be visible on the background.
    let crowded = |count: usize| (count as f64).ln() / (most as f64).ln();
    let colour = |count: usize| speed_colour(DARKEST + (1.0 - DARKEST) * crowded(count));
    let coloured = dots.iter().map(|&(count, at)| (at, colour(count)));
    canvas.dots(coloured, RADIUS)?;

    let (regular, centre) = (Weight::Regular, Align::Centre);
    let low = ROWS.1 + 24.0;
    let step = round_number(longest / 4.0).max(1e-3);
    let ticks = (0..20).map(|i| f64::from(i) * step);
    for seconds in ticks.filter(|&seconds| seconds <= longest) {
        let [x, _] = place([seconds, 0.0]);
        let text = format!("{}", (seconds * 1e3).round() / 1e3);
        canvas.text(&text, [x, low], 20.0, regular, centre, MUTED)?;
    }
    let middle = 0.5 * (RUN.0 + RUN.1);
    let text = format!(
        "seconds since the start; {} inferences, brighter where they crowd",
        points.len()
    );
    canvas.text(&text, [middle, low + 34.0], 20.0, regular, centre, MUTED)
}

/// Draws how many inferences took longer, with one line per power of ten.
fn draw_tail(canvas: &mut Canvas, scale: &Scale, sorted: &[f64]) -> Result<(), PlotError> {
    let count = sorted.len();
    let (regular, centre) = (Weight::Regular, Align::Centre);
    let decades = (count.max(2) as f64).log10();
    let column = |share: f64| TAIL.0 + (TAIL.1 - TAIL.0) * (-share.log10() / decades);
    let low = ROWS.1 + 24.0;
    let names = ["all", "10 %", "1 %", "0.1 %", "0.01 %", "10⁻⁵", "10⁻⁶"];
    for (power, name) in (0..).zip(names) {
        if f64::from(power) > decades {
            break;
        }
        let x = column(10_f64.powi(-power));
        canvas.stroke(&[[x, ROWS.0 - 12.0], [x, ROWS.1 + 12.0]], 1.0, |_| {
            BACKGROUND
        })?;
        canvas.text(name, [x, low], 20.0, regular, centre, MUTED)?;
    }
    let steps = (TAIL.1 - TAIL.0) as usize * 2;
    let line: Vec<[f64; 2]> = (0..=steps)
        .filter_map(|step| {
            let along = step as f64 / steps as f64;
            let share = 10_f64.powf(-along * decades);
            // The time that this share of the inferences took at least.
            let rank = (share * count as f64).round().max(1.0) as usize;
            let took = sorted.get(count.checked_sub(rank)?)?;
            Some([TAIL.0 + (TAIL.1 - TAIL.0) * along, scale.row(*took)])
        })
        .collect();
    let colour = |i: usize| speed_colour(1.0 - 0.8 * i as f64 / steps as f64);
    canvas.stroke(&line, 3.0, colour)?;
    let middle = 0.5 * (TAIL.0 + TAIL.1);
    let text = "so many took this long or longer";
    canvas.text(text, [middle, low + 34.0], 20.0, regular, centre, MUTED)
}

/// About three significant digits, in the unit that fits.
fn micros(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 1e3 => (us, "us"),
        us if us < 1e6 => (us * 1e-3, "ms"),
        us => (us * 1e-6, "s"),
    };
    let digits = match value {
        value if value < 10.0 => 100.0,
        value if value < 1000.0 => 10.0,
        _ => 1.0,
    };
    format!("{} {unit}", (value * digits).round() / digits)
}

#[cfg(test)]
mod tests;
