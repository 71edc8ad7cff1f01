//! What can be set on a device. `v4l`'s own list panics on control types that are newer
//! than it (a webcam's region of interest, say) and on names that are not UTF-8.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::bindings::{
    V4L2_CTRL_FLAG_DISABLED, V4L2_CTRL_FLAG_NEXT_CTRL, V4L2_CTRL_FLAG_READ_ONLY,
    v4l2_query_ext_ctrl,
};

/// More controls than any device has.
const MOST: usize = 1024;

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
    /// The kernel's number for it.
    pub id: u32,
    /// Its name, for people.
    pub name: String,
    /// The least value.
    pub minimum: i64,
    /// The greatest value.
    pub maximum: i64,
    /// From one value to the next.
    pub step: u64,
    /// The value it has after the driver was loaded.
    pub default: i64,
    /// Whether it chooses among few: a switch or a menu. Such ones decide whether others
    /// can be set (automatic exposure, say).
    pub chooses: bool,
    /// Whether it can be set.
    pub settable: bool,
}

/// The simple controls of a V4L2 `device`, headings and disabled ones left out.
///
/// # Errors
/// When the device is gone, or is no V4L2 device.
pub fn controls(device: impl AsFd) -> io::Result<Vec<Description>> {
    let device = device.as_fd();
    let mut found = Vec::new();
    let mut last = 0;
    while found.len() < MOST {
        // SAFETY: the structure is integers and arrays of them, for which zeros are values.
        let mut query: v4l2_query_ext_ctrl = unsafe { std::mem::zeroed() };
        query.id = last | V4L2_CTRL_FLAG_NEXT_CTRL;
        // SAFETY: the descriptor is open while borrowed, and the request's number carries the
        // structure's size, which the kernel reads and writes and no more.
        let answer = unsafe { libc::ioctl(device.as_raw_fd(), VIDIOC_QUERY_EXT_CTRL, &mut query) };
        if answer == -1 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                // So the kernel says that there are no more.
                Some(libc::EINVAL) => Ok(found),
                Some(libc::EINTR) => continue,
                _ => Err(error),
            };
        }
        if query.id <= last {
            // A driver that goes in circles.
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
        chooses: matches!(query.type_, BOOLEAN | MENU | INTEGER_MENU),
        settable: query.flags & V4L2_CTRL_FLAG_READ_ONLY == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_camera_has_no_controls() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let error = controls(&null).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    }

    #[test]
    fn the_request_is_the_kernels() {
        // What linux/videodev2.h comes to in C.
        assert_eq!(VIDIOC_QUERY_EXT_CTRL as u32, 0xc0e8_5667);
    }

    #[test]
    fn a_name_need_not_be_text() {
        // SAFETY: integers and arrays of them.
        let mut query: v4l2_query_ext_ctrl = unsafe { std::mem::zeroed() };
        query.name[..3].copy_from_slice(&[b'G' as _, 0xC3_u8 as _, b'n' as _]);
        query.type_ = MENU;
        query.flags = V4L2_CTRL_FLAG_READ_ONLY;
        let seen = description(&query);
        assert_eq!(seen.name, "G\u{fffd}n");
        assert!(seen.chooses && !seen.settable);
    }
}
