//! The centre line: a spline, sampled evenly along its length.

use super::{CircuitError, MAX_POINTS};
use crate::spline::Cubic;

/// The nominal distance between samples, metres. A circuit's step is the nearest value that divides
/// its length.
const STEP: f64 = 0.05;

/// Samples per block of the global search for the nearest point.
const BLOCK: usize = 16;

/// A position on the centre line, and a distance from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// Position along the line from its first point, metres.
    pub s: f64,
    /// Distance from the line, metres, left positive.
    pub offset: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub point: [f64; 2],
    /// Unit vector along the line.
    pub tangent: [f64; 2],
    /// 1/m, left positive.
    pub curvature: f64,
}

/// A closed line as evenly spaced samples. Between samples it is the cubic Hermite curve of their
/// points and tangents.
#[derive(Debug)]
pub(crate) struct CentreLine {
    samples: Vec<Sample>,
    step: f64,
    length: f64,
}

/// Checks that all points are finite and within 10 km of the origin.
pub(crate) fn check_coordinates(points: &[[f64; 2]]) -> Result<(), CircuitError> {
    let bad = |p: &[f64; 2]| !p.iter().all(|c| c.abs() <= 10_000.0);
    match points.iter().position(bad) {
        Some(i) => {
            let [x, y] = points[i];
            Err(CircuitError::Coordinate { index: i + 1, x, y })
        }
        None => Ok(()),
    }
}

impl CentreLine {
    pub fn through(points: &[[f64; 2]]) -> Result<Self, CircuitError> {
        if points.len() > MAX_POINTS {
            return Err(CircuitError::TooManyPoints(points.len()));
        }
        check_coordinates(points)?;
        let mut distinct: Vec<[f64; 2]> = Vec::with_capacity(points.len());
        for &point in points {
            if distinct
                .last()
                .is_none_or(|&last| distance(last, point) > 1e-3)
            {
                distinct.push(point);
            }
        }
        while distinct.len() > 1 && distance(distinct[0], distinct[distinct.len() - 1]) <= 1e-3 {
            distinct.pop();
        }
        let n = distinct.len();
        if n < 4 {
            return Err(CircuitError::TooFewPoints(n));
        }
        let mut knots = vec![0.0];
        for i in 0..n {
            knots.push(knots[i] + distance(distinct[i], distinct[(i + 1) % n]));
        }
        check_length(knots[n])?;
        let axis = |k: usize| distinct.iter().map(|p| p[k]).collect::<Vec<_>>();
        let x = Cubic::periodic(&knots, &axis(0));
        let y = Cubic::periodic(&knots, &axis(1));
        Self::sampled(&knots, &x, &y)
    }

    fn sampled(knots: &[f64], x: &Cubic, y: &Cubic) -> Result<Self, CircuitError> {
        let speed = |interval: usize, at: f64| {
            let (dx, dy) = (x.at(interval, at)[1], y.at(interval, at)[1]);
            libm::sqrt(dx * dx + dy * dy)
        };
        // A finer table: interval, parameter, length so far.
        let mut table = Vec::new();
        let mut length = 0.0;
        for interval in 0..knots.len() - 1 {
            let (from, to) = (knots[interval], knots[interval + 1]);
            let pieces = libm::ceil((to - from) / STEP).max(4.0) as usize;
            let width = (to - from) / pieces as f64;
            for piece in 0..pieces {
                let at = from + width * piece as f64;
                table.push((interval, at, length));
                // Gauss-Legendre quadrature with three points.
                let middle = at + 0.5 * width;
                let reach = 0.5 * width * 0.774_596_669_241_483_4;
                length += width / 18.0
                    * (5.0 * speed(interval, middle - reach)
                        + 8.0 * speed(interval, middle)
                        + 5.0 * speed(interval, middle + reach));
            }
        }
        check_length(length)?;
        let count = libm::round(length / STEP) as usize;
        let step = length / count as f64;
        let mut samples = Vec::with_capacity(count);
        let mut row = 0;
        for i in 0..count {
            let s = step * i as f64;
            while row + 1 < table.len() && table[row + 1].2 <= s {
                row += 1;
            }
            let (interval, start, s_start) = table[row];
            let mut at = start;
            // A step of Heun's method, over a few centimetres.
            let rate = speed(interval, start).max(1e-6);
            let guess = start + (s - s_start) / rate;
            at += (s - s_start) / (0.5 * (rate + speed(interval, guess))).max(1e-6);
            let [px, dx, ddx] = x.at(interval, at);
            let [py, dy, ddy] = y.at(interval, at);
            let norm = libm::sqrt(dx * dx + dy * dy).max(1e-9);
            samples.push(Sample {
                point: [px, py],
                tangent: [dx / norm, dy / norm],
                curvature: (dx * ddy - dy * ddx) / (norm * norm * norm),
            });
        }
        Ok(Self {
            samples,
            step,
            length,
        })
    }

