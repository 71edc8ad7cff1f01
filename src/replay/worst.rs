//! The frames with the largest errors.

use super::compare::Pair;
use super::figures::period;

/// How many frames are named.
pub(crate) const MOST: usize = 20;
/// Of the frames this near to each other only the worst is named, seconds; frames where there are
/// no times.
const APART: f64 = 0.5;
const APART_FRAMES: usize = 10;

/// The places of the pairs with the largest absolute errors, the largest first. Neighbouring frames
/// look alike, so frames in half a second count once; if that gives too few, the next worst follow.
pub(crate) fn worst(pairs: &[Pair]) -> Vec<usize> {
    let apart = match period(pairs) {
        Some(period) => (APART / period).ceil().min(1e6) as usize,
        None => APART_FRAMES,
    };
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    let error = |place: usize| pairs[place].error().abs();
    order.sort_by(|&one, &other| error(other).total_cmp(&error(one)).then(one.cmp(&other)));
    let mut chosen: Vec<usize> = Vec::new();
    for &place in &order {
        if chosen.len() == MOST {
            break;
        }
        let is_near = |&other: &usize| pairs[place].index.abs_diff(pairs[other].index) < apart;
        if !chosen.iter().any(is_near) {
            chosen.push(place);
        }
    }
    let rest = order.iter().filter(|place| !chosen.contains(place));
    let rest: Vec<usize> = rest.copied().take(MOST - chosen.len()).collect();
    chosen.extend(rest);
    chosen.sort_by(|&one, &other| error(other).total_cmp(&error(one)).then(one.cmp(&other)));
    chosen
}
