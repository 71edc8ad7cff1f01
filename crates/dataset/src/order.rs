//! The order of file names.

use std::cmp::Ordering;

/// Compares names as a reader would: numbers by their value, so that `9.jpg` is before `10.jpg`,
/// everything else by its bytes. A total order: equal only for equal names.
pub fn natural(one: &str, other: &str) -> Ordering {
    let (mut a, mut b) = (one.as_bytes(), other.as_bytes());
    while let (Some(&first), Some(&second)) = (a.first(), b.first()) {
        let order = if first.is_ascii_digit() && second.is_ascii_digit() {
            let (left, right);
            (left, a) = number(a);
            (right, b) = number(b);
            // Without leading zeros the longer number is the larger.
            left.len().cmp(&right.len()).then_with(|| left.cmp(right))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            first.cmp(&second)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    // Names that differ in leading zeros only.
    a.len().cmp(&b.len()).then_with(|| one.cmp(other))
}

/// The digits at the start without leading zeros, and the rest.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    (&digits[zeros..], rest)
}
