//! The car against closed forms of textbooks.

use crate::single_track::GRAVITY;
use crate::{Car, Motor, Pose, Preset, SingleTrack, TyreCar};

/// A car of `dynamics` that rolls straight ahead.
pub fn rolling(dynamics: SingleTrack, speed: f64) -> Car {
    let mixer = Preset::Kart.dynamics().mixer().unwrap();
    let mut car = Car::single_track(dynamics, mixer, Pose::default());
    car.roll(speed);
    car
}

pub fn run(car: &mut Car, steering: f64, throttle: f64, seconds: f64) {
    for _ in 0..(seconds * 1000.0).round() as u32 {
        car.step(steering as f32, throttle as f32, 1e-3);
    }
}

/// A motor and a servo that do at once what they are commanded, with nothing that slows the car.
pub fn ideal(dynamics: SingleTrack) -> SingleTrack {
    let mut dynamics = dynamics;
    (dynamics.rolling, dynamics.air_drag) = (0.0, 0.0);
    dynamics.motor.lag = 0.0;
    dynamics.motor.dead_zone = 0.0;
    dynamics.steering.delay = 0.0;
    dynamics.steering.backlash = 0.0;
    dynamics
}

/// A motor without current.
pub fn coasting(dynamics: SingleTrack) -> SingleTrack {
    let mut dynamics = dynamics;
    dynamics.motor = Motor {
        gain: 0.0,
        lag: 0.0,
        ..dynamics.motor
    };
    dynamics
}

/// R. Rajamani, Vehicle Dynamics and Control, 2nd ed., 3.3: at constant speed the wheels' angle is
/// L / R + K v^2 / R with K = m_f / C_f - m_r / C_r, the masses and stiffnesses of the axles.
#[test]
fn steady_cornering_follows_the_linear_model() {
    for (stiffness, preset) in [
        (None, Preset::F1tenth),
        (Some([8.0, 12.0]), Preset::F1tenth),
        (Some([12.0, 10.0]), Preset::Donkeycar),
    ] {
        let mut dynamics = ideal(preset.dynamics());
        dynamics.cornering_stiffness = stiffness.unwrap_or(dynamics.cornering_stiffness);
        let [front, rear] = dynamics.axles;
        let wheelbase = front + rear;
        let mass = [rear, front].map(|arm| dynamics.mass * arm / wheelbase);
        let [gradient_front, gradient_rear] = [0, 1]
            .map(|axle| mass[axle] / (dynamics.cornering_stiffness[axle] * mass[axle] * GRAVITY));
        let gradient = gradient_front - gradient_rear;
        assert!((dynamics.understeer_gradient() - gradient).abs() < 1e-12);
        for speed in [2.0, 4.0, 6.0] {
            // About 0.5 m/s2 of lateral acceleration.
            let angle = 0.5 * wheelbase / (speed * speed);
            let mut car = rolling(dynamics, speed);
            let throttle = speed / dynamics.motor.no_load_speed;
            run(&mut car, angle / dynamics.steering.range, throttle, 4.0);
            let (v, r) = (car.speed(), car.yaw_rate());
            let expected = v * angle / (wheelbase + gradient * v * v);
            assert!((r / expected - 1.0).abs() < 0.01, "{r} and {expected}");
            let measured = (angle - wheelbase * r / v) / (v * r);
            assert!(
                (measured - gradient).abs() < 0.06 * gradient.abs(),
                "{measured} and {gradient} at {v} m/s"
            );
        }
    }
}

#[test]
fn lateral_acceleration_ends_at_friction_times_gravity() {
    for (preset, speed) in [
        (Preset::Donkeycar, 4.5),
        (Preset::F1tenth, 7.0),
        (Preset::Kart, 14.0),
    ] {
        for friction in [0.7, 0.9, 1.2] {
            let car = TyreCar { preset, friction };
            let mut dynamics = car.dynamics();
            // The gym's tyres are so soft that full steering does not reach their peak.
            dynamics.cornering_stiffness = dynamics.cornering_stiffness.map(|c| c.max(12.0));
            let limit = friction * GRAVITY;
            assert!((dynamics.limits().lateral - limit).abs() < 1e-12);
            let mut car = rolling(dynamics, speed);
            let throttle = dynamics.mixer().unwrap().throttle(speed);
            // The wheels turn slowly, so that the turn stays steady until the tyres give way.
            for step in 0..4000 {
                let steering = f64::from(step) / 4000.0;
                run(&mut car, steering, throttle, 1e-3);
            }
            let used = car.tyres().unwrap();
            let peak = used.peak_lateral_acceleration;
            assert!(peak <= limit * (1.0 + 1e-9), "{peak} over {limit}");
            // The front wheels' force is turned by their angle, whose cosine is down to 0.91.
            assert!(peak > 0.93 * limit, "{preset:?}: {peak} of {limit}");
            assert!(used.largest_friction_share <= 1.0);
            assert_eq!(used.friction, friction);
        }
    }
}

