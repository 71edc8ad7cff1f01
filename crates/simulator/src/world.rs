//! A circuit, a car on it, and the camera on the car.

use pilotage_vehicle::{Measurements, Mixer, Scan, Time};

use crate::lidar::Lidar;
use crate::random::Random;
use crate::sensors::Sensors;
use crate::{Appearance, CameraSpec, Car, CarKind, Circuit, LidarSpec, Pose, Renderer, SensorSpec};

/// Simulated time advances in whole steps of this length.
const STEP_NANOS: u64 = 1_000_000;
const STEP_SECONDS: f64 = 1e-3;

/// Steps between two entries of the recorded path: 20 entries per second.
const RECORD_EVERY: u64 = 50;

/// The longest drive for which the path's memory is reserved, seconds.
const LONGEST_RESERVED: f64 = 7200.0;

/// The most laps for which memory is reserved.
const MOST_LAPS_RESERVED: u32 = 10_000;

/// Entries of the path in the ten seconds in which a car must move.
const STALL_ENTRIES: usize = 200;

/// A car that moves less than this in ten seconds is stalled, metres.
const STALL_METRES: f64 = 0.5;

/// A car is off the road at this distance beyond half the road width, metres.
const OFF_ROAD_MARGIN: f64 = 1.0;

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The number of laps to drive.
    pub laps: u32,
    /// Simulated seconds.
    pub seconds: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            laps: 1,
            seconds: 600.0,
        }
    }
}

/// Why a run has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Every lap is finished.
    LapDone {
        /// Simulated seconds from the start.
        seconds: f64,
    },
    /// The car was further from the line than half the road width and a metre.
    OffRoad {
        /// Where along the line, metres.
        s: f64,
        /// Distance from the line, metres, left positive.
        offset: f64,
    },
    /// The car moved less than half a metre in ten seconds.
    Stalled {
        /// Where along the line, metres.
        s: f64,
    },
    /// The time limit was reached.
    TimeLimit,
}

/// An entry of the recorded path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathPoint {
    /// Simulated seconds.
    pub time: f64,
    /// Metres.
    pub x: f64,
    /// Metres.
    pub y: f64,
    /// Radians, from the x axis towards the y axis.
    pub heading: f64,
    /// Metres per second.
    pub speed: f64,
    /// Distance from the line, metres, left positive.
    pub offset: f64,
    /// The steering of the current command: -1..=1, left positive.
    pub steering: f32,
    /// The throttle of the current command: -1..=1.
    pub throttle: f32,
}

/// A circuit, a car on it, and the camera on the car. It has no clock: time advances only by
/// [`advance_to`](Self::advance_to).
pub struct World {
    circuit: Circuit,
    renderer: Renderer,
    car: Car,
    sensors: Sensors,
    lidar: Option<Box<Lidar>>,
    seed: u64,
    limits: Limits,
    patient: bool,
    steps: u64,
    s: f64,
    offset: f64,
    /// Metres along the line since the start; driving back decreases it.
    progress: f64,
    outcome: Option<Outcome>,
    /// The time at which each lap was finished, seconds.
    laps: Vec<f64>,
    distance: f64,
    widest: f64,
    path: Vec<PathPoint>,
}

impl World {
    /// A world with the car at rest at the circuit's start.
    pub fn new(
        circuit: Circuit,
        looks: &Appearance,
        camera: &CameraSpec,
        car: CarKind,
        mixer: Mixer,
    ) -> Self {
        let car = Car::new(car, mixer, circuit.start());
        let renderer = Renderer::new(&circuit, looks, camera);
        let mut world = Self {
            circuit,
            renderer,
            car,
            sensors: Sensors::new(SensorSpec::default()),
            lidar: None,
            seed: 0,
            limits: Limits::default(),
            patient: false,
            steps: 0,
            s: 0.0,
            offset: 0.0,
            progress: 0.0,
            outcome: None,
            laps: Vec::new(),
            distance: 0.0,
            widest: 0.0,
            path: Vec::new(),
        };
        world.begin(world.circuit.start(), Some(world.circuit.start_s()));
        world
    }

    /// Places the car `offset` metres left of the line at `s`, turned `heading_error` radians to
    /// the left. Laps count from there.
    #[must_use]
    pub fn placed(mut self, s: f64, offset: f64, heading_error: f64) -> Self {
        let pose = self.circuit.pose(s, offset, heading_error);
        self.begin(pose, Some(s));
        self
    }

