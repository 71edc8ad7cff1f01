//! Compares burn's arithmetic with this crate's own.

use pilotage_simulator::Random;

use super::*;
use crate::network::{LAYERS, TRAINED};
use crate::pass::Pass;
use crate::trainer::Trainer;

/// Fresh weights with biases that are not zero.
fn weights() -> Weights {
    let mut random = Random::new(5);
    let statistics = Statistics {
        mean: [0.4, 0.5, 0.6],
        variance: [0.1, 0.2, 0.3],
    };
    let mut weights = Weights::fresh(statistics, 3);
    for span in SPANS {
        for bias in &mut weights.values[span.bias()..span.end()] {
            *bias += random.range(-0.1, 0.2) as f32;
        }
    }
    weights
}

/// A picture of noise, and random controls.
fn fill(sample: &Sample, picture: &mut [f32]) -> [f32; OUTPUTS] {
    let mut random = Random::new(sample.index as u64);
    for value in picture {
        *value = random.range(-2.0, 2.0) as f32;
    }
    [random.range(0.0, 1.0) as f32, random.range(0.2, 0.8) as f32]
}

fn batch(indices: std::ops::Range<usize>) -> Vec<Sample> {
    let sample = |index| Sample {
        index,
        mirrored: false,
    };
    indices.map(sample).collect()
}

/// For every layer, the difference of two sets of values, relative to the size of the first.
fn difference(one: &[f32], other: &[f32]) -> [f64; LAYERS] {
    let size = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    SPANS.map(|span| {
        let (one, other) = (&one[span.start..span.end()], &other[span.start..span.end()]);
        let pairs = one.iter().zip(other);
        let error_size = size(&mut pairs.map(|(&a, &b)| f64::from(a) - f64::from(b)));
        error_size / size(&mut one.iter().map(|&a| f64::from(a)))
    })
}

#[test]
fn weights_are_returned_unchanged() {
    let weights = weights();
    let trainer = BurnTrainer::new(&weights, Device::flex());
    assert_eq!(trainer.weights().unwrap(), weights);
}

/// Compares the gradient of the first step. Sums of up to some ten thousand products are rounded in
/// another order, each to 2^-24. A ReLU whose input is that near to zero may be cut off on one side
/// only. Together, the error is a few parts in a million.
#[test]
fn the_gradient_equals_that_of_the_own_passes() {
    let weights = weights();
    let batch = batch(0..5);
    let mut pass = Pass::new(&Architecture::of_the_simulator(), batch.len());
    let expected: Vec<_> = (batch.iter().enumerate())
        .map(|(index, sample)| fill(sample, pass.input(index)))
        .collect();
    let outputs = pass.forward(&weights.values, batch.len());
    let scale = 2.0 / outputs.len() as f32;
    let counts = expected.iter().flat_map(|&expected| importance(expected));
    let gradients: Vec<f32> = (outputs.iter().zip(expected.as_flattened()).zip(counts))
        .map(|((output, expected), counts)| (output - expected) * counts * scale)
        .collect();
    pass.backward(&weights.values, &gradients);

    let mut trainer = BurnTrainer::new(&weights, Device::flex());
    let mut result = trainer.backward(&batch, &fill).unwrap();
    // The gradients replace the weights, to be read out in the same order.
    for (layer, tracked) in trainer.convolutions.iter_mut().zip(&result.convolutions) {
        layer.weights.value = tracked.0.grad_remove(&mut result.slopes).unwrap();
        layer.bias.value = tracked.1.grad_remove(&mut result.slopes).unwrap();
    }
    for (layer, tracked) in trainer.linears.iter_mut().zip(&result.linears) {
        layer.weights.value = tracked.0.grad_remove(&mut result.slopes).unwrap();
        layer.bias.value = tracked.1.grad_remove(&mut result.slopes).unwrap();
    }
    let difference = difference(&pass.slope, &trainer.weights().unwrap().values);
    assert!(
        difference.iter().all(|&difference| difference < 1e-4),
        "{difference:?}"
    );
}

/// Takes several steps on the same batches; the last batch is smaller. Adam's first steps follow
/// the gradient's sign, so a value whose gradient is lost in rounding, about one in a hundred
/// thousand, may move in the other direction: 2 sqrt(1e-5), near 1 % of a layer's change, and later
/// steps start from there.
#[test]
fn steps_lead_to_the_same_weights() {
    let start = weights();
    let mut own = Trainer::new(start.clone(), 6);
    let mut burn = BurnTrainer::new(&start, Device::flex());
    for (step, batch) in [batch(0..6), batch(6..12), batch(12..18), batch(18..21)]
        .iter()
        .enumerate()
    {
        let rate = 1e-3 / (step + 1) as f32;
        let expected = own.step(batch, rate, &fill).unwrap();
        let error = burn.step(batch, rate, &fill).unwrap();
        assert!((error / expected - 1.0).abs() < 1e-2, "{error} {expected}");
    }
    let change = |weights: Weights| -> Vec<f32> {
        let pairs = weights.values.iter().zip(&start.values);
        pairs.map(|(end, start)| end - start).collect()
    };
    let (own, burn) = (
        change(own.weights().unwrap()),
        change(burn.weights().unwrap()),
    );
    assert_eq!(own.len(), TRAINED);
    let difference = difference(&own, &burn);
    assert!(
        difference.iter().all(|&difference| difference < 0.03),
        "{difference:?}"
    );
}
