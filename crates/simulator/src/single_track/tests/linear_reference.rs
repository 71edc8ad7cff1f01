//! The single-track model of M. Althoff, M. Koschi, S. Manzinger, CommonRoad: Composable Benchmarks
//! for Motion Planning on Roads, IV 2017 (vehicle models, section 7), which the F1TENTH gym
//! integrates too, written again from the paper: linear tyres, loads that follow the acceleration.
//! Where slip is small, both must move alike.

use super::closed_forms::{ideal, rolling, run};
use crate::single_track::GRAVITY;
use crate::{Pose, Preset, SingleTrack};

/// x, y, wheel angle, speed, heading, yaw rate, slip angle at the centre of gravity.
type State = [f64; 7];

/// The gym's parameters, as it lists them.
const MU: f64 = 1.0489;
const C_F: f64 = 4.718;
const C_R: f64 = 5.4562;
const L_F: f64 = 0.15875;
const L_R: f64 = 0.17145;
const HEIGHT: f64 = 0.074;
const MASS: f64 = 3.74;
const INERTIA: f64 = 0.04712;

fn derivative(state: State, steering_rate: f64, acceleration: f64) -> State {
    let [_, _, angle, speed, heading, rate, slip] = state;
    let wheelbase = L_F + L_R;
    let front = C_F * (GRAVITY * L_R - acceleration * HEIGHT);
    let rear = C_R * (GRAVITY * L_F + acceleration * HEIGHT);
    let yaw = MU * MASS / (INERTIA * wheelbase)
        * (L_F * front * angle + (L_R * rear - L_F * front) * slip
            - (L_F * L_F * front + L_R * L_R * rear) * rate / speed);
    let turn = MU / (speed * wheelbase)
        * (front * angle - (rear + front) * slip + (rear * L_R - front * L_F) * rate / speed)
        - rate;
    [
        speed * libm::cos(heading + slip),
        speed * libm::sin(heading + slip),
        steering_rate,
        acceleration,
        rate,
        yaw,
        turn,
    ]
}

/// One step of the classical Runge-Kutta method.
fn runge_kutta(state: State, steering_rate: f64, acceleration: f64, dt: f64) -> State {
    let slope = |state| derivative(state, steering_rate, acceleration);
    let ahead = |slope: State, dt: f64| -> State {
        std::array::from_fn(|index| state[index] + dt * slope[index])
    };
    let first = slope(state);
    let second = slope(ahead(first, 0.5 * dt));
    let third = slope(ahead(second, 0.5 * dt));
    let fourth = slope(ahead(third, dt));
    std::array::from_fn(|i| {
        state[i] + dt / 6.0 * (first[i] + 2.0 * second[i] + 2.0 * third[i] + fourth[i])
    })
}

/// Wheel angle and its rate: a slalom of `size` rad at 0.8 Hz.
fn slalom(size: f64, time: f64) -> (f64, f64) {
    let pulse = std::f64::consts::TAU * 0.8;
    (
        size * libm::sin(pulse * time),
        size * pulse * libm::cos(pulse * time),
    )
}

/// Drives both for `seconds` and returns the largest difference of the yaw rate as a share of the
/// largest yaw rate, and the distance between both at the end, m.
fn compare(
    dynamics: SingleTrack,
    throttle: f64,
    speed: f64,
    acceleration: f64,
    size: f64,
    seconds: f64,
) -> (f64, f64) {
    let mut car = rolling(dynamics, speed);
    let mut state: State = [L_R, 0.0, 0.0, speed, 0.0, 0.0, 0.0];
    let (mut difference, mut largest) = (0.0_f64, 0.0_f64);
    for step in 0..(seconds * 1000.0) as u32 {
        let time = f64::from(step) * 1e-3;
        let (_, rate) = slalom(size, time + 0.5e-3);
        state = runge_kutta(state, rate, acceleration, 1e-3);
        let (angle, _) = slalom(size, time + 1e-3);
        run(&mut car, angle / dynamics.steering.range, throttle, 1e-3);
        difference = difference.max((car.yaw_rate() - state[5]).abs());
        largest = largest.max(state[5].abs());
    }
    let Pose { x, y, heading } = car.pose();
    let centre = [x + L_R * libm::cos(heading), y + L_R * libm::sin(heading)];
    let apart = libm::hypot(centre[0] - state[0], centre[1] - state[1]);
    (difference / largest, apart)
}

#[test]
fn small_slip_moves_the_car_as_the_gyms_model() {
    let dynamics = ideal(Preset::F1tenth.dynamics());
    for (speed, size) in [(3.0, 0.02), (6.0, 0.01), (10.0, 0.005)] {
        let throttle = speed / dynamics.motor.no_load_speed;
        let (yaw_rate, apart) = compare(dynamics, throttle, speed, 0.0, size, 4.0);
        assert!(yaw_rate < 0.05, "{yaw_rate} at {speed} m/s");
        assert!(apart < 0.01 * 4.0 * speed, "{apart} m at {speed} m/s");
    }
}

/// An acceleration moves load to the rear, which changes both models' understeer alike.
#[test]
fn the_load_follows_the_acceleration_as_in_the_gyms_model() {
    let mut dynamics = ideal(Preset::F1tenth.dynamics());
    dynamics.pitch_lag = 0.0;
    let inertia = dynamics.mass + dynamics.wheel_mass[0] + dynamics.wheel_mass[1];
    let acceleration = 2.0;
    dynamics.motor.force = acceleration * inertia;
    dynamics.motor.power = f64::INFINITY;
    dynamics.motor.gain = 1e3;
    dynamics.motor.no_load_speed = 100.0;
    let (yaw_rate, apart) = compare(dynamics, 1.0, 4.0, acceleration, 0.01, 2.0);
    assert!(yaw_rate < 0.06, "{yaw_rate}");
    assert!(apart < 0.15, "{apart} m");
    // Without the transfer of load the models differ.
    dynamics.height = 0.0;
    let (without, _) = compare(dynamics, 1.0, 4.0, acceleration, 0.01, 2.0);
    assert!(without > 1.5 * yaw_rate, "{without} and {yaw_rate}");
}
