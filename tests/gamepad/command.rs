//! `pilotage gamepad`: what it shows, what it learns, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use pilotage_gamepad::{Axis, AxisName, Button, Lesson, Mapping, Question, Rest, Step};
use rustix::process::{Pid, Signal, kill_process};

use super::pipe::Pipe;
use super::*;

/// The program, running with a pipe as the gamepad.
struct Shown {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Shown {
    fn start(pipe: &Pipe, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilotage"));
        command.arg("gamepad").arg("--device").arg(pipe.path());
        command.args(more).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Reads until a line contains `what`, and returns that line.
    fn wait_for(&mut self, what: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(read > 0, "{what:?} never came: {all}");
            if line.contains(what) {
                return line;
            }
            all += &line;
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit status, and the output on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        drop(self.lines);
        let output = self.child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), error)
    }
}

#[test]
fn each_change_is_a_line_with_its_meaning() {
    let mut pipe = Pipe::new();
    let mut shown = Shown::start(&pipe, &[]);
    shown
        .wait_for("steering ABS_X, throttle ABS_RY, dead-man BTN_TL, arm BTN_START, stop BTN_EAST");
    for (kind, code, value, line) in [
        (
            3,
            STEERING,
            -32768,
            "ABS_X        -32768   steering +1.00 (1 is left)",
        ),
        (3, STEERING, 3, "ABS_X             3   steering, at rest"),
        (
            3,
            THROTTLE,
            -32768,
            "ABS_RY       -32768   throttle +1.00 (1 is ahead)",
        ),
        (3, 1, 5, "ABS_Y             5\n"),
        (1, DEAD_MAN, 1, "BTN_TL       pressed (dead-man)"),
        (1, DEAD_MAN, 0, "BTN_TL       released (dead-man)"),
        (1, STOP, 1, "BTN_EAST     pressed (stop)"),
        (1, ARM, 1, "BTN_START    pressed (arm)"),
        (1, 0x13a, 1, "BTN_SELECT   pressed\n"),
        (0, 3, 0, "(events were lost)"),
    ] {
        pipe.send(&[(kind, code, value)]);
        shown.wait_for(line);
    }
    shown.signal(Signal::INT);
    let (code, error) = shown.end();
    assert_eq!((code, error.as_str()), (Some(0), ""));
}

#[test]
fn an_unplugged_gamepad_is_an_error_and_a_closed_output_ends_the_program() {
    let pipe = Pipe::new();
    let mut shown = Shown::start(&pipe, &[]);
    shown.wait_for("steering");
    let path = pipe.unplug();
    let (code, error) = shown.end();
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("the gamepad is gone: its pipe is closed"),
        "{error}"
    );

    let mut pipe = Pipe::at(path);
    let Shown {
        mut child,
        mut lines,
    } = Shown::start(&pipe, &[]);
    lines.read_line(&mut String::new()).unwrap();
    drop(lines);
    pipe.send(&[(1, STOP, 1)]);
    let mut error = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), error.as_str()),
        (Some(0), "")
    );
}

