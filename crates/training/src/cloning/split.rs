//! Holds frames back by drives or by blocks of time. Neighbouring frames are almost equal: a frame
//! held back between two frames that are learned would measure memory, not driving.

use pilotage_simulator::Random;

use super::frames::Place;

/// Fewer frames cannot be divided.
pub const FEWEST: usize = 20;
/// Frames this near to a held-back block are not learned, seconds; at most a quarter of a block.
const MARGIN: f64 = 1.0;

/// Which frames are learned, and which measure the error.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Indices of the frames that are learned, in order.
    pub learned: Vec<usize>,
    /// Indices of the frames that are held back, in order.
    pub held_back: Vec<usize>,
    /// How they were chosen.
    pub method: Method,
}

/// How frames were held back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Whole drives.
    Drives {
        /// Drives that are held back.
        held_back: usize,
        /// Drives in all.
        of: usize,
    },
    /// Blocks of time.
    Blocks {
        /// Blocks that are held back.
        held_back: usize,
        /// Blocks in all.
        of: usize,
        /// The length of a block.
        seconds: f64,
    },
    /// Recordings that the operator named.
    Recordings,
}

/// Fewer than [`FEWEST`] frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} frames are too few to learn from and to measure the error; record some thousand")]
pub struct TooFew(pub usize);

/// Holds back about `share` of the frames: whole drives if some of them amount to that, else blocks
/// of `block` seconds, or shorter ones if the recording is short. The choice depends on `seed`.
///
/// # Errors
/// When there are too few frames.
pub fn split(places: &[Place], share: f64, block: f64, seed: u64) -> Result<Split, TooFew> {
    if places.len() < FEWEST {
        return Err(TooFew(places.len()));
    }
    let mut random = Random::stream(seed, 0x5917);
    let split = match by_drives(places, share, &mut random) {
        Some(split) => split,
        None => by_blocks(places, share, block, &mut random),
    };
    match split.learned.is_empty() || split.held_back.is_empty() {
        true => Err(TooFew(places.len())),
        false => Ok(split),
    }
}

fn by_drives(places: &[Place], share: f64, random: &mut Random) -> Option<Split> {
    let drives = places.last().map_or(0, |place| place.drive + 1);
    let mut sizes = vec![0usize; drives];
    for place in places {
        sizes[place.drive] += 1;
    }
    let mut order: Vec<usize> = (0..drives).filter(|&drive| sizes[drive] > 0).collect();
    let of = order.len();
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    let wanted = share * places.len() as f64;
    let mut held = vec![false; drives];
    let mut count = 0;
    for drive in order {
        if (count + sizes[drive]) as f64 <= 1.34 * wanted {
            held[drive] = true;
            count += sizes[drive];
        }
    }
    if (count as f64) < 0.67 * wanted {
        return None;
    }
    let (held_back, learned) = (0..places.len()).partition(|&index| held[places[index].drive]);
    let method = Method::Drives {
        held_back: held.iter().filter(|&&held| held).count(),
        of,
    };
    Some(Split {
        learned,
        held_back,
        method,
    })
}

fn by_blocks(places: &[Place], share: f64, block: f64, random: &mut Random) -> Split {
    // Of every `group` blocks one is held back.
    let group = (1.0 / share).round().max(2.0) as usize;
    let starts = drive_starts(places);
    let seconds: f64 = (starts.windows(2))
        .map(|pair| places[pair[1] - 1].time - places[pair[0]].time)
        .sum();
    let seconds = seconds.max(f64::MIN_POSITIVE);
    let block = block.min(seconds / (2 * group) as f64);
    let margin = MARGIN.min(0.25 * block);
    let mut blocks: Vec<(usize, usize)> = Vec::new();
    for drive in starts.windows(2) {
        let begin = places[drive[0]].time;
        let number = |index: usize| ((places[index].time - begin) / block) as u64;
        let mut first = drive[0];
        for index in drive[0] + 1..=drive[1] {
            if index == drive[1] || number(index) != number(first) {
                blocks.push((first, index));
                first = index;
            }
        }
    }
    let mut held = vec![false; blocks.len()];
    for first in (0..blocks.len()).step_by(group) {
        let size = group.min(blocks.len() - first);
        if 2 * size >= group || first == 0 {
            held[first + random.below(size)] = true;
        }
    }
    divide(places, &blocks, &held, margin, block)
}

