//! How an engine file stores INT8 weights in fewer bytes. Every encoding is exact: the same
//! integers are read back.
//!
//! Rows are those of the constant's first axis. Integers of fewer than 8 bits follow one another
//! without gaps, the first in the lowest bits of the first byte; the unused bits of the last byte
//! are 0. docs/engine-file.md describes the encodings.

mod bits;

use serde::{Deserialize, Serialize};

use self::bits::{Reader, pack};
use crate::weights::{self, GROUPS, INT4};

/// Constants with fewer elements are stored as they are.
const LEAST: usize = 1024;

/// Bits of an index: codebooks have at most [`CLUSTERS`](weights::CLUSTERS) elements.
const BITS: std::ops::RangeInclusive<u8> = 1..=4;

/// How a constant's elements are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Encoding {
    /// Codebooks, then an index for each element.
    Clustered(Codebooks),
    /// A bit for each element, 1 if it is not 0, padded to a byte; then the elements that are not 0.
    Sparse,
    /// The bits of [`Sparse`](Self::Sparse), the codebooks, then an index for each element that is
    /// not 0.
    SparseClustered(Codebooks),
    /// A scale (u8) for each group of each row, then a 4-bit integer in two's complement for each
    /// element, which is the integer times its group's scale.
    Int4 {
        /// Elements of a group; the last one of a row may have fewer.
        group: usize,
    },
}

/// The codebooks of a clustered constant. Each has `2^bits` elements; the last value is repeated
/// where fewer are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Codebooks {
    /// Bits of an index, 1 to 4.
    bits: u8,
    /// Whether there is a codebook for each row; otherwise one for all rows.
    per_row: bool,
}

impl Codebooks {
    /// The index of the codebook of the element `at`, in rows of `row`.
    fn book(self, at: usize, row: usize) -> usize {
        if self.per_row { at / row } else { 0 }
    }
}

impl Encoding {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Clustered(_) => "clustered",
            Self::Sparse => "sparse",
            Self::SparseClustered(_) => "sparse, clustered",
            Self::Int4 { .. } => "int4",
        }
    }
}

/// The encoding with the fewest bytes, and its bytes; `None` if none has fewer bytes than the
/// elements. `row` is the number of elements of a row.
pub(crate) fn encode(weights: &[i8], row: usize) -> Option<(Encoding, Vec<u8>)> {
    let (encoding, bytes) = smallest(weights, row)?;
    let encoded = write(encoding, weights, row)?;
    debug_assert_eq!(encoded.len(), bytes);
    Some((encoding, encoded))
}

/// The encoding with the fewest bytes and its number of bytes, see [`encode`].
pub(crate) fn smallest(weights: &[i8], row: usize) -> Option<(Encoding, usize)> {
    let len = weights.len();
    if len < LEAST || row == 0 {
        return None;
    }
    let zeros = weights::zeros(weights);
    let mut candidates = vec![(Encoding::Sparse, len.div_ceil(8) + len - zeros)];
    for sparse in [false, true] {
        let indices = if sparse { len - zeros } else { len };
        let bitmap = if sparse { len.div_ceil(8) } else { 0 };
        for per_row in [false, true] {
            let Some(books) = books(weights, row, per_row, !sparse) else {
                continue;
            };
            let most = books.iter().map(Vec::len).max().unwrap_or(0);
            let bits = bits_for(most);
            let codebooks = Codebooks { bits, per_row };
            let encoding = match sparse {
                false => Encoding::Clustered(codebooks),
                true => Encoding::SparseClustered(codebooks),
            };
            let bytes = bitmap + (books.len() << bits) + (indices * usize::from(bits)).div_ceil(8);
            candidates.push((encoding, bytes));
        }
    }
    for group in GROUPS {
        if weights::group_scales(weights, row, group).is_some() {
            let scales = len / row * row.div_ceil(group);
            candidates.push((Encoding::Int4 { group }, scales + len.div_ceil(2)));
        }
    }
    let best = candidates.into_iter().min_by_key(|&(_, bytes)| bytes);
    best.filter(|&(_, bytes)| bytes < len)
}

/// Bits of an index into a codebook of `count` values.
fn bits_for(count: usize) -> u8 {
    match count {
        0..=2 => 1,
        3..=4 => 2,
        5..=8 => 3,
        _ => 4,
    }
}

/// The values of the codebooks, if each has at most [`CLUSTERS`](weights::CLUSTERS).
fn books(weights: &[i8], row: usize, per_row: bool, zeros: bool) -> Option<Vec<Vec<i8>>> {
    match per_row {
        true => weights::codebooks(weights, row, zeros),
        false => weights::levels(weights, zeros).map(|levels| vec![levels]),
    }
}

