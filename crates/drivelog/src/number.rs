//! Numbers in JSON, which has none for those that are not finite: they are written as `null`, and
//! `null` is read as NaN. An engine's output that is no number is a cause of a stop, so that it
//! must not make a log unreadable.

use serde::{Deserialize, Deserializer};

/// An f32, or NaN for `null`.
#[derive(Clone, Copy)]
struct Number(f32);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Option::<f32>::deserialize(deserializer)?;
        Ok(Self(number.unwrap_or(f32::NAN)))
    }
}

pub(crate) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    Number::deserialize(deserializer).map(|number| number.0)
}

pub(crate) fn pair<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f32; 2], D::Error> {
    <[Number; 2]>::deserialize(deserializer).map(|numbers| numbers.map(|number| number.0))
}

pub(crate) fn pair_if_known<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<[f32; 2]>, D::Error> {
    let numbers = Option::<[Number; 2]>::deserialize(deserializer)?;
    Ok(numbers.map(|numbers| numbers.map(|number| number.0)))
}

pub(crate) fn all<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    let numbers = Vec::<Number>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|number| number.0).collect())
}
