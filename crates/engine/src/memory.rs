//! What a network gets beside the present picture: earlier pictures, what it answered before, and its
//! own state.

use serde::{Deserialize, Serialize};

use crate::Meaning;

/// The most pictures that an input consists of.
pub const MOST_PICTURES: usize = 64;

/// The rules for the inputs of a network with a memory: `[memory]` in a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// How many pictures the input consists of: the present one, and those before it.
    pub pictures: usize,
    /// Where the pictures lie in the input.
    pub axis: PictureAxis,
    /// What happens if a frame was missed.
    pub after_gap: AfterGap,
    /// Outputs that the network gets as inputs with the next frame.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<StateRule>,
    /// Inputs that are numbers of the car.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signal: Vec<SignalRule>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            pictures: 1,
            axis: PictureAxis::default(),
            after_gap: AfterGap::default(),
            state: Vec::new(),
            signal: Vec::new(),
        }
    }
}

impl Memory {
    /// Whether the present picture is all that the network gets.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an answer depends on the answers before it.
    pub fn depends_on_answers(&self) -> bool {
        !self.state.is_empty() || !self.signal.is_empty()
    }

    /// The names of the inputs that are not pictures.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let states = self.state.iter().map(|state| state.input.as_str());
        states.chain(self.signal.iter().map(|signal| signal.input.as_str()))
    }
}

/// Where several pictures lie in the input. The oldest is always first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PictureAxis {
    /// One behind the other along the axis of the channels.
    #[default]
    Channels,
    /// Along an axis of their own, after the batch.
    Time,
}

/// What happens to the memory if a frame was missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterGap {
    /// Nothing: the memory is that of the latest frame that arrived.
    #[default]
    Hold,
    /// It starts anew: states have their start values, and the present picture stands for those
    /// before it.
    Reset,
    /// The car stops.
    Stop,
}

/// An output that is fed back: `[[memory.state]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateRule {
    /// The input's name in the model.
    pub input: String,
    /// The output's name in the model.
    pub output: String,
    /// The input with the first frame.
    #[serde(default = "zero")]
    pub start: ElementNumbers,
}

/// Numbers of the elements of an input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ElementNumbers {
    /// One number for every element.
    All(f32),
    /// One number for each element, in the model's order.
    Each(Vec<f32>),
}

impl ElementNumbers {
    /// Whether all are finite.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::All(number) => number.is_finite(),
            Self::Each(numbers) => numbers.iter().all(|number| number.is_finite()),
        }
    }

    /// The numbers of `count` elements; `None` if there are more or fewer, or one is not finite.
    pub fn numbers(&self, count: usize) -> Option<Vec<f32>> {
        let numbers = match self {
            Self::All(number) => vec![*number; count],
            Self::Each(numbers) => numbers.clone(),
        };
        let fits = numbers.len() == count && self.is_finite();
        fits.then_some(numbers)
    }
}

/// An input of numbers of the car: `[[memory.signal]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalRule {
    /// The input's name in the model.
    pub input: String,
    /// Its elements: what the network answered to the latest frame, in the car's unit; 0 with the
    /// first.
    pub values: Vec<Meaning>,
    /// Factor of each number.
    #[serde(default = "one")]
    pub scale: f32,
    /// Added after the multiplication.
    #[serde(default)]
    pub offset: f32,
}

const fn zero() -> ElementNumbers {
    ElementNumbers::All(0.0)
}

fn one() -> f32 {
    1.0
}
