//! Points among a network's answers.

use serde::{Deserialize, Serialize};

/// How points lie in a network's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Points {
    /// How many there are.
    pub count: usize,
    /// Where their coordinates are.
    pub order: PointOrder,
    /// The factor of each coordinate of the network.
    pub scale: [f32; 2],
    /// Added after the multiplication.
    pub offset: [f32; 2],
    /// Whether the first point is the farthest.
    pub far_first: bool,
}

/// Where the coordinates of points are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PointOrder {
    /// Both of the first point, both of the second, and so on.
    Pairs,
    /// The first coordinate of all points, then the second of all.
    Separate,
    /// The first coordinates are these; the network answers with the second of each.
    First(Vec<f32>),
    /// The second coordinates are these; the network answers with the first of each.
    Second(Vec<f32>),
}

impl Points {
    /// How many elements they take; `None` if that overflows.
    pub(super) fn elements(&self) -> Option<usize> {
        match &self.order {
            PointOrder::Pairs | PointOrder::Separate => self.count.checked_mul(2),
            PointOrder::First(_) | PointOrder::Second(_) => Some(self.count),
        }
    }

    /// The coordinates of a point. NaN where there is none.
    fn point(&self, elements: &[f32], index: usize) -> [f64; 2] {
        let element = |at: usize, axis: usize| {
            let element = elements.get(at).map_or(f64::NAN, |&x| f64::from(x));
            element * f64::from(self.scale[axis]) + f64::from(self.offset[axis])
        };
        let fixed = |places: &[f32]| places.get(index).map_or(f64::NAN, |&x| f64::from(x));
        match &self.order {
            PointOrder::Pairs => [element(2 * index, 0), element(2 * index + 1, 1)],
            PointOrder::Separate => [element(index, 0), element(self.count + index, 1)],
            PointOrder::First(places) => [fixed(places), element(index, 1)],
            PointOrder::Second(places) => [element(index, 0), fixed(places)],
        }
    }

    fn all<'a>(&'a self, elements: &'a [f32]) -> impl Iterator<Item = [f64; 2]> + 'a {
        (0..self.count).map(move |at| {
            let at = match self.far_first {
                true => self.count - 1 - at,
                false => at,
            };
            self.point(elements, at)
        })
    }

    /// Passes on all points, the nearest first.
    pub(super) fn each(&self, elements: &[f32], mut to: impl FnMut(f64, f64)) {
        self.all(elements).for_each(|[x, y]| to(x, y));
    }

    /// The mean speed from the first point to the last, for a car that takes `period` seconds from
    /// one to the next. NaN for fewer than two points.
    pub(super) fn speed(&self, elements: &[f32], period: f64) -> f64 {
        let mut length = 0.0;
        let mut before: Option<[f64; 2]> = None;
        for point in self.all(elements) {
            length += before.map_or(0.0, |before| apart(before, point));
            before = Some(point);
        }
        match self.count {
            0 | 1 => f64::NAN,
            count => length / ((count - 1) as f64 * period),
        }
    }

    /// The root of the mean squared distance between the points of two answers.
    pub(super) fn distance(&self, expected: &[f32], found: &[f32]) -> f64 {
        let pairs = self.all(expected).zip(self.all(found));
        let squares: f64 = pairs.map(|(a, b)| apart(a, b) * apart(a, b)).sum();
        libm::sqrt(squares / self.count.max(1) as f64)
    }

    /// The least and the greatest coordinate of an axis.
    pub(super) fn range(&self, elements: &[f32], axis: usize) -> (f64, f64) {
        let places = self.all(elements).map(|point| point[axis]);
        places.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), x| {
            (least.min(x), most.max(x))
        })
    }
}

fn apart(a: [f64; 2], b: [f64; 2]) -> f64 {
    libm::hypot(a[0] - b[0], a[1] - b[1])
}
