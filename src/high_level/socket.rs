//! The socket by which `pilotage command` reaches a pilot: a line with the command's name, and a line in
//! answer. Whoever may write to the socket's folder and socket may set commands.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pilotage_guard::{INSTALLED, canonical, default_socket, own_directory};

use super::Commands;

/// The runtime directory of the installed pilot, which its unit creates.
const SERVICE: &str = "/run/pilotage-pilot";
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_millis(500);
/// The longest line, bytes.
const LONGEST_LINE: u64 = 512;
/// The answer to a command that was set.
const DONE: &str = "set";

/// Why a pilot cannot receive commands.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be made.
    #[error("{}: commands of the operator cannot be received here: {reason}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// Another drive has it.
    #[error("{}: another drive of this car receives commands", .0.display())]
    InUse(PathBuf),
}

/// Why a command was not set.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No pilot listens.
    #[error(
        "no drive takes commands: start one with an engine that has a [command] in its recipe, or record \
         by hand; name its car with --car if it has a file of its own (looked for {})",
        looked_for(.0)
    )]
    NoDrive(Vec<PathBuf>),
    /// The connection failed.
    #[error("{}: {reason}", path.display())]
    Connection {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The pilot refused.
    #[error("{0}")]
    Refused(String),
}

fn looked_for(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}

/// The socket of the pilot that drives the car of `file`; `None` for the default car.
fn path(file: Option<&Path>) -> io::Result<PathBuf> {
    let service = Path::new(SERVICE);
    match file {
        Some(file) if canonical(file) == Path::new(INSTALLED) && service.is_dir() => {
            Ok(service.join("command.sock"))
        }
        Some(file) => {
            let name = default_socket(file).with_extension("command");
            Ok(own_directory()?.join(name.file_name().unwrap_or_default()))
        }
        None => Ok(own_directory()?.join("default.command")),
    }
}

/// Receives commands in a thread of its own. When this is dropped, the thread ends and the socket is
/// removed.
#[derive(Debug)]
pub struct CommandServer {
    path: PathBuf,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CommandServer {
    /// Receives commands for the pilot that drives the car of `file`; `None` for the default car.
    ///
    /// # Errors
    /// If the socket or the thread cannot be made, or another drive of this car has the socket.
    pub fn start(file: Option<&Path>, commands: Arc<Commands>) -> Result<Self, ServeError> {
        let path = path(file).map_err(|reason| ServeError::Socket {
            path: file.unwrap_or(Path::new("car")).to_owned(),
            reason,
        })?;
        Self::at(path, commands)
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn at(path: PathBuf, commands: Arc<Commands>) -> Result<Self, ServeError> {
        let failed = |reason| ServeError::Socket {
            path: path.clone(),
            reason,
        };
        if UnixStream::connect(&path).is_ok() {
            return Err(ServeError::InUse(path));
        }
        // A pilot that was killed leaves its socket behind.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let open_to_group = fs::Permissions::from_mode(0o660);
        fs::set_permissions(&path, open_to_group).map_err(failed)?;
        let end = Arc::new(AtomicBool::new(false));
        let thread = {
            let end = Arc::clone(&end);
            let name = std::thread::Builder::new().name("commands".to_owned());
            name.spawn(move || serve(&listener, &commands, &end))
                .map_err(failed)?
        };
        Ok(Self {
            path,
            end,
            thread: Some(thread),
        })
    }
}

impl Drop for CommandServer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        // Wakes the thread. If it cannot be reached, the process ends it.
        let woken = UnixStream::connect(&self.path).is_ok();
        let _ = fs::remove_file(&self.path);
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &UnixListener, commands: &Commands, end: &AtomicBool) {
    for stream in listener.incoming() {
        if end.load(Ordering::Acquire) {
            return;
        }
        match stream {
            // A client that disconnects early has no answer.
            Ok(stream) => drop(answer(stream, commands)),
            // No descriptor is left, for example.
            Err(_) => std::thread::sleep(PATIENCE),
        }
    }
}

fn answer(mut stream: UnixStream, commands: &Commands) -> io::Result<()> {
    let name = line(&mut stream)?;
    let answer = match commands.set(&name) {
        Ok(()) => DONE.to_owned(),
        Err(error) => error.to_string(),
    };
    writeln!(stream, "{answer}")
}

/// A line without its end.
fn line(stream: &mut UnixStream) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    BufReader::new(stream.take(LONGEST_LINE)).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(String::from_utf8_lossy(&line).into_owned()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Sets a command of the drive of the car of `file`; `None` for the installed car, or the default one.
///
/// # Errors
/// If there is no drive that takes commands, or it refuses this one.
pub fn request(file: Option<&Path>, name: &str) -> Result<(), RequestError> {
    let files = match file {
        Some(file) => vec![Some(file)],
        None => vec![Some(Path::new(INSTALLED)), None],
    };
    let paths: Vec<PathBuf> = files.into_iter().filter_map(|it| path(it).ok()).collect();
    for path in &paths {
        if let Ok(stream) = UnixStream::connect(path) {
            return send(stream, path, name);
        }
    }
    Err(RequestError::NoDrive(paths))
}

fn send(mut stream: UnixStream, path: &Path, name: &str) -> Result<(), RequestError> {
    let failed = |reason| RequestError::Connection {
        path: path.to_owned(),
        reason,
    };
    writeln!(stream, "{name}").map_err(failed)?;
    match line(&mut stream).map_err(failed)? {
        answer if answer == DONE => Ok(()),
        refused => Err(RequestError::Refused(refused)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_set_over_the_socket_and_noise_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.command");
        let commands = Arc::new(Commands::any());
        let server = CommandServer::at(path.clone(), Arc::clone(&commands)).unwrap();
        let connect = || UnixStream::connect(&path).unwrap();
        send(connect(), &path, "left").unwrap();
        assert_eq!(commands.present(), Some("left"));
        let refused = send(connect(), &path, "Go left").unwrap_err();
        assert!(matches!(&refused, RequestError::Refused(text) if text.contains("`Go left`")));
        // A line without end, and a client that says nothing, do not block the next one for long.
        let mut endless = connect();
        let _ = endless.write_all(&[b'x'; 4096]);
        let silent = connect();
        std::thread::sleep(PATIENCE / 10);
        drop(silent);
        send(connect(), &path, "right").unwrap();
        assert_eq!(commands.present(), Some("right"));
        let second = CommandServer::at(path.clone(), Arc::clone(&commands));
        assert!(matches!(second, Err(ServeError::InUse(_))));
        drop(server);
        assert!(!path.exists());
        // The socket of a pilot that was killed.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(CommandServer::at(path.clone(), commands).unwrap());
    }
}
