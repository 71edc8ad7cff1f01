//! The steps in which a chip sets the length of a pulse.

use std::fs;
use std::path::Path;

use crate::drivers::open_error::OpenError;

/// Kernel drivers of chips with few steps in a period, and the bits of their duty cycle. A Tegra
/// has 8 (`PWM_DUTY_WIDTH` of drivers/pwm/pwm-tegra.c, whose driver is named `tegra-pwm`). Its
/// duty cycle reads back as requested, not as rounded.
const COARSE: [(&str, u32); 1] = [("tegra-pwm", 8)];

/// The longest step that is accepted, in microseconds: a hundredth of the range of a usual servo,
/// 1000 us. Of a controller's neutral the rounding is at most half of it.
const LONGEST_STEP: f32 = 10.0;

/// Checks that `chip` sets pulses precisely enough at `frequency`, in Hz.
///
/// # Errors
/// When its steps are longer than [`LONGEST_STEP`].
pub(super) fn check(chip: &Path, frequency: f32) -> Result<(), OpenError> {
    let driver = fs::read_link(chip.join("device/driver")).unwrap_or_default();
    let name = driver.file_name().and_then(|name| name.to_str());
    let Some((driver, bits)) = COARSE.iter().find(|(coarse, _)| name == Some(coarse)) else {
        return Ok(());
    };
    let step = 1e6 / frequency / (1_u32 << bits) as f32;
    match step <= LONGEST_STEP {
        true => Ok(()),
        false => Err(OpenError::Coarse {
            device: chip.to_owned(),
            driver,
            step,
            longest: LONGEST_STEP,
        }),
    }
}
