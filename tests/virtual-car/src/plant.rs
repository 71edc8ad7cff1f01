//! The car that the pulses move, and what its camera sees.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use pilotage_config::{LONGEST_FILE, Source};
use pilotage_guard::GuardedCar;
use pilotage_guard::actuators::{SteeringSettings, ThrottleSettings};
use pilotage_simulator::{CameraSpec, Car, CarKind, Circuit, Looks, Pose, Renderer};
use pilotage_vehicle::Mixer;
use serde::{Deserialize, Serialize};

use crate::state::Pulses;

/// Simulated time moves in steps of this length at most, seconds.
const STEP: f64 = 2e-3;

/// What of a car.toml the plant has to know; the rest is the pilot's and the guard's.
#[derive(Debug, Deserialize)]
struct Written {
    mixer: WrittenMixer,
    camera: WrittenCamera,
}

#[derive(Debug, Deserialize)]
struct WrittenMixer {
    wheelbase: f64,
    steering_range: f64,
    speed_to_throttle: Vec<(f64, f64)>,
}

#[derive(Debug, Deserialize)]
struct WrittenCamera {
    width: usize,
    height: usize,
    rate: f64,
}

/// How the world is, besides car.toml.
#[derive(Debug, Clone, Deserialize)]
pub struct World {
    /// By how much slower than a real one this car lives: its time against the wall clock's.
    pub slower: f64,
    /// A shipped circuit's name.
    pub circuit: String,
    /// Where on it the car starts, metres from the circuit's own start.
    #[serde(default)]
    pub start: f64,
}

/// Where the car is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Place {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub at: u64,
    /// Along the line, metres.
    pub s: f64,
    /// From the line, metres, left positive.
    pub offset: f64,
    /// Metres a second of its own time.
    pub speed: f64,
    /// Radians.
    pub heading: f64,
}

/// The car and its world.
pub struct Plant {
    circuit: Circuit,
    renderer: Renderer,
    car: Car,
    slower: f64,
    /// Frames a second of the wall clock's time.
    pub rate: f64,
    steering: SteeringSettings,
    throttle: ThrottleSettings,
    /// The moment up to which it has lived.
    lived: u64,
    /// Along the line, metres: where it starts, and where it is.
    start: f64,
    s: f64,
    rgb: Vec<u8>,
}

impl Plant {
    /// The car of the file `car`, at the start of its circuit.
    ///
    /// # Errors
    /// When the file is not sound, or describes another kind of car.
    pub fn new(car: &Path, world: &World, now: u64) -> anyhow::Result<Self> {
        let text = pilotage_config::read(car, LONGEST_FILE)?;
        let file = car.display().to_string();
        let guarded = GuardedCar::from_toml(&file, &text)?;
        let written: Written = Source::new(&file, &text).parse()?;
        let chip = guarded.actuator.pca9685.context("the car has no PCA9685")?;
        let (Some(steering), Some(throttle)) = (chip.steering, chip.throttle) else {
            bail!("the plant's car has a servo and a speed controller");
        };
        let mixer = Mixer::new(
            written.mixer.wheelbase,
            written.mixer.steering_range,
            written.mixer.speed_to_throttle,
        )?;
        let camera = CameraSpec {
            width: written.camera.width,
            height: written.camera.height,
            rate_hz: written.camera.rate * world.slower,
            ..CameraSpec::default()
        };
        ensure!(
            camera.height.is_multiple_of(2),
            "half of the picture is drawn"
        );
        let circuit = Circuit::shipped(&world.circuit).context("there is no such circuit")?;
        let start = circuit.start_s() + world.start;
        let renderer = Renderer::new(&circuit, &Looks::default(), &camera);
        Ok(Self {
            car: Car::new(CarKind::Ackermann, mixer, circuit.pose(start, 0.0, 0.0)),
            rgb: vec![0; camera.width * camera.height / 2 * 3],
            s: start,
            start,
            circuit,
            renderer,
            slower: world.slower,
            rate: written.camera.rate,
            steering,
            throttle,
            lived: now,
        })
    }

    /// Puts the car back to the start.
    pub fn restart(&mut self, now: u64) {
        self.car.place(self.circuit.pose(self.start, 0.0, 0.0));
        self.s = self.start;
        self.lived = now;
    }

