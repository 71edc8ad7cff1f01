//! Networks by name and input size: convolutions, then fully connected layers.
//!
//! ReLU follows each layer but the last. [`Architecture::graph`] makes the graph, with random
//! weights.

use pilotage_graph::{Conv, ElementType, Graph, GraphBuilder, Op, Tensor, TensorType, ValueId};
use pilotage_simulator::Random;
use pilotage_vision::Layout;
use serde::Deserialize;

use crate::export::{ExportError, FULLY_CONNECTED};
use crate::network::{EPSILON, Statistics};

/// A network that can be trained from recordings, by its name in a training recipe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// Three convolutions and two hidden layers: for small inputs and slow processors.
    Small,
    /// PilotNet as in JdeRobot's DeepLearningStudio, which the shipped model is too.
    #[default]
    Pilotnet,
    /// PilotNet as in DeepLearningStudio's TensorFlow code: its convolutions keep the size of their
    /// input but for the stride (`padding="same"`), so that its first hidden layer has ten times the
    /// weights.
    #[serde(rename = "pilotnet-same")]
    PilotnetSame,
    /// PilotNet's form with more channels.
    Large,
    /// Donkeycar's `linear`: `default_n_linear` in donkeycar/parts/keras.py
    /// (github.com/autorope/donkeycar), with its dropout of 20 % after every hidden layer and
    /// without normalization of the input. Its outputs are the elements of one tensor here.
    Linear,
}

/// The layers of a [`NetworkKind`]: channels, kernel and stride of the convolutions, and whether
/// their input is padded; the hidden layers' sizes.
struct Layers {
    convolutions: &'static [(usize, usize, usize)],
    padded: bool,
    hidden: &'static [usize],
    dropout: f32,
    normalised: bool,
}

const SMALL: Layers = Layers {
    convolutions: &[(16, 5, 2), (24, 5, 2), (32, 3, 2)],
    padded: false,
    hidden: &[64, 16],
    dropout: 0.0,
    normalised: true,
};
const PILOTNET: Layers = Layers {
    convolutions: &[(24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1)],
    padded: false,
    hidden: &[1164, 100, 50, 10],
    dropout: 0.0,
    normalised: true,
};
const PILOTNET_SAME: Layers = Layers {
    padded: true,
    ..PILOTNET
};
const LARGE: Layers = Layers {
    convolutions: &[(32, 5, 2), (48, 5, 2), (64, 5, 2), (96, 3, 1), (128, 3, 1)],
    padded: false,
    hidden: &[1024, 256, 32],
    dropout: 0.0,
    normalised: true,
};
const LINEAR: Layers = Layers {
    convolutions: &[(24, 5, 2), (32, 5, 2), (64, 5, 2), (64, 3, 1), (64, 3, 1)],
    padded: false,
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
            Self::PilotnetSame => "pilotnet-same",
            Self::Large => "large",
            Self::Linear => "linear",
        }
    }

    const fn layers(self) -> Layers {
        match self {
            Self::Small => SMALL,
            Self::Pilotnet => PILOTNET,
            Self::PilotnetSame => PILOTNET_SAME,
            Self::Large => LARGE,
            Self::Linear => LINEAR,
        }
    }

    /// The least side of an input, pixels: the last convolution's output has one position.
    pub fn least_side(self) -> usize {
        let layers = self.layers();
        if layers.padded {
            return 1;
        }
        let convolutions = layers.convolutions.iter().rev();
        convolutions.fold(1, |side, &(_, kernel, stride)| (side - 1) * stride + kernel)
    }
}

/// The most trained parameters of a network: 1 GiB of memory for the weights and Adam's state.
pub const MOST_PARAMETERS: usize = 1 << 26;

/// A layer of more inputs learns at a reduced rate.
const FULL_RATE_INPUTS: usize = 8_192;
/// The inputs of PilotNet's first hidden layer, for which the usual rates are.
const USUAL_INPUTS: f32 = 1_152.0;

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

/// A convolution, followed by ReLU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Height, width and channels of the input.
    pub input: [usize; 3],
    /// Channels of the output.
    pub channels: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Whether zeros are added around the input so that the output has as many positions as the
    /// stride leaves.
    pub padded: bool,
}

impl Convolution {
    /// Height, width and channels of the output.
    pub const fn output(&self) -> [usize; 3] {
        let [height, width, _] = self.input;
        [self.positions(height), self.positions(width), self.channels]
    }

    const fn positions(&self, size: usize) -> usize {
        match self.padded {
            true => size.div_ceil(self.stride),
            false => (size - self.kernel) / self.stride + 1,
        }
    }

