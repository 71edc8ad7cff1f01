//! Several drives at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context;
use pilotage_console::say_always;

use super::Requests;
use super::driven::drive;
use super::plan::{Job, Plan};
use super::store::Store;

/// What is driven.
pub(super) struct Work<'a> {
    pub store: &'a Store,
    pub plan: &'a Plan,
    pub jobs: &'a [&'a Job],
    /// The request of a job.
    pub request: &'a Requests<'a>,
}

/// Drives all jobs, `lanes` at a time, or as many as there are cores for 0. Each result is kept when
/// it is there. Ends early, without the results of the drives that go on, when `interrupted` is set.
///
/// # Errors
/// The first error; no drive is started after it.
pub(super) fn drive_all(
    work: &Work<'_>,
    lanes: usize,
    interrupted: &AtomicBool,
) -> anyhow::Result<()> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let lanes = match lanes {
        0 => cores(),
        lanes => lanes,
    };
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = Mutex::new(None);
    let ends = AtomicBool::new(false);
    let lane = || {
        while !ends.load(Ordering::Relaxed) && !interrupted.load(Ordering::Relaxed) {
            let Some(job) = work.jobs.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            if let Err(error) = one(work, job, &done, interrupted) {
                ends.store(true, Ordering::Relaxed);
                if let Ok(mut failed) = failed.lock() {
                    failed.get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for lane_number in 0..lanes.min(work.jobs.len()) {
            std::thread::Builder::new()
                .name(format!("lane {lane_number}"))
                .spawn_scoped(scope, lane)
                // The scope waits for the threads that were started.
                .inspect_err(|_| ends.store(true, Ordering::Relaxed))
                .context("the system has no thread for a drive")?;
        }
        Ok(())
    })?;
    match failed.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(()),
    }
}

fn one(
    work: &Work<'_>,
    job: &Job,
    done: &AtomicUsize,
    interrupted: &AtomicBool,
) -> anyhow::Result<()> {
    let context = || job.to_string();
    let request = (work.request)(job).with_context(context)?;
    let Some((driven, path)) = drive(request, interrupted).with_context(context)? else {
        return Ok(());
    };
    let outcome = driven.outcome.clone();
    work.store.keep(work.plan, job, driven, &path)?;
    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
    say_always(format_args!(
        "{done} of {}: {job}: {outcome}",
        work.jobs.len()
    ));
    Ok(())
}
