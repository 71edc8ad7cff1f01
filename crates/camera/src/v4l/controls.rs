//! Sets controls such as exposure, gain and white balance by the kernel's names.

use v4l2_sys_mit::Description;

use super::Device;
use crate::CameraError;

/// Sets each of `requested`. Switches and menus are set first, because they determine whether
/// others can be set.
///
/// # Errors
/// Fails if the device has no such control, or does not accept the value. The message lists the
/// device's controls, or the valid values.
pub(super) fn set<D: Device>(
    device: &mut D,
    camera: &str,
    requested: &[(String, i64)],
) -> Result<(), CameraError> {
    if requested.is_empty() {
        return Ok(());
    }
    let available = device.controls().map_err(|reason| CameraError::SetUp {
        camera: camera.to_owned(),
        what: "list its controls",
        reason,
    })?;
    let refused = |control: &str, problem: String| CameraError::Control {
        camera: camera.to_owned(),
        control: control.to_owned(),
        problem,
    };
    let mut chosen = Vec::new();
    for (name, value) in requested {
        let control = available.iter().find(|control| is(control, name));
        let control = control.ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|control| key(&control.name)).collect();
            refused(
                name,
                format!(
                    "there is no such control; the device has {}",
                    names.join(", ")
                ),
            )
        })?;
        if !control.settable {
            return Err(refused(name, "can only be read".to_owned()));
        }
        if !(control.minimum..=control.maximum).contains(value) {
            let (least, most) = (control.minimum, control.maximum);
            return Err(refused(
                name,
                format!("must be {least} to {most}, is {value}"),
            ));
        }
        chosen.push((control, *value));
    }
    chosen.sort_by_key(|(control, _)| !control.is_mode_switch);
    for (control, value) in chosen {
        device.set_control(control, value).map_err(|reason| {
            let problem = format!(
                "{value} is not taken ({reason}); is it automatic? Automatic exposure, white \
                 balance or gain has to be switched off first"
            );
            refused(&key(&control.name), problem)
        })?;
    }
    Ok(())
}

fn is(control: &Description, name: &str) -> bool {
    let id = match name.strip_prefix("0x") {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok(),
        None => name.parse().ok(),
    };
    let renamed = || {
        let mut renamed = RENAMED.iter();
        renamed.any(|(id, names)| *id == control.id && names.contains(&name))
    };
    id == Some(control.id) || key(&control.name) == name || renamed()
}

/// Controls whose names differ between kernels: before 5.16 uvcvideo had names of its own (its
/// commit "media: uvcvideo: Use control names from framework"), which JetPack 4 to 6 still have.
/// The numbers are those of <linux/v4l2-controls.h>.
const RENAMED: [(u32, &[&str]); 5] = [
    (
        0x0098_090C,
        &["white_balance_automatic", "white_balance_temperature_auto"],
    ),
    (0x009A_0901, &["auto_exposure", "exposure_auto"]),
    (
        0x009A_0902,
        &["exposure_time_absolute", "exposure_absolute"],
    ),
    (
        0x009A_0903,
        &["exposure_dynamic_framerate", "exposure_auto_priority"],
    ),
    (0x009A_090C, &["focus_automatic_continuous", "focus_auto"]),
];

/// A control's name in the notation of v4l2-ctl: `Exposure Time, Absolute` is
/// `exposure_time_absolute`.
fn key(name: &str) -> String {
    let mut key = String::new();
    for letter in name.chars() {
        if letter.is_ascii_alphanumeric() {
            key.push(letter.to_ascii_lowercase());
        } else if !key.is_empty() && !key.ends_with('_') {
            key.push('_');
        }
    }
    key.trim_end_matches('_').to_owned()
}
