//! `pilotage trim`: an operator finds a car's centre and ends from the terminal. The guard moves
//! the motors, and holds a value only while this program confirms it.

mod edit;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pilotage_config::{LONGEST_FILE, replace};
use pilotage_console::{out, print};
use pilotage_guard::{
    CommandLink, GuardedCar, INSTALLED, LinkError, OperatorLink, Point, Record, SocketLink, State,
    StopReason, TrimTable, Value,
};
use pilotage_vehicle::monotonic;

use crate::guarded::GuardConnection;
use edit::{Found, edit};

mod outputs_off;

/// Options of `pilotage trim`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The car
    #[arg(long, value_name = "FILE", default_value = INSTALLED)]
    car: PathBuf,
}

/// A small and a larger move.
const STEPS: (i32, i32) = (5, 50);

/// How long a value that may turn the motor is held after the operator's last input line: the
/// operator may have left the terminal, or lost it.
const MOTOR: Duration = Duration::from_secs(2);
/// How long a value of the servo is held; the motor gets the neutral of car.toml meanwhile.
const SERVO: Duration = Duration::from_secs(60);

const INTRODUCTION: &str = "\
Wheels off the ground! The servo will move, and the motor may turn.
For each value: + and - move it a little, ++ and -- more, a number sets it, Enter keeps it,
= shows it again, q ends without writing anything. The motor turns for 2 s at most after a line.";

