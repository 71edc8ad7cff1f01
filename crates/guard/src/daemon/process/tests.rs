use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::*;
use crate::{ActuatorError, Output};

/// Environment variable of a test that runs in a child process.
const CHILD_PROCESS: &str = "PILOTAGE_TEST_CHILD";

/// Runs the test with this name again, in a child process.
fn run_in_child(name: &str) -> std::process::Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let (_, module) = module_path!().split_once("::").unwrap();
    command.args(["--exact", &format!("{module}::{name}")]);
    command.env(CHILD_PROCESS, "1").output().unwrap()
}

fn is_child() -> bool {
    std::env::var_os(CHILD_PROCESS).is_some()
}

fn spec(deadline_ms: u64, frame_period_ms: u64) -> LimitsSpec {
    let mut spec = LimitsSpec::simulated();
    spec.deadline = Duration::from_millis(deadline_ms);
    spec.frame_period = Duration::from_millis(frame_period_ms);
    spec
}

#[test]
fn motors_are_written_thirty_times_per_deadline_and_twice_per_frame() {
    let millis = Duration::from_millis;
    assert_eq!(tick(&spec(150, 20)), millis(5));
    assert_eq!(tick(&spec(600, 50)), millis(20));
    assert_eq!(tick(&spec(600, 30)), millis(15));
}

#[test]
fn a_panic_ends_the_process_at_once() {
    if is_child() {
        let _abort = AbortOnPanic;
        panic!("as a bug in the guard would");
    }
    let ended = run_in_child("a_panic_ends_the_process_at_once").status;
    assert_eq!(ended.signal(), Some(libc::SIGABRT), "{ended}");
}

#[test]
fn an_end_without_a_panic_is_none() {
    if is_child() {
        drop(AbortOnPanic);
        std::process::exit(7);
    }
    let ended = run_in_child("an_end_without_a_panic_is_none").status;
    assert_eq!(ended.code(), Some(7), "{ended}");
}

/// Policy and priority of this thread: fields 41 and 40 of /proc/thread-self/stat (proc(5)).
fn scheduling() -> (i64, i64) {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let field = |number: usize| {
        let field = fields.split_whitespace().nth(number - 3).unwrap();
        field.parse().unwrap()
    };
    (field(41), field(40))
}

#[test]
fn an_operators_stop_runs_before_all_but_the_guard() {
    if is_child() {
        raise_priority();
        let allowed = pilotage_linux::real_time(1).is_ok();
        raise_priority();
        let expected = match allowed {
            true => (i64::from(libc::SCHED_FIFO), i64::from(PRIORITY) - 1),
            false => (i64::from(libc::SCHED_OTHER), 0),
        };
        assert_eq!(scheduling(), expected);
        return;
    }
    let ended = run_in_child("an_operators_stop_runs_before_all_but_the_guard");
    assert!(ended.status.success(), "{ended:?}");
}

/// Motors that accept the first `accepted` outputs only.
struct Failing {
    accepted: u32,
}

impl Actuator for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    fn write(&mut self, _: Time, _: &Output) -> Result<(), ActuatorError> {
        if self.accepted == 0 {
            return Err(ActuatorError::Write {
                device: "failing".into(),
                reason: io::ErrorKind::TimedOut.into(),
            });
        }
        self.accepted -= 1;
        Ok(())
    }
}

/// The watcher writes failsafe if the guard's process reports that it could not.
#[test]
fn a_last_output_that_is_not_accepted_is_an_error_of_a_physical_car() {
    if !is_child() {
        let name = "a_last_output_that_is_not_accepted_is_an_error_of_a_physical_car";
        let ended = run_in_child(name);
        assert!(ended.status.success(), "{ended:?}");
        return;
    }
    for (actuator, accepted, fails) in [
        (Domain::Physical, 1, true),
        (Domain::Physical, u32::MAX, false),
        (Domain::Simulated, 1, false),
    ] {
        let (pilot, guard) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        drop(pilot);
        let limits = LimitsSpec {
            actuator,
            ..LimitsSpec::simulated()
        };
        let limits = Limits::new(limits).unwrap();
        let options = ServeOptions {
            socket: None,
            pilot: Some(guard),
            allowed: Allowed::own(),
            identification: Identification::of_limits(&limits),
            privileged: false,
        };
        // The guard is a tick late when it begins, so that it writes at least once more.
        let late = || {
            std::thread::sleep(2 * TICK);
            Ok(())
        };
        let ended = run(limits, Failing { accepted }, options, late);
        let failed = matches!(ended, Err(ProcessError::Last(_)));
        assert_eq!(failed, fails, "{ended:?}");
        assert_eq!(ended.is_ok(), !fails, "{ended:?}");
    }
}
