//! A running guard: its resources, its messages, and how it handles requests.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pilotage_guard::{CommandLink, LinkError, OperatorLink, Refusal, State, StopReason, Stopped};
use pilotage_vehicle::{Command as Drive, Domain, monotonic};
use rustix::process::{Pid, Signal};

use crate::car::{
    Car, DISARMED, GUARD, PROMPT, Running, START, kilobytes, message, stat_field, stop, wait,
    wait_for,
};
use crate::pins::FAILSAFE;

#[test]
fn it_starts_disarmed_and_a_term_signal_leaves_it_so() {
    let car = Car::new();
    let pin = car.folder.path().join("pwmchip0/pwm1/duty_cycle");
    // The pulse that a dead guard left.
    fs::write(pin, "1900000\n").unwrap();
    let mut guard = car.guard(&[]);
    let mut link = car.connect();
    link.refresh().unwrap();
    assert_eq!(link.status().state, State::Disarmed);
    assert_eq!(car.pulses(), DISARMED);
    car.drive(&mut link);
    guard.kill(Signal::TERM);
    assert!(guard.ended().success());
    assert_eq!(car.pulses(), DISARMED);
    assert!(!car.settings().socket.exists());
}

#[test]
fn it_takes_little_memory() {
    let car = Car::new();
    let guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    let kilobytes = kilobytes(guard.pid(), "VmHWM:");
    println!("at most {kilobytes} kB resident");
    assert!(kilobytes <= 11 * 512, "{kilobytes} kB");
}

#[test]
fn the_service_manager_is_sent_the_deadline_and_reports() {
    let car = Car::new();
    let path = car.folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut command = car.command(&[]);
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", "1000000");
    let _guard = Running(command.spawn().unwrap());
    assert_eq!(received(&manager), "WATCHDOG_USEC=400000");
    assert_eq!(received(&manager), "READY=1");
    assert_eq!(received(&manager), "WATCHDOG=1");
    let first = Instant::now();
    assert_eq!(received(&manager), "WATCHDOG=1");
    let apart = first.elapsed();
    assert!(apart < Duration::from_millis(400), "{apart:?}");
}

fn received(manager: &UnixDatagram) -> String {
    let mut message = [0; 64];
    let length = manager.recv(&mut message).unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

#[test]
fn a_manager_without_a_watchdog_is_sent_nothing_more() {
    for limit in [Some("0"), None] {
        let car = Car::new();
        let path = car.folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut command = car.command(&[]);
        command.env("NOTIFY_SOCKET", &path);
        match limit {
            Some(limit) => command.env("WATCHDOG_USEC", limit),
            None => command.env_remove("WATCHDOG_USEC"),
        };
        let _guard = Running(command.spawn().unwrap());
        manager.set_read_timeout(Some(START)).unwrap();
        assert_eq!(received(&manager), "READY=1");
        manager
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let more = manager.recv(&mut [0; 64]);
        assert_eq!(more.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn a_manager_that_does_not_read_delays_no_tick() {
    let car = Car::new();
    let path = car.folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"x", &path).is_ok() {}
    let mut command = car.command(&[]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "1000000");
    let mut guard = Running(command.spawn().unwrap());
    let mut link = car.connect();
    car.drive(&mut link);
    // Longer than the kill timer's limit, which would kill a guard that waits.
    std::thread::sleep(Duration::from_millis(900));
    assert!(guard.0.try_wait().unwrap().is_none(), "the guard runs");
    drop(manager);
}

#[test]
fn a_trim_value_lasts_only_while_it_is_confirmed() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    let mut link = car.connect();
    let identification = car.settings().identification();
    link.hello_to_trim(&identification).unwrap();
    let point = pilotage_guard::Point::Neutral;
    link.trim(point, 1800).unwrap();
    assert_eq!(car.pulses()[1], 1_800_000, "the motor gets the trim value");
    for _ in 0..20 {
        link.trim(point, 1800).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(car.pulses()[1], 1_800_000, "while it is confirmed");
    wait("it ends", || car.pulses() == FAILSAFE);
    // A stop ends trimming until the car is disarmed. A disconnect ends it at once.
    link.disarm(monotonic()).unwrap();
    link.trim(point, 1800).unwrap();
    let Ok(Stopped::ByGuard { .. }) = stop(&car) else {
        panic!("the guard answers");
    };
    assert_eq!(car.pulses(), FAILSAFE);
    let refused = Err(LinkError::Refused(Refusal::NotTrimming));
    assert_eq!(link.trim(point, 1800), refused);
    assert_eq!(car.pulses(), FAILSAFE);
    link.disarm(monotonic()).unwrap();
    link.trim(point, 1800).unwrap();
    drop(link);
    wait("it ends with its connection", || car.pulses() == FAILSAFE);
}

#[test]
fn a_pilot_that_sends_nothing_is_stopped() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    // No more messages, with the connection still open.
    wait("the motors stand", || car.pulses() == FAILSAFE);
    link.refresh().unwrap();
    assert_eq!(link.status().state.stopped(), Some(StopReason::Deadline));
}

#[test]
fn a_pin_that_another_program_changes_stops_the_car() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    let mut link = car.connect();
    let identification = car.settings().identification();
    link.hello(Domain::Physical, &identification).unwrap();
    car.connect().arm_pilot().unwrap();
    let pin: &Path = &car.folder.path().join("pwmchip0/pwm1/duty_cycle");
    let mut sequence = 0;
    let mut changed = false;
    // Settings are read back once per second.
    wait_for(2 * PROMPT, "the guard sees it", || {
        sequence += 1;
        let command = Drive {
            steering: 0.5,
            throttle: 0.5,
            captured: monotonic(),
            sequence,
        };
        link.send_at(monotonic(), command).unwrap();
        if !changed && car.pulses() == [1_700_000, 1_750_000] {
            fs::write(pin, "1999000\n").unwrap();
            changed = true;
        }
        let stopped = link.status().state.stopped();
        stopped == Some(StopReason::Fault(pilotage_vehicle::Fault::Actuator))
    });
    wait("the motors stand", || car.pulses() == FAILSAFE);
}

#[test]
fn invalid_options_and_settings_are_reported() {
    let car = Car::new();
    let unknown = Command::new(GUARD).arg("--arm").output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        message(&unknown).contains("--help"),
        "{}",
        message(&unknown)
    );
    let no_user = car.command(&["--allow", "no-such-user"]).output();
    let no_user = no_user.unwrap();
    assert!(
        message(&no_user).contains("/etc/passwd"),
        "{}",
        message(&no_user)
    );
    let text = fs::read_to_string(car.file()).unwrap();
    fs::write(
        car.file(),
        text.replace("failsafe_us = 1500", "failsafe_us = 1600"),
    )
    .unwrap();
    let moving = car.command(&[]).output().unwrap();
    assert_eq!(moving.status.code(), Some(2));
    let error = message(&moving);
    assert!(
        error.contains("`actuator.pwm.throttle.failsafe_us`"),
        "{error}"
    );
    assert_eq!(car.pulses(), DISARMED, "nothing was written");
    let missing = Command::new(GUARD).args(["--car", "/none.toml"]).output();
    assert!(message(&missing.unwrap()).contains("/none.toml"));
}

