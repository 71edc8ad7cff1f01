mod documentation;
mod errors;
mod gamepad;
mod lidar;

use std::fs;

use pilotage_guard::LimitsSpec;
use proptest::prelude::*;

use super::*;
use crate::signature;
use pilotage_gamepad::Mapping;
use pilotage_simulator::{LidarSpec, Preset, SensorSpec, TyreCar};

fn refused(text: &str) -> String {
    Car::from_toml("car.toml", text).unwrap_err().to_string()
}

fn accepted(text: &str) -> Car {
    Car::from_toml("car.toml", text).unwrap()
}

/// Removes the origin, so that cars can be compared however they were written.
fn without_origin(mut car: Car) -> Car {
    car.origin = accepted("").origin;
    car
}

#[test]
fn the_default_file_equals_an_empty_one() {
    assert_eq!(without_origin(accepted(DEFAULT)), accepted(""));
    assert_eq!(
        without_origin(Car::load_with(None, |_| ()).unwrap()),
        accepted("")
    );
}

#[test]
fn the_default_car_has_the_defaults_of_its_parts() {
    let car = accepted("");
    assert_eq!(car.mixer, Mixer::simulated());
    assert_eq!(car.camera, CameraSpec::default());
    let deadline = Duration::from_millis(175);
    let limits = LimitsSpec {
        deadline,
        max_age: deadline,
        ..LimitsSpec::simulated()
    };
    assert_eq!(car.limits.spec(), &limits);
    assert_eq!(car.circuit().unwrap().name(), "simple");
    assert_eq!(car.world().unwrap().circuit().name(), "simple");
}

#[test]
fn every_commented_key_of_the_default_file_can_be_used() {
    // A commented key is `# key = `; prose after a `#` has more words before any `=`.
    let uncommented = DEFAULT
        .lines()
        .map(|line| {
            let setting = line.strip_prefix("# ").filter(|rest| {
                rest.starts_with('[')
                    || rest
                        .split_once(" = ")
                        .is_some_and(|(key, _)| !key.contains(' '))
            });
            setting.unwrap_or(line)
        })
        .collect::<Vec<_>>()
        .join("\n");
    let car = accepted(&uncommented);
    assert_eq!(car.simulator.road_width, Some(3.0));
    assert_eq!(car.simulator.line_width, Some(0.1));
    assert_eq!(car.simulator.appearance_seed, Some(7));
    assert_eq!(
        car.simulator.latency,
        Latency::Fixed(Duration::from_millis(20))
    );
    assert_eq!(car.engine, EngineSource::File("my.engine".into()));
    let pad = car.gamepad.unwrap();
    let usual = GamepadConfig {
        device: Some("/dev/input/event3".into()),
        name: Some("Xbox".to_owned()),
        mapping: Some(Mapping::default()),
        commands: [("left", "BTN_WEST"), ("right", "BTN_NORTH")]
            .map(|(name, button)| (name.to_owned(), button.parse().unwrap()))
            .to_vec(),
        ..GamepadConfig::default()
    };
    assert_eq!(pad, usual);
}

