//! Draws the walls along both sides of the road, from far to near.

use super::ground::camera_level;
use super::view::{NEAR, Seen, View};
use crate::{Appearance, Circuit, Walls};

/// Length of a panel between two posts, metres.
const PANEL: f64 = 0.5;

/// The number of consecutive panels with the same shade.
const SHADE_PANELS: usize = 4;

struct Panel {
    from: [f64; 2],
    to: [f64; 2],
    colour: [u8; 3],
}

/// The panels of a circuit's walls.
pub struct Fence {
    panels: Vec<Panel>,
    height: f64,
    /// Square of the distance, and index, of the panels in sight.
    order: Vec<(f64, usize)>,
}

impl Fence {
    pub fn new(circuit: &Circuit, walls: Walls, looks: &Appearance) -> Self {
        let count = libm::ceil(circuit.length() / PANEL) as usize;
        let away = 0.5 * circuit.road_width() + walls.margin;
        let mut panels = Vec::new();
        for side in [1.0, -1.0] {
            let posts: Vec<Option<[f64; 2]>> = (0..count)
                .map(|i| {
                    let s = circuit.length() * i as f64 / count as f64;
                    let pose = circuit.pose(s, side * away, 0.0);
                    let post = [pose.x, pose.y];
                    // Inside tight bends, and between near stretches of road, the wall would be on
                    // the road.
                    let near = circuit.nearest(post, None).offset.abs();
                    (near > away - 0.02).then_some(post)
                })
                .collect();
            for i in 0..count {
                if let (Some(from), Some(to)) = (posts[i], posts[(i + 1) % count]) {
                    panels.push(Panel {
                        from,
                        to,
                        colour: shade(looks, i, from, to),
                    });
                }
            }
        }
        Self {
            height: walls.height,
            order: Vec::with_capacity(panels.len()),
            panels,
        }
    }

    /// Draws onto the rows of `rgb`, whose first row is row `first_row` of the frame.
    pub fn draw(&mut self, view: &View, width: usize, first_row: usize, rgb: &mut [u8]) {
        self.order.clear();
        for (index, panel) in self.panels.iter().enumerate() {
            let middle = [
                0.5 * (panel.from[0] + panel.to[0]),
                0.5 * (panel.from[1] + panel.to[1]),
            ];
            let seen = view.see(middle[0], middle[1], 0.5 * self.height);
            if !view.out_of_sight(seen, PANEL + self.height) {
                let square = seen[0] * seen[0] + seen[1] * seen[1] + seen[2] * seen[2];
                self.order.push((square, index));
            }
        }
        self.order
            .sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for &(_, index) in &self.order {
            let panel = &self.panels[index];
            let corner = |p: [f64; 2], z: f64| view.see(p[0], p[1], z);
            let outline = in_front(
                view,
                &[
                    corner(panel.from, 0.0),
                    corner(panel.to, 0.0),
                    corner(panel.to, self.height),
                    corner(panel.from, self.height),
                ],
            );
            fill(outline.corners(), panel.colour, width, first_row, rgb);
        }
    }
}

/// The shade of a panel: alternating along the wall, and lighter on the side of the sun.
fn shade(looks: &Appearance, index: usize, from: [f64; 2], to: [f64; 2]) -> [u8; 3] {
    let panel = if (index / SHADE_PANELS).is_multiple_of(2) {
        1.0
    } else {
        0.8
    };
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let sun = 0.9 + 0.1 * (0.6 * dx - 0.8 * dy) / libm::hypot(dx, dy).max(1e-9);
    looks
        .walls
        .map(|c| camera_level(looks, f64::from(c) * panel * sun))
}

/// Up to six corners: a plane that cuts four corners may replace one by two.
#[derive(Default)]
struct Outline {
    corners: [[f64; 2]; 6],
    count: usize,
}

impl Outline {
    fn push(&mut self, corner: [f64; 2]) {
        if let Some(place) = self.corners.get_mut(self.count) {
            *place = corner;
            self.count += 1;
        }
    }

    fn corners(&self) -> &[[f64; 2]] {
        &self.corners[..self.count]
    }
}

/// The part of a convex outline ahead of the near plane, in pixels.
fn in_front(view: &View, corners: &[Seen; 4]) -> Outline {
    let mut outline = Outline::default();
    for (i, &a) in corners.iter().enumerate() {
        let b = corners[(i + 1) % corners.len()];
        if a[2] >= NEAR {
            outline.push(view.project(a));
        }
        if (a[2] >= NEAR) != (b[2] >= NEAR) {
            let share = (NEAR - a[2]) / (b[2] - a[2]);
            let axis = |k: usize| a[k] + share * (b[k] - a[k]);
            outline.push(view.project([axis(0), axis(1), NEAR]));
        }
    }
    outline
}

/// Fills a convex outline column by column. Neighbouring panels share no column.
fn fill(outline: &[[f64; 2]], colour: [u8; 3], width: usize, first_row: usize, rgb: &mut [u8]) {
    let rows = rgb.len() / (width * 3);
    let (left, right) = outline
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, r), p| {
            (l.min(p[0]), r.max(p[0]))
        });
    let column = |x: f64| libm::ceil((x - 0.5).clamp(0.0, width as f64)) as usize;
    for u in column(left)..column(right) {
        let x = u as f64 + 0.5;
        let (mut top, mut bottom) = (f64::INFINITY, f64::NEG_INFINITY);
        for (i, a) in outline.iter().enumerate() {
            let b = outline[(i + 1) % outline.len()];
            if (a[0] <= x) != (b[0] <= x) {
                let y = a[1] + (x - a[0]) / (b[0] - a[0]) * (b[1] - a[1]);
                top = top.min(y);
                bottom = bottom.max(y);
            }
        }
        let top = (top - first_row as f64).clamp(0.0, rows as f64);
        let bottom = (bottom - first_row as f64).clamp(0.0, rows as f64);
        let mut row = top as usize;
        while (row as f64) < bottom {
            let covered = bottom.min((row + 1) as f64) - top.max(row as f64);
            let share = (covered * 256.0 + 0.5) as u32;
            let at = (row * width + u) * 3;
            for (byte, &new) in rgb[at..at + 3].iter_mut().zip(&colour) {
                let mixed = u32::from(*byte) * (256 - share) + u32::from(new) * share;
                *byte = ((mixed + 128) >> 8) as u8;
            }
            row += 1;
        }
    }
}
