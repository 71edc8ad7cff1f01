//! Permutes the axes of stored tensors.

/// NCHW to NHWC.
pub(crate) const TO_NHWC: [usize; 4] = [0, 2, 3, 1];
/// NHWC to NCHW.
pub(crate) const TO_NCHW: [usize; 4] = [0, 3, 1, 2];

/// `items[perm[0]], items[perm[1]], ..`
pub(crate) fn pick<T: Copy>(items: &[T], perm: &[usize]) -> Vec<T> {
    perm.iter().map(|&axis| items[axis]).collect()
}

/// The elements of a row-major tensor of `shape`, with its axes permuted: output axis i is input
/// axis `perm[i]`.
pub(crate) fn permute<T: Copy>(data: &[T], shape: &[usize], perm: &[usize]) -> Vec<T> {
    if moves_nothing(shape, perm) {
        return data.to_vec();
    }
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let (sizes, strides) = (pick(shape, perm), pick(&strides, perm));
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0; sizes.len()];
    let mut at = 0;
    while out.len() < data.len() {
        out.push(data[at]);
        for axis in (0..sizes.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < sizes[axis] {
                break;
            }
            at -= strides[axis] * sizes[axis];
            index[axis] = 0;
        }
    }
    out
}

/// Whether the permutation leaves all elements in place: axes longer than 1 keep their order.
pub(crate) fn moves_nothing(shape: &[usize], perm: &[usize]) -> bool {
    let long = perm.iter().filter(|&&axis| shape[axis] != 1);
    shape.contains(&0) || long.is_sorted()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_turns_to_pixels() {
        let planes: Vec<usize> = (0..2 * 2 * 3).collect();
        assert_eq!(
            permute(&planes, &[1, 2, 2, 3], &TO_NHWC),
            [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
        );
        let pixels = permute(&planes, &[1, 2, 2, 3], &TO_NHWC);
        assert_eq!(permute(&pixels, &[1, 2, 3, 2], &TO_NCHW), planes);
    }

    #[test]
    fn axes_of_one_do_not_matter() {
        assert!(moves_nothing(&[1, 7, 1, 1], &TO_NHWC));
        assert!(moves_nothing(&[1, 1, 4, 5], &TO_NHWC));
        assert!(!moves_nothing(&[1, 3, 4, 5], &TO_NHWC));
    }
}
