//! Files like those of the kernel take the place of a chip.

use std::fs;
use std::os::unix::fs::FileExt;

use tempfile::TempDir;

use super::*;

/// The folder of a chip's files below a folder of devices.
struct Chip(TempDir);

impl Chip {
    /// A chip that lies with its z axis up, turns about it, and is pushed along x, in its own units.
    fn new(turn: i32, push: i32) -> Self {
        let chip = Self(tempfile::tempdir().unwrap());
        fs::create_dir(chip.0.path().join("iio:device3")).unwrap();
        for (file, text) in [
            ("name", "mpu6050\n"),
            ("in_anglvel_scale", "0.001\n"),
            ("in_accel_scale", "0.01\n"),
            ("in_anglvel_z_offset", "10\n"),
            ("in_anglvel_x_raw", "0\n"),
            ("in_anglvel_y_raw", "0\n"),
            ("in_accel_y_raw", "30\n"),
            ("in_accel_z_raw", "981\n"),
        ] {
            chip.write(file, text);
        }
        chip.reads(turn, push);
        chip
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.path().join("iio:device3").join(file), text).unwrap();
    }

    fn reads(&self, turn: i32, push: i32) {
        // Of one length, and never empty, as the kernel's are.
        for (file, number) in [("in_anglvel_z_raw", turn), ("in_accel_x_raw", push)] {
            let path = self.0.path().join("iio:device3").join(file);
            let mut options = fs::OpenOptions::new();
            let file = options.write(true).create(true).truncate(false).open(path);
            let file = file.unwrap();
            file.write_all_at(format!("{number:>8}\n").as_bytes(), 0)
                .unwrap();
            file.set_len(9).unwrap();
        }
    }

    fn start(&self, forward: &str, left: &str) -> Result<Imu, ImuError> {
        Imu::start(&config(forward, left), self.0.path(), |_| ())
    }
}

fn config(forward: &str, left: &str) -> ImuConfig {
    ImuConfig {
        gyroscope: Some("mpu6050".to_owned()),
        accelerometer: Some("iio:device3".to_owned()),
        forward: Axis::named(forward).unwrap(),
        left: Axis::named(left).unwrap(),
        rate_hz: 200.0,
    }
}

