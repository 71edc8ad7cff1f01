//! burn's arithmetic against this crate's own.

use super::*;
use crate::network::{LAYERS, TRAINED};
use crate::pass::Pass;
use crate::trainer::Trainer;
use pilotage_simulator::Random;

/// Fresh weights with biases that matter.
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

/// Noise as the picture, and any controls.
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

/// For every layer, how far apart two sets of values are, as a part of the first's size.
fn apart(one: &[f32], other: &[f32]) -> [f64; LAYERS] {
    let size = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    SPANS.map(|span| {
        let (one, other) = (&one[span.start..span.end()], &other[span.start..span.end()]);
        let pairs = one.iter().zip(other);
        let miss = size(&mut pairs.map(|(&a, &b)| f64::from(a) - f64::from(b)));
        miss / size(&mut one.iter().map(|&a| f64::from(a)))
    })
}

#[test]
fn weights_come_out_as_they_went_in() {
    let weights = weights();
    let trainer = BurnTrainer::new(&weights, Device::flex());
    assert_eq!(trainer.weights().unwrap(), weights);
}

/// The gradient of the first step. Sums of up to some ten thousand products are
/// rounded in another order, each to 2^-24, and a ReLU whose input is within that of
/// zero may be cut by one side only: together a few parts in a million.
#[test]
fn the_gradient_is_that_of_the_own_passes() {
    let weights = weights();
    let batch = batch(0..5);
    let mut pass = Pass::new(batch.len());
    let wanted: Vec<_> = (batch.iter().enumerate())
        .map(|(index, sample)| fill(sample, pass.input(index)))
        .collect();
    let outputs = pass.forward(&weights, batch.len());
    let scale = 2.0 / outputs.len() as f32;
    let counts = wanted.iter().flat_map(|&wanted| importance(wanted));
    let gradients: Vec<f32> = (outputs.iter().zip(wanted.as_flattened()).zip(counts))
        .map(|((output, wanted), counts)| (output - wanted) * counts * scale)
        .collect();
    pass.backward(&weights, &gradients);

    let mut trainer = BurnTrainer::new(&weights, Device::flex());
    let mut learned = trainer.backward(&batch, &fill).unwrap();
    // The slopes take the weights' places, to be read out in the same order.
    for (layer, tracked) in trainer.convolutions.iter_mut().zip(&learned.convolutions) {
        layer.weights.value = tracked.0.grad_remove(&mut learned.slopes).unwrap();
        layer.bias.value = tracked.1.grad_remove(&mut learned.slopes).unwrap();
    }
    for (layer, tracked) in trainer.linears.iter_mut().zip(&learned.linears) {
        layer.weights.value = tracked.0.grad_remove(&mut learned.slopes).unwrap();
        layer.bias.value = tracked.1.grad_remove(&mut learned.slopes).unwrap();
    }
    let apart = apart(&pass.slope, &trainer.weights().unwrap().values);
    assert!(apart.iter().all(|&apart| apart < 1e-4), "{apart:?}");
}

/// Several steps on the same batches, the last one a smaller batch. Adam's first
/// steps follow the gradient's sign, so a value whose gradient is lost in rounding,
/// about one in a hundred thousand, may go the other way: 2 sqrt(1e-5), near 1 % of a
/// layer's way, and later steps start from there.
#[test]
fn steps_lead_to_the_same_place() {
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
    let way = |weights: Weights| -> Vec<f32> {
        let pairs = weights.values.iter().zip(&start.values);
        pairs.map(|(end, start)| end - start).collect()
    };
    let (own, burn) = (way(own.weights().unwrap()), way(burn.weights().unwrap()));
    assert_eq!(own.len(), TRAINED);
    let apart = apart(&own, &burn);
    assert!(apart.iter().all(|&apart| apart < 0.03), "{apart:?}");
}
