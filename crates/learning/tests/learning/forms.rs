//! Pruned and clustered parameters.

use pilotage_graph::{Conv, Gemm, Op};
use pilotage_learning::{
    Clusters, Form, Learner, Loss, Network, Optimizer, PolynomialSparsity, Schedule, Training,
    magnitude_mask, magnitude_masks, two_of_four_mask,
};
use proptest::prelude::*;

use crate::training::{dense, fill};
use crate::{Builder, Numbers};

/// A network whose first weights are `c2`, of 4 x 6.
fn learner() -> Learner {
    let mut b = Builder::new(9);
    let x = b.input(&[1, 6]);
    let y = dense(&mut b, x, 4);
    let y = b.node(Op::Tanh, &[y]);
    let y = dense(&mut b, y, 1);
    let training = Training {
        optimizer: Optimizer::ADAM,
        schedule: Schedule::constant(0.05),
        loss: Loss::Squared,
        clip: None,
        average: None,
    };
    Learner::new(Network::from_graph(&b.finish(&[y])).unwrap(), training).unwrap()
}

fn weights(learner: &Learner) -> Vec<f32> {
    let index = learner.network().parameter_index("c2").unwrap();
    learner.network().parameters()[index].values().to_vec()
}

#[test]
fn pruned_weights_stay_zero_while_the_others_learn() {
    let mut learner = learner();
    let before = weights(&learner);
    let mask = magnitude_mask(&before, 0.5);
    assert_eq!(mask.iter().filter(|keep| !**keep).count(), 12);
    let largest_pruned = before.iter().zip(&mask).filter(|(_, keep)| !**keep);
    let largest_pruned = largest_pruned.fold(0.0_f32, |most, (w, _)| most.max(w.abs()));
    assert!(
        before
            .iter()
            .zip(&mask)
            .all(|(w, keep)| !keep || w.abs() >= largest_pruned)
    );
    learner.network_mut().prune("c2", mask.clone()).unwrap();
    let first = learner.step(16, &fill).mean;
    for _ in 0..40 {
        learner.step(16, &fill);
    }
    for ((after, before), keep) in weights(&learner).iter().zip(&before).zip(&mask) {
        assert_eq!(*keep, *after != 0.0);
        assert!(!keep || after != before);
    }
    assert!(learner.step(16, &fill).mean < first);
}

#[test]
fn clustered_weights_share_values_that_learn_by_summed_gradients() {
    let mut learner = learner();
    let mask = magnitude_mask(&weights(&learner), 0.25);
    learner.network_mut().prune("c2", mask.clone()).unwrap();
    learner.network_mut().cluster("c2", 4, true, 1).unwrap();
    let start = weights(&learner);
    learner.step(16, &fill);
    let index = learner.network().parameter_index("c2").unwrap();
    let parameter = &learner.network().parameters()[index];
    let Form::Clustered { assignment, .. } = parameter.form() else {
        panic!("{:?}", parameter.form());
    };
    assert_eq!(parameter.latent().len(), 4);
    assert_eq!(parameter.latent()[0], 0.0);
    let gradients = parameter.gradient().to_vec();
    let assignment = assignment.clone();

    // The same weights, trained one by one, have gradients whose sums are those of the centroids.
    let mut dense = self::learner();
    dense.network_mut().set_values("c2", &start).unwrap();
    dense.step(16, &fill);
    let of_elements = dense.network().parameters()[index].gradient();
    let mut sums = [0.0_f64; 4];
    for (&cluster, &gradient) in assignment.iter().zip(of_elements) {
        sums[cluster as usize] += f64::from(gradient);
    }
    assert_eq!(gradients[0], 0.0);
    for (found, expected) in gradients.iter().zip(sums).skip(1) {
        assert!((f64::from(*found) - expected).abs() < 1e-6);
    }
    for _ in 0..20 {
        learner.step(16, &fill);
    }
    let after = weights(&learner);
    assert!(
        after
            .iter()
            .zip(&mask)
            .all(|(w, keep)| *keep == (*w != 0.0))
    );
    let mut values: Vec<u32> = after.iter().map(|w| w.to_bits()).collect();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 4);
    assert_ne!(after, start);
    assert!(learner.network_mut().cluster("c2", 1, true, 0).is_err());
}

#[test]
fn the_pruned_share_of_all_tensors_together_is_kept() {
    let (a, b) = (vec![0.1_f32; 10], vec![1.0_f32; 10]);
    let masks = magnitude_masks(&[&a, &b], 0.3);
    let pruned = |mask: &[bool]| mask.iter().filter(|keep| !**keep).count();
    assert_eq!((pruned(&masks[0]), pruned(&masks[1])), (6, 0));
    let all = magnitude_masks(&[&a, &b], 1.0);
    assert_eq!((pruned(&all[0]), pruned(&all[1])), (10, 10));
    let growth = PolynomialSparsity {
        first: 0.5,
        last: 0.8,
        steps: 10,
    };
    assert_eq!(
        (growth.at(0), growth.at(10), growth.at(99)),
        (0.5, 0.8, 0.8)
    );
    assert!((growth.at(5) - (0.8 - 0.3 / 8.0)).abs() < 1e-12);
}

