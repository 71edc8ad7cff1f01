//! Generates random circuits.
//!
//! The outline of a random tree of grid cells is a closed polygon that never crosses itself and
//! turns both ways. The polygon is warped, its corners are rounded with random radii, and the path
//! is smoothed so that curvature changes over a metre or two, as with a human driver. A circuit
//! that violates a bound is discarded, and another one is drawn.

use std::sync::Arc;

use super::{CentreLine, Circuit, Colours};
use crate::random::Random;

/// Bounds of a random circuit.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomOptions {
    /// Range of the length, metres.
    pub length: (f64, f64),
    /// The smallest radius of a bend, metres.
    pub smallest_radius: f64,
    /// Range of the road width, metres.
    pub road_width: (f64, f64),
    /// Range of the width of the painted line, metres.
    pub line_width: (f64, f64),
}

impl Default for RandomOptions {
    fn default() -> Self {
        Self {
            length: (250.0, 900.0),
            smallest_radius: 2.0,
            road_width: (2.4, 4.4),
            line_width: (0.06, 0.16),
        }
    }
}

const ATTEMPTS: u64 = 400;

impl RandomOptions {
    /// The bounds clamped to the simulator's limits, with the lower bound first.
    fn feasible(&self) -> Self {
        let within = |value: f64, least: f64, most: f64| {
            if value.is_nan() {
                least
            } else {
                value.clamp(least, most)
            }
        };
        let ordered = |(low, high): (f64, f64), least: f64, most: f64| {
            let low = within(low, least, most);
            (low, within(high, low, most))
        };
        Self {
            length: ordered(self.length, 20.0, 19_000.0),
            smallest_radius: within(self.smallest_radius, 0.5, 1_000.0),
            road_width: ordered(self.road_width, 0.5, 30.0),
            line_width: ordered(self.line_width, 0.01, 2.0),
        }
    }
}

pub(super) fn generate(seed: u64, options: &RandomOptions) -> Circuit {
    let options = &options.feasible();
    let mut random = Random::stream(seed, 0);
    let road_width = random.range(options.road_width.0, options.road_width.1);
    let line_width = random.range(options.line_width.0, options.line_width.1);
    let line = (1..=ATTEMPTS)
        .find_map(|attempt| draw_candidate(&mut Random::stream(seed, attempt), options, road_width))
        .unwrap_or_else(|| {
            // No circuit with bends meets these bounds: use a circle.
            let around = 0.5 * (options.length.0 + options.length.1);
            CentreLine::circle(around / std::f64::consts::TAU)
        });
    Circuit {
        name: format!("random-{seed}"),
        line: Arc::new(line),
        road_width,
        line_width,
        walls: None,
        colours: Colours::default(),
        start_s: 0.0,
        start_offset: 0.0,
    }
}

fn draw_candidate(
    random: &mut Random,
    options: &RandomOptions,
    road_width: f64,
) -> Option<CentreLine> {
    let target = random.range(options.length.0, options.length.1);
    // The smallest radius varies from circuit to circuit, so that fast circuits occur too.
    let smallest_radius = options.smallest_radius * random.log_range(1.0, 3.0);
    let least = (2.3 * smallest_radius).max(1.35 * road_width);
    let cell = random.log_range(least, (target / 7.0).min(26.0).max(least));
    let cells = libm::round(target / (1.75 * cell)).clamp(2.0, 400.0) as usize;
    let mut polygon = outline(&grow_tree(random, cells));
    let stretch = random.range(1.0, 1.6);
    for point in &mut polygon {
        *point = [point[0] * cell * stretch, point[1] * cell];
    }
    remove_corners(random, &mut polygon);
    move_corners(random, &mut polygon, cell);
    let path = rounded(random, &polygon, smallest_radius)?;
    let mut path = smoothed(warped(random, path, cell));
    let turn = random.range(0.0, std::f64::consts::TAU);
    let (sin, cos) = libm::sincos(turn);
    for point in &mut path {
        *point = [
            point[0] * cos - point[1] * sin,
            point[0] * sin + point[1] * cos,
        ];
    }
    if random.chance(0.5) {
        path.reverse();
    }
    let line = CentreLine::through(&from_straightest(path)).ok()?;
    let fits = (options.length.0..=options.length.1).contains(&line.length());
    let open = line.tightest_curvature() * options.smallest_radius <= 1.0;
    (fits && open && keeps_distance(&line, road_width)).then_some(line)
}

