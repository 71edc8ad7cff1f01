//! `pilotage race`: drives engines over circuits, and prints the table of their driving. The work can
//! be divided, interrupted and joined: each drive leaves a file.

mod driven;
mod lanes;
mod merge;
mod output;
mod plan;
mod store;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use pilotage_config::write_atomically;
use pilotage_console::say;
use pilotage_engine::InstructionSet;

use super::drive::{ConditionOptions, SimulatorOptions, choose_engine};
use crate::car::{BackendKind, Car, Settings};
use crate::drive::{Request, Start, catch_signals};
use crate::engines::fit_camera;
use crate::plot::Track;
use crate::results::{Compared, compared, safe, sha256_of_file};
use crate::simulation::Pace;
use plan::{Conditions, Job, Partition, Plan, RacedCircuit, Seeds};
use store::Store;

/// The reference of the position deviation where no other one is given.
const CENTRE_LINE: &str = "centre line";

/// Options of `pilotage race`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Compiled-in engines' names, .engine files, or recipes, which are compiled first; without any
    /// the car's engine
    #[arg(value_name = "ENGINE|RECIPE")]
    engines: Vec<String>,
    /// The circuits: shipped ones, `random:SEED`, or .toml or .csv files (x,y in metres)
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', required = true)]
    circuits: Vec<String>,
    /// The folder of the results; a rerun drives what has no result there
    #[arg(long, value_name = "FOLDER", required = true)]
    out: Option<PathBuf>,
    /// Drive once with each of these seeds, which draw the camera's noise and the frames that are
    /// lost
    #[arg(long, value_name = "1,5,10-20", default_value = "1-3")]
    seeds: Seeds,
    /// Drive only the Ith of N parts; `race merge` joins them
    #[arg(long, value_name = "I/N")]
    partition: Option<Partition>,
    /// Drives at a time; one for each core if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// The car: see docs/car.md; without it the simulated car
    #[arg(long, value_name = "FILE")]
    car: Option<PathBuf>,
    /// A CSV of x,y that the position deviation on this circuit is measured against, instead of the
    /// centre line; may be given again
    #[arg(long, value_name = "CIRCUIT=FILE")]
    reference: Vec<String>,
    /// Threads that each engine may use
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// scalar, avx2, avx-vnni, avx512, avx512-vnni, neon, neon-dotprod or neon-i8mm; the best
    /// available if not given
    #[arg(long, value_name = "NAME", value_parser = crate::car::named_instruction_set)]
    instruction_set: Option<InstructionSet>,
    /// What runs the engines
    #[arg(long, value_enum)]
    engine_backend: Option<BackendKind>,
    /// The conditions of all drives
    #[command(flatten)]
    conditions: ConditionOptions,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Join the folders of a race's parts
    Merge(merge::Options),
}

/// Drives what has no result yet, and prints the table. The exit status is 1 if a drive of this part
/// is missing at the end, after a signal.
///
/// # Errors
/// Fails if something that is requested does not exist or is not valid, or the folder has another
/// race.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.command {
        Some(Command::Merge(merge)) => merge::run(merge),
        None => race(options),
    }
}

