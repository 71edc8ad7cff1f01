use std::fs;

use super::*;

/// A system with these files.
fn system(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let system = System::below(root.path());
    (root, system)
}

fn found<'a>(findings: &'a [Finding], part: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|f| f.part == part).collect()
}

#[test]
fn a_missing_part_is_a_problem_only_if_it_is_needed() {
    let (_root, system) = system(&[]);
    for (needed, level) in [(false, Level::Absent), (true, Level::Problem)] {
        let needs = Needs {
            camera: needed,
            i2c: needed,
            gpio: needed,
            ..Needs::default()
        };
        let findings = devices::findings(&system, &needs);
        for part in ["camera", "I2C", "GPIO"] {
            let [finding] = found(&findings, part)[..] else {
                panic!("{part}: {findings:?}")
            };
            assert_eq!(finding.level, level, "{part}");
            assert!(finding.fix.is_some(), "{part}");
        }
    }
}

#[test]
fn the_cars_own_motors_are_looked_for() {
    let car = |text: &str| Needs::of(&Car::from_toml("car.toml", text).unwrap());
    let vesc = include_str!("../../cars/f1tenth.toml");
    let port = "/dev/serial/by-id/usb-STMicroelectronics_ChibiOS_RT_Virtual_COM_Port_301-if00";
    for (files, level) in [(&[][..], Level::Problem), (&[(port, "")], Level::Fine)] {
        let (_root, system) = system(files);
        let findings = devices::findings(&system, &car(vesc));
        assert_eq!(found(&findings, "motors")[0].level, level);
    }
    let port = "/dev/serial/by-id/usb-Pololu-if00";
    let maestro = format!(
        "{}\n[actuator.maestro]\nport = {port:?}\n\
         steering = {{ channel = 1, left_us = 1100, centre_us = 1500, right_us = 1900, \
         failsafe_us = 1500, disarmed_us = 0 }}\n\
         throttle = {{ channel = 0, ahead_us = 2000, neutral_us = 1510, reverse_us = 1000, \
         failsafe_us = 1510, disarmed_us = 0 }}\n",
        vesc.replace("kind = \"vesc\"", "kind = \"maestro\"")
    );
    for (files, level) in [(&[][..], Level::Problem), (&[(port, "")], Level::Fine)] {
        let (_root, system) = system(files);
        let findings = devices::findings(&system, &car(&maestro));
        assert_eq!(found(&findings, "motors")[0].level, level);
    }
    let jetracer = include_str!("../../cars/jetracer.toml");
    assert!(!car(jetracer).gpio);
    let with_pin = jetracer.replace(
        "[actuator.pca9685.steering]",
        "[actuator.pca9685.output_enable]\nchip = \"/dev/gpiochip0\"\nline = 7\n\
         [actuator.pca9685.steering]",
    );
    assert!(car(&with_pin).gpio);
    // Each of a car's PWM chips is read.
    let chips = car(include_str!("../../cars/jetracer-waveshare.toml")).chips;
    let addresses: Vec<u8> = chips.iter().map(|(_, address)| *address).collect();
    assert_eq!(addresses, [0x40, 0x60]);
}

#[test]
fn the_motors_chip_is_read_and_timed() {
    let bus = Path::new("/dev/i2c-1");
    let of = |read| devices::chip(bus, 0x40, read);
    let millis = std::time::Duration::from_millis;
    assert_eq!(of(Ok(millis(1))).level, Level::Fine);
    assert_eq!(of(Ok(millis(5))).level, Level::Fine);
    let slow = of(Ok(millis(100)));
    assert_eq!(slow.level, Level::Warning);
    assert_eq!(
        slow.found,
        "the chip at 0x40 on /dev/i2c-1 takes 100 ms to answer"
    );
    let denied = std::io::ErrorKind::PermissionDenied;
    assert_eq!(of(Err(denied.into())).level, Level::Warning);

    // A file in place of the bus does not answer.
    let jetbot = include_str!("../../cars/jetbot.toml");
    let needs = Needs::of(&Car::from_toml("car.toml", jetbot).unwrap());
    for files in [&[][..], &[("/dev/i2c-1", "")]] {
        let (_root, system) = system(files);
        let findings = devices::findings(&system, &needs);
        let [motors] = found(&findings, "motors")[..] else {
            panic!("{findings:?}")
        };
        assert_eq!(motors.level, Level::Problem);
        assert!(motors.found.contains("0x60"), "{}", motors.found);
    }
}