/// Grows a tree of grid cells. Each new cell touches exactly one old cell, so that the outline is a
/// single loop.
fn grow_tree(random: &mut Random, count: usize) -> Vec<[i32; 2]> {
    let mut cells = vec![[0, 0]];
    // Low values give bushy trees, high values snake-like ones.
    let newest = random.range(0.1, 0.95);
    for _ in 0..count * 40 {
        if cells.len() >= count {
            break;
        }
        let from = if random.chance(newest) {
            cells.len() - 1
        } else {
            random.below(cells.len())
        };
        let [x, y] = cells[from];
        let [dx, dy] = NEIGHBOURS[random.below(4)];
        let next = [x + dx, y + dy];
        let around = |cell: [i32; 2]| {
            cell != next && (cell[0] - next[0]).abs() <= 1 && (cell[1] - next[1]).abs() <= 1
        };
        let touching = |cell: [i32; 2]| (cell[0] - next[0]).abs() + (cell[1] - next[1]).abs() == 1;
        // Cells that meet only at a corner would pinch the outline there, unless both touch the
        // cell from which the new one grows.
        let allowed = cells.iter().all(|&cell| {
            cell != next
                && (!around(cell)
                    || cell == [x, y]
                    || (!touching(cell) && (cell[0] - x).abs() + (cell[1] - y).abs() == 1))
        });
        if allowed {
            cells.push(next);
        }
    }
    cells
}

const NEIGHBOURS: [[i32; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];

/// The corners of the cells' outline, anticlockwise.
fn outline(cells: &[[i32; 2]]) -> Vec<[f64; 2]> {
    let inside = |x: i32, y: i32| cells.contains(&[x, y]);
    // Walks with the cells on the left, from the bottom of the lowest, leftmost cell.
    let Some(&start) = cells.iter().min_by_key(|cell| (cell[1], cell[0])) else {
        return Vec::new();
    };
    let (mut at, mut direction_index) = (start, 0_usize);
    let mut corners: Vec<[f64; 2]> = vec![[f64::from(at[0]), f64::from(at[1])]];
    loop {
        let [dx, dy] = NEIGHBOURS[direction_index];
        at = [at[0] + dx, at[1] + dy];
        if at == start {
            return corners;
        }
        // The cells ahead of the new corner, on the left and on the right.
        let (left, right) = match direction_index {
            0 => ([at[0], at[1]], [at[0], at[1] - 1]),
            1 => ([at[0] - 1, at[1]], [at[0], at[1]]),
            2 => ([at[0] - 1, at[1] - 1], [at[0] - 1, at[1]]),
            _ => ([at[0], at[1] - 1], [at[0] - 1, at[1] - 1]),
        };
        if inside(right[0], right[1]) {
            direction_index = (direction_index + 3) % 4;
        } else if !inside(left[0], left[1]) {
            direction_index = (direction_index + 1) % 4;
        }
        corners.push([f64::from(at[0]), f64::from(at[1])]);
    }
}

/// Removes most corners on straights, so that straights stay straight when corners are moved, and a
/// few real corners, which makes diagonals.
fn remove_corners(random: &mut Random, polygon: &mut Vec<[f64; 2]>) {
    let straight_kept = random.range(0.0, 0.6);
    let corner_dropped = random.range(0.0, 0.2);
    let n = polygon.len();
    let kept = (0..n)
        .filter(|&i| {
            let (a, b, c) = (polygon[(i + n - 1) % n], polygon[i], polygon[(i + 1) % n]);
            let turn = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]);
            if turn.abs() < 1e-9 {
                random.chance(straight_kept)
            } else {
                !random.chance(corner_dropped)
            }
        })
        .map(|i| polygon[i])
        .collect();
    *polygon = kept;
}

fn move_corners(random: &mut Random, polygon: &mut [[f64; 2]], cell: f64) {
    let reach = random.range(0.0, 0.3) * cell;
    for point in polygon {
        point[0] += random.range(-reach, reach);
        point[1] += random.range(-reach, reach);
    }
}

/// The polygon with rounded corners, as points about 0.25 m apart; none when a corner has no room
/// for the smallest radius.
fn rounded(random: &mut Random, polygon: &[[f64; 2]], smallest: f64) -> Option<Vec<[f64; 2]>> {
    let n = polygon.len();
    if n < 3 {
        return None;
    }
    let tightness = random.range(1.1, 4.0);
    let mut path: Vec<[f64; 2]> = Vec::new();
    for i in 0..n {
        let (a, b, c) = (polygon[(i + n - 1) % n], polygon[i], polygon[(i + 1) % n]);
        let (into, into_length) = direction(a, b);
        let (out, out_length) = direction(b, c);
        let cross = into[0] * out[1] - into[1] * out[0];
        let turn = libm::atan2(cross, into[0] * out[0] + into[1] * out[1]);
        let half = libm::tan(turn.abs() / 2.0);
        let room = 0.49 * into_length.min(out_length);
        // The margin allows for smoothing, which reduces the radius of a short arc slightly.
        let least = 1.12 * smallest;
        if half * least > room {
            return None;
        }
        let most = (room / half.max(1e-6)).min(40.0);
        let radius = random
            .log_range(least, (tightness * least).max(most * 0.9))
            .min(most);
        let tangent = radius * half;
        let from = [b[0] - into[0] * tangent, b[1] - into[1] * tangent];
        if let Some(&last) = path.last() {
            line_to(&mut path, last, from);
        }
        let side = turn.signum();
        let centre = [
            from[0] - into[1] * side * radius,
            from[1] + into[0] * side * radius,
        ];
        let steps = libm::ceil(radius * turn.abs() / 0.25).max(1.0) as usize;
        for step in 0..=steps {
            let (sin, cos) = libm::sincos(turn * step as f64 / steps as f64);
            let (x, y) = (from[0] - centre[0], from[1] - centre[1]);
            path.push([centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos]);
        }
    }
    let (first, last) = (*path.first()?, *path.last()?);
    line_to(&mut path, last, first);
    Some(path)
}

