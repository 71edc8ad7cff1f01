//! Brightness along the rows of a picture, and how far two such profiles are displaced.

use pilotage_dataset::Picture;

/// Bands of rows of a picture, from the top.
pub(super) const BANDS: usize = 16;
/// Columns of a profile, whatever the picture's width.
const COLUMNS: usize = 96;
/// Red, green, blue: a line may be as bright as the road.
const CHANNELS: usize = 3;
const LENGTH: usize = COLUMNS * CHANNELS;
/// The largest displacement that is looked for, columns: between consecutive frames (15 % of the
/// width), and of a lane.
pub(super) const SMALL: usize = 14;
pub(super) const LARGE: usize = 36;
/// The least correlation of two profiles of the same scene.
const ALIKE: f32 = 0.6;
/// The least standard deviation of a profile with structure, grey levels.
const STRUCTURE: f32 = 1.0;
/// Brightness that varies over more than twice this many columns comes from the light, not from objects.
const WIDE: usize = 12;

/// The mean colour of each column in each band of a picture.
pub(super) struct Profile(Vec<f32>);

impl Profile {
    pub fn of(picture: &Picture) -> Self {
        let (width, height) = (picture.width as usize, picture.height as usize);
        let mut sums = vec![0.0; BANDS * LENGTH];
        let mut counts = vec![0_u32; BANDS * COLUMNS];
        for (y, row) in picture
            .rgb
            .chunks_exact(width.max(1) * CHANNELS)
            .enumerate()
        {
            let band = y * BANDS / height.max(1);
            for (x, pixel) in row.chunks_exact(CHANNELS).enumerate() {
                let column = x * COLUMNS / width;
                counts[band * COLUMNS + column] += 1;
                for (channel, &level) in pixel.iter().enumerate() {
                    sums[band * LENGTH + channel * COLUMNS + column] += f32::from(level);
                }
            }
        }
        for (place, sum) in sums.iter_mut().enumerate() {
            let count = counts[place / LENGTH * COLUMNS + place % COLUMNS];
            // A narrow picture leaves columns empty.
            *sum /= count.max(1) as f32;
        }
        Self(sums)
    }

    pub fn band(&self, band: usize) -> &[f32] {
        &self.0[band * LENGTH..][..LENGTH]
    }

    pub fn mean<'a>(profiles: impl Iterator<Item = &'a Self>, band: usize) -> Vec<f32> {
        let mut sum = vec![0.0; LENGTH];
        let mut count = 0_u32;
        for profile in profiles {
            count += 1;
            for (sum, value) in sum.iter_mut().zip(profile.band(band)) {
                *sum += value;
            }
        }
        for sum in &mut sum {
            *sum /= count.max(1) as f32;
        }
        sum
    }

    pub fn minus(&self, band: usize, mean: &[f32]) -> Vec<f32> {
        let pairs = self.band(band).iter().zip(mean);
        pairs.map(|(value, mean)| value - mean).collect()
    }
}

/// The profile without what varies slowly along the row.
pub(super) fn edges(profile: &[f32]) -> Vec<f32> {
    let around = |place: usize| {
        let (channel, column) = (place / COLUMNS * COLUMNS, place % COLUMNS);
        let around = &profile[channel..][..COLUMNS];
        let around = &around[column.saturating_sub(WIDE)..(column + WIDE + 1).min(COLUMNS)];
        around.iter().sum::<f32>() / around.len() as f32
    };
    (0..profile.len())
        .map(|place| profile[place] - around(place))
        .collect()
}

/// Whether a profile of edges is more than noise.
pub(super) fn has_structure(edges: &[f32]) -> bool {
    let power: f32 = edges.iter().map(|value| value * value).sum();
    power >= STRUCTURE * STRUCTURE * edges.len() as f32
}

/// How far, in columns, the content of `one` has moved to the right in `other`, at most `most`;
/// `None` if they do not show the same scene. A parabola through the best correlation and its
/// neighbours gives fractions of a column.
pub(super) fn shift(one: &[f32], other: &[f32], most: usize) -> Option<f64> {
    let most = most as isize;
    let alike: Vec<f32> = (-most..=most)
        .map(|by| correlation(one, other, by))
        .collect();
    let (best, &highest) = alike.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    if highest < ALIKE {
        return None;
    }
    let fine = match (best.checked_sub(1).map(|it| alike[it]), alike.get(best + 1)) {
        (Some(before), Some(&after)) => {
            let bend = before - 2.0 * highest + after;
            if bend < 0.0 {
                0.5 * (before - after) / bend
            } else {
                0.0
            }
        }
        _ => 0.0,
    };
    Some(f64::from(fine) + (best as isize - most) as f64)
}

/// The normalized cross-correlation over the columns that both have.
fn correlation(one: &[f32], other: &[f32], by: isize) -> f32 {
    let (skip_one, skip_other) = match by {
        0.. => (0, by.unsigned_abs()),
        _ => (by.unsigned_abs(), 0),
    };
    let common = COLUMNS - by.unsigned_abs();
    // A profile without structure correlates with none.
    let (mut product, mut of_one, mut of_other) = (0.0, 1e-3, 1e-3);
    for (one, other) in one.chunks_exact(COLUMNS).zip(other.chunks_exact(COLUMNS)) {
        let pairs = one[skip_one..].iter().zip(&other[skip_other..]);
        for (one, other) in pairs.take(common) {
            product += one * other;
            of_one += one * one;
            of_other += other * other;
        }
    }
    product / f32::sqrt(of_one * of_other)
}
