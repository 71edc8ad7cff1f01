//! Modes and controls: the selection from what a device offers.

use std::rc::Rc;

use super::script::{Script, ScriptClock, ScriptDevice, config, device, granted, source};
use super::*;

fn chosen(device: ScriptDevice, format: Option<Fourcc>, rate: f64) -> Result<String, String> {
    let clock = ScriptClock(Rc::clone(&device.script));
    let config = CameraConfig { rate, ..config() };
    let camera = V4lCamera::with_device(device, clock, &source(format), &config);
    camera
        .map(|camera| camera.describe())
        .map_err(|error| error.to_string())
}

#[test]
fn the_cheapest_format_with_size_and_rate_is_chosen() {
    let script = Script::new();
    let with = |formats: &[&[u8; 4]]| ScriptDevice {
        formats: formats.iter().map(|&&format| format).collect(),
        ..device(&script)
    };
    for (formats, requested, expected) in [
        (&[b"MJPG", b"YUYV"][..], None, "YUYV"),
        (&[b"MJPG", b"YUYV"], Some(Fourcc::Mjpg), "MJPG"),
        (&[b"GREY", b"MJPG"], None, "MJPG"),
        (&[b"BGR3", b"RGB3", b"NV12"], None, "NV12"),
        (&[b"UYVY", b"H264"], None, "UYVY"),
    ] {
        let expected = format!("/dev/video7, {expected} 16x16 at 20 Hz");
        assert_eq!(chosen(with(formats), requested, 20.0), Ok(expected));
    }
}

#[test]
fn an_unsupported_mode_is_reported_with_the_available_ones() {
    let script = Script::new();
    let has = "it has H264 (not supported) 1280x720 at 30/20 Hz, H264 (not supported) \
               16x16 at 30/20 Hz, MJPG 1280x720 at 30/20 Hz, MJPG 16x16 at 30/20 Hz, \
               GREY 1280x720 at 30/20 Hz, GREY 16x16 at 30/20 Hz";
    assert_eq!(
        chosen(device(&script), Some(Fourcc::Nv12), 20.0),
        Err(format!("/dev/video7 has no NV12 16x16 at 20 Hz; {has}"))
    );
    assert_eq!(
        chosen(device(&script), None, 25.0),
        Err(format!("/dev/video7 has no 16x16 at 25 Hz; {has}"))
    );
    let node = ScriptDevice {
        formats: Vec::new(),
        ..device(&script)
    };
    let error = chosen(node, None, 20.0).unwrap_err();
    assert!(error.contains("no formats at all"), "{error}");
}

#[test]
fn sizes_and_rates_may_be_ranges_or_unknown() {
    let script = Script::new();
    let ranges = |least| ScriptDevice {
        sizes: vec![Sizes::Steps {
            width: (least, 1920, 8),
            height: (2, 1080, 2),
        }],
        rates: vec![Rates::Between((1, 120), (1, 1))],
        ..device(&script)
    };
    let grey = Some(Fourcc::Grey);
    assert!(chosen(ranges(8), grey, 12.5).is_ok());
    assert!(chosen(ranges(8), grey, 121.0).is_err());
    let error = chosen(ranges(12), grey, 20.0).unwrap_err();
    assert!(
        error.contains("12x2 to 1920x1080 in steps of 8x2 at 1 to 120 Hz"),
        "{error}"
    );

    // A device that lists nothing gets the request, and its answer is checked.
    let lists_nothing = |takes| ScriptDevice {
        sizes: Vec::new(),
        rates: Vec::new(),
        takes,
        ..device(&script)
    };
    assert!(chosen(lists_nothing(granted), grey, 20.0).is_ok());
    let other = lists_nothing(|mode| Granted {
        width: 640,
        rate: Some(30.0),
        ..granted(mode)
    });
    assert_eq!(
        chosen(other, grey, 20.0),
        Err(
            "/dev/video7 was set to GREY 16x16 at 20 Hz, but took GREY 640x16 at 30 Hz; set \
             width, height and rate of `[camera]` to these values"
                .to_owned()
        )
    );
}

