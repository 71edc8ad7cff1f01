//! Compares the trainer's arithmetic with a direct implementation of the networks in double
//! precision, and its gradients with differences of that.

use pilotage_simulator::Random;
use pilotage_training::architecture::{Architecture, NetworkKind};
use pilotage_training::pass::Pass;

/// A direct implementation, without patches and matrix products. With `seeds`, as many random
/// numbers as the trainer draws decide which outputs are dropped.
fn reference(shape: &Architecture, values: &[f64], picture: &[f32], seed: Option<u64>) -> Vec<f64> {
    let mut map: Vec<f64> = picture.iter().map(|&value| f64::from(value)).collect();
    let dropped = |map: &mut Vec<f64>, layer: usize| {
        let Some(seed) = seed else { return };
        let share = f64::from(shape.dropout);
        let mut random = Random::stream(seed, layer as u64);
        for value in map {
            *value = if random.unit() < share {
                0.0
            } else {
                *value / (1.0 - share)
            };
        }
    };
    for (layer, convolution) in shape.convolutions.iter().enumerate() {
        let span = shape.spans[layer];
        let [_, width, depth] = convolution.input;
        let [rows, columns, channels] = convolution.output();
        let (kernel, stride) = (convolution.kernel, convolution.stride);
        let mut out = vec![0.0; rows * columns * channels];
        for (place, out) in out.iter_mut().enumerate() {
            let (channel, at) = (place % channels, place / channels);
            let (row, column) = (at / columns * stride, at % columns * stride);
            let mut sum = values[span.bias() + channel];
            for inner in 0..kernel * kernel * depth {
                let (y, x, d) = (
                    inner / depth / kernel,
                    inner / depth % kernel,
                    inner % depth,
                );
                let weight = values[span.start + channel * span.inputs + inner];
                sum += weight * map[((row + y) * width + column + x) * depth + d];
            }
            *out = sum.max(0.0);
        }
        map = out;
        dropped(&mut map, layer);
    }
    for index in 0..shape.linears.len() {
        let layer = shape.convolutions.len() + index;
        let span = shape.spans[layer];
        let is_last = layer + 1 == shape.layers();
        map = (0..span.outputs)
            .map(|out| {
                let weights = &values[span.start + out * span.inputs..][..span.inputs];
                let sum: f64 = weights.iter().zip(&map).map(|(w, x)| w * x).sum();
                let sum = sum + values[span.bias() + out];
                if is_last { sum } else { sum.max(0.0) }
            })
            .collect();
        if !is_last {
            dropped(&mut map, layer);
        }
    }
    map
}

/// For every network, on an input of odd sides: the outputs, and the derivative of each layer's
/// weights along its own gradient, with random factors.
#[test]
fn forward_and_backward_agree_with_the_direct_implementation() {
    for (kind, input, outputs, drops) in [
        (NetworkKind::Small, [23, 30, 1], 1, false),
        (NetworkKind::Small, [22, 31, 3], 2, false),
        (NetworkKind::Linear, [63, 61, 1], 2, true),
    ] {
        let shape = Architecture::new(kind, input, outputs).unwrap();
        let mut random = Random::new(9);
        let mut weights = shape.fresh(&vec![0.1; outputs], 3);
        for span in &shape.spans {
            for bias in &mut weights[span.bias()..span.end()] {
                *bias += random.range(-0.1, 0.3) as f32;
            }
        }
        let mut picture = |_| -> Vec<f32> {
            let numbers = (0..shape.picture()).map(|_| random.range(-1.0, 1.0) as f32);
            numbers.collect()
        };
        let pictures: Vec<Vec<f32>> = (0..2).map(&mut picture).collect();
        let seeds = [5, 6];
        let mut pass = Pass::new(&shape, 3);
        for (index, picture) in pictures.iter().enumerate() {
            pass.input(index).copy_from_slice(picture);
        }
        let answers = match drops {
            true => pass.forward_dropping(&weights, &seeds).to_vec(),
            false => pass.forward(&weights, 2).to_vec(),
        };
        let all = |values: &[f64]| -> Vec<f64> {
            let each = pictures.iter().zip(seeds);
            each.flat_map(|(picture, seed)| {
                reference(&shape, values, picture, drops.then_some(seed))
            })
            .collect()
        };
        let values: Vec<f64> = weights.iter().map(|&value| f64::from(value)).collect();
        for (answer, expected) in answers.iter().zip(all(&values)) {
            assert!(
                (f64::from(*answer) - expected).abs() < 1e-4,
                "{kind:?}: {answer} {expected}"
            );
        }

        let factors: Vec<f32> = (0..answers.len()).map(|i| 0.7 - 0.4 * i as f32).collect();
        pass.backward(&weights, &factors);
        let loss = |values: &[f64]| -> f64 {
            let pairs = all(values).into_iter().zip(&factors);
            pairs
                .map(|(answer, &factor)| answer * f64::from(factor))
                .sum()
        };
        for (layer, span) in shape.spans.iter().enumerate() {
            let slope = &pass.slope[span.start..span.end()];
            let size = slope.iter().map(|s| s * s).sum::<f32>().sqrt() + 1e-12;
            let mut random = Random::new(layer as u64);
            let direction = slope
                .iter()
                .map(|&s| f64::from(s / size) * random.range(0.2, 1.0));
            let direction: Vec<f64> = direction.collect();
            let step = 1e-4;
            let moved = |sign: f64| {
                let mut moved = values.clone();
                for (value, part) in moved[span.start..span.end()].iter_mut().zip(&direction) {
                    *value += sign * step * part;
                }
                loss(&moved)
            };
            let difference = (moved(1.0) - moved(-1.0)) / (2.0 * step);
            let derivative: f64 = slope
                .iter()
                .zip(&direction)
                .map(|(&s, d)| f64::from(s) * d)
                .sum();
            assert!(derivative > 1e-6, "{kind:?}, layer {layer} has a slope");
            let error = (difference - derivative).abs() / derivative;
            assert!(
                error < 0.01,
                "{kind:?}, layer {layer}: {derivative} but {difference}"
            );
        }
    }
}
