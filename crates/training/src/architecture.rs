//! Networks by name and input size: convolutions without padding, then fully connected layers.
//!
//! Every network here has this form: ReLU follows each layer but the last, and all weights are in
//! one list of numbers. The simulator's training has one of fixed size ([`crate::network`]);
//! training from recordings chooses by [`NetworkKind`].

use pilotage_simulator::Random;
use serde::Deserialize;

use crate::network::{CONVOLUTIONS, Convolution, HEIGHT, LINEARS, Span, WIDTH};

/// A network that can be trained from recordings, by its name in a training recipe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// Three convolutions and two hidden layers: for small inputs and slow processors.
    Small,
    /// PilotNet as in JdeRobot's DeepLearningStudio, which the shipped model is too.
    #[default]
    Pilotnet,
    /// PilotNet's form with more channels.
    Large,
    /// Donkeycar's `linear`: `default_n_linear` in donkeycar/parts/keras.py
    /// (github.com/autorope/donkeycar), with its dropout of 20 % after every hidden layer and
    /// without normalisation of the input. Its outputs are the elements of one tensor here.
    Linear,
}

/// The layers of a [`NetworkKind`]: channels, kernel and stride of the convolutions; the hidden
/// layers' sizes.
struct Layers {
    convolutions: &'static [(usize, usize, usize)],
    hidden: &'static [usize],
    dropout: f32,
    normalised: bool,
}

const SMALL: Layers = Layers {
    convolutions: &[(16, 5, 2), (24, 5, 2), (32, 3, 2)],
    hidden: &[64, 16],
    dropout: 0.0,
    normalised: true,
};
const PILOTNET: Layers = Layers {
    convolutions: &[(24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1)],
    hidden: &[1164, 100, 50, 10],
    dropout: 0.0,
    normalised: true,
};
const LARGE: Layers = Layers {
    convolutions: &[(32, 5, 2), (48, 5, 2), (64, 5, 2), (96, 3, 1), (128, 3, 1)],
    hidden: &[1024, 256, 32],
    dropout: 0.0,
    normalised: true,
};
const LINEAR: Layers = Layers {
    convolutions: &[(24, 5, 2), (32, 5, 2), (64, 5, 2), (64, 3, 1), (64, 3, 1)],
    hidden: &[100, 50],
    dropout: 0.2,
    normalised: false,
};

impl NetworkKind {
    /// The name in training recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Pilotnet => "pilotnet",
            Self::Large => "large",
            Self::Linear => "linear",
        }
    }

    const fn layers(self) -> Layers {
        match self {
            Self::Small => SMALL,
            Self::Pilotnet => PILOTNET,
            Self::Large => LARGE,
            Self::Linear => LINEAR,
        }
    }

    /// The least side of an input, pixels: the last convolution's output has one position.
    pub fn least_side(self) -> usize {
        let convolutions = self.layers().convolutions.iter().rev();
        convolutions.fold(1, |side, &(_, kernel, stride)| (side - 1) * stride + kernel)
    }
}

/// The most trained parameters of a network: 1 GiB of memory for the weights and Adam's state.
pub const MOST_PARAMETERS: usize = 1 << 26;

/// Why a network cannot have this input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchitectureError {
    /// The input is smaller than the convolutions need.
    #[error(
        "{width} x {height} is too small for the network \"{name}\", which needs at least {least} \
         x {least} pixels; enlarge the input, or use \"small\" (from {small} x {small})"
    )]
    TooSmall {
        /// The network's name.
        name: &'static str,
        /// The input's width, pixels.
        width: usize,
        /// The input's height, pixels.
        height: usize,
        /// The least side.
        least: usize,
        /// The least side of the smallest network.
        small: usize,
    },
    /// The network would have too many parameters.
    #[error(
        "{width} x {height} gives the network \"{name}\" {parameters} parameters, more than \
         {MOST_PARAMETERS}; reduce the input"
    )]
    TooLarge {
        /// The network's name.
        name: &'static str,
        /// The input's width, pixels.
        width: usize,
        /// The input's height, pixels.
        height: usize,
        /// The number of trained parameters.
        parameters: usize,
    },
}

/// The layers of a network and the positions of their weights.
#[derive(Debug, Clone)]
pub struct Architecture {
    /// The network's name; also the name of the ONNX graph.
    pub name: &'static str,
    /// Height, width and channels of the input.
    pub input: [usize; 3],
    /// The convolutions, in order.
    pub convolutions: Vec<Convolution>,
    /// Inputs and outputs of the fully connected layers, in order.
    pub linears: Vec<[usize; 2]>,
    /// The positions of each layer's weights: the convolutions, then the fully connected layers.
    pub spans: Vec<Span>,
    /// The share of each hidden layer's outputs that training drops (Srivastava et al., "Dropout",
    /// 2014); kept outputs are divided by the remaining share.
    pub dropout: f32,
    /// Whether the input is normalised by the statistics of the training pictures.
    pub normalised: bool,
}

