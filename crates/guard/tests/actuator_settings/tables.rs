//! A valid table of each kind of actuator.

pub const SERVO: &str = r#"[actuator]
kind = "pca9685"
[actuator.pca9685]
bus = "/dev/i2c-1"
frequency = 60
[actuator.pca9685.steering]
channel = 1
left_us = 1100
centre_us = 1500
right_us = 1900
failsafe_us = 1500
disarmed_us = 0
[actuator.pca9685.throttle]
channel = 0
ahead_us = 2000
neutral_us = 1510
reverse_us = 1000
failsafe_us = 1510
disarmed_us = 0
arming = [{ us = 1510, ms = 500 }]
"#;

pub const MOTORS: &str = r#"[actuator]
kind = "pca9685"
[actuator.pca9685]
bus = "/dev/i2c-1"
frequency = 1500
[actuator.pca9685.differential]
turn = 0.6
failsafe = "brake"
disarmed = "coast"
left = { pwm = 8, ahead = 9, back = 10 }
right = { pwm = 13, ahead = 12, back = 11 }
"#;

pub const VESC: &str = r#"[actuator]
kind = "vesc"
[actuator.vesc]
port = "/dev/serial/by-id/usb-vesc-if00"
full_duty = 0.5
failsafe_brake_a = 5.0
disarmed_brake_a = 0.0
left = 0.1
centre = 0.5
right = 0.9
failsafe = 0.5
disarmed = 0.5
"#;

/// A VESC whose motor is commanded by its speed.
pub fn vesc_by_speed() -> String {
    VESC.replace("full_duty = 0.5", "full_erpm = -23250")
}

pub const BRIDGE: &str = r#"[actuator]
kind = "bridge"
[actuator.bridge]
port = "/dev/serial/by-id/usb-Pilotage-if00"
[actuator.bridge.steering]
left_us = 1100
centre_us = 1500
right_us = 1900
failsafe_us = 1500
disarmed_us = 0
[actuator.bridge.throttle]
ahead_us = 2000
neutral_us = 1500
reverse_us = 1500
failsafe_us = 1500
disarmed_us = 0
brake = { us = 1200, ms = 400 }
"#;

/// A servo, and motors on a second chip.
pub const TWO_CHIPS: &str = r#"[actuator]
kind = "pca9685"
[actuator.pca9685]
bus = "/dev/i2c-1"
frequency = 50
[actuator.pca9685.steering]
channel = 0
left_us = 1988
centre_us = 1500
right_us = 1012
failsafe_us = 1500
disarmed_us = 1500
[actuator.pca9685.motors]
address = 0x60
frequency = 1526
failsafe = "coast"
disarmed = "coast"
outputs = [{ pwm = 0, ahead = 1, back = 2 }, { ahead = 4, back = 3 }]
"#;

/// PWM pins with the same servo and speed controller.
pub fn pins() -> String {
    let chips = "[actuator.pwm]\nfrequency = 60\n\
                 steering_pin.chip = \"/sys/class/pwm/pwmchip0\"\n\
                 throttle_pin.chip = \"/sys/class/pwm/pwmchip0\"\n[actuator.pca9685.steering]";
    let (_, controls) = SERVO.split_once("[actuator.pca9685.steering]").unwrap();
    let text = format!("[actuator]\nkind = \"pwm\"\n{chips}{controls}");
    text.replace("actuator.pca9685", "actuator.pwm")
}

/// A Maestro with the same servo and speed controller.
pub fn maestro() -> String {
    let board = "[actuator.maestro]\nport = \"/dev/serial/by-id/usb-Pololu-if00\"\n\
                 [actuator.pca9685.steering]";
    let (_, controls) = SERVO.split_once("[actuator.pca9685.steering]").unwrap();
    let text = format!("[actuator]\nkind = \"maestro\"\n{board}{controls}");
    text.replace("actuator.pca9685", "actuator.maestro")
}