#[test]
fn a_learned_mapping_is_written_and_comments_are_kept() {
    let mut pipe = Pipe::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("car.toml");
    let text = "# mine\n[gamepad]\nstop = \"BTN_EAST\"  # the circle\n[car]\nname = \"x\"\n";
    fs::write(&file, text).unwrap();
    let learn = ["--learn", "--car", file.to_str().unwrap()];
    // Ctrl-C during the lesson: nothing is written.
    let mut shown = Shown::start(&pipe, &learn);
    shown.wait_for("1/6: move each stick");
    shown.signal(Signal::INT);
    shown.wait_for("nothing was written");
    assert_eq!(shown.end().0, Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);

    let mut shown = Shown::start(&pipe, &learn);
    shown.wait_for("1/6");
    // Sticks X and RZ, a trigger RY at its least value.
    pipe.send(&[(3, 0, 9), (3, 5, -9), (3, 4, -32768), (1, 0x135, 1)]);
    pipe.send(&[(1, 0x135, 0)]);
    shown.wait_for("2/6: move the steering stick fully left");
    pipe.send(&[(3, 4, 32767)]);
    pipe.send(&[(3, 4, -32768)]);
    shown.wait_for("that is a trigger");
    pipe.send(&[(3, 0, -32768), (3, 5, 2000)]);
    pipe.send(&[(3, 0, 300)]);
    shown.wait_for("3/6: move the throttle");
    pipe.send(&[(3, 5, 32000)]);
    pipe.send(&[(3, 5, 100)]);
    shown.wait_for("4/6: press the dead-man button");
    pipe.send(&[(1, 0x134, 1)]);
    shown.wait_for("5/6: press the arm button");
    pipe.send(&[(1, 0x134, 0)]);
    pipe.send(&[(1, 0x134, 1)]);
    shown.wait_for("that button is taken already");
    pipe.send(&[(1, 0x139, 1)]);
    shown.wait_for("6/6: press the stop button");
    pipe.send(&[(1, 0x132, 1)]);
    shown.wait_for("written to [gamepad] of");
    let (code, error) = shown.end();
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let written = fs::read_to_string(&file).unwrap();
    for kept in [
        "# mine\n",
        "stop = \"BTN_C\"  # the circle\n",
        "name = \"x\"\n",
    ] {
        assert!(written.contains(kept), "{written}");
    }
    let mapping = Car::load(&file).unwrap().gamepad.unwrap().mapping.unwrap();
    assert_eq!(mapping.throttle.axis, AxisName(5));
    assert!(mapping.throttle.inverted, "ahead was the greater value");
    assert!(!mapping.steering.inverted);
    assert_eq!(mapping.dead_man, Button(0x134));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn learning_needs_an_existing_file() {
    let pipe = Pipe::new();
    let (code, error) = Shown::start(&pipe, &["--learn"]).end();
    assert_eq!(code, Some(2));
    assert!(error.contains("--car"), "{error}");
    let (code, error) = Shown::start(&pipe, &["--learn", "--car", "/nowhere/car.toml"]).end();
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("/nowhere/car.toml"), "{error}");
}

/// A lesson with a trigger for the throttle, tested as a function.
#[test]
fn a_lesson_distinguishes_sticks_from_triggers() {
    let byte = |_| Range {
        least: 0,
        most: 255,
        flat: 0,
    };
    let mut lesson = Lesson::default();
    let mut take = |ms, input| lesson.take(at(ms), input, byte);
    for (code, value) in [(0, 127), (1, 126), (5, 0), (9, 255), (0x10, 0)] {
        assert_eq!(take(0, axis(code, value)), None);
    }
    assert_eq!(take(1, button(0x130, true)), None);
    // A key that car.toml cannot name is not a button of the gamepad.
    assert_eq!(take(1, button(158, true)), None);
    assert_eq!(lesson.tick(at(500)), None);
    assert_eq!(lesson.tick(at(501)), Some(Step::Next(Question::Steering)));
    assert_eq!(lesson.tick(at(9999)), None);
    let mut take = |input| lesson.take(at(9999), input, byte);
    // Half of the travel is not full deflection, and a directional pad is not a stick.
    for input in [axis(0, 190), axis(0, 127), axis(0x10, 255), axis(0x10, 0)] {
        assert_eq!(take(input), None, "{input:?}");
    }
    assert_eq!(take(axis(0, 255)), None);
    assert_eq!(take(axis(0, 130)), Some(Step::Next(Question::Throttle)));
    for (code, to, back) in [(0, 0, 127), (9, 0, 255)] {
        assert_eq!(take(axis(code, to)), None);
        let step = take(axis(code, back));
        assert!(matches!(step, Some(Step::Refused(_))), "{step:?}");
    }
    assert_eq!(take(axis(5, 255)), None);
    assert_eq!(take(axis(5, 10)), Some(Step::Next(Question::DeadMan)));
    for (code, next) in [(0x134, Question::Arm), (0x139, Question::Stop)] {
        assert_eq!(take(button(158, true)), None);
        assert_eq!(take(button(code, true)), Some(Step::Next(next)));
        assert_eq!(take(button(code, false)), None);
    }
    let mapping = Mapping {
        steering: Axis {
            axis: AxisName(0),
            rest: Rest::Middle,
            inverted: true,
        },
        throttle: Axis {
            axis: AxisName(5),
            rest: Rest::End,
            inverted: false,
        },
        dead_man: Button(0x134),
        arm: Button(0x139),
        stop: Button(0x132),
    };
    assert_eq!(take(button(0x132, true)), Some(Step::Learned(mapping)));
}
