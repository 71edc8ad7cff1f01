//! Computes exactly which fraction of each pixel a shape covers.

/// Signed areas, accumulated edge by edge along each row. The sum from the left up to a pixel is
/// the fraction of the pixel inside the shape (the method of R. Levien's font-rs).
///
/// Shapes are closed loops of edges. Edges to the left of the picture count; edges to the right of
/// it, above it or below it do not.
pub struct Coverage {
    width: usize,
    first_row: usize,
    /// `width + 2` values per row.
    areas: Vec<f32>,
    /// The range of columns with areas in each row, the end excluded.
    touched: Vec<(usize, usize)>,
}

impl Coverage {
    pub fn new() -> Self {
        Self {
            width: 0,
            first_row: 0,
            areas: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// Clears all areas, and covers `rows` rows from `first_row`.
    pub fn reset(&mut self, width: usize, first_row: usize, rows: usize) {
        self.width = width;
        self.first_row = first_row;
        self.areas.clear();
        self.areas.resize(rows * (width + 2), 0.0);
        self.touched.clear();
        self.touched.resize(rows, (usize::MAX, 0));
    }

    /// Adds one directed edge, in pixels.
    pub fn edge(&mut self, from: [f64; 2], to: [f64; 2]) {
        let rising = from[1] > to[1];
        let (top, bottom) = if rising { (to, from) } else { (from, to) };
        let (least, most) = (
            self.first_row as f64,
            (self.first_row + self.touched.len()) as f64,
        );
        if bottom[1] <= least || top[1] >= most || top[1] >= bottom[1] {
            return;
        }
        let sign = if rising { -1.0 } else { 1.0 };
        let slope = (bottom[0] - top[0]) / (bottom[1] - top[1]);
        let line = Line { top, slope };
        let (y0, y1) = (top[1].max(least), bottom[1].min(most));
        // The edge is cut where it crosses the left and right borders.
        let width = self.width as f64;
        let mut cuts = [y0, y1, y1, y1];
        let mut count = 1;
        if slope != 0.0 {
            let crossings = [line.y_at(0.0), line.y_at(width)];
            let ordered = if crossings[0] < crossings[1] {
                crossings
            } else {
                [crossings[1], crossings[0]]
            };
            for cut in ordered {
                if cut > y0 && cut < y1 {
                    cuts[count] = cut;
                    count += 1;
                }
            }
        }
        cuts[count] = y1;
        for piece in cuts[..=count].windows(2) {
            let middle = line.x_at(0.5 * (piece[0] + piece[1]));
            if middle < width {
                self.piece(&line, middle <= 0.0, piece[0], piece[1], sign);
            }
        }
    }

    /// Adds the part of an edge between `y0` and `y1`, which is either within the picture's columns
    /// or (`outside`) to the left of them.
    fn piece(&mut self, line: &Line, outside: bool, y0: f64, y1: f64, sign: f64) {
        let width = self.width as f64;
        let mut row = y0 as usize;
        while (row as f64) < y1 {
            let (a, b) = (y0.max(row as f64), y1.min((row + 1) as f64));
            let (xa, xb) = if outside {
                (0.0, 0.0)
            } else {
                (
                    line.x_at(a).clamp(0.0, width),
                    line.x_at(b).clamp(0.0, width),
                )
            };
            let (left, right) = if xa < xb { (xa, xb) } else { (xb, xa) };
            self.add(row - self.first_row, left, right, sign * (b - a));
            row += 1;
        }
    }

    fn add(&mut self, row: usize, left: f64, right: f64, height: f64) {
        let start = row * (self.width + 2);
        let first = left as usize;
        let last = libm::ceil(right) as usize;
        let touched = &mut self.touched[row];
        touched.0 = touched.0.min(first);
        touched.1 = touched.1.max(last.max(first + 1) + 1);
        let areas = &mut self.areas[start..start + self.width + 2];
        if last <= first + 1 {
            let inside = 0.5 * (left + right) - first as f64;
            areas[first] += (height * (1.0 - inside)) as f32;
            areas[first + 1] += (height * inside) as f32;
            return;
        }
        let per_column = height / (right - left);
        let mut before = 0.0;
        for (column, area) in areas.iter_mut().enumerate().take(last).skip(first) {
            // The area to the left of the column's right border and under the edge.
            let (x0, x1) = ((column as f64).max(left), ((column + 1) as f64).min(right));
            let (h0, h1) = ((x0 - left) * per_column, (x1 - left) * per_column);
            let covered = 0.5 * (h0 + h1) * (x1 - x0) + h1 * ((column + 1) as f64 - x1);
            *area += (covered - before) as f32;
            before = covered;
        }
        areas[last] += (height - before) as f32;
    }

    /// Writes the covered fractions of a row's pixels, 0..=256, and returns the range of columns
    /// outside of which all are 0.
    pub fn row(&self, row: usize, shares: &mut [u16]) -> (usize, usize) {
        let (from, to) = self.touched[row];
        if from >= to {
            return (0, 0);
        }
        let (from, to) = (from.min(self.width), to.min(self.width));
        shares.fill(0);
        let start = row * (self.width + 2);
        let areas = &self.areas[start..start + self.width];
        let mut sum = 0.0_f32;
        for (share, area) in shares[from..to].iter_mut().zip(&areas[from..to]) {
            sum += area;
            *share = (sum.abs().min(1.0) * 256.0 + 0.5) as u16;
        }
        let rest = (sum.abs().min(1.0) * 256.0 + 0.5) as u16;
        shares[to..].fill(rest);
        (from, if rest == 0 { to } else { self.width })
    }
}

struct Line {
    top: [f64; 2],
    slope: f64,
}

impl Line {
    fn x_at(&self, y: f64) -> f64 {
        self.top[0] + (y - self.top[1]) * self.slope
    }

    fn y_at(&self, x: f64) -> f64 {
        self.top[1] + (x - self.top[0]) / self.slope
    }
}