fn race(options: &Options) -> anyhow::Result<ExitCode> {
    let out = options.out.as_deref().context("name a folder with --out")?;
    let circuits = options.circuits()?;
    // Before the recipes are compiled, which takes a while.
    let usual = circuits.first().context("name a circuit with --circuits")?;
    let car = options.car(usual, None)?;
    let known = Store::engines(out)?;
    let engines = compared(&options.engines, &car, Some(out), &known)?;
    let (requests, plan) = options.plan(&engines, &circuits)?;
    let (store, all) = Store::open(out, &plan)?;
    for circuit in &circuits {
        options.keep_track(&store, circuit)?;
    }
    let partition = options.partition.unwrap_or(Partition::WHOLE);
    let own = plan.jobs.iter().enumerate();
    let own: Vec<&Job> = own
        .filter(|(place, _)| partition.takes(*place))
        .map(|(_, job)| job)
        .collect();
    let mut to_drive = Vec::new();
    for job in &own {
        if store.result(&all, job)?.is_none() {
            to_drive.push(*job);
        }
    }
    say(format_args!(
        "part {partition}: {} of {} drives, {} of them driven already",
        own.len(),
        plan.jobs.len(),
        own.len() - to_drive.len()
    ));
    let interrupted = catch_signals()?;
    lanes::drive_all(
        &lanes::Work {
            store: &store,
            plan: &all,
            jobs: &to_drive,
            request: &*requests,
        },
        usize::from(options.jobs.unwrap_or(0)),
        &interrupted,
    )?;
    output::write_all(&store, &all)?;
    let mut missing = false;
    for job in own {
        missing |= store.result(&all, job)?.is_none();
    }
    Ok(match missing {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// A circuit as it was named.
#[derive(Debug)]
struct Named {
    /// In tables and in the names of files.
    name: String,
    argument: String,
    reference: Option<PathBuf>,
}

impl Named {
    fn seed(&self) -> anyhow::Result<Option<u64>> {
        let Some(seed) = self.argument.strip_prefix("random:") else {
            return Ok(None);
        };
        let seed = seed.parse().with_context(|| {
            let argument = &self.argument;
            format!("--circuits {argument}: a random circuit is `random:SEED`, a whole number")
        })?;
        Ok(Some(seed))
    }
}

/// Makes the request of a job.
type Requests<'a> = dyn Fn(&Job) -> anyhow::Result<Request> + Sync + 'a;

impl Options {
    fn circuits(&self) -> anyhow::Result<Vec<Named>> {
        let mut circuits: Vec<Named> = Vec::new();
        for argument in &self.circuits {
            let path = Path::new(argument);
            let is_file = path
                .extension()
                .is_some_and(|it| it == "toml" || it == "csv");
            let name = match is_file {
                true => path.file_stem().unwrap_or_default().to_string_lossy(),
                false => argument.replace(':', "-").into(),
            };
            let name = safe(&name);
            ensure!(
                circuits.iter().all(|it| it.name != name),
                "--circuits: two circuits are called `{name}`: rename one of the files, or name each \
                 once"
            );
            circuits.push(Named {
                name,
                argument: argument.clone(),
                reference: None,
            });
        }
        for given in &self.reference {
            let (name, file) = given.split_once('=').with_context(|| {
                format!("--reference {given}: a circuit and its file are needed, CIRCUIT=FILE")
            })?;
            let known = circuits
                .iter_mut()
                .find(|it| it.name == name || it.argument == name);
            let circuit = known.with_context(|| {
                format!("--reference {given}: `{name}` is not among the --circuits")
            })?;
            circuit.reference = Some(file.into());
        }
        Ok(circuits)
    }

    /// The car on this circuit, with this engine.
    fn car(&self, circuit: &Named, engine: Option<&Compared>) -> anyhow::Result<Car> {
        let seed = circuit.seed()?;
        let simulator = SimulatorOptions {
            circuit: seed.is_none().then(|| circuit.argument.clone()),
            seed,
            pace: Some(Pace::Fast),
            reference: None,
            conditions: self.conditions.clone(),
        };
        let car = Car::load_with(self.car.as_deref(), |settings: &mut Settings| {
            simulator.adjust(settings);
            let adjusted = &mut settings.engine;
            adjusted.threads = self.threads.unwrap_or(adjusted.threads);
            adjusted.backend = self.engine_backend.unwrap_or(adjusted.backend);
            if let Some(set) = self.instruction_set {
                adjusted.instruction_set = Some(set.name().to_owned());
            }
            choose_engine(adjusted, engine.and_then(|it| it.argument.as_deref()));
        })?;
        ensure!(
            car.capture.is_none(),
            "a race is simulated; this car.toml describes a physical car"
        );
        Ok(car)
    }

    /// The plan, and what makes the requests of its jobs. Everything that a drive needs is checked.
    fn plan<'a>(
        &'a self,
        engines: &'a [Compared],
        circuits: &'a [Named],
    ) -> anyhow::Result<(Box<Requests<'a>>, Plan)> {
        let frames_lost = self.conditions.dropped()?;
        let start: Option<Start> = self.conditions.start()?;
        let car_sha256 = self.car.as_deref().map(sha256_of_file).transpose()?;
        let first = circuits.first().context("name a circuit with --circuits")?;
        for engine in engines {
            let misfit = fit_camera(&self.car(first, Some(engine))?)?;
            if let Some(misfit) = misfit {
                say(format_args!("warning: {misfit}"));
            }
        }
        let mut raced = Vec::new();
        for circuit in circuits {
            let car = self.car(circuit, engines.first())?;
            car.circuit()?;
            if let Some(file) = &circuit.reference {
                crate::drive::read_reference(file)?;
            }
            raced.push(RacedCircuit {
                name: circuit.name.clone(),
                source: plan::source(&car)?,
                reference: match &circuit.reference {
                    Some(file) => sha256_of_file(file)?,
                    None => CENTRE_LINE.to_owned(),
                },
            });
        }
        let car = self.car(first, engines.first())?;
        let conditions = Conditions::of(&car, car_sha256, frames_lost, start);
        let plan = Plan::new(conditions, engines.to_vec(), raced, &self.seeds.0);
        let requests = move |job: &Job| {
            let circuit = circuits.iter().find(|it| it.name == job.circuit);
            let circuit = circuit.with_context(|| format!("{job}: no such circuit"))?;
            let engine = engines.iter().find(|it| it.name == job.engine);
            let car = self.car(circuit, engine)?;
            Ok(Request {
                start,
                dropped: frames_lost,
                noise: Some(job.seed),
                reference: circuit.reference.clone(),
                json: true,
                quiet: true,
                ..Request::new(car)
            })
        };
        Ok((Box::new(requests), plan))
    }

    /// Keeps what pictures need of a circuit.
    fn keep_track(&self, store: &Store, circuit: &Named) -> anyhow::Result<()> {
        let track = Track::of(&self.car(circuit, None)?.circuit()?);
        let file = output::track_file(store, &circuit.name);
        let folder = store.file("circuits");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(write_atomically(
            &file,
            serde_json::to_string(&track)?.as_bytes(),
        )?)
    }
}

#[cfg(test)]
mod tests;
