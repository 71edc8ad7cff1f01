//! Motors for tests: PWM pins that are files in a folder, laid out as in sysfs.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "no test uses all of it, and tests fail by panicking"
)]

use std::fs;
use std::path::Path;

/// The pulses of steering and throttle in failsafe, in nanoseconds. They differ from those at rest,
/// so that the two can be distinguished.
pub const FAILSAFE: [u32; 2] = [1_480_000, 1_500_000];

/// Creates a PWM chip with two pins in `folder`; returns the tables of car.toml that name them.
pub fn lay(folder: &Path) -> String {
    let chip = folder.join("pwmchip0");
    for channel in 0..2 {
        let pin = chip.join(format!("pwm{channel}"));
        fs::create_dir_all(&pin).unwrap();
        for file in ["duty_cycle", "period", "enable"] {
            fs::write(pin.join(file), "0\n").unwrap();
        }
    }
    format!(
        "[actuator]\nkind = \"pwm\"\n\
         [actuator.pwm]\nfrequency = 100\n\
         steering_pin = {{ chip = {chip:?} }}\nthrottle_pin = {{ chip = {chip:?} }}\n\
         [actuator.pwm.steering]\nchannel = 0\nleft_us = 1900\ncentre_us = 1500\n\
         right_us = 1100\nfailsafe_us = 1480\ndisarmed_us = 0\n\
         [actuator.pwm.throttle]\nchannel = 1\nahead_us = 2000\nneutral_us = 1500\n\
         reverse_us = 1000\nfailsafe_us = 1500\ndisarmed_us = 0\n"
    )
}

/// The pulses of steering and throttle, nanoseconds; 1 for a file that is being written.
pub fn pulses(folder: &Path) -> [u32; 2] {
    [0, 1].map(|channel| {
        let file = folder.join(format!("pwmchip0/pwm{channel}/duty_cycle"));
        let text = fs::read_to_string(file).unwrap();
        let line = text.lines().next().unwrap_or_default();
        line.parse().unwrap_or(1)
    })
}
