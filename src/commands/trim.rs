//! `pilotage trim`: a person finds a car's centre and ends from the terminal.

use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, bail};
use pilotage_console::{out, print};
use pilotage_guard::{GuardedCar, Point, Trim, Value, monotonic};
use toml_edit::DocumentMut;

/// Which car.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The car
    #[arg(long, value_name = "FILE", default_value = "/etc/pilotage/car.toml")]
    car: PathBuf,
}

/// A small and a larger move.
const STEPS: (i32, i32) = (5, 50);

const INTRODUCTION: &str = "\
Wheels off the ground! The servo will move, and the motor may turn.
For each value: + and - move it a little, ++ and -- more, a number sets it, Enter keeps it,
q ends without writing anything.";

/// Finds the numbers, and writes them to the car's file.
///
/// # Errors
/// When the motors cannot be had, or the numbers make no sense together; the file is as it
/// was then.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let text = fs::read_to_string(&options.car).context(options.car.display().to_string())?;
    let car = GuardedCar::load(&options.car)?;
    let mut trim = Trim::start(&car, monotonic())?;
    let said = listen()?;
    print(INTRODUCTION);
    let found = look_for_all(&mut trim, &said);
    // However it ended, the motors are left disarmed.
    trim.rest(monotonic())?;
    let Some(found) = found? else {
        print("nothing was written");
        return Ok(ExitCode::FAILURE);
    };
    if found.is_empty() {
        print("nothing changed");
        return Ok(ExitCode::SUCCESS);
    }
    let edited = edit(&text, &trim, &found)?;
    GuardedCar::from_toml(&options.car.display().to_string(), &edited)
        .context("these numbers do not go together, so nothing was written")?;
    replace(&options.car, &edited)?;
    print(format_args!("written to {}", options.car.display()));
    Ok(ExitCode::SUCCESS)
}

/// Lines that are typed, and the end of them at Ctrl-C or at the end of the input.
fn listen() -> anyhow::Result<Receiver<Option<String>>> {
    let (line, said) = channel();
    let interrupted = line.clone();
    ctrlc::set_handler(move || {
        let _ = interrupted.send(None);
    })?;
    std::thread::spawn(move || {
        for typed in std::io::stdin().lock().lines() {
            if line.send(typed.ok()).is_err() {
                return;
            }
        }
        let _ = line.send(None);
    });
    Ok(said)
}

/// A point, what it was, and what it is to be.
type Found = (Point, Value, Value);

/// Lets the person find each number; `None` when they want no more.
fn look_for_all(
    trim: &mut Trim,
    said: &Receiver<Option<String>>,
) -> anyhow::Result<Option<Vec<Found>>> {
    let points: Vec<Point> = trim.points().collect();
    let mut found = Vec::new();
    for point in points {
        let before = trim.value(point);
        match look(trim, point, before, said)? {
            None => return Ok(None),
            Some(value) if value != before => found.push((point, before, value)),
            Some(_) => {}
        }
    }
    Ok(Some(found))
}

/// Lets the person find one number; `None` when they want no more.
fn look(
    trim: &mut Trim,
    point: Point,
    from: Value,
    said: &Receiver<Option<String>>,
) -> anyhow::Result<Option<Value>> {
    let mut value = from;
    let (least, most) = trim.range();
    loop {
        trim.show(monotonic(), point, value)?;
        out(format_args!("{point}: {value} > "));
        let Ok(Some(line)) = said.recv() else {
            return Ok(None);
        };
        let moved = |by: i32| (i32::from(value) + by).clamp(least.into(), most.into());
        let next = match line.trim() {
            "" => return Ok(Some(value)),
            "q" => return Ok(None),
            "+" => moved(STEPS.0),
            "-" => moved(-STEPS.0),
            "++" => moved(STEPS.1),
            "--" => moved(-STEPS.1),
            number => match number.parse::<i32>() {
                Ok(number) if (i32::from(least)..=i32::from(most)).contains(&number) => number,
                _ => {
                    print(format_args!(
                        "+, -, ++, --, a number from {least} to {most}, Enter, or q"
                    ));
                    continue;
                }
            },
        };
        value = Value::try_from(next).unwrap_or(value);
    }
}

/// The file's text with the numbers in it, and its comments where they were. What a car does
/// at rest moves with the centre where it was the centre.
fn edit(text: &str, trim: &Trim, found: &[Found]) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse()?;
    for &(point, before, value) in found {
        let Some([first, kind, table, key]) = trim.key(point) else {
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
    // The comment behind it stays.
    let decor = old.decor().clone();
    *old = match thousandths {
        true => (f64::from(value) / 1000.0).into(),
        false => i64::from(value).into(),
    };
    *old.decor_mut() = decor;
}

/// Whole, or not at all: a power cut leaves one of the two.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("{} cannot be written", file.display());
    let new = file.with_extension("toml.new");
    let rights = fs::metadata(file).with_context(failed)?.permissions();
    let mut written = fs::File::create(&new).with_context(failed)?;
    written.write_all(text.as_bytes()).with_context(failed)?;
    written.set_permissions(rights).with_context(failed)?;
    written.sync_all().with_context(failed)?;
    fs::rename(&new, file).with_context(failed)
}
