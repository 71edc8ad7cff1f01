//! A command that can be printed for the user, run, and read from.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// A program, its arguments, its directory and its additional environment variables.
#[derive(Debug, Clone)]
pub struct Invocation {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, OsString)>,
    directory: Option<PathBuf>,
}

impl Invocation {
    /// Splits `line` at white space. Arguments that contain white space are added with
    /// [`arg`](Self::arg).
    pub fn new(line: &str) -> Self {
        let mut words = line.split_whitespace().map(str::to_owned);
        Self {
            program: words.next().unwrap_or_default(),
            arguments: words.collect(),
            environment: Vec::new(),
            directory: None,
        }
    }

    /// The program at `path`, without arguments.
    pub fn of(path: &Path) -> Self {
        Self {
            program: path.display().to_string(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
        }
    }

    /// Runs `script` with the shell as root: directly, or through sudo. Arguments that are added
    /// become `$0`, `$1` and so on.
    pub fn privileged(script: &str) -> Self {
        let root = Self::new("id -u")
            .answer()
            .is_some_and(|id| id.trim() == "0");
        Self::new(if root { "sh -c" } else { "sudo sh -c" }).arg(script)
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds a path as an argument.
    pub fn path(self, path: &Path) -> Self {
        self.arg(path.display().to_string())
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the working directory.
    pub fn within(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_path_buf());
        self
    }

    /// Runs this command with `wrapper`, which takes the command as its last arguments.
    pub fn under(mut self, wrapper: Self) -> Self {
        let program = std::mem::replace(&mut self.program, wrapper.program);
        let inner = std::mem::replace(&mut self.arguments, wrapper.arguments);
        self.arguments.push(program);
        self.arguments.extend(inner);
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(
            self.environment
                .iter()
                .map(|(name, value)| (name, value.as_os_str())),
        );
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    /// Runs the command with this program's standard output and error. Returns true when it
    /// succeeds.
    pub fn succeeds(&self) -> Result<bool> {
        let status = self.command().status().with_context(|| self.run_error())?;
        Ok(status.success())
    }

    /// Runs the command and returns its standard output; none when it cannot be run or fails.
    pub fn answer(&self) -> Option<String> {
        let output = self
            .command()
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    /// Runs the command and passes each line of its standard output and error to `line`. Returns
    /// true when it succeeds.
    pub fn listen(&self, mut line: impl FnMut(&str)) -> Result<bool> {
        let (reader, writer) = io::pipe()?;
        let mut command = self.command();
        command.stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn().with_context(|| self.run_error())?;
        // `command` holds the writing end of the pipe: the reader would never see the end.
        drop(command);
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes)? > 0 {
            line(&String::from_utf8_lossy(&bytes));
            bytes.clear();
        }
        Ok(child.wait()?.success())
    }

    /// Like [`listen`](Self::listen), and also prints every line.
    pub fn stream(&self, mut line: impl FnMut(&str)) -> Result<bool> {
        self.listen(|text| {
            print!("{text}");
            // The command goes on even when nothing reads the output.
            let _ = io::stdout().flush();
            line(text);
        })
    }

    fn run_error(&self) -> String {
        format!("cannot run `{self}`")
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(out, "{name}={} ", quoted(&value.to_string_lossy()))?;
        }
        out.write_str(&quoted(&self.program))?;
        for argument in &self.arguments {
            write!(out, " {}", quoted(argument))?;
        }
        Ok(())
    }
}

/// `word`, quoted for a POSIX shell if needed.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_for_a_shell() {
        let shown = Invocation::new("cargo install --locked")
            .arg("it's here")
            .env("FLAGS", "-a -b")
            .to_string();
        assert_eq!(
            shown,
            r"FLAGS='-a -b' cargo install --locked 'it'\''s here'"
        );
    }

    #[test]
    fn both_streams_and_the_status_are_read() {
        let mut lines = Vec::new();
        let succeeded = Invocation::new("sh -c")
            .arg("echo one; echo two >&2; printf three; exit 3")
            .listen(|line| lines.push(line.trim_end().to_owned()))
            .unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
        assert!(!succeeded);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Invocation::new("no-such-program-here").listen(|_| ());
        let message = format!("{:#}", error.unwrap_err());
        assert!(message.contains("`no-such-program-here`"), "{message}");
    }
}