/// User and system time of `process`, in hundredths of a second.
fn used(process: Pid) -> i64 {
    stat_field(process, 14) + stat_field(process, 15)
}

/// `SCHED_FIFO` of sched(7).
const FIFO: i64 = 1;

#[test]
fn a_guard_has_priority_and_locked_memory_or_logs_that_it_has_not() {
    let car = Car::new();
    let log = car.folder.path().join("log");
    let mut command = car.command(&[]);
    command.stderr(fs::File::create(&log).unwrap());
    let guard = Running(command.spawn().unwrap());
    car.connect().refresh().unwrap();
    let log = fs::read_to_string(log).unwrap();
    let priority = (stat_field(guard.pid(), 41), stat_field(guard.pid(), 40));
    match log.contains("no real-time priority") {
        false => assert_eq!(priority, (FIFO, 40), "{log}"),
        true => assert_eq!(priority, (0, 0), "{log}"),
    }
    let [locked, mapped] = ["VmLck:", "VmSize:"].map(|name| kilobytes(guard.pid(), name));
    match log.contains("memory is not locked") {
        false => assert!(locked > mapped / 2, "{locked} of {mapped} kB: {log}"),
        true => {
            assert_eq!(locked, 0, "{log}");
            let lacking = ["Cannot allocate memory", "Operation not permitted"];
            assert!(lacking.iter().any(|reason| log.contains(reason)), "{log}");
        }
    }
}

#[test]
fn an_idle_guard_uses_little_cpu_time() {
    let car = Car::new();
    let guard = car.guard(&[]);
    car.connect().refresh().unwrap();
    let before = used(guard.pid());
    std::thread::sleep(Duration::from_secs(1));
    let used = used(guard.pid()) - before;
    assert!(used < 20, "{used} % of a processor");
}

#[test]
fn a_flood_takes_no_more_than_a_share_of_a_processor_from_the_pilot() {
    let car = Car::new();
    let guard = car.guard(&[]);
    let mut flood = car.connect();
    flood.refresh().unwrap();
    let before = used(guard.pid());
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        // The send fails when the guard's socket is full, which is part of the test.
        let command = Drive {
            steering: 0.0,
            throttle: 0.0,
            captured: monotonic(),
            sequence: 1,
        };
        let _ = flood.send_at(monotonic(), command);
    }
    let used = used(guard.pid()) - before;
    // A third, with a margin for the resolution of the CPU time clock.
    assert!(used < 50, "{used} % of a processor");
    wait("the guard has read all and answers", || {
        flood.refresh().is_ok()
    });
}

#[test]
fn the_sockets_mode_admits_no_more_than_it_has_to() {
    use std::os::unix::fs::MetadataExt;
    let root = rustix::process::geteuid().is_root();
    assert!(root || std::env::var_os("CI").is_none(), "CI runs as root");
    let own = rustix::process::getegid().as_raw();
    for (options, mode, group) in [
        (&[][..], 0o660, own),
        (&["--allow=0"], 0o660, own),
        (&["--allow-group=40003"], 0o660, 40003),
        (&["--allow=0", "--allow-group=40003"], 0o660, 40003),
        // Several groups, or other users: all users may connect, and the guard checks their
        // credentials.
        (&["--allow-group=40003", "--allow-group=40004"], 0o666, own),
        (&["--allow=40005"], 0o666, own),
        (&["--allow=40005", "--allow-group=40003"], 0o666, own),
    ] {
        // Only root may change the socket's group to one of which it is not a member.
        if group != own && !root {
            continue;
        }
        let car = Car::new();
        let _guard = car.guard(options);
        car.connect().refresh().unwrap();
        let socket = fs::metadata(car.settings().socket).unwrap();
        assert_eq!(socket.mode() & 0o777, mode, "{options:?}");
        assert_eq!(socket.gid(), group, "{options:?}");
    }
}
