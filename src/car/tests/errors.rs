//! Errors: each names the file, the line and the key.

use super::*;

#[test]
fn errors_name_their_line_and_key() {
    for (text, expected) in [
        (
            "[mixer]\n\nwheelbse = 0.3",
            "car.toml:3: unknown key `wheelbse`: did you mean `wheelbase`?",
        ),
        (
            "[guard.throttel]",
            "car.toml:1: unknown key `throttel`: did you mean `throttle`?",
        ),
        (
            "[guard.steering]\nfail_safe = 0",
            "car.toml:2: unknown key `fail_safe`: did you mean `failsafe`?",
        ),
        (
            "[car]\nkind = \"akermann\"",
            "car.toml:2: unknown value `akermann`: did you mean `ackermann`?",
        ),
        (
            "[car]\npreset = \"donkycar\"",
            "car.toml:2: unknown value `donkycar`: did you mean `donkeycar`?",
        ),
        (
            "[simulator]\nfriction = 3",
            "car.toml:2: `simulator.friction`: must be from 0.1 to 2, and is 3",
        ),
        (
            "[simulator]\npace = \"real \"",
            "car.toml:2: unknown value `real `: did you mean `real`?",
        ),
        (
            "[camera]\nwidth = 8",
            "car.toml:2: `camera.width`: must be from 16 to 4096, and is 8",
        ),
        (
            "[camera]\nup = nan",
            "car.toml:2: `camera.up`: must be from 0.02 to 5, and is NaN",
        ),
        (
            "[simulator]\nseed = -1",
            "car.toml:2: `simulator.seed`: invalid value: integer `-1`, expected u64",
        ),
        (
            "[engine]\ninstruction_set = \"avx-512\"",
            "car.toml:2: `engine.instruction_set`: there is no instruction set `avx-512`: did you \
             mean `avx512`?",
        ),
        (
            "[simulator]\ncircuit = \"simpel\"",
            "car.toml:2: `simulator.circuit`: there is no circuit `simpel`: did you mean `simple`? \
             (or a .toml or .csv file)",
        ),
    ] {
        assert_eq!(refused(text), expected, "{text}");
    }
}

