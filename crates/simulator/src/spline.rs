//! Cubic interpolating splines: periodic for circuits, natural for paths.

/// A cubic spline of one value over increasing knots, twice continuously differentiable.
///
/// The equations are those of Press et al., Numerical Recipes, 3rd ed., 3.3. The cyclic system of
/// the periodic case is solved with the Sherman-Morrison formula (2.7.2).
#[derive(Debug, Clone)]
pub struct Cubic {
    knots: Vec<f64>,
    values: Vec<f64>,
    /// The second derivative at each knot.
    second: Vec<f64>,
}

impl Cubic {
    /// The spline through `values[i]` at `knots[i]`, and back to `values[0]` at the last knot:
    /// there is one more knot than there are values. It needs at least three values and strictly
    /// increasing knots.
    pub fn periodic(knots: &[f64], values: &[f64]) -> Self {
        let n = values.len();
        let step = |i: usize| knots[i + 1] - knots[i];
        let mut lower = vec![0.0; n];
        let mut diagonal = vec![0.0; n];
        let mut upper = vec![0.0; n];
        let mut right = vec![0.0; n];
        for i in 0..n {
            let before = (i + n - 1) % n;
            let after = (i + 1) % n;
            let (h0, h1) = (step(before), step(i));
            lower[i] = h0;
            diagonal[i] = 2.0 * (h0 + h1);
            upper[i] = h1;
            right[i] = 6.0 * ((values[after] - values[i]) / h1 - (values[i] - values[before]) / h0);
        }
        let mut second = solve_cyclic(&lower, &diagonal, &upper, &right);
        second.push(second[0]);
        let mut values = values.to_vec();
        values.push(values[0]);
        Self {
            knots: knots.to_vec(),
            values,
            second,
        }
    }

    /// The spline through `values[i]` at `knots[i]`, without curvature at its ends. It needs at
    /// least two points and strictly increasing knots.
    pub fn natural(knots: &[f64], values: &[f64]) -> Self {
        let n = values.len();
        let mut lower = vec![0.0; n];
        let mut diagonal = vec![1.0; n];
        let mut upper = vec![0.0; n];
        let mut right = vec![0.0; n];
        for i in 1..n.saturating_sub(1) {
            let (h0, h1) = (knots[i] - knots[i - 1], knots[i + 1] - knots[i]);
            lower[i] = h0;
            diagonal[i] = 2.0 * (h0 + h1);
            upper[i] = h1;
            right[i] = 6.0 * ((values[i + 1] - values[i]) / h1 - (values[i] - values[i - 1]) / h0);
        }
        Self {
            knots: knots.to_vec(),
            values: values.to_vec(),
            second: solve_tridiagonal(&lower, &diagonal, &upper, &right),
        }
    }

    /// The value and its first and second derivative at `at`, from the polynomial of the interval
    /// that begins at knot `interval`.
    pub fn at(&self, interval: usize, at: f64) -> [f64; 3] {
        let (k0, k1) = (self.knots[interval], self.knots[interval + 1]);
        let h = k1 - k0;
        let (a, b) = ((k1 - at) / h, (at - k0) / h);
        let (y0, y1) = (self.values[interval], self.values[interval + 1]);
        let (m0, m1) = (self.second[interval], self.second[interval + 1]);
        [
            a * y0 + b * y1 + ((a * a * a - a) * m0 + (b * b * b - b) * m1) * h * h / 6.0,
            (y1 - y0) / h + ((3.0 * b * b - 1.0) * m1 - (3.0 * a * a - 1.0) * m0) * h / 6.0,
            a * m0 + b * m1,
        ]
    }
}

fn solve_tridiagonal(lower: &[f64], diagonal: &[f64], upper: &[f64], right: &[f64]) -> Vec<f64> {
    let n = diagonal.len();
    let mut ratio = vec![0.0; n];
    let mut x = vec![0.0; n];
    let mut pivot = diagonal[0];
    x[0] = right[0] / pivot;
    for i in 1..n {
        ratio[i] = upper[i - 1] / pivot;
        pivot = diagonal[i] - lower[i] * ratio[i];
        x[i] = (right[i] - lower[i] * x[i - 1]) / pivot;
    }
    for i in (0..n - 1).rev() {
        x[i] -= ratio[i + 1] * x[i + 1];
    }
    x
}

/// Solves the tridiagonal system with `lower[0]` in the top right corner and the last element of
/// `upper` in the bottom left corner.
fn solve_cyclic(lower: &[f64], diagonal: &[f64], upper: &[f64], right: &[f64]) -> Vec<f64> {
    let n = diagonal.len();
    let (top_right, bottom_left) = (lower[0], upper[n - 1]);
    let gamma = -diagonal[0];
    let mut changed = diagonal.to_vec();
    changed[0] -= gamma;
    changed[n - 1] -= top_right * bottom_left / gamma;
    let x = solve_tridiagonal(lower, &changed, upper, right);
    let mut u = vec![0.0; n];
    u[0] = gamma;
    u[n - 1] = bottom_left;
    let z = solve_tridiagonal(lower, &changed, upper, &u);
    let factor =
        (x[0] + top_right * x[n - 1] / gamma) / (1.0 + z[0] + top_right * z[n - 1] / gamma);
    x.iter().zip(&z).map(|(x, z)| x - factor * z).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periodic_spline_follows_a_circle() {
        let n = 24;
        let period = std::f64::consts::TAU;
        let knots: Vec<f64> = (0..=n).map(|i| period * i as f64 / n as f64).collect();
        let values: Vec<f64> = knots[..n].iter().map(|&k| libm::sin(k)).collect();
        let spline = Cubic::periodic(&knots, &values);
        for (i, knot) in knots[..n].iter().enumerate() {
            for share in [0.0, 0.3, 0.5, 1.0] {
                let at = knot + share * period / n as f64;
                let [y, d, dd] = spline.at(i, at);
                assert!((y - libm::sin(at)).abs() < 1e-4);
                assert!((d - libm::cos(at)).abs() < 1e-3);
                assert!((dd + libm::sin(at)).abs() < 1e-2);
            }
        }
    }

    #[test]
    fn natural_spline_matches_a_worked_example() {
        // Through (0, 0), (1, 1), (2, 0): the moments are 0, -3, 0.
        let spline = Cubic::natural(&[0.0, 1.0, 2.0], &[0.0, 1.0, 0.0]);
        assert_eq!(spline.second, [0.0, -3.0, 0.0]);
        assert!((spline.at(0, 0.5)[0] - 0.6875).abs() < 1e-12);
        assert!((spline.at(1, 1.5)[0] - 0.6875).abs() < 1e-12);
    }
}
