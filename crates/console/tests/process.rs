//! Tests a program whose terminal, pipes or reader are closed or stalled. The test program starts
//! itself: with the first argument `child` it is the program under test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test panics when it fails, and its harness prints"
)]

use std::fs::OpenOptions;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use pilotage_console::{print, print_within, run, say_always};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// More messages than the ring and a pipe hold.
const MANY: usize = 10_000;
/// A program that is not blocked ends within this time, even on a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

const TESTS: [(&str, fn()); 9] = [
    (
        "stderr_without_a_reader_ends_nothing",
        stderr_without_a_reader_ends_nothing,
    ),
    (
        "a_full_stderr_blocks_no_caller_and_no_exit",
        a_full_stderr_blocks_no_caller_and_no_exit,
    ),
    (
        "drops_are_reported_when_the_reader_reads_again",
        drops_are_reported_when_the_reader_reads_again,
    ),
    (
        "a_terminal_held_by_ctrl_s_blocks_nothing",
        a_terminal_held_by_ctrl_s_blocks_nothing,
    ),
    (
        "stdout_without_a_reader_is_a_quiet_end",
        stdout_without_a_reader_is_a_quiet_end,
    ),
    (
        "a_full_disk_becomes_the_exit_status",
        a_full_disk_becomes_the_exit_status,
    ),
    (
        "a_report_does_not_wait_for_ever",
        a_report_does_not_wait_for_ever,
    ),
    (
        "a_panic_is_reported_and_is_exit_status_101",
        a_panic_is_reported_and_is_exit_status_101,
    ),
    ("log_lines_look_as_they_did", log_lines_look_as_they_did),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, what] = &arguments[..]
        && first == "child"
    {
        return run(|| child(what));
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    for (name, test) in TESTS {
        if filter.is_none_or(|filter| name.contains(filter.as_str())) {
            test();
            println!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

/// The program under test.
fn child(what: &str) -> ExitCode {
    match what {
        // The exit status is the time that the messages took, in units of 16 ms.
        "chatter" => {
            let began = Instant::now();
            for number in 0..MANY {
                say_always(format_args!("{number}: {:90}", ""));
            }
            return ExitCode::from(u8::try_from(began.elapsed().as_millis() / 16).unwrap_or(255));
        }
        "resume" => {
            for number in 0..MANY {
                say_always(format_args!("{number}: {:90}", ""));
            }
            print("sent");
            // The test reads from now on.
            let _ = std::io::stdin().read(&mut [0]);
            pilotage_console::flush(PROMPT);
        }
        "threads" => {
            for number in 0..3 {
                std::thread::spawn(move || {
                    say_always(number);
                    log::error!("{number}");
                    panic!("a thread's own");
                })
                .join()
                .unwrap_err();
                std::thread::sleep(Duration::from_millis(20));
            }
            print("it goes on");
        }
        "print" => {
            for number in 0..MANY {
                print(number);
            }
            return ExitCode::from(7);
        }
        "printed" => print("done"),
        "report" => {
            assert!(!print_within(
                "x".repeat(1 << 20),
                Duration::from_millis(200)
            ));
        }
        "panic" => panic!("on purpose"),
        "log" => {
            log::warn!("it is late\nby far");
            log::info!("not shown");
        }
        other => panic!("{other}"),
    }
    ExitCode::SUCCESS
}

fn command(what: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", what]).env_remove("RUST_LOG");
    command.env_remove("RUST_BACKTRACE");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// A full pipe.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let size = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![b'.'; size]).unwrap();
    (reader, writer)
}

fn without_reader() -> PipeWriter {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer
}

/// Waits until the program ends, which has to happen within [`PROMPT`].
fn end(mut child: Child) -> Output {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > PROMPT {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

fn stderr_without_a_reader_ends_nothing() {
    let child = command("threads").stderr(without_reader()).spawn().unwrap();
    let ended = end(child);
    assert_eq!(ended.status.signal(), None, "no death by SIGPIPE");
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.stdout, b"it goes on\n");
}

fn a_full_stderr_blocks_no_caller_and_no_exit() {
    let (_unread, writer) = full();
    let child = command("chatter").stderr(writer).spawn().unwrap();
    let elapsed = end(child).status.code().unwrap();
    assert!(elapsed < 125, "sending took {} ms", 16 * elapsed);
}

fn drops_are_reported_when_the_reader_reads_again() {
    let (mut reader, writer) = full();
    let mut resume = command("resume");
    resume.stderr(writer).stdin(Stdio::piped());
    let mut child = resume.spawn().unwrap();
    drop(resume);
    let mut line = [0; 5];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut line)
        .unwrap();
    assert_eq!(&line, b"sent\n");
    drop(child.stdin.take());
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(end(child).status.success());
    assert!(text.trim_start_matches('.').starts_with("0: "), "in order");
    let last = text.lines().last().unwrap();
    let (count, rest) = last.split_once(' ').unwrap();
    assert_eq!(
        rest,
        "messages dropped: standard error did not take them in time"
    );
    let written = text.lines().count() - 1;
    assert_eq!(written + count.parse::<usize>().unwrap(), MANY);
}

fn a_terminal_held_by_ctrl_s_blocks_nothing() {
    let mut keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&keys).unwrap();
    unlockpt(&keys).unwrap();
    let name = ptsname(&keys, Vec::new()).unwrap().into_string().unwrap();
    let terminal: OwnedFd = OpenOptions::new()
        .read(true)
        .write(true)
        .open(name)
        .unwrap()
        .into();
    rustix::io::write(&mut keys, b"\x13").unwrap();
    let child = command("chatter").stderr(terminal).spawn().unwrap();
    let elapsed = end(child).status.code().unwrap();
    assert!(elapsed < 125, "sending took {} ms", 16 * elapsed);
}

fn stdout_without_a_reader_is_a_quiet_end() {
    let mut print = command("print");
    print.stdout(without_reader()).stderr(Stdio::piped());
    let ended = end(print.spawn().unwrap());
    assert_eq!(ended.status.code(), Some(7), "the command's own");
    assert_eq!(ended.stderr, b"");
}

fn a_full_disk_becomes_the_exit_status() {
    let disk = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut print = command("printed");
    print.stdout(disk).stderr(Stdio::piped());
    let ended = end(print.spawn().unwrap());
    assert_eq!(ended.status.code(), Some(2));
    let text = String::from_utf8(ended.stderr).unwrap();
    assert!(text.starts_with("error: standard output: "), "{text}");
}

fn a_report_does_not_wait_for_ever() {
    let (_unread, writer) = full();
    let mut report = command("report");
    report.stdout(writer).stderr(Stdio::piped());
    assert!(end(report.spawn().unwrap()).status.success());
}

fn a_panic_is_reported_and_is_exit_status_101() {
    let mut panics = command("panic");
    panics.stderr(Stdio::piped());
    let ended = end(panics.spawn().unwrap());
    assert_eq!(ended.status.code(), Some(101));
    let text = String::from_utf8(ended.stderr).unwrap();
    assert!(text.starts_with("thread 'main' panicked at "), "{text}");
    assert!(text.ends_with(":\non purpose\n"), "{text}");
}

fn log_lines_look_as_they_did() {
    let mut logs = command("log");
    logs.stderr(Stdio::piped());
    let ended = end(logs.spawn().unwrap());
    let text = String::from_utf8(ended.stderr).unwrap();
    // [2026-01-31T12:00:00Z WARN  process] ...
    let (time, rest) = text.split_at(21);
    assert!(time.starts_with("[20") && time.ends_with('Z'), "{text}");
    assert_eq!(rest, " WARN  process] it is late\n    by far\n");
}
