//! Converts a network's outputs to controls.

use pilotage_engine::{Meaning, Output, Port};
use pilotage_vehicle::Controls;

use super::MOST_OUTPUTS;

/// Why outputs cannot be decoded to controls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The outputs are neither speed and yaw rate nor steering and throttle.
    #[error(
        "the engine's outputs must mean `speed` and `yaw_rate`, or `steering` and `throttle`, \
         each once; correct `[[output]]` in its recipe"
    )]
    Meaning,
    /// A recipe names an output that the engine does not have.
    #[error("the engine has no element {index} of an output `{name}`; correct its recipe")]
    Missing {
        /// The output's name.
        name: String,
        /// The element.
        index: usize,
    },
    /// More outputs than a driving policy may have.
    #[error("the engine has {0} outputs, more than the {MOST_OUTPUTS} a driving policy may have")]
    TooMany(usize),
}

/// Converts a network's concatenated outputs to [`Controls`].
#[derive(Debug, Clone, PartialEq)]
pub struct Decoder {
    twist: bool,
    first: Slot,
    second: Slot,
}

#[derive(Debug, Clone, PartialEq)]
struct Slot {
    output: Output,
    position: usize,
}

impl Decoder {
    /// A decoder for the outputs that the recipe describes.
    ///
    /// # Errors
    /// Fails if the outputs are not a pair that makes controls.
    pub fn new(outputs: &[Output]) -> Result<Self, DecodeError> {
        let find = |meaning| {
            let mut found = outputs.iter().filter(|output| output.meaning == meaning);
            match (found.next(), found.next()) {
                (Some(output), None) => Some(Slot {
                    output: output.clone(),
                    position: output.index,
                }),
                _ => None,
            }
        };
        let twist = find(Meaning::Speed).zip(find(Meaning::YawRate));
        let direct = find(Meaning::Steering).zip(find(Meaning::Throttle));
        match (twist, direct, outputs.len()) {
            (Some((first, second)), None, 2) => Ok(Self {
                twist: true,
                first,
                second,
            }),
            (None, Some((first, second)), 2) => Ok(Self {
                twist: false,
                first,
                second,
            }),
            _ => Err(DecodeError::Meaning),
        }
    }

    /// Finds each output among the engine's `ports`.
    ///
    /// # Errors
    /// Fails if an output is missing, or if there are too many.
    pub fn bind(&mut self, ports: &[Port]) -> Result<(), DecodeError> {
        if ports.len() > MOST_OUTPUTS {
            return Err(DecodeError::TooMany(ports.len()));
        }
        for slot in [&mut self.first, &mut self.second] {
            let mut before = 0;
            let found = ports.iter().find_map(|port| {
                let start = before;
                before += port.len();
                let fits = port.name == slot.output.name && slot.output.index < port.len();
                fits.then_some(start + slot.output.index)
            });
            slot.position = found.ok_or_else(|| DecodeError::Missing {
                name: slot.output.name.clone(),
                index: slot.output.index,
            })?;
        }
        Ok(())
    }

    /// Decodes `answers` to controls. NaN stays NaN, so that the guard refuses it.
    pub fn decode(&self, answers: &[f32]) -> Controls {
        let value = |slot: &Slot| {
            let raw = answers.get(slot.position).copied().unwrap_or(f32::NAN);
            slot.output.scale * raw + slot.output.offset
        };
        let (first, second) = (value(&self.first), value(&self.second));
        if self.twist {
            Controls::Twist {
                speed: first,
                yaw_rate: second,
            }
        } else {
            Controls::Direct {
                steering: first,
                throttle: second,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pilotage_engine::{ElementType, Layout};

    fn output(name: &str, index: usize, meaning: Meaning) -> Output {
        Output {
            name: name.into(),
            index,
            meaning,
            scale: 2.0,
            offset: 1.0,
        }
    }

    fn port(name: &str, len: usize) -> Port {
        Port {
            name: name.into(),
            shape: vec![1, len],
            element_type: ElementType::F32,
            layout: Layout::Plain,
        }
    }

    #[test]
    fn one_output_of_two_numbers_as_pilotnet_has() {
        let uses = [
            output("controls", 1, Meaning::YawRate),
            output("controls", 0, Meaning::Speed),
        ];
        let mut decoder = Decoder::new(&uses).unwrap();
        decoder.bind(&[port("controls", 2)]).unwrap();
        let expected = Controls::Twist {
            speed: 7.0,
            yaw_rate: -1.0,
        };
        assert_eq!(decoder.decode(&[3.0, -1.0]), expected);
    }

    #[test]
    fn two_outputs_of_one_number_as_donkeycar_has() {
        let uses = [
            output("angle", 0, Meaning::Steering),
            output("throttle", 0, Meaning::Throttle),
        ];
        let mut decoder = Decoder::new(&uses).unwrap();
        decoder
            .bind(&[port("throttle", 1), port("other", 5), port("angle", 1)])
            .unwrap();
        let answers = [0.25, 9.0, 9.0, 9.0, 9.0, 9.0, -0.5];
        let expected = Controls::Direct {
            steering: 0.0,
            throttle: 1.5,
        };
        assert_eq!(decoder.decode(&answers), expected);
    }

    #[test]
    fn invalid_outputs_are_refused() {
        let mixed = [
            output("a", 0, Meaning::Speed),
            output("b", 0, Meaning::Steering),
        ];
        assert_eq!(Decoder::new(&mixed), Err(DecodeError::Meaning));
        let twice = [
            output("a", 0, Meaning::Speed),
            output("a", 1, Meaning::Speed),
            output("a", 2, Meaning::YawRate),
        ];
        assert_eq!(Decoder::new(&twice), Err(DecodeError::Meaning));
    }

    #[test]
    fn a_missing_element_is_named() {
        let uses = [
            output("controls", 0, Meaning::Speed),
            output("controls", 2, Meaning::YawRate),
        ];
        let mut decoder = Decoder::new(&uses).unwrap();
        assert_eq!(
            decoder.bind(&[port("controls", 2)]),
            Err(DecodeError::Missing {
                name: "controls".into(),
                index: 2
            })
        );
    }
}