#[test]
fn the_2_4_pattern_lies_along_the_inputs() {
    // A convolution of one output, five inputs and two taps: the fifth input is a remainder.
    let values = [1.0, -8.0, -2.0, 7.0, 3.0, 6.0, -4.0, 5.0, 0.0, 0.1];
    let kept = [0, 1, 0, 1, 1, 0, 1, 0, 1, 1].map(|keep| keep == 1);
    assert_eq!(two_of_four_mask(&values, &[1, 5, 2, 1], 1), kept);
    // The same along the first axis, as in a product with a matrix (inputs, outputs).
    assert_eq!(two_of_four_mask(&values, &[5, 2], 0), kept);
    // Of equal magnitudes, the first are pruned.
    let equal = two_of_four_mask(&[1.0, -1.0, 1.0, 1.0], &[1, 4], 1);
    assert_eq!(equal, [false, false, true, true]);
    // Too few inputs, as in a depthwise convolution.
    assert_eq!(two_of_four_mask(&[1.0; 36], &[4, 1, 3, 3], 1), [true; 36]);
    assert_eq!(two_of_four_mask(&[1.0; 6], &[2, 3], 1), [true; 6]);
    // There is no such axis, or nothing along it.
    assert_eq!(two_of_four_mask(&[1.0; 4], &[4], 1), [true; 4]);
    assert!(two_of_four_mask(&[], &[4, 0, 3], 0).is_empty());
    assert!(two_of_four_mask(&[], &[4, 0, 3], 1).is_empty());
}

#[test]
fn the_axis_of_a_layers_inputs_is_found() {
    let mut b = Builder::new(5);
    let x = b.input(&[1, 4, 6, 6]);
    let conv = Conv {
        kernel: [3; 2],
        strides: [3; 2],
        pads: [0; 4],
        dilations: [1; 2],
        groups: 1,
    };
    let (w, bias) = (b.constant(&[5, 4, 3, 3]), b.constant(&[5]));
    let x = b.node(Op::Conv(conv), &[x, w, bias]);
    let x = b.node(Op::Flatten { axis: 1 }, &[x]);
    let w = b.constant(&[20, 8]);
    let x = b.node(Op::MatMul, &[x, w]);
    let mut gemm = |x, shape: [usize; 2], transpose_b| {
        let w = b.constant(&shape);
        let gemm = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transpose_a: false,
            transpose_b,
        };
        b.node(Op::Gemm(gemm), &[x, w])
    };
    let x = gemm(x, [6, 8], true);
    let x = gemm(x, [6, 2], false);
    let network = Network::from_graph(&b.finish(&[x])).unwrap();
    let axes = network.parameters().iter();
    let axes: Vec<_> = axes
        .map(|p| (p.shape(), network.input_axis(p.name())))
        .collect();
    let expected: [(&[usize], _); 5] = [
        (&[5, 4, 3, 3], Some(1)),
        (&[5], None),
        (&[20, 8], Some(0)),
        (&[6, 8], Some(1)),
        (&[6, 2], Some(0)),
    ];
    assert_eq!(axes, expected);
    assert_eq!(network.input_axis("no such parameter"), None);
}

proptest! {
    /// Of each full group of four along the axis, the two largest magnitudes are kept; other values
    /// are all kept.
    #[test]
    fn the_2_4_pattern_keeps_the_two_largest_of_each_four(
        shape in prop::collection::vec(1_usize..10, 1..5),
        axis in 0_usize..4,
        seed: u64,
        levels in 1_usize..1000,
    ) {
        let axis = axis % shape.len();
        let mut random = Numbers::new(seed);
        // Few levels make equal magnitudes.
        let mut level = || random.below(2 * levels + 1) as f32 - levels as f32;
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| level()).collect();
        let mask = two_of_four_mask(&values, &shape, axis);
        prop_assert_eq!(mask.len(), count);
        let distance: usize = shape[axis + 1..].iter().product();
        let place = |index: usize| index / distance % shape[axis];
        for index in 0..count {
            if place(index) >= shape[axis] / 4 * 4 {
                prop_assert!(mask[index]);
            }
            if !place(index).is_multiple_of(4) || place(index) + 4 > shape[axis] {
                continue;
            }
            let group = [0, 1, 2, 3].map(|i| index + i * distance);
            let (kept, pruned): (Vec<usize>, Vec<usize>) = group.into_iter().partition(|&i| mask[i]);
            prop_assert_eq!(kept.len(), 2);
            let largest = pruned.iter().map(|&i| values[i].abs()).fold(0.0, f32::max);
            prop_assert!(kept.iter().all(|&i| values[i].abs() >= largest));
        }
    }

    /// Each value is in the nearest cluster, zeros stay zeros, and the result depends on the seed
    /// only.
    #[test]
    fn clusters_are_those_of_k_means(
        values in prop::collection::vec(prop_oneof![Just(0.0_f32), -2.0_f32..2.0], 1..60),
        count in 2_usize..9,
        keep_zero: bool,
        seed: u64,
    ) {
        let clusters = Clusters::new(&values, count, keep_zero, seed);
        prop_assert!(clusters.centroids.len() <= count);
        prop_assert_eq!(&clusters, &Clusters::new(&values, count, keep_zero, seed));
        for (&x, &cluster) in values.iter().zip(&clusters.assignment) {
            let own = clusters.centroids[cluster as usize];
            if keep_zero && x == 0.0 {
                prop_assert_eq!((cluster, own), (0, 0.0));
                continue;
            }
            prop_assert!(!keep_zero || cluster > 0);
            let others = clusters.centroids.iter().skip(usize::from(keep_zero));
            let nearest = others.map(|c| (c - x).abs()).fold(f32::INFINITY, f32::min);
            prop_assert!((own - x).abs() <= nearest + 1e-6);
        }
    }
}
