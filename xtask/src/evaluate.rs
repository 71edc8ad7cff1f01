//! Drives the shipped engine over every shipped circuit and many random ones, with the user's
//! command (`pilotage drive --json`), and writes docs/results.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

/// The number of concurrent drives.
const LANES: usize = 2;

/// The seeds of random circuits on which no shipped network was trained begin here:
/// `pilotage_simulator::Circuit::UNSEEN`.
const UNSEEN: u64 = 1 << 40;

/// The folder of the shipped circuits.
const SHIPPED_FOLDER: &str = "crates/simulator/circuits";

/// A group of drives, reported as one row.
struct Group {
    name: &'static str,
    circuits: Circuits,
    /// The percentage of the random circuits that this group drives.
    share: u64,
    options: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq)]
enum Circuits {
    Shipped,
    Random,
}

/// The options of every group: as fast as possible.
const ALWAYS: [&str; 3] = ["--json", "--pace", "fast"];
/// The options for groups without their own latency: a fixed latency makes drives repeatable.
const PROMPT: [&str; 2] = ["--latency", "10"];

const GROUPS: [Group; 15] = [
    Group {
        name: "as it comes",
        circuits: Circuits::Random,
        share: 100,
        options: &[],
    },
    Group {
        name: "ackermann car",
        circuits: Circuits::Random,
        share: 20,
        options: &["--kind", "ackermann"],
    },
    Group {
        name: "100 ms of latency",
        circuits: Circuits::Random,
        share: 20,
        options: &["--latency", "100"],
    },
    Group {
        name: "a fifth of the frames lost",
        circuits: Circuits::Random,
        share: 20,
        options: &["--drop-frames", "0.2", "--deadline", "600"],
    },
    Group {
        name: "starts 0.5 m off the line, turned 15 degrees",
        circuits: Circuits::Random,
        share: 20,
        options: &["--start-offset", "0.5", "--start-heading", "15"],
    },
    Group {
        name: "colours, light and noise never seen",
        circuits: Circuits::Random,
        share: 20,
        options: &["--looks", "4398046511104"],
    },
    Group {
        name: "others of those",
        circuits: Circuits::Random,
        share: 20,
        options: &["--looks", "4398046511105"],
    },
    Group {
        name: "camera 2 cm to the left and 2 cm higher",
        circuits: Circuits::Random,
        share: 20,
        options: &["--car", "target/evaluate/shifted.toml"],
    },
    Group {
        name: "camera 3 degrees down",
        circuits: Circuits::Random,
        share: 20,
        options: &["--car", "target/evaluate/pitched.toml"],
    },
    Group {
        name: "camera 3 degrees to the left, rolled 3 degrees",
        circuits: Circuits::Random,
        share: 20,
        options: &["--car", "target/evaluate/turned.toml"],
    },
    Group {
        name: "road 2.4 m wide",
        circuits: Circuits::Random,
        share: 20,
        options: &["--road-width", "2.4"],
    },
    Group {
        name: "road 4.4 m wide, line 0.2 m",
        circuits: Circuits::Random,
        share: 20,
        options: &["--road-width", "4.4", "--line-width", "0.2"],
    },
    Group {
        name: "ackermann car",
        circuits: Circuits::Shipped,
        share: 100,
        options: &["--kind", "ackermann"],
    },
    Group {
        name: "100 ms of latency",
        circuits: Circuits::Shipped,
        share: 100,
        options: &["--latency", "100"],
    },
    Group {
        name: "three laps",
        circuits: Circuits::Shipped,
        share: 100,
        options: &["--laps", "3"],
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
    let shipped = shipped(&checkout.root().join(SHIPPED_FOLDER))?;
    let cars = checkout.root().join("target/evaluate");
    fs::create_dir_all(&cars)?;
    for (name, text) in CARS {
        fs::write(cars.join(format!("{name}.toml")), text)?;
    }

    let single = drive_all(&program, &circuits(&shipped), &[])?;
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
    for group in &GROUPS {
        let circuits = match group.circuits {
            Circuits::Shipped => circuits(&shipped),
            Circuits::Random => (0..(random * group.share).div_ceil(100))
                .map(|index| UNSEEN + index)
                .map(|seed| vec!["--seed".to_owned(), seed.to_string()])
                .collect(),
        };
        let drove = drive_all(&program, &circuits, group.options)?;
        row_of_group(&mut text, group, &drove);
        passed &= drove.iter().filter(|d| d.done).count() * 100 >= drove.len() * 99;
    }
    let out = out.map_or_else(
        || checkout.root().join("docs/results.md"),
        Path::to_path_buf,
    );
    fs::write(&out, &text).with_context(|| format!("writing {}", out.display()))?;
    println!("{text}");
    Ok(passed)
}

fn shipped(folder: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

fn circuits(names: &[String]) -> Vec<Vec<String>> {
    names
        .iter()
        .map(|name| vec!["--circuit".to_owned(), name.clone()])
        .collect()
}

fn drive_all(program: &Path, circuits: &[Vec<String>], options: &[&str]) -> Result<Vec<Drove>> {
    let next = Mutex::new(circuits.iter().enumerate());
    let drives = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let take = || next.lock().ok().and_then(|mut next| next.next());
                while let Some((index, circuit)) = take() {
                    let drove = drive(program, circuit, options);
                    if let Ok(mut drives) = drives.lock() {
                        drives.push((index, drove));
                    }
                }
            });
        }
    });
    let mut drives = drives.into_inner().unwrap_or_default();
    drives.sort_by_key(|(index, _)| *index);
    drives.into_iter().map(|(_, drove)| drove).collect()
}

