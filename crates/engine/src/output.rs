//! What a network's outputs mean for a car.

use serde::{Deserialize, Serialize};

/// The controls that a network may output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// Metres per second, forwards.
    Speed,
    /// Radians per second, to the left.
    YawRate,
    /// -1 to 1, left positive.
    Steering,
    /// -1 to 1, forwards positive.
    Throttle,
}

impl Meaning {
    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::YawRate => "yaw_rate",
            Self::Steering => "steering",
            Self::Throttle => "throttle",
        }
    }

    /// The unit, for display.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Speed => "m/s",
            Self::YawRate => "rad/s",
            Self::Steering | Self::Throttle => "-1 to 1",
        }
    }
}

/// A number that the network gives as one of several bins, as classifiers do. The numbers of the
/// bins are evenly spaced.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bins {
    /// How many there are: elements of the output, from [`Output::index`] on.
    pub count: usize,
    /// The number of the first bin.
    pub first: f32,
    /// The number of the last bin.
    pub last: f32,
    /// How the elements become one number.
    pub decode: Decode,
}

/// How the elements of bins become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decode {
    /// The number of the bin with the largest element; of several, the first.
    Argmax,
    /// The mean of the bins' numbers, weighted with the elements, which are probabilities: the
    /// network ends with a softmax.
    Expectation,
    /// The same for a network without a softmax at its end.
    Softmax,
}

impl Decode {
    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Argmax => "argmax",
            Self::Expectation => "expectation",
            Self::Softmax => "softmax",
        }
    }
}

impl Bins {
    /// The difference between the numbers of neighbouring bins.
    pub fn step(&self) -> f64 {
        (f64::from(self.last) - f64::from(self.first)) / self.count.saturating_sub(1).max(1) as f64
    }

    /// The number that `elements`, one for each bin, stand for. NaN if there are too few, if one is
    /// not finite, or if they are not probabilities where they must be.
    fn number(&self, elements: &[f32]) -> f32 {
        let Some(elements) = elements.get(..self.count) else {
            return f32::NAN;
        };
        if elements.is_empty() || !elements.iter().all(|x| x.is_finite()) {
            return f32::NAN;
        }
        let largest = elements.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let place = match self.decode {
            Decode::Argmax => elements.iter().position(|&x| x == largest).unwrap_or(0) as f64,
            Decode::Expectation => mean_place(elements, |x| f64::from(x.max(0.0))),
            Decode::Softmax => {
                mean_place(elements, |x| libm::exp(f64::from(x) - f64::from(largest)))
            }
        };
        (f64::from(self.first) + place * self.step()) as f32
    }
}

/// The mean place of the elements by their weights; NaN if no weight is positive.
fn mean_place(elements: &[f32], weight: impl Fn(f32) -> f64) -> f64 {
    let weights = elements.iter().map(|&x| weight(x)).enumerate();
    let (sum, places) = weights.fold((0.0, 0.0), |(sum, places), (place, weight)| {
        (sum + weight, places + weight * place as f64)
    });
    places / sum
}

/// One number that the network outputs, and the control that it is:
/// `number * scale + offset`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The name of the output in the ONNX model.
    pub name: String,
    /// The index of the element in the output, or of the first bin.
    pub index: usize,
    /// The control.
    pub meaning: Meaning,
    /// Factor of the number.
    pub scale: f32,
    /// Added after the multiplication.
    pub offset: f32,
    /// Set if the number is one of several bins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<Bins>,
}

impl Output {
    /// How many elements of the network's output the number takes.
    pub fn elements(&self) -> usize {
        self.bins.map_or(1, |bins| bins.count)
    }

    /// The number, before scale and offset, of a network's answer from the element [`index`] on.
    /// NaN if elements are missing or, for bins, not finite: an answer that is not a number never
    /// becomes one.
    ///
    /// [`index`]: Self::index
    pub fn number(&self, elements: &[f32]) -> f32 {
        match &self.bins {
            None => elements.first().copied().unwrap_or(f32::NAN),
            Some(bins) => bins.number(elements),
        }
    }
}

#[cfg(test)]
mod tests;
