//! Decodes the path that a network answers with, and follows it by pure pursuit.
//!
//! A path is a sequence of points on the ground, from the near to the far, in the car's axes: metres
//! ahead of the rear axle, and metres to the left. [`PathForm`] says what the network answers with;
//! [`Pursuit`] makes a curvature of the points. The arithmetic is plain f64, the same on every
//! machine, and allocates nothing.

mod camera;
mod mask;
mod points;
mod pursuit;

use serde::{Deserialize, Serialize};

pub use camera::GroundCamera;
pub use mask::Mask;
pub use points::{PointOrder, Points};
pub use pursuit::Pursuit;

use crate::Output;
use pursuit::Follower;

/// A recipe's `[decoder]`, as the manifest of an engine file has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathDecoder {
    /// The name of the output in the ONNX model.
    pub name: String,
    /// The index of the path's first element in the output.
    pub index: usize,
    /// What the elements are.
    pub path: PathForm,
    /// How the path is followed.
    pub pursuit: Pursuit,
    /// How fast.
    pub speed: PathSpeed,
}

/// What a network answers with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum PathForm {
    /// Points on the ground.
    Waypoints {
        /// In metres, ahead and to the left.
        points: Points,
    },
    /// Points of the lane's middle in the picture.
    Lane {
        /// In fractions of the network's input picture, to the right and down from its upper left
        /// corner.
        points: Points,
        /// Where they lie on the ground.
        camera: GroundCamera,
    },
    /// A picture of what is road, or line.
    Mask {
        /// The pixels.
        mask: Mask,
        /// Where they lie on the ground.
        camera: GroundCamera,
    },
}

/// How the speed along a path is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathSpeed {
    /// Always this many metres per second.
    Fixed(f32),
    /// The network's own answer, in metres per second.
    Output(Output),
    /// The length of the path from its first to its last point, divided by the time between them:
    /// this many seconds from each point to the next.
    Period(f32),
}

/// Why a network's answer is no path that a car can follow. The car stops.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NoPath {
    /// An element is NaN or infinite, or there are too few.
    #[error("the network's path has an element that is not a number")]
    NotFinite,
    /// There is no point on the ground.
    #[error("the network sees no path: its mask is empty, or no point lies on the ground")]
    Empty,
    /// There are fewer points than the recipe demands.
    #[error(
        "the network's path has {found} point(s), and `decoder.least_points` demands {least}: too \
         little of the road is seen"
    )]
    TooFew {
        /// How many there are.
        found: usize,
        /// How many there must be.
        least: usize,
    },
    /// The path does not lie ahead of the car.
    #[error(
        "the network's path lies behind the car's rear axle; if it never lies ahead, check \
         `scale_x`, `order` and the signs in the recipe's `[decoder]`"
    )]
    Behind,
    /// The path ends long before the look-ahead distance.
    #[error(
        "the network's path ends {reach:.2} m from the car, before half of the look-ahead of \
         {look_ahead:.2} m"
    )]
    Short {
        /// The distance of its last point, metres.
        reach: f64,
        /// The look-ahead distance, metres.
        look_ahead: f64,
    },
}

/// What a path commands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathCommand {
    /// The curvature of the arc to drive, 1/m, left positive.
    pub curvature: f64,
    /// Metres per second.
    pub speed: f64,
}

impl PathDecoder {
    /// How many elements of the network's output the path takes; `None` if that overflows.
    pub fn elements(&self) -> Option<usize> {
        match &self.path {
            PathForm::Waypoints { points } | PathForm::Lane { points, .. } => points.elements(),
            PathForm::Mask { mask, .. } => mask.elements(),
        }
    }

    /// The decoder for an engine whose outputs have these names and numbers of elements, in the
    /// model's order. The error is the name of the output that is missing or too short.
    ///
    /// # Errors
    /// If the path, or the speed that goes with it, is not among the outputs.
    pub fn bind(&self, outputs: &[(&str, usize)]) -> Result<BoundPath, String> {
        let find = |name: &str, index: usize, elements: Option<usize>| {
            let mut before = 0;
            let found = outputs.iter().find_map(|&(known, length)| {
                let start = before;
                before += length;
                let end = index.checked_add(elements?)?;
                (known == name && end <= length).then_some(start + index)
            });
            found.ok_or_else(|| name.to_owned())
        };
        let speed = match &self.speed {
            PathSpeed::Output(speed) => find(&speed.name, speed.index, Some(speed.elements()))?,
            PathSpeed::Fixed(_) | PathSpeed::Period(_) => 0,
        };
        Ok(BoundPath {
            path: find(&self.name, self.index, self.elements())?,
            speed,
            decoder: self.clone(),
        })
    }
}

