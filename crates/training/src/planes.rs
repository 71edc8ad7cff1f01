//! Between maps of interleaved channels, which the trainer works on, and maps with
//! one plane for each channel, which ONNX wants: kernels and the first fully
//! connected layer have to be reordered.

use crate::network::{CONVOLUTIONS, LINEARS, Weights};

/// For the place (out, channel, row, column) of a kernel, the place here.
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

/// The same for a fully connected layer; the first reads the last map.
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

/// For every place of a layer's matrix with one plane for each channel, the place
/// in [`Weights::matrix`].
pub fn order(layer: usize) -> Vec<usize> {
    match layer.checked_sub(CONVOLUTIONS.len()) {
        None => kernel_order(layer),
        Some(linear) => matrix_order(linear),
    }
}

/// A layer's matrix for maps with one plane for each channel: out, channel, row,
/// column for a convolution, out, input for a fully connected layer.
pub fn planes(weights: &Weights, layer: usize) -> Vec<f32> {
    let matrix = weights.matrix(layer);
    order(layer)
        .into_iter()
        .map(|place| matrix[place])
        .collect()
}
