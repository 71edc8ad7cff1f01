//! `pilotage compile --for-this-machine`: from an engine file to a plan that has been proven here.

use std::path::{Path, PathBuf};

use pilotage_compiler::{Proof, ProofError, TensorRtRecipe, dequantize};
use pilotage_engine::plan::PlanPort;
use pilotage_engine::{Bundle, Engine, EngineError, GateResult, Port};
use pilotage_graph::{Graph, GraphError, ReadOptions};
use sha2::{Digest, Sha256};

use crate::cache::{CacheError, PlanCache, PlanKey};
use crate::compiler::{ShimError, Warnings, compile_shim, find_headers, shim_file};
use crate::device::{CudaError, Device};
use crate::engine::{EngineOptions, PlanError, TensorRtEngine};
use crate::error::TensorRtError;
use crate::interleaved::{Interleaved, OtherTensors};
use crate::library::TensorRt;
use crate::plan::{BuildOptions, Progress};
use crate::proving;
use crate::shim::{NOT_THERE, Shims};
use crate::version::Product;

/// Where things are on this machine.
#[derive(Debug, Clone)]
pub struct Places {
    /// TensorRT's libraries; none: wherever the loader finds them.
    pub libraries: Option<PathBuf>,
    /// The shims; a missing one is compiled.
    pub shims: Shims,
    /// TensorRT's headers; empty: `TENSORRT_INCLUDE`, or where JetPack puts them.
    pub headers: Vec<PathBuf>,
    /// The plans.
    pub plans: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            libraries: None,
            shims: Shims::Installed,
            headers: Vec::new(),
            plans: PlanCache::INSTALLED.into(),
        }
    }
}

/// A plan that this machine may drive with.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Its file.
    pub file: PathBuf,
    /// TensorRT and the device.
    pub backend: String,
    /// What it computes in.
    pub precision: String,
    /// How far it is from fp32, measured just now.
    pub gate: Vec<GateResult>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// The layers, in TensorRT's own words; none when it had been built before.
    pub layers: Option<String>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// No device or driver.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// No TensorRT, or it said no.
    #[error(transparent)]
    TensorRt(#[from] TensorRtError),
    /// No shim could be made.
    #[error(transparent)]
    Shim(#[from] ShimError),
    /// The headers are not the library's.
    #[error(
        "the library is {library}, but the headers here are of another version ({made}); \
         install the -dev packages of the same version"
    )]
    OtherHeaders {
        /// The library's version, in words.
        library: String,
        /// The shims that the headers would give.
        made: String,
    },
    /// The engine file has no model for TensorRT.
    #[error(
        "a {precision} engine brings no model for TensorRT; compile it with `precision = \"int8\"` or \"fp16\""
    )]
    NoModel {
        /// Its precision.
        precision: String,
    },
    /// Its `[tensorrt]` is not what it should be.
    #[error("the engine's [tensorrt] cannot be read: {0}")]
    Options(serde_json::Error),
    /// Nothing to prove the plan by.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The model in the file is malformed, or keeps data in other files.
    #[error("the engine's model cannot be read: {0}")]
    Model(#[from] GraphError),
    /// The plan does not load.
    #[error("the plan was built, but does not load: {0}")]
    Plan(#[from] PlanError),
    /// The plan takes a frame of another kind.
    #[error(transparent)]
    Ports(#[from] OtherTensors),
    /// An inference failed.
    #[error("the plan was built, but does not run: {0}")]
    Run(#[from] EngineError),
    /// The plan is too far from fp32. It has not been kept.
    #[error(
        "the plan is too far from fp32 and is not used; more calibration frames, another method, \
         or `precision = \"fp16\"` in the recipe brings it nearer:{}",
        .0.iter().map(told).collect::<String>()
    )]
    Gate(Vec<GateResult>),
    /// The plan could not be kept.
    #[error(transparent)]
    Keep(#[from] CacheError),
}

impl PrepareError {
    /// Whether this machine simply has no NVIDIA GPU or no TensorRT.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Cuda(CudaError::NoDriver | CudaError::NoDevice)
                | Self::TensorRt(TensorRtError::NoLibrary { .. })
        )
    }
}

