use proptest::prelude::*;

use super::{ceil_output, floor_output, same_pads};
use crate::{ElementType, Gemm, Op, OpError, Pad, PadMode, Reduction, SliceAxis, TensorType};

fn f32s(shape: &[usize]) -> TensorType {
    TensorType::new(ElementType::F32, shape)
}

fn shape(op: Op, inputs: &[&[usize]]) -> Result<Vec<usize>, OpError> {
    let inputs: Vec<TensorType> = inputs.iter().map(|s| f32s(s)).collect();
    Ok(op.output_types(&inputs, &[])?.remove(0).shape)
}

/// Counts the positions of a sliding window that `allowed` accepts. Its arguments are the
/// window's first and last element relative to the input.
fn count(stride: usize, covers: usize, before: usize, allowed: impl Fn(i64, i64) -> bool) -> usize {
    (0..)
        .map(|i| (i * stride) as i64 - before as i64)
        .take_while(|&first| allowed(first, first + covers as i64 - 1))
        .count()
}

proptest! {
    #[test]
    fn output_sizes_count_the_window_positions(
        size in 1..30usize,
        kernel in 1..6usize,
        stride in 1..5usize,
        dilation in 1..4usize,
        before in 0..5usize,
        after in 0..5usize,
    ) {
        let covers = dilation * (kernel - 1) + 1;
        let pads = [before % covers, after % covers];
        let end = (size + pads[1]) as i64;
        let inside = count(stride, covers, pads[0], |_, last| last < end);
        let floor = floor_output(size, kernel, stride, dilation, pads);
        prop_assert_eq!(floor.unwrap_or(0), inside);
        // Rounded up: one more window may extend past the end if the window before it left
        // elements uncovered, and if it starts in the input or the leading padding.
        if inside > 0 {
            let more = count(stride, covers, pads[0], |first, last| {
                first < size as i64 && last - (stride as i64) < end - 1
            });
            prop_assert_eq!(ceil_output(size, kernel, stride, dilation, pads), Some(more));
        }
    }

    #[test]
    fn same_pads_give_the_size_over_the_stride(
        size in 1..30usize,
        kernel in 1..6usize,
        stride in 1..5usize,
        dilation in 1..4usize,
        odd_after: bool,
    ) {
        let pads = same_pads(size, kernel, stride, dilation, odd_after);
        let out = floor_output(size, kernel, stride, dilation, pads);
        prop_assert_eq!(out, Some(size.div_ceil(stride)));
        prop_assert!(pads[0].abs_diff(pads[1]) <= 1);
        let (smaller, larger) = if odd_after { (pads[0], pads[1]) } else { (pads[1], pads[0]) };
        prop_assert!(smaller <= larger);
    }

    #[test]
    fn types_never_panic_on_arbitrary_sizes(
        sizes in prop::collection::vec(prop_oneof![0..5usize, any::<usize>()], 0..5),
        other in prop::collection::vec(prop_oneof![0..5usize, any::<usize>()], 0..5),
        numbers in prop::collection::vec(prop_oneof![0..5usize, any::<usize>()], 12),
    ) {
        let n = |i: usize| numbers[i];
        let pool = crate::Pool {
            kernel: [n(0), n(1)],
            strides: [n(2), n(3)],
            pads: [n(4), n(5), n(6), n(7)],
            dilations: [n(8), n(9)],
            count_include_pad: false,
        };
        let conv = crate::Conv {
            kernel: pool.kernel,
            strides: pool.strides,
            pads: pool.pads,
            dilations: pool.dilations,
            groups: n(10),
        };
        let signed = |from: usize| (0..sizes.len()).map(|i| n(from + i) as isize).collect();
        let ops = [
            Op::Conv(conv),
            Op::MaxPool(pool),
            Op::MatMul,
            Op::Add,
            Op::Concat { axis: n(0) },
            Op::Split { axis: n(0) },
            Op::Flatten { axis: n(0) },
            Op::Squeeze { axes: vec![n(0)] },
            Op::Unsqueeze { axes: vec![n(0), n(1)] },
            Op::Transpose { perm: vec![n(0), n(1)] },
            Op::Softmax { axis: n(0), end_axis: n(1) },
            Op::Reduce { reduction: Reduction::Mean, axes: vec![n(0)], keep_dims: true },
            Op::Slice {
                axes: (0..sizes.len())
                    .map(|i| SliceAxis { start: n(i), step: n(i + 4) as isize, length: n(i + 7) })
                    .collect(),
            },
            Op::Pad(Pad { before: signed(0), after: signed(4), mode: PadMode::Reflect }),
            Op::QuantizeLinear { axis: n(0) },
        ];
        for op in ops {
            for inputs in [vec![f32s(&sizes)], vec![f32s(&sizes), f32s(&other)]] {
                let declared = [vec![], vec![other.clone()]];
                for declared in &declared {
                    if let Ok(types) = op.output_types(&inputs, declared) {
                        for t in types {
                            prop_assert!(crate::tensor::element_count(&t.shape).is_some());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn matrices_multiply_as_in_numpy() {
    // The cases are from numpy.matmul's documentation.
    for (a, b, out) in [
        (&[2, 3][..], &[3, 4][..], Some(vec![2, 4])),
        (&[3], &[3], Some(vec![])),
        (&[3], &[3, 4], Some(vec![4])),
        (&[2, 3], &[3], Some(vec![2])),
        (&[9, 5, 7, 4], &[9, 5, 4, 3], Some(vec![9, 5, 7, 3])),
        (&[1, 5, 7, 4], &[4, 3], Some(vec![1, 5, 7, 3])),
        (&[2, 1, 3, 4], &[5, 4, 6], Some(vec![2, 5, 3, 6])),
        (&[2, 3], &[4, 2], None),
        (&[], &[1], None),
    ] {
        assert_eq!(shape(Op::MatMul, &[a, b]).ok(), out, "{a:?} {b:?}");
    }
}

#[test]
fn shapes_broadcast_as_in_numpy() {
    for (a, b, out) in [
        (&[2, 3, 4][..], &[3, 1][..], Some(vec![2, 3, 4])),
        (&[1, 3], &[2, 1, 1], Some(vec![2, 1, 3])),
        (&[], &[5], Some(vec![5])),
        (&[0], &[1], Some(vec![0])),
        (&[0], &[2], None),
        (&[2, 3], &[2], None),
    ] {
        assert_eq!(shape(Op::Add, &[a, b]).ok(), out, "{a:?} {b:?}");
        assert_eq!(shape(Op::Add, &[b, a]).ok(), out, "{b:?} {a:?}");
    }
}

#[test]
fn gemm_takes_c_that_broadcasts_one_way() {
    let gemm = |c: &[usize]| {
        let gemm = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transpose_a: true,
            transpose_b: false,
        };
        shape(Op::Gemm(gemm), &[&[3, 2], &[3, 4], c])
    };
    for c in [&[][..], &[4], &[1], &[2, 1], &[1, 4], &[2, 4]] {
        assert_eq!(gemm(c), Ok(vec![2, 4]), "{c:?}");
    }
    for c in [&[2][..], &[4, 2], &[1, 2, 4]] {
        assert!(gemm(c).is_err(), "{c:?}");
    }
}

#[test]
fn padding_stays_within_what_the_input_can_fill() {
    let pad = |size: usize, before: isize, after: isize, mode| {
        let pad = Pad {
            before: vec![before],
            after: vec![after],
            mode,
        };
        shape(Op::Pad(pad), &[&[size]])
    };
    assert_eq!(pad(3, 2, 2, PadMode::Reflect), Ok(vec![7]));
    assert!(pad(3, 3, 0, PadMode::Reflect).is_err());
    assert_eq!(pad(3, 3, 0, PadMode::Wrap), Ok(vec![6]));
    assert!(pad(3, 4, 0, PadMode::Wrap).is_err());
    assert_eq!(pad(3, 9, -1, PadMode::Edge), Ok(vec![11]));
    assert!(pad(0, 1, 0, PadMode::Edge).is_err());
    assert_eq!(pad(0, 1, 0, PadMode::Constant(0.0)), Ok(vec![1]));
    assert!(pad(3, -2, -2, PadMode::Constant(0.0)).is_err());
    assert!(pad(3, 0, 0, PadMode::Constant(f32::NAN)).is_err());
}
