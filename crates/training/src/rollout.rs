//! Drives of simulated cars, frame by frame.

use std::collections::VecDeque;
use std::time::Duration;

use pilotage_simulator::{Appearance, CameraSpec, CarKind, Circuit, Pose, Random, World};
use pilotage_vehicle::{Controls, Mixer, Time};
use pilotage_vision::{FrameView, PixelFormat, Preprocess, Vision, VisionError};

use crate::network::{HEIGHT, PICTURE, WIDTH};
use crate::observation::Observation;

/// The first row of the frame that the network uses.
pub const FIRST_ROW: usize = 240;

/// The conditions of a drive, independent of the policy.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The circuit.
    pub circuit: Circuit,
    /// Its appearance.
    pub looks: Appearance,
    /// The camera.
    pub camera: CameraSpec,
    /// The car.
    pub car: CarKind,
    /// The time from a frame to the effect of its command.
    pub latency: Duration,
    /// The fraction of frames that are lost.
    pub dropped: f64,
    /// The start: metres along the line, metres left of it, radians to the left of its direction.
    pub start: [f64; 3],
    /// Speed at the start, m/s.
    pub speed: f64,
    /// The seed of noise and lost frames.
    pub seed: u64,
}

/// The drive of one car.
pub struct Drive {
    /// The simulated world.
    pub world: World,
    /// The latest pictures of the camera at the network's input size, the oldest first: rows of RGB.
    /// Before there are so many, the first stands for those before it.
    pictures: Vec<u8>,
    /// Whether no picture was taken yet.
    is_fresh: bool,
    mixer: Mixer,
    vision: Vision,
    pixels: Vec<u8>,
    latency: Duration,
    period: Duration,
    dropped: f64,
    random: Random,
    /// Commands in flight, each with the time of its effect.
    pending: VecDeque<(Time, Command)>,
    command: Command,
}

/// Steering and throttle.
type Levers = (f32, f32);

/// A command: what the driver wanted, and what the car gets.
#[derive(Debug, Clone, Copy)]
struct Command {
    wanted: Levers,
    given: Levers,
}

impl Drive {
    /// A car at its start, of which the network sees the latest `pictures` pictures.
    ///
    /// # Errors
    /// When the camera's frames are too small for the network.
    pub fn new(conditions: &Conditions, pictures: usize) -> Result<Self, VisionError> {
        let camera = &conditions.camera;
        let mixer = Mixer::simulated();
        let [s, offset, heading] = conditions.start;
        let world = World::new(
            conditions.circuit.clone(),
            &conditions.looks,
            camera,
            conditions.car,
            mixer.clone(),
        )
        .placed(s, offset, heading)
        .rolling(conditions.speed)
        .with_seed(conditions.seed);
        let rows = camera.height.saturating_sub(FIRST_ROW);
        let vision = Vision::new(
            &Preprocess::new(WIDTH as u32, HEIGHT as u32),
            camera.width as u32,
            rows as u32,
            PixelFormat::Rgb8,
        )?;
        let rolling = mixer.mix(Controls::Twist {
            speed: conditions.speed as f32,
            yaw_rate: 0.0,
        });
        let command = Command {
            wanted: rolling,
            given: rolling,
        };
        Ok(Self {
            world,
            pictures: vec![0; pictures.max(1) * PICTURE],
            is_fresh: true,
            mixer,
            vision,
            pixels: vec![0; camera.width * rows * 3],
            latency: conditions.latency,
            period: Duration::from_secs_f64(1.0 / camera.rate_hz),
            dropped: conditions.dropped,
            random: Random::stream(conditions.seed, 7),
            pending: VecDeque::new(),
            command,
        })
    }

