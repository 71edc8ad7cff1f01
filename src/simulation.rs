//! The simulated car, as the loop sees it: a [`Camera`], an [`Actuator`] and a clock.
//!
//! A single thread runs everything. Waiting for a frame advances simulated time: the guard advances
//! to the frame's moment and writes to the actuator, the world follows those writes, and then the
//! frame is rendered at the car's position.

mod drive;
mod out_of_process;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use pilotage_camera::{Camera, CameraError};
use pilotage_guard::{
    Actuator, ActuatorError, ArmRequest, CommandLink, InProcessLink, Limits, LinkError,
    OperatorLink, Output, StartError, Status,
};
use pilotage_simulator::World;
use pilotage_vehicle::{Clock, Command, Fault, Time};
use pilotage_vision::{Frame, PixelFormat};

use crate::pilot::Dropped;

pub use drive::{DriveError, SimulatedDrive};
pub use out_of_process::OutOfProcessCamera;

/// How simulated time relates to the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Pace {
    /// Simulated time follows the wall clock
    Real,
    /// Simulated time runs as fast as frames can be rendered and processed
    Fast,
}

/// The latency from a frame to its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// The time that this machine takes, from the frame's arrival to the command sent.
    Measured,
    /// Always this long. With a seed, runs are then identical bit for bit.
    Fixed(Duration),
}

/// A world, its guard and its clock.
pub struct Simulation {
    /// The world, to observe: only the actuator moves its car.
    pub world: Rc<RefCell<World>>,
    /// Renders the view of the car's camera.
    pub camera: SimulatedCamera,
    /// The link to the guard that drives the simulated motors.
    pub link: SimulatedLink,
    /// Simulated time, including the pilot's latency.
    pub clock: SimulatedClock,
}

