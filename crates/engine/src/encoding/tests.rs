use proptest::prelude::*;

use super::*;

const ROW: usize = 100;
const ROWS: usize = 12;

/// Weights of `ROWS` rows: each element is chosen from its row's values, or is 0.
fn weights(levels: usize, density: f64, per_row: bool) -> impl Strategy<Value = Vec<i8>> {
    let values = prop::collection::vec(prop::collection::vec(any::<i8>(), levels), ROWS);
    let element = (any::<prop::sample::Index>(), prop::bool::weighted(density));
    (values, prop::collection::vec(element, ROW * ROWS)).prop_map(move |(values, elements)| {
        let of = |at: usize| &values[if per_row { at / ROW } else { 0 }];
        let elements = elements.into_iter().enumerate();
        elements
            .map(|(at, (index, kept))| if kept { *index.get(of(at)) } else { 0 })
            .collect()
    })
}

/// Weights that are 4-bit integers times a scale for each 64 weights of a row.
fn grouped() -> impl Strategy<Value = Vec<i8>> {
    let groups = ROWS * ROW.div_ceil(64);
    let scales = prop::collection::vec(1_i8..17, groups);
    (scales, prop::collection::vec(-7_i8..8, ROW * ROWS)).prop_map(|(scales, integers)| {
        let scale = |at: usize| scales[at / ROW * ROW.div_ceil(64) + at % ROW / 64];
        let elements = integers.into_iter().enumerate();
        elements.map(|(at, integer)| integer * scale(at)).collect()
    })
}

fn any_weights() -> impl Strategy<Value = Vec<i8>> {
    prop_oneof![
        weights(3, 1.0, false),
        weights(8, 1.0, true),
        weights(16, 1.0, false),
        weights(16, 0.9, true),
        weights(200, 0.3, true),
        weights(200, 1.0, true),
        weights(7, 0.2, true),
        weights(1, 0.0, false),
        grouped(),
    ]
}

/// Every encoding that fits the weights, whichever is smallest.
fn all(weights: &[i8]) -> Vec<(Encoding, Vec<u8>)> {
    let books = [1, 2, 3, 4]
        .into_iter()
        .flat_map(|bits| [true, false].map(|per_row| Codebooks { bits, per_row }));
    let clustered = books.flat_map(|codebooks| {
        [
            Encoding::Clustered(codebooks),
            Encoding::SparseClustered(codebooks),
        ]
    });
    let groups = GROUPS.map(|group| Encoding::Int4 { group });
    let encodings = clustered.chain(groups).chain([Encoding::Sparse]);
    let fits = |encoding: &Encoding| {
        let (codebooks, zeros) = match *encoding {
            Encoding::Clustered(codebooks) => (codebooks, true),
            Encoding::SparseClustered(codebooks) => (codebooks, false),
            _ => return true,
        };
        books_fit(codebooks, weights, zeros)
    };
    encodings
        .filter(fits)
        .filter_map(|encoding| Some((encoding, write(encoding, weights, ROW)?)))
        .collect()
}

fn books_fit(codebooks: Codebooks, weights: &[i8], zeros: bool) -> bool {
    books(weights, ROW, codebooks.per_row, zeros)
        .is_some_and(|books| books.iter().all(|book| book.len() <= 1 << codebooks.bits))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_encoding_gives_the_same_integers_and_the_smallest_is_chosen(
        weights in any_weights(),
    ) {
        let all = all(&weights);
        for (encoding, bytes) in &all {
            let decoded = decode(*encoding, bytes, weights.len(), ROW);
            prop_assert_eq!(decoded.as_ref(), Some(&weights), "{:?}", encoding);
        }
        let least = all.iter().map(|(_, bytes)| bytes.len()).min().unwrap();
        match encode(&weights, ROW) {
            Some((encoding, bytes)) => {
                prop_assert_eq!(bytes.len(), least);
                prop_assert_eq!(smallest(&weights, ROW), Some((encoding, least)));
            }
            None => prop_assert!(least >= weights.len()),
        }
    }

    #[test]
    fn other_bytes_are_refused_or_are_other_integers(
        weights in any_weights(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        for (encoding, bytes) in all(&weights) {
            let read = |bytes: &[u8]| decode(encoding, bytes, weights.len(), ROW);
            prop_assert_eq!(read(&bytes[..bytes.len() - 1]), None);
            prop_assert_eq!(read(&[&bytes[..], &[0]].concat()), None);
            let mut damaged = bytes.clone();
            *at.get_mut(&mut damaged) ^= flip;
            if let Some(other) = read(&damaged) {
                prop_assert_eq!(other.len(), weights.len());
            }
        }
    }
}

#[test]
fn parameters_out_of_range_are_refused() {
    let bytes = vec![0; 4096];
    let codebooks = |bits| Codebooks {
        bits,
        per_row: false,
    };
    for bits in [0, 5, 8, 255] {
        for length in 0..600 {
            let read = |encoding| decode(encoding, &bytes[..length], 1000, 100);
            assert_eq!(read(Encoding::Clustered(codebooks(bits))), None);
            assert_eq!(read(Encoding::SparseClustered(codebooks(bits))), None);
        }
    }
    for group in [0, 1, 32, 100, 256, usize::MAX] {
        for length in 500..600 {
            let int4 = Encoding::Int4 { group };
            assert_eq!(decode(int4, &bytes[..length], 1000, 100), None);
        }
    }
    // A scale with which an element is outside i8.
    let mut wide = vec![19; 10];
    wide.extend([0x77; 320]);
    let int4 = Encoding::Int4 { group: 64 };
    assert_eq!(decode(int4, &wide, 640, 64), None);
    wide[..10].fill(18);
    assert_eq!(decode(int4, &wide, 640, 64), Some(vec![7 * 18; 640]));
    // A zero among the elements that are not 0.
    let zero = [0xff, 1, 2, 3, 4, 5, 6, 7, 0];
    assert_eq!(decode(Encoding::Sparse, &zero, 8, 8), None);
    assert_eq!(
        decode(Encoding::Sparse, &[0xff; 9], 8, 8),
        Some(vec![-1; 8])
    );
    assert_eq!(decode(Encoding::Sparse, &[0; 1], 8, 0), None);
    assert_eq!(decode(Encoding::Sparse, &[0; 1], 8, 3), None);
}