    /// Takes a new picture. Returns false when the frame was lost: the picture is unchanged, and no
    /// command may be sent for it.
    ///
    /// # Errors
    /// When resizing fails, which it does not with frames of this drive's camera.
    pub fn look(&mut self) -> Result<bool, VisionError> {
        if self.random.chance(self.dropped) {
            return Ok(false);
        }
        let camera = *self.world.camera();
        self.world
            .render_rows(FIRST_ROW..camera.height, &mut self.pixels);
        let frame = frame(&self.world, &self.pixels);
        self.pictures.copy_within(PICTURE.., 0);
        let latest = self.pictures.len() - PICTURE;
        self.vision
            .resize_to_u8(frame, &mut self.pictures[latest..])?;
        if self.is_fresh {
            let (earlier, first) = self.pictures.split_at_mut(latest);
            for picture in earlier.chunks_exact_mut(PICTURE) {
                picture.copy_from_slice(first);
            }
            self.is_fresh = false;
        }
        Ok(true)
    }

    /// The camera's latest frame, from row [`FIRST_ROW`] on.
    pub fn frame(&self) -> FrameView<'_> {
        frame(&self.world, &self.pixels)
    }

    /// What a network gets now: the latest pictures, and what the car's sensors measured.
    pub fn observation(&self) -> Observation<'_> {
        Observation {
            pictures: &self.pictures,
            measured: self.world.measured(),
        }
    }

    /// The latest picture: rows of RGB.
    pub fn picture(&self) -> &[u8] {
        &self.pictures[self.pictures.len() - PICTURE..]
    }

    /// The position along the line (metres) and the pose that the car will have when a command that
    /// is sent now takes effect, by the commands in flight. Disturbances are not foreseen: no
    /// picture shows them yet.
    pub fn at_effect(&self) -> (f64, Pose) {
        let mut car = self.world.car().clone();
        let mut now = self.world.now();
        let end = now + self.latency;
        let mut command = self.command.wanted;
        let mut drive_until = |time: Time, (steering, throttle): Levers| {
            let steps = time.since(now).as_millis();
            for _ in 0..steps {
                car.step(steering, throttle, 1e-3);
            }
            now = now.max(time);
        };
        for &(effect, next) in &self.pending {
            if effect >= end {
                break;
            }
            drive_until(effect, command);
            command = next.wanted;
        }
        drive_until(end, command);
        let pose = car.pose();
        let near = self
            .world
            .circuit()
            .nearest([pose.x, pose.y], Some(self.world.s()));
        (near.s, pose)
    }

    /// Sends the command for the current picture: speed (m/s), yaw rate (rad/s).
    pub fn answer(&mut self, speed: f32, yaw_rate: f32) {
        self.answer_disturbed((speed, yaw_rate), (speed, yaw_rate));
    }

    /// Like [`answer`](Self::answer), but the car gets another command than the driver wants.
    pub fn answer_disturbed(&mut self, wanted: (f32, f32), given: (f32, f32)) {
        let [wanted, given] = [wanted, given]
            .map(|(speed, yaw_rate)| self.mixer.mix(Controls::Twist { speed, yaw_rate }));
        let effect = self.world.now() + self.latency;
        self.pending.push_back((effect, Command { wanted, given }));
    }

    /// Drives until the next frame.
    pub fn advance(&mut self) {
        let end = self.world.now() + self.period;
        while let Some(&(effect, command)) = self.pending.front() {
            if effect >= end {
                break;
            }
            let (steering, throttle) = self.command.given;
            self.world.advance_to(effect, steering, throttle);
            self.command = command;
            self.pending.pop_front();
        }
        let (steering, throttle) = self.command.given;
        self.world.advance_to(end, steering, throttle);
    }

    /// The random generator of this drive.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

fn frame<'a>(world: &World, pixels: &'a [u8]) -> FrameView<'a> {
    let camera = world.camera();
    FrameView {
        format: PixelFormat::Rgb8,
        width: camera.width as u32,
        height: (camera.height - FIRST_ROW) as u32,
        data: pixels,
        captured: world.now(),
        sequence: 0,
    }
}
