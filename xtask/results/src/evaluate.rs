//! Drives the shipped engine over every shipped circuit and many random ones, with the user's
//! command (`pilotage race`), and writes docs/results.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

use crate::circuits::{UNSEEN, shipped_circuits};
use crate::origin::{origin, read_json};

/// A group of drives, reported as one row.
struct Group {
    name: &'static str,
    circuits: Circuits,
    /// The percentage of the random circuits that this group drives.
    share: u64,
    options: &'static [&'static str],
    /// Whether 99 % of its drives have to end in time on the road.
    is_required: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Circuits {
    Shipped,
    Random,
}

/// The options of every group.
const ALWAYS: [&str; 2] = ["--seeds", "0"];
/// The options for groups without their own latency: a fixed latency makes drives repeatable.
const PROMPT: [&str; 2] = ["--latency", "10"];

const GROUPS: [Group; 18] = [
    Group {
        name: "as it comes",
        circuits: Circuits::Random,
        share: 100,
        options: &[],
        is_required: true,
    },
    Group {
        name: "ackermann car",
        circuits: Circuits::Random,
        share: 20,
        options: &["--kind", "ackermann"],
        is_required: true,
    },
    Group {
        name: "100 ms of latency",
        circuits: Circuits::Random,
        share: 20,
        options: &["--latency", "100"],
        is_required: true,
    },
    Group {
        name: "a fifth of the frames lost, deadline 600 ms",
        circuits: Circuits::Random,
        share: 20,
        options: &["--drop-frames", "0.2", "--deadline", "600"],
        is_required: true,
    },
    // Three frames lost in a row stop the car.
    Group {
        name: "a fifth of the frames lost",
        circuits: Circuits::Random,
        share: 20,
        options: &["--drop-frames", "0.2"],
        is_required: false,
    },
    Group {
        name: "a twentieth of the frames lost",
        circuits: Circuits::Random,
        share: 20,
        options: &["--drop-frames", "0.05"],
        is_required: false,
    },
    Group {
        name: "a fiftieth of the frames lost",
        circuits: Circuits::Random,
        share: 20,
        options: &["--drop-frames", "0.02"],
        is_required: false,
    },
    Group {
        name: "starts 0.5 m off the line, turned 15 degrees",
        circuits: Circuits::Random,
        share: 20,
        options: &["--start-offset", "0.5", "--start-heading", "15"],
        is_required: true,
    },
    Group {
        name: "colours, light and noise never seen",
        circuits: Circuits::Random,
        share: 20,
        options: &["--looks", "4398046511104"],
        is_required: true,
    },
    Group {
        name: "others of those",
        circuits: Circuits::Random,
        share: 20,
        options: &["--looks", "4398046511105"],
        is_required: true,
    },
    Group {
        name: "camera 2 cm to the left and 2 cm higher",
        circuits: Circuits::Random,
        share: 20,
        options: &["--car", "target/evaluate/shifted.toml"],
        is_required: true,
    },
    Group {
        name: "camera 3 degrees down",
        circuits: Circuits::Random,
        share: 20,
        options: &["--car", "target/evaluate/pitched.toml"],
        is_required: true,
    },
    Group {
        name: "camera 3 degrees to the left, rolled 3 degrees",
        circuits: Circuits::Random,
        share: 20,
        options: &["--car", "target/evaluate/turned.toml"],
        is_required: true,
    },
    Group {
        name: "road 2.4 m wide",
        circuits: Circuits::Random,
        share: 20,
        options: &["--road-width", "2.4"],
        is_required: true,
    },
    Group {
        name: "road 4.4 m wide, line 0.2 m",
        circuits: Circuits::Random,
        share: 20,
        options: &["--road-width", "4.4", "--line-width", "0.2"],
        is_required: true,
    },
    Group {
        name: "ackermann car",
        circuits: Circuits::Shipped,
        share: 100,
        options: &["--kind", "ackermann"],
        is_required: true,
    },
    Group {
        name: "100 ms of latency",
        circuits: Circuits::Shipped,
        share: 100,
        options: &["--latency", "100"],
        is_required: true,
    },
    Group {
        name: "three laps",
        circuits: Circuits::Shipped,
        share: 100,
        options: &["--laps", "3"],
        is_required: true,
    },
];