/// With `fallback = "cpu"`, the default, a car without a GPU drives.
#[test]
fn a_gpu_is_needed_only_where_nothing_takes_its_place() {
    let needs = |text: &str| Needs::of(&Car::from_toml("car.toml", text).unwrap()).gpu;
    assert_eq!(needs(""), None);
    let gpu = "[engine]\nbackend = \"tensorrt\"\n";
    assert_eq!(needs(gpu), Some(Level::Warning));
    let alone = format!("{gpu}fallback = \"stop\"\n");
    assert_eq!(needs(&alone), Some(Level::Problem));
}

#[test]
fn devices_are_listed_in_order_with_their_names() {
    let (_root, system) = system(&[
        ("/dev/video10", ""),
        ("/dev/video2", ""),
        ("/sys/class/video4linux/video2/name", "HD Webcam\n"),
        ("/dev/i2c-7", ""),
    ]);
    let findings = devices::findings(&system, &Needs::default());
    let cameras: Vec<_> = found(&findings, "camera")
        .iter()
        .map(|f| f.found.as_str())
        .collect();
    assert_eq!(cameras, ["/dev/video2: HD Webcam", "/dev/video10"]);
    assert_eq!(found(&findings, "I2C")[0].level, Level::Fine);
}

#[test]
fn a_device_that_cannot_be_opened_is_a_warning() {
    let (root, system) = system(&[]);
    // Even root cannot open a folder for writing.
    fs::create_dir_all(root.path().join("dev/video0")).unwrap();
    let findings = devices::findings(&system, &Needs::default());
    assert_eq!(found(&findings, "camera")[0].level, Level::Warning);
}

/// An Xbox pad and a keyboard, as in sysfs.
const PADS: [(&str, &str); 8] = [
    ("/dev/input/event0", ""),
    ("/sys/class/input/event0/device/name", "Keyboard\n"),
    (
        "/sys/class/input/event0/device/capabilities/key",
        "402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe\n",
    ),
    ("/sys/class/input/event0/device/capabilities/abs", "0\n"),
    ("/dev/input/event12", ""),
    ("/sys/class/input/event12/device/name", "Xbox pad\n"),
    (
        "/sys/class/input/event12/device/capabilities/key",
        "7cdb000000000000 0 0 0 0\n",
    ),
    (
        "/sys/class/input/event12/device/capabilities/abs",
        "3003f\n",
    ),
];

fn gamepad(text: &str) -> Needs {
    Needs::of(&Car::from_toml("car.toml", text).unwrap())
}

#[test]
fn a_gamepad_is_an_event_device_with_the_buttons_needed() {
    let (_root, system) = system(&PADS);
    for needs in [Needs::default(), gamepad("[gamepad]")] {
        let findings = devices::findings(&system, &needs);
        let [pad] = found(&findings, "gamepad")[..] else {
            panic!("{findings:?}")
        };
        assert_eq!(pad.level, Level::Fine);
        assert_eq!(pad.found, "/dev/input/event12: Xbox pad");
    }
    for (asks, expected) in [
        ("name = \"PlayStation\"", "none of 2 event device(s) has"),
        ("stop = \"BTN_TRIGGER\"", "none of 2 event device(s) has"),
        ("device = \"/dev/input/event9\"", "event9 is not there"),
        (
            "device = \"/dev/input/event0\"",
            "has no ABS_X, ABS_RY, BTN_TL",
        ),
    ] {
        let findings = devices::findings(&system, &gamepad(&format!("[gamepad]\n{asks}")));
        let pad = found(&findings, "gamepad")[0];
        assert!(pad.found.contains(expected), "{asks}: {}", pad.found);
        assert_eq!(pad.level, Level::Warning, "{asks}");
        assert!(pad.fix.is_some());
    }
}

