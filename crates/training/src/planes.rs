//! Reorders weights between maps with interleaved channels, which the trainer uses, and maps with
//! one plane per channel, which ONNX uses. Kernels and the first fully connected layer have to be
//! reordered.

use crate::network::{CONVOLUTIONS, LINEARS, Weights};

/// For each position (out, channel, row, column) of a kernel, the index in [`Weights::matrix`].
fn kernel_order(layer: usize) -> Vec<usize> {
    let convolution = &CONVOLUTIONS[layer];
    let (kernel, channels) = (convolution.kernel, convolution.input[2]);
    let mut order = Vec::with_capacity(convolution.channels * convolution.patch());
    for out in 0..convolution.channels {
        for channel in 0..channels {
            for place in 0..kernel * kernel {
                order.push(out * convolution.patch() + place * channels + channel);
            }
        }
    }
    order
}

/// The same for a fully connected layer. The first of them reads the last map.
fn matrix_order(linear: usize) -> Vec<usize> {
    let [inputs, outputs] = LINEARS[linear];
    let channels = if linear == 0 {
        CONVOLUTIONS[CONVOLUTIONS.len() - 1].channels
    } else {
        1
    };
    let positions = inputs / channels;
    let mut order = Vec::with_capacity(inputs * outputs);
    for out in 0..outputs {
        for channel in 0..channels {
            for position in 0..positions {
                order.push(out * inputs + position * channels + channel);
            }
        }
    }
    order
}

/// For each position in a layer's matrix with one plane per channel, the index in
/// [`Weights::matrix`].
pub fn order(layer: usize) -> Vec<usize> {
    match layer.checked_sub(CONVOLUTIONS.len()) {
        None => kernel_order(layer),
        Some(linear) => matrix_order(linear),
    }
}

/// A layer's matrix for maps with one plane per channel: out, channel, row, column for a
/// convolution; out, input for a fully connected layer.
pub fn planes(weights: &Weights, layer: usize) -> Vec<f32> {
    let matrix = weights.matrix(layer);
    order(layer)
        .into_iter()
        .map(|place| matrix[place])
        .collect()
}