/// The car.toml files that the groups use: name and text.
const CARS: [(&str, &str); 3] = [
    ("shifted", "[camera]\nleft = 0.02\nup = 0.12\n"),
    ("pitched", "[camera]\npitch = 0.0524\n"),
    ("turned", "[camera]\nyaw = 0.0524\nroll = 0.0524\n"),
];

/// The limits for the shipped engine on `simple`: the least speed in m/s, the largest mean and 95th
/// percentile of the distance from the centre line in metres.
const LEAST_SPEED: f64 = 11.8;
const MOST_MEAN: f64 = 0.03;
const MOST_P95: f64 = 0.10;

/// The report of one drive.
struct Drove {
    circuit: String,
    length: f64,
    done: bool,
    outcome: String,
    lap_time: f64,
    speed: f64,
    mean: f64,
    p95: f64,
    worst: f64,
    mae: f64,
}

/// Drives every group and writes docs/results.md, with `random` circuits.
///
/// # Errors
/// When the runtime does not build, or a drive gives no report.
pub fn run(checkout: &Checkout, random: u64, out: Option<&Path>) -> Result<bool> {
    let built = Invocation::new("cargo build --release --package pilotage")
        .within(checkout.root())
        .succeeds()?;
    ensure!(built, "the runtime does not build");
    let program = checkout.builds().join("release/pilotage");
    ensure!(random > 0, "at least one random circuit is needed");
    // The groups' paths to car.toml are relative to the root.
    std::env::set_current_dir(checkout.root())?;
    let shipped = shipped_circuits(checkout)?;
    let cars = checkout.root().join("target/evaluate");
    // The results of another build of the simulator.
    if cars.exists() {
        fs::remove_dir_all(&cars).with_context(|| cars.display().to_string())?;
    }
    fs::create_dir_all(&cars)?;
    for (name, text) in CARS {
        fs::write(cars.join(format!("{name}.toml")), text)?;
    }

    let single = race(&program, &shipped, &[], &cars.join("shipped"))?;
    let mut text = head(random, &origin(checkout));
    table_of_circuits(&mut text, &single);
    let meets = |drove: &Drove| {
        drove.speed >= LEAST_SPEED && drove.mean <= MOST_MEAN && drove.p95 <= MOST_P95
    };
    let mut passed = single.iter().all(|drove| drove.done)
        && single
            .iter()
            .any(|drove| drove.circuit == "simple" && meets(drove));
    let _ = write!(
        text,
        "\n## Under hardship\n\n| circuits | condition | done | m/s | mean | p95 | worst |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for (place, group) in GROUPS.iter().enumerate() {
        let circuits = match group.circuits {
            Circuits::Shipped => shipped.clone(),
            Circuits::Random => (0..(random * group.share).div_ceil(100))
                .map(|index| format!("random:{}", UNSEEN + index))
                .collect(),
        };
        let out = cars.join(format!("group-{place}"));
        let drove = race(&program, &circuits, group.options, &out)?;
        row_of_group(&mut text, group, &drove);
        passed &=
            !group.is_required || drove.iter().filter(|d| d.done).count() * 100 >= drove.len() * 99;
    }
    let out = out.map_or_else(
        || checkout.root().join("docs/results.md"),
        Path::to_path_buf,
    );
    fs::write(&out, &text).with_context(|| format!("writing {}", out.display()))?;
    println!("{text}");
    Ok(passed)
}

/// Drives all `circuits`, in their order, with the results in `out`.
fn race(program: &Path, circuits: &[String], options: &[&str], out: &Path) -> Result<Vec<Drove>> {
    let latency: &[&str] = match options.contains(&"--latency") {
        true => &[],
        false => &PROMPT,
    };
    let status = Command::new(program)
        .args(["race", "--circuits", &circuits.join(","), "--out"])
        .arg(out)
        .args(ALWAYS)
        .args(latency)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("starting {}", program.display()))?;
    ensure!(status.success(), "a race failed: {options:?}: {status}");
    let race = read_json(&out.join("race.json"))?;
    let runs = race["runs"].as_array().map_or(&[][..], Vec::as_slice);
    let drove = |circuit: &String| {
        let name = circuit.replace(':', "-");
        let run = runs.iter().find(|run| run["circuit"] == name.as_str());
        let run = run.with_context(|| format!("no result of {circuit} {options:?}"))?;
        Ok(Drove::of(circuit, run))
    };
    circuits.iter().map(drove).collect()
}

