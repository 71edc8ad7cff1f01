//! TensorRT plans are built in a process of their own.
//!
//! NVIDIA's parser and builder get an untrusted model, and the plans that they have made
//! of it. A crash there ends that process and not `pilotage compile`, which then tries an FP16 plan.
//! Where root builds, the process is another user's: root writes the plan's file and compiles the shim,
//! and passes no model and no plan to NVIDIA's libraries.
//!
//! - `user` chooses that user.
//! - `message` is what the two processes send each other.

mod message;
mod user;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use pilotage_engine::Bundle;
use pilotage_gpu::{PrepareError, Prepared, Validated, prepare_elsewhere};
use pilotage_guard::ended_within;
use rustix::process::Signal;
use tensorrt_rs::Progress;

use super::gpu::Places;
use super::{GpuSetup, LONGEST_FILE};
use message::Request;
use user::User;

/// The hidden subcommand that runs the process.
pub const COMMAND: &str = "gpu-plan";

/// How long a process that has answered may take to release its device and to end.
const END: Duration = Duration::from_secs(5);

impl GpuSetup {
    /// As [`pilotage_gpu::prepare`] for the engine file `file`, which `bundle` was read from. NVIDIA's
    /// libraries parse, build and run in a process of its own, without root's rights.
    ///
    /// # Errors
    /// As [`pilotage_gpu::prepare_elsewhere`].
    pub fn prepare(&self, file: &[u8], bundle: &Bundle) -> Result<Prepared, PrepareError> {
        let user = rustix::process::geteuid().is_root().then(User::of_builds);
        prepare_elsewhere(bundle, &self.places, |without_int8| {
            let request = Request {
                places: Places::from(&self.places),
                without_int8: without_int8.map(str::to_owned),
            };
            self.validate_or_build(&request, file, user.as_ref())
        })
    }

    /// Runs the process, on a thread that has the rights of `user`: the process inherits them.
    fn validate_or_build(
        &self,
        request: &Request,
        file: &[u8],
        user: Option<&User>,
    ) -> Result<Validated, PrepareError> {
        let failed = |error: io::Error| PrepareError::Process(error.to_string());
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("builder".to_owned())
                .spawn_scoped(scope, || {
                    user.map_or(Ok(()), User::assume)
                        .and_then(|()| Process::start(self.command_for(COMMAND)))
                        .map_err(failed)?
                        .ask(request, file)
                })
                .map_err(failed)?;
            let lost = || PrepareError::Process("its thread has ended".to_owned());
            thread.join().map_err(|_| lost())?
        })
    }
}

/// A process that builds a plan.
struct Process {
    child: Child,
    socket: UnixStream,
}

impl Process {
    fn start(mut command: Command) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let child = command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            // What NVIDIA's libraries print is no output of this program.
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { child, socket })
    }

    fn ask(mut self, request: &Request, file: &[u8]) -> Result<Validated, PrepareError> {
        // A process that ends meanwhile is reported below.
        let _ = message::send_request(&mut self.socket, request, file);
        match message::receive_answer(&mut self.socket) {
            Ok(Ok(validated)) => Ok(validated),
            Ok(Err(reason)) => Err(PrepareError::Reported(reason)),
            Err(error) => Err(PrepareError::Process(
                match ended_within(&mut self.child, END) {
                    Some(status) if !status.success() => format!("{status}; see above"),
                    _ => error.to_string(),
                },
            )),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if ended_within(&mut self.child, END).is_none() {
            // In a call of the driver not even this ends it, so nothing waits for it.
            let _ = self.child.kill();
        }
    }
}

/// Runs as the process that builds a plan, which [`GpuSetup::prepare`] starts with its socket as standard
/// input.
///
/// # Errors
/// When another program has started the process, or the system fails.
pub fn serve(progress: &(dyn Fn(Progress<'_>) -> bool + Sync)) -> io::Result<ExitCode> {
    // The program that started it may be killed during the minutes of a build.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // NVIDIA's libraries start no program that gets rights back.
    rustix::thread::set_no_new_privs(true)?;
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (request, file) = message::receive_request(&mut socket, LONGEST_FILE)?;
    let answer = match Bundle::read(&file) {
        Ok(bundle) => {
            let (places, reason) = (request.places.into(), request.without_int8);
            pilotage_gpu::validate_or_build(&bundle, &places, reason.as_deref(), progress)
                .map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    message::send_answer(&mut socket, &answer)?;
    Ok(ExitCode::SUCCESS)
}
