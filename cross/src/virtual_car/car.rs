//! The virtual car's car.toml. All times in it are longer by as much as the virtual car is slower.

use std::time::Duration;

use super::SLOWER;

/// Frames per second of a real car's camera.
pub const RATE: f64 = 20.0;
/// Microseconds.
pub const NEUTRAL: u16 = 1500;
/// Microseconds.
pub const CENTRE: u16 = 1500;
/// How near to neutral a motor does not turn, in microseconds. The chip's tick and a Donkeycar's
/// neutral lie within it; every pulse that drives a car lies outside.
pub const STANDING: f32 = 9.0;
/// The resolution of the chip's pulses, in microseconds.
pub const TICK: f32 = 5.0;
/// Channels of the chip.
pub const THROTTLE: u8 = 1;
pub const STEERING: u8 = 0;
pub const SIZE: (u32, u32) = (640, 480);
/// How many identical frames mean a frozen picture, and how many black frames a covered lens.
pub const ODD_FRAMES: u32 = 5;

/// Where the car starts on the chicane, in metres: a little before the first bend.
const START: f64 = 50.0;

/// The time from frame to frame.
pub fn frame_period() -> Duration {
    Duration::from_secs_f64(SLOWER / RATE)
}

/// The text of car.toml. The disarmed values are no pulses, unlike the failsafe values.
pub fn toml(engine: &str) -> String {
    let (rate, deadline, first_command) = (RATE / SLOWER, 150.0 * SLOWER, 2000.0 * SLOWER);
    let (steering_slew, throttle_slew) = (40.0 / SLOWER, 20.0 / SLOWER);
    let (width, height) = SIZE;
    format!(
        r#"# The virtual car of `cargo xtask virtual-car`: {SLOWER} times slower than a real one.
[car]
name = "virtual car"

[engine]
file = "{engine}"

[camera]
kind = "v4l"
device = "/dev/video0"
format = "YUYV"
width = {width}
height = {height}
rate = {rate:.1}
frozen_frames = {ODD_FRAMES}
black_frames = {ODD_FRAMES}

[gamepad]

[mixer]
wheelbase = 0.33
steering_range = 0.42
speed_to_throttle = [[0.0, 0.0], [24.0, 1.0]]

[actuator]
kind = "pca9685"

[actuator.pca9685]
bus = "/dev/i2c-0"
address = 0x40
frequency = 50.0

[actuator.pca9685.steering]
channel = {STEERING}
left_us = 1010
centre_us = {CENTRE}
right_us = 1990
failsafe_us = {CENTRE}
disarmed_us = 0

[actuator.pca9685.throttle]
channel = {THROTTLE}
ahead_us = 2100
neutral_us = {NEUTRAL}
reverse_us = 900
failsafe_us = {NEUTRAL}
disarmed_us = 0

[guard]
deadline_ms = {deadline:.1}
first_command_ms = {first_command:.1}

[guard.steering]
slew_per_second = {steering_slew:.1}

[guard.throttle]
slew_per_second = {throttle_slew:.1}
min = 0.0
"#
    )
}

/// The text of rig.toml.
pub fn rig(circuit: &str) -> String {
    let (width, height) = SIZE;
    format!(
        "car = \"/run/rig/car.toml\"\nthrottle_channel = {THROTTLE}\nsteering_channel = \
         {STEERING}\nwidth = {width}\nheight = {height}\nslower = {SLOWER:.1}\ncircuit = \
         \"{circuit}\"\nstart = {START:.1}\n"
    )
}
