use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::*;

/// In the environment of a test that is to run again in a process of its own.
const AGAIN: &str = "PILOTAGE_TEST_AGAIN";

/// Runs the test of this name again, in a process of its own.
fn again(name: &str) -> std::process::Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("process::tests::{name}")]);
    command.env(AGAIN, "1").output().unwrap()
}

fn is_again() -> bool {
    std::env::var_os(AGAIN).is_some()
}

fn spec(deadline_ms: u64, frame_period_ms: u64) -> LimitsSpec {
    let mut spec = LimitsSpec::simulated();
    spec.deadline = Duration::from_millis(deadline_ms);
    spec.frame_period = Duration::from_millis(frame_period_ms);
    spec
}

#[test]
fn motors_are_written_thirty_times_a_deadline_and_twice_a_frame() {
    let millis = Duration::from_millis;
    assert_eq!(tick(&spec(150, 20)), millis(5));
    assert_eq!(tick(&spec(600, 50)), millis(20));
    assert_eq!(tick(&spec(600, 30)), millis(15));
}

#[test]
fn a_panic_ends_the_process_at_once() {
    if is_again() {
        let _abort = AbortOnPanic;
        panic!("as a defect of the guard's would");
    }
    let ended = again("a_panic_ends_the_process_at_once").status;
    assert_eq!(ended.signal(), Some(libc::SIGABRT), "{ended}");
}

#[test]
fn an_end_without_a_panic_is_none() {
    if is_again() {
        drop(AbortOnPanic);
        std::process::exit(7);
    }
    let ended = again("an_end_without_a_panic_is_none").status;
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
    if is_again() {
        run_first();
        let allowed = sys::real_time(1).is_ok();
        run_first();
        let expected = match allowed {
            true => (i64::from(libc::SCHED_FIFO), i64::from(PRIORITY) - 1),
            false => (i64::from(libc::SCHED_OTHER), 0),
        };
        assert_eq!(scheduling(), expected);
        return;
    }
    let ended = again("an_operators_stop_runs_before_all_but_the_guard");
    assert!(ended.status.success(), "{ended:?}");
}
