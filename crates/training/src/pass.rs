//! Forward and backward pass of the network, for a few pictures at a time.
//!
//! Convolutions are matrix products over unfolded patches (Chellapilla, Puri, Simard, "High
//! Performance Convolutional Neural Networks for Document Processing", 2006).

use crate::matrix::{Matrix, multiply};
use crate::network::{
    CONVOLUTIONS, Convolution, LAYERS, LINEARS, OUTPUTS, PICTURE, SPANS, TRAINED, Weights,
};

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

/// Zeroes the gradients of outputs that ReLU has cut off.
fn mask(gradients: &mut [f32], outputs: &[f32]) {
    for (gradient, &output) in gradients.iter_mut().zip(outputs) {
        if output <= 0.0 {
            *gradient = 0.0;
        }
    }
}

/// The buffers for up to `capacity` pictures, reused from call to call.
#[derive(Debug)]
pub struct Pass {
    capacity: usize,
    /// The normalised input, then the output of every layer.
    maps: Vec<Vec<f32>>,
    patches: Vec<f32>,
    /// Gradients of the outputs of two neighbouring layers.
    gradients: [Vec<f32>; 2],
    /// The gradient of every weight, summed over the pictures.
    pub slope: Vec<f32>,
}

/// The size of one picture's map after `layer` layers.
fn size(layer: usize) -> usize {
    match layer.checked_sub(CONVOLUTIONS.len() + 1) {
        None if layer == 0 => PICTURE,
        None => CONVOLUTIONS[layer - 1].outputs(),
        Some(linear) => LINEARS[linear][1],
    }
}

impl Pass {
    /// Allocates the buffers for up to `capacity` pictures.
    pub fn new(capacity: usize) -> Self {
        let patches = CONVOLUTIONS
            .iter()
            .map(|c| c.positions() * c.patch())
            .max()
            .unwrap_or(0);
        let largest = (1..=LAYERS).map(size).max().unwrap_or(0) * capacity;
        Self {
            capacity,
            maps: (0..=LAYERS)
                .map(|l| vec![0.0; size(l) * capacity])
                .collect(),
            patches: vec![0.0; patches],
            gradients: [vec![0.0; largest], vec![0.0; largest]],
            slope: vec![0.0; TRAINED],
        }
    }

    /// The buffer for the normalised picture `index`, which the caller fills before
    /// [`forward`](Self::forward).
    pub fn input(&mut self, index: usize) -> &mut [f32] {
        &mut self.maps[0][index * PICTURE..(index + 1) * PICTURE]
    }

    /// Runs the first `count` inputs through the network, and returns [`OUTPUTS`] numbers for each.
    pub fn forward(&mut self, weights: &Weights, count: usize) -> &[f32] {
        assert!(count <= self.capacity, "at most {} pictures", self.capacity);
        for (layer, convolution) in CONVOLUTIONS.iter().enumerate() {
            let (before, after) = self.maps.split_at_mut(layer + 1);
            let inputs = before[layer].chunks_exact(convolution.inputs());
            let outputs = after[0].chunks_exact_mut(convolution.outputs());
            let (positions, patch) = (convolution.positions(), convolution.patch());
            let kernel = Matrix::new(weights.matrix(layer), convolution.channels, patch);
            for (input, output) in inputs.zip(outputs).take(count) {
                unfold(convolution, input, &mut self.patches[..positions * patch]);
                let patches = Matrix::new(&self.patches, positions, patch);
                multiply(patches, kernel.transposed(), output, false);
                add_bias_relu(output, weights.bias(layer), true);
            }
        }
        for (index, &[inputs, outputs]) in LINEARS.iter().enumerate() {
            let layer = CONVOLUTIONS.len() + index;
            let (before, after) = self.maps.split_at_mut(layer + 1);
            let input = Matrix::new(&before[layer], count, inputs);
            let output = &mut after[0][..count * outputs];
            let matrix = Matrix::new(weights.matrix(layer), outputs, inputs);
            multiply(input, matrix.transposed(), output, false);
            add_bias_relu(output, weights.bias(layer), layer + 1 < LAYERS);
        }
        &self.maps[LAYERS][..count * OUTPUTS]
    }

    /// After [`forward`](Self::forward): computes [`slope`](Self::slope) from the loss's gradient
    /// at the outputs.
    pub fn backward(&mut self, weights: &Weights, output_gradients: &[f32]) {
        let count = output_gradients.len() / OUTPUTS;
        self.slope.fill(0.0);
        let [mut above, mut below] = std::mem::take(&mut self.gradients);
        above[..output_gradients.len()].copy_from_slice(output_gradients);
        for (index, &[inputs, outputs]) in LINEARS.iter().enumerate().rev() {
            let layer = CONVOLUTIONS.len() + index;
            let span = SPANS[layer];
            let gradient = &mut above[..count * outputs];
            if layer + 1 < LAYERS {
                mask(gradient, &self.maps[layer + 1]);
            }
            add_rows(gradient, &mut self.slope[span.bias()..span.end()]);
            let gradient = Matrix::new(gradient, count, outputs);
            let input = Matrix::new(&self.maps[layer], count, inputs);
            let slope = &mut self.slope[span.start..span.bias()];
            multiply(gradient.transposed(), input, slope, false);
            let matrix = Matrix::new(weights.matrix(layer), outputs, inputs);
            multiply(gradient, matrix, &mut below[..count * inputs], false);
            std::mem::swap(&mut above, &mut below);
        }
        for (layer, convolution) in CONVOLUTIONS.iter().enumerate().rev() {
            let span = SPANS[layer];
            let (positions, patch) = (convolution.positions(), convolution.patch());
            let kernel = Matrix::new(weights.matrix(layer), convolution.channels, patch);
            let (inputs, outputs) = (convolution.inputs(), convolution.outputs());
            for picture in 0..count {
                let gradient = &mut above[picture * outputs..][..outputs];
                mask(gradient, &self.maps[layer + 1][picture * outputs..]);
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

#[cfg(test)]
mod tests;
