//! What the INT8 weights of a layer have in common: zeros, few different values, or few bits for
//! each group. The engine file stores such weights in fewer bytes, and some kernels read them in
//! fewer bytes.
//!
//! A row is the weights of one unit (output channel). The analyses end at the first row that does
//! not fit, so that they cost little on other weights.

/// Largest number of different values in a row of clustered weights.
pub(crate) const CLUSTERS: usize = 16;
/// The sizes of the groups of 4-bit weights, preferred first.
pub(crate) const GROUPS: [usize; 2] = [128, 64];
/// The range of a 4-bit integer.
pub(crate) const INT4: std::ops::RangeInclusive<i32> = -8..=7;

/// The different values of each row in ascending order, if no row has more than [`CLUSTERS`].
/// With `zeros` false, zeros do not count.
pub(crate) fn codebooks(weights: &[i8], row: usize, zeros: bool) -> Option<Vec<Vec<i8>>> {
    let rows = weights.chunks(row.max(1));
    rows.map(|row| levels(row, zeros)).collect()
}

/// The different values of `weights` in ascending order, if there are at most [`CLUSTERS`].
pub(crate) fn levels(weights: &[i8], zeros: bool) -> Option<Vec<i8>> {
    let mut seen = [false; 256];
    let mut count = 0;
    for &weight in weights {
        let seen = &mut seen[usize::from(weight.cast_unsigned())];
        if !*seen && (zeros || weight != 0) {
            count += 1;
            if count > CLUSTERS {
                return None;
            }
        }
        *seen = true;
    }
    let present = |&level: &i8| seen[usize::from(level.cast_unsigned())] && (zeros || level != 0);
    Some((i8::MIN..=i8::MAX).filter(present).collect())
}

/// The number of zeros.
pub(crate) fn zeros(weights: &[i8]) -> usize {
    weights.iter().filter(|&&weight| weight == 0).count()
}

/// A scale for each group of each row, with which every weight is a 4-bit integer times the scale
/// of its group. `None` if a group has none. The groups of a row start at its first weight; the
/// last one may be shorter.
///
/// A scale is the greatest common divisor of its group: no larger one divides all weights.
pub(crate) fn group_scales(weights: &[i8], row: usize, group: usize) -> Option<Vec<u8>> {
    let groups = weights.chunks(row.max(1)).flat_map(|row| row.chunks(group));
    groups.map(group_scale).collect()
}

fn group_scale(weights: &[i8]) -> Option<u8> {
    let divisor = weights.iter().fold(0, |divisor, &weight| {
        greatest_common_divisor(weight.unsigned_abs(), divisor)
    });
    let scale = divisor.max(1);
    let mut integers = weights.iter().map(|&weight| int4(weight, scale));
    integers
        .all(|integer| INT4.contains(&integer))
        .then_some(scale)
}

/// The 4-bit integer of a weight, if `scale` is that of its group.
pub(crate) fn int4(weight: i8, scale: u8) -> i32 {
    i32::from(weight) / i32::from(scale)
}

fn greatest_common_divisor(mut a: u8, mut b: u8) -> u8 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
