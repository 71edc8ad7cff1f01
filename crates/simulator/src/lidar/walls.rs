//! The borders of the road as short straight walls, found by the squares that a ray crosses.

use std::collections::HashMap;

use crate::Circuit;

/// The side of a square, metres.
const SQUARE: f64 = 0.5;
/// How far a wall's ends may be nearer to the line than the border, metres: rounding and the chords
/// between samples.
const ROUNDING: f64 = 2e-3;

type Square = (i32, i32);

/// The walls at both borders of the road.
#[derive(Debug, Clone)]
pub(super) struct Borders {
    walls: Vec<[[f64; 2]; 2]>,
    /// The walls in each square.
    squares: HashMap<Square, Vec<u32>>,
}

impl Borders {
    /// The walls of a circuit, or the borders of its road where it has none.
    pub(super) fn of(circuit: &Circuit) -> Self {
        let margin = circuit.walls().map_or(0.0, |walls| walls.margin);
        let away = 0.5 * circuit.road_width() + margin;
        let line: Vec<[f64; 2]> = circuit.line_points();
        let roads = Points::new(&line, away);
        let mut walls = Vec::new();
        for side in [away, -away] {
            let posts: Vec<([f64; 2], bool)> = circuit
                .line_normals()
                .map(|([x, y], [nx, ny])| [x + side * nx, y + side * ny])
                .map(|post| (post, roads.nearest(post) > away - ROUNDING))
                .collect();
            let next = posts.iter().cycle().skip(1);
            for (&(from, is_border), &(to, is_border_too)) in posts.iter().zip(next) {
                // Inside tight bends and where roads meet, the wall would be on the road. A wall that
                // ends there reaches a little into it, so that no ray passes between two.
                if is_border || is_border_too {
                    walls.push([from, to]);
                }
            }
        }
        let mut squares: HashMap<Square, Vec<u32>> = HashMap::new();
        for (index, [from, to]) in walls.iter().enumerate() {
            let (a, b) = (square(*from), square(*to));
            for x in a.0.min(b.0)..=a.0.max(b.0) {
                for y in a.1.min(b.1)..=a.1.max(b.1) {
                    squares.entry((x, y)).or_default().push(index as u32);
                }
            }
        }
        Self { walls, squares }
    }

    /// The distance from a point to the first wall in a direction, within `range`.
    pub(super) fn distance(&self, from: [f64; 2], angle: f64, range: f64) -> Option<f64> {
        let (sin, cos) = libm::sincos(angle);
        let direction = [cos, sin];
        let mut at = square(from);
        // For each axis: the distance to the next border of a square, and from one to the next.
        let axis = |k: usize, at: i32| {
            let next = (f64::from(at) + f64::from(u8::from(direction[k] > 0.0))) * SQUARE;
            match direction[k].abs() > 1e-12 {
                true => ((next - from[k]) / direction[k], SQUARE / direction[k].abs()),
                false => (f64::INFINITY, f64::INFINITY),
            }
        };
        let (mut next_x, step_x) = axis(0, at.0);
        let (mut next_y, step_y) = axis(1, at.1);
        loop {
            let end = next_x.min(next_y);
            let walls = self.squares.get(&at).map_or(&[][..], Vec::as_slice);
            let hits = walls.iter().filter_map(|&wall| {
                let wall = self.walls.get(wall as usize)?;
                meets(from, direction, wall)
            });
            let nearest = hits.fold(f64::INFINITY, f64::min);
            // A wall of this square may be met in a later one, where another may be nearer.
            if nearest <= end + 1e-9 {
                return (nearest <= range).then_some(nearest);
            }
            // Neither does a pose that is not finite, whose `end` is NaN or negative, meet any.
            if !(0.0..=range).contains(&end) {
                return None;
            }
            if next_x < next_y {
                at.0 += if direction[0] > 0.0 { 1 } else { -1 };
                next_x += step_x;
            } else {
                at.1 += if direction[1] > 0.0 { 1 } else { -1 };
                next_y += step_y;
            }
        }
    }
}

/// The distance to the place where a ray meets a wall.
fn meets(from: [f64; 2], direction: [f64; 2], wall: &[[f64; 2]; 2]) -> Option<f64> {
    let [a, b] = wall;
    let along = [b[0] - a[0], b[1] - a[1]];
    let to = [a[0] - from[0], a[1] - from[1]];
    let cross = |u: [f64; 2], v: [f64; 2]| u[0] * v[1] - u[1] * v[0];
    let across = cross(direction, along);
    if across.abs() < 1e-12 {
        return None;
    }
    let (distance, share) = (cross(to, along) / across, cross(to, direction) / across);
    let meets = distance >= 0.0 && (-1e-6..=1.0 + 1e-6).contains(&share);
    meets.then_some(distance)
}

fn square([x, y]: [f64; 2]) -> Square {
    // Circuits lie within 10 km of the origin.
    let place = |at: f64| libm::floor(at / SQUARE) as i32;
    (place(x), place(y))
}

/// Points of the centre line, found by squares as large as the distance that matters.
struct Points<'a> {
    points: &'a [[f64; 2]],
    size: f64,
    squares: HashMap<Square, Vec<u32>>,
}

impl<'a> Points<'a> {
    fn new(points: &'a [[f64; 2]], size: f64) -> Self {
        let mut made = Self {
            points,
            size,
            squares: HashMap::new(),
        };
        for (index, &point) in points.iter().enumerate() {
            let place = made.place(point);
            made.squares.entry(place).or_default().push(index as u32);
        }
        made
    }

    fn place(&self, [x, y]: [f64; 2]) -> Square {
        let place = |at: f64| libm::floor(at / self.size) as i32;
        (place(x), place(y))
    }

    /// The distance to the nearest point, if one is within the size of a square; else more than that.
    fn nearest(&self, point: [f64; 2]) -> f64 {
        let (x, y) = self.place(point);
        let mut least = f64::INFINITY;
        for dx in -1..=1 {
            for dy in -1..=1 {
                for &index in self.squares.get(&(x + dx, y + dy)).into_iter().flatten() {
                    let [px, py] = self.points[index as usize];
                    least = least.min(libm::hypot(point[0] - px, point[1] - py));
                }
            }
        }
        least
    }
}
