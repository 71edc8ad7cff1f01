//! The folder of a race: its plan, a result for each drive, the driven paths.
//!
//! A drive's result is written when the drive has ended, after its path and whole or not at all, so
//! that whatever ends the program, a rerun drives what has no result, and nothing twice. Several
//! programs may share a folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use pilotage_config::{ReadError, write_atomically};
use pilotage_simulator::PathPoint;
use serde::{Deserialize, Serialize};

use super::driven::Driven;
use super::plan::{Conditions, Job, Plan, RacedCircuit, difference};
use crate::odometry;
use crate::results::{Compared, safe};

/// The longest file that is read.
const LONGEST: u64 = 256 << 20;

/// The file of a drive's result: complete in itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub conditions: Conditions,
    pub engine: Compared,
    pub circuit: RacedCircuit,
    pub seed: u64,
    pub driven: Driven,
}

/// The results of a plan's jobs that have one.
pub(super) type Results = BTreeMap<Job, Driven>;

/// A folder.
#[derive(Debug, Clone)]
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    /// The folder, which is made if it does not exist, and the plan of what is in it and of `plan`.
    ///
    /// # Errors
    /// Fails if the folder has another race, or cannot be written.
    pub fn open(folder: &Path, plan: &Plan) -> anyhow::Result<(Self, Plan)> {
        let store = Self {
            folder: folder.to_owned(),
        };
        for inner in ["runs", "paths"] {
            let inner = folder.join(inner);
            fs::create_dir_all(&inner).with_context(|| inner.display().to_string())?;
        }
        let known = store.plan()?;
        let mut all = known.clone().unwrap_or_else(|| plan.clone());
        all.add(plan).with_context(|| {
            let folder = folder.display();
            format!("{folder} has the results of another race: name another folder")
        })?;
        // Only if it changed: another program may have added jobs since it was read.
        if known.as_ref() != Some(&all) {
            write_atomically(
                &store.plan_file(),
                serde_json::to_string_pretty(&all)?.as_bytes(),
            )?;
        }
        Ok((store, all))
    }

    /// A folder that exists, with its plan.
    ///
    /// # Errors
    /// Fails if it is not the folder of a race.
    pub fn existing(folder: &Path) -> anyhow::Result<(Self, Plan)> {
        let store = Self {
            folder: folder.to_owned(),
        };
        let plan = store.plan()?.with_context(|| {
            let folder = folder.display();
            format!("{folder} is not the folder of a race: it has no race-plan.json")
        })?;
        Ok((store, plan))
    }

    fn plan_file(&self) -> PathBuf {
        self.folder.join("race-plan.json")
    }

    fn plan(&self) -> anyhow::Result<Option<Plan>> {
        let file = self.plan_file();
        let Some(text) = read(&file)? else {
            return Ok(None);
        };
        let plan: Plan = serde_json::from_str(&text)
            .with_context(|| format!("{} is not the plan of a race", file.display()))?;
        // Names become names of files, and the folder may be of another origin.
        let engines = plan.engines.iter().map(|it| &it.name);
        let circuits = plan.circuits.iter().map(|it| &it.name);
        let jobs = plan.jobs.iter().flat_map(|it| [&it.engine, &it.circuit]);
        for name in engines.chain(circuits).chain(jobs) {
            ensure!(
                *name == safe(name),
                "{} is not the plan of a race: {name:?} is no name in one",
                file.display()
            );
        }
        Ok(Some(plan))
    }

    /// The engines of the race whose folder this is; none if it is not the folder of a race.
    ///
    /// # Errors
    /// Fails if the plan cannot be read.
    pub fn engines(folder: &Path) -> anyhow::Result<Vec<Compared>> {
        let store = Self {
            folder: folder.to_owned(),
        };
        Ok(store.plan()?.map_or_else(Vec::new, |plan| plan.engines))
    }

    /// The file of a job's path, which is written before its result.
    fn path_file(&self, job: &Job) -> PathBuf {
        self.folder
            .join("paths")
            .join(format!("{}.csv", job.file_stem()))
    }

    fn result_file(&self, job: &Job) -> PathBuf {
        self.folder
            .join("runs")
            .join(format!("{}.json", job.file_stem()))
    }

    /// The result of a job of `plan`; `None` if it was not driven yet.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is of another race.
    pub fn result(&self, plan: &Plan, job: &Job) -> anyhow::Result<Option<Driven>> {
        let file = self.result_file(job);
        let Some(text) = read(&file)? else {
            return Ok(None);
        };
        let found: Kept = serde_json::from_str(&text).with_context(|| {
            format!("{} is not the result of a drive: delete it", file.display())
        })?;
        let expected = self.to_file(plan, job, found.driven.clone())?;
        if found != expected {
            let what = difference(&found, &expected).unwrap_or_default();
            bail!(
                "{} is of another race: {what}; name another folder, or delete it",
                file.display()
            );
        }
        Ok(Some(found.driven))
    }

    /// The results that there are.
    ///
    /// # Errors
    /// As [`result`](Self::result).
    pub fn results(&self, plan: &Plan) -> anyhow::Result<Results> {
        let mut results = Results::new();
        for job in &plan.jobs {
            if let Some(driven) = self.result(plan, job)? {
                results.insert(job.clone(), driven);
            }
        }
        Ok(results)
    }

    fn to_file(&self, plan: &Plan, job: &Job, driven: Driven) -> anyhow::Result<Kept> {
        let engine = plan.engines.iter().find(|it| it.name == job.engine);
        let circuit = plan.circuits.iter().find(|it| it.name == job.circuit);
        let (Some(engine), Some(circuit)) = (engine, circuit) else {
            bail!(
                "{}: its plan has a drive of {job}, but not that engine or circuit",
                self.folder.display()
            );
        };
        Ok(Kept {
            conditions: plan.conditions.clone(),
            engine: Compared {
                argument: None,
                ..engine.clone()
            },
            circuit: circuit.clone(),
            seed: job.seed,
            driven,
        })
    }

    /// Keeps the result of a job.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn keep(
        &self,
        plan: &Plan,
        job: &Job,
        driven: Driven,
        path: &[PathPoint],
    ) -> anyhow::Result<()> {
        let result = self.to_file(plan, job, driven)?;
        let text = serde_json::to_string_pretty(&result)?;
        write_atomically(&self.path_file(job), odometry::csv(path).as_bytes())?;
        Ok(write_atomically(&self.result_file(job), text.as_bytes())?)
    }

    /// The path that a job was driven on; empty if there is none.
    ///
    /// # Errors
    /// Fails if the file is damaged.
    pub fn path(&self, job: &Job) -> anyhow::Result<Vec<PathPoint>> {
        let file = self.path_file(job);
        match read(&file)? {
            Some(text) => odometry::from_csv(&text).with_context(|| file.display().to_string()),
            None => Ok(Vec::new()),
        }
    }

    /// The file of this name in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// A file's text; `None` if there is no such file.
///
/// # Errors
/// Fails if it is not a regular file, too long, or cannot be read.
pub(super) fn read(file: &Path) -> anyhow::Result<Option<String>> {
    match pilotage_config::read(file, LONGEST) {
        Ok(text) => Ok(Some(text)),
        Err(ReadError::Unreadable { reason, .. }) if reason.kind() == ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
