//! `pilotage inspect`: shows what an engine is, and how far it can be trusted.

pub(super) mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use pilotage_console::print;
use pilotage_engine::plan::Layer;
use pilotage_engine::{Bundle, Manifest, Port, Section, sections};
use serde::Serialize;

use crate::car::{Car, EngineSource};
use crate::engines::{self, Fetched};
use crate::signature::{Signature, SignatureError, Trust};

/// Options of `pilotage inspect`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// An .engine file or a compiled-in engine's name; without it the compiled-in engines are
    /// listed
    #[arg(value_name = "FILE|NAME")]
    engine: Option<String>,
    /// Check the signature as the car with this car.toml does
    #[arg(long, value_name = "FILE", requires = "engine")]
    car: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// All that an engine file contains.
#[derive(Debug, Serialize)]
struct Inspection {
    #[serde(flatten)]
    manifest: Manifest,
    inputs: Vec<Port>,
    output_tensors: Vec<Port>,
    bytes: usize,
    sections: Vec<Section>,
    layers: Vec<Layer>,
    signature: SignatureState,
}

/// A compiled-in engine in the list.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    domain: pilotage_vehicle::Domain,
    precision: String,
    bytes: usize,
}

/// The result of the signature check.
#[derive(Debug, Serialize)]
struct SignatureState {
    /// `compiled-in`, `absent`, `unchecked`, `good` or `refused`.
    state: &'static str,
    /// The signer's comment, or why the signature is refused.
    comment: Option<String>,
}

/// Prints the inspection. The exit status is 1 if the car would refuse the engine for its
/// signature.
///
/// # Errors
/// Fails if there is no such engine, or if it is not valid.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Some(engine) = &options.engine else {
        let entries = entries()?;
        print(match options.json {
            true => serde_json::to_string_pretty(&entries)?,
            false => table::list(&entries),
        });
        return Ok(ExitCode::SUCCESS);
    };
    let trust = match &options.car {
        Some(file) => Car::load(file)?.trust,
        None => Trust::default(),
    };
    let fetched = engines::fetch(&source(engine), &trust)?;
    let inspection = inspect(fetched)?;
    print(match options.json {
        true => serde_json::to_string_pretty(&inspection)?,
        false => table::whole(&inspection),
    });
    Ok(match inspection.signature.state {
        "refused" => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// `engine` names a compiled-in engine unless it looks like a file.
pub(super) fn source(engine: &str) -> EngineSource {
    let path = Path::new(engine);
    match path.extension().is_some() || path.components().count() > 1 {
        true => EngineSource::File(path.to_owned()),
        false => EngineSource::BuiltIn(engine.to_owned()),
    }
}

fn entries() -> anyhow::Result<Vec<Entry>> {
    engines::names()
        .map(|name| {
            let bytes = engines::compiled_in(name)?;
            let manifest = Bundle::read(bytes).context(name)?.manifest;
            Ok(Entry {
                name: name.to_owned(),
                domain: manifest.domain,
                precision: manifest.precision,
                bytes: bytes.len(),
            })
        })
        .collect()
}

fn inspect(fetched: Fetched) -> anyhow::Result<Inspection> {
    let Fetched {
        name,
        bytes,
        signature,
    } = fetched;
    let Bundle { manifest, plan, .. } =
        Bundle::read(&bytes).with_context(|| format!("engine `{name}`"))?;
    Ok(Inspection {
        inputs: plan.inputs.iter().map(|port| plan.port(port)).collect(),
        output_tensors: plan.outputs.iter().map(|port| plan.port(port)).collect(),
        bytes: bytes.len(),
        sections: sections(&bytes).with_context(|| format!("engine `{name}`"))?,
        layers: plan.layers(),
        signature: state(signature),
        manifest,
    })
}

fn state(signature: Result<Signature, SignatureError>) -> SignatureState {
    let (state, comment) = match signature {
        Ok(Signature::CompiledIn) => ("compiled-in", None),
        Ok(Signature::Absent) => ("absent", None),
        Ok(Signature::Unchecked) => ("unchecked", None),
        Ok(Signature::Good { comment }) => ("good", Some(comment)),
        Err(reason) => ("refused", Some(reason.to_string())),
    };
    SignatureState { state, comment }
}