impl Simulation {
    /// Puts a guard with `limits` between the pilot and `world`'s car.
    ///
    /// # Errors
    /// Fails if the guard does not start.
    pub fn new(
        world: World,
        limits: Limits,
        pace: Pace,
        latency: Latency,
        drops: Dropped,
    ) -> Result<Self, StartError> {
        let mut world = world;
        let spec = *world.camera();
        // The first frame allocates the renderer's memory.
        world.render(&mut vec![0; spec.frame_bytes()]);
        let world = Rc::new(RefCell::new(world));
        let actuator = SimulatedActuator::new(Rc::clone(&world));
        let guard = Rc::new(RefCell::new(InProcessLink::start(
            limits,
            actuator,
            Time::ZERO,
        )?));
        let clock = SimulatedClock {
            moment: Rc::new(Cell::new(Moment {
                simulated: Time::ZERO,
                handed_over: None,
            })),
            latency,
        };
        let camera = SimulatedCamera {
            world: Rc::clone(&world),
            guard: Rc::clone(&guard),
            clock: clock.clone(),
            pace,
            drops,
            period: Duration::from_secs_f64(1.0 / spec.rate_hz),
            width: spec.width as u32,
            height: spec.height as u32,
            started: None,
            next: 0,
        };
        Ok(Self {
            world,
            camera,
            link: SimulatedLink(guard),
            clock,
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    simulated: Time,
    /// `None` before the first frame, when the pilot has nothing to do.
    handed_over: Option<Instant>,
}

/// Is fixed at a frame's moment while the world waits, and runs (or jumps, with [`Latency::Fixed`])
/// while the pilot works. Rendering takes no simulated time.
#[derive(Debug, Clone)]
pub struct SimulatedClock {
    moment: Rc<Cell<Moment>>,
    latency: Latency,
}

impl SimulatedClock {
    /// Does `work` in no simulated time: the pilot's latency does not include it.
    pub fn outside(&self, work: impl FnOnce()) {
        let began = Instant::now();
        work();
        let mut moment = self.moment.get();
        moment.handed_over = moment.handed_over.map(|at| at + began.elapsed());
        self.moment.set(moment);
    }

    /// Passes a frame to the pilot at `simulated`.
    fn hand_over(&self, simulated: Time) {
        self.moment.set(Moment {
            simulated,
            handed_over: Some(Instant::now()),
        });
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Time {
        let moment = self.moment.get();
        let thinking = match (moment.handed_over, self.latency) {
            (None, _) => Duration::ZERO,
            (Some(handed_over), Latency::Measured) => handed_over.elapsed(),
            (Some(_), Latency::Fixed(latency)) => latency,
        };
        moment.simulated + thinking
    }
}

/// Frames of the simulated world.
pub struct SimulatedCamera {
    world: Rc<RefCell<World>>,
    guard: Rc<RefCell<InProcessLink<SimulatedActuator>>>,
    clock: SimulatedClock,
    pace: Pace,
    drops: Dropped,
    period: Duration,
    width: u32,
    height: u32,
    /// Wall-clock time at simulated time zero.
    started: Option<Instant>,
    next: u64,
}

impl SimulatedCamera {
    fn moment(&self, sequence: u64) -> Time {
        Time::from_nanos(sequence.saturating_mul(self.period.as_nanos() as u64))
    }

    /// The time until which the pilot was busy with the previous frame.
    fn busy_until(&self) -> Time {
        match (self.clock.latency, self.pace, self.started) {
            // A fixed latency is a delay, not a load: later frames are not skipped.
            (Latency::Fixed(_), ..) | (_, _, None) => Time::ZERO,
            (Latency::Measured, Pace::Real, Some(started)) => Time::ZERO + started.elapsed(),
            (Latency::Measured, Pace::Fast, Some(_)) => self.clock.now(),
        }
    }

    /// The sequence number of the newest frame at `busy_until`, or of the next one.
    fn newest(&self, busy_until: Time) -> u64 {
        let missed = busy_until.as_nanos() / (self.period.as_nanos() as u64).max(1);
        let mut sequence = self.next.max(missed);
        while self.drops.drops(sequence) {
            sequence += 1;
        }
        sequence
    }
}

impl Camera for SimulatedCamera {
    fn describe(&self) -> String {
        let rate = 1.0 / self.period.as_secs_f64();
        format!("simulated, {}x{} at {rate} Hz", self.width, self.height)
    }

    fn format(&self) -> (PixelFormat, u32, u32) {
        (PixelFormat::Rgb8, self.width, self.height)
    }

    fn frame_period(&self) -> Duration {
        self.period
    }

    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        self.check_format(frame)?;
        let busy_until = self.busy_until();
        let sequence = self.newest(busy_until);
        let moment = self.moment(sequence);
        let started = *self.started.get_or_insert_with(Instant::now);
        if self.pace == Pace::Real {
            let due = Duration::from_nanos(moment.as_nanos());
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
        let mut guard = self.guard.borrow_mut();
        guard
            .advance_to(moment)
            .map_err(|error| CameraError::Simulation(error.into()))?;
        guard.actuator_mut().advance_world(moment);
        self.world.borrow_mut().render(frame.data_mut());
        frame.captured = moment;
        frame.sequence = sequence;
        self.next = sequence + 1;
        // A frame from the time when the pilot was busy has waited for the pilot.
        self.clock.hand_over(moment.max(busy_until));
        Ok(())
    }
}

/// The simulated motors: the world's car holds the latest output.
pub struct SimulatedActuator {
    world: Rc<RefCell<World>>,
    steering: f32,
    throttle: f32,
}

impl SimulatedActuator {
    /// The motors of `world`'s car, at rest.
    pub fn new(world: Rc<RefCell<World>>) -> Self {
        Self {
            world,
            steering: 0.0,
            throttle: 0.0,
        }
    }

    /// Steering and throttle of the latest output.
    pub fn in_force(&self) -> (f32, f32) {
        (self.steering, self.throttle)
    }

    fn advance_world(&mut self, now: Time) {
        self.world
            .borrow_mut()
            .advance_to(now, self.steering, self.throttle);
    }
}

impl Actuator for SimulatedActuator {
    fn name(&self) -> &str {
        "simulated car"
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        self.advance_world(now);
        self.steering = output.steering;
        self.throttle = output.throttle;
        Ok(())
    }
}

/// The pilot's link to the guard of the simulated car.
#[derive(Clone)]
pub struct SimulatedLink(Rc<RefCell<InProcessLink<SimulatedActuator>>>);

impl OperatorLink for SimulatedLink {
    fn arm(&mut self, now: Time, request: ArmRequest) -> Result<(), LinkError> {
        self.0.borrow_mut().arm(now, request)
    }

    fn disarm(&mut self, now: Time) -> Result<(), LinkError> {
        self.0.borrow_mut().disarm(now)
    }

    fn stop(&mut self, now: Time) -> Result<(), LinkError> {
        self.0.borrow_mut().stop(now)
    }
}

impl CommandLink for SimulatedLink {
    fn report(&mut self, now: Time, fault: Fault) -> Result<(), LinkError> {
        self.0.borrow_mut().report(now, fault)
    }

    fn send_at(&mut self, at: Time, command: Command) -> Result<(), LinkError> {
        self.0.borrow_mut().send_at(at, command)
    }

    fn advance_to(&mut self, now: Time) -> Result<(), LinkError> {
        self.0.borrow_mut().advance_to(now)
    }

    fn status(&self) -> Status {
        self.0.borrow().status()
    }
}
