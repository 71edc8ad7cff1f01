//! Forward and backward pass of the network, for a few pictures at a time.
//!
//! Convolutions are matrix products over unfolded patches (Chellapilla, Puri, Simard, "High
//! Performance Convolutional Neural Networks for Document Processing", 2006).

use pilotage_simulator::Random;

use crate::architecture::Architecture;
use crate::matrix::{Matrix, multiply};
use crate::network::Convolution;

/// Copies every patch of a map into a row of `patches`.
fn unfold(convolution: &Convolution, input: &[f32], patches: &mut [f32]) {
    let [_, width, channels] = convolution.input;
    let [rows, columns, _] = convolution.output();
    let run = convolution.kernel * channels;
    let mut runs = patches.chunks_exact_mut(run);
    for row in 0..rows {
        for column in 0..columns {
            for line in 0..convolution.kernel {
                let y = row * convolution.stride + line;
                let start = (y * width + column * convolution.stride) * channels;
                if let Some(out) = runs.next() {
                    out.copy_from_slice(&input[start..start + run]);
                }
            }
        }
    }
}

/// The adjoint of [`unfold`]: adds every patch to the positions that it was copied from.
fn fold(convolution: &Convolution, patches: &[f32], input: &mut [f32]) {
    let [_, width, channels] = convolution.input;
    let [rows, columns, _] = convolution.output();
    let run = convolution.kernel * channels;
    let mut runs = patches.chunks_exact(run);
    for row in 0..rows {
        for column in 0..columns {
            for line in 0..convolution.kernel {
                let y = row * convolution.stride + line;
                let start = (y * width + column * convolution.stride) * channels;
                if let Some(part) = runs.next() {
                    for (to, from) in input[start..start + run].iter_mut().zip(part) {
                        *to += from;
                    }
                }
            }
        }
    }
}

fn add_bias_relu(rows: &mut [f32], bias: &[f32], relu: bool) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += bias;
            if relu {
                *value = value.max(0.0);
            }
        }
    }
}

