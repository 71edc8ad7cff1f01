//! `pilotage compile --for-this-machine`: builds and validates a TensorRT plan on this machine's
//! GPU.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use pilotage_console::{print, say_always, write_to_stderr};
use pilotage_engine::Bundle;
use pilotage_gpu::{GpuPolicy, Prepared, check_engine_file};
use pilotage_guard::INSTALLED;

use super::table;
use crate::car::{Backend, Car, EngineSource};
use crate::engines::{self, Fetched, GpuSetup};
use crate::signature::Trust;

/// Makes the plan of an engine file, or those of the compiled-in engines. Root reads only a file that
/// the installed car accepts.
pub(super) fn of_engine(file: Option<&Path>, report: bool) -> anyhow::Result<ExitCode> {
    let trust = match rustix::process::geteuid().is_root() {
        true => trust_of(Path::new(INSTALLED))?,
        false => Trust::default(),
    };
    let sources: Vec<_> = match file {
        Some(file) => vec![EngineSource::File(file.to_owned())],
        None => engines::names()
            .map(|name| EngineSource::BuiltIn(name.to_owned()))
            .collect(),
    };
    for source in sources {
        let Fetched {
            name,
            bytes,
            signature,
        } = fetch(&source, &trust)?;
        signature.with_context(|| name.clone())?;
        plan(&bytes, GpuPolicy::Require, report).with_context(|| name)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The rules for signatures in a car.toml; none if there is no such file.
fn trust_of(car: &Path) -> anyhow::Result<Trust> {
    match car.try_exists() {
        Ok(false) => Ok(Trust::default()),
        // The reason why it cannot be read is that of `load`.
        Ok(true) | Err(_) => Ok(Car::load(car)?.trust),
    }
}

/// Makes the plan of the engine that the car of `file` drives with, if the GPU is to run it. The
/// service does this at each start.
pub(super) fn of_car(file: &Path, report: bool) -> anyhow::Result<ExitCode> {
    let car = Car::load(file)?;
    if car.backend == Backend::Cpu {
        print(format_args!(
            "{}: the processor runs the engine (`engine.backend`), so there is nothing to build",
            file.display()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let Fetched {
        name,
        bytes,
        signature,
    } = fetch(&car.engine, &car.trust)?;
    // A plan becomes code: none is built from an engine that this car would refuse.
    signature.with_context(|| name.clone())?;
    let bundle = Bundle::read(&bytes).with_context(|| name.clone())?;
    print(format_args!(
        "{name}: building and validating the plan for this machine's GPU; this takes minutes"
    ));
    let made = GpuSetup::default().prepare(&bytes, &bundle);
    clear();
    match made {
        Ok(prepared) => say(&prepared, report),
        Err(error) if error.is_absence() => {
            print(format_args!("{name}: no plan is built here: {error}"));
        }
        Err(error) => return Err(error).context(name),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads an engine's bytes, if a plan may be built from them: root accepts no file that others can
/// write.
fn fetch(source: &EngineSource, trust: &Trust) -> anyhow::Result<Fetched> {
    // Check before the file is read: afterwards it could be another file. The read reports a
    // missing file.
    let checked = match source {
        EngineSource::BuiltIn(_) => Ok(()),
        EngineSource::File(file) => check_engine_file(file),
    };
    let fetched = engines::fetch(source, trust)?;
    checked?;
    Ok(fetched)
}

/// Makes the plan of the engine file `bytes`, if it is requested and possible.
pub(super) fn plan(bytes: &[u8], gpu: GpuPolicy, report: bool) -> anyhow::Result<()> {
    if gpu == GpuPolicy::Off {
        return Ok(());
    }
    let bundle = Bundle::read(bytes)?;
    let made = GpuSetup::default().prepare(bytes, &bundle);
    clear();
    match made {
        Ok(prepared) => say(&prepared, report),
        Err(error) if gpu == GpuPolicy::Require => return Err(error.into()),
        Err(error) if error.is_absence() => log::info!("no TensorRT plan: {error}"),
        Err(error) => say_always(format_args!("warning: there is no TensorRT plan: {error}")),
    }
    Ok(())
}

fn clear() {
    if std::io::stderr().is_terminal() {
        let _ = write_to_stderr(b"\r\x1b[K");
    }
}

fn say(prepared: &Prepared, report: bool) {
    for note in &prepared.notes {
        say_always(format_args!("note: {note}"));
    }
    let mut parts = vec![format!(
        "{}: {}, {}",
        prepared.file.display(),
        prepared.precision,
        prepared.backend
    )];
    match prepared.gate.as_slice() {
        [] => parts.push("It was built and validated before.".to_owned()),
        gate => parts.push(table::gate(gate)),
    }
    if report && let Some(layers) = &prepared.layers {
        parts.push(layers.clone());
    }
    print(format_args!("\n{}", parts.join("\n\n")));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_installed_car_says_which_signatures_root_demands() {
        let folder = tempfile::tempdir().unwrap();
        let car = folder.path().join("car.toml");
        assert!(!trust_of(&car).unwrap().required);
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let key = pair.pk.to_base64();
        let text = format!("[engine]\nrequire_signature = true\ntrusted_keys = [\"{key}\"]\n");
        fs::write(&car, text).unwrap();
        let trust = trust_of(&car).unwrap();
        assert!(trust.required && trust.keys.len() == 1);
        // A file that cannot be read demands nothing that could be checked.
        fs::write(&car, "[engine").unwrap();
        assert!(trust_of(&car).is_err());
    }
}