/// Logitech's F710 with its switch at D, as in sysfs under hid-generic: neither ABS_RY nor
/// BTN_START has its default position.
#[test]
fn a_known_gamepad_is_named_and_has_what_it_needs() {
    let device = "/sys/class/input/event3/device";
    let path = |file: &str| format!("{device}/{file}");
    let paths = [
        "name",
        "id/vendor",
        "id/product",
        "capabilities/key",
        "capabilities/abs",
    ];
    let paths = paths.map(path);
    let texts = [
        "Logitech Cordless RumblePad 2\n",
        "046d\n",
        "c219\n",
        "fff000000000000 0 0 0 0\n",
        "30027\n",
    ];
    let mut files = vec![("/dev/input/event3", "")];
    files.extend(paths.iter().map(String::as_str).zip(texts));
    let (_root, system) = system(&files);
    let findings = devices::findings(&system, &gamepad("[gamepad]"));
    let pad = found(&findings, "gamepad")[0];
    assert_eq!(pad.level, Level::Fine, "{}", pad.found);
    assert_eq!(
        pad.found,
        "/dev/input/event3: Logitech Cordless RumblePad 2 (Logitech F310, F510 or F710 at D, \
         hid-generic)"
    );
    // The names in car.toml are used.
    let findings = devices::findings(&system, &gamepad("[gamepad]\nthrottle = \"ABS_RY\""));
    let pad = found(&findings, "gamepad")[0];
    assert_eq!(pad.level, Level::Warning, "{}", pad.found);
}

#[test]
fn a_missing_gamepad_is_no_problem_for_a_car_without_one() {
    let (_root, system) = system(&[]);
    let findings = devices::findings(&system, &Needs::default());
    assert_eq!(found(&findings, "gamepad")[0].level, Level::Absent);
}

