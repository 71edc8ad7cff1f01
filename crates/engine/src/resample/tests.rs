use proptest::prelude::*;

use super::*;

fn available_vectors() -> Vec<Vectors> {
    let sets = InstructionSet::ALL.into_iter();
    sets.filter(|set| set.is_available())
        .map(Vectors::of)
        .collect()
}

/// Weights that sum to one, sometimes a single weight.
fn weights() -> impl Strategy<Value = Vec<u16>> {
    proptest::collection::vec(1..1_000_u32, 1..20).prop_map(|shares| {
        let total: u32 = shares.iter().sum();
        let (mut sum, mut before) = (0, 0);
        shares
            .iter()
            .map(|share| {
                sum += share;
                let upto = (sum << WEIGHT_BITS) / total;
                let weight = upto - before;
                before = upto;
                weight as u16
            })
            .collect()
    })
}

fn finishes() -> impl Strategy<Value = Epilogue> {
    proptest::sample::select(vec![
        Epilogue::Three,
        Epilogue::One,
        Epilogue::Luminance,
        Epilogue::Rgb,
        Epilogue::Bgr,
        Epilogue::Grey,
    ])
}

/// Bytes; 0 and 255 are frequent.
fn bytes(count: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0_u8), Just(255), any::<u8>()];
    proptest::collection::vec(byte, count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn row_sums_are_equal_on_all_instruction_sets(
        (weights, width, gap, pixels) in (weights(), 0..200_usize, 0..9_usize).prop_flat_map(
            |(weights, width, gap)| {
                let count = (weights.len() - 1) * (width + gap) + width;
                (Just(weights), Just(width), Just(gap), bytes(count))
            }
        )
    ) {
        let stride = width + gap;
        let mut expected = vec![0; width];
        for (x, expected) in expected.iter_mut().enumerate() {
            let sum: f64 = weights
                .iter()
                .enumerate()
                .map(|(k, &weight)| f64::from(weight) * f64::from(pixels[k * stride + x]))
                .sum();
            *expected = ((sum / 128.0 + 0.5).floor() - 32_768.0) as i16;
        }
        for vectors in available_vectors() {
            let mut out = vec![77; width];
            vectors.sum_rows(&pixels, stride, &weights, &mut out);
            prop_assert_eq!(&out, &expected, "{:?}", vectors);
        }
    }

    #[test]
    fn column_sums_are_equal_on_all_instruction_sets(
        order in proptest::array::uniform8(0..8_u8),
        advance in 1..9_usize,
        finish in finishes(),
        pixels in prop_oneof![
            proptest::collection::vec((0..50_usize, weights()), 0..40),
            // In ascending order, as when a row is downscaled.
            proptest::collection::vec((0..8_usize, weights()), 0..90).prop_map(|pixels| {
                let steps = pixels.into_iter().scan(0, |at, (step, weights)| {
                    *at += step;
                    Some((*at, weights))
                });
                steps.collect()
            }),
        ],
        seed: u64,
    ) {
        // The weights of each sum add up to one; the sums that form one value share the one.
        let lanes: &[&[usize]] = match finish {
            Epilogue::Three | Epilogue::Luminance => &[&[0, 1], &[2, 3], &[4, 5]],
            Epilogue::One => &[&[0, 1, 2, 3, 4, 5, 6, 7]],
            Epilogue::Rgb | Epilogue::Bgr | Epilogue::Grey => &[&[0, 1, 2, 3], &[4, 5], &[6, 7]],
        };
        let pixels: Vec<(usize, Vec<Share>)> = pixels
            .into_iter()
            .map(|(start, weights)| {
                let shares = lanes.iter().flat_map(|places| {
                    weights.iter().enumerate().map(|(tap, &weight)| Share {
                        load: tap / places.len(),
                        place: places[tap % places.len()],
                        weight,
                    })
                });
                (start, shares.collect())
            })
            .collect();
        let plain = Columns::new(
            Vectors::of(InstructionSet::Scalar), order, advance, finish, pixels.clone(),
        );
        let mut state = seed | 1;
        let all: Vec<_> = available_vectors()
            .into_iter()
            .map(|vectors| Columns::new(vectors, order, advance, finish, pixels.clone()))
            .collect();
        let longest = all.iter().map(Columns::row_len).max();
        let row: Vec<i16> = (0..longest.unwrap_or(plain.row_len()))
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Possible results of `sum_rows`; the extremes are frequent.
                match state >> 61 {
                    0 => -32_768,
                    1 => 32_512,
                    _ => ((state >> 33) % 65_281) as i32 as i16 ^ -32_768,
                }
            })
            .map(|sample| sample.min(32_512))
            .collect();
        let mut expected = vec![0; pixels.len() * finish.channels()];
        plain.run(&row, &mut expected);
        for columns in all {
            let mut out = vec![99; expected.len()];
            columns.run(&row, &mut out);
            prop_assert_eq!(&out, &expected, "{:?} {:?}", columns.vectors, finish);
        }
    }
}

#[test]
fn colours_match_itu_bt_601() {
    // 8-bit luma, blue and red chroma, and the colours, of the bars of ITU-R BT.601.
    let bars = [
        ([235, 128, 128], [255, 255, 255]),
        ([16, 128, 128], [0, 0, 0]),
        ([81, 90, 240], [255, 0, 0]),
        ([145, 54, 34], [0, 255, 0]),
        ([41, 240, 110], [0, 0, 255]),
        ([126, 128, 128], [128, 128, 128]),
    ];
    for (yuv, colour) in bars {
        let [y, u, v] = yuv.map(|value| value << FRACTION);
        let mut out = [0; 3];
        finish(Epilogue::Rgb, [y, 0, u, v], &mut out);
        for (found, expected) in out.iter().zip(colour) {
            assert!(found.abs_diff(expected) <= 1, "{yuv:?} became {out:?}");
        }
        let [red, green, blue] = out;
        finish(Epilogue::Bgr, [y, 0, u, v], &mut out);
        assert_eq!(out, [blue, green, red]);
    }
}