fn told(result: &GateResult) -> String {
    format!(
        "\n  {}: mean squared error {:.3e} of {:.3e} allowed, worst {:.3e} of {:.3e} {}",
        result.output, result.mse, result.most_mse, result.worst, result.most_worst, result.unit
    )
}

/// Compiles the shim if need be, builds the plan of `bundle` for this machine's GPU, holds it
/// against the fp32 answers that travel in the bundle, and keeps it only if it passes. A plan
/// that was kept before is held against them again.
///
/// The model in the bundle is untrusted: `pilotage-graph` reads it before TensorRT is opened, and
/// NVIDIA's parser is given what `pilotage-graph` writes of it.
///
/// # Errors
/// When anything of that fails; nothing is kept then.
pub fn prepare(
    bundle: &Bundle,
    places: &Places,
    progress: &(dyn Fn(Progress<'_>) -> bool + Sync),
) -> Result<Prepared, PrepareError> {
    let device = Device::first()?;
    // A bundle without a model is refused below, once it is known that TensorRT is here.
    let model = model_of(bundle).map_or_else(|_| Ok(Vec::new()), rewritten)?;
    let mut notes = Vec::new();
    let library = open(places, &mut notes)?;
    let target = Target::new(bundle, places, device, library)?;
    let options = EngineOptions::default();
    match target.kept(options) {
        Ok(kept) => {
            return Ok(Prepared {
                file: target.cache.path(&target.key(kept.precision)),
                backend: target.backend(),
                precision: kept.precision.to_owned(),
                gate: kept.gate,
                notes,
                layers: None,
            });
        }
        Err(PrepareError::Keep(CacheError::None { .. })) => {}
        Err(error) => notes.push(format!("built anew: {error}")),
    }
    target.build(&model, notes, progress)
}

/// A plan that has just been proven here, ready to drive.
pub struct Proven {
    /// Runs it, with the ports of the CPU's plan.
    pub engine: Interleaved<TensorRtEngine>,
    /// What it computes in.
    pub precision: String,
    /// How far it is from fp32.
    pub gate: Vec<GateResult>,
}

/// Loads the plan that [`prepare`] kept for `bundle`, and holds it once more against the fp32
/// answers that travel in the bundle. Nothing is compiled, built or written.
///
/// # Errors
/// When there is no such plan, or anything of that fails.
pub fn load(
    bundle: &Bundle,
    places: &Places,
    options: EngineOptions,
) -> Result<Proven, PrepareError> {
    let device = Device::first()?;
    let product = Product::TensorRt;
    let library = TensorRt::open(product, places.libraries.as_deref(), &places.shims)?;
    let target = Target::new(bundle, places, device, library)?;
    let kept = target.kept(options)?;
    Ok(Proven {
        engine: kept.engine,
        precision: kept.precision.to_owned(),
        gate: kept.gate,
    })
}

/// An engine file's model, and the machine that is to run it.
struct Target<'a> {
    bundle: &'a Bundle,
    device: Device,
    library: TensorRt,
    cache: PlanCache,
    folder: &'a Path,
    model: &'a [u8],
    proof: Proof,
    proof_digest: [u8; 32],
    wishes: TensorRtRecipe,
}

/// A plan from the cache.
struct Kept<'a> {
    engine: Interleaved<TensorRtEngine>,
    precision: &'a str,
    gate: Vec<GateResult>,
}

impl<'a> Target<'a> {
    fn new(
        bundle: &'a Bundle,
        places: &'a Places,
        device: Device,
        library: TensorRt,
    ) -> Result<Self, PrepareError> {
        let wishes = bundle.manifest.recipe.get("tensorrt").cloned();
        Ok(Self {
            bundle,
            device,
            library,
            cache: PlanCache::new(&places.plans),
            folder: &places.plans,
            model: model_of(bundle)?,
            proof: Proof::of(bundle)?,
            proof_digest: proving::digest(bundle),
            wishes: wishes
                .map_or_else(|| Ok(TensorRtRecipe::default()), serde_json::from_value)
                .map_err(PrepareError::Options)?,
        })
    }

    fn backend(&self) -> String {
        format!("{} on {}", self.library.version(), self.device.name())
    }

