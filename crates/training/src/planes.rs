//! Reorders weights between maps with interleaved channels, which the trainer uses, and maps with
//! one plane per channel, which ONNX uses. Kernels and the first fully connected layer have to be
//! reordered.

use crate::architecture::Architecture;

/// For each position (out, channel, row, column) of a kernel, the index in the layer's matrix.
fn kernel_order(shape: &Architecture, layer: usize) -> Vec<usize> {
    let convolution = &shape.convolutions[layer];
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
fn matrix_order(shape: &Architecture, linear: usize) -> Vec<usize> {
    let [inputs, outputs] = shape.linears[linear];
    let channels = match (linear, shape.convolutions.last()) {
        (0, Some(last)) => last.channels,
        _ => 1,
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

/// For each position in a layer's matrix with one plane per channel, the index in the layer's
/// matrix as it is trained.
pub fn order(shape: &Architecture, layer: usize) -> Vec<usize> {
    match layer.checked_sub(shape.convolutions.len()) {
        None => kernel_order(shape, layer),
        Some(linear) => matrix_order(shape, linear),
    }
}

/// A layer's matrix for maps with one plane per channel: out, channel, row, column for a
/// convolution; out, input for a fully connected layer. `weights` are all weights of the network.
pub fn planes(shape: &Architecture, weights: &[f32], layer: usize) -> Vec<f32> {
    let span = shape.spans[layer];
    let matrix = &weights[span.start..span.bias()];
    let places = order(shape, layer).into_iter();
    places.map(|place| matrix[place]).collect()
}