fn control(id: u32, name: &str, is_mode_switch: bool) -> Description {
    Description {
        id,
        name: name.to_owned(),
        minimum: 0,
        maximum: 500,
        step: 1,
        default: 3,
        is_mode_switch,
        settable: name != "Privacy",
    }
}

fn set(requested: &[(&str, i64)]) -> Result<Vec<(u32, i64)>, String> {
    let controls = vec![
        control(0x009a_0902, "Exposure Time, Absolute", false),
        control(0x009a_0901, "Auto Exposure", true),
        control(0x009a_0910, "Privacy", true),
    ];
    set_on(controls, requested)
}

/// Sets controls of a device that has `controls`.
fn set_on(
    controls: Vec<Description>,
    requested: &[(&str, i64)],
) -> Result<Vec<(u32, i64)>, String> {
    let script = Script::new();
    let device = ScriptDevice {
        controls,
        ..device(&script)
    };
    let requested = requested
        .iter()
        .map(|&(name, value)| (name.to_owned(), value));
    let source = V4lSource {
        controls: requested.collect(),
        ..source(None)
    };
    let clock = ScriptClock(Rc::clone(&script));
    let camera = V4lCamera::with_device(device, clock, &source, &config());
    camera.map_err(|error| error.to_string())?;
    let set = script.borrow().controls.clone();
    Ok(set)
}

#[test]
fn controls_are_set_by_name_or_number_and_switches_first() {
    let expected = Ok(vec![(0x009a_0901, 1), (0x009a_0902, 157)]);
    let names = [("exposure_time_absolute", 157), ("auto_exposure", 1)];
    assert_eq!(set(&names), expected);
    assert_eq!(set(&[("0x009a0902", 157), ("10094849", 1)]), expected);
}

/// uvcvideo's names before and since Linux 5.16.
#[test]
fn a_control_has_its_old_and_its_new_name() {
    let newer = [
        (0x0098_090C, "White Balance, Automatic"),
        (0x009A_0901, "Auto Exposure"),
        (0x009A_0902, "Exposure Time, Absolute"),
        (0x009A_0903, "Exposure, Dynamic Framerate"),
        (0x009A_090C, "Focus, Automatic Continuous"),
    ];
    let older = [
        (0x0098_090C, "White Balance Temperature, Auto"),
        (0x009A_0901, "Exposure, Auto"),
        (0x009A_0902, "Exposure (Absolute)"),
        (0x009A_0903, "Exposure, Auto Priority"),
        (0x009A_090C, "Focus, Auto"),
    ];
    for (kernel, (_, requested)) in [newer, older]
        .into_iter()
        .zip([older, newer])
        .flat_map(|(kernel, others)| others.map(|other| (kernel, other)))
    {
        let key: String = requested
            .to_lowercase()
            .split(|letter: char| !letter.is_alphanumeric())
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("_");
        let controls = kernel.map(|(id, name)| control(id, name, false));
        let id = newer
            .iter()
            .chain(&older)
            .find(|(_, name)| *name == requested);
        let set = set_on(controls.to_vec(), &[(key.as_str(), 1)]);
        assert_eq!(set, Ok(vec![(id.unwrap().0, 1)]), "{key}");
    }
}

#[test]
fn a_control_that_cannot_be_set_is_an_error_with_the_reason() {
    for (name, value, expected) in [
        (
            "exposure",
            1,
            "there is no such control; the device has exposure_time_absolute, auto_exposure, \
             privacy",
        ),
        ("auto_exposure", 501, "must be 0 to 500, is 501"),
        ("privacy", 1, "can only be read"),
    ] {
        let expected = format!("/dev/video7: `camera.controls.{name}`: {expected}");
        assert_eq!(set(&[(name, value)]), Err(expected));
    }
}
