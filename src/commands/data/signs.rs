//! Whether the recorded steering has the sign of what the pictures show.
//!
//! Two cues are used, both displacements along the rows of a picture. Each is measured in bands of
//! rows, whose columns are averaged to a profile; profiles are compared by normalized
//! cross-correlation. Matching such scanline profiles is how M. Milford and G. Wyeth estimate a
//! car's rotation ("Mapping a suburb with a single camera using a biologically inspired SLAM
//! system", IEEE Transactions on Robotics 24(5), 2008).
//!
//! - Motion: when a camera turns left, everything moves right in its picture, at any distance by the
//!   same amount (H. C. Longuet-Higgins, K. Prazdny, "The interpretation of a moving retinal image",
//!   Proc. R. Soc. B 208, 1980). Near things move by the car's own way, too, so the highest bands
//!   with structure are used, which see farthest.
//! - Lane: in a left turn the road ahead lies further left than on a straight.
//!
//! Both are relative to straight driving, so that a camera that is mounted askew or a wall on one
//! side does not count. Each turn gives one vote, and the sign test judges the votes.

mod profile;

use pilotage_dataset::{DatasetError, Picture, Record, Recording, evenly};
use serde::Serialize;

use profile::{BANDS, Profile};

/// At most this many frames are looked at, in stretches of this many.
const STRETCHES: usize = 12;
const STRETCH: usize = 128;
/// A steering above this share of the large ones is a turn, one below the other is straight.
const TURN: f64 = 0.4;
const STRAIGHT: f64 = 0.1;
/// The least number of straight frames.
const LEAST_STRAIGHT: usize = 10;
/// Commands act this much later in the picture, seconds: latency, steering gear, the car itself.
const DELAY: f64 = 0.15;
/// A longer turn gives a vote for each such part, seconds; a vote needs this many frames.
const PART: f64 = 1.0;
const LEAST_FRAMES: usize = 3;
/// The frame period where the recording has no times, seconds.
const PERIOD: f64 = 0.05;
/// The highest bands with structure whose motion is used.
const HIGHEST: usize = 3;
/// The verdict needs this probability that the votes are not chance.
const CONFIDENT: f64 = 0.95;

/// Whether the recorded steering has the sign of what the pictures show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Agree,
    Reversed,
    CannotTell,
}

/// The votes of one cue: in how many turns it agrees with the steering.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Votes {
    pub turns: usize,
    pub agreeing: usize,
}

/// The result of the sign check.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Signs {
    pub verdict: Verdict,
    /// The probability that votes of chance would be less one-sided, 0 to 1.
    pub confidence: f64,
    /// Turns in which the picture moves against the steering, as it must.
    pub motion: Votes,
    /// Turns in which the lane lies on the steered side.
    pub lane: Votes,
}

/// A frame that is looked at.
struct Frame {
    index: usize,
    time: Option<f64>,
    steering: f64,
    profile: Profile,
}

