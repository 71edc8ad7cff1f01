//! The virtual car's car.toml. Everything in it that is a time is as many times longer as
//! the virtual car is slower.

use std::time::Duration;

use super::SLOWER;

/// A real car's camera has so many frames a second.
pub const RATE: f64 = 20.0;
/// Microseconds.
pub const NEUTRAL: u16 = 1500;
/// Microseconds.
pub const CENTRE: u16 = 1500;
/// How near neutral a motor does not turn: within it are the tick and a Donkeycar's neutral,
/// and outside all that drives a car. Microseconds.
pub const STANDING: f32 = 9.0;
/// How near the chip comes to a pulse, microseconds.
pub const TICK: f32 = 5.0;
/// Channels of the chip.
pub const THROTTLE: u8 = 1;
pub const STEERING: u8 = 0;
pub const SIZE: (u32, u32) = (640, 480);
/// Identical frames that are a frozen picture, and black ones that are a covered lens.
pub const ODD_FRAMES: u32 = 5;

/// Where on the chicane it starts: a little before the first bend, metres.
const START: f64 = 50.0;

/// From frame to frame.
pub fn frame_period() -> Duration {
    Duration::from_secs_f64(SLOWER / RATE)
}

/// The file. Failsafe and disarmed differ in that the second is no pulse at all.
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

/// What the rig is told.
pub fn rig(circuit: &str) -> String {
    let (width, height) = SIZE;
    format!(
        "car = \"/run/rig/car.toml\"\nthrottle_channel = {THROTTLE}\nsteering_channel = \
         {STEERING}\nwidth = {width}\nheight = {height}\nslower = {SLOWER:.1}\ncircuit = \
         \"{circuit}\"\nstart = {START:.1}\n"
    )
}
