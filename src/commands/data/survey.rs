//! What the pictures of a recording look like.

use std::hash::{DefaultHasher, Hash, Hasher};

use pilotage_dataset::{BadPictures, DatasetError, Decoded, Picture, Record, Recording};

/// A picture with a mean luma below this, of 255, is black.
const BLACK: f64 = 10.0;
/// A picture with less than this share of the median sharpness is blurred.
const BLURRED: f64 = 0.1;

/// What is known of a picture that was decoded.
struct Look {
    /// The record's index.
    index: usize,
    /// The mean luma, 0 to 255.
    luma: f64,
    /// The variance of the Laplacian of the luma: large for sharp edges.
    sharpness: f64,
    /// Of all pixels.
    hash: u64,
}

/// The pictures of a recording, by what is wrong with them. Indices are those of the records.
#[derive(Default)]
pub(super) struct Survey {
    pub black: Vec<usize>,
    pub blurred: Vec<usize>,
    /// Pictures whose pixels equal those of the picture before.
    pub repeated: Vec<usize>,
    /// What was decoded. The bad pictures may be more than a recording may have.
    pub decoded: Decoded,
}

impl Survey {
    /// Decodes all pictures.
    pub fn of(recording: &Recording) -> Result<Self, DatasetError> {
        let all: Vec<usize> = (0..recording.records().len()).collect();
        let mut looks = Vec::new();
        let look = |_: &Record, picture: Picture| Ok::<_, DatasetError>(look(&picture));
        let take = |index, look| looks.push(Look { index, ..look });
        let decoded = match recording.for_each_picture(&all, look, take) {
            Ok(decoded) => decoded,
            Err(DatasetError::BadPictures(bad)) => of_bad(bad),
            Err(error) => return Err(error),
        };
        Ok(Self {
            decoded,
            ..Self::judge(&looks)
        })
    }

    fn judge(looks: &[Look]) -> Self {
        let mut survey = Self::default();
        let mut sharp: Vec<f64> = looks.iter().map(|look| look.sharpness).collect();
        sharp.sort_by(f64::total_cmp);
        let median = sharp.get(sharp.len() / 2).copied().unwrap_or(0.0);
        for (place, look) in looks.iter().enumerate() {
            if look.luma < BLACK {
                survey.black.push(look.index);
            } else if look.sharpness < BLURRED * median {
                survey.blurred.push(look.index);
            }
            let before = place.checked_sub(1).map(|before| &looks[before]);
            if before.is_some_and(|before| before.hash == look.hash) {
                survey.repeated.push(look.index);
            }
        }
        survey
    }
}

fn of_bad(bad: BadPictures) -> Decoded {
    Decoded {
        used: bad.of - bad.bad.len(),
        bad,
        ..Decoded::default()
    }
}

fn look(picture: &Picture) -> Look {
    let luma: Vec<f64> = picture
        .rgb
        .chunks_exact(3)
        .map(|rgb| {
            0.299 * f64::from(rgb[0]) + 0.587 * f64::from(rgb[1]) + 0.114 * f64::from(rgb[2])
        })
        .collect();
    let mut hasher = DefaultHasher::new();
    (picture.width, &picture.rgb).hash(&mut hasher);
    Look {
        index: 0,
        luma: luma.iter().sum::<f64>() / luma.len().max(1) as f64,
        sharpness: sharpness(&luma, picture.width as usize),
        hash: hasher.finish(),
    }
}

/// The variance of the Laplacian (four neighbours) over the inner pixels.
fn sharpness(luma: &[f64], width: usize) -> f64 {
    let height = luma.len() / width.max(1);
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for y in 1..height.saturating_sub(1) {
        for x in 1..width.saturating_sub(1) {
            let at = y * width + x;
            let around = luma[at - 1] + luma[at + 1] + luma[at - width] + luma[at + width];
            let laplacian = around - 4.0 * luma[at];
            count += 1.0;
            sum += laplacian;
            squares += laplacian * laplacian;
        }
    }
    match count > 0.0 {
        true => squares / count - (sum / count) * (sum / count),
        false => 0.0,
    }
}