impl Architecture {
    /// The network `kind` for an input of height, width and channels, with `outputs` outputs.
    ///
    /// # Errors
    /// When the input is too small for the convolutions, or so large that the network has more than
    /// [`MOST_PARAMETERS`] parameters.
    pub fn new(
        kind: NetworkKind,
        input: [usize; 3],
        outputs: usize,
    ) -> Result<Self, ArchitectureError> {
        let layers = kind.layers();
        let [height, width, _] = input;
        let least = kind.least_side();
        if height < least || width < least {
            return Err(ArchitectureError::TooSmall {
                name: kind.name(),
                width,
                height,
                least,
                small: NetworkKind::Small.least_side(),
            });
        }
        let mut map = input;
        let mut convolutions = Vec::new();
        for &(channels, kernel, stride) in layers.convolutions {
            let convolution = Convolution {
                input: map,
                channels,
                kernel,
                stride,
            };
            map = convolution.output();
            convolutions.push(convolution);
        }
        let mut inputs = map.iter().product();
        let mut linears = Vec::new();
        for &size in layers.hidden.iter().chain([&outputs]) {
            linears.push([inputs, size]);
            inputs = size;
        }
        let built = Self {
            name: kind.name(),
            input,
            spans: spans(&convolutions, &linears),
            convolutions,
            linears,
            dropout: layers.dropout,
            normalised: layers.normalised,
        };
        match built.parameters() {
            0..=MOST_PARAMETERS => Ok(built),
            parameters => Err(ArchitectureError::TooLarge {
                name: kind.name(),
                width,
                height,
                parameters,
            }),
        }
    }

    /// The network that is trained in the simulator ([`crate::network`]).
    pub fn of_the_simulator() -> Self {
        Self {
            name: "pilotnet",
            input: [HEIGHT, WIDTH, 3],
            convolutions: CONVOLUTIONS.to_vec(),
            linears: LINEARS.to_vec(),
            spans: spans(&CONVOLUTIONS, &LINEARS),
            dropout: 0.0,
            normalised: true,
        }
    }

    /// The number of layers with weights.
    pub fn layers(&self) -> usize {
        self.spans.len()
    }

    /// The number of trained parameters.
    pub fn parameters(&self) -> usize {
        self.spans.last().map_or(0, Span::end)
    }

    /// Numbers in one input picture.
    pub fn picture(&self) -> usize {
        self.input.iter().product()
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.linears.last().map_or(0, |&[_, outputs]| outputs)
    }

    /// Numbers in one picture's map after `layer` layers.
    pub fn map(&self, layer: usize) -> usize {
        match layer.checked_sub(self.convolutions.len() + 1) {
            None if layer == 0 => self.picture(),
            None => self.convolutions[layer - 1].outputs(),
            Some(linear) => self.linears[linear][1],
        }
    }

    /// Initial weights: uniform within sqrt(6 / inputs), with biases of zero (He et al., "Delving
    /// Deep into Rectifiers", 2015). The weights of the last layer are ten times smaller, and its
    /// biases are `last`, one for each output.
    pub fn fresh(&self, last: &[f32], seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        let mut values = vec![0.0; self.parameters()];
        for (layer, span) in self.spans.iter().enumerate() {
            let mut bound = libm::sqrt(6.0 / span.inputs as f64);
            if layer + 1 == self.layers() {
                bound *= 0.1;
            }
            for value in &mut values[span.start..span.bias()] {
                *value = random.range(-bound, bound) as f32;
            }
        }
        let start = self.spans.last().map_or(0, Span::bias);
        for (value, &bias) in values[start..].iter_mut().zip(last) {
            *value = bias;
        }
        values
    }
}

fn spans(convolutions: &[Convolution], linears: &[[usize; 2]]) -> Vec<Span> {
    let kernels = convolutions.iter().map(|c| [c.patch(), c.channels]);
    let mut start = 0;
    kernels
        .chain(linears.iter().copied())
        .map(|[inputs, outputs]| {
            let span = Span {
                start,
                inputs,
                outputs,
            };
            start = span.end();
            span
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{SPANS, Statistics, TRAINED, Weights};

    #[test]
    fn the_named_pilotnet_is_that_of_the_simulator() {
        let named = Architecture::new(NetworkKind::Pilotnet, [66, 200, 3], 2).unwrap();
        let fixed = Architecture::of_the_simulator();
        assert_eq!(named.parameters(), TRAINED);
        assert_eq!(format!("{:?}", named.spans), format!("{:?}", fixed.spans));
        assert_eq!(
            format!("{:?}", fixed.spans),
            format!("{:?}", SPANS.to_vec())
        );
        let statistics = Statistics {
            mean: [0.5; 3],
            variance: [0.1; 3],
        };
        assert_eq!(
            named.fresh(&[0.5; 2], 7),
            Weights::fresh(statistics, 7).values
        );
    }

    /// The numbers that Keras prints for Donkeycar's `linear` at 120 x 160 x 3: the convolutions
    /// have 1,824, 19,232, 51,264, 36,928 and 36,928 parameters; the map of 8 x 13 x 64 is
    /// flattened to 6,656; the dense layers have 665,700, 5,050, 51 and 51.
    #[test]
    fn linear_has_the_parameters_of_donkeycars() {
        let linear = Architecture::new(NetworkKind::Linear, [120, 160, 3], 2).unwrap();
        let layers: Vec<usize> = (linear.spans.iter())
            .map(|span| span.end() - span.start)
            .collect();
        let expected = [1824, 19232, 51264, 36928, 36928, 665_700, 5050, 102];
        assert_eq!(layers, expected);
        assert_eq!(linear.linears[0][0], 8 * 13 * 64);
    }

    #[test]
    fn the_least_side_is_the_least() {
        for kind in [
            NetworkKind::Small,
            NetworkKind::Pilotnet,
            NetworkKind::Linear,
        ] {
            let side = kind.least_side();
            assert!(
                Architecture::new(kind, [side, side, 1], 1).is_ok(),
                "{side}"
            );
            let error = Architecture::new(kind, [side, side - 1, 1], 1).unwrap_err();
            assert!(
                matches!(error, ArchitectureError::TooSmall { .. }),
                "{error}"
            );
        }
        let error = Architecture::new(NetworkKind::Pilotnet, [4096, 4096, 3], 2).unwrap_err();
        assert!(
            matches!(error, ArchitectureError::TooLarge { .. }),
            "{error}"
        );
    }
}