impl Signs {
    /// Looks at up to 1,536 frames, in stretches that are spread evenly. `None` if the recording has
    /// neither steering nor yaw rate, or too many of its pictures are bad.
    pub fn of(recording: &Recording) -> Result<Option<Self>, DatasetError> {
        let records = recording.records();
        let has_steering = records.iter().any(|record| record.steering.is_some());
        let steering = |record: &Record| match has_steering {
            true => record.steering,
            false => record.yaw_rate,
        };
        if !records.iter().any(|record| steering(record).is_some()) {
            return Ok(None);
        }
        let mut frames = Vec::new();
        let work = |_: &Record, picture: Picture| Ok::<_, DatasetError>(Profile::of(&picture));
        let decoded = recording.for_each_picture(&chosen(records.len()), work, |index, profile| {
            let record = &records[index];
            if let Some(steering) = steering(record) {
                let time = record.time;
                frames.push(Frame {
                    index,
                    time,
                    steering,
                    profile,
                });
            }
        });
        match decoded {
            Ok(_) => Ok(Some(Self::judge(&frames))),
            Err(DatasetError::BadPictures(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn judge(frames: &[Frame]) -> Self {
        let drive = Drive::of(frames);
        let (motion, lane) = match &drive {
            Some(drive) => (
                drive.votes(&drive.motion(), drive.delay, 1.0),
                drive.votes(&drive.lane(), 0, -1.0),
            ),
            None => (Votes::default(), Votes::default()),
        };
        // Two cues: two chances to be wrong.
        let confidences = [motion, lane].map(|votes| (1.0 - 2.0 * votes.chance()).max(0.0));
        let verdicts = [(motion, confidences[0]), (lane, confidences[1])]
            .map(|(votes, confidence)| (confidence >= CONFIDENT).then(|| votes.mostly_agree()));
        let agree = match verdicts {
            [Some(one), Some(other)] if one != other => None,
            [one, other] => one.or(other),
        };
        Self {
            verdict: match agree {
                Some(true) => Verdict::Agree,
                Some(false) => Verdict::Reversed,
                None => Verdict::CannotTell,
            },
            confidence: match verdicts {
                [Some(one), Some(other)] if one != other => 0.0,
                _ => confidences[0].max(confidences[1]),
            },
            motion,
            lane,
        }
    }

    /// The result in words.
    pub fn text(&self) -> String {
        if self.motion.turns + self.lane.turns == 0 {
            return "cannot tell the signs: no turn beside straight driving shows a lane or other \
                    structure"
                .to_owned();
        }
        let verdict = match self.verdict {
            Verdict::Agree => "signs agree with the pictures",
            Verdict::Reversed => "signs are REVERSED",
            Verdict::CannotTell => "cannot tell the signs",
        };
        let percent = (1000.0 * self.confidence).floor() / 10.0;
        let of = |votes: Votes| format!("{} of {}", votes.agreeing, votes.turns);
        format!(
            "{verdict} ({percent} %): the lane is on the steered side in {} turns, the picture \
             moves to the other side in {}",
            of(self.lane),
            of(self.motion)
        )
    }
}

/// The indices of the records that are looked at.
fn chosen(records: usize) -> Vec<usize> {
    if records <= STRETCHES * STRETCH {
        return (0..records).collect();
    }
    let starts = evenly(records - STRETCH + 1, STRETCHES);
    let mut chosen: Vec<usize> = starts
        .into_iter()
        .flat_map(|start| start..start + STRETCH)
        .collect();
    chosen.dedup();
    chosen
}

impl Votes {
    fn mostly_agree(self) -> bool {
        2 * self.agreeing > self.turns
    }

    /// The two-sided sign test: the probability that as many coins, or more, fall on one side.
    fn chance(self) -> f64 {
        let most = self.agreeing.max(self.turns - self.agreeing);
        let mut term = 0.5_f64.powi(i32::try_from(self.turns).unwrap_or(i32::MAX));
        let mut tail = 0.0;
        for heads in (most..=self.turns).rev() {
            tail += term;
            term *= heads as f64 / (self.turns - heads + 1) as f64;
        }
        (2.0 * tail).min(1.0)
    }
}

/// The frames with what their steering amounts to.
struct Drive<'a> {
    frames: &'a [Frame],
    /// Frames that are straight.
    straight: Vec<bool>,
    /// A larger steering is a turn.
    turn: f64,
    /// Frames between a command and its effect, and of a part of a turn.
    delay: usize,
    part: usize,
    period: Option<f64>,
}

impl<'a> Drive<'a> {
    /// `None` without turns or without straight driving.
    fn of(frames: &'a [Frame]) -> Option<Self> {
        let mut sizes: Vec<f64> = frames.iter().map(|frame| frame.steering.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let large = *sizes.get(sizes.len() * 9 / 10)?;
        let few = *sizes.get(sizes.len() * 3 / 10)?;
        let turn = TURN * large;
        let limit = few.max(STRAIGHT * large);
        let straight = |frame: &Frame| frame.steering.abs() <= limit && limit < turn;
        let straight: Vec<bool> = frames.iter().map(straight).collect();
        if straight.iter().filter(|&&it| it).count() < LEAST_STRAIGHT {
            return None;
        }
        let mut periods: Vec<f64> = frames
            .windows(2)
            .filter(|pair| pair[1].index == pair[0].index + 1)
            .filter_map(|pair| Some(pair[1].time? - pair[0].time?))
            .filter(|&period| period > 0.0)
            .collect();
        periods.sort_by(f64::total_cmp);
        let period = periods.get(periods.len() / 2).copied();
        let in_frames =
            |seconds: f64| (seconds / period.unwrap_or(PERIOD)).round().min(600.0) as usize;
        Some(Self {
            frames,
            straight,
            turn,
            delay: in_frames(DELAY),
            part: in_frames(PART).max(LEAST_FRAMES),
            period,
        })
    }

    /// Whether the next frame follows this one without a gap.
    fn continues(&self, place: usize) -> bool {
        let [one, next, ..] = &self.frames[place..] else {
            return false;
        };
        let passed = match (one.time, next.time, self.period) {
            (Some(one), Some(next), Some(period)) => (next - one) / period,
            _ => 1.0,
        };
        next.index == one.index + 1 && (0.0..3.0).contains(&passed)
    }

    /// The mean displacement of the far picture to the next frame, right positive.
    fn motion(&self) -> Vec<Option<f64>> {
        let mut bands = Vec::new();
        for band in 0..BANDS {
            if bands.len() == HIGHEST {
                break;
            }
            // What does not move is of the camera: its hood, its vignetting.
            let mean = Profile::mean(self.frames.iter().map(|frame| &frame.profile), band);
            let moved = |place: usize| {
                let [one, next, ..] = &self.frames[place..] else {
                    return None;
                };
                let (one, next) = (
                    one.profile.minus(band, &mean),
                    next.profile.minus(band, &mean),
                );
                self.continues(place)
                    .then(|| profile::shift(&one, &next, profile::SMALL))?
            };
            let moved: Vec<Option<f64>> = (0..self.frames.len()).map(moved).collect();
            let found = moved.iter().flatten().count();
            if 2 * found >= self.frames.len() {
                bands.push(moved);
            }
        }
        pooled(&bands, self.frames.len())
    }

    /// The mean displacement of the picture from that of straight driving, right positive.
    fn lane(&self) -> Vec<Option<f64>> {
        let straight = || {
            let frames = self.frames.iter().zip(&self.straight);
            frames
                .filter(|(_, is)| **is)
                .map(|(frame, _)| &frame.profile)
        };
        let mut bands = Vec::new();
        for band in 0..BANDS {
            let template = profile::edges(&Profile::mean(straight(), band));
            if !profile::has_structure(&template) {
                continue;
            }
            let displaced = |frame: &Frame| {
                let edges = profile::edges(frame.profile.band(band));
                profile::shift(&template, &edges, profile::LARGE)
            };
            bands.push(self.frames.iter().map(displaced).collect());
        }
        pooled(&bands, self.frames.len())
    }

    /// A vote for each turn, or each second of it: `sign` times the mean of the values in it, beyond
    /// that of straight driving, is positive in a left turn. The values act `delay` frames later.
    fn votes(&self, values: &[Option<f64>], delay: usize, sign: f64) -> Votes {
        let later = |place: usize| {
            let between = place..place + delay;
            let is_whole =
                place + delay < values.len() && between.clone().all(|it| self.continues(it));
            is_whole.then(|| values[place + delay]).flatten()
        };
        let straight = (0..values.len()).filter(|&place| self.straight[place]);
        let Some(straight) = mean(straight.filter_map(later)) else {
            return Votes::default();
        };
        let steering = |place: usize| self.frames[place].steering;
        let mut votes = Votes::default();
        let mut place = 0;
        while place < values.len() {
            let first = place;
            let is_same = |it: usize| {
                steering(it).abs() > self.turn && steering(it).signum() == steering(first).signum()
            };
            while place < values.len() && place < first + self.part && is_same(place) {
                place += 1;
                if !self.continues(place - 1) {
                    break;
                }
            }
            let found: Vec<f64> = (first..place).filter_map(later).collect();
            if let Some(mean) = mean(found.iter().copied()).filter(|_| found.len() >= LEAST_FRAMES)
            {
                let seen = sign * (mean - straight);
                votes.turns += usize::from(seen != 0.0);
                votes.agreeing += usize::from(seen * steering(first) > 0.0);
            }
            place = place.max(first + 1);
        }
        votes
    }
}

/// The mean over the bands that have a value.
fn pooled(bands: &[Vec<Option<f64>>], frames: usize) -> Vec<Option<f64>> {
    let of = |place: usize| mean(bands.iter().filter_map(|band| band[place]));
    (0..frames).map(of).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_usize, 0.0), |(count, sum), value| {
        (count + 1, sum + value)
    });
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests;
