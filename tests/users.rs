//! The users of a car: a guard that runs as a service does, an operator of its group, and a user
//! without permissions. Only root can run programs as each of these users; for others the tests
//! count as skipped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use rustix::process::{Pid, Signal, kill_process};

#[path = "support/pins.rs"]
mod pins;

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");

/// The guard's user and group, like those of the service; none of these IDs needs a name.
const GUARD: u32 = 40_001;
/// A member of [`OPERATORS`].
const MEMBER: u32 = 40_002;
/// The group that the guard admits.
const OPERATORS: u32 = 40_003;
/// A member of no group but its own.
const UNAUTHORIZED: u32 = 40_004;
/// Another user, whom a guard admits by `--allow`.
const ALLOWED: u32 = 40_005;

/// A frozen guard survives for this long.
const DEADLINE: Duration = Duration::from_secs(3);
/// The start-up limit of a program on a busy machine.
const START: Duration = Duration::from_secs(60);

struct Car {
    folder: tempfile::TempDir,
}

impl Car {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        // Copies, because other users may not be able to read the checkout.
        for program in ["pilotage", "pilotage-guard"] {
            let built = Path::new(PILOTAGE).with_file_name(program);
            fs::copy(&built, path.join(program)).unwrap_or_else(|error| {
                panic!("{}: {error}; `cargo build` builds it", built.display())
            });
        }
        let text = format!(
            "[camera]\nkind = \"folder\"\nfolder = \"pictures\"\nrate = 2\n\
             [guard]\ndeadline_ms = {}\nsocket = {:?}\n{}",
            DEADLINE.as_millis(),
            path.join("guard.sock"),
            pins::lay(path)
        );
        fs::write(path.join("car.toml"), text).unwrap();
        let car = Self { folder };
        car.hand_over();
        car
    }

    /// Makes the guard's user the owner of the folder; others may read it.
    fn hand_over(&self) {
        let mut left = vec![self.folder.path().to_owned()];
        while let Some(path) = left.pop() {
            chown(&path, Some(GUARD), Some(GUARD)).unwrap();
            if path.is_dir() {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
                left.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command that runs as `user`, who is in `groups` besides their own.
    fn command(&self, user: u32, groups: &[u32], program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={user}"));
        match groups {
            [] => command.arg("--clear-groups"),
            groups => {
                let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
                command.arg(format!("--groups={}", groups.join(",")))
            }
        };
        command.arg(self.path(program)).stdin(Stdio::null());
        command.env_remove("XDG_RUNTIME_DIR").current_dir("/");
        command
    }

    /// `pilotage WORD` by a member of the group.
    fn member(&self, word: &str) -> Output {
        let mut command = self.command(MEMBER, &[OPERATORS], "pilotage");
        command.arg(word).arg("--car").arg(self.path("car.toml"));
        command.output().unwrap()
    }

    /// `pilotage WORD` by a user who is not a member.
    fn unauthorized(&self, word: &str) -> Output {
        let mut command = self.command(UNAUTHORIZED, &[], "pilotage");
        command.arg(word).arg("--car").arg(self.path("car.toml"));
        command.output().unwrap()
    }

    fn pulses(&self) -> [u32; 2] {
        pins::pulses(self.folder.path())
    }

    /// A guard that accepts the operators of its group.
    fn guard(&self, user: u32) -> Guard {
        self.guard_with(user, &[])
    }

    fn guard_with(&self, user: u32, options: &[String]) -> Guard {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = self.command(user, &[OPERATORS], "pilotage-guard");
        command.arg("--car").arg(self.path("car.toml"));
        command
            .arg(format!("--allow-group={OPERATORS}"))
            .args(options);
        let guard = Guard(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let began = Instant::now();
        while !self.member("status").status.success() {
            assert!(began.elapsed() < START, "{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        guard
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

struct Guard(Child);

impl Guard {
    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn an_operator_of_the_group_stops_the_car_without_sudo() {
    let car = Car::new();
    let mut guard = car.guard(GUARD);
    let stopped = car.member("stop");
    assert!(stopped.status.success(), "{}", error(&stopped));
    let disarmed = car.member("disarm");
    assert!(disarmed.status.success(), "{}", error(&disarmed));
    // The request was permitted, and the guard reports why it is refused.
    let armed = car.member("arm");
    assert!(!armed.status.success());
    assert!(error(&armed).contains("no pilot"), "{}", error(&armed));
    assert!(guard.runs(), "nothing of this ends a guard");
}

fn an_operator_who_may_not_kill_a_frozen_guard_learns_what_to_do() {
    let car = Car::new();
    let guard = car.guard(GUARD);
    kill_process(Pid::from_child(&guard.0), Signal::STOP).unwrap();
    let stopped = car.member("stop");
    assert!(!stopped.status.success());
    let error = error(&stopped);
    assert!(
        error.contains("does not answer and cannot be killed"),
        "{error}"
    );
    assert!(error.contains("sudo pilotage stop"), "{error}");
    let process = format!("process {}", guard.0.id());
    assert!(error.contains(&process), "{error}");
}

/// Tries each request as an unauthorized user at a running guard.
fn unauthorized_users_move_and_stop_nothing(car: &Car, mut guard: Guard, reason: &str) {
    let before = car.pulses();
    for word in ["status", "arm", "disarm", "stop"] {
        let answer = car.unauthorized(word);
        assert!(!answer.status.success(), "{word}");
        let error = error(&answer);
        assert!(error.contains(reason), "{word}: {error}");
    }
    let mut failsafe = car.command(UNAUTHORIZED, &[], "pilotage-guard");
    failsafe
        .arg("--failsafe")
        .arg("--car")
        .arg(car.path("car.toml"));
    let answer = failsafe.output().unwrap();
    assert!(!answer.status.success());
    assert!(guard.runs(), "{}", error(&answer));
    assert_eq!(car.pulses(), before);
    assert!(car.member("status").status.success());
}

fn an_unauthorized_user_moves_and_stops_nothing() {
    let car = Car::new();
    let guard = car.guard(GUARD);
    unauthorized_users_move_and_stop_nothing(&car, guard, "Permission denied");
}

fn a_guard_that_admits_single_users_admits_no_others() {
    let car = Car::new();
    let guard = car.guard_with(GUARD, &[format!("--allow={ALLOWED}")]);
    let mut allowed = car.command(ALLOWED, &[], "pilotage");
    allowed.arg("status").arg("--car").arg(car.path("car.toml"));
    let answer = allowed.output().unwrap();
    assert!(answer.status.success(), "{}", error(&answer));
    unauthorized_users_move_and_stop_nothing(&car, guard, "this user");
}

fn main() -> ExitCode {
    let root = rustix::process::geteuid().is_root();
    let tests: [(&str, fn()); 4] = [
        (
            "an_operator_of_the_group_stops_the_car_without_sudo",
            an_operator_of_the_group_stops_the_car_without_sudo,
        ),
        (
            "an_operator_who_may_not_kill_a_frozen_guard_learns_what_to_do",
            an_operator_who_may_not_kill_a_frozen_guard_learns_what_to_do,
        ),
        (
            "an_unauthorized_user_moves_and_stops_nothing",
            an_unauthorized_user_moves_and_stops_nothing,
        ),
        (
            "a_guard_that_admits_single_users_admits_no_others",
            a_guard_that_admits_single_users_admits_no_others,
        ),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(!root)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
