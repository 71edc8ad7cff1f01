//! The car.toml files that ship for well-known cars.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use pilotage::car::Car;
use pilotage_camera::Source;
use pilotage_guard::GuardedCar;
use pilotage_guard::drivers::{MotorSettings, Pca9685Settings, Stop};
use pilotage_vehicle::Domain;
use pilotage_vision::PixelFormat;

#[test]
fn each_shipped_car_is_valid_slow_and_physical() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cars");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let car = Car::load(&path).unwrap();
        names.push(car.name.clone());
        let limits = car.limits.spec();
        assert_eq!(limits.actuator, Domain::Physical, "{}", car.name);
        assert!(limits.throttle.max <= 0.2, "{}", car.name);
        assert!(limits.throttle.min >= -0.2, "{}", car.name);
        assert!(car.capture.is_some(), "{}", car.name);
        assert!(car.gamepad.is_some(), "{}", car.name);
        assert_eq!(GuardedCar::load(&path).unwrap(), car.guarded());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "Donkeycar",
            "F1TENTH",
            "JetBot",
            "JetRacer",
            "Waveshare JetBot",
            "Waveshare JetRacer",
        ]
    );
}

fn car(file: &str) -> Car {
    let cars = Path::new(env!("CARGO_MANIFEST_DIR")).join("cars");
    Car::load(&cars.join(file)).unwrap()
}

fn pca9685(file: &str) -> Pca9685Settings {
    car(file).actuator.pca9685.unwrap()
}

/// Compares the channel and the pulses of a servo or speed controller with the vendor's, in
/// microseconds.
fn assert_pulses(found: (u8, [u16; 3]), channel: u8, expected: [f64; 3], tolerance: f64) {
    assert_eq!(found.0, channel);
    for (found, expected) in found.1.into_iter().zip(expected) {
        let difference = (f64::from(found) - expected).abs();
        assert!(difference <= tolerance, "{found} us, not {expected} us");
    }
}

/// Left, centre, right.
fn steering(chip: &Pca9685Settings) -> (u8, [u16; 3]) {
    let servo = chip.steering.unwrap();
    (
        servo.channel,
        [servo.left_us, servo.centre_us, servo.right_us],
    )
}

/// Ahead, neutral, reverse.
fn throttle(chip: &Pca9685Settings) -> (u8, [u16; 3]) {
    let motor = chip.throttle.as_ref().unwrap();
    (
        motor.channel,
        [motor.ahead_us, motor.neutral_us, motor.reverse_us],
    )
}

/// Stopped and disarmed, the servo is in its centre and the motor in neutral, which also arms the
/// controller: 2 s, as Donkeycar's and JetRacer's controllers need it.
fn assert_rests(chip: &Pca9685Settings) {
    let (servo, motor) = (chip.steering.unwrap(), chip.throttle.as_ref().unwrap());
    assert_eq!([servo.failsafe_us, servo.disarmed_us], [servo.centre_us; 2]);
    assert_eq!(
        [motor.failsafe_us, motor.disarmed_us],
        [motor.neutral_us; 2]
    );
    let [step] = motor.arming[..] else {
        panic!("{:?}", motor.arming)
    };
    assert_eq!((step.us, step.ms), (motor.neutral_us, 2000));
}

/// NVIDIA's jetbot/motor.py (NVIDIA-AI-IOT/jetbot, 402f348) runs a motor of Adafruit's MotorHAT
/// with `BACKWARD` for a positive value. Adafruit_MotorHAT.py: motor 1 is PWM 8, IN2 9, IN1 10,
/// motor 2 is PWM 13, IN2 12, IN1 11; `BACKWARD` sets IN1 low and IN2 high.
#[test]
fn a_jetbots_motors_turn_as_nvidias_program_turns_them() {
    let jetbot = pca9685("jetbot.toml");
    let motors = jetbot.differential.unwrap();
    assert_eq!(channels(motors.left), (Some(8), 9, 10));
    assert_eq!(channels(motors.right), (Some(13), 12, 11));
    assert_eq!(jetbot.address, 0x60);
    // Adafruit_MotorHAT.py's frequency is 1600; the chip's highest is 1526.
    assert!((jetbot.frequency - 1526.0).abs() < f32::EPSILON);
}

