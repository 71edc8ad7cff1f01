use std::sync::Arc;

use pilotage_vehicle::Time;

use super::*;
use crate::{Limits, LimitsSpec, ProcessId};

/// A user that does not exist on this computer.
const OTHER_USER: u32 = 40_001;

/// A trusted record, as written by the service's user.
fn record(owner: u32, actuator: &str) -> Record {
    Record {
        path: "/run/pilotage/0.guard".into(),
        owner,
        trusted: true,
        process: ProcessId::own().unwrap(),
        socket: "/run/pilotage/guard.sock".into(),
        file: "/etc/pilotage/car.toml".into(),
        name: "the car".to_owned(),
        text: format!("[actuator]\n{actuator}"),
    }
}

/// The tables of `kind`'s servo and speed controller.
fn servo(kind: &str) -> String {
    format!(
        "[actuator.{kind}.steering]\nchannel = 0\nleft_us = 1900\ncentre_us = 1500\n\
         right_us = 1100\nfailsafe_us = 1500\ndisarmed_us = 0\n\
         [actuator.{kind}.throttle]\nchannel = 1\nahead_us = 2000\nneutral_us = 1500\n\
         reverse_us = 1000\nfailsafe_us = 1500\ndisarmed_us = 0\n"
    )
}

fn pwm(steering: &str, throttle: &str) -> String {
    format!(
        "kind = \"pwm\"\n[actuator.pwm]\nfrequency = 100\n\
         steering_pin = {{ chip = {steering:?} }}\nthrottle_pin = {{ chip = {throttle:?} }}\n{}",
        servo("pwm")
    )
}

fn pca9685(bus: &str, output_enable: Option<&str>) -> String {
    let pin = output_enable.map_or(String::new(), |chip| {
        format!("output_enable = {{ chip = {chip:?}, line = 4 }}\n")
    });
    format!(
        "kind = \"pca9685\"\n[actuator.pca9685]\nbus = {bus:?}\nfrequency = 60\n{pin}{}",
        servo("pca9685")
    )
}

fn vesc(port: &str) -> String {
    format!(
        "kind = \"vesc\"\n[actuator.vesc]\nport = {port:?}\nfull_duty = 0.2\n\
         failsafe_brake_a = 5.0\ndisarmed_brake_a = 0.0\nleft = 0.1\ncentre = 0.5\n\
         right = 0.9\nfailsafe = 0.5\ndisarmed = 0.5\n"
    )
}

fn maestro(port: &str) -> String {
    format!(
        "kind = \"maestro\"\n[actuator.maestro]\nport = {port:?}\n{}",
        servo("maestro")
    )
}

fn bridge(port: &str) -> String {
    let table = servo("bridge");
    let channels = table
        .replace("channel = 0\n", "")
        .replace("channel = 1\n", "");
    format!("kind = \"bridge\"\n[actuator.bridge]\nport = {port:?}\n{channels}")
}

#[test]
fn a_record_of_another_user_reaches_only_kernel_devices() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let to_device = folder.path().join("to-device");
    std::os::unix::fs::symlink("/dev/null", &to_device).unwrap();
    let to_file = folder.path().join("to-file");
    std::os::unix::fs::symlink(&file, &to_file).unwrap();
    let [folder, file, to_device, to_file] =
        [folder.path(), &file, &to_device, &to_file].map(|path| path.to_str().unwrap());

    for (actuator, accepted) in [
        (pca9685("/dev/null", None), true),
        (pca9685("/dev/null", Some("/dev/zero")), true),
        (pca9685(to_device, None), true),
        (vesc("/dev/null"), true),
        (maestro("/dev/null"), true),
        (bridge("/dev/null"), true),
        (pwm("/sys/class", "/sys/kernel"), true),
        (pca9685(file, None), false),
        (pca9685(to_file, None), false),
        (pca9685("/dev/null", Some(file)), false),
        // Under /dev, but not a device.
        (pca9685("/dev/shm", None), false),
        // Under another folder than /dev.
        (pca9685("/sys/class", None), false),
        (pca9685("/dev/missing", None), false),
        (vesc(file), false),
        (maestro(file), false),
        (bridge(file), false),
        (pwm(folder, "/sys/class"), false),
        (pwm("/sys/class", folder), false),
        (pwm("/sys/class", "/dev/null"), false),
        ("kind = \"dry-run\"\n".to_owned(), false),
    ] {
        let record = record(OTHER_USER, &actuator);
        record.car().unwrap();
        assert_eq!(confined(&record).is_some(), accepted, "{actuator}");
    }
}

#[test]
fn a_link_is_replaced_by_its_target() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("i2c-1");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let car = confined(&record(OTHER_USER, &pca9685(link.to_str().unwrap(), None))).unwrap();
    assert_eq!(car.actuator.pca9685.unwrap().bus, Path::new("/dev/null"));
}

#[test]
fn a_record_of_this_user_or_root_is_not_confined() {
    let file = pca9685("/a/file", None);
    for owner in [geteuid().as_raw(), 0] {
        let car = confined(&record(owner, &file)).unwrap();
        assert_eq!(car.actuator.pca9685.unwrap().bus, Path::new("/a/file"));
    }
    let mut untrusted = record(0, &file);
    untrusted.trusted = false;
    assert_eq!(confined(&untrusted), None);
}

/// Motors whose first writes fail.
struct FailingMotors {
    failures: u32,
    written: Vec<Output>,
}

impl Actuator for FailingMotors {
    fn name(&self) -> &str {
        "failing stand-in"
    }

    fn write(&mut self, _: Time, output: &Output) -> Result<(), ActuatorError> {
        if self.failures > 0 {
            self.failures -= 1;
            return Err(ActuatorError::Write {
                device: Arc::from("a stand-in"),
                reason: io::ErrorKind::NotConnected.into(),
            });
        }
        self.written.push(*output);
        Ok(())
    }
}

#[test]
fn failsafe_is_retried_when_a_write_fails() {
    let output = Output::failsafe(&Limits::new(LimitsSpec::simulated()).unwrap());
    let mut motors = FailingMotors {
        failures: 20,
        written: Vec::new(),
    };
    insist(&mut motors, &output).unwrap();
    assert_eq!(motors.written, [output]);

    motors.failures = u32::MAX;
    let began = Instant::now();
    insist(&mut motors, &output).unwrap_err();
    assert!(began.elapsed() >= RETRY_FOR);
}

/// A guard that was killed during a transfer that hangs holds its pin until the transfer ends.
#[test]
fn failsafe_goes_on_without_the_output_enable_pin() {
    let text = pca9685("/dev/no-such-bus", Some("/dev/no-such-chip"));
    let car = record(0, &text).car().unwrap();
    let guards = Motors::open(&car.actuator, Duration::ZERO).err().unwrap();
    assert!(guards.to_string().contains("no-such-chip"), "{guards}");
    let failsafes = write_failsafe(&car).unwrap_err().to_string();
    assert!(failsafes.starts_with("/dev/no-such-bus: "), "{failsafes}");
}
