//! `pilotage doctor`: reports what this machine has and lacks.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::car::Car;
use crate::doctor::{DROP_IN, Finding, Gpu, Level, Needs, System, examine, write_devices};
use crate::engines;

/// Options of `pilotage doctor`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The car that is to drive; without it the simulated one
    #[arg(long, value_name = "FILE")]
    car: Option<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Only write the systemd drop-in that lets pilotage.service open this machine's GPU; needs root
    #[arg(long, conflicts_with_all = ["car", "json"])]
    write_devices: bool,
}

/// Prints the report. The exit status is 0 if the car can drive, 1 if something would make it drive
/// badly, 2 if it lacks something that it needs.
///
/// # Errors
/// Fails if car.toml cannot be read or is not valid.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.write_devices {
        let nodes = write_devices(&System::here()).with_context(|| format!("{DROP_IN}: sudo?"))?;
        pilotage_console::print(match &nodes[..] {
            [] => "pilotage.service names all nodes of a GPU that this machine has".to_owned(),
            nodes => format!("{DROP_IN} allows {}", nodes.join(", ")),
        });
        return Ok(ExitCode::SUCCESS);
    }
    let car = Car::load_with(options.car.as_deref(), |_| ())?;
    let mut findings = vec![engine(&car)];
    findings.extend(examine(&System::here(), &Gpu::here(), &Needs::of(&car)));
    let worst = findings.iter().map(|finding| finding.level).max();
    let text = match options.json {
        true => serde_json::to_string_pretty(&findings)?,
        false => page(&car.name, &findings),
    };
    pilotage_console::print(text);
    Ok(match worst {
        Some(Level::Problem) => ExitCode::from(2),
        Some(Level::Warning) => ExitCode::from(1),
        _ => ExitCode::SUCCESS,
    })
}

/// Whether the car's engine can be used on this machine.
fn engine(car: &Car) -> Finding {
    let part = "engine";
    match engines::load(car) {
        Ok(loaded) => {
            let (level, misfits) = match loaded.fit_car(car) {
                Ok(misfits) if misfits.is_empty() => (Level::Fine, misfits),
                Ok(misfits) => (Level::Warning, misfits),
                Err(misfit) => (Level::Problem, vec![misfit]),
            };
            let problems = misfits.iter().map(|misfit| format!("; {}", misfit.problem));
            let problems: String = problems.collect();
            let fixes: Vec<&str> = misfits.iter().map(|misfit| &*misfit.fix).collect();
            Finding {
                part,
                level,
                found: format!("{}, {}{problems}", loaded.name, loaded.engine.describe()),
                fix: (!fixes.is_empty()).then(|| fixes.join("; ")),
            }
        }
        Err(error) => Finding {
            part,
            level: Level::Problem,
            found: error.to_string(),
            fix: Some("name another in car.toml's [engine]; `pilotage inspect` shows one".into()),
        },
    }
}

fn page(car: &str, findings: &[Finding]) -> String {
    let mut page = format!("what this machine has for `{car}`\n");
    let width = findings.iter().map(|finding| finding.part.len()).max();
    let width = width.unwrap_or(0);
    for Finding {
        part,
        level,
        found,
        fix,
    } in findings
    {
        // Writing to a String does not fail.
        let _ = write!(page, "\n  {part:<width$}  {:<7}  {found}", level.word());
        // What this car does not need requires no fix.
        if let Some(fix) = fix.as_ref().filter(|_| *level > Level::Absent) {
            let _ = write!(page, "\n  {:width$}           fix: {fix}", "");
        }
    }
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let _ = write!(
        page,
        "\n\n{}",
        match (count(Level::Problem), count(Level::Warning)) {
            (0, 0) => "It can drive.".to_owned(),
            (0, warnings) => format!("It can drive; look at {warnings} warning(s)."),
            (problems, _) => format!("It cannot drive: {problems} problem(s)."),
        }
    );
    page
}
