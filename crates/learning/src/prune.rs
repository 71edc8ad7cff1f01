//! Masks that prune weights by magnitude, and how the pruned share grows.

/// The mask of `values` without the `share` of smallest magnitude (L1). Of equal magnitudes, those
/// with lower indices are pruned first.
pub fn magnitude_mask(values: &[f32], share: f64) -> Vec<bool> {
    let mut masks = magnitude_masks(&[values], share);
    masks.swap_remove(0)
}

/// The masks of several tensors without the `share` of smallest magnitude of all together.
pub fn magnitude_masks(tensors: &[&[f32]], share: f64) -> Vec<Vec<bool>> {
    let magnitudes = tensors.iter().flat_map(|values| values.iter());
    let mut order: Vec<(f32, usize)> = magnitudes.map(|x| x.abs()).zip(0..).collect();
    let pruned = (share.clamp(0.0, 1.0) * order.len() as f64).round() as usize;
    let ascending = |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if pruned < order.len() {
        order.select_nth_unstable_by(pruned, ascending);
    }
    let mut keep = vec![true; order.len()];
    for &(_, index) in &order[..pruned] {
        keep[index] = false;
    }
    let mut rest = &keep[..];
    let mut masks = Vec::with_capacity(tensors.len());
    for values in tensors {
        let (mask, others) = rest.split_at(values.len());
        masks.push(mask.to_vec());
        rest = others;
    }
    masks
}

/// The mask of the 2:4 pattern: of each four neighbours along `axis` of `shape`, the two values of
/// smallest magnitude are pruned. A remainder of fewer than four is kept. Of equal magnitudes, those
/// with lower indices are pruned first.
///
/// GPUs from NVIDIA's Ampere on skip the zeros of this pattern along a layer's inputs: Mishra et al.,
/// "Accelerating Sparse Deep Neural Networks" (2021).
pub fn two_of_four_mask(values: &[f32], shape: &[usize], axis: usize) -> Vec<bool> {
    let mut keep = vec![true; values.len()];
    let Some((&len, inner)) = shape.get(axis..).and_then(<[usize]>::split_first) else {
        return keep;
    };
    let distance: usize = inner.iter().product();
    let block = len * distance;
    for start in (0..values.len() / block.max(1)).map(|outer| outer * block) {
        for group in 0..len / 4 {
            for first in (start + group * 4 * distance..).take(distance) {
                let mut group = [0, 1, 2, 3].map(|place| first + place * distance);
                group.sort_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()));
                keep[group[0]] = false;
                keep[group[1]] = false;
            }
        }
    }
    keep
}

/// A pruned share that grows fast at first and slowly at the end: Zhu, Gupta, "To prune, or not to
/// prune" (2017), equation 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolynomialSparsity {
    /// The share before the first step.
    pub first: f64,
    /// The share from `steps` on.
    pub last: f64,
    /// The number of steps.
    pub steps: u64,
}

impl PolynomialSparsity {
    /// The share after `step` steps.
    pub fn at(&self, step: u64) -> f64 {
        let rest = match self.steps {
            0 => 0.0,
            steps => 1.0 - step.min(steps) as f64 / steps as f64,
        };
        self.last + (self.first - self.last) * rest.powi(3)
    }
}
