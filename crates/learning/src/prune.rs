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
