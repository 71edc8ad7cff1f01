//! Converts a network's outputs to controls.

use pilotage_engine::{BoundPath, Manifest, Meaning, NoPath, Output, PathDecoder, Port};
use pilotage_vehicle::Controls;

use super::MOST_OUTPUTS;

/// Why outputs cannot be decoded to controls.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The outputs are neither speed and yaw rate, nor steering and throttle, nor steering with a
    /// constant throttle.
    #[error(
        "the engine's outputs must mean `speed` and `yaw_rate`, or `steering` and `throttle`, \
         each once, or `steering` alone with a constant throttle; correct `[[output]]` in its \
         recipe"
    )]
    Meaning,
    /// The constant throttle is out of range.
    #[error(
        "the engine's constant throttle must be above 0 and at most 1, not {0}; correct \
         `throttle` in its recipe"
    )]
    Throttle(f32),
    /// A recipe names an output that the engine does not have.
    #[error("the engine has no element {index} of an output `{name}`; correct its recipe")]
    Missing {
        /// The output's name.
        name: String,
        /// The element.
        index: usize,
    },
    /// The path of the recipe's `[decoder]` is not among the engine's outputs.
    #[error(
        "the engine's output `{0}` has not the elements of its recipe's `[decoder]`; compile it again"
    )]
    Path(String),
    /// More outputs than a driving policy may have.
    #[error("the engine has {0} outputs, more than the {MOST_OUTPUTS} a driving policy may have")]
    TooMany(usize),
}

/// Converts a network's concatenated outputs to [`Controls`].
#[derive(Debug, Clone, PartialEq)]
pub struct Decoder {
    controls: Source,
}

/// What the controls are made of.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    Twist {
        speed: Slot,
        yaw_rate: Slot,
    },
    Direct {
        steering: Slot,
        throttle: Slot,
    },
    /// The network only steers.
    Steering {
        steering: Slot,
        throttle: f32,
    },
    /// A path, and the outputs beside it. It is bound to the engine's ports first.
    Path {
        decoder: Box<PathDecoder>,
        outputs: Vec<Output>,
        bound: Option<Box<BoundPath>>,
    },
}

#[derive(Debug, Clone, PartialEq)]
struct Slot {
    output: Output,
    position: usize,
}

impl Slot {
    fn value(&self, answers: &[f32]) -> f32 {
        let elements = answers.get(self.position..).unwrap_or_default();
        self.output.scale * self.output.number(elements) + self.output.offset
    }
}

impl Decoder {
    /// A decoder for the outputs that the recipe describes, and for the constant throttle of an
    /// engine that only steers: [`Manifest::outputs`](pilotage_engine::Manifest::outputs) and
    /// [`Manifest::throttle`](pilotage_engine::Manifest::throttle).
    ///
    /// # Errors
    /// Fails if the outputs, with the throttle, are not what makes controls.
    pub fn new(outputs: &[Output], throttle: Option<f32>) -> Result<Self, DecodeError> {
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
        let [speed, yaw_rate, steering, gas] = [
            Meaning::Speed,
            Meaning::YawRate,
            Meaning::Steering,
            Meaning::Throttle,
        ]
        .map(find);
        let controls = match (throttle, outputs.len(), steering) {
            (Some(throttle), 1, Some(steering)) if throttle > 0.0 && throttle <= 1.0 => {
                Source::Steering { steering, throttle }
            }
            (Some(throttle), 1, Some(_)) => return Err(DecodeError::Throttle(throttle)),
            (None, 2, steering) => match (speed.zip(yaw_rate), steering.zip(gas)) {
                (Some((speed, yaw_rate)), None) => Source::Twist { speed, yaw_rate },
                (None, Some((steering, throttle))) => Source::Direct { steering, throttle },
                _ => return Err(DecodeError::Meaning),
            },
            _ => return Err(DecodeError::Meaning),
        };
        Ok(Self { controls })
    }