fn direction(a: [f64; 2], b: [f64; 2]) -> ([f64; 2], f64) {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let length = libm::sqrt(dx * dx + dy * dy).max(1e-9);
    ([dx / length, dy / length], length)
}

/// Appends points about every 0.25 m between both ends, without the ends.
fn line_to(path: &mut Vec<[f64; 2]>, from: [f64; 2], to: [f64; 2]) {
    let (along, length) = direction(from, to);
    let steps = libm::ceil(length / 0.25) as usize;
    for step in 1..steps {
        let reach = length * step as f64 / steps as f64;
        path.push([from[0] + along[0] * reach, from[1] + along[1] * reach]);
    }
}

/// Warps the plane smoothly, in two of three circuits, without folding it.
fn warped(random: &mut Random, mut path: Vec<[f64; 2]>, cell: f64) -> Vec<[f64; 2]> {
    if random.chance(0.33) {
        return path;
    }
    for _ in 0..2 {
        let wave = random.range(2.0, 6.0) * cell.max(8.0);
        let reach = random.range(0.02, 0.06) * wave;
        let (kx, ky) = (random.range(-1.0, 1.0), random.range(-1.0, 1.0));
        let (phase_x, phase_y) = (random.range(0.0, 6.3), random.range(0.0, 6.3));
        let turn = std::f64::consts::TAU / wave;
        for point in &mut path {
            let [x, y] = *point;
            point[0] += reach * libm::sin(turn * (kx * x + y) + phase_x);
            point[1] += reach * libm::sin(turn * (x + ky * y) + phase_y);
        }
    }
    path
}

/// Smooths the curvature over about 1.5 m, and keeps every third point.
fn smoothed(mut path: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    const PASSES: usize = 12;
    let n = path.len();
    for _ in 0..PASSES {
        let old = path.clone();
        for i in 0..n {
            let (a, b, c) = (old[(i + n - 1) % n], old[i], old[(i + 1) % n]);
            path[i] = [
                0.25 * a[0] + 0.5 * b[0] + 0.25 * c[0],
                0.25 * a[1] + 0.5 * b[1] + 0.25 * c[1],
            ];
        }
    }
    path.into_iter().step_by(3).collect()
}

/// The same loop, starting in the middle of its longest nearly straight stretch.
fn from_straightest(mut path: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    let n = path.len();
    let bend = |i: usize| {
        let (a, b, c) = (path[(i + n - 3) % n], path[i % n], path[(i + 3) % n]);
        let (into, _) = direction(a, b);
        let (out, _) = direction(b, c);
        (into[0] * out[1] - into[1] * out[0]).abs()
    };
    let straight: Vec<bool> = (0..n).map(|i| bend(i) < 0.05).collect();
    let mut best = (0, 0);
    let mut run = 0;
    for i in 0..2 * n {
        run = if straight[i % n] { (run + 1).min(n) } else { 0 };
        if run > best.0 {
            best = (run, i);
        }
    }
    let middle = (best.1 + n - best.0 / 2) % n;
    path.rotate_left(middle);
    path
}

/// Whether stretches that are far apart along the line are also at least a road width apart in the
/// plane.
fn keeps_distance(line: &CentreLine, road_width: f64) -> bool {
    let stride = (0.5 / line.step()) as usize;
    let points: Vec<[f64; 2]> = line
        .samples()
        .iter()
        .step_by(stride.max(1))
        .map(|sample| sample.point)
        .collect();
    let n = points.len();
    let near = libm::ceil(2.6 * road_width / 0.5) as usize;
    // The points are half a metre apart, and the closest approach may be between them.
    let least = road_width + 0.1;
    (0..n).all(|i| {
        (i + near..n).all(|j| {
            let around = j - i;
            n - around < near || {
                let (dx, dy) = (points[i][0] - points[j][0], points[i][1] - points[j][1]);
                dx * dx + dy * dy >= least * least
            }
        })
    })
}
