//! Training with burn: the same network, loss and Adam on any of burn's devices.
//!
//! burn uses maps with one plane per channel, so weights are reordered when they are passed in and
//! out (`planes`). Only the arithmetic is burn's: samples, rates and checkpoints are the same as
//! with this crate's own trainer.

use burn::optim::{Adam, AdamConfig, Optimizer};
use burn::tensor::activation::relu;
use burn::tensor::module::{conv2d, linear};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rayon::prelude::*;

use crate::architecture::Architecture;
use crate::dataset::Sample;
use crate::network::{CONVOLUTIONS, HEIGHT, OUTPUTS, PICTURE, SPANS, Statistics, WIDTH, Weights};
use crate::planes::{order, planes};
use crate::trainer::{Fill, Learn, LearnError, importance};

/// Trained values, with Adam's state for them.
struct Parameter<const D: usize> {
    value: Tensor<D>,
    state: Option<<Adam as Optimizer>::State<D>>,
}

impl<const D: usize> Parameter<D> {
    fn new(values: Vec<f32>, shape: [usize; D], device: &Device) -> Self {
        Self {
            value: Tensor::from_data(TensorData::new(values, shape), device),
            state: None,
        }
    }

    /// The value as a leaf of a graph that computes its gradient.
    fn tracked(&self) -> Tensor<D> {
        self.value.clone().autodiff().require_grad()
    }

    /// One step of Adam with the gradient of `tracked`.
    fn step(&mut self, adam: &Adam, rate: f32, tracked: &Tensor<D>, slopes: &mut Gradients) {
        if let Some(slope) = tracked.grad_remove(slopes) {
            let (value, state) = (self.value.clone(), self.state.take());
            (self.value, self.state) = adam.step(f64::from(rate), value, slope, state);
        }
    }
}

/// A layer's weights and bias: `D` is 4 for a convolution (out, channel, row, column), and 2 for a
/// fully connected layer (out, input).
struct Layer<const D: usize> {
    weights: Parameter<D>,
    bias: Parameter<1>,
}

impl<const D: usize> Layer<D> {
    fn new(from: &Weights, layer: usize, shape: [usize; D], device: &Device) -> Self {
        let matrix = planes(&Architecture::of_the_simulator(), &from.values, layer);
        let bias = from.bias(layer).to_vec();
        let outputs = bias.len();
        Self {
            weights: Parameter::new(matrix, shape, device),
            bias: Parameter::new(bias, [outputs], device),
        }
    }

    fn tracked(&self) -> (Tensor<D>, Tensor<1>) {
        (self.weights.tracked(), self.bias.tracked())
    }

    fn step(
        &mut self,
        adam: &Adam,
        rate: f32,
        tracked: &(Tensor<D>, Tensor<1>),
        slopes: &mut Gradients,
    ) {
        self.weights.step(adam, rate, &tracked.0, slopes);
        self.bias.step(adam, rate, &tracked.1, slopes);
    }

    /// Writes the trained values to `values`, which has the layout of [`Weights`].
    fn write(&self, layer: usize, values: &mut [f32]) -> Result<(), LearnError> {
        let span = SPANS[layer];
        let matrix = &mut values[span.start..span.bias()];
        let places = order(&Architecture::of_the_simulator(), layer);
        for (place, value) in places.into_iter().zip(numbers(&self.weights.value)?) {
            matrix[place] = value;
        }
        values[span.bias()..span.end()].copy_from_slice(&numbers(&self.bias.value)?);
        Ok(())
    }
}

fn numbers<const D: usize>(tensor: &Tensor<D>) -> Result<Vec<f32>, LearnError> {
    let failed = |problem: String| LearnError::Device { problem };
    let data = tensor
        .try_to_data()
        .map_err(|error| failed(error.to_string()))?;
    data.try_into_vec()
        .map_err(|error| failed(error.to_string()))
}

/// The weights with their optimiser, on one of burn's devices.
pub struct BurnTrainer {
    statistics: Statistics,
    device: Device,
    adam: Adam,
    convolutions: Vec<Layer<4>>,
    linears: Vec<Layer<2>>,
}

impl BurnTrainer {
    /// Starts from `weights` on `device`.
    pub fn new(weights: &Weights, device: Device) -> Self {
        let mut convolutions = Vec::new();
        let mut linears = Vec::new();
        for (layer, span) in SPANS.iter().enumerate() {
            match CONVOLUTIONS.get(layer) {
                Some(convolution) => {
                    let side = convolution.kernel;
                    let shape = [span.outputs, convolution.input[2], side, side];
                    convolutions.push(Layer::new(weights, layer, shape, &device));
                }
                None => {
                    let shape = [span.outputs, span.inputs];
                    linears.push(Layer::new(weights, layer, shape, &device));
                }
            }
        }
        Self {
            statistics: weights.statistics,
            device,
            // burn's default for epsilon differs from this crate's.
            adam: AdamConfig::new().with_epsilon(1e-8).build(),
            convolutions,
            linears,
        }
    }
}