/// Finds the values, and writes them to the car's file.
///
/// # Errors
/// Fails if the guard cannot be reached or refuses, or if the values are not valid together; the
/// file is unchanged then.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let text = pilotage_config::read(&options.car, LONGEST_FILE)?;
    let car = GuardedCar::load(&options.car)?;
    let table = TrimTable::of(&car.actuator).with_context(|| {
        let kind = car.actuator.kind;
        format!("`actuator.kind` is `{kind}`, which has nothing to look for")
    })?;
    let typed = listen()?;
    // Drop order: `link` before `own`, so that a guard that was started here ends.
    let GuardConnection { own, mut link } = GuardConnection::reach(&car, &options.car)?;
    link.hello_to_trim(&car.identification())?;
    // A stopped car cannot be trimmed; the operator who trims disarms it.
    link.disarm(monotonic())?;
    print(INTRODUCTION);
    let found = Session {
        link: &mut link,
        table: &table,
        period: car.limits.spec().deadline / 4,
    }
    .find_all(&typed);
    // The motors are left disarmed, however the session ended.
    let disarmed = link.disarm(monotonic());
    let failure = link.status().failure;
    drop(link);
    drop(own);
    disarmed?;
    if let Some(failure) = failure {
        bail!("the motors did not take the disarmed values: {failure}");
    }
    let Some(found) = found? else {
        print("nothing was written");
        return Ok(ExitCode::FAILURE);
    };
    if found.values.is_empty() && found.turned.is_empty() {
        print("nothing changed");
        return Ok(ExitCode::SUCCESS);
    }
    let edited = edit(&text, &table, &found)?;
    GuardedCar::from_toml(&options.car.display().to_string(), &edited)
        .context("these values are not valid together, so nothing was written")?;
    replace(&options.car, &edited)?;
    print(format_args!("written to {}", options.car.display()));
    if Record::of(&options.car).iter().any(Record::runs) {
        print(
            "the running guard has the old values: restart it (`systemctl restart \
             pilotage-guard`)",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Lines typed by the operator; `None` at Ctrl-C or at the end of the input.
fn listen() -> anyhow::Result<Receiver<Option<String>>> {
    let (line, typed) = channel();
    let interrupted = line.clone();
    ctrlc::set_handler(move || {
        let _ = interrupted.send(None);
    })?;
    std::thread::spawn(move || {
        for typed in std::io::stdin().lines() {
            if line.send(typed.ok()).is_err() {
                return;
            }
        }
        let _ = line.send(None);
    });
    Ok(typed)
}

/// The speed at which a wheel is tried, thousandths of full speed.
const WHEEL: Value = 300;

/// A guard that applies values, and their table.
struct Session<'a> {
    link: &'a mut SocketLink,
    table: &'a TrimTable,
    /// The interval at which an applied value is confirmed.
    period: Duration,
}

impl Session<'_> {
    /// Lets the operator find each value; `None` if the operator quits.
    fn find_all(&mut self, typed: &Receiver<Option<String>>) -> anyhow::Result<Option<Found>> {
        let points: Vec<Point> = self.table.points().collect();
        let mut found = Found::default();
        let mut is_swapped = false;
        for point in points {
            if point == Point::Left {
                match self.ask_direction(typed)? {
                    None => return Ok(None),
                    Some(swapped) => is_swapped = swapped,
                }
            }
            if point == Point::OutputsOff {
                if !self.ask_outputs_off(typed)? {
                    return Ok(None);
                }
                continue;
            }
            if let Point::LeftWheel | Point::RightWheel | Point::Wheels = point {
                match self.ask_wheel(point, typed)? {
                    None => return Ok(None),
                    Some(true) => {}
                    Some(false) => found.turned.push(point),
                }
                continue;
            }
            let before = self.table.value(point);
            let from = self
                .table
                .value(if is_swapped { opposite(point) } else { point });
            match self.find(point, from, typed)? {
                None => return Ok(None),
                Some(value) if value != before => found.values.push((point, before, value)),
                Some(_) => {}
            }
        }
        Ok(Some(found))
    }

    /// Shows the end that is on the left according to the file, and asks whether the wheels turn
    /// left; if not, shows the other end as the left one. Returns whether the ends of the file are
    /// swapped; `None` if the operator quits. A car whose ends are swapped steers off the road as
    /// soon as it drives, so there is no other way on.
    fn ask_direction(&mut self, typed: &Receiver<Option<String>>) -> anyhow::Result<Option<bool>> {
        let mut is_swapped = false;
        loop {
            let end = if is_swapped {
                Point::Right
            } else {
                Point::Left
            };
            let value = self.table.value(end);
            let question = format!("{value}: do the wheels turn LEFT, seen from behind? y, n");
            let Some(line) = self.show_with(Point::Left, value, &question, typed)? else {
                return Ok(None);
            };
            match line.trim() {
                "y" => return Ok(Some(is_swapped)),
                "n" => is_swapped = !is_swapped,
                "q" => return Ok(None),
                "=" => {}
                _ => print("y, n, = to show it again, or q"),
            }
        }
    }

    /// Turns a wheel, and asks whether it turns ahead; `None` if the operator quits.
    fn ask_wheel(
        &mut self,
        point: Point,
        typed: &Receiver<Option<String>>,
    ) -> anyhow::Result<Option<bool>> {
        let (question, advice) = match point {
            Point::Wheels => (
                format!("{point}: do they turn AHEAD? y, n"),
                "y, n if they turn back, = to turn them again, or q; where only one turns back, swap \
                 its `ahead` and `back` in the file",
            ),
            _ => (
                format!("{point}: does it turn AHEAD, and no other? y, n"),
                "y, n if it turns back, = to turn it again, or q; where the other wheel turns, swap \
                 `left` and `right` in the file",
            ),
        };
        self.ask((point, WHEEL), &question, advice, typed)
    }

    /// Asks a question about what the car does at a point with a value: y or n. `advice` is printed after
    /// any other answer. `None` if the operator quits.
    fn ask(
        &mut self,
        (point, value): (Point, Value),
        question: &str,
        advice: &str,
        typed: &Receiver<Option<String>>,
    ) -> anyhow::Result<Option<bool>> {
        loop {
            let Some(line) = self.show_with(point, value, question, typed)? else {
                return Ok(None);
            };
            match line.trim() {
                "y" => return Ok(Some(true)),
                "n" => return Ok(Some(false)),
                "q" => return Ok(None),
                "=" => {}
                _ => print(advice),
            }
        }
    }

    /// Lets the operator find one value; `None` if the operator quits.
    fn find(
        &mut self,
        point: Point,
        from: Value,
        typed: &Receiver<Option<String>>,
    ) -> anyhow::Result<Option<Value>> {
        let mut value = from;
        let (least, most) = self.table.range(point);
        loop {
            let question = format!("{point}: {value}");
            let Some(line) = self.show_with(point, value, &question, typed)? else {
                return Ok(None);
            };
            let moved = |by: i32| (i32::from(value) + by).clamp(least.into(), most.into());
            let next = match line.trim() {
                "" => return Ok(Some(value)),
                "q" => return Ok(None),
                "=" => i32::from(value),
                "+" => moved(STEPS.0),
                "-" => moved(-STEPS.0),
                "++" => moved(STEPS.1),
                "--" => moved(-STEPS.1),
                number => match number.parse::<i32>() {
                    Ok(number) if (i32::from(least)..=i32::from(most)).contains(&number) => number,
                    _ => {
                        print(format_args!(
                            "+, -, ++, --, =, a number from {least} to {most}, Enter, or q"
                        ));
                        continue;
                    }
                },
            };
            value = Value::try_from(next).unwrap_or(value);
        }
    }

    /// Prints `question` and confirms `value` repeatedly until a line is typed, for as long as an
    /// operator may be at the terminal. `None` at the end of the input.
    fn show_with(
        &mut self,
        point: Point,
        value: Value,
        question: &str,
        typed: &Receiver<Option<String>>,
    ) -> anyhow::Result<Option<String>> {
        prompt(question);
        let began = Instant::now();
        let mut shown = true;
        loop {
            let limit = match point {
                Point::Neutral | Point::LeftWheel | Point::RightWheel | Point::Wheels => MOTOR,
                Point::Centre | Point::Left | Point::Right | Point::OutputsOff => SERVO,
            };
            let over = shown && began.elapsed() >= limit;
            if over {
                self.link.disarm(monotonic())?;
            }
            if over || (shown && !self.confirm(point, value)?) {
                shown = false;
                print("\nthe motors are off again: = shows the value once more, Enter keeps it");
                prompt(question);
            }
            match typed.recv_timeout(self.period) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

impl Session<'_> {
    /// Requests that `value` is held for one more deadline. Returns false if the guard has stopped,
    /// because this program was late.
    fn confirm(&mut self, point: Point, value: Value) -> anyhow::Result<bool> {
        let refused = self.link.trim(point, value);
        let status = self.link.status();
        if let Some(failure) = status.failure {
            bail!("{failure}");
        }
        match (refused, status.state) {
            (
                Err(LinkError::Refused(_)),
                State::Stopped {
                    reason: StopReason::Deadline,
                },
            ) => {
                // An operator's stop since then would look the same, so nothing moves again without
                // another key.
                self.link.disarm(monotonic())?;
                Ok(false)
            }
            (Err(LinkError::Refused(_)), State::Stopped { reason }) => bail!("{reason}"),
            (done, _) => done.map(|()| true).map_err(Into::into),
        }
    }
}

fn prompt(question: &str) {
    out(format_args!("{question} > "));
}

/// The point that has the value of `point` in a file whose ends are swapped.
const fn opposite(point: Point) -> Point {
    match point {
        Point::Left => Point::Right,
        Point::Right => Point::Left,
        _ => point,
    }
}