    /// The decoder of an engine file.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(manifest: &Manifest) -> Result<Self, DecodeError> {
        let Some(decoder) = &manifest.decoder else {
            return Self::new(&manifest.outputs, manifest.throttle);
        };
        let controls = Source::Path {
            decoder: Box::new(decoder.clone()),
            outputs: manifest.outputs.clone(),
            bound: None,
        };
        Ok(Self { controls })
    }

    /// Finds each output among the engine's `ports`.
    ///
    /// # Errors
    /// Fails if an output is missing, or if there are too many.
    pub fn bind(&mut self, ports: &[Port]) -> Result<(), DecodeError> {
        if ports.len() > MOST_OUTPUTS {
            return Err(DecodeError::TooMany(ports.len()));
        }
        let (first, second) = match &mut self.controls {
            Source::Twist { speed, yaw_rate } => (speed, Some(yaw_rate)),
            Source::Direct { steering, throttle } => (steering, Some(throttle)),
            Source::Steering { steering, .. } => (steering, None),
            Source::Path { decoder, bound, .. } => {
                let lengths: Vec<(&str, usize)> = ports
                    .iter()
                    .map(|port| (port.name.as_str(), port.len()))
                    .collect();
                let found = decoder.bind(&lengths).map_err(DecodeError::Path)?;
                *bound = Some(Box::new(found));
                return Ok(());
            }
        };
        for slot in [Some(first), second].into_iter().flatten() {
            let mut before = 0;
            let found = ports.iter().find_map(|port| {
                let start = before;
                before += port.len();
                let (index, elements) = (slot.output.index, slot.output.elements());
                let end = index.checked_add(elements)?;
                let fits = port.name == slot.output.name && end <= port.len();
                fits.then_some(start + index)
            });
            slot.position = found.ok_or_else(|| DecodeError::Missing {
                name: slot.output.name.clone(),
                // The last that it takes.
                index: (slot.output.index).saturating_add(slot.output.elements().max(1) - 1),
            })?;
        }
        Ok(())
    }

    /// The outputs that make the controls.
    pub fn outputs(&self) -> Vec<Output> {
        let slots = match &self.controls {
            Source::Twist { speed, yaw_rate } => [Some(speed), Some(yaw_rate)],
            Source::Direct { steering, throttle } => [Some(steering), Some(throttle)],
            Source::Steering { steering, .. } => [Some(steering), None],
            Source::Path { outputs, .. } => return outputs.clone(),
        };
        let slots = slots.into_iter().flatten();
        slots.map(|slot| slot.output.clone()).collect()
    }

    /// Decodes `answers` to controls. NaN stays NaN, so that the guard refuses it.
    ///
    /// # Errors
    /// If a path is expected, and the answers are none that the car can follow.
    pub fn decode(&self, answers: &[f32]) -> Result<Controls, NoPath> {
        Ok(match &self.controls {
            Source::Twist { speed, yaw_rate } => Controls::Twist {
                speed: speed.value(answers),
                yaw_rate: yaw_rate.value(answers),
            },
            Source::Direct { steering, throttle } => Controls::Direct {
                steering: steering.value(answers),
                throttle: throttle.value(answers),
            },
            Source::Steering { steering, throttle } => Controls::Direct {
                steering: steering.value(answers),
                throttle: *throttle,
            },
            Source::Path { bound, .. } => {
                // Without a binding there is nothing to read the path from.
                let path = bound.as_ref().ok_or(NoPath::NotFinite)?;
                let command = path.command(answers)?;
                Controls::Twist {
                    speed: command.speed as f32,
                    yaw_rate: (command.speed * command.curvature) as f32,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pilotage_engine::{AxisOrder, Bins, Decode, ElementType};

    fn output(name: &str, index: usize, meaning: Meaning) -> Output {
        Output {
            name: name.into(),
            index,
            meaning,
            scale: 2.0,
            offset: 1.0,
            bins: None,
        }
    }

    fn port(name: &str, len: usize) -> Port {
        Port {
            name: name.into(),
            shape: vec![1, len],
            element_type: ElementType::F32,
            layout: AxisOrder::Model,
        }
    }

    #[test]
    fn one_output_of_two_numbers_as_pilotnet_has() {
        let uses = [
            output("controls", 1, Meaning::YawRate),
            output("controls", 0, Meaning::Speed),
        ];
        let mut decoder = Decoder::new(&uses, None).unwrap();
        decoder.bind(&[port("controls", 2)]).unwrap();
        let expected = Controls::Twist {
            speed: 7.0,
            yaw_rate: -1.0,
        };
        assert_eq!(decoder.decode(&[3.0, -1.0]).unwrap(), expected);
    }

    #[test]
    fn two_outputs_of_one_number_as_donkeycar_has() {
        let uses = [
            output("angle", 0, Meaning::Steering),
            output("throttle", 0, Meaning::Throttle),
        ];
        let mut decoder = Decoder::new(&uses, None).unwrap();
        decoder
            .bind(&[port("throttle", 1), port("other", 5), port("angle", 1)])
            .unwrap();
        let answers = [0.25, 9.0, 9.0, 9.0, 9.0, 9.0, -0.5];
        let expected = Controls::Direct {
            steering: 0.0,
            throttle: 1.5,
        };
        assert_eq!(decoder.decode(&answers).unwrap(), expected);
    }

    #[test]
    fn steering_alone_drives_with_the_constant_throttle() {
        let uses = [output("angle", 0, Meaning::Steering)];
        let mut decoder = Decoder::new(&uses, Some(0.15)).unwrap();
        decoder.bind(&[port("angle", 1)]).unwrap();
        let expected = Controls::Direct {
            steering: 0.5,
            throttle: 0.15,
        };
        assert_eq!(decoder.decode(&[-0.25]).unwrap(), expected);
        // An answer that is not a number stays one; the mixer and the guard refuse it.
        let Controls::Direct { steering, .. } = decoder.decode(&[f32::NAN]).unwrap() else {
            panic!("{decoder:?}");
        };
        assert!(steering.is_nan());

        assert_eq!(Decoder::new(&uses, None), Err(DecodeError::Meaning));
        for wrong in [0.0, -0.1, 1.01, f32::INFINITY] {
            assert_eq!(
                Decoder::new(&uses, Some(wrong)),
                Err(DecodeError::Throttle(wrong))
            );
        }
        assert!(Decoder::new(&uses, Some(f32::NAN)).is_err());
        let speed = [output("speed", 0, Meaning::Speed)];
        assert_eq!(Decoder::new(&speed, Some(0.1)), Err(DecodeError::Meaning));
        let both = [uses[0].clone(), output("gas", 0, Meaning::Throttle)];
        assert_eq!(Decoder::new(&both, Some(0.1)), Err(DecodeError::Meaning));
    }

    /// Donkeycar's categorical model: 15 bins for the angle, which is positive to the right, and 20
    /// for the throttle.
    #[test]
    fn bins_as_donkeycar_has() {
        let bins = |count, first, last| {
            let decode = Decode::Argmax;
            Some(Bins {
                count,
                first,
                last,
                decode,
            })
        };
        let mut steering = output("angle_out", 0, Meaning::Steering);
        (steering.scale, steering.offset, steering.bins) = (-1.0, 0.0, bins(15, -1.0, 1.0));
        let mut gas = output("throttle_out", 0, Meaning::Throttle);
        (gas.scale, gas.offset, gas.bins) = (1.0, 0.0, bins(20, 0.0, 0.475));
        let mut decoder = Decoder::new(&[steering, gas], None).unwrap();
        let ports = [port("angle_out", 15), port("throttle_out", 20)];
        decoder.bind(&ports).unwrap();
        let mut answers = [0.01; 35];
        answers[14] = 0.9;
        answers[15 + 8] = 0.5;
        let Controls::Direct { steering, throttle } = decoder.decode(&answers).unwrap() else {
            panic!("{decoder:?}");
        };
        assert!((steering + 1.0).abs() < 1e-6, "{steering}");
        assert!((throttle - 0.2).abs() < 1e-6, "{throttle}");
        // The elements of the other output do not matter.
        answers[14] = f32::NAN;
        let Controls::Direct { steering, throttle } = decoder.decode(&answers).unwrap() else {
            panic!("{decoder:?}");
        };
        assert!(steering.is_nan() && (throttle - 0.2).abs() < 1e-6);

        let short = [port("angle_out", 14), port("throttle_out", 20)];
        let missing = DecodeError::Missing {
            name: "angle_out".into(),
            index: 14,
        };
        assert_eq!(decoder.bind(&short), Err(missing));
    }

    #[test]
    fn invalid_outputs_are_refused() {
        let mixed = [
            output("a", 0, Meaning::Speed),
            output("b", 0, Meaning::Steering),
        ];
        assert_eq!(Decoder::new(&mixed, None), Err(DecodeError::Meaning));
        let twice = [
            output("a", 0, Meaning::Speed),
            output("a", 1, Meaning::Speed),
            output("a", 2, Meaning::YawRate),
        ];
        assert_eq!(Decoder::new(&twice, None), Err(DecodeError::Meaning));
    }

    #[test]
    fn a_missing_element_is_named() {
        let uses = [
            output("controls", 0, Meaning::Speed),
            output("controls", 2, Meaning::YawRate),
        ];
        let mut decoder = Decoder::new(&uses, None).unwrap();
        assert_eq!(
            decoder.bind(&[port("controls", 2)]),
            Err(DecodeError::Missing {
                name: "controls".into(),
                index: 2
            })
        );
    }
}
