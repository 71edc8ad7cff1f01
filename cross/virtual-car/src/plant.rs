//! The plant: the car that the pulses move, and its camera's view.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use pilotage_config::{LONGEST_FILE, Source};
use pilotage_guard::GuardedCar;
use pilotage_guard::drivers::{SteeringSettings, ThrottleSettings};
use pilotage_simulator::{Appearance, CameraSpec, Car, CarKind, Circuit, Pose, Renderer};
use pilotage_vehicle::Mixer;
use serde::{Deserialize, Serialize};

use crate::state::Pulses;

/// The longest time step of the simulation, in seconds.
const STEP: f64 = 2e-3;

/// The parts of car.toml that the plant needs; pilot and guard read the others.
#[derive(Debug, Deserialize)]
struct CarFile {
    mixer: MixerTable,
    camera: CameraTable,
}

#[derive(Debug, Deserialize)]
struct MixerTable {
    wheelbase: f64,
    steering_range: f64,
    speed_to_throttle: Vec<(f64, f64)>,
}

#[derive(Debug, Deserialize)]
struct CameraTable {
    width: usize,
    height: usize,
    rate: f64,
}

/// Settings of the simulated world that are not in car.toml.
#[derive(Debug, Clone, Deserialize)]
pub struct World {
    /// How many times slower than a real car this car is: wall-clock time divided by its time.
    pub slower: f64,
    /// The name of a shipped circuit.
    pub circuit: String,
    /// Where the car starts, in metres from the circuit's start.
    #[serde(default)]
    pub start: f64,
}

/// The position and speed of the car.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Place {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub at: u64,
    /// Position along the centre line, metres.
    pub s: f64,
    /// Distance from the centre line, metres, left positive.
    pub offset: f64,
    /// Metres per second of the car's time.
    pub speed: f64,
    /// Radians.
    pub heading: f64,
}

/// The simulated car and its world.
pub struct Plant {
    circuit: Circuit,
    renderer: Renderer,
    car: Car,
    slower: f64,
    /// Frames per second of wall-clock time.
    pub rate: f64,
    steering: SteeringSettings,
    throttle: ThrottleSettings,
    /// The time up to which the car has been simulated, CLOCK_MONOTONIC in nanoseconds.
    simulated_until: u64,
    /// Where the car starts, in metres along the centre line.
    start: f64,
    s: f64,
    rgb: Vec<u8>,
}

impl Plant {
    /// The car described by the file `car`, at the start of its circuit.
    ///
    /// # Errors
    /// When the file is not valid, or describes another kind of car.
    pub fn new(car: &Path, world: &World, now: u64) -> anyhow::Result<Self> {
        let text = pilotage_config::read(car, LONGEST_FILE)?;
        let file = car.display().to_string();
        let guarded = GuardedCar::from_toml(&file, &text)?;
        let file_values: CarFile = Source::new(&file, &text).parse()?;
        let chip = guarded.actuator.pca9685.context("the car has no PCA9685")?;
        let (Some(steering), Some(throttle)) = (chip.steering, chip.throttle) else {
            bail!("the plant's car has a servo and a speed controller");
        };
        let mixer = Mixer::new(
            file_values.mixer.wheelbase,
            file_values.mixer.steering_range,
            file_values.mixer.speed_to_throttle,
        )?;
        let camera = CameraSpec {
            width: file_values.camera.width,
            height: file_values.camera.height,
            rate_hz: file_values.camera.rate * world.slower,
            ..CameraSpec::default()
        };
        ensure!(
            camera.height.is_multiple_of(2),
            "half of the picture is drawn"
        );
        let circuit = Circuit::shipped(&world.circuit).context("there is no such circuit")?;
        let start = circuit.start_s() + world.start;
        let renderer = Renderer::new(&circuit, &Appearance::default(), &camera);
        Ok(Self {
            car: Car::new(CarKind::Ackermann, mixer, circuit.pose(start, 0.0, 0.0)),
            rgb: vec![0; camera.width * camera.height / 2 * 3],
            s: start,
            start,
            circuit,
            renderer,
            slower: world.slower,
            rate: file_values.camera.rate,
            steering,
            throttle,
            simulated_until: now,
        })
    }