#[test]
fn locked_wheels_stop_in_the_distance_of_dry_friction() {
    for (preset, speed) in [
        (Preset::Donkeycar, 3.0),
        (Preset::Donkeycar, 8.0),
        (Preset::Kart, 20.0),
    ] {
        for friction in [0.7, 1.2] {
            let mut dynamics = coasting(ideal(preset.dynamics()));
            dynamics.friction = friction;
            dynamics.brakes.force = 10.0 * dynamics.mass * GRAVITY;
            dynamics.brakes.front = 0.5;
            let mut car = rolling(dynamics, speed);
            run(&mut car, 0.0, -1.0, 5.0);
            assert_eq!(car.speed(), 0.0);
            let expected = speed * speed / (2.0 * friction * GRAVITY);
            let distance = car.pose().x;
            assert!(
                (distance / expected - 1.0).abs() < 0.02,
                "{preset:?}: {distance} m and {expected} m"
            );
        }
    }
}

/// With the resistance R + k v^2 and the inertia M of car and wheels, the speed is
/// sqrt(R / k) tan(atan(v0 sqrt(k / R)) - t sqrt(R k) / M).
#[test]
fn a_coasting_car_slows_down_by_its_resistance() {
    for (preset, speed) in [
        (Preset::Donkeycar, 7.0),
        (Preset::F1tenth, 12.0),
        (Preset::Kart, 25.0),
    ] {
        let dynamics = coasting(preset.dynamics());
        let mut car = rolling(dynamics, speed);
        let resistance = dynamics.rolling * dynamics.mass * GRAVITY;
        let inertia = dynamics.mass + dynamics.wheel_mass[0] + dynamics.wheel_mass[1];
        let root = libm::sqrt(resistance / dynamics.air_drag);
        let rate = libm::sqrt(resistance * dynamics.air_drag) / inertia;
        for second in 1..=10 {
            run(&mut car, 0.0, 0.0, 1.0);
            let angle = libm::atan(speed / root) - rate * f64::from(second);
            let expected = root * libm::tan(angle);
            let difference = car.speed() - expected;
            assert!(
                difference.abs() < 0.005 * speed,
                "{preset:?}: {difference} m/s after {second} s"
            );
        }
    }
}

#[test]
fn a_slow_car_follows_its_wheels() {
    for (_, preset) in Preset::ALL {
        let dynamics = ideal(preset.dynamics());
        for speed in [0.05, 0.3, -0.2] {
            let mut car = rolling(dynamics, speed);
            let throttle = speed / dynamics.motor.no_load_speed;
            run(&mut car, 0.8, throttle, 3.0);
            let angle = 0.8 * dynamics.steering.range;
            let expected = car.speed() * libm::tan(angle) / dynamics.wheelbase();
            let rate = car.yaw_rate();
            assert!(
                (rate / expected - 1.0).abs() < 0.02,
                "{preset:?} at {speed} m/s: {rate} and {expected}"
            );
        }
    }
}

#[test]
fn a_car_without_a_command_does_not_move() {
    for (_, preset) in Preset::ALL {
        let mut car = rolling(preset.dynamics(), 0.0);
        run(&mut car, 0.0, 0.0, 5.0);
        run(&mut car, 1.0, 0.0, 1.0);
        assert_eq!(car.pose(), Pose::default(), "{preset:?}");
        assert_eq!((car.speed(), car.yaw_rate()), (0.0, 0.0));
        // From a slide, the car comes to rest, and stays there.
        car.roll(0.9 * preset.dynamics().limits().top_speed);
        run(&mut car, 0.7, 0.0, 60.0);
        let end = car.pose();
        assert_eq!((car.speed(), car.yaw_rate()), (0.0, 0.0), "{preset:?}");
        run(&mut car, 0.7, 0.0, 1.0);
        assert_eq!(car.pose(), end);
    }
}

#[test]
fn the_limits_are_what_the_car_does() {
    for (_, preset) in Preset::ALL {
        let dynamics = preset.dynamics();
        let limits = dynamics.limits();
        let mut car = rolling(dynamics, 0.0);
        run(&mut car, 0.0, 1.0, 0.2);
        let before = car.speed();
        run(&mut car, 0.0, 1.0, 0.2);
        let acceleration = (car.speed() - before) / 0.2;
        // The limit is without drag and the inertia of the wheels.
        let share = acceleration / limits.acceleration;
        assert!((0.8..1.001).contains(&share), "{preset:?}: {share}");
        run(&mut car, 0.0, 1.0, 40.0);
        let share = car.speed() / limits.top_speed;
        // The limit is without the slip of the driven wheels.
        assert!((0.97..1.001).contains(&share), "{preset:?}: {share}");
        car.roll(0.3 * limits.top_speed);
        run(&mut car, 0.0, -1.0, 0.15);
        let before = car.speed();
        run(&mut car, 0.0, -1.0, 0.1);
        let share = (before - car.speed()) / 0.1 / limits.braking;
        // Drag and rolling resistance brake too.
        assert!((0.9..1.1).contains(&share), "{preset:?}: {share}");
    }
}
