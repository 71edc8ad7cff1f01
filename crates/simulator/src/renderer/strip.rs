//! Draws strips along the centre line, the road and the painted line, as coarsely as is not
//! visible.

use super::coverage::Coverage;
use super::view::{NEAR, Seen, View};
use crate::circuit::{CentreLine, Sample};

/// The largest deviation of a drawn edge from the true one, in pixels.
const TOLERANCE: f64 = 0.06;

/// The coarsest level k, whose blocks have 2^k samples.
const COARSEST: u32 = 10;

/// A stretch of the line: its bounding sphere, and how far it deviates from its chord.
#[derive(Debug, Clone, Copy)]
struct Block {
    centre: [f64; 2],
    radius: f64,
    bow: f64,
}

/// The centre line in levels of blocks, each level with half the block size of the one above.
pub struct Strips {
    /// From the finest level, with one block per sample, to the coarsest.
    levels: Vec<Vec<Block>>,
    count: usize,
}

impl Strips {
    /// `half_width` is that of the widest strip, metres.
    pub fn new(line: &CentreLine, half_width: f64) -> Self {
        let samples = line.samples();
        let count = samples.len();
        let levels = (0..=COARSEST)
            .map(|level| {
                let size = 1_usize << level;
                (0..count)
                    .step_by(size)
                    .map(|from| {
                        block(
                            samples,
                            from,
                            (from + size).min(count),
                            half_width,
                            line.step(),
                        )
                    })
                    .collect()
            })
            .collect();
        Self { levels, count }
    }

    /// Draws the strips with the given half widths, each into its coverage.
    pub fn draw(&self, line: &CentreLine, view: &View, strips: &mut [(f64, &mut Coverage)]) {
        let mut pen = Pen::new(view, line.samples(), strips);
        for index in 0..self.levels[COARSEST as usize].len() {
            self.visit(COARSEST, index, view, &mut pen);
        }
    }

    fn visit(&self, level: u32, index: usize, view: &View, pen: &mut Pen) {
        let block = &self.levels[level as usize][index];
        let from = index << level;
        let to = ((index + 1) << level).min(self.count);
        let seen = view.see(block.centre[0], block.centre[1], 0.0);
        let away = (libm::sqrt(seen[0] * seen[0] + seen[1] * seen[1] + seen[2] * seen[2])
            - block.radius)
            .max(0.05);
        if level == 0
            || view.focal * block.bow <= TOLERANCE * away
            || view.out_of_sight(seen, block.radius)
        {
            pen.stretch(from, to % self.count);
            return;
        }
        self.visit(level - 1, index * 2, view, pen);
        if from + (1 << (level - 1)) < to {
            self.visit(level - 1, index * 2 + 1, view, pen);
        }
    }
}

fn block(samples: &[Sample], from: usize, to: usize, half_width: f64, step: f64) -> Block {
    let n = samples.len();
    let at = |i: usize| samples[i % n].point;
    let (a, b) = (at(from), at(to));
    let centre = [0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1])];
    let mut radius: f64 = 0.0;
    let mut curvature: f64 = 0.0;
    for i in from..=to {
        let p = at(i);
        let (dx, dy) = (p[0] - centre[0], p[1] - centre[1]);
        radius = radius.max(libm::sqrt(dx * dx + dy * dy));
        curvature = curvature.max(samples[i % n].curvature.abs());
    }
    let length = (to - from) as f64 * step;
    Block {
        centre,
        radius: radius + half_width,
        bow: curvature * length * length / 8.0 * (1.0 + curvature * half_width),
    }
}

/// Draws both borders of every strip along the line.
struct Pen<'a, 'b> {
    view: &'a View,
    samples: &'a [Sample],
    strips: &'a mut [(f64, &'b mut Coverage)],
}

impl<'a, 'b> Pen<'a, 'b> {
    fn new(
        view: &'a View,
        samples: &'a [Sample],
        strips: &'a mut [(f64, &'b mut Coverage)],
    ) -> Self {
        Self {
            view,
            samples,
            strips,
        }
    }

    /// Draws a stretch. Neighbouring stretches share their cross edge, whose two directions cancel
    /// out. So only the borders are drawn, and the edges where the near plane cuts.
    fn stretch(&mut self, from: usize, to: usize) {
        let (a, b) = (self.samples[from], self.samples[to]);
        for (half_width, coverage) in self.strips.iter_mut() {
            let corner = |sample: &Sample, side: f64| {
                self.view.see(
                    sample.point[0] - side * sample.tangent[1],
                    sample.point[1] + side * sample.tangent[0],
                    0.0,
                )
            };
            // The left border forwards, the right border backwards.
            let corners = [
                corner(&a, *half_width),
                corner(&b, *half_width),
                corner(&b, -*half_width),
                corner(&a, -*half_width),
            ];
            if corners.iter().all(|c| c[2] >= NEAR) {
                let [la, lb, rb, ra] = corners.map(|c| self.view.project(c));
                coverage.edge(la, lb);
                coverage.edge(rb, ra);
            } else if corners.iter().any(|c| c[2] >= NEAR) {
                clipped(self.view, corners, coverage);
            }
        }
    }
}

/// Draws the part of a four-sided loop ahead of the near plane: its borders (first and third edge),
/// and the edges along the plane that close it.
fn clipped(view: &View, corners: [Seen; 4], coverage: &mut Coverage) {
    let ahead = |c: Seen| c[2] >= NEAR;
    let cut = |a: Seen, b: Seen| {
        let share = (NEAR - a[2]) / (b[2] - a[2]);
        [
            a[0] + share * (b[0] - a[0]),
            a[1] + share * (b[1] - a[1]),
            NEAR,
        ]
    };
    let Some(first) = (0..4).find(|&i| ahead(corners[i])) else {
        return;
    };
    let mut left_at = None;
    for k in 0..4 {
        let index = (first + k) % 4;
        let (a, b) = (corners[index], corners[(index + 1) % 4]);
        let border = index % 2 == 0;
        let mut draw = |from: Seen, to: Seen| coverage.edge(view.project(from), view.project(to));
        match (ahead(a), ahead(b)) {
            (true, true) if border => draw(a, b),
            (true, false) => {
                let at = cut(a, b);
                if border {
                    draw(a, at);
                }
                left_at = Some(at);
            }
            (false, true) => {
                let at = cut(a, b);
                if let Some(from) = left_at.take() {
                    draw(from, at);
                }
                if border {
                    draw(at, b);
                }
            }
            _ => {}
        }
    }
}