    /// Puts the car back to the start.
    pub fn restart(&mut self, now: u64) {
        self.car.place(self.circuit.pose(self.start, 0.0, 0.0));
        self.s = self.start;
        self.simulated_until = now;
    }

    /// Simulates the car up to `now`, with `pulses` in order of time. Pulses after `now` are
    /// ignored.
    pub fn live(&mut self, pulses: &[Pulses], now: u64) {
        let begin = pulses.partition_point(|pulses| pulses.at <= self.simulated_until);
        let mut held = begin.checked_sub(1).map(|index| pulses[index]);
        for &change in &pulses[begin..] {
            if change.at > now {
                break;
            }
            self.simulate_until(held, change.at);
            held = Some(change);
        }
        self.simulate_until(held, now);
        let pose = self.car.pose();
        self.s = self.circuit.nearest([pose.x, pose.y], Some(self.s)).s;
    }

    fn simulate_until(&mut self, pulses: Option<Pulses>, until: u64) {
        let wall = Duration::from_nanos(until.saturating_sub(self.simulated_until));
        let mut left = wall.as_secs_f64() / self.slower;
        let (steering, throttle) = self.controls(pulses);
        while left > 0.0 {
            let step = left.min(STEP);
            self.car.step(steering, throttle, step);
            left -= step;
        }
        self.simulated_until = self.simulated_until.max(until);
    }

    /// Steering and throttle for pulses. Without pulses, the wheels are straight and the motor has
    /// no current.
    fn controls(&self, pulses: Option<Pulses>) -> (f32, f32) {
        let Some(pulses) = pulses else {
            return (0.0, 0.0);
        };
        let steering = &self.steering;
        let throttle = &self.throttle;
        (
            pulse_to_value(
                pulses.steering,
                [steering.right_us, steering.centre_us, steering.left_us],
            ),
            pulse_to_value(
                pulses.throttle,
                [throttle.reverse_us, throttle.neutral_us, throttle.ahead_us],
            ),
        )
    }

    /// The position and speed of the car.
    pub fn place(&self) -> Place {
        let pose: Pose = self.car.pose();
        let near = self.circuit.nearest([pose.x, pose.y], Some(self.s));
        Place {
            at: self.simulated_until,
            s: near.s,
            offset: near.offset,
            speed: self.car.speed(),
            heading: pose.heading,
        }
    }

    /// The length of the circuit, metres.
    pub fn length(&self) -> f64 {
        self.circuit.length()
    }

    /// Writes the camera's view to `yuyv`. Only the lower half is rendered, because the network
    /// uses no more; the upper half is a plain sky.
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

/// Converts a pulse to -1..1, given the pulses for -1, 0 and 1. No pulse is 0.
fn pulse_to_value(pulse: f32, [minus, zero, plus]: [u16; 3]) -> f32 {
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

/// Converts two pixels to YUYV (BT.601, limited range), with the mean of their colours.
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
    fn pulses_are_converted_like_in_the_guard() {
        let ends = [1900, 1500, 1100];
        for (pulse, value) in [
            (1500.0, 0.0),
            (1100.0, 1.0),
            (1900.0, -1.0),
            (1300.0, 0.5),
            (0.0, 0.0),
        ] {
            assert_eq!(pulse_to_value(pulse, ends), value, "{pulse} us");
        }
    }

    #[test]
    fn grey_has_no_colour() {
        assert_eq!(to_yuyv([128; 3], [0; 3]), [126, 128, 16, 128]);
        assert_eq!(to_yuyv([255; 3], [255; 3]), [235, 128, 235, 128]);
    }
}