const ORIN: [(&str, &str); 12] = [
    (
        "/proc/device-tree/model",
        "NVIDIA Jetson Orin Nano Developer Kit\0",
    ),
    (
        "/etc/nv_tegra_release",
        "# R36 (release), REVISION: 3.0, GCID: 36106755, BOARD: generic, EABI: aarch64\n",
    ),
    ("/var/lib/nvpmodel/status", "pmode:0001\n"),
    (
        "/etc/nvpmodel.conf",
        "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n",
    ),
    ("/sys/class/devfreq/17000000.gpu/cur_freq", "306000000\n"),
    ("/sys/class/devfreq/17000000.gpu/min_freq", "306000000\n"),
    ("/sys/class/devfreq/17000000.gpu/max_freq", "624750000\n"),
    ("/sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("/sys/class/thermal/thermal_zone0/temp", "99500\n"),
    (
        "/sys/class/thermal/thermal_zone0/trip_point_1_type",
        "passive\n",
    ),
    (
        "/sys/class/thermal/thermal_zone0/trip_point_1_temp",
        "99000\n",
    ),
    ("/sys/class/hwmon/hwmon3/oc2_event_cnt", "4\n"),
];

#[test]
fn a_slow_jetson_gets_fixes() {
    let (_root, system) = system(&ORIN);
    let findings = machine::findings(&system);
    assert_eq!(found(&findings, "clocks").len(), 1, "no governor to read");
    let [board] = found(&findings, "board")[..] else {
        panic!("{findings:?}")
    };
    assert_eq!(
        board.found,
        "NVIDIA Jetson Orin Nano Developer Kit, Jetson Linux R36.3.0"
    );
    assert_eq!(board.level, Level::Fine);
    for (part, expected) in [
        ("clocks", "GPU at 306 MHz, held between 306 and 624"),
        ("heat", "cpu-thermal at 99 C, throttled from 99 C on"),
    ] {
        let finding = found(&findings, part)[0];
        assert_eq!(
            (finding.level, finding.found.as_str()),
            (Level::Warning, expected)
        );
    }
    let [mode, throttled] = found(&findings, "power")[..] else {
        panic!("{findings:?}")
    };
    assert_eq!(
        (mode.level, mode.found.as_str()),
        (Level::Fine, "power mode 7W")
    );
    assert!(throttled.found.starts_with("throttled 4 times"));
}

#[test]
fn a_jetsons_processor_clock_that_follows_the_load_is_a_warning() {
    for (governor, level) in [
        ("schedutil\n", Level::Warning),
        ("performance\n", Level::Fine),
    ] {
        let file = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
        let (_root, jetson) = system(&[&ORIN[..], &[(file, governor)][..]].concat());
        let findings = machine::findings(&jetson);
        let finding = found(&findings, "clocks")[0];
        assert_eq!(finding.level, level, "{}", finding.found);
        // A computer that is no Jetson may save power.
        let (_root, other) = system(&[(file, governor)]);
        assert!(found(&machine::findings(&other), "clocks").is_empty());
    }
}

/// More power than the battery supplies resets the computer while the motors keep their last pulse
/// (the JetBot wiki's "Battery Tips" advise the 5 W mode), and 0 is not the highest mode on each
/// board: no mode is recommended by its number.
#[test]
fn no_power_mode_is_recommended_by_its_number() {
    for (mode, models) in [
        (
            "0",
            "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n",
        ),
        (
            "1",
            "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n",
        ),
        (
            "0",
            "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
        ),
        (
            "2",
            "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
        ),
        ("3", ""),
    ] {
        let status = format!("pmode:000{mode} fmode:fanNull\n");
        let (_root, system) = system(&[
            ("/var/lib/nvpmodel/status", &status),
            ("/etc/nvpmodel.conf", models),
        ]);
        let findings = machine::findings(&system);
        let [power] = found(&findings, "power")[..] else {
            panic!("{findings:?}")
        };
        assert_eq!((power.level, &power.fix), (Level::Fine, &None));
        let name = models.lines().find_map(|line| {
            let rest = line.strip_prefix(&format!("< POWER_MODEL ID={mode} NAME="))?;
            rest.split(' ').next()
        });
        let expected = match name {
            Some(name) => format!("power mode {name}"),
            None => "power mode number 3".to_owned(),
        };
        assert_eq!(power.found, expected);
    }
}

#[test]
fn a_jetson_of_jetpack_4_has_tensorrt_from_4_6_1_on() {
    for (revision, level) in [("6.1", Level::Warning), ("7.1", Level::Fine)] {
        let release = format!("# R32 (release), REVISION: {revision}, GCID: 29818004\n");
        let (_root, system) = system(&[
            (
                "/proc/device-tree/model",
                "NVIDIA Jetson Nano Developer Kit\0",
            ),
            ("/etc/nv_tegra_release", &release),
        ]);
        let findings = machine::findings(&system);
        let board = found(&findings, "board")[0];
        assert_eq!(board.level, level, "{revision}");
        assert!(board.found.contains(&format!("R32.{revision}")));
        let cpu_engine = board
            .fix
            .as_ref()
            .is_some_and(|fix| fix.contains("CPU engine"));
        assert_eq!(cpu_engine, level == Level::Warning, "{revision}");
    }
}

#[test]
fn files_with_invalid_content_are_ignored() {
    let nonsense: Vec<_> = ORIN
        .iter()
        .map(|(path, _)| (*path, "\u{fffd} <<>> NAME= -"))
        .collect();
    let (_root, system) = system(&nonsense);
    let findings = machine::findings(&system);
    assert!(
        findings
            .iter()
            .all(|finding| finding.level < Level::Problem)
    );
}

#[test]
fn a_real_car_needs_its_camera_and_its_bus() {
    let cars = Path::new(env!("CARGO_MANIFEST_DIR")).join("cars");
    let what = |needs: &Needs| [needs.camera, needs.i2c, needs.gpu.is_some()];
    let named = |name: &str| what(&Needs::of(&Car::load(&cars.join(name)).unwrap()));
    let written = |text: &str| what(&Needs::of(&Car::from_toml("car.toml", text).unwrap()));
    assert_eq!(named("donkeycar.toml"), [true, true, false]);
    // Its camera is a pipe.
    assert_eq!(named("jetracer.toml"), [false, true, false]);
    // Its motors are behind a serial line.
    assert_eq!(named("f1tenth.toml"), [true, false, false]);
    assert_eq!(written(""), [false, false, false]);
    let gpu = written("[engine]\nbackend = \"tensorrt\"\n");
    assert_eq!(gpu, [false, false, true]);
}
