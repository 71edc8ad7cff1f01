//! `pilotage data clean`: marks pictures that are left out.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pilotage_console::print;
use pilotage_dataset::{Marks, Record, Recording, marks_file};

use super::survey::Survey;
use super::warn;

/// Options of `pilotage data clean`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The recording: a folder in any format of docs/recordings.md, or an MCAP file
    folder: PathBuf,
    /// Mark blurred pictures too
    #[arg(long)]
    blurred: bool,
    /// Count, but write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Marks bad, black and repeated pictures.
///
/// # Errors
/// Fails if the recording cannot be read or the marks cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let recording = Recording::open(&options.folder)?;
    warn(recording.notes());
    let survey = Survey::of(&recording)?;
    let marks = marks(options, &recording, &survey)?;
    let records = recording.records();
    // A mark leaves out every record with its picture.
    let marked = records
        .iter()
        .filter(|record| marks.is_new(&record.picture));
    let (marked, of) = (marked.count(), records.len());
    if options.dry_run {
        print(format_args!("{marked} of {of} records would be left out"));
        return Ok(ExitCode::SUCCESS);
    }
    if marked == 0 {
        print(format_args!(
            "{}: nothing is marked; all {of} records are used",
            options.folder.display()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    marks.write()?;
    print(format_args!(
        "{marked} of {of} records are left out from now on; {} lists them",
        marks_file(&options.folder).display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn marks(options: &Options, recording: &Recording, survey: &Survey) -> anyhow::Result<Marks> {
    let mut marks = Marks::open(&options.folder)?;
    for bad in &survey.decoded.bad.bad {
        marks.add(&bad.picture, &bad.problem.to_string());
    }
    let records = recording.records();
    let mut mark = |indices: &[usize], reason| {
        for &index in indices {
            marks.add(&records[index].picture, reason);
        }
    };
    mark(&survey.black, "is black");
    mark(
        &with_own_picture(records, &survey.repeated),
        "repeats the picture before",
    );
    if options.blurred {
        mark(&survey.blurred, "is blurred");
    }
    Ok(marks)
}

/// The `repeated` records whose picture no other record uses, except repeated ones. A mark leaves out
/// every record with its picture, so that another record would be lost too.
fn with_own_picture(records: &[Record], repeated: &[usize]) -> Vec<usize> {
    let is_repeated: HashSet<usize> = repeated.iter().copied().collect();
    let mut kept: HashSet<&Path> = HashSet::new();
    for (index, record) in records.iter().enumerate() {
        if !is_repeated.contains(&index) {
            kept.insert(&record.picture);
        }
    }
    let is_own = |index: &usize| !kept.contains(&*records[*index].picture);
    repeated.iter().copied().filter(is_own).collect()
}