#[test]
fn every_rule_names_its_key() {
    for (text, line, key) in [
        ("[car]\nname = \"\"", 2, "car.name"),
        ("[camera]\nkind = \"v4m\"", 2, "camera.kind"),
        ("[actuator]\nkind = \"pca9685\"", 2, "actuator.kind"),
        ("[engine]\ngpu_start_s = 0", 2, "engine.gpu_start_s"),
        ("[mixer]\nwheelbase = -1", 2, "mixer.wheelbase"),
        ("[mixer]\nsteering_range = 2", 2, "mixer.steering_range"),
        (
            "[mixer]\nspeed_to_throttle = [[0, 0], [1, 2]]",
            2,
            "mixer.speed_to_throttle",
        ),
        ("[camera]\nheight = 5000", 2, "camera.height"),
        ("[camera]\nrate = 0", 2, "camera.rate"),
        ("[camera]\nhorizontal_fov = 3.1", 2, "camera.horizontal_fov"),
        ("[camera]\nforward = 6", 2, "camera.forward"),
        ("[camera]\nleft = -6", 2, "camera.left"),
        ("[camera]\npitch = 2", 2, "camera.pitch"),
        ("[camera]\nyaw = 4", 2, "camera.yaw"),
        ("[camera]\nroll = -4", 2, "camera.roll"),
        ("[simulator]\ncircuit = \"simpel\"", 2, "simulator.circuit"),
        ("[simulator]\nroad_width = 0.1", 2, "simulator.road_width"),
        ("[simulator]\nline_width = 3", 2, "simulator.line_width"),
        ("[simulator]\nlaps = 0", 2, "simulator.laps"),
        ("[simulator]\nfriction = nan", 2, "simulator.friction"),
        (
            "[simulator]\nfriction = 1\nfriction_seed = 3",
            3,
            "simulator.friction_seed",
        ),
        ("[simulator]\nlatency_ms = -1", 2, "simulator.latency_ms"),
        ("[simulator]\ntime_limit = inf", 2, "simulator.time_limit"),
        ("[engine]\nname = \"\"", 2, "engine.name"),
        ("[engine]\nfile = \"\"", 2, "engine.file"),
        ("[engine]\nthreads = 0", 2, "engine.threads"),
        (
            "[engine]\ninstruction_set = \"mmx\"",
            2,
            "engine.instruction_set",
        ),
        ("[guard]\ndeadline_ms = 149", 2, "guard.deadline_ms"),
        ("[guard]\ndeadline_ms = 1e300", 2, "guard.deadline_ms"),
        ("[guard]\nmax_age_ms = 176", 2, "guard.max_age_ms"),
        (
            "[guard]\nfirst_command_ms = 100",
            2,
            "guard.first_command_ms",
        ),
        ("[guard.steering]\nmax = 1.5", 2, "guard.steering.max"),
        (
            "[guard.steering]\nmin = 1\nmax = 0",
            2,
            "guard.steering.min",
        ),
        (
            "[guard.steering]\nmax = 0.5\ndisarmed = 0.7",
            3,
            "guard.steering.disarmed",
        ),
        (
            "[guard.throttle]\nfailsafe = 0.1",
            2,
            "guard.throttle.failsafe",
        ),
        (
            "[guard.throttle]\nslew_per_second = 0",
            2,
            "guard.throttle.slew_per_second",
        ),
        // A deadline that does not fit the rate is the error, not the rate.
        (
            "[camera]\nrate = 10\n[guard]\ndeadline_ms = 150",
            4,
            "guard.deadline_ms",
        ),
    ] {
        let message = refused(text);
        let expected = format!("car.toml:{line}: `{key}`: ");
        assert!(message.starts_with(&expected), "{text}\n{message}");
    }
}

#[test]
fn camera_and_actuator_must_both_be_simulated_or_physical() {
    let camera = "[camera]\nkind = \"folder\"\nfolder = \"pictures\"\n";
    let message = refused(camera);
    assert!(
        message.contains("`actuator.kind`: is `simulator`"),
        "{message}"
    );
    let message = refused("[actuator]\nkind = \"dry-run\"");
    assert!(message.starts_with("car.toml: `camera.kind`"), "{message}");
    let both = format!("{camera}[actuator]\nkind = \"dry-run\"\n");
    let car = Car::from_toml("car.toml", &both).unwrap();
    assert_eq!(car.actuator.kind, pilotage_guard::drivers::Kind::DryRun);
}

#[test]
fn errors_of_the_command_line_name_it() {
    let error = Car::load_with(None, |settings| settings.guard.deadline_ms = Some(20.0));
    let message = error.unwrap_err().to_string();
    assert!(
        message.starts_with("command line: `guard.deadline_ms`: "),
        "{message}"
    );
    let car = Car::load_with(None, |settings| settings.simulator.laps = 4).unwrap();
    assert_eq!(car.simulator.laps, 4);
}

#[test]
fn an_invalid_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Car::load(&folder.path().join("none.toml")).unwrap_err();
    assert!(missing.to_string().contains("none.toml"), "{missing}");
    let file = folder.path().join("huge.toml");
    fs::write(&file, vec![b'\n'; LONGEST_FILE as usize + 1]).unwrap();
    assert!(matches!(
        Car::load(&file),
        Err(CarError::Read(ReadError::TooLong {
            limit: LONGEST_FILE,
            ..
        }))
    ));
    fs::write(&file, vec![b'\n'; LONGEST_FILE as usize]).unwrap();
    Car::load(&file).unwrap();
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(matches!(
        Car::load(&file),
        Err(CarError::Read(ReadError::Unreadable { .. }))
    ));
}
