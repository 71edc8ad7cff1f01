//! The other programs in this program's folder: they are built and installed together.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The only program that writes to motors.
pub const GUARD_PROGRAM: &str = "pilotage-guard";
/// How long writing failsafe may take before the motors count as unreachable.
const FAILSAFE: Duration = Duration::from_secs(3);

/// Why a program in this program's folder cannot be used.
#[derive(Debug)]
pub enum ProgramError {
    /// The path of this program is unknown.
    Itself(io::Error),
    /// It does not exist.
    Missing(PathBuf),
    /// It cannot be started.
    Start {
        /// The program.
        program: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// It has another version.
    OtherVersion {
        /// The program.
        program: PathBuf,
        /// Its answer to `--version`.
        found: String,
        /// The expected answer.
        wanted: String,
    },
}

/// The program `name` in this program's folder, if it has this version.
///
/// # Errors
/// When it does not exist, cannot be started, or has another version.
pub fn program_beside(name: &str) -> Result<PathBuf, ProgramError> {
    let own = std::env::current_exe().map_err(ProgramError::Itself)?;
    let program = own.with_file_name(name);
    if !program.exists() {
        return Err(ProgramError::Missing(program));
    }
    let version = match Command::new(&program).arg("--version").output() {
        Ok(version) => version,
        Err(reason) => return Err(ProgramError::Start { program, reason }),
    };
    let found = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let wanted = format!("{name} {}", env!("CARGO_PKG_VERSION"));
    match found == wanted {
        true => Ok(program),
        false => Err(ProgramError::OtherVersion {
            program,
            found,
            wanted,
        }),
    }
}

/// Writes failsafe to the motors of the car of `file`, whose guard is dead, by the guard's program:
/// no other program opens motors. With `if_dead` it does nothing if another guard of these motors
/// runs.
///
/// # Errors
/// When that program does not exist, does not end in time, or reports why the write failed.
pub fn failsafe_by_program(file: &Path, if_dead: bool) -> io::Result<()> {
    let program = std::env::current_exe()?.with_file_name(GUARD_PROGRAM);
    let mut command = Command::new(&program);
    command.arg("--failsafe");
    if if_dead {
        command.arg("--if-dead");
    }
    command
        .arg("--car")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        let program = program.display();
        io::Error::new(
            error.kind(),
            format!("{program} cannot be started: {error}"),
        )
    })?;
    // The caller must not hang on a bus that hangs in the kernel.
    let Some(status) = ended_within(&mut child, FAILSAFE) else {
        let _ = child.kill();
        // A process that hangs in the kernel is not waited for.
        let _ = child.try_wait();
        let reason = format!("the motors cannot be reached: no answer for {FAILSAFE:?}");
        return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
    };
    if status.success() {
        return Ok(());
    }
    let mut message = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut message);
    }
    let message = message.trim().trim_start_matches("error: ").to_owned();
    Err(io::Error::other(message))
}

/// The exit status of a process, if it ends within `patience`.
pub fn ended_within(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if began.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(None) | Err(_) => return None,
        }
    }
}