/// Waits until the thread has read the numbers for which `is` holds.
fn wait(imu: &mut Imu, is: impl Fn(&Measurements) -> bool) -> Measurements {
    for _ in 0..2000 {
        if let Some(latest) = imu.latest().filter(|latest| is(&latest.measured)) {
            return latest.measured;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the numbers did not come: {:?}", imu.latest());
}

fn close(measured: &Measurements, measurement: Measurement, expected: f32) {
    let found = measured.get(measurement).unwrap();
    assert!(
        (found - expected).abs() < 1e-4,
        "{measurement:?}: {found}, expected {expected}"
    );
}

#[test]
fn the_third_axis_follows_the_right_hand_rule() {
    let named = |name: &str| Axis::named(name).unwrap();
    for (forward, left, up) in [
        ("x", "y", "z"),
        ("y", "z", "x"),
        ("z", "x", "y"),
        ("y", "x", "-z"),
        ("y", "-x", "z"),
        ("-x", "-y", "z"),
        ("x", "z", "-y"),
        ("-z", "y", "x"),
    ] {
        assert_eq!(
            named(forward).up(named(left)),
            Some(named(up)),
            "{forward} {left}"
        );
    }
    assert_eq!(named("x").up(named("-x")), None);
    assert_eq!(named("z").up(named("z")), None);
    for wrong in ["", "-", "w", "xy", "--x", "X"] {
        assert_eq!(Axis::named(wrong), None, "{wrong}");
    }
}

#[test]
fn numbers_are_in_the_cars_axes_from_the_zeros_of_a_car_at_rest() {
    // 0.1 rad/s and 0.2 m/s2 are the zeros.
    let chip = Chip::new(90, 20);
    let mut imu = chip.start("x", "y").unwrap();
    assert!(imu.measures(Measurement::YawRate) && !imu.measures(Measurement::Speed));
    let measured = wait(&mut imu, |it| it.get(Measurement::YawRate).is_some());
    close(&measured, Measurement::YawRate, 0.0);
    chip.reads(1090, 320);
    let measured = wait(&mut imu, |it| it.get(Measurement::YawRate) > Some(0.5));
    close(&measured, Measurement::YawRate, 1.0);
    // The file of this axis may have been read before it was written.
    let measured = wait(&mut imu, |it| it.get(Measurement::Acceleration) > Some(0.5));
    close(&measured, Measurement::Acceleration, 3.0);
    close(&measured, Measurement::LateralAcceleration, 0.0);
    assert_eq!(measured.get(Measurement::Speed), None);
}

#[test]
fn a_board_may_be_turned() {
    let chip = Chip::new(0, 0);
    // Its x axis points to the right.
    let mut imu = chip.start("y", "-x").unwrap();
    chip.reads(500, 100);
    let measured = wait(&mut imu, |it| {
        it.get(Measurement::LateralAcceleration) < Some(-0.5)
            && it.get(Measurement::YawRate) > Some(0.2)
    });
    close(&measured, Measurement::LateralAcceleration, -1.0);
    close(&measured, Measurement::YawRate, 0.5);
}

#[test]
fn a_board_upside_down_is_noticed() {
    let chip = Chip::new(0, 0);
    let refused = chip.start("y", "x").unwrap_err().to_string();
    assert!(
        refused.contains("reads -9.8 m/s2 along -z") && refused.contains("`left = \"x\"`"),
        "{refused}"
    );
    let refused = chip.start("x", "z").unwrap_err().to_string();
    assert!(refused.contains("along -y"), "{refused}");
}

#[test]
fn a_car_that_moves_has_no_zero() {
    let chip = Chip::new(2000, 0);
    let refused = chip.start("x", "y").unwrap_err();
    assert!(matches!(refused, ImuError::Zero { .. }), "{refused}");
    let chip = Chip::new(0, 0);
    let shaken = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in (0..300).cycle() {
                if !shaken.load(Ordering::Relaxed) {
                    break;
                }
                chip.reads(turn, 0);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let refused = chip.start("x", "y");
        shaken.store(false, Ordering::Relaxed);
        let refused = refused.unwrap_err();
        assert!(matches!(refused, ImuError::Moved { .. }), "{refused}");
    });
}

#[test]
fn a_sensor_that_fails_has_no_numbers_until_it_answers_again() {
    let chip = Chip::new(0, 0);
    let mut imu = chip.start("x", "y").unwrap();
    wait(&mut imu, |it| it.get(Measurement::YawRate).is_some());
    for wrong in [
        "",
        "no number",
        "inf",
        "1e999",
        "12345678901234567890123456789012345678901234567890x",
    ] {
        chip.write("in_anglvel_z_raw", wrong);
        let measured = wait(&mut imu, |it| it.get(Measurement::YawRate).is_none());
        // The others are still read.
        assert!(measured.get(Measurement::Acceleration).is_some(), "{wrong}");
        chip.reads(0, 0);
        wait(&mut imu, |it| it.get(Measurement::YawRate).is_some());
    }
}

#[test]
fn what_is_missing_is_named() {
    let chip = Chip::new(0, 0);
    let refused = |change: fn(&mut ImuConfig)| {
        let mut config = config("x", "y");
        change(&mut config);
        let started = Imu::start(&config, chip.0.path(), |_| ());
        started.unwrap_err().to_string()
    };
    let text = refused(|config| config.gyroscope = Some("bmi160".to_owned()));
    assert!(
        text.contains("`bmi160`") && text.contains("there are: mpu6050"),
        "{text}"
    );
    let text = refused(|config| config.accelerometer = Some("/nowhere/at-all".to_owned()));
    assert!(
        text.contains("/nowhere/at-all/in_accel_z_raw cannot be read"),
        "{text}"
    );
    chip.write("in_anglvel_scale", "much\n");
    let text = refused(|_| ());
    assert!(
        text.contains("in_anglvel_scale contains no number"),
        "{text}"
    );
    fs::create_dir(chip.0.path().join("iio:device4")).unwrap();
    fs::write(chip.0.path().join("iio:device4/label"), "mpu6050").unwrap();
    let text = refused(|_| ());
    assert!(
        text.contains("several IIO devices") && text.contains("iio:device3"),
        "{text}"
    );
    let empty = tempfile::tempdir().unwrap();
    let text = Imu::start(&config("x", "y"), empty.path(), |_| ()).unwrap_err();
    assert!(text.to_string().contains("has none"), "{text}");
}
