//! What differs between versions of TensorRT in these tests.

use tensorrt_rs::{Headers, Product, Version};

use crate::machine::{self, Machine};
use crate::run::{DriveOptions, When};
use crate::{Case, FAILURE_MODES, PLAIN};
use crate::{check_timing, cpu_lap, documented, outcome, repeat_if_held_up, run_all};

/// The version of TensorRT of some headers, as the shim for them has it.
pub fn of(headers: &Headers) -> Version {
    let shim = headers.shim_file().unwrap();
    let number = shim.trim_end_matches(".so").rsplit('_').next().unwrap();
    Version {
        product: Product::TensorRt,
        number: number.parse().unwrap(),
    }
}

/// The compiler's option for the driver that JetPack has beside this version.
pub fn driver(version: Version) -> &'static str {
    match version.number {
        ..8_500 => "-DCUDA_10_2",
        _ => "-DCUDA_12_6",
    }
}

/// Functions of TensorRT before 8.5 and of CUDA 10.2, and what has their place since.
const OLDER: [(&str, &str); 10] = [
    ("cuDevicePrimaryCtxRelease", "cuDevicePrimaryCtxRelease_v2"),
    ("cuGraphInstantiate", "cuGraphInstantiateWithFlags"),
    ("bindingIsInput", "getTensorIOMode"),
    ("enqueueV2", "enqueueV3"),
    ("getBindingDataType", "getTensorDataType"),
    ("getBindingDimensions", "getTensorShape"),
    ("getBindingFormat", "getTensorFormat"),
    ("getBindingIndex", "setTensorAddress"),
    ("getBindingName", "getIOTensorName"),
    ("getNbBindings", "getNbIOTensors"),
];

/// The name in the newest version of a function, whatever version it is of.
pub fn newest_name(call: &str) -> &str {
    let newer = OLDER.iter().find(|(older, _)| *older == call);
    newer.map_or(call, |(_, newer)| newer)
}

/// Of the versions whose headers the tests install, the one with the precision of the network's types
/// or of flags, at a builder's choice. `cargo xtask stand-ins` injects all faults into all versions.
#[test]
fn with_tensorrt_10_the_lap_and_the_outcomes_of_faults_are_the_same() {
    let cpu = cpu_lap();
    let machine = Machine::with_headers(&machine::installed_headers("Enterprise-10.16"));
    let lap = || machine.run_drive(&DriveOptions::default(), &[]);
    repeat_if_held_up(lap, |gpu| {
        let backend = format!("{} on stand-in, ", machine.version());
        assert!(gpu.backend.starts_with(&backend), "{}", gpu.backend);
        assert!(gpu.completed && gpu.left.is_empty(), "{gpu:?}");
        assert_eq!(gpu.commands, cpu.commands);
        check_timing(gpu.fallbacks.is_empty(), || format!("{:?}", gpu.fallbacks))
    });
    let documented = documented();
    let cases = [
        (When::Start, "getTensorFormat", 0),
        (When::Start, "deserializeCudaEngine", 0),
        (When::Start, "createExecutionContext", 0),
        (When::MidLap, "enqueueV3", 0),
        (When::MidLap, "enqueueV3", 2),
    ];
    run_all(&cases, |&(when, call, mode)| {
        let case = Case {
            when,
            call: call.to_owned(),
            mode: FAILURE_MODES[mode].0,
            notation: FAILURE_MODES[mode].1,
        };
        let drive = || machine.run_drive(&case.options(), &PLAIN);
        let found = repeat_if_held_up(drive, |report| outcome(&case, &cpu, report));
        let expected = &documented[&(when, case.call.clone())][mode];
        assert_eq!(found, expected, "{when:?} {call}");
    });
}