    /// Lets the car live up to `now` under `pulses`, the newest that were there before or at
    /// that moment last.
    pub fn live(&mut self, pulses: &[Pulses], now: u64) {
        let begin = pulses.partition_point(|pulses| pulses.at <= self.lived);
        let mut held = begin.checked_sub(1).map(|index| pulses[index]);
        for &change in &pulses[begin..] {
            if change.at > now {
                break;
            }
            self.under(held, change.at);
            held = Some(change);
        }
        self.under(held, now);
        let pose = self.car.pose();
        self.s = self.circuit.nearest([pose.x, pose.y], Some(self.s)).s;
    }

    fn under(&mut self, pulses: Option<Pulses>, until: u64) {
        let wall = Duration::from_nanos(until.saturating_sub(self.lived));
        let mut left = wall.as_secs_f64() / self.slower;
        let (steering, throttle) = self.meaning(pulses);
        while left > 0.0 {
            let step = left.min(STEP);
            self.car.step(steering, throttle, step);
            left -= step;
        }
        self.lived = self.lived.max(until);
    }

    /// What servo and motor make of pulses: none leaves the wheels where they are drawn
    /// straight, and the motor without current.
    fn meaning(&self, pulses: Option<Pulses>) -> (f32, f32) {
        let Some(pulses) = pulses else {
            return (0.0, 0.0);
        };
        let steering = &self.steering;
        let throttle = &self.throttle;
        (
            between(
                pulses.steering,
                [steering.right_us, steering.centre_us, steering.left_us],
            ),
            between(
                pulses.throttle,
                [throttle.reverse_us, throttle.neutral_us, throttle.ahead_us],
            ),
        )
    }

    /// Where the car is.
    pub fn place(&self) -> Place {
        let pose: Pose = self.car.pose();
        let near = self.circuit.nearest([pose.x, pose.y], Some(self.s));
        Place {
            at: self.lived,
            s: near.s,
            offset: near.offset,
            speed: self.car.speed(),
            heading: pose.heading,
        }
    }

    /// The circuit's length, metres.
    pub fn length(&self) -> f64 {
        self.circuit.length()
    }

    /// Writes what the camera sees to `yuyv`. Only its lower half is drawn, which is all
    /// that the network looks at; above is a plain sky.
    pub fn see(&mut self, noise: u64, yuyv: &mut Vec<u8>) {
        let camera = *self.renderer.camera();
        let half = camera.height / 2;
        self.renderer
            .render_rows(half..camera.height, self.car.pose(), noise, &mut self.rgb);
        yuyv.clear();
        for _ in 0..camera.width * half / 2 {
            yuyv.extend([170, 136, 170, 120]);
        }
        for pair in self.rgb.chunks_exact(6) {
            yuyv.extend(to_yuyv(
                [pair[0], pair[1], pair[2]],
                [pair[3], pair[4], pair[5]],
            ));
        }
    }
}

/// From a pulse to -1..1, the pulses of -1, 0 and 1 given. No pulse is 0.
fn between(pulse: f32, [minus, zero, plus]: [u16; 3]) -> f32 {
    if pulse == 0.0 || !pulse.is_finite() {
        return 0.0;
    }
    let [minus, zero, plus] = [minus, zero, plus].map(f32::from);
    let ahead = (pulse - zero) / (plus - zero);
    let value = if ahead >= 0.0 {
        ahead
    } else {
        -(pulse - zero) / (minus - zero)
    };
    value.clamp(-1.0, 1.0)
}

/// Two pixels by BT.601, limited range, their colour the mean of both.
fn to_yuyv(one: [u8; 3], two: [u8; 3]) -> [u8; 4] {
    let luma = |[r, g, b]: [u8; 3]| {
        ((66 * u32::from(r) + 129 * u32::from(g) + 25 * u32::from(b) + 128) >> 8) as u8 + 16
    };
    let [r, g, b] = [0, 1, 2].map(|part| i32::from(one[part]) + i32::from(two[part]));
    let u = ((-38 * r - 74 * g + 112 * b + 256) >> 9) + 128;
    let v = ((112 * r - 94 * g - 18 * b + 256) >> 9) + 128;
    [luma(one), u as u8, luma(two), v as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_means_what_the_guard_meant_by_it() {
        let ends = [1900, 1500, 1100];
        for (pulse, value) in [
            (1500.0, 0.0),
            (1100.0, 1.0),
            (1900.0, -1.0),
            (1300.0, 0.5),
            (0.0, 0.0),
        ] {
            assert_eq!(between(pulse, ends), value, "{pulse} us");
        }
    }

    #[test]
    fn grey_has_no_colour() {
        assert_eq!(to_yuyv([128; 3], [0; 3]), [126, 128, 16, 128]);
        assert_eq!(to_yuyv([255; 3], [255; 3]), [235, 128, 235, 128]);
    }
}
