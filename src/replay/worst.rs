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
/// look alike, so frames in half a second count once; if that gives too few, the next worst follow
/// behind those, again the largest first.
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
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_apart_come_before_the_neighbours_of_the_worst() {
        // The error grows, so that the worst frames are neighbours. 3 s at 20 Hz.
        let pair = |index: usize| Pair {
            index,
            time: Some(0.05 * index as f64),
            recorded: 0.0,
            predicted: 0.01 * index as f64,
        };
        let pairs: Vec<Pair> = (0..60).map(pair).collect();
        let places = worst(&pairs);
        assert_eq!(places.len(), MOST);
        let near = |pair: &[usize]| pair[0] - pair[1];
        assert!(
            places[..6]
                .windows(2)
                .all(|pair| (10..=11).contains(&near(pair)))
        );
        assert_eq!(places[0], 59);
        assert!(places[6..].is_sorted_by(|one, next| one > next));
        assert_eq!(places[6], 58);
    }
}
