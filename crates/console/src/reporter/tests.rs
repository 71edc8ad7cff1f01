use std::sync::Mutex;
use std::sync::atomic::AtomicU8;

use super::*;

const OPEN: u8 = 0;
const BLOCKED: u8 = 1;
const BROKEN: u8 = 2;
const FULL_DISK: u8 = 3;

/// A sink whose state the test sets.
#[derive(Clone, Default)]
struct TestSink {
    lines: Arc<Mutex<Vec<String>>>,
    state: Arc<AtomicU8>,
}

impl TestSink {
    fn set(&self, state: u8) {
        self.state.store(state, Ordering::Release);
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Sink for TestSink {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        while self.state.load(Ordering::Acquire) == BLOCKED {
            thread::sleep(POLL_INTERVAL);
        }
        match self.state.load(Ordering::Acquire) {
            BROKEN => return Err(io::ErrorKind::BrokenPipe.into()),
            FULL_DISK => return Err(io::ErrorKind::StorageFull.into()),
            _ => {}
        }
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        self.lines.lock().unwrap().push(line);
        Ok(())
    }

    fn is_terminal(&self) -> bool {
        false
    }
}

const LONG: Duration = Duration::from_secs(20);

fn reporter() -> (TestSink, Reporter) {
    let sink = TestSink::default();
    (sink.clone(), Reporter::new(sink))
}

#[test]
fn messages_are_written_in_order() {
    let (sink, reporter) = reporter();
    for number in 0..100 {
        reporter.report(number);
    }
    assert!(reporter.flush(LONG));
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(sink.lines(), expected);
}

#[test]
fn a_blocked_output_blocks_no_caller_and_drops_are_counted() {
    let (sink, reporter) = reporter();
    sink.set(BLOCKED);
    let began = Instant::now();
    for number in 0..10_000 {
        reporter.report(number);
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    let ending = Instant::now();
    assert!(!reporter.finish(Duration::from_millis(200)));
    assert!(ending.elapsed() < Duration::from_secs(2), "bounded");
    sink.set(OPEN);
    assert!(reporter.finish(LONG));
    let lines = sink.lines();
    let (last, written) = lines.split_last().unwrap();
    assert!((256..=258).contains(&written.len()), "{}", written.len());
    let dropped = 10_000 - written.len();
    assert_eq!(
        last,
        &format!("{dropped} messages dropped: standard error did not take them in time")
    );
    assert_eq!(written[0], "0");
}

#[test]
fn a_closed_output_ends_without_an_error() {
    let (sink, reporter) = reporter();
    sink.set(BROKEN);
    reporter.report("lost");
    assert!(reporter.finish(LONG));
    sink.set(OPEN);
    reporter.report("lost too");
    assert!(reporter.finish(LONG));
    assert_eq!(sink.lines(), Vec::<String>::new());
}

#[test]
fn lines_lost_to_a_full_disk_are_counted_when_it_has_space_again() {
    let (sink, reporter) = reporter();
    sink.set(FULL_DISK);
    reporter.report("lost");
    reporter.report("lost");
    assert!(reporter.finish(LONG));
    sink.set(OPEN);
    reporter.report("written");
    assert!(reporter.finish(LONG));
    assert_eq!(
        sink.lines(),
        [
            "written",
            "2 messages dropped: standard error did not take them in time"
        ]
    );
}

#[test]
fn only_repeats_are_counted() {
    let (sink, reporter) = reporter();
    for _ in 0..12 {
        reporter.say(Kind::Coalesced, "the camera is dark");
        reporter.put(Kind::Log(log::Level::Warn), "pilotage", "a\nb");
    }
    for _ in 0..2 {
        reporter.say(Kind::Each, "armed");
        reporter.put(Kind::Log(log::Level::Info), "pilotage", "dry run");
    }
    assert!(reporter.finish(LONG));
    let lines = sink.lines();
    let log = |line: &str| line.split_once("Z ").map(|(_, rest)| rest.to_owned());
    assert_eq!(lines.len(), 8, "{lines:#?}");
    assert_eq!(lines[0], "the camera is dark");
    assert_eq!(log(&lines[1]).unwrap(), "WARN  pilotage] a\n    b");
    assert_eq!(lines[2], "armed");
    assert_eq!(log(&lines[3]).unwrap(), "INFO  pilotage] dry run");
    assert_eq!(
        lines[4..6].iter().filter(|line| *line == "armed").count(),
        1
    );
    assert_eq!(lines[6], "the camera is dark (11 times in 1 s)");
    assert_eq!(
        log(&lines[7]).unwrap(),
        "WARN  pilotage] a\n    b (11 times in 1 s)"
    );
}

#[test]
fn control_characters_in_messages_are_replaced() {
    let (sink, reporter) = reporter();
    reporter.report("warning: \u{1b}]0;title\u{7} in\ta name\r\nnext \u{9b}2J");
    let level = Kind::Log(log::Level::Warn);
    reporter.put(level, "camera", "the driver calls itself \u{1b}[31m");
    assert!(reporter.finish(LONG));
    let lines = sink.lines();
    assert_eq!(
        lines[0],
        "warning: \u{fffd}]0;title\u{fffd} in\ta name\u{fffd}\nnext \u{fffd}2J"
    );
    assert!(
        lines[1].ends_with("camera] the driver calls itself \u{fffd}[31m"),
        "{lines:?}"
    );
}