#[test]
fn each_key_is_applied_to_its_part() {
    let car = accepted(
        r#"
        [car]
        name = "Sally"
        kind = "tyres"
        preset = "f1tenth"
        [mixer]
        wheelbase = 0.174
        steering_range = 0.3
        speed_to_throttle = [[0, 0], [1, 0.2], [3, 1]]
        [camera]
        width = 320
        height = 240
        rate = 30
        horizontal_fov = 1.2
        forward = 0.1
        left = 0.01
        up = 0.2
        pitch = 0.3
        yaw = -0.1
        roll = 0.02
        [simulator]
        circuit = "random"
        road_width = 4
        line_width = 0.2
        seed = 11
        looks = 5
        friction = 0.8
        laps = 3
        pace = "fast"
        latency_ms = 12.5
        time_limit = 90
        sensor_delay_ms = 25
        sensor_noise = 0.5
        lidar = true
        lidar_rays = 360
        lidar_field = 360
        lidar_range = 12
        lidar_rate = 10
        [engine]
        name = "pilotnet"
        threads = 2
        instruction_set = "scalar"
        backend = "tensorrt"
        fallback = "stop"
        gpu_limit_ms = 20
        gpu_memory = "copied"
        gpu_wait = "sleep"
        gpu_start_s = 7
        [guard]
        deadline_ms = 120
        max_age_ms = 110
        first_command_ms = 500
        [guard.steering]
        failsafe = 0.1
        disarmed = 0.2
        min = -0.8
        max = 0.9
        slew_per_second = 7
        [guard.throttle]
        min = -0.1
        max = 0.3
        slew_per_second = 2
        "#,
    );
    let tyres = CarKind::Tyres(TyreCar {
        preset: Preset::F1tenth,
        friction: 0.8,
    });
    assert_eq!((car.name.as_str(), car.kind), ("Sally", tyres));
    let curve = vec![(0.0, 0.0), (1.0, 0.2), (3.0, 1.0)];
    assert_eq!(car.mixer, Mixer::new(0.174, 0.3, curve).unwrap());
    let camera = CameraSpec {
        width: 320,
        height: 240,
        horizontal_fov: 1.2,
        forward: 0.1,
        left: 0.01,
        up: 0.2,
        pitch: 0.3,
        yaw: -0.1,
        roll: 0.02,
        rate_hz: 30.0,
    };
    assert_eq!(car.camera, camera);
    let simulator = Simulator {
        circuit: CircuitSource::Random,
        road_width: Some(4.0),
        line_width: Some(0.2),
        seed: 11,
        appearance_seed: Some(5),
        laps: 3,
        pace: Pace::Fast,
        latency: Latency::Fixed(Duration::from_micros(12_500)),
        time_limit: Duration::from_secs(90),
        sensors: SensorSpec {
            delay_ms: 25,
            noise: 0.5,
        },
        lidar_always: true,
        lidar: LidarSpec {
            rays: 360,
            field: 360.0,
            range: 12.0,
            rate: 10,
        },
    };
    assert_eq!(car.simulator, simulator);
    assert_eq!(car.engine, EngineSource::BuiltIn("pilotnet".to_owned()));
    assert_eq!(car.threads, 2);
    assert_eq!(car.instruction_set, Some(InstructionSet::Scalar));
    let backend = Backend::TensorRt {
        limit: Duration::from_millis(20),
        on_failure: OnGpuFailure::Stop,
        gpu: Gpu {
            transfer: Some(Transfer::Copied),
            wait: Wait::Sleep,
            start: Duration::from_secs(7),
        },
    };
    assert_eq!(car.backend, backend);
    let limits = car.limits.spec();
    assert_eq!(limits.deadline, Duration::from_millis(120));
    assert_eq!(limits.max_age, Duration::from_millis(110));
    assert_eq!(limits.first_command, Duration::from_millis(500));
    assert_eq!(limits.frame_period, Duration::from_micros(33_333));
    let steering = (limits.steering.failsafe, limits.steering.disarmed);
    assert_eq!(steering, (0.1, 0.2));
    assert_eq!((limits.steering.min, limits.steering.max), (-0.8, 0.9));
    assert_eq!(limits.steering.slew_per_second, 7.0);
    assert_eq!((limits.throttle.min, limits.throttle.max), (-0.1, 0.3));
    assert_eq!(limits.throttle.slew_per_second, 2.0);

    let circuit = car.circuit().unwrap();
    assert_eq!((circuit.road_width(), circuit.line_width()), (4.0, 0.2));
    assert_eq!(circuit.length(), Circuit::random(11).length());
}

#[test]
fn a_car_with_tyres_has_the_calibration_of_its_preset() {
    for (name, preset) in Preset::ALL {
        let text = format!("[car]\nkind = \"tyres\"\npreset = \"{name}\"\n");
        let car = accepted(&text);
        assert_eq!(car.kind, CarKind::Tyres(TyreCar::new(preset)));
        assert_eq!(car.mixer, preset.dynamics().mixer().unwrap());
        let car = accepted(&format!("{text}[mixer]\nwheelbase = 0.2"));
        let default = MixerSettings::default();
        assert_eq!(car.mixer.wheelbase(), 0.2);
        assert_eq!(car.mixer.steering_range(), default.steering_range);
        let car = accepted(&format!("{text}[simulator]\nfriction_seed = 7"));
        let friction = pilotage_simulator::random_friction(7);
        assert_eq!(car.kind, CarKind::Tyres(TyreCar { preset, friction }));
    }
    let car = accepted("[car]\nkind = \"tyres\"");
    assert_eq!(car.kind, CarKind::Tyres(TyreCar::new(Preset::Kart)));
    // The other cars are what they were.
    let car = accepted("[car]\npreset = \"kart\"\n[simulator]\nfriction = 0.5");
    assert_eq!(
        (car.kind, car.mixer),
        (CarKind::Unicycle, Mixer::simulated())
    );
}