    /// A circle about the origin, anticlockwise; the radius is clamped to 2 m to 3 km.
    pub fn circle(radius: f64) -> Self {
        let radius = if radius.is_finite() {
            radius.clamp(2.0, 3_000.0)
        } else {
            50.0
        };
        let length = std::f64::consts::TAU * radius;
        let count = libm::round(length / STEP) as usize;
        let samples = (0..count)
            .map(|i| {
                let (sin, cos) = libm::sincos(std::f64::consts::TAU * i as f64 / count as f64);
                Sample {
                    point: [radius * cos, radius * sin],
                    tangent: [-sin, cos],
                    curvature: 1.0 / radius,
                }
            })
            .collect();
        Self {
            samples,
            step: length / count as f64,
            length,
        }
    }

    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    pub fn length(&self) -> f64 {
        self.length
    }

    pub fn step(&self) -> f64 {
        self.step
    }

    pub fn tightest_curvature(&self) -> f64 {
        self.samples
            .iter()
            .fold(0.0, |most: f64, sample| most.max(sample.curvature.abs()))
    }

    /// `s` wrapped to 0..length; 0 if `s` is not finite.
    fn wrap(&self, s: f64) -> f64 {
        let wrapped = libm::fmod(s, self.length);
        let wrapped = if wrapped < 0.0 {
            wrapped + self.length
        } else {
            wrapped
        };
        if wrapped >= 0.0 && wrapped < self.length {
            wrapped
        } else {
            0.0
        }
    }

    /// The samples around `s`, and the position of `s` between them, 0..1.
    fn around(&self, s: f64) -> (&Sample, &Sample, f64) {
        let position = self.wrap(s) / self.step;
        let i = (position as usize).min(self.samples.len() - 1);
        let next = (i + 1) % self.samples.len();
        (&self.samples[i], &self.samples[next], position - i as f64)
    }

    pub fn point(&self, s: f64) -> [f64; 2] {
        let (a, b, t) = self.around(s);
        let (t2, t3) = (t * t, t * t * t);
        let h01 = 3.0 * t2 - 2.0 * t3;
        let h10 = (t3 - 2.0 * t2 + t) * self.step;
        let h11 = (t3 - t2) * self.step;
        let axis = |k: usize| {
            a.point[k] + h01 * (b.point[k] - a.point[k]) + h10 * a.tangent[k] + h11 * b.tangent[k]
        };
        [axis(0), axis(1)]
    }

    fn tangent(&self, s: f64) -> [f64; 2] {
        let (a, b, t) = self.around(s);
        let axis = |k: usize| a.tangent[k] + t * (b.tangent[k] - a.tangent[k]);
        let (x, y) = (axis(0), axis(1));
        let norm = libm::sqrt(x * x + y * y).max(1e-9);
        [x / norm, y / norm]
    }

    pub fn heading(&self, s: f64) -> f64 {
        let [x, y] = self.tangent(s);
        libm::atan2(y, x)
    }