fn channels(motor: MotorSettings) -> (Option<u8>, u8, u8) {
    (motor.pwm, motor.ahead, motor.back)
}

/// The same file of NVIDIA's, "required for the Waveshare JetBot Board only": a positive value is
/// the speed on channel 1 of motor 1 and 2 of motor 2, a negative one that on 0 and 3.
#[test]
fn a_waveshare_jetbots_motors_turn_as_nvidias_program_turns_them() {
    let jetbot = pca9685("jetbot-waveshare.toml");
    let motors = jetbot.differential.unwrap();
    assert_eq!(channels(motors.left), (None, 1, 0));
    assert_eq!(channels(motors.right), (None, 2, 3));
    assert_eq!(
        (motors.failsafe, motors.disarmed),
        (Stop::Coast, Stop::Coast)
    );
    assert_eq!(jetbot.address, 0x60);
}

/// The CSI cameras: a mode with the sensor's full view, in 4:3 as the picture, whose messages do not
/// get into the picture, and whose frames do not queue.
#[test]
fn csi_cameras_show_the_full_view_and_no_messages() {
    for file in [
        "jetbot.toml",
        "jetbot-waveshare.toml",
        "jetracer.toml",
        "jetracer-waveshare.toml",
    ] {
        let capture = car(file).capture.unwrap();
        assert_eq!((capture.width, capture.height), (640, 480));
        let Source::Pipe(pipe) = capture.source else {
            panic!("{file}: not a pipe")
        };
        assert_eq!(pipe.format, PixelFormat::Nv12);
        assert_eq!(pipe.latency.as_millis(), 80);
        let [shell, option, script] = &pipe.command[..] else {
            panic!("{file}: {:?}", pipe.command)
        };
        assert_eq!((shell.as_str(), option.as_str()), ("sh", "-c"));
        for part in [
            "exec gst-launch-1.0 -q nvarguscamerasrc ! \
             'video/x-raw(memory:NVMM),width=1640,height=1232,framerate=30/1' ! ",
            " ! video/x-raw,width=640,height=480,format=NV12 ! ",
            " ! queue leaky=downstream max-size-buffers=1 ! ",
            " ! fdsink fd=3 sync=false 3>&1 1>&2",
        ] {
            assert!(script.contains(part), "{file}: {script}");
        }
        // A shell accepts it.
        let checked = Command::new("sh").args(["-n", "-c", script]).status();
        assert!(checked.unwrap().success(), "{file}: {script}");
    }
}

/// NVIDIA's jetracer/nvidia_racecar.py: steering on channel 0 with gain -0.65, throttle on channel
/// 1 with gain 0.8, both through ServoKit's continuous servo, 750 to 2250 us. Its notebook
/// basic_motion.ipynb: "`1` goes fully right, and `-1` fully left".
#[test]
fn a_jetracer_steers_as_nvidias_program_steers_it() {
    let jetracer = pca9685("jetracer.toml");
    let pulse = |value: f64| 1500.0 + 750.0 * value;
    let expected = [-1.0, 0.0, 1.0].map(|value| pulse(value * -0.65));
    assert_pulses(steering(&jetracer), 0, expected, 0.5);
    let expected = [1.0, 0.0, -1.0].map(|value| pulse(value * 0.8));
    assert_pulses(throttle(&jetracer), 1, expected, 0.5);
    // ServoKit's defaults.
    assert_eq!(jetracer.address, 0x40);
    assert!((jetracer.frequency - 50.0).abs() < f32::EPSILON);
    assert_rests(&jetracer);
}