#[test]
fn a_channel_that_is_partly_written_keeps_its_own_defaults() {
    let limits = *accepted("[guard.throttle]\nmax = 0.5").limits.spec();
    let default = LimitsSpec::simulated();
    assert_eq!(limits.throttle.max, 0.5);
    assert_eq!(
        limits.throttle.slew_per_second,
        default.throttle.slew_per_second
    );
    assert_eq!(limits.steering, default.steering);
}

#[test]
fn default_times_follow_the_frame_rate() {
    let limits = |rate: &str| *accepted(&format!("[camera]\nrate = {rate}")).limits.spec();
    assert_eq!(limits("60").deadline, Duration::from_millis(150));
    assert_eq!(limits("20").deadline, Duration::from_millis(175));
    assert_eq!(limits("10").deadline, Duration::from_millis(350));
    assert_eq!(limits("10").max_age, Duration::from_millis(350));
    assert_eq!(limits("1").first_command, Duration::from_millis(3500));
}

#[test]
fn guard_and_pilot_read_the_same_settings() {
    let real = "[camera]\nkind = \"folder\"\nfolder = \"pictures\"\nrate = 30\n\
                [guard]\ndeadline_ms = 200\nsocket = \"/run/here.sock\"\n\
                [guard.throttle]\nmax = 0.2\nmin = -0.1\n\
                [actuator]\nkind = \"dry-run\"\n";
    for text in [DEFAULT, "", real] {
        let car = Car::from_toml("car.toml", text).unwrap();
        let guarded = GuardedCar::from_toml("car.toml", text).unwrap();
        assert_eq!(car.guarded(), guarded, "{text}");
    }
}

#[test]
fn relative_paths_are_resolved_from_the_file_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("car.toml");
    fs::write(
        &file,
        "[simulator]\ncircuit = \"loop.csv\"\nline_width = 0.3\n[engine]\nfile = \"my.engine\"",
    )
    .unwrap();
    let circle: String = (0..40)
        .map(|i| f64::from(i) * std::f64::consts::TAU / 40.0)
        .map(|angle| format!("{},{}\n", 30.0 * angle.cos(), 30.0 * angle.sin()))
        .collect();
    let car = Car::load(&file).unwrap();
    assert_eq!(
        car.engine,
        EngineSource::File(folder.path().join("my.engine"))
    );
    let missing = car.circuit().unwrap_err().to_string();
    assert!(missing.contains("loop.csv"), "{missing}");

    fs::write(folder.path().join("loop.csv"), circle).unwrap();
    let circuit = car.circuit().unwrap();
    assert_eq!((circuit.name(), circuit.line_width()), ("loop", 0.3));
    let round = std::f64::consts::TAU * 30.0;
    assert!(
        (circuit.length() - round).abs() < 0.5,
        "{}",
        circuit.length()
    );

    fs::write(folder.path().join("loop.csv"), "x,y\n1,2\noops\n").unwrap();
    let garbled = car.circuit().unwrap_err().to_string();
    assert!(garbled.contains("loop.csv"), "{garbled}");
}

#[test]
fn a_misspelt_engine_is_reported_with_its_line() {
    assert_eq!(
        refused("[engine]\nname = \"pilotnt\""),
        "car.toml:2: `engine.name`: there is no compiled-in engine `pilotnt`: did you mean \
         `pilotnet`?"
    );
    assert_eq!(
        accepted("[engine]\nname = \"pilotnt\"\nfile = \"my.engine\"").engine,
        EngineSource::File("my.engine".into()),
        "a file takes precedence over a name"
    );
}

#[test]
fn invalid_trusted_keys_are_refused_with_their_line() {
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let car = accepted(&format!(
        "[engine]\ntrusted_keys = [\"{key}\"]\nrequire_signature = true"
    ));
    assert_eq!(car.trust.keys, [signature::public_key(key).unwrap()]);
    assert!(car.trust.required);
    assert!(!accepted("").trust.required);
    let cut = refused(&format!(
        "[engine]\ntrusted_keys = [\n\"{key}\",\n\"RWQf6\"]"
    ));
    assert!(
        cut.starts_with("car.toml:4: `engine.trusted_keys.1`: "),
        "{cut}"
    );
    let without_keys = refused("[engine]\nrequire_signature = true");
    assert!(
        without_keys.starts_with("car.toml:2: `engine.require_signature`: "),
        "{without_keys}"
    );
}
