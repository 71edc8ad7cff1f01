use pilotage_simulator::Random;

use super::*;
use crate::network::{CONVOLUTIONS, LINEARS, PICTURE, SPANS, Statistics, Weights};

fn statistics() -> Statistics {
    Statistics {
        mean: [0.0; 3],
        variance: [1.0; 3],
    }
}

/// A direct implementation of the network in double precision: without patches and matrix products,
/// and with no shared code except the table of shapes.
fn reference(values: &[f64], picture: &[f32]) -> Vec<f64> {
    let mut map: Vec<f64> = picture.iter().map(|&value| f64::from(value)).collect();
    for (convolution, span) in CONVOLUTIONS.iter().zip(&SPANS) {
        let [_, width, depth] = convolution.input;
        let [rows, columns, channels] = convolution.output();
        let kernel = convolution.kernel;
        let mut out = vec![0.0; rows * columns * channels];
        for row in 0..rows {
            for column in 0..columns {
                for channel in 0..channels {
                    let weights = &values[span.start + channel * span.inputs..][..span.inputs];
                    let mut sum = values[span.bias() + channel];
                    for y in 0..kernel {
                        for x in 0..kernel {
                            let from = (row * convolution.stride + y) * width
                                + column * convolution.stride
                                + x;
                            for d in 0..depth {
                                sum +=
                                    weights[(y * kernel + x) * depth + d] * map[from * depth + d];
                            }
                        }
                    }
                    out[(row * columns + column) * channels + channel] = sum.max(0.0);
                }
            }
        }
        map = out;
    }
    for (index, span) in SPANS[CONVOLUTIONS.len()..].iter().enumerate() {
        let outputs = (0..span.outputs).map(|out| {
            let weights = &values[span.start + out * span.inputs..][..span.inputs];
            let sum: f64 = weights.iter().zip(&map).map(|(w, x)| w * x).sum();
            let sum = sum + values[span.bias() + out];
            if index + 1 < LINEARS.len() {
                sum.max(0.0)
            } else {
                sum
            }
        });
        map = outputs.collect();
    }
    map
}

/// Fresh weights with biases that are not zero, and two pictures.
fn example() -> (Weights, Vec<Vec<f32>>) {
    let mut random = Random::new(5);
    let mut weights = Weights::fresh(statistics(), 3);
    for span in SPANS {
        for bias in &mut weights.values[span.bias()..span.end()] {
            *bias += random.range(-0.2, 0.3) as f32;
        }
    }
    let mut picture = || {
        (0..PICTURE)
            .map(|_| random.range(-2.0, 2.0) as f32)
            .collect()
    };
    (weights, vec![picture(), picture()])
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

#[test]
fn forward_agrees_with_the_direct_implementation() {
    let (weights, pictures) = example();
    let mut pass = Pass::new(&Architecture::of_the_simulator(), 3);
    for (index, picture) in pictures.iter().enumerate() {
        pass.input(index).copy_from_slice(picture);
    }
    let outputs = pass.forward(&weights.values, 2).to_vec();
    let expected: Vec<f64> = (pictures.iter())
        .flat_map(|picture| reference(&double(&weights.values), picture))
        .collect();
    assert_eq!(outputs.len(), expected.len());
    for (output, expected) in outputs.iter().zip(&expected) {
        assert!(
            (f64::from(*output) - expected).abs() < 1e-4,
            "{outputs:?} {expected:?}"
        );
    }
}

/// For every layer, compares the derivative along a random direction with the central difference of
/// the direct implementation.
#[test]
fn backward_agrees_with_differences_in_every_layer() {
    let (weights, pictures) = example();
    let output_weights = [[0.7, -0.4], [0.3, 1.1]];
    let loss = |values: &[f64]| -> f64 {
        let pairs = pictures.iter().zip(output_weights);
        pairs
            .map(|(picture, output_weights)| {
                let outputs = reference(values, picture);
                outputs
                    .iter()
                    .zip(output_weights)
                    .map(|(o, t)| o * t)
                    .sum::<f64>()
            })
            .sum()
    };
    let mut pass = Pass::new(&Architecture::of_the_simulator(), 2);
    for (index, picture) in pictures.iter().enumerate() {
        pass.input(index).copy_from_slice(picture);
    }
    pass.forward(&weights.values, 2);
    let gradients: Vec<f32> = output_weights.iter().flatten().map(|&t| t as f32).collect();
    pass.backward(&weights.values, &gradients);
    let values = double(&weights.values);
    for (layer, span) in SPANS.iter().enumerate() {
        // The gradient with random factors: a direction in which the loss changes.
        let mut random = Random::new(layer as u64);
        let slope = &pass.slope[span.start..span.end()];
        let size = slope.iter().map(|s| s * s).sum::<f32>().sqrt() + 1e-12;
        let direction: Vec<f64> = slope
            .iter()
            .map(|&s| f64::from(s / size) * random.range(0.2, 1.0))
            .collect();
        let step = 1e-4;
        let moved = |sign: f64| {
            let mut moved = values.clone();
            for (value, component) in moved[span.start..span.end()].iter_mut().zip(&direction) {
                *value += sign * step * component;
            }
            loss(&moved)
        };
        let difference = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        let derivative: f64 = slope
            .iter()
            .zip(&direction)
            .map(|(&s, d)| f64::from(s) * d)
            .sum();
        assert!(derivative > 1e-6, "layer {layer} has a slope");
        let error = (difference - derivative).abs() / derivative;
        assert!(error < 0.01, "layer {layer}: {derivative} but {difference}");
    }
}
