//! The simulated car at the pace of the wall clock, with its guard in a separate process.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pilotage_camera::{Camera, CameraError};
use pilotage_guard::LinkError;
use pilotage_simulator::World;
use pilotage_vehicle::{Time, monotonic};
use pilotage_vision::{Frame, PixelFormat};

use crate::guarded::GuardProcess;
use crate::pilot::Dropped;

/// Frames of a world that follows the guard's outputs at the times when they were written.
pub struct OutOfProcessCamera {
    world: Rc<RefCell<World>>,
    guarded: GuardProcess,
    drops: Dropped,
    period: Duration,
    width: u32,
    height: u32,
    /// The wall clock at simulated time zero: when the first frame is requested.
    origin: Option<Time>,
    /// Steering and throttle in force.
    held: (f32, f32),
    next: u64,
}

impl OutOfProcessCamera {
    /// Films `world`'s car, which `guarded` drives; returns the world too, to observe.
    pub fn film(
        mut world: World,
        guarded: GuardProcess,
        drops: Dropped,
    ) -> (Rc<RefCell<World>>, Self) {
        let spec = *world.camera();
        // The first frame allocates the renderer's memory.
        world.render(&mut vec![0; spec.frame_bytes()]);
        let world = Rc::new(RefCell::new(world));
        let camera = Self {
            world: Rc::clone(&world),
            guarded,
            drops,
            period: Duration::from_secs_f64(1.0 / spec.rate_hz),
            width: spec.width as u32,
            height: spec.height as u32,
            origin: None,
            held: (0.0, 0.0),
            next: 0,
        };
        (world, camera)
    }

    /// When the next frame is due, on the monotonic clock: at once before the first.
    pub fn due(&self) -> Time {
        let period = self.period.as_nanos() as u64;
        let moment = Duration::from_nanos(self.next.saturating_mul(period));
        self.origin.map_or(Time::ZERO, |origin| origin + moment)
    }

    /// Steering and throttle that move the car now.
    pub fn in_force(&self) -> (f32, f32) {
        self.held
    }

    /// Advances the world to `moment`, with each output in force from the time when it was written.
    fn advance_world(&mut self, origin: Time, moment: Time) {
        let mut world = self.world.borrow_mut();
        for applied in self.guarded.motors.take() {
            let at = Time::ZERO + applied.at.since(origin);
            world.advance_to(at.min(moment), self.held.0, self.held.1);
            self.held = (applied.output.steering, applied.output.throttle);
        }
        world.advance_to(moment, self.held.0, self.held.1);
    }
}

impl Camera for OutOfProcessCamera {
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
        let origin = *self.origin.get_or_insert_with(monotonic);
        let period = (self.period.as_nanos() as u64).max(1);
        let passed = monotonic().since(origin).as_nanos() as u64;
        let mut sequence = self.next.max(passed / period);
        while self.drops.drops(sequence) {
            sequence += 1;
        }
        let moment = Time::from_nanos(sequence.saturating_mul(period));
        let due = origin + moment.since(Time::ZERO);
        std::thread::sleep(due.since(monotonic()));
        self.advance_world(origin, moment);
        if self.guarded.motors.failed() {
            return Err(CameraError::Simulation(LinkError::Gone.into()));
        }
        self.world.borrow_mut().render(frame.data_mut());
        frame.captured = due;
        frame.sequence = sequence;
        self.next = sequence + 1;
        Ok(())
    }
}