    fn key(&self, precision: &str) -> PlanKey {
        PlanKey {
            model: PlanKey::of_model(self.model),
            precision: with_options(precision, &self.wishes),
            proof: self.proof_digest,
            tensorrt: self.library.version(),
            cuda: self.device.cuda(),
            compute_capability: self.device.compute_capability(),
            device: self.device.name().to_owned(),
        }
    }

    /// The plan that was kept, proven once more.
    fn kept(&self, options: EngineOptions) -> Result<Kept<'a>, PrepareError> {
        let precision = self.bundle.manifest.precision.as_str();
        // An INT8 model on a device that is slow in INT8 was kept as what replaced it.
        let (plan, precision) = match self.cache.load(&self.key(precision)) {
            Err(none @ CacheError::None { .. }) => match self.cache.load(&self.key(REPLACED)) {
                Err(CacheError::None { .. }) => return Err(none.into()),
                loaded => (loaded?, REPLACED),
            },
            loaded => (loaded?, precision),
        };
        let (engine, gate) = self.prove(&plan, options)?;
        Ok(Kept {
            engine,
            precision,
            gate,
        })
    }

    /// Loads a plan and holds it against fp32's answers.
    fn prove(
        &self,
        plan: &[u8],
        options: EngineOptions,
    ) -> Result<(Interleaved<TensorRtEngine>, Vec<GateResult>), PrepareError> {
        let options = EngineOptions {
            dla_core: self.wishes.dla_core,
            ..options
        };
        let engine = TensorRtEngine::new(&self.library, &self.device, plan, options)?;
        let ports = |ports: &[PlanPort]| -> Vec<Port> {
            let plan = &self.bundle.plan;
            ports.iter().map(|port| plan.port(port)).collect()
        };
        let (inputs, outputs) = (&self.bundle.plan.inputs, &self.bundle.plan.outputs);
        let mut engine = Interleaved::new(engine, &ports(inputs), &ports(outputs))?;
        engine.prepare()?;
        let answers = proving::answers(&mut engine, &self.proof)?;
        let gate = self.proof.results("TensorRT plan", &answers);
        match gate.iter().all(GateResult::passes) {
            true => Ok((engine, gate)),
            false => Err(PrepareError::Gate(gate)),
        }
    }

    /// Builds `model`, which is the bundle's [`rewritten`].
    fn build(
        &self,
        model: &[u8],
        mut notes: Vec<String>,
        progress: &(dyn Fn(Progress<'_>) -> bool + Sync),
    ) -> Result<Prepared, PrepareError> {
        let (library, wishes) = (&self.library, &self.wishes);
        self.device.use_here()?;
        let flags = !library.strongly_typed();
        let times = self.times();
        let keep_times = wishes.timing_cache.unwrap_or(true);
        // Without it, or with one that cannot be read, the build only takes longer.
        let known = match keep_times {
            true => match self.cache.read(&times, MOST_TIMES) {
                Ok(read) => read.unwrap_or_default(),
                Err(error) => {
                    notes.push(error.to_string());
                    Vec::new()
                }
            },
            false => Vec::new(),
        };
        let options = BuildOptions {
            fp16: flags,
            int8: flags && self.bundle.sections.contains_key(QDQ),
            workspace: wishes.workspace_mib.map(|mib| mib as usize * 1024 * 1024),
            dla_core: wishes.dla_core,
            timing_cache: Some(known.as_slice()).filter(|known| !known.is_empty()),
            detailed: true,
            progress: Some(progress),
            ..BuildOptions::default()
        };
        let first = match (wishes.dla_core, options.int8) {
            // "DLA doesn't support QAT yet": NVIDIA in
            // https://github.com/NVIDIA/TensorRT/issues/2222, of models that say where they are
            // quantised. All of it would fall back to the GPU.
            (Some(_), true) => Err("a DLA takes no quantised models".to_owned()),
            _ => match library.build(model, &options) {
                Err(TensorRtError::NoFastInt8) => {
                    Err(format!("{} has no fast INT8", self.device.name()))
                }
                built => Ok(built?),
            },
        };
        let (plan, made) = match first {
            Err(reason) => {
                notes.push(format!("{reason}; the plan is fp16 instead"));
                let options = BuildOptions {
                    int8: false,
                    ..options
                };
                (library.build(&dequantize(model)?, &options)?, REPLACED)
            }
            Ok(plan) => (plan, self.bundle.manifest.precision.as_str()),
        };

        let (_, gate) = self.prove(&plan.bytes, EngineOptions::default())?;
        let file = self.cache.keep(&self.key(made), &plan.bytes)?;
        if keep_times
            && let Some(new) = &plan.timing_cache
            && let Err(error) = crate::compiler::write_whole(&times, new)
        {
            notes.push(format!(
                "{}: {error}; the next build takes as long",
                times.display()
            ));
        }
        Ok(Prepared {
            file,
            backend: self.backend(),
            precision: made.to_owned(),
            gate,
            notes,
            layers: plan.layers,
        })
    }

    /// The times that builds have measured, beside the plans: of one version and device.
    fn times(&self) -> PathBuf {
        let device = Sha256::digest(self.device.name());
        let device: String = device
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.folder.join(format!(
            "timing-{}-{}-{device}.cache",
            self.library.version().number,
            self.device.compute_capability()
        ))
    }
}

/// Timing caches are some hundred kilobytes.
const MOST_TIMES: u64 = 64 << 20;
/// The section of a model in 8 bits.
const QDQ: &str = "model.qdq.onnx";
/// What it becomes where INT8 is slow.
const REPLACED: &str = "fp16, from int8";

/// What tells one plan of a model from another.
fn with_options(precision: &str, wishes: &TensorRtRecipe) -> String {
    let mut text = precision.to_owned();
    if let Some(core) = wishes.dla_core {
        text += &format!(", DLA core {core}");
    }
    if let Some(mib) = wishes.workspace_mib {
        text += &format!(", workspace {mib} MiB");
    }
    text
}

/// The model for other runtimes.
fn model_of(bundle: &Bundle) -> Result<&[u8], PrepareError> {
    let sections = &bundle.sections;
    let model = (sections.get(QDQ)).or_else(|| sections.get("model.fp16.onnx"));
    model
        .map(Vec::as_slice)
        .ok_or_else(|| PrepareError::NoModel {
            precision: bundle.manifest.precision.clone(),
        })
}

/// The model for NVIDIA's parser: the graph that was read, written anew. Nothing that the reader
/// skips (nodes without use, functions, unknown fields) reaches the parser, and no tensor with data
/// in another file. A model that [`Graph::write`] wrote stays the same, byte for byte.
fn rewritten(model: &[u8]) -> Result<Vec<u8>, GraphError> {
    Ok(Graph::read(model, &ReadOptions::default())?.write())
}

/// Opens TensorRT, compiling the shim for it where there is none or it is not to be used.
fn open(places: &Places, notes: &mut Vec<String>) -> Result<TensorRt, PrepareError> {
    let open = || {
        TensorRt::open(
            Product::TensorRt,
            places.libraries.as_deref(),
            &places.shims,
        )
    };
    match open() {
        // The usual way on a new machine.
        Err(TensorRtError::NoShim { tried, .. })
            if tried.iter().all(|reason| reason.ends_with(NOT_THERE)) => {}
        Err(
            error @ (TensorRtError::NoShim { .. }
            | TensorRtError::DamagedShim { .. }
            | TensorRtError::WrongShim { .. }),
        ) => log::warn!("{error}"),
        opened => return Ok(opened?),
    }
    let version = TensorRt::installed(Product::TensorRt, places.libraries.as_deref())?;
    // Of several folders of headers only those of the library's own version are of use, and one
    // that is of none does not make the others useless.
    let wanted = version.shim_file();
    let (mut others, mut failed) = (Vec::new(), None);
    for headers in find_headers(&places.headers)? {
        let made = shim_file(&headers).and_then(|file| match file == wanted {
            true => compile_shim(&headers, places.shims.made_here(), Warnings::Allowed).map(Some),
            false => {
                others.push(format!("{} in {}", file, headers.folder.display()));
                Ok(None)
            }
        });
        match made {
            Ok(Some(shim)) => {
                notes.push(format!("compiled {}", shim.display()));
                return Ok(open()?);
            }
            Ok(None) => {}
            Err(error) => {
                log::warn!("{error}");
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Err(PrepareError::OtherHeaders {
            library: version.to_string(),
            made: others.join(", "),
        }),
    }
}
