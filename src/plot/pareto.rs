//! Error against time and size: which engines no other one beats in all three.

use std::path::Path;

use super::canvas::{Align, Canvas, Weight};
use super::palette::{ANSWERS, ASPHALT, BACKGROUND, EDGE, FIGURE, MUTED};
use super::{Caption, HEADER, MARGIN, PlotError, WIDTH, draw_header};

/// An engine. Less is better in each figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Seconds for an image, above 0.
    pub seconds: f64,
    /// The error, above 0.
    pub error: f64,
    /// The size of its weights in bytes.
    pub bytes: f64,
}

impl Candidate {
    fn figures(&self) -> [f64; 3] {
        [self.seconds, self.error, self.bytes]
    }

    /// Whether `other` is as good in every figure, and better in one.
    fn is_beaten_by(&self, other: &Self) -> bool {
        let mut pairs = self.figures().into_iter().zip(other.figures());
        pairs.all(|(own, other)| other <= own) && self.figures() != other.figures()
    }
}

const HEIGHT: f64 = 1000.0;
const AREA: ([f64; 2], [f64; 2]) = (
    [MARGIN + 110.0, HEADER + 10.0],
    [WIDTH - MARGIN, HEIGHT - 120.0],
);
/// The radius of the largest disc, pixels.
const LARGEST: f64 = 44.0;
const SMALLEST: f64 = 4.0;

/// Writes a PNG: the error over the time, both logarithmic, the areas in proportion to the sizes.
/// Those that no other one beats in all three are bright. Candidates with a figure that is not
/// above 0, which has no place on such an axis, are left out and counted.
///
/// # Errors
/// Fails if the picture cannot be drawn or the file cannot be written.
pub fn pareto_picture(
    file: &Path,
    caption: &Caption,
    error: &str,
    candidates: &[Candidate],
) -> Result<(), PlotError> {
    let usable = |it: &&Candidate| it.figures().iter().all(|it| it.is_finite() && *it > 0.0);
    let mut shown: Vec<&Candidate> = candidates.iter().filter(usable).collect();
    shown.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
    let mut canvas = Canvas::named(file, WIDTH, HEIGHT, BACKGROUND)?;
    draw_header(&mut canvas, caption)?;
    let (low, high) = AREA;
    canvas.polygon(&[low, [high[0], low[1]], high, [low[0], high[1]]], ASPHALT)?;
    let across = Scale::of(shown.iter().map(|it| it.seconds * 1e6), low[0], high[0]);
    let up = Scale::of(shown.iter().map(|it| it.error), high[1], low[1]);
    let left_out = candidates.len() - shown.len();
    draw_axes(&mut canvas, &across, &up, error, left_out)?;
    let largest = shown.first().map_or(1.0, |it| it.bytes);
    let place = |it: &Candidate| [across.place(it.seconds * 1e6), up.place(it.error)];
    for it in &shown {
        let radius = (LARGEST * (it.bytes / largest).sqrt()).max(SMALLEST);
        let beaten = shown.iter().any(|other| it.is_beaten_by(other));
        let colour = if beaten { EDGE } else { ANSWERS[0] };
        canvas.dots([(place(it), BACKGROUND)].into_iter(), radius + 2.0)?;
        canvas.dots([(place(it), colour)].into_iter(), radius)?;
    }
    // The names above all discs, and apart from each other.
    let mut taken: Vec<[f64; 2]> = Vec::new();
    for it in &shown {
        let [x, y] = place(it);
        let radius = (LARGEST * (it.bytes / largest).sqrt()).max(SMALLEST);
        let is_right = x + radius + 10.0 + 11.0 * it.name.chars().count() as f64 > high[0];
        let (x, align) = match is_right {
            true => (x - radius - 10.0, Align::Right),
            false => (x + radius + 10.0, Align::Left),
        };
        let mut y = y - 12.0;
        while taken
            .iter()
            .any(|at| (at[0] - x).abs() < 260.0 && (at[1] - y).abs() < 26.0)
        {
            y += 26.0;
        }
        taken.push([x, y]);
        canvas.text(&it.name, [x, y], 22.0, Weight::Regular, align, FIGURE)?;
    }
    canvas.save(file)
}

/// A logarithmic axis.
struct Scale {
    low: f64,
    high: f64,
    /// The pixel positions of `low` and `high`.
    from: f64,
    to: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(0.0, f64::max);
        let (low, high) = match low <= high {
            true => (low, high),
            false => (1.0, 1.0),
        };
        // A margin, and at least a factor of two.
        let margin = (high / low).powf(0.15).max(2.0_f64.sqrt());
        Self {
            low: low / margin,
            high: high * margin,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + (self.to - self.from) * share.clamp(0.0, 1.0)
    }

    /// Round values within the axis.
    fn ticks(&self) -> Vec<f64> {
        let steps: &[f64] = match self.high / self.low {
            ratio if ratio > 100.0 => &[1.0],
            ratio if ratio > 8.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
        };
        let decades = (-15..=15).map(|power| 10_f64.powi(power));
        let ticks = decades.flat_map(|decade| steps.iter().map(move |step| step * decade));
        ticks
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

fn draw_axes(
    canvas: &mut Canvas,
    across: &Scale,
    up: &Scale,
    error: &str,
    left_out: usize,
) -> Result<(), PlotError> {
    let (low, high) = AREA;
    let (regular, centre, right) = (Weight::Regular, Align::Centre, Align::Right);
    let text = |value: f64| {
        let short = format!("{}", (value * 1e6).round() / 1e6);
        match short.len() {
            0..=8 => short,
            _ => format!("{value:.1e}"),
        }
    };
    for tick in across.ticks() {
        let x = across.place(tick);
        canvas.stroke(&[[x, low[1]], [x, high[1]]], 1.0, |_| BACKGROUND)?;
        canvas.text(
            &text(tick),
            [x, high[1] + 12.0],
            20.0,
            regular,
            centre,
            MUTED,
        )?;
    }
    for tick in up.ticks() {
        let y = up.place(tick);
        canvas.stroke(&[[low[0], y], [high[0], y]], 1.0, |_| BACKGROUND)?;
        canvas.text(
            &text(tick),
            [low[0] - 14.0, y - 11.0],
            20.0,
            regular,
            right,
            MUTED,
        )?;
    }
    let middle = 0.5 * (low[0] + high[0]);
    let below = format!(
        "across: microseconds for an image, median; up: {error}; area: size of the weights"
    );
    canvas.text(
        &below,
        [middle, high[1] + 46.0],
        20.0,
        regular,
        centre,
        MUTED,
    )?;
    let mut bright = "bright: no other engine is as good in all three and better in one".to_owned();
    if left_out > 0 {
        bright.push_str(&format!(
            "; left out, with a time, error or size of 0: {left_out}"
        ));
    }
    canvas.text(
        &bright,
        [middle, high[1] + 76.0],
        20.0,
        regular,
        centre,
        MUTED,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_beaten_only_in_all_figures() {
        let candidate = |seconds, error, bytes| Candidate {
            name: String::new(),
            seconds,
            error,
            bytes,
        };
        let own = candidate(2.0, 2.0, 2.0);
        assert!(!own.is_beaten_by(&own));
        assert!(own.is_beaten_by(&candidate(2.0, 1.0, 2.0)));
        assert!(!own.is_beaten_by(&candidate(1.0, 1.0, 2.1)));
    }
}
