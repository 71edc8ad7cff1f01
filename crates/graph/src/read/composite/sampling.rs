//! GridSample with a constant grid: each output is a weighted sum of pixels at constant places.

use super::activations::floats;
use super::{Composer, Source};
use crate::read::operators::Site;
use crate::{Op, OpError};

type Composed = Result<Source, OpError>;

/// What is outside of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outside {
    Zeros,
    Border,
    Reflection,
}

/// How one side of the picture is sampled.
struct Side {
    size: usize,
    outside: Outside,
    /// Whether -1 and 1 are the centres of the first and the last pixel, and not their outer edges.
    corners: bool,
}

impl Side {
    /// The place in pixels of a coordinate of -1 to 1, moved into the picture if it is outside.
    fn place(&self, coordinate: f32) -> f32 {
        let size = self.size as f32;
        let place = match self.corners {
            true => (coordinate + 1.0) / 2.0 * (size - 1.0),
            false => ((coordinate + 1.0) * size - 1.0) / 2.0,
        };
        match self.outside {
            Outside::Zeros => place,
            Outside::Border => place.clamp(0.0, size - 1.0),
            Outside::Reflection => self.reflected(place),
        }
    }

    fn reflected(&self, place: f32) -> f32 {
        let size = self.size as f32;
        let (low, high) = match self.corners {
            true => (0.0, size - 1.0),
            false => (-0.5, size - 0.5),
        };
        let range = high - low;
        if range <= 0.0 {
            return 0.0;
        }
        let along = (place - low).rem_euclid(2.0 * range);
        low + if along > range {
            2.0 * range - along
        } else {
            along
        }
    }

    /// The pixel there; `None` outside.
    fn pixel(&self, at: f32) -> Option<usize> {
        let last = self.size as f32 - 1.0;
        let at = match self.outside {
            Outside::Zeros => (0.0..=last).contains(&at).then_some(at)?,
            Outside::Border => at.clamp(0.0, last),
            Outside::Reflection => self.reflected(at).clamp(0.0, last),
        };
        Some(at as usize)
    }
}

/// How a picture is sampled.
struct Sampling {
    down: Side,
    across: Side,
    is_linear: bool,
}

impl Sampling {
    /// `mode` "bilinear" is "linear" since opset 20. Cubic interpolation is refused.
    fn read(site: &mut Site<'_>, [h, w]: [usize; 2]) -> Result<Self, OpError> {
        let wrong = |attribute, found: &str, expected| OpError::Attribute {
            attribute,
            found: found.to_owned(),
            expected,
        };
        let is_linear = match site.attributes.string("mode")?.as_deref() {
            None | Some("linear" | "bilinear") => true,
            Some("nearest") => false,
            Some(other) => return Err(wrong("mode", other, "linear, bilinear or nearest")),
        };
        let attribute = "padding_mode";
        let outside = match site.attributes.string(attribute)?.as_deref() {
            None | Some("zeros") => Outside::Zeros,
            Some("border") => Outside::Border,
            Some("reflection") => Outside::Reflection,
            Some(other) => return Err(wrong(attribute, other, "zeros, border or reflection")),
        };
        let corners = site.attributes.flag("align_corners", false)?;
        let side = |size| Side {
            size,
            outside,
            corners,
        };
        Ok(Self {
            down: side(h),
            across: side(w),
            is_linear,
        })
    }

    /// The pixels around a place that are read: below it or not, right of it or not.
    fn neighbours(&self) -> &'static [(bool, bool)] {
        match self.is_linear {
            true => &[(false, false), (false, true), (true, false), (true, true)],
            false => &[(false, false)],
        }
    }

    /// The number of a pixel around a place of the grid, and its weight.
    fn pixel(&self, [x, y]: [f32; 2], (below, right): (bool, bool)) -> (usize, f32) {
        let (y, x) = (self.down.place(y), self.across.place(x));
        let (down, across, weight) = match self.is_linear {
            false => (y.round_ties_even(), x.round_ties_even(), 1.0),
            true => {
                let (top, left) = (y.floor(), x.floor());
                let share = |part: f32, far: bool| if far { part } else { 1.0 - part };
                let weight = share(y - top, below) * share(x - left, right);
                let step = |is: bool| if is { 1.0 } else { 0.0 };
                (top + step(below), left + step(right), weight)
            }
        };
        match self.down.pixel(down).zip(self.across.pixel(across)) {
            Some((down, across)) => (down * self.across.size + across, weight),
            None => (0, 0.0),
        }
    }
}

pub(super) fn grid_sample(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(2, "2")?;
    let x = site.source(0, "X")?;
    let [n, channels, h, w] = crate::infer::picture(&c.shape(x))?;
    let sampling = Sampling::read(site, [h, w])?;
    let input = "grid";
    let grid = (site.constant(1, input)?).ok_or(OpError::MissingInput { input })?;
    let places = floats(grid.data()).filter(|places| places.iter().all(|x| x.is_finite()));
    let (&[1, rows, columns, 2], Some(places)) = (grid.shape(), places) else {
        return Err(OpError::Shape {
            input,
            found: grid.shape().to_vec(),
            expected: "(1, H, W, 2) of finite numbers".into(),
        });
    };
    if n != 1 || h * w == 0 {
        return Err(OpError::Shape {
            input: "X",
            found: c.shape(x),
            expected: "one picture with pixels".into(),
        });
    }
    let (places, _) = places.as_chunks::<2>();
    let flat = c.reshape(x, &[1, channels, h * w])?;
    let mut sum = None;
    for &neighbour in sampling.neighbours() {
        let pixels = places.iter().map(|&it| sampling.pixel(it, neighbour));
        let (indices, weights): (Vec<usize>, Vec<f32>) = pixels.unzip();
        let mut part = c.then(Op::Gather { axis: 2, indices }, flat)?;
        if weights.iter().any(|&weight| weight != 1.0) {
            let weights = c.numbers(part, &[1, 1, places.len()], weights)?;
            part = c.node(Op::Mul, &[part, weights])?;
        }
        sum = Some(match sum {
            Some(sum) => c.node(Op::Add, &[sum, part])?,
            None => part,
        });
    }
    let sum = sum.ok_or(OpError::MissingInput { input })?;
    c.reshape(sum, &[1, channels, rows, columns])
}