/// The result of a forward and a backward pass over a batch.
struct BatchResult {
    /// The unweighted mean squared error.
    error: f64,
    /// The leaves of the graph: kernels and matrices, each with its bias.
    convolutions: Vec<(Tensor<4>, Tensor<1>)>,
    linears: Vec<(Tensor<2>, Tensor<1>)>,
    /// The gradients of the leaves.
    slopes: Gradients,
}

impl BurnTrainer {
    /// The network's outputs for pictures (picture, channel, row, column).
    fn forward(
        pictures: Tensor<4>,
        convolutions: &[(Tensor<4>, Tensor<1>)],
        linears: &[(Tensor<2>, Tensor<1>)],
    ) -> Tensor<2> {
        let mut map = pictures;
        for ((kernel, bias), convolution) in convolutions.iter().zip(&CONVOLUTIONS) {
            let stride = [convolution.stride; 2];
            let options = ConvOptions::new(stride, [0, 0], [1, 1], 1);
            map = relu(conv2d(map, kernel.clone(), Some(bias.clone()), options));
        }
        let mut rows: Tensor<2> = map.flatten(1, 3);
        for (index, (matrix, bias)) in linears.iter().enumerate() {
            rows = linear(rows, matrix.clone().transpose(), Some(bias.clone()));
            if index + 1 < linears.len() {
                rows = relu(rows);
            }
        }
        rows
    }

    fn backward(&self, batch: &[Sample], fill: &Fill<'_>) -> Result<BatchResult, LearnError> {
        let count = batch.len();
        let mut pictures = vec![0.0; count * PICTURE];
        let expected: Vec<[f32; OUTPUTS]> = pictures
            .par_chunks_exact_mut(PICTURE)
            .zip(batch)
            .map(|(picture, sample)| fill(sample, picture))
            .collect();
        let counts = expected.iter().flat_map(|&expected| importance(expected));
        let counts = TensorData::new(counts.collect::<Vec<_>>(), [count, OUTPUTS]);
        let counts = Tensor::<2>::from_data(counts, &self.device);
        let pictures = TensorData::new(pictures, [count, HEIGHT, WIDTH, 3]);
        let pictures = Tensor::<4>::from_data(pictures, &self.device).permute([0, 3, 1, 2]);
        let expected = TensorData::new(expected.concat(), [count, OUTPUTS]);
        let expected = Tensor::<2>::from_data(expected, &self.device);

        let convolutions: Vec<_> = self.convolutions.iter().map(Layer::tracked).collect();
        let linears: Vec<_> = self.linears.iter().map(Layer::tracked).collect();
        let outputs = Self::forward(pictures, &convolutions, &linears);
        let squares = (outputs - expected).square();
        let errors = numbers(&squares.clone().inner())?;
        let outputs = (count * OUTPUTS) as f64;
        let loss = (squares * counts).sum() / outputs;
        Ok(BatchResult {
            error: errors.iter().map(|&error| f64::from(error)).sum::<f64>() / outputs,
            convolutions,
            linears,
            slopes: loss.backward(),
        })
    }
}

impl Learn for BurnTrainer {
    fn step(&mut self, batch: &[Sample], rate: f32, fill: &Fill<'_>) -> Result<f64, LearnError> {
        let mut result = self.backward(batch, fill)?;
        for (layer, tracked) in self.convolutions.iter_mut().zip(&result.convolutions) {
            layer.step(&self.adam, rate, tracked, &mut result.slopes);
        }
        for (layer, tracked) in self.linears.iter_mut().zip(&result.linears) {
            layer.step(&self.adam, rate, tracked, &mut result.slopes);
        }
        Ok(result.error)
    }

    fn weights(&self) -> Result<Weights, LearnError> {
        let mut values = vec![0.0; crate::network::TRAINED];
        for (index, layer) in self.convolutions.iter().enumerate() {
            layer.write(index, &mut values)?;
        }
        for (index, layer) in self.linears.iter().enumerate() {
            layer.write(CONVOLUTIONS.len() + index, &mut values)?;
        }
        Ok(Weights {
            statistics: self.statistics,
            values,
        })
    }
}

#[cfg(test)]
mod tests;