fn add_rows(rows: &[f32], sums: &mut [f32]) {
    for row in rows.chunks_exact(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
}

/// Zeroes the gradients of outputs that ReLU or dropout has cut off, and multiplies the others by
/// `scale`, as dropout did with the outputs.
fn mask(gradients: &mut [f32], outputs: &[f32], scale: f32) {
    for (gradient, &output) in gradients.iter_mut().zip(outputs) {
        if output <= 0.0 {
            *gradient = 0.0;
        } else {
            *gradient *= scale;
        }
    }
}

/// Drops each output with the probability `share`, and divides the others by the remaining share.
fn drop_outputs(outputs: &mut [f32], share: f32, random: &mut Random) {
    let scale = 1.0 / (1.0 - share);
    for output in outputs {
        let kept = !random.chance(f64::from(share));
        *output *= if kept { scale } else { 0.0 };
    }
}

/// The buffers for up to `capacity` pictures, reused from call to call.
#[derive(Debug)]
pub struct Pass {
    architecture: Architecture,
    capacity: usize,
    /// The normalised input, then the output of every layer.
    maps: Vec<Vec<f32>>,
    patches: Vec<f32>,
    /// Gradients of the outputs of two neighbouring layers.
    gradients: [Vec<f32>; 2],
    /// Whether the last forward pass dropped outputs.
    dropped: bool,
    /// The gradient of every weight, summed over the pictures.
    pub slope: Vec<f32>,
}

impl Pass {
    /// Allocates the buffers for up to `capacity` pictures.
    pub fn new(architecture: &Architecture, capacity: usize) -> Self {
        let patches = architecture
            .convolutions
            .iter()
            .map(|c| c.positions() * c.patch())
            .max()
            .unwrap_or(0);
        let layers = architecture.layers();
        let size = |layer| architecture.map(layer) * capacity;
        let largest = (1..=layers).map(size).max().unwrap_or(0);
        Self {
            architecture: architecture.clone(),
            capacity,
            maps: (0..=layers).map(|l| vec![0.0; size(l)]).collect(),
            patches: vec![0.0; patches],
            gradients: [vec![0.0; largest], vec![0.0; largest]],
            dropped: false,
            slope: vec![0.0; architecture.parameters()],
        }
    }

    /// The buffer for the normalised picture `index`, which the caller fills before
    /// [`forward`](Self::forward).
    pub fn input(&mut self, index: usize) -> &mut [f32] {
        let size = self.architecture.picture();
        &mut self.maps[0][index * size..(index + 1) * size]
    }

    /// Runs the first `count` inputs through the network, and returns its outputs for each, one
    /// picture after another.
    pub fn forward(&mut self, weights: &[f32], count: usize) -> &[f32] {
        self.run(weights, count, None)
    }

    /// As [`forward`](Self::forward), for training: with the network's dropout, which is drawn from
    /// one seed for each picture.
    pub fn forward_dropping(&mut self, weights: &[f32], seeds: &[u64]) -> &[f32] {
        let drops = self.architecture.dropout > 0.0;
        self.run(weights, seeds.len(), drops.then_some(seeds))
    }

    fn run(&mut self, weights: &[f32], count: usize, seeds: Option<&[u64]>) -> &[f32] {
        assert!(count <= self.capacity, "at most {} pictures", self.capacity);
        self.dropped = seeds.is_some();
        let shape = &self.architecture;
        let layers = shape.layers();
        for (layer, convolution) in shape.convolutions.iter().enumerate() {
            let span = shape.spans[layer];
            let (matrix, bias) = (
                &weights[span.start..span.bias()],
                &weights[span.bias()..span.end()],
            );
            let (before, after) = self.maps.split_at_mut(layer + 1);
            let inputs = before[layer].chunks_exact(convolution.inputs());
            let outputs = after[0].chunks_exact_mut(convolution.outputs());
            let (positions, patch) = (convolution.positions(), convolution.patch());
            let kernel = Matrix::new(matrix, convolution.channels, patch);
            for (input, output) in inputs.zip(outputs).take(count) {
                unfold(convolution, input, &mut self.patches[..positions * patch]);
                let patches = Matrix::new(&self.patches, positions, patch);
                multiply(patches, kernel.transposed(), output, false);
                add_bias_relu(output, bias, true);
            }
            drop_after(shape, layer, after, seeds);
        }
        for (index, &[inputs, outputs]) in shape.linears.iter().enumerate() {
            let layer = shape.convolutions.len() + index;
            let span = shape.spans[layer];
            let (before, after) = self.maps.split_at_mut(layer + 1);
            let input = Matrix::new(&before[layer], count, inputs);
            let output = &mut after[0][..count * outputs];
            let matrix = Matrix::new(&weights[span.start..span.bias()], outputs, inputs);
            multiply(input, matrix.transposed(), output, false);
            let bias = &weights[span.bias()..span.end()];
            add_bias_relu(output, bias, layer + 1 < layers);
            if layer + 1 < layers {
                drop_after(shape, layer, after, seeds);
            }
        }
        &self.maps[layers][..count * shape.outputs()]
    }

    /// After [`forward`](Self::forward): computes [`slope`](Self::slope) from the loss's gradient
    /// at the outputs.
    pub fn backward(&mut self, weights: &[f32], output_gradients: &[f32]) {
        let shape = &self.architecture;
        let layers = shape.layers();
        let count = output_gradients.len() / shape.outputs();
        let scale = match self.dropped {
            true => 1.0 / (1.0 - shape.dropout),
            false => 1.0,
        };
        self.slope.fill(0.0);
        let [mut above, mut below] = std::mem::take(&mut self.gradients);
        above[..output_gradients.len()].copy_from_slice(output_gradients);
        for (index, &[inputs, outputs]) in shape.linears.iter().enumerate().rev() {
            let layer = shape.convolutions.len() + index;
            let span = shape.spans[layer];
            let gradient = &mut above[..count * outputs];
            if layer + 1 < layers {
                mask(gradient, &self.maps[layer + 1], scale);
            }
            add_rows(gradient, &mut self.slope[span.bias()..span.end()]);
            let gradient = Matrix::new(gradient, count, outputs);
            let input = Matrix::new(&self.maps[layer], count, inputs);
            let slope = &mut self.slope[span.start..span.bias()];
            multiply(gradient.transposed(), input, slope, false);
            let matrix = Matrix::new(&weights[span.start..span.bias()], outputs, inputs);
            multiply(gradient, matrix, &mut below[..count * inputs], false);
            std::mem::swap(&mut above, &mut below);
        }
        for (layer, convolution) in shape.convolutions.iter().enumerate().rev() {
            let span = shape.spans[layer];
            let (positions, patch) = (convolution.positions(), convolution.patch());
            let matrix = &weights[span.start..span.bias()];
            let kernel = Matrix::new(matrix, convolution.channels, patch);
            let (inputs, outputs) = (convolution.inputs(), convolution.outputs());
            for picture in 0..count {
                let gradient = &mut above[picture * outputs..][..outputs];
                mask(gradient, &self.maps[layer + 1][picture * outputs..], scale);
                add_rows(gradient, &mut self.slope[span.bias()..span.end()]);
                let input = &self.maps[layer][picture * inputs..][..inputs];
                unfold(convolution, input, &mut self.patches[..positions * patch]);
                let gradient = Matrix::new(gradient, positions, convolution.channels);
                let patches = Matrix::new(&self.patches, positions, patch);
                let slope = &mut self.slope[span.start..span.bias()];
                multiply(gradient.transposed(), patches, slope, true);
                if layer > 0 {
                    multiply(gradient, kernel, &mut self.patches, false);
                    let input_gradient = &mut below[picture * inputs..][..inputs];
                    input_gradient.fill(0.0);
                    fold(convolution, &self.patches, input_gradient);
                }
            }
            std::mem::swap(&mut above, &mut below);
        }
        self.gradients = [above, below];
    }
}

/// Drops outputs of `layer`, whose map is the first of `after`, if there are seeds: one for each
/// picture.
fn drop_after(shape: &Architecture, layer: usize, after: &mut [Vec<f32>], seeds: Option<&[u64]>) {
    let maps = after[0].chunks_exact_mut(shape.map(layer + 1));
    for (map, &seed) in maps.zip(seeds.unwrap_or_default()) {
        let mut random = Random::stream(seed, layer as u64);
        drop_outputs(map, shape.dropout, &mut random);
    }
}

#[cfg(test)]
mod tests;
