//! Collects training frames from random drives. The expert labels the frames.
//!
//! The method is DAgger (Ross, Gordon, Bagnell, "A Reduction of Imitation Learning and Structured
//! Prediction to No-Regret Online Learning", 2011): the student drives, and the expert labels every
//! frame with the expert's controls for that frame.

use std::time::Duration;

use pilotage_simulator::{Appearance, CameraSpec, CarKind, Circuit, Random, Walls};
use pilotage_vision::VisionError;
use rayon::prelude::*;

use crate::dataset::{Dataset, Place, normalised};
use crate::driver::{Driver, DriverError, Seen};
use crate::expert::Expert;
use crate::policy::expert_answer;
use crate::rollout::{Conditions, Drive};

/// The number of cars that drive at the same time.
const LANES: usize = 32;
/// The largest number of frames of one drive. Short drives give more different circuits and
/// appearances for the same number of frames.
const EPISODE: usize = 120;

/// Random conditions for a drive. `seed` determines all of them.
pub fn conditions(seed: u64) -> Conditions {
    let mut random = Random::stream(seed, 1);
    let r = &mut random;
    let mut circuit = Circuit::random(seed);
    if r.chance(0.5) {
        circuit = circuit.reversed();
    }
    if r.chance(0.2) {
        circuit = circuit.with_walls(Some(Walls {
            margin: r.range(0.2, 2.0),
            height: r.range(0.1, 0.8),
        }));
    }
    let looks = if r.chance(0.25) {
        Appearance {
            brightness: r.log_range(0.8, 1.25),
            seed,
            ..Appearance::default()
        }
    } else {
        Appearance::random(seed)
    };
    let mut camera = CameraSpec::default();
    if r.chance(0.6) {
        // A triangular distribution with its peak at zero, at most `most` from zero.
        let mut offset = |most: f64| 0.5 * most * (r.range(-1.0, 1.0) + r.range(-1.0, 1.0));
        camera.forward += offset(0.03);
        camera.left += offset(0.03);
        camera.up += offset(0.025);
        let angle = 4.0_f64.to_radians();
        camera.pitch += offset(angle);
        camera.roll += offset(angle);
        camera.yaw += offset(angle);
    }
    let latency = if r.chance(0.5) {
        r.range(0.0, 0.02)
    } else {
        r.range(0.0, 0.1)
    };
    let room = 0.5 * circuit.road_width() - 0.3;
    let start = [
        r.range(0.0, circuit.length()),
        r.range(-room, room) * r.unit(),
        0.5 * r.range(-1.0, 1.0) * r.unit(),
    ];
    Conditions {
        looks,
        camera,
        car: if r.chance(0.35) {
            CarKind::Ackermann
        } else {
            CarKind::Unicycle
        },
        latency: Duration::from_secs_f64(latency),
        dropped: if r.chance(0.2) { 0.2 } else { 0.0 },
        start,
        speed: r.range(0.0, 14.0),
        seed,
        circuit,
    }
}

/// A drive with its disturbances.
struct Episode {
    /// Every drive has its own.
    seed: u64,
    drive: Drive,
    frames: usize,
    /// Whether the drive has no disturbances.
    calm: bool,
    /// The number of frames that the current disturbance still lasts; 0 if there is none.
    disturbed: usize,
    /// The disturbance: a factor on the speed, and an offset of the yaw rate.
    disturbance: (f32, f32),
    /// The number of frames until who drives (the expert or the driver) is chosen again.
    frames_left: usize,
    expert_drives: bool,
}

impl Episode {
    fn new(seed: u64, latency: Option<Duration>, pictures: usize) -> Result<Self, VisionError> {
        let mut conditions = conditions(seed);
        conditions.latency = latency.unwrap_or(conditions.latency);
        let mut drive = Drive::new(&conditions, pictures)?;
        Ok(Self {
            seed,
            calm: drive.random().chance(0.5),
            drive,
            frames: 0,
            disturbed: 0,
            disturbance: (1.0, 0.0),
            frames_left: 0,
            expert_drives: true,
        })
    }

