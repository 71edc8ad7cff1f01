//! Checks the shape of a closed line from a file: whether it jumps, and whether it crosses itself.

use std::collections::HashMap;

use super::{CentreLine, CircuitError};

/// A step is a jump if it is this many times as long as the median step ...
const JUMP: f64 = 10.0;
/// ... and the line turns by more than this there, radians. A long straight between dense corners
/// does not turn.
const TURN: f64 = std::f64::consts::FRAC_PI_4;
/// With fewer points than this, no step is the usual one.
const LEAST_POINTS: usize = 8;
/// The length of the pieces that are compared, metres.
const PIECE: f64 = 0.5;
/// The least area between two pieces that cross, square metres: those of a straight are parallel
/// except for rounding.
const LEAST_AREA: f64 = 1e-6;
/// A share of a piece that rounding may cost.
const ROUNDING: f64 = 1e-9;
/// Comparisons of two pieces, at most: a line that fills its area takes no longer.
const MOST_COMPARISONS: usize = 10_000_000;

/// A place where a line crosses itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    /// Metres.
    pub at: [f64; 2],
    /// Distances along the line from its first point, metres.
    pub along: [f64; 2],
}

/// Checks that the closed line through `points` does not jump.
pub(super) fn check_steps(points: &[[f64; 2]]) -> Result<(), CircuitError> {
    let n = points.len();
    if n < LEAST_POINTS {
        return Ok(());
    }
    let step = |i: usize| {
        let (a, b) = (points[i % n], points[(i + 1) % n]);
        [b[0] - a[0], b[1] - a[1]]
    };
    let lengths: Vec<f64> = (0..n).map(|i| length(step(i))).collect();
    let mut sorted = lengths.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[n / 2];
    // Steps of no length have no direction.
    let other = |i: usize, direction: usize| {
        let mut steps = (1..n).map(|k| (i + k * direction) % n);
        steps.find(|&k| lengths[k] > 1e-3).map(step)
    };
    let turns = |a: [f64; 2], b: [f64; 2]| {
        let (cross, dot) = (a[0] * b[1] - a[1] * b[0], a[0] * b[0] + a[1] * b[1]);
        libm::atan2(cross, dot).abs() > TURN
    };
    let jumps = |i: usize| {
        lengths[i] > JUMP * median
            && (other(i, n - 1).is_some_and(|before| turns(before, step(i)))
                || other(i, 1).is_some_and(|after| turns(step(i), after)))
    };
    match (0..n).find(|&i| jumps(i)) {
        None => Ok(()),
        Some(i) => Err(CircuitError::Jump {
            from: points[i],
            to: points[(i + 1) % n],
            metres: lengths[i],
            median,
        }),
    }
}

/// The first place where `line` crosses itself.
pub(super) fn crossing(line: &CentreLine) -> Option<Crossing> {
    let count = libm::ceil(line.length() / PIECE).max(4.0) as usize;
    let piece = line.length() / count as f64;
    let points: Vec<[f64; 2]> = (0..count).map(|i| line.point(i as f64 * piece)).collect();
    let ends = |i: usize| (points[i], points[(i + 1) % count]);
    let cell = |x: f64| libm::floor(x / PIECE) as i64;
    // The earlier pieces in each cell of a grid.
    let mut cells: HashMap<(i64, i64), Vec<usize>> = HashMap::new();
    let mut comparisons = 0;
    for i in 0..count {
        let (a, b) = ends(i);
        for x in cell(a[0].min(b[0]))..=cell(a[0].max(b[0])) {
            for y in cell(a[1].min(b[1]))..=cell(a[1].max(b[1])) {
                let earlier = cells.entry((x, y)).or_default();
                comparisons += earlier.len();
                for &j in &*earlier {
                    let neighbours = i - j <= 1 || (j == 0 && i == count - 1);
                    if !neighbours && let Some([before, share]) = meet(ends(j), (a, b)) {
                        let at = [0, 1].map(|k| a[k] + share * (b[k] - a[k]));
                        let along = [j as f64 + before, i as f64 + share].map(|at| at * piece);
                        return Some(Crossing { at, along });
                    }
                }
                if comparisons > MOST_COMPARISONS {
                    return None;
                }
                earlier.push(i);
            }
        }
    }
    None
}

type Piece = ([f64; 2], [f64; 2]);

/// Where two pieces cross, as a share of the length of each.
fn meet(a: Piece, b: Piece) -> Option<[f64; 2]> {
    let [r, s, between] = [(a.0, a.1), (b.0, b.1), (a.0, b.0)]
        .map(|(from, to): Piece| [to[0] - from[0], to[1] - from[1]]);
    let cross = |u: [f64; 2], v: [f64; 2]| u[0] * v[1] - u[1] * v[0];
    let area = cross(r, s);
    if area.abs() < LEAST_AREA {
        return None;
    }
    // A crossing at the end of two pieces is found with one pair of them at least.
    let inside = |share: f64| (-ROUNDING..=1.0 + ROUNDING).contains(&share);
    let (along_a, along_b) = (cross(between, s) / area, cross(between, r) / area);
    (inside(along_a) && inside(along_b)).then_some([along_a, along_b])
}

fn length([x, y]: [f64; 2]) -> f64 {
    libm::sqrt(x * x + y * y)
}