impl Drove {
    fn of(circuit: &str, run: &Value) -> Self {
        let figure = |name: &str| run[name].as_f64().unwrap_or(f64::NAN);
        Self {
            circuit: circuit.to_owned(),
            length: figure("circuit_length"),
            done: run["finished"].as_bool().unwrap_or(false),
            outcome: run["outcome"].as_str().unwrap_or_default().to_owned(),
            lap_time: figure("lap_time"),
            speed: figure("average_speed"),
            mean: figure("deviation_mean"),
            p95: figure("deviation_p95"),
            worst: figure("deviation_max"),
            mae: figure("position_deviation_mae"),
        }
    }
}

fn head(random: u64, origin: &str) -> String {
    format!(
        "# Driving results\n\n\
         Written by `cargo xtask evaluate` ({origin}): every figure is a drive of the release binary with the \
         compiled-in engine, in the simulator, from camera frames alone. Nothing here has run on a \
         real car or a Jetson.\n\n\
         Simulated time as fast as it goes, 10 ms from frame to command unless stated, so the \
         driving of an INT8 engine repeats bit for bit, whatever the instruction set. The guard's \
         deadline is the default, 175 ms at 20 frames a second, unless stated: three frames lost in a \
         row stop the car, by design. Deviation is the distance from the line in metres. \"Random\" are circuits made from seeds that \
         training never draws, as many of {random} as the table says.\n\n\
         ## The shipped circuits, one lap\n\n"
    )
}

fn table_of_circuits(text: &mut String, drives: &[Drove]) {
    let _ = write!(
        text,
        "| circuit | length | lap | m/s | mean | p95 | worst | deviation MAE |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for d in drives {
        let lap = if d.done {
            format!("{:.2} s", d.lap_time)
        } else {
            d.outcome.clone()
        };
        let _ = writeln!(
            text,
            "| {} | {:.0} m | {lap} | {:.2} | {:.3} | {:.3} | {:.3} | {:.3} |",
            d.circuit, d.length, d.speed, d.mean, d.p95, d.worst, d.mae
        );
    }
}

fn row_of_group(text: &mut String, group: &Group, drives: &[Drove]) {
    let done: Vec<&Drove> = drives.iter().filter(|drove| drove.done).collect();
    // Without a finished drive there is nothing to average.
    let figure = |value: f64, digits: usize| match done.is_empty() {
        true => "-".to_owned(),
        false => format!("{value:.digits$}"),
    };
    let mean = |value: fn(&Drove) -> f64, digits| {
        let sum: f64 = done.iter().map(|drove| value(drove)).sum();
        figure(sum / done.len() as f64, digits)
    };
    let worst = done.iter().map(|drove| drove.worst).fold(0.0, f64::max);
    let circuits = match group.circuits {
        Circuits::Shipped => "shipped",
        Circuits::Random => "random",
    };
    let _ = writeln!(
        text,
        "| {circuits} | {} | {} of {} | {} | {} | {} | {} |",
        group.name,
        done.len(),
        drives.len(),
        mean(|d| d.speed, 2),
        mean(|d| d.mean, 3),
        mean(|d| d.p95, 3),
        figure(worst, 3),
    );
    for drove in drives.iter().filter(|drove| !drove.done) {
        println!(
            "{circuits}, {}: {}: {}",
            group.name, drove.circuit, drove.outcome
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drove(done: bool) -> Drove {
        Drove {
            circuit: "simple".to_owned(),
            length: 430.0,
            done,
            outcome: "left the road".to_owned(),
            lap_time: 29.0,
            speed: 14.5,
            mean: 0.01,
            p95: 0.02,
            worst: 0.3,
            mae: 1.07,
        }
    }

    #[test]
    fn a_group_that_no_drive_finished_has_no_averages() {
        let row = |drives: &[Drove]| {
            let mut text = String::new();
            row_of_group(&mut text, &GROUPS[0], drives);
            text
        };
        assert!(row(&[drove(false)]).ends_with("| 0 of 1 | - | - | - | - |\n"));
        let expected = "| 1 of 2 | 14.50 | 0.010 | 0.020 | 0.300 |\n";
        assert!(row(&[drove(true), drove(false)]).ends_with(expected));
    }
}