    /// The zeros above and left of the input, and below and right of it. Of an odd number, one more
    /// is at the end, as TensorFlow has them
    /// (<https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2>).
    const fn pads(&self) -> [usize; 4] {
        let [height, width, _] = self.input;
        let ([top, bottom], [left, right]) = (self.pad(height), self.pad(width));
        [top, left, bottom, right]
    }

    const fn pad(&self, size: usize) -> [usize; 2] {
        let covered = (self.positions(size) - 1) * self.stride + self.kernel;
        let zeros = covered.saturating_sub(size);
        [zeros / 2, zeros - zeros / 2]
    }

    /// Weights of an output channel.
    const fn patch(&self) -> usize {
        self.kernel * self.kernel * self.input[2]
    }
}

/// The layers of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// The network's name; also the name of the ONNX graph.
    pub name: &'static str,
    /// Height, width and channels of the input.
    pub input: [usize; 3],
    /// The convolutions, in order.
    pub convolutions: Vec<Convolution>,
    /// Inputs and outputs of the fully connected layers, in order.
    pub linears: Vec<[usize; 2]>,
    /// The share of each hidden layer's outputs that training drops (Srivastava et al., "Dropout",
    /// 2014); kept outputs are divided by the remaining share.
    pub dropout: f32,
    /// Whether the input is normalised by the statistics of the training pictures.
    pub normalised: bool,
    /// The names of inputs of one number each, 1x1, which the first fully connected layer takes before
    /// the features of the picture.
    pub numbers: Vec<String>,
}