/// The index of every drive's first frame, and the number of frames.
fn drive_starts(places: &[Place]) -> Vec<usize> {
    let mut starts = vec![0];
    let pairs = places.windows(2).enumerate();
    starts.extend(
        pairs
            .filter(|(_, pair)| pair[0].drive != pair[1].drive)
            .map(|(index, _)| index + 1),
    );
    starts.push(places.len());
    starts
}

fn divide(
    places: &[Place],
    blocks: &[(usize, usize)],
    held: &[bool],
    margin: f64,
    seconds: f64,
) -> Split {
    let mut held_back = Vec::new();
    let mut near = vec![false; places.len()];
    for (&(first, end), _) in blocks.iter().zip(held).filter(|(_, held)| **held) {
        held_back.extend(first..end);
        let (begin, last) = (places[first], places[end - 1]);
        let is_near = |index: &usize| {
            let place = places[*index];
            place.drive == begin.drive
                && place.time >= begin.time - margin
                && place.time <= last.time + margin
        };
        for index in (0..first).rev().take_while(is_near) {
            near[index] = true;
        }
        for index in (first..places.len()).take_while(is_near) {
            near[index] = true;
        }
    }
    Split {
        learned: (0..places.len()).filter(|&index| !near[index]).collect(),
        held_back,
        method: Method::Blocks {
            held_back: held.iter().filter(|&&held| held).count(),
            of: blocks.len(),
            seconds,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive(drive: usize, frames: usize) -> Vec<Place> {
        let place = |index| Place {
            drive,
            time: 100.0 + index as f64 * 0.05,
        };
        (0..frames).map(place).collect()
    }

    #[test]
    fn one_drive_is_divided_by_blocks_of_time_with_a_margin() {
        let places = drive(0, 4000);
        let split = split(&places, 0.15, 10.0, 3).unwrap();
        let Method::Blocks {
            held_back,
            of,
            seconds,
        } = split.method
        else {
            panic!("{:?}", split.method);
        };
        assert_eq!((held_back, of, seconds), (3, 20, 10.0));
        assert_eq!(split.held_back.len(), 600);
        // No learned frame is nearer than a second to one that is held back.
        for &learned in &split.learned {
            for &held in &split.held_back {
                let apart = (places[learned].time - places[held].time).abs();
                assert!(apart > 0.999, "{learned} and {held}");
            }
        }
        assert!(split.learned.len() >= 4000 - 600 - 6 * 21);
        // Each block is whole.
        let gaps = split
            .held_back
            .windows(2)
            .filter(|pair| pair[1] != pair[0] + 1);
        assert!(gaps.count() <= 2);
    }

    #[test]
    fn many_drives_are_held_back_whole() {
        let places: Vec<Place> = (0..20).flat_map(|index| drive(index, 100)).collect();
        let split = split(&places, 0.15, 10.0, 1).unwrap();
        let Method::Drives { held_back, of } = split.method else {
            panic!("{:?}", split.method);
        };
        assert_eq!(of, 20);
        assert!((2..=4).contains(&held_back), "{held_back}");
        assert_eq!(split.learned.len() + split.held_back.len(), 2000);
        for &index in &split.held_back {
            let drive = places[index].drive;
            assert!(
                !split
                    .learned
                    .iter()
                    .any(|&other| places[other].drive == drive)
            );
        }
    }

    #[test]
    fn short_recordings_are_divided_and_shorter_ones_refused() {
        let split_of = |frames, seed| split(&drive(0, frames), 0.15, 10.0, seed);
        for seed in 0..20 {
            let split = split_of(40, seed).unwrap();
            assert!((3..=12).contains(&split.held_back.len()), "{split:?}");
            assert!(split.learned.len() >= 24, "{split:?}");
        }
        assert_eq!(split_of(19, 1), Err(TooFew(19)));
        let still = vec![
            Place {
                drive: 0,
                time: 1.0
            };
            30
        ];
        assert_eq!(split(&still, 0.15, 10.0, 1), Err(TooFew(30)));
        assert_eq!(split_of(100, 5), split_of(100, 5));
    }
}
