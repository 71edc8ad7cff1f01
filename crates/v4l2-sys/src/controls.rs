//! Lists a device's controls. The list of the crate `v4l` panics on control types that it does not
//! know (for example a webcam's region of interest) and on names that are not UTF-8.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::bindings::{
    V4L2_CTRL_FLAG_DISABLED, V4L2_CTRL_FLAG_NEXT_CTRL, V4L2_CTRL_FLAG_READ_ONLY,
    v4l2_query_ext_ctrl,
};

/// The most controls that are listed. No device has as many.
const MAX_CONTROLS: usize = 1024;

/// `_IOWR('V', 103, struct v4l2_query_ext_ctrl)` of linux/videodev2.h.
const VIDIOC_QUERY_EXT_CTRL: libc::Ioctl =
    (3 << 30 | size_of::<v4l2_query_ext_ctrl>() << 16 | (b'V' as usize) << 8 | 103) as libc::Ioctl;

/// V4L2_CTRL_TYPE_BOOLEAN, _MENU, _CTRL_CLASS and _INTEGER_MENU of linux/videodev2.h.
const BOOLEAN: u32 = 2;
const MENU: u32 = 3;
const CLASS: u32 = 6;
const INTEGER_MENU: u32 = 9;

/// A control and its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The kernel's number of the control.
    pub id: u32,
    /// The name for display.
    pub name: String,
    /// The least value.
    pub minimum: i64,
    /// The greatest value.
    pub maximum: i64,
    /// The difference between two adjacent values.
    pub step: u64,
    /// The value after the driver was loaded.
    pub default: i64,
    /// Whether the control is a switch or a menu. Such controls decide whether others can be set
    /// (for example automatic exposure).
    pub is_mode_switch: bool,
    /// Whether the control can be set.
    pub settable: bool,
}

/// Lists the simple controls of a V4L2 `device`, without headings and disabled controls.
///
/// # Errors
/// When the device was removed, or is not a V4L2 device.
pub fn controls(device: impl AsFd) -> io::Result<Vec<Description>> {
    let device = device.as_fd();
    let mut found = Vec::new();
    let mut last = 0;
    while found.len() < MAX_CONTROLS {
        // SAFETY: the structure consists of integers and arrays of integers, for which all zeros
        // are valid.
        let mut query: v4l2_query_ext_ctrl = unsafe { std::mem::zeroed() };
        query.id = last | V4L2_CTRL_FLAG_NEXT_CTRL;
        // SAFETY: the descriptor is open while it is borrowed. The request's number contains the
        // size of the structure, and the kernel accesses only that many bytes of `query`.
        let answer = unsafe { libc::ioctl(device.as_raw_fd(), VIDIOC_QUERY_EXT_CTRL, &mut query) };
        if answer == -1 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                // The kernel's answer when there are no more controls.
                Some(libc::EINVAL) => Ok(found),
                Some(libc::EINTR) => continue,
                _ => Err(error),
            };
        }
        if query.id <= last {
            // The driver repeats itself.
            break;
        }
        last = query.id;
        if query.type_ != CLASS && query.flags & V4L2_CTRL_FLAG_DISABLED == 0 {
            found.push(description(&query));
        }
    }
    Ok(found)
}

fn description(query: &v4l2_query_ext_ctrl) -> Description {
    let name = query.name.iter().take_while(|&&byte| byte != 0);
    let name: Vec<u8> = name.map(|&byte| byte as u8).collect();
    Description {
        id: query.id,
        name: String::from_utf8_lossy(&name).into_owned(),
        minimum: query.minimum,
        maximum: query.maximum,
        step: query.step,
        default: query.default_value,
        is_mode_switch: matches!(query.type_, BOOLEAN | MENU | INTEGER_MENU),
        settable: query.flags & V4L2_CTRL_FLAG_READ_ONLY == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_a_v4l2_device_is_an_error() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let error = controls(&null).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    }

    #[test]
    fn the_request_number_equals_the_kernels() {
        // The value of the macro of linux/videodev2.h in C.
        assert_eq!(VIDIOC_QUERY_EXT_CTRL as u32, 0xc0e8_5667);
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_accepted() {
        // SAFETY: the structure consists of integers and arrays of integers, for which all zeros
        // are valid.
        let mut query: v4l2_query_ext_ctrl = unsafe { std::mem::zeroed() };
        query.name[..3].copy_from_slice(&[b'G' as _, 0xC3_u8 as _, b'n' as _]);
        query.type_ = MENU;
        query.flags = V4L2_CTRL_FLAG_READ_ONLY;
        let control = description(&query);
        assert_eq!(control.name, "G\u{fffd}n");
        assert!(control.is_mode_switch && !control.settable);
    }
}