fn drive(program: &Path, circuit: &[String], options: &[&str]) -> Result<Drove> {
    let latency: &[&str] = if options.contains(&"--latency") {
        &[]
    } else {
        &PROMPT
    };
    let output = Command::new(program)
        .arg("drive")
        .args(ALWAYS)
        .args(latency)
        .args(circuit)
        .args(options)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "no report from drive {circuit:?} {options:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    let metric = |name: &str| report["metrics"][name].as_f64().unwrap_or(f64::NAN);
    Ok(Drove {
        circuit: report["circuit"].as_str().unwrap_or_default().to_owned(),
        length: report["circuit_length"].as_f64().unwrap_or(f64::NAN),
        done: report["completed"].as_bool().unwrap_or(false),
        outcome: report["outcome"].as_str().unwrap_or_default().to_owned(),
        lap_time: metric("lap_time"),
        speed: metric("average_speed"),
        mean: metric("deviation_mean"),
        p95: metric("deviation_p95"),
        worst: metric("deviation_max"),
        mae: metric("position_deviation_mae"),
    })
}

/// The day and the commit of this run.
fn origin(checkout: &Checkout) -> String {
    let of = |command: &str| {
        let command = Invocation::new(command).within(checkout.root());
        let answer = command.answer().unwrap_or_default();
        answer.trim().to_owned()
    };
    let changed = match of("git status --porcelain --untracked-files=no").as_str() {
        "" => "",
        _ => ", with changes",
    };
    format!(
        "{}, commit {}{changed}",
        of("date +%F"),
        of("git rev-parse --short HEAD")
    )
}

fn head(random: u64, origin: &str) -> String {
    format!(
        "# Driving results\n\n\
         Written by `cargo xtask evaluate` ({origin}): every figure is a drive of the release binary with the \
         compiled-in engine, in the simulator, from camera frames alone. Nothing here has run on a \
         real car or a Jetson.\n\n\
         Simulated time as fast as it goes, 10 ms from frame to command unless stated, so the \
         driving of an INT8 engine repeats bit for bit, whatever the instruction set. Deviation is \
         the distance from the line in metres. \"Random\" are circuits made from seeds that \
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
    let mean = |value: fn(&Drove) -> f64| {
        done.iter().map(|drove| value(drove)).sum::<f64>() / done.len().max(1) as f64
    };
    let worst = done.iter().map(|drove| drove.worst).fold(0.0, f64::max);
    let circuits = match group.circuits {
        Circuits::Shipped => "shipped",
        Circuits::Random => "random",
    };
    let _ = writeln!(
        text,
        "| {circuits} | {} | {} of {} | {:.2} | {:.3} | {:.3} | {worst:.3} |",
        group.name,
        done.len(),
        drives.len(),
        mean(|d| d.speed),
        mean(|d| d.mean),
        mean(|d| d.p95),
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
    #[test]
    fn unseen_circuits_are_those_of_the_simulator() {
        assert_eq!(super::UNSEEN, pilotage_simulator::Circuit::UNSEEN);
    }
}