    /// Sets the limits of the run. Memory for everything that it records is reserved, so that
    /// driving does not allocate, except in runs of more than two hours.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self.reserve();
        self
    }

    /// The same world, in which a car that stays where it is does not end the run: an operator may
    /// wait.
    #[must_use]
    pub const fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// Sets how good the car's sensors are.
    #[must_use]
    pub fn with_sensors(mut self, spec: SensorSpec) -> Self {
        self.sensors = Sensors::new(spec);
        self.sensors.begin(&self.car);
        self
    }

    /// Adds a lidar, whose delay and noise are those of the sensors that were set before. Its rays end
    /// at the circuit's walls, or at the borders of a road without walls.
    #[must_use]
    pub fn with_lidar(mut self, spec: LidarSpec) -> Self {
        self.add_lidar(spec);
        self
    }

    /// As [`with_lidar`](Self::with_lidar), for a world that has not advanced.
    pub fn add_lidar(&mut self, spec: LidarSpec) {
        let lidar = Lidar::new(spec, self.sensors.spec(), &self.circuit);
        self.lidar = Some(Box::new(lidar));
        self.begin_lidar();
    }

    fn begin_lidar(&mut self) {
        if let Some(lidar) = &mut self.lidar {
            lidar.begin(self.car.pose(), self.seed);
        }
    }

    /// Sets the seed of the camera's and the sensors' noise.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.begin_lidar();
        self
    }

    /// Starts with the car already moving at `speed`, metres per second.
    #[must_use]
    pub fn rolling(mut self, speed: f64) -> Self {
        self.car.roll(speed);
        self.sensors.begin(&self.car);
        self
    }

    /// Reserves memory for the whole run, within limits, so that driving does not allocate.
    fn reserve(&mut self) {
        let seconds = self.limits.seconds.clamp(0.0, LONGEST_RESERVED);
        let entries = (seconds / (RECORD_EVERY as f64 * STEP_SECONDS)) as usize + 2;
        self.path.reserve(entries.saturating_sub(self.path.len()));
        let laps = self.limits.laps.min(MOST_LAPS_RESERVED) as usize;
        self.laps.reserve(laps.saturating_sub(self.laps.len()));
    }

    fn begin(&mut self, pose: Pose, hint: Option<f64>) {
        self.car.place(pose);
        let near = self.circuit.nearest([pose.x, pose.y], hint);
        (self.s, self.offset) = (near.s, near.offset);
        self.widest = near.offset.abs();
        self.begin_lidar();
        self.progress = 0.0;
        self.path.clear();
        self.reserve();
        self.record(0.0, 0.0);
    }

    /// Advances simulated time to `time` with one command, in whole milliseconds; the remainder is
    /// left to the next call. After the run has ended, time advances but the car does not move.
    pub fn advance_to(&mut self, time: Time, steering: f32, throttle: f32) {
        let target = time.as_nanos() / STEP_NANOS;
        while self.steps < target {
            if self.outcome.is_some() {
                self.steps = target;
                return;
            }
            self.step(steering, throttle);
        }
    }

    fn step(&mut self, steering: f32, throttle: f32) {
        let before = self.car.pose();
        self.car.step(steering, throttle, STEP_SECONDS);
        self.sensors.add(&self.car);
        self.steps += 1;
        let pose = self.car.pose();
        if let Some(lidar) = &mut self.lidar {
            lidar.advance(self.steps, pose);
        }
        self.distance += libm::hypot(pose.x - before.x, pose.y - before.y);
        let near = self.circuit.nearest([pose.x, pose.y], Some(self.s));
        let length = self.circuit.length();
        self.progress += libm::remainder(near.s - self.s, length);
        (self.s, self.offset) = (near.s, near.offset);
        self.widest = self.widest.max(near.offset.abs());
        let seconds = self.seconds();
        while self.progress >= length * (self.laps.len() + 1) as f64 {
            self.laps.push(seconds);
        }
        let recorded = self.steps.is_multiple_of(RECORD_EVERY);
        if recorded {
            self.record(steering, throttle);
        }
        self.outcome = if self.laps.len() >= self.limits.laps.max(1) as usize {
            Some(Outcome::LapDone { seconds })
        } else if self.off_road() {
            Some(Outcome::OffRoad {
                s: self.s,
                offset: self.offset,
            })
        } else if recorded && !self.patient && self.stalled() {
            Some(Outcome::Stalled { s: self.s })
        } else if seconds >= self.limits.seconds {
            Some(Outcome::TimeLimit)
        } else {
            None
        };
        if self.outcome.is_some() && !recorded {
            self.record(steering, throttle);
        }
    }

    fn off_road(&self) -> bool {
        self.offset.abs() > 0.5 * self.circuit.road_width() + OFF_ROAD_MARGIN
    }

    fn stalled(&self) -> bool {
        let Some(first) = self.path.len().checked_sub(STALL_ENTRIES + 1) else {
            return false;
        };
        let pose = self.car.pose();
        self.path[first..]
            .iter()
            .all(|p| libm::hypot(p.x - pose.x, p.y - pose.y) < STALL_METRES)
    }

    fn record(&mut self, steering: f32, throttle: f32) {
        let pose = self.car.pose();
        self.path.push(PathPoint {
            time: self.seconds(),
            x: pose.x,
            y: pose.y,
            heading: pose.heading,
            speed: self.car.speed(),
            offset: self.offset,
            steering,
            throttle,
        });
    }

    /// Simulated time, in whole milliseconds.
    pub fn now(&self) -> Time {
        Time::from_nanos(self.steps * STEP_NANOS)
    }

    fn seconds(&self) -> f64 {
        self.steps as f64 * STEP_SECONDS
    }

    /// The circuit.
    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// The camera.
    pub fn camera(&self) -> &CameraSpec {
        self.renderer.camera()
    }

    /// The car.
    pub fn car(&self) -> &Car {
        &self.car
    }

    /// What the car's sensors give now. The noise depends on the seed and the time.
    pub fn measured(&self) -> Measurements {
        // Another stream than the camera's.
        self.sensors.read(Random::stream(!self.seed, self.steps))
    }

    /// The lidar's latest scan and its age in milliseconds, if the car has a lidar.
    pub fn scan(&mut self) -> Option<(&Scan, u64)> {
        let lidar = self.lidar.as_mut()?;
        Some(lidar.read(self.steps))
    }

    /// The car's lidar, if it has one.
    pub fn lidar(&self) -> Option<LidarSpec> {
        self.lidar.as_ref().map(|lidar| lidar.spec())
    }

    /// How good the car's sensors are.
    pub fn sensors(&self) -> SensorSpec {
        self.sensors.spec()
    }

    /// The car's pose.
    pub fn pose(&self) -> Pose {
        self.car.pose()
    }

    /// The car's distance from the line, metres, left positive.
    pub fn offset(&self) -> f64 {
        self.offset
    }

    /// The position of the car along the line, metres.
    pub fn s(&self) -> f64 {
        self.s
    }

    /// The difference between the car's heading and the line's, radians, left positive.
    pub fn heading_error(&self) -> f64 {
        crate::pose::wrap_angle(self.pose().heading - self.circuit.heading(self.s))
    }

    /// Laps driven, as a fraction: 0 at the start, 1 after the first lap, negative behind the
    /// start.
    pub fn lap_fraction(&self) -> f64 {
        self.progress / self.circuit.length()
    }

    /// The simulated time at which each lap was finished, seconds.
    pub fn laps(&self) -> &[f64] {
        &self.laps
    }

    /// Metres driven.
    pub fn distance(&self) -> f64 {
        self.distance
    }

    /// The largest distance from the line so far, metres.
    pub fn widest(&self) -> f64 {
        self.widest
    }

    /// Why the run has ended; none while it goes on.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// The driven path, 20 entries per second from the start.
    pub fn path(&self) -> &[PathPoint] {
        &self.path
    }

    /// Renders the camera's current view as RGB8. The noise depends on the seed and the time.
    pub fn render(&mut self, rgb: &mut [u8]) {
        let height = self.camera().height;
        self.render_rows(0..height, rgb);
    }

    /// Renders some rows of the camera's current view; `rgb` begins with the first of them.
    pub fn render_rows(&mut self, rows: std::ops::Range<usize>, rgb: &mut [u8]) {
        let noise = Random::stream(self.seed, self.steps).bits();
        self.renderer.render_rows(rows, self.car.pose(), noise, rgb);
    }
}

#[cfg(test)]
mod tests;
