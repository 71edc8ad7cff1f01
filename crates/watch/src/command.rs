//! High-level commands to the pilot, as `pilotage command` sets them: a line with the name to the pilot's
//! socket, and a line in answer. They are inputs of the network, and move nothing by themselves.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use pilotage_vehicle::is_command_name;

/// How long to wait for the pilot.
const PATIENCE: Duration = Duration::from_millis(500);
/// The longest answer, bytes.
const LONGEST_LINE: u64 = 1024;
/// The pilot's answer to a command that was set.
const DONE: &str = "set";

/// Why a command was not set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// It is no name of a command.
    #[error("this is not the name of a command")]
    Name,
    /// The drive takes none from a page.
    #[error("this drive takes no commands from a page")]
    None,
    /// The pilot does not answer.
    #[error("the pilot takes no commands: {0}")]
    Pilot(io::Error),
    /// The pilot refused it.
    #[error("{0}")]
    Refused(String),
}

/// Sets the command `name` of the pilot that listens at `socket`. May block for a second.
pub(crate) fn set(socket: Option<&Path>, name: &str) -> Result<String, CommandError> {
    if !is_command_name(name) {
        return Err(CommandError::Name);
    }
    let socket = socket.ok_or(CommandError::None)?;
    let answer = ask(socket, name).map_err(CommandError::Pilot)?;
    match answer.trim_end() {
        DONE => Ok(format!("command {name}")),
        refused => Err(CommandError::Refused(refused.to_owned())),
    }
}

fn ask(socket: &Path, name: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(stream, "{name}")?;
    let mut line = Vec::new();
    BufReader::new(stream.take(LONGEST_LINE)).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}