/// A [`PathDecoder`] that knows its places in the answers of an engine, in which all outputs are
/// concatenated.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundPath {
    decoder: PathDecoder,
    path: usize,
    speed: usize,
}

impl BoundPath {
    /// The decoder.
    pub fn decoder(&self) -> &PathDecoder {
        &self.decoder
    }

    /// The path's elements in an answer; empty if it is too short.
    fn elements<'a>(&self, answers: &'a [f32]) -> &'a [f32] {
        let end = self
            .decoder
            .elements()
            .and_then(|it| it.checked_add(self.path));
        end.and_then(|end| answers.get(self.path..end))
            .unwrap_or_default()
    }

    /// The command of an answer.
    ///
    /// # Errors
    /// If the answer is no path that can be followed.
    pub fn command(&self, answers: &[f32]) -> Result<PathCommand, NoPath> {
        let elements = self.elements(answers);
        if elements.is_empty() || !elements.iter().all(|x| x.is_finite()) {
            return Err(NoPath::NotFinite);
        }
        let speed = match &self.decoder.speed {
            PathSpeed::Fixed(speed) => f64::from(*speed),
            PathSpeed::Output(output) => {
                let number = output.number(answers.get(self.speed..).unwrap_or_default());
                f64::from(output.scale) * f64::from(number) + f64::from(output.offset)
            }
            PathSpeed::Period(period) => match &self.decoder.path {
                PathForm::Waypoints { points } => points.speed(elements, f64::from(*period)),
                _ => f64::NAN,
            },
        };
        if !speed.is_finite() {
            return Err(NoPath::NotFinite);
        }
        let mut follower = Follower::new(&self.decoder.pursuit, speed);
        match &self.decoder.path {
            PathForm::Waypoints { points } => points.each(elements, |x, y| follower.push([x, y])),
            PathForm::Lane { points, camera } => {
                let ground = camera.ground();
                points.each(elements, |x, y| {
                    if let Some(point) = ground.point(x, y) {
                        follower.push(point);
                    }
                });
            }
            PathForm::Mask { mask, camera } => {
                mask.each(elements, &camera.ground(), |point| follower.push(point));
            }
        }
        let curvature = follower.curvature()?;
        Ok(PathCommand { curvature, speed })
    }

    /// How far the path of an answer is from another: for points the root of the mean squared
    /// distance, in metres or in fractions of the picture; for a mask the share of the pixels that
    /// belong to one of the two only. NaN if an element is not a number.
    pub fn distance(&self, expected: &[f32], found: &[f32]) -> f64 {
        let (expected, found) = (self.elements(expected), self.elements(found));
        let finite = |elements: &[f32]| elements.iter().all(|x| x.is_finite());
        if expected.len() != found.len() || expected.is_empty() {
            return f64::NAN;
        }
        if !finite(expected) || !finite(found) {
            return f64::NAN;
        }
        match &self.decoder.path {
            PathForm::Waypoints { points } | PathForm::Lane { points, .. } => {
                points.distance(expected, found)
            }
            PathForm::Mask { mask, .. } => mask.distance(expected, found),
        }
    }

    /// The least and the greatest place of a point to the side in an answer, which
    /// [`distance`](Self::distance) is compared with; 0 and 1 for a mask.
    pub fn side(&self, answers: &[f32]) -> (f64, f64) {
        match &self.decoder.path {
            PathForm::Waypoints { points } => points.range(self.elements(answers), 1),
            PathForm::Lane { points, .. } => points.range(self.elements(answers), 0),
            PathForm::Mask { .. } => (0.0, 1.0),
        }
    }

    /// What [`distance`](Self::distance) compares, and its unit.
    pub fn compared(&self) -> (&'static str, &'static str) {
        match &self.decoder.path {
            PathForm::Waypoints { .. } => ("waypoints", "m"),
            PathForm::Lane { .. } => ("lane", "of the picture"),
            PathForm::Mask { .. } => ("mask", "of the pixels"),
        }
    }
}

#[cfg(test)]
mod tests;
