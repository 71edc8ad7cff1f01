//! Holds frames back by drives or by blocks of time. Neighbouring frames are almost equal: a frame
//! held back between two frames that are learned would measure memory, not driving.

use pilotage_simulator::Random;

use super::frames::Place;

/// Fewer frames cannot be divided.
pub const FEWEST: usize = 20;
/// Frames this near to a held-back block are not learned, seconds; at most a quarter of a block.
const MARGIN: f64 = 1.0;
/// At least so many blocks are held back; a short recording has shorter blocks.
const FEWEST_BLOCKS: usize = 4;

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

/// Choices that are drawn; the one whose steering is most like that of all frames is used.
const TRIES: u64 = 32;

/// Holds back about `share` of the frames: whole drives if some of them amount to that, else blocks
/// of `block` seconds, or shorter ones if the recording is short. Of several random choices, which
/// depend on `seed`, the one is used whose `steering` has the mean and deviation most like those of
/// all frames: a part that is straight throughout would measure nothing.
///
/// # Errors
/// When there are too few frames.
///
/// # Panics
/// When `steering` has another length than `places`.
pub fn split(
    places: &[Place],
    steering: &[f32],
    share: f64,
    block: f64,
    seed: u64,
) -> Result<Split, TooFew> {
    assert_eq!(places.len(), steering.len(), "one value for each frame");
    if places.len() < FEWEST {
        return Err(TooFew(places.len()));
    }
    let split = match by_drives(places, steering, share, seed) {
        Some(split) => split,
        None => by_blocks(places, steering, share, block, seed),
    };
    match split.learned.is_empty() || split.held_back.is_empty() {
        true => Err(TooFew(places.len())),
        false => Ok(split),
    }
}

/// The number of values, their sum, and the sum of their squares.
#[derive(Debug, Clone, Copy, Default)]
struct Sums(f64, f64, f64);

impl Sums {
    fn of(values: &[f32]) -> Self {
        values.iter().fold(Self::default(), |sums, &value| {
            let value = f64::from(value);
            sums.plus(Self(1.0, value, value * value))
        })
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1, self.2 + other.2)
    }

    fn mean_and_deviation(self) -> (f64, f64) {
        let mean = self.1 / self.0;
        (mean, (self.2 / self.0 - mean * mean).max(0.0).sqrt())
    }

    /// How different the values are from `other`.
    fn distance(self, other: Self) -> f64 {
        let (a, b) = (self.mean_and_deviation(), other.mean_and_deviation());
        (a.0 - b.0).abs() + (a.1 - b.1).abs()
    }
}

/// The choice of parts that is most like all of them. `draw` marks the parts of one choice, or
/// gives `None` if it cannot.
fn most_alike(
    parts: &[Sums],
    seed: u64,
    draw: impl Fn(&mut Random) -> Option<Vec<bool>>,
) -> Option<Vec<bool>> {
    let sum = |sums: Sums, part: &Sums| sums.plus(*part);
    let all = parts.iter().fold(Sums::default(), sum);
    let mut best: Option<(f64, Vec<bool>)> = None;
    for attempt in 0..TRIES {
        let mut random = Random::stream(seed, 0x5917 + attempt);
        let Some(held) = draw(&mut random) else {
            continue;
        };
        let chosen = parts.iter().zip(&held).filter(|(_, held)| **held);
        let chosen = chosen.fold(Sums::default(), |sums, (part, _)| sums.plus(*part));
        let distance = chosen.distance(all);
        if best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, held));
        }
    }
    best.map(|(_, held)| held)
}

fn by_drives(places: &[Place], steering: &[f32], share: f64, seed: u64) -> Option<Split> {
    let starts = drive_starts(places);
    let drives: Vec<(usize, usize)> = starts.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let parts: Vec<Sums> = (drives.iter())
        .map(|&(first, end)| Sums::of(&steering[first..end]))
        .collect();
    let wanted = share * places.len() as f64;
    let held = most_alike(&parts, seed, |random| {
        let mut order: Vec<usize> = (0..drives.len()).collect();
        random.shuffle(&mut order);
        let mut held = vec![false; drives.len()];
        let mut count = 0;
        for drive in order {
            let size = drives[drive].1 - drives[drive].0;
            if (count + size) as f64 <= 1.34 * wanted {
                held[drive] = true;
                count += size;
            }
        }
        (count as f64 >= 0.67 * wanted).then_some(held)
    })?;
    // A pause follows every drive, so no margin is needed.
    let mut split = divide(places, &drives, &held, 0.0);
    split.method = Method::Drives {
        held_back: held.iter().filter(|&&held| held).count(),
        of: drives.len(),
    };
    Some(split)
}

