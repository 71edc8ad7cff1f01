//! The steering servo.

use std::collections::VecDeque;

use super::Steering;

/// Commands in flight for which memory is reserved: one for each millisecond of the longest delay.
const MOST: usize = 128;

/// A servo with a delay, a highest rate and play.
#[derive(Debug, Clone)]
pub struct Servo {
    steering: Steering,
    /// Seconds since the start.
    now: f64,
    /// Wheel angles that have been commanded, with the time at which each takes effect.
    pending: VecDeque<(f64, f64)>,
    commanded: f64,
    target: f64,
    servo: f64,
    /// Behind the play, radians.
    wheels: f64,
}

impl Servo {
    /// A servo at rest in the middle.
    pub fn new(steering: Steering) -> Self {
        Self {
            steering,
            now: 0.0,
            pending: VecDeque::with_capacity(MOST),
            commanded: 0.0,
            target: 0.0,
            servo: 0.0,
            wheels: 0.0,
        }
    }

    /// Advances by `dt` seconds with the steering `command`, -1..=1, and returns the wheels' angle
    /// in radians, left positive.
    pub fn advance(&mut self, command: f64, dt: f64) -> f64 {
        let angle = command * self.steering.range;
        if angle != self.commanded {
            self.commanded = angle;
            self.push(self.now + self.steering.delay, angle);
        }
        self.now += dt;
        while let Some(&(due, angle)) = self.pending.front() {
            if due >= self.now {
                break;
            }
            self.target = angle;
            self.pending.pop_front();
        }
        let most = self.steering.rate * dt;
        self.servo += (self.target - self.servo).clamp(-most, most);
        let play = 0.5 * self.steering.backlash;
        self.wheels = self.wheels.clamp(self.servo - play, self.servo + play);
        self.wheels
    }

    fn push(&mut self, due: f64, angle: f64) {
        if self.pending.len() < MOST {
            self.pending.push_back((due, angle));
        } else if let Some(last) = self.pending.back_mut() {
            // More commands than a servo receives: the newest replaces the one before it.
            last.1 = angle;
        }
    }
}