    pub fn curvature(&self, s: f64) -> f64 {
        let (a, b, t) = self.around(s);
        a.curvature + t * (b.curvature - a.curvature)
    }

    pub fn nearest(&self, point: [f64; 2]) -> Nearest {
        let square = |i: usize| square_distance(self.samples[i].point, point);
        let reach = BLOCK as f64 * self.step;
        let blocks = || (0..self.samples.len()).step_by(BLOCK);
        let least = blocks().map(square).fold(f64::INFINITY, f64::min);
        // No sample of a block is nearer than its first sample minus the block's length.
        let bound = libm::sqrt(least) + reach;
        let mut best = (f64::INFINITY, 0);
        for first in blocks().filter(|&i| square(i) <= bound * bound) {
            for i in first..(first + BLOCK).min(self.samples.len()) {
                let d = square(i);
                if d < best.0 {
                    best = (d, i);
                }
            }
        }
        self.refine(point, best.1)
    }

    pub fn nearest_around(&self, point: [f64; 2], hint: f64) -> Nearest {
        let n = self.samples.len() as isize;
        let window = ((1.0 / self.step) as isize).min(n / 2);
        let square =
            |i: isize| square_distance(self.samples[i.rem_euclid(n) as usize].point, point);
        let mut centre = (self.wrap(hint) / self.step) as isize;
        // The search goes on only while the best sample is at the border of the window, and at most
        // once round the circuit.
        for _ in 0..=(n / window.max(1)) {
            let mut best = (square(centre), centre);
            for i in centre - window..=centre + window {
                let d = square(i);
                if d < best.0 {
                    best = (d, i);
                }
            }
            let at_border = (best.1 - centre).abs() == window;
            centre = best.1;
            if !at_border {
                break;
            }
        }
        self.refine(point, centre.rem_euclid(n) as usize)
    }

    /// Finds the foot of the perpendicular by Newton's method, from the nearest sample.
    fn refine(&self, point: [f64; 2], sample: usize) -> Nearest {
        let base = sample as f64 * self.step;
        let mut s = base;
        for _ in 0..4 {
            let [tx, ty] = self.tangent(s);
            let [px, py] = self.point(s);
            let (dx, dy) = (point[0] - px, point[1] - py);
            let along = dx * tx + dy * ty;
            let side = tx * dy - ty * dx;
            let slope = (1.0 - self.curvature(s) * side).max(0.1);
            s = (s + along / slope).clamp(base - self.step, base + self.step);
        }
        let [tx, ty] = self.tangent(s);
        let [px, py] = self.point(s);
        let side = tx * (point[1] - py) - ty * (point[0] - px);
        Nearest {
            s: self.wrap(s),
            offset: libm::sqrt(square_distance(point, [px, py])).copysign(side),
        }
    }

    pub fn mirrored(&self) -> Self {
        let samples = self
            .samples
            .iter()
            .map(|sample| Sample {
                point: [sample.point[0], -sample.point[1]],
                tangent: [sample.tangent[0], -sample.tangent[1]],
                curvature: -sample.curvature,
            })
            .collect();
        Self { samples, ..*self }
    }

    /// The same line in the other direction, from the same first point.
    pub fn reversed(&self) -> Self {
        let (first, rest) = (&self.samples[..1], &self.samples[1..]);
        let samples = first
            .iter()
            .chain(rest.iter().rev())
            .map(|sample| Sample {
                point: sample.point,
                tangent: [-sample.tangent[0], -sample.tangent[1]],
                curvature: -sample.curvature,
            })
            .collect();
        Self { samples, ..*self }
    }
}

fn check_length(metres: f64) -> Result<(), CircuitError> {
    if (5.0..=20_000.0).contains(&metres) {
        Ok(())
    } else {
        Err(CircuitError::Length(metres))
    }
}

fn square_distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    let (dx, dy) = (a[0] - b[0], a[1] - b[1]);
    dx * dx + dy * dy
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    libm::sqrt(square_distance(a, b))
}