fn by_blocks(places: &[Place], steering: &[f32], share: f64, block: f64, seed: u64) -> Split {
    // Of every `group` blocks one is held back.
    let group = (1.0 / share).round().max(2.0) as usize;
    let starts = drive_starts(places);
    let seconds: f64 = (starts.windows(2))
        .map(|pair| places[pair[1] - 1].time - places[pair[0]].time)
        .sum();
    let seconds = seconds.max(f64::MIN_POSITIVE);
    let block = block.min(seconds / (FEWEST_BLOCKS * group) as f64);
    let blocks = blocks(places, &starts, block);
    let parts: Vec<Sums> = (blocks.iter())
        .map(|&(first, end)| Sums::of(&steering[first..end]))
        .collect();
    let held = most_alike(&parts, seed, |random| {
        let mut held = vec![false; blocks.len()];
        for first in (0..blocks.len()).step_by(group) {
            let size = group.min(blocks.len() - first);
            if 2 * size >= group || first == 0 {
                held[first + random.below(size)] = true;
            }
        }
        Some(held)
    });
    let held = held.unwrap_or_default();
    let mut split = divide(places, &blocks, &held, MARGIN.min(0.25 * block));
    split.method = Method::Blocks {
        held_back: held.iter().filter(|&&held| held).count(),
        of: blocks.len(),
        seconds: block,
    };
    split
}

/// Cuts every drive into blocks of `seconds`: the first frame of each, and the one after its last.
fn blocks(places: &[Place], starts: &[usize], seconds: f64) -> Vec<(usize, usize)> {
    let mut blocks = Vec::new();
    for drive in starts.windows(2) {
        let begin = places[drive[0]].time;
        let number = |index: usize| ((places[index].time - begin) / seconds) as u64;
        let mut first = drive[0];
        for index in drive[0] + 1..=drive[1] {
            if index == drive[1] || number(index) != number(first) {
                blocks.push((first, index));
                first = index;
            }
        }
    }
    blocks
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

/// Holds the marked blocks back. Frames within `margin` seconds of them are in neither part.
fn divide(places: &[Place], blocks: &[(usize, usize)], held: &[bool], margin: f64) -> Split {
    let mut held_back = Vec::new();
    let mut near = vec![false; places.len()];
    for (&(first, end), _) in blocks.iter().zip(held).filter(|(_, held)| **held) {
        held_back.extend(first..end);
        near[first..end].fill(true);
        let (begin, last) = (places[first], places[end - 1]);
        let before = |index: &usize| {
            let place = places[*index];
            place.drive == begin.drive && place.time >= begin.time - margin
        };
        let after = |index: &usize| {
            let place = places[*index];
            place.drive == last.drive && place.time <= last.time + margin
        };
        for index in (0..first).rev().take_while(before) {
            near[index] = true;
        }
        for index in (end..places.len()).take_while(after) {
            near[index] = true;
        }
    }
    Split {
        learned: (0..places.len()).filter(|&index| !near[index]).collect(),
        held_back,
        method: Method::Recordings,
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

    fn weave(frames: usize) -> Vec<f32> {
        (0..frames)
            .map(|index| (index as f32 * 0.03).sin())
            .collect()
    }

    #[test]
    fn one_drive_is_divided_by_blocks_of_time_with_a_margin() {
        let places = drive(0, 8000);
        let split = split(&places, &weave(8000), 0.15, 10.0, 3).unwrap();
        let Method::Blocks {
            held_back,
            of,
            seconds,
        } = split.method
        else {
            panic!("{:?}", split.method);
        };
        assert_eq!((held_back, of, seconds), (6, 40, 10.0));
        assert_eq!(split.held_back.len(), 1200);
        // No learned frame is nearer than a second to one that is held back.
        for &learned in &split.learned {
            for &held in &split.held_back {
                let apart = (places[learned].time - places[held].time).abs();
                assert!(apart > 0.999, "{learned} and {held}");
            }
        }
        assert!(split.learned.len() >= 8000 - 1200 - 12 * 21);
        // Each block is whole.
        let gaps = split
            .held_back
            .windows(2)
            .filter(|pair| pair[1] != pair[0] + 1);
        assert!(gaps.count() <= 5);
    }

    #[test]
    fn many_drives_are_held_back_whole() {
        let places: Vec<Place> = (0..20).flat_map(|index| drive(index, 100)).collect();
        let split = split(&places, &weave(2000), 0.15, 10.0, 1).unwrap();
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
        let split_of = |frames, seed| split(&drive(0, frames), &weave(frames), 0.15, 10.0, seed);
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
        assert_eq!(split(&still, &weave(30), 0.15, 10.0, 1), Err(TooFew(30)));
        assert_eq!(split_of(100, 5), split_of(100, 5));
    }

    /// 90 % of a drive are straight; what is held back is not straight throughout.
    #[test]
    fn the_held_back_part_is_like_the_whole() {
        let places = drive(0, 4000);
        let bend = |index: usize| if index % 1000 < 100 { 0.8 } else { 0.0 };
        let steering: Vec<f32> = (0..4000).map(bend).collect();
        for seed in 0..10 {
            let split = split(&places, &steering, 0.15, 10.0, seed).unwrap();
            let bends = split
                .held_back
                .iter()
                .filter(|&&index| steering[index] > 0.0);
            let share = bends.count() as f64 / split.held_back.len() as f64;
            assert!((0.03..0.2).contains(&share), "{seed}: {share}");
        }
    }
}