    fn seen(&self, has_frame: bool) -> Seen<'_> {
        Seen {
            drive: &self.drive,
            number: self.seed,
            has_frame,
        }
    }

    fn has_ended(&self) -> bool {
        self.frames >= EPISODE || self.drive.world.outcome().is_some()
    }

    /// Drives for one frame, with the answer of the expert or of the driver, whichever drives now.
    /// Without a driver the expert drives. Disturbances apply to both. If `has_frame` is false, no
    /// answer is sent. `share` is the probability that the expert is chosen.
    fn advance(
        &mut self,
        has_frame: bool,
        expert: (f32, f32),
        driver: Option<(f32, f32)>,
        share: f64,
    ) {
        self.frames += 1;
        let random = self.drive.random();
        if self.frames_left == 0 {
            self.frames_left = 5 + random.below(25);
            self.expert_drives = random.chance(share);
        }
        self.frames_left -= 1;
        if self.disturbed > 0 {
            self.disturbed -= 1;
        } else if !self.calm && random.chance(0.03) {
            self.disturbed = 2 + random.below(7);
            self.disturbance = (
                random.range(0.7, 1.25) as f32,
                random.range(-3.0, 3.0) as f32,
            );
        }
        let wanted = match driver {
            Some(driven) if !self.expert_drives => driven,
            _ => expert,
        };
        let (speed, yaw_rate) = wanted;
        let given = match self.disturbed > 0 {
            true => (speed * self.disturbance.0, yaw_rate + self.disturbance.1),
            false => wanted,
        };
        if has_frame {
            self.drive.answer_disturbed(wanted, given);
        }
        self.drive.advance();
    }
}

/// The frames to collect.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// How many.
    pub frames: usize,
    /// The seed of the drives.
    pub seed: u64,
    /// The expert, which labels them.
    pub expert: &'a Expert,
    /// The time from a frame to the effect of its command; otherwise it is drawn for each drive.
    pub latency: Option<Duration>,
}

/// Adds labelled frames to `data`. `driver` is who drives and the probability
/// that the expert drives a stretch of 5 to 29 frames instead. Without a driver, the
/// expert always drives. `tick` is called with the number of frames collected so far.
///
/// # Errors
/// When the driver cannot answer.
pub fn collect(
    data: &mut Dataset,
    wanted: Wanted,
    mut driver: Option<(&mut dyn Driver, f64)>,
    mut tick: impl FnMut(usize),
) -> Result<(), DriverError> {
    let Wanted {
        frames,
        seed,
        expert,
        latency,
    } = wanted;
    let pictures = driver.as_ref().map_or(1, |(it, _)| it.pictures());
    let begin = |seed| Episode::new(seed, latency, pictures);
    let mut next = seed;
    let mut next_seed = || {
        next += 1;
        next
    };
    let seeds: Vec<u64> = (0..LANES).map(|_| next_seed()).collect();
    let mut episodes: Vec<Episode> = seeds.into_par_iter().map(begin).collect::<Result<_, _>>()?;
    let share = driver.as_ref().map_or(1.0, |(_, share)| *share);
    let end = data.len() + frames;
    let start = data.len();
    while data.len() < end {
        let has_frame: Vec<bool> = episodes
            .par_iter_mut()
            .map(|episode| episode.drive.look())
            .collect::<Result<_, _>>()?;
        let answers: Vec<Option<(f32, f32)>> = match &mut driver {
            None => vec![None; LANES],
            Some((driver, _)) => {
                let seen = episodes.iter().zip(&has_frame);
                let seen: Vec<Seen<'_>> = seen.map(|(it, &frame)| it.seen(frame)).collect();
                driver.answers(&seen)?.into_iter().map(Some).collect()
            }
        };
        for ((episode, has_frame), driven) in episodes.iter_mut().zip(has_frame).zip(answers) {
            let answer = expert_answer(expert, &episode.drive);
            if has_frame && data.len() < end {
                let label = normalised(f64::from(answer.0), f64::from(answer.1));
                let (drive, frame) = (episode.seed, episode.frames);
                let (picture, measured) = (episode.drive.picture(), episode.drive.world.measured());
                data.push_at(Place { drive, frame }, picture, label, measured);
            }
            episode.advance(has_frame, answer, driven, share);
        }
        let fresh: Vec<(usize, u64)> = episodes
            .iter()
            .enumerate()
            .filter(|(_, episode)| episode.has_ended())
            .map(|(lane, _)| (lane, next_seed()))
            .collect();
        let fresh: Vec<(usize, Episode)> = fresh
            .into_par_iter()
            .map(|(lane, seed)| Ok((lane, begin(seed)?)))
            .collect::<Result<_, VisionError>>()?;
        for (lane, episode) in fresh {
            episodes[lane] = episode;
        }
        tick(data.len() - start);
    }
    Ok(())
}