/// `None` if the weights do not fit the encoding.
fn write(encoding: Encoding, weights: &[i8], row: usize) -> Option<Vec<u8>> {
    let bitmap = || pack(1, weights.iter().map(|&weight| u8::from(weight != 0)));
    Some(match encoding {
        Encoding::Sparse => {
            let mut bytes = bitmap();
            let stored = weights.iter().filter(|&&weight| weight != 0);
            bytes.extend(stored.map(|weight| weight.cast_unsigned()));
            bytes
        }
        Encoding::Clustered(codebooks) => indices(codebooks, weights, row, true)?,
        Encoding::SparseClustered(codebooks) => {
            let mut bytes = bitmap();
            bytes.extend(indices(codebooks, weights, row, false)?);
            bytes
        }
        Encoding::Int4 { group } => {
            let mut bytes = weights::group_scales(weights, row, group)?;
            let groups = row.div_ceil(group);
            let integers = weights.iter().enumerate().map(|(at, &weight)| {
                let scale = bytes[at / row * groups + at % row / group];
                weights::int4(weight, scale) as u8 & 0xf
            });
            let packed = pack(4, integers);
            bytes.extend(packed);
            bytes
        }
    })
}

/// The codebooks, and the indices of the weights.
fn indices(codebooks: Codebooks, weights: &[i8], row: usize, zeros: bool) -> Option<Vec<u8>> {
    let bits = codebooks.bits;
    let books = books(weights, row, codebooks.per_row, zeros)?;
    let mut bytes = Vec::new();
    for book in &books {
        let last = book.last().copied().unwrap_or(0);
        let padded = book.iter().copied().chain(std::iter::repeat(last));
        bytes.extend(padded.take(1 << bits).map(i8::cast_unsigned));
    }
    let stored = weights.iter().enumerate();
    let stored = stored.filter(|&(_, &weight)| zeros || weight != 0);
    let indices = stored.map(|(at, weight)| {
        let book = &books[codebooks.book(at, row)];
        // Every weight is in its codebook.
        book.binary_search(weight).unwrap_or(0) as u8
    });
    bytes.extend(pack(bits, indices));
    Some(bytes)
}

/// The elements that `bytes` stores: `len` in rows of `row`. `None` if the bytes are not those of
/// the encoding: wrong number of bytes, unused bits that are not 0, an element outside i8, a zero
/// among the elements that are not 0, parameters out of range.
pub(crate) fn decode(encoding: Encoding, bytes: &[u8], len: usize, row: usize) -> Option<Vec<i8>> {
    if row == 0 || !len.is_multiple_of(row) {
        return None;
    }
    match encoding {
        Encoding::Clustered(codebooks) => {
            let (books, indices) = split_books(codebooks, bytes, len / row)?;
            let mut reader = Reader::new(codebooks.bits, indices, len)?;
            let of = |at| codebooks.book(at, row) << codebooks.bits;
            let element = |at| books[of(at) + usize::from(reader.next())].cast_signed();
            Some((0..len).map(element).collect())
        }
        Encoding::Sparse => {
            let (bitmap, stored) = split_bitmap(bytes, len)?;
            let mut present = Reader::new(1, bitmap, len)?;
            (stored.len() == ones(bitmap)).then_some(())?;
            let mut stored = stored.iter();
            let element = |_| match present.next() {
                0 => Some(0),
                _ => {
                    let element = stored.next()?.cast_signed();
                    (element != 0).then_some(element)
                }
            };
            (0..len).map(element).collect()
        }
        Encoding::SparseClustered(codebooks) => {
            let (bitmap, rest) = split_bitmap(bytes, len)?;
            let mut present = Reader::new(1, bitmap, len)?;
            let (books, indices) = split_books(codebooks, rest, len / row)?;
            let mut reader = Reader::new(codebooks.bits, indices, ones(bitmap))?;
            let of = |at| codebooks.book(at, row) << codebooks.bits;
            let element = |at| match present.next() {
                0 => Some(0),
                _ => {
                    let element = books[of(at) + usize::from(reader.next())].cast_signed();
                    (element != 0).then_some(element)
                }
            };
            (0..len).map(element).collect()
        }
        Encoding::Int4 { group } => {
            GROUPS.contains(&group).then_some(())?;
            let groups = row.div_ceil(group);
            let (scales, integers) = bytes.split_at_checked(len / row * groups)?;
            let mut reader = Reader::new(4, integers, len)?;
            let element = |at: usize| {
                let scale = i32::from(scales[at / row * groups + at % row / group]);
                let integer = i32::from(reader.next());
                let integer = if integer > *INT4.end() {
                    integer - 16
                } else {
                    integer
                };
                i8::try_from(integer * scale).ok()
            };
            (0..len).map(element).collect()
        }
    }
}

/// The codebooks and what follows them.
fn split_books(codebooks: Codebooks, bytes: &[u8], rows: usize) -> Option<(&[u8], &[u8])> {
    let bits = codebooks.bits;
    BITS.contains(&bits).then_some(())?;
    let count = if codebooks.per_row { rows } else { 1 };
    bytes.split_at_checked(count << bits)
}

/// The bits of `len` elements and what follows them.
fn split_bitmap(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(len.div_ceil(8))
}

fn ones(bitmap: &[u8]) -> usize {
    bitmap.iter().map(|byte| byte.count_ones() as usize).sum()
}

#[cfg(test)]
mod tests;