/// One layer: its name, and the shape of its weights.
struct Layer {
    name: String,
    op: Op,
    weights: Vec<usize>,
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
                padded: layers.padded,
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
            convolutions,
            linears,
            dropout: layers.dropout,
            normalised: layers.normalised,
            numbers: Vec::new(),
        };
        match built.parameters().iter().sum::<usize>() {
            0..=MOST_PARAMETERS => Ok(built),
            parameters => Err(ArchitectureError::TooLarge {
                name: kind.name(),
                width,
                height,
                parameters,
            }),
        }
    }

    /// The same network with an input of 1x1 for each of `numbers`, beside the picture.
    #[must_use]
    pub fn with_numbers(mut self, numbers: Vec<String>) -> Self {
        if let Some([inputs, _]) = self.linears.first_mut() {
            *inputs += numbers.len();
            *inputs -= self.numbers.len();
        }
        self.numbers = numbers;
        self
    }

    /// The number of trained parameters of each layer.
    pub fn parameters(&self) -> Vec<usize> {
        let convolutions = self.convolutions.iter();
        let convolutions = convolutions.map(|layer| (layer.patch() + 1) * layer.channels);
        let linears = self.linears.iter();
        let linears = linears.map(|[inputs, outputs]| (inputs + 1) * outputs);
        convolutions.chain(linears).collect()
    }

    fn layers(&self) -> Vec<Layer> {
        let convolutions = self.convolutions.iter().enumerate().map(|(index, layer)| {
            let kernel = [layer.kernel; 2];
            Layer {
                name: format!("conv{}", index + 1),
                op: Op::Conv(Conv {
                    kernel,
                    strides: [layer.stride; 2],
                    pads: layer.pads(),
                    dilations: [1, 1],
                    groups: 1,
                }),
                weights: vec![layer.channels, layer.input[2], kernel[0], kernel[1]],
            }
        });
        let linears = self.linears.iter().enumerate();
        let linears = linears.map(|(index, &[inputs, outputs])| Layer {
            name: format!("fc{}", index + 1),
            op: Op::Gemm(FULLY_CONNECTED),
            weights: vec![outputs, inputs],
        });
        convolutions.chain(linears).collect()
    }

    /// The weights whose learning rate is reduced, with the factor: those of layers with very many
    /// inputs. Each step of Adam changes all weights of a layer by about the rate, and so the layer's
    /// sums in proportion to its inputs; at the full rate the padded PilotNet's first hidden layer
    /// answers a constant after a few steps, and does not learn.
    pub fn rate_factors(&self) -> Vec<(String, f32)> {
        let linears = self.linears.iter().enumerate();
        let large = linears.filter(|(_, [inputs, _])| *inputs > FULL_RATE_INPUTS);
        large
            .map(|(index, &[inputs, _])| {
                let factor = USUAL_INPUTS / inputs as f32;
                (format!("fc{}.weight", index + 1), factor)
            })
            .collect()
    }

    /// The nodes whose outputs training drops, with the share.
    pub fn dropouts(&self) -> Vec<(String, f32)> {
        let layers = self.layers();
        let hidden = layers.split_last().map_or(&[][..], |(_, hidden)| hidden);
        let nodes = hidden.iter().map(|layer| (relu(layer), self.dropout));
        nodes.filter(|&(_, share)| share > 0.0).collect()
    }

    /// The network with random weights: input `image`, float32, one picture in `layout`, before the
    /// normalization by `statistics` if the network has one; then the numbers; output `controls`,
    /// float32, 1 x outputs.
    ///
    /// Weights are uniform within sqrt(6 / inputs), with biases of zero (He et al., "Delving Deep
    /// into Rectifiers", 2015). The weights of the last layer are ten times smaller, and its biases
    /// are `last`, one for each output, so that the network answers about `last`.
    ///
    /// # Errors
    /// If `last` has another length.
    pub fn graph(
        &self,
        statistics: &Statistics,
        last: &[f32],
        layout: Layout,
        seed: u64,
    ) -> Result<Graph, ExportError> {
        let mut random = Random::new(seed);
        let mut graph = GraphBuilder::new(self.name);
        let [height, width, channels] = self.input;
        let axes = match layout {
            Layout::Nchw => [1, channels, height, width],
            Layout::Nhwc => [1, height, width, channels],
        };
        let mut value = graph.input("image", TensorType::new(ElementType::F32, axes))?;
        let number = TensorType::new(ElementType::F32, [1, 1]);
        let numbers = self.numbers.iter();
        let mut joined = numbers
            .map(|name| graph.input(name.clone(), number.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        if layout == Layout::Nhwc {
            let perm = vec![0, 3, 1, 2];
            value = graph.node("planes", Op::Transpose { perm }, &[value])?;
        }
        if self.normalised {
            value = normalization(&mut graph, value, statistics, channels)?;
        }
        let layers = self.layers();
        for (index, layer) in layers.iter().enumerate() {
            if index == self.convolutions.len() {
                value = graph.node("flatten", Op::Flatten { axis: 1 }, &[value])?;
                if !joined.is_empty() {
                    joined.push(value);
                    value = graph.node("joined", Op::Concat { axis: 1 }, &joined)?;
                }
            }
            let is_last = index + 1 == layers.len();
            let units = layer.weights[0];
            let bias = if is_last {
                last.to_vec()
            } else {
                vec![0.0; units]
            };
            let shrink = if is_last { 0.1 } else { 1.0 };
            let parameters = [
                weights(layer, shrink, &mut random)?,
                constant(&[units], bias)?,
            ];
            value = add_layer(&mut graph, layer, value, parameters)?;
            if !is_last {
                value = graph.node(relu(layer), Op::Relu, &[value])?;
            }
        }
        graph.output("controls", value)?;
        Ok(graph.finish()?)
    }
}

fn relu(layer: &Layer) -> String {
    format!("{}.relu", layer.name)
}

fn weights(layer: &Layer, shrink: f64, random: &mut Random) -> Result<Tensor, ExportError> {
    let inputs: usize = layer.weights[1..].iter().product();
    let bound = shrink * libm::sqrt(6.0 / inputs as f64);
    let count = inputs * layer.weights[0];
    let values = (0..count).map(|_| random.range(-bound, bound) as f32);
    constant(&layer.weights, values.collect())
}

fn constant(shape: &[usize], values: Vec<f32>) -> Result<Tensor, ExportError> {
    Ok(Tensor::new(shape, values)?)
}

fn add_layer(
    graph: &mut GraphBuilder,
    layer: &Layer,
    value: ValueId,
    [weights, bias]: [Tensor; 2],
) -> Result<ValueId, ExportError> {
    let weights = graph.constant(format!("{}.weight", layer.name), weights)?;
    let bias = graph.constant(format!("{}.bias", layer.name), bias)?;
    let inputs = [value, weights, bias];
    Ok(graph.node(layer.name.clone(), layer.op.clone(), &inputs)?)
}

fn normalization(
    graph: &mut GraphBuilder,
    value: ValueId,
    statistics: &Statistics,
    channels: usize,
) -> Result<ValueId, ExportError> {
    let Statistics { mean, variance } = statistics;
    let mut norm = vec![value];
    for (name, numbers) in [
        ("scale", &[1.0; 3]),
        ("shift", &[0.0; 3]),
        ("mean", mean),
        ("variance", variance),
    ] {
        // Several pictures one behind the other have the same statistics.
        let of_picture = if channels.is_multiple_of(3) { 3 } else { 1 };
        let numbers = (0..channels).map(|channel| numbers[channel % of_picture]);
        let tensor = constant(&[channels], numbers.collect())?;
        norm.push(graph.constant(format!("norm.{name}"), tensor)?);
    }
    let op = Op::BatchNormalization { epsilon: EPSILON };
    Ok(graph.node("norm", op, &norm)?)
}

#[cfg(test)]
mod tests;
