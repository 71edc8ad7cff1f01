//! `pilotage trim`: an operator finds a car's centre and ends from the terminal. The guard moves
//! the motors, and holds a value only while this program confirms it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pilotage_config::{LONGEST_FILE, replace};
use pilotage_console::{out, print};
use pilotage_guard::{
    GuardedCar, INSTALLED, Link, LinkError, Point, Record, SocketLink, State, StopReason,
    TrimTable, Value,
};
use pilotage_vehicle::monotonic;
use toml_edit::DocumentMut;

use crate::guarded::GuardConnection;

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
        format!("`actuator.kind` is `{kind}`, which has no centre and no ends to look for")
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
    if found.is_empty() {
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

/// A point, its value before, and its new value.
type Found = (Point, Value, Value);

/// A guard that applies values, and their table.
struct Session<'a> {
    link: &'a mut SocketLink,
    table: &'a TrimTable,
    /// The interval at which an applied value is confirmed.
    period: Duration,
}

impl Session<'_> {
    /// Lets the operator find each value; `None` if the operator quits.
    fn find_all(&mut self, typed: &Receiver<Option<String>>) -> anyhow::Result<Option<Vec<Found>>> {
        let points: Vec<Point> = self.table.points().collect();
        let mut found = Vec::new();
        for point in points {
            let before = self.table.value(point);
            match self.find(point, before, typed)? {
                None => return Ok(None),
                Some(value) if value != before => found.push((point, before, value)),
                Some(_) => {}
            }
        }
        Ok(Some(found))
    }

    /// Lets the operator find one value; `None` if the operator quits.
    fn find(
        &mut self,
        point: Point,
        from: Value,
        typed: &Receiver<Option<String>>,
    ) -> anyhow::Result<Option<Value>> {
        let mut value = from;
        let (least, most) = self.table.range();
        loop {
            prompt(point, value);
            let Some(line) = self.show(point, value, typed)? else {
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

    /// Confirms `value` repeatedly until a line is typed, for as long as an operator may be at the
    /// terminal. `None` at the end of the input.
    fn show(
        &mut self,
        point: Point,
        value: Value,
        typed: &Receiver<Option<String>>,
    ) -> anyhow::Result<Option<String>> {
        let began = Instant::now();
        let mut shown = true;
        loop {
            let limit = match point {
                Point::Neutral => MOTOR,
                Point::Centre | Point::Left | Point::Right => SERVO,
            };
            if shown && began.elapsed() >= limit {
                shown = false;
                self.link.disarm(monotonic())?;
                print("\nthe motors are off again: = shows the value once more, Enter keeps it");
                prompt(point, value);
            }
            if shown {
                self.confirm(point, value)?;
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
    /// Requests that `value` is held for one more deadline.
    fn confirm(&mut self, point: Point, value: Value) -> anyhow::Result<()> {
        let refused = self.link.trim(point, value);
        let status = self.link.status();
        if let Some(failure) = status.failure {
            bail!("{failure}");
        }
        match (refused, status.state) {
            // This program was late, as on a busy machine; the operator is still there.
            (
                Err(LinkError::Refused(_)),
                State::Stopped {
                    reason: StopReason::Deadline,
                },
            ) => {
                self.link.disarm(monotonic())?;
                Ok(self.link.trim(point, value)?)
            }
            (Err(LinkError::Refused(_)), State::Stopped { reason }) => bail!("{reason}"),
            (done, _) => Ok(done?),
        }
    }
}

fn prompt(point: Point, value: Value) {
    out(format_args!("{point}: {value} > "));
}

/// The file's text with the new values; comments are kept. If the failsafe or disarmed value was
/// equal to the centre or neutral, it follows.
fn edit(text: &str, table_of: &TrimTable, found: &[Found]) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse()?;
    for &(point, before, value) in found {
        let Some([first, kind, table, key]) = table_of.key(point) else {
            continue;
        };
        let mut place = document
            .get_mut(first)
            .and_then(|actuator| actuator.get_mut(kind));
        if !table.is_empty() {
            place = place.and_then(|kind| kind.get_mut(table));
        }
        let Some(place) = place else {
            bail!("there is no [{first}.{kind}] to write to");
        };
        let rest: &[&str] = match (point, table) {
            (Point::Centre, "") => &["failsafe", "disarmed"],
            (Point::Centre | Point::Neutral, _) => &["failsafe_us", "disarmed_us"],
            _ => &[],
        };
        let thousandths = table.is_empty();
        set(place, key, value, thousandths);
        for key in rest {
            if number(place, key, thousandths) == Some(before) {
                set(place, key, value, thousandths);
            }
        }
    }
    Ok(document.to_string())
}

fn number(table: &toml_edit::Item, key: &str, thousandths: bool) -> Option<Value> {
    let value = table.get(key)?;
    if thousandths {
        let share = value.as_float()?;
        return Some((share * 1000.0).round() as Value);
    }
    Value::try_from(value.as_integer()?).ok()
}

fn set(table: &mut toml_edit::Item, key: &str, value: Value, thousandths: bool) {
    let Some(old) = table.get_mut(key).and_then(toml_edit::Item::as_value_mut) else {
        return;
    };
    // Keep the comment after the value.
    let decor = old.decor().clone();
    *old = match thousandths {
        true => (f64::from(value) / 1000.0).into(),
        false => i64::from(value).into(),
    };
    *old.decor_mut() = decor;
}