/// donkeycar/templates/cfg_complete.py, in ticks of 1/4096 of a period at 60 Hz: steering on channel
/// 1, 460 left and 290 right; throttle on channel 0, 500 ahead, 370 stopped, 220 reverse.
#[test]
fn a_donkeycar_has_the_pulses_of_donkeycars_configuration() {
    let donkeycar = pca9685("donkeycar.toml");
    assert!((donkeycar.frequency - 60.0).abs() < f32::EPSILON);
    let ticks = |ticks: f64| ticks / 4096.0 / 60.0 * 1e6;
    let expected = [460.0, 375.0, 290.0].map(ticks);
    assert_pulses(steering(&donkeycar), 1, expected, 0.6);
    let expected = [500.0, 370.0, 220.0].map(ticks);
    assert_pulses(throttle(&donkeycar), 0, expected, 0.6);
    // PCA9685_I2C_ADDR
    assert_eq!(donkeycar.address, 0x40);
    assert_rests(&donkeycar);
}

/// f1tenth_system's vesc.yaml: servo = -1.2135 * angle + 0.5304, from 0.15 to 0.85; a positive
/// angle is to the left (REP 103). speed_to_erpm_gain is 4614, speed_max 23250. At most 1 m/s until
/// the operator raises it.
#[test]
fn an_f1tenth_car_steers_and_drives_by_vesc_yaml_and_starts_slowly() {
    let f1tenth = car("f1tenth.toml");
    let vesc = f1tenth.actuator.vesc.unwrap();
    let servo = |angle: f32| (-1.2135 * angle + 0.5304).clamp(0.15, 0.85);
    for (found, angle) in [(vesc.left, 0.29), (vesc.centre, 0.0), (vesc.right, -0.29)] {
        let expected = servo(angle);
        assert!((found - expected).abs() <= 0.005, "{found}, not {expected}");
    }
    assert_eq!([vesc.failsafe, vesc.disarmed], [vesc.centre; 2]);
    assert!(vesc.failsafe_brake_a > 0.0, "a stopped car brakes");
    assert_eq!((vesc.full_duty, vesc.full_erpm), (None, Some(23_250.0)));
    let full = 23_250.0 / 4614.0;
    let throttle = f1tenth.mixer.throttle(full);
    assert!((throttle - 1.0).abs() < 2e-3, "{throttle} at {full} m/s");
    assert!(f1tenth.limits.spec().throttle.max * full as f32 <= 1.01);
}

/// Waveshare's jetracer/nvidia_racecar.py for its JetRacer AI kit: the servo of NVIDIA's JetRacer
/// at 0x40; at 0x60, for a positive throttle, the speed on 0, 4 and 7, full on 1 and 6, nothing on 2,
/// 3 and 5; for a negative one the speed on 0, 3 and 7, full on 2 and 5, nothing on 1, 4 and 6.
#[test]
fn a_waveshare_jetracers_channels_are_those_of_its_program() {
    let jetracer = pca9685("jetracer-waveshare.toml");
    assert_eq!(
        steering(&jetracer),
        steering(&pca9685("jetracer.toml")),
        "as NVIDIA's"
    );
    assert_eq!(
        (jetracer.address, jetracer.throttle.is_none()),
        (0x40, true)
    );
    let motors = jetracer.motors.unwrap();
    assert_eq!(motors.address, 0x60);
    // The program requests 1600; the chip's highest is 1526.
    assert!((motors.frequency - 1526.0).abs() < f32::EPSILON);
    // S is the speed, F full; by direction, ahead first.
    for (ahead, program) in [(true, "SF..S.FS"), (false, "S.FS.F.S")] {
        let mut levels = ['?'; 8];
        for motor in &motors.outputs {
            let (runs, rests) = match ahead {
                true => (motor.ahead, motor.back),
                false => (motor.back, motor.ahead),
            };
            levels[usize::from(rests)] = '.';
            levels[usize::from(runs)] = if motor.pwm.is_some() { 'F' } else { 'S' };
            if let Some(pwm) = motor.pwm {
                levels[usize::from(pwm)] = 'S';
            }
        }
        assert_eq!(levels.iter().collect::<String>(), program);
    }
}
