//! Clusters of weights: k-means over single numbers.
//!
//! Centroids start by k-means++ (Arthur, Vassilvitskii, "k-means++: The Advantages of Careful
//! Seeding", SODA 2007) and are moved by Lloyd's algorithm. Clustered weights are trained through
//! their centroids (Han, Mao, Dally, "Deep Compression", ICLR 2016).

use crate::random::Random;

/// The most rounds of Lloyd's algorithm. It usually ends earlier, when no element changes its
/// cluster.
const ROUNDS: usize = 100;

/// The centroids of numbers, and the centroid of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// In ascending order, or 0 first and the others in ascending order.
    pub centroids: Vec<f32>,
    /// The index of each number's centroid.
    pub assignment: Vec<u32>,
}

impl Clusters {
    /// Clusters `values` into at most `count` clusters, fewer if there are fewer different values.
    /// With `keep_zero`, the first cluster is 0 and holds exactly the values that are 0.
    pub fn new(values: &[f32], count: usize, keep_zero: bool, seed: u64) -> Self {
        let is_kept = |x: f32| keep_zero && x == 0.0;
        let others: Vec<f32> = values.iter().copied().filter(|&x| !is_kept(x)).collect();
        let wanted = count.saturating_sub(usize::from(keep_zero)).max(1);
        let mut centroids = seeds(&others, wanted, seed);
        for _ in 0..ROUNDS {
            if !improve(&others, &mut centroids) {
                break;
            }
        }
        let first = u32::from(keep_zero);
        let assign = |&x: &f32| match is_kept(x) {
            true => 0,
            false => nearest(&centroids, x) as u32 + first,
        };
        let assignment = values.iter().map(assign).collect();
        if keep_zero {
            centroids.insert(0, 0.0);
        }
        Self {
            centroids,
            assignment,
        }
    }
}

/// The index of the nearest of ascending centroids; the lower one of two at the same distance.
fn nearest(centroids: &[f32], x: f32) -> usize {
    let above = centroids.partition_point(|&centroid| centroid < x);
    match (above.checked_sub(1), centroids.get(above)) {
        (Some(below), Some(&next)) if next - x < x - centroids[below] => above,
        (Some(below), _) => below,
        (None, _) => 0,
    }
}

/// k-means++: each further seed is drawn with a probability in proportion to the squared distance
/// from the nearest seed.
fn seeds(values: &[f32], count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::stream(seed, 0);
    let Some(&first) = values.get(random.below(values.len())) else {
        return Vec::new();
    };
    let mut seeds = vec![first];
    let squared = |x: f32, seed: f32| (f64::from(x) - f64::from(seed)).powi(2);
    let mut distances: Vec<f64> = values.iter().map(|&x| squared(x, first)).collect();
    while seeds.len() < count {
        let total: f64 = distances.iter().sum();
        if total <= 0.0 {
            break;
        }
        let mut rest = random.unit() * total;
        let drawn = distances.iter().position(|&distance| {
            rest -= distance;
            rest < 0.0 && distance > 0.0
        });
        let last = || distances.iter().rposition(|&distance| distance > 0.0);
        let Some(drawn) = drawn.or_else(last) else {
            break;
        };
        let next = values[drawn];
        seeds.push(next);
        for (distance, &x) in distances.iter_mut().zip(values) {
            *distance = distance.min(squared(x, next));
        }
    }
    seeds.sort_by(f32::total_cmp);
    seeds
}

/// Moves each centroid to the mean of its values. Returns whether one moved.
fn improve(values: &[f32], centroids: &mut [f32]) -> bool {
    let mut sums = vec![(0.0_f64, 0_u64); centroids.len()];
    for &x in values {
        if let Some((sum, count)) = sums.get_mut(nearest(centroids, x)) {
            *sum += f64::from(x);
            *count += 1;
        }
    }
    let mut moved = false;
    for (centroid, (sum, count)) in centroids.iter_mut().zip(sums) {
        if count > 0 {
            let mean = (sum / count as f64) as f32;
            moved |= mean != *centroid;
            *centroid = mean;
        }
    }
    centroids.sort_by(f32::total_cmp);
    moved
}
