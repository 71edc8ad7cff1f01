use super::*;

fn run(car: &mut Car, steering: f32, throttle: f32, seconds: f64) {
    for _ in 0..(seconds * 1000.0) as u32 {
        car.step(steering, throttle, 1e-3);
    }
}

#[test]
fn the_unicycle_follows_the_mixer_at_once() {
    let mixer = Mixer::simulated();
    let mut car = Car::new(CarKind::Unicycle, mixer.clone(), Pose::default());
    car.step(0.5, 0.25, 1e-3);
    let (speed, yaw_rate) = mixer.twist(0.5, 0.25);
    assert_eq!((car.speed(), car.yaw_rate()), (speed, yaw_rate));
    car.step(0.0, 0.0, 1e-3);
    assert_eq!(car.speed(), 0.0);
}

#[test]
fn a_turn_of_the_unicycle_is_a_circle() {
    let mixer = Mixer::simulated();
    let (speed, yaw_rate) = mixer.twist(1.0, 0.25);
    let mut car = Car::new(CarKind::Unicycle, mixer, Pose::default());
    run(&mut car, 1.0, 0.25, std::f64::consts::PI / yaw_rate);
    // Half a turn to the left ends a diameter to the left.
    let diameter = 2.0 * speed / yaw_rate;
    assert!((car.pose().y - diameter).abs() < 0.01, "{:?}", car.pose());
    assert!(car.pose().x.abs() < 0.02);
}

#[test]
fn the_ackermann_car_settles_at_the_mixers_speed() {
    let mixer = Mixer::simulated();
    let mut car = Car::new(CarKind::Ackermann, mixer.clone(), Pose::default());
    for (steering, throttle) in [(0.3_f32, 0.4_f32), (-0.2, 0.2)] {
        run(&mut car, steering, throttle, 6.0);
        let (speed, yaw_rate) = mixer.twist(steering, throttle);
        assert!((car.speed() - speed).abs() < 0.01);
        assert!((car.yaw_rate() - yaw_rate).abs() < 0.01);
    }
}

#[test]
fn the_ackermann_car_responds_with_a_delay() {
    let dynamics = Ackermann::default();
    let mixer = Mixer::simulated();
    let mut car = Car::new(CarKind::Ackermann, mixer.clone(), Pose::default());
    run(&mut car, 0.0, 0.5, 0.1);
    assert!(car.speed() > 0.0 && car.speed() <= 0.1 * dynamics.acceleration);
    run(&mut car, 0.0, 0.5, 5.0);
    run(&mut car, 1.0, 0.5, 0.02);
    let angle = libm::atan(car.yaw_rate() * mixer.wheelbase() / car.speed());
    assert!(
        (angle - 0.02 * dynamics.steering_rate).abs() < 1e-3,
        "{angle}"
    );
}

#[test]
fn throttle_zero_stops_either_car() {
    for kind in [CarKind::Unicycle, CarKind::Ackermann] {
        let mut car = Car::new(kind, Mixer::simulated(), Pose::default());
        run(&mut car, 0.0, 0.6, 4.0);
        assert!(car.speed() > 12.0);
        run(&mut car, 0.0, 0.0, 3.0);
        assert_eq!(car.speed(), 0.0, "{kind:?}");
    }
}

#[test]
fn reverse_goes_back() {
    for kind in [CarKind::Unicycle, CarKind::Ackermann] {
        let mut car = Car::new(kind, Mixer::simulated(), Pose::default());
        run(&mut car, 0.0, -0.1, 2.0);
        assert!(car.pose().x < -2.0, "{kind:?}");
    }
}

#[test]
fn invalid_commands_stay_within_range() {
    for kind in [CarKind::Unicycle, CarKind::Ackermann] {
        let mut car = Car::new(kind, Mixer::simulated(), Pose::default());
        run(&mut car, f32::NAN, f32::NAN, 0.5);
        assert_eq!(car.pose(), Pose::default());
        run(&mut car, f32::INFINITY, f32::INFINITY, 0.5);
        assert!(car.speed() <= 24.0 && car.pose().x.is_finite());
    }
}
