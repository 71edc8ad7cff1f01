//! The network: PilotNet as in JdeRobot's DeepLearningStudio.
//!
//! Bojarski et al., "End to End Learning for Self-Driving Cars" (2016), with five fully connected
//! layers that end in two outputs. The input picture is rows of interleaved RGB, and all feature
//! maps have the same layout (height, width, channels).

use crate::architecture::Architecture;

/// Height of the network's input picture, in pixels.
pub const HEIGHT: usize = 66;
/// Width of the network's input picture, in pixels.
pub const WIDTH: usize = 200;
/// Bytes of one input picture: rows of interleaved RGB.
pub const PICTURE: usize = HEIGHT * WIDTH * 3;
/// The number of outputs: normalised speed and yaw rate.
pub const OUTPUTS: usize = 2;
/// Added to the variance when the input is normalised.
pub const EPSILON: f32 = 1e-3;

/// A convolution without padding, followed by ReLU.
#[derive(Debug, Clone, Copy)]
pub struct Convolution {
    /// Height, width and channels of the input.
    pub input: [usize; 3],
    /// Channels of the output.
    pub channels: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
}

impl Convolution {
    const fn new(input: [usize; 3], channels: usize, kernel: usize, stride: usize) -> Self {
        Self {
            input,
            channels,
            kernel,
            stride,
        }
    }

    /// Height, width and channels of the output.
    pub const fn output(&self) -> [usize; 3] {
        [
            (self.input[0] - self.kernel) / self.stride + 1,
            (self.input[1] - self.kernel) / self.stride + 1,
            self.channels,
        ]
    }

    /// Weights per output channel: kernel rows, kernel columns, input channels.
    pub const fn patch(&self) -> usize {
        self.kernel * self.kernel * self.input[2]
    }

    /// Numbers in one input map.
    pub const fn inputs(&self) -> usize {
        self.input[0] * self.input[1] * self.input[2]
    }

    /// Positions of the output map, each of [`channels`](Self::channels) numbers.
    pub const fn positions(&self) -> usize {
        let [height, width, _] = self.output();
        height * width
    }

    /// Numbers in one output map.
    pub const fn outputs(&self) -> usize {
        self.positions() * self.channels
    }
}

/// The convolutions, in order.
pub const CONVOLUTIONS: [Convolution; 5] = [
    Convolution::new([HEIGHT, WIDTH, 3], 24, 5, 2),
    Convolution::new([31, 98, 24], 36, 5, 2),
    Convolution::new([14, 47, 36], 48, 5, 2),
    Convolution::new([5, 22, 48], 64, 3, 1),
    Convolution::new([3, 20, 64], 64, 3, 1),
];

/// Inputs and outputs of the fully connected layers, in order. ReLU follows
/// all but the last.
pub const LINEARS: [[usize; 2]; 5] = [
    [1152, 1164],
    [1164, 100],
    [100, 50],
    [50, 10],
    [10, OUTPUTS],
];

/// The position of one layer's numbers in [`Weights`].
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Index of the first weight: `outputs` rows of `inputs` each.
    pub start: usize,
    /// The number of inputs of one output (for a convolution, the size of its patch).
    pub inputs: usize,
    /// The number of outputs (for a convolution, its channels).
    pub outputs: usize,
}

impl Span {
    /// Index of the first bias; the weights end here.
    pub const fn bias(&self) -> usize {
        self.start + self.inputs * self.outputs
    }

    /// Index after the last bias.
    pub const fn end(&self) -> usize {
        self.bias() + self.outputs
    }
}

/// The number of layers with weights: the convolutions, then the fully connected layers.
pub const LAYERS: usize = CONVOLUTIONS.len() + LINEARS.len();

/// The positions of all layers' numbers.
pub const SPANS: [Span; LAYERS] = spans();

/// The number of trained parameters.
pub const TRAINED: usize = SPANS[LAYERS - 1].end();

/// The number of all parameters, including the twelve of the input's batch normalisation (scale,
/// shift, mean and variance of each colour).
pub const PARAMETERS: usize = TRAINED + 12;

const fn spans() -> [Span; LAYERS] {
    let mut spans = [Span {
        start: 0,
        inputs: 0,
        outputs: 0,
    }; LAYERS];
    let mut start = 0;
    let mut layer = 0;
    while layer < LAYERS {
        let (inputs, outputs) = if layer < CONVOLUTIONS.len() {
            let convolution = CONVOLUTIONS[layer];
            (convolution.patch(), convolution.channels)
        } else {
            let [inputs, outputs] = LINEARS[layer - CONVOLUTIONS.len()];
            (inputs, outputs)
        };
        spans[layer] = Span {
            start,
            inputs,
            outputs,
        };
        start = spans[layer].end();
        layer += 1;
    }
    spans
}

/// Mean and variance of the input, by colour, on a scale of 0 to 1.
///
/// They are those of the input's batch normalisation. They are measured once on the data set. Scale
/// and shift stay 1 and 0, because the first convolution has no padding and can express any scale
/// and shift itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    /// Mean of each colour.
    pub mean: [f32; 3],
    /// Variance of each colour.
    pub variance: [f32; 3],
}

impl Statistics {
    /// Measures `pictures`, which are interleaved RGB bytes, one picture after another.
    pub fn measure(pictures: &[u8]) -> Self {
        let mut counts = [[0u64; 256]; 3];
        for pixel in pictures.chunks_exact(3) {
            for (count, &value) in counts.iter_mut().zip(pixel) {
                count[usize::from(value)] += 1;
            }
        }
        let pixels = (pictures.len() / 3).max(1) as f64;
        let mut statistics = Self {
            mean: [0.0; 3],
            variance: [0.0; 3],
        };
        for (colour, count) in counts.iter().enumerate() {
            let moment = |power: i32| {
                let values = count.iter().enumerate();
                values
                    .map(|(value, &n)| n as f64 * (value as f64 / 255.0).powi(power))
                    .sum::<f64>()
                    / pixels
            };
            let mean = moment(1);
            statistics.mean[colour] = mean as f32;
            statistics.variance[colour] = (moment(2) - mean * mean).max(0.0) as f32;
        }
        statistics
    }

    /// The normalised value of every byte, by colour.
    pub fn table(&self) -> [[f32; 256]; 3] {
        let mut table = [[0.0; 256]; 3];
        for (colour, values) in table.iter_mut().enumerate() {
            let deviation = libm::sqrtf(self.variance[colour] + EPSILON);
            for (byte, value) in values.iter_mut().enumerate() {
                *value = (byte as f32 / 255.0 - self.mean[colour]) / deviation;
            }
        }
        table
    }
}

/// The weights of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The normalisation of the input.
    pub statistics: Statistics,
    /// [`TRAINED`] numbers, with the layout of [`SPANS`].
    pub values: Vec<f32>,
}

impl Weights {
    /// Initial weights, as [`Architecture::fresh`] draws them. The biases of the last layer are the
    /// middle of the output range.
    pub fn fresh(statistics: Statistics, seed: u64) -> Self {
        let values = Architecture::of_the_simulator().fresh(&[0.5; OUTPUTS], seed);
        Self { statistics, values }
    }

    /// One layer's weights: a row of `inputs` for every output.
    pub fn matrix(&self, layer: usize) -> &[f32] {
        &self.values[SPANS[layer].start..SPANS[layer].bias()]
    }

    /// One layer's biases.
    pub fn bias(&self, layer: usize) -> &[f32] {
        &self.values[SPANS[layer].bias()..SPANS[layer].end()]
    }
}
