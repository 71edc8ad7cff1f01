//! Steps that are done once for the same inputs, so that an interrupted run continues.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use tooling::invocation::Invocation;

/// What a step depends on: texts, and the contents of files.
#[derive(Debug, Clone, Default)]
pub struct Inputs(DefaultHasher);

impl Inputs {
    /// Adds a text, such as a command or the fingerprint of an earlier step.
    pub fn text(mut self, text: &str) -> Self {
        text.hash(&mut self.0);
        self
    }

    /// Adds the content of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file(mut self, file: &Path) -> Result<Self> {
        let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        content.hash(&mut self.0);
        Ok(self)
    }

    /// Differs for different inputs. Another version of Rust may compute another one, and steps are
    /// then repeated.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", self.0.finish())
    }
}

/// The folder that has the results, and the fingerprints of the steps that are done.
#[derive(Debug)]
pub struct Steps {
    folder: PathBuf,
}

impl Steps {
    /// The steps with results in `folder`, which is made if it does not exist.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// Whether a step without an output of its own is recorded as done with these inputs.
    pub fn is_done(&self, name: &str, inputs: &Inputs) -> bool {
        let mark = fs::read_to_string(self.mark(name));
        mark.is_ok_and(|it| it == inputs.fingerprint())
    }

    /// Records that a step is done.
    ///
    /// # Errors
    /// When the fingerprint cannot be written.
    pub fn set_done(&self, name: &str, inputs: &Inputs) -> Result<()> {
        let mark = self.mark(name);
        fs::write(&mark, inputs.fingerprint())
            .with_context(|| format!("writing {}", mark.display()))
    }

    /// Lets a step be repeated.
    ///
    /// # Errors
    /// When its record cannot be removed.
    pub fn forget(&self, name: &str) -> Result<()> {
        let mark = self.mark(name);
        match fs::remove_file(&mark) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", mark.display()))
            }
            _ => Ok(()),
        }
    }

    fn mark(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.done"))
    }

    /// Does a step, unless it has succeeded with these inputs and its output exists. Returns whether
    /// it has succeeded, now or before.
    ///
    /// # Errors
    /// When `action` fails, or the fingerprint cannot be written.
    pub fn once(
        &self,
        name: &str,
        output: &Path,
        inputs: &Inputs,
        action: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        if self.is_done(name, inputs) && output.exists() {
            println!("==> {name}: done before");
            return Ok(true);
        }
        // If this is interrupted, the output is neither the old one nor the new one.
        self.forget(name)?;
        let done = timed(name, action)?;
        if done {
            self.set_done(name, inputs)?;
        }
        Ok(done)
    }
}

/// Does a step, and prints how long it took. Returns what `action` returns: whether it has succeeded.
///
/// # Errors
/// When `action` fails.
pub fn timed(name: &str, action: impl FnOnce() -> Result<bool>) -> Result<bool> {
    println!("==> {name}");
    let begin = Instant::now();
    let done = action()?;
    let result = if done { "took" } else { "failed after" };
    println!("==> {name} {result} {:.1} s", begin.elapsed().as_secs_f64());
    Ok(done)
}

/// Prints a command and runs it. Returns whether it succeeds.
///
/// # Errors
/// When it cannot be run.
pub fn shown(command: &Invocation) -> Result<bool> {
    println!("    {command}");
    command.succeeds()
}

/// Removes a folder with everything in it, if it exists.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_repeated_for_other_inputs_or_without_its_output() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("output");
        let steps = Steps::new(folder.path().join("steps")).unwrap();
        let inputs = |text: &str| Inputs::default().text(text);
        let mut runs = 0;
        let mut once = |inputs: &Inputs, succeeds: bool| {
            let done = steps.once("step", &output, inputs, || {
                runs += 1;
                fs::write(&output, "made")?;
                Ok(succeeds)
            });
            (done.unwrap(), runs)
        };
        assert_eq!(once(&inputs("a"), true), (true, 1));
        assert_eq!(once(&inputs("a"), true), (true, 1), "done before");
        assert_eq!(once(&inputs("b"), false), (false, 2), "other inputs");
        assert_eq!(once(&inputs("b"), true), (true, 3), "failed before");
        assert_eq!(once(&inputs("a"), true), (true, 4), "replaced by b");
        fs::remove_file(&output).unwrap();
        assert_eq!(once(&inputs("a"), true), (true, 5), "no output");
    }

    #[test]
    fn inputs_are_texts_and_contents() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "one").unwrap();
        let of_file = || Inputs::default().file(&file).unwrap().fingerprint();
        let before = of_file();
        assert_eq!(of_file(), before);
        fs::write(&file, "two").unwrap();
        assert_ne!(of_file(), before);
        assert!(Inputs::default().file(&folder.path().join("none")).is_err());
    }
}
