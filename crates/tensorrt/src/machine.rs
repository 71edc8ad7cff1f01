//! `pilotage compile --for-this-machine`: from an engine file to a plan that has been proven here.

use std::collections::HashMap;
use std::path::PathBuf;

use pilotage_compiler::{Proof, ProofError, TensorRtRecipe, dequantize};
use pilotage_engine::{Bundle, Engine, EngineError, GateResult, TensorMut, TensorRef};

use crate::cache::{CacheError, PlanCache, PlanKey};
use crate::compiler::{ShimError, compile_shim, find_headers};
use crate::device::{CudaError, Device};
use crate::engine::{EngineOptions, PlanError, TensorRtEngine};
use crate::error::TensorRtError;
use crate::library::TensorRt;
use crate::plan::{BuildOptions, Progress};
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
    /// How far it is from fp32; empty when it had been built and proven before.
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
        /// The shims that the headers gave.
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
    /// The model in the file is damaged.
    #[error("the engine's model cannot be read: {0}")]
    Model(#[from] pilotage_graph::GraphError),
    /// The plan does not load.
    #[error("the plan was built, but does not load: {0}")]
    Plan(#[from] PlanError),
    /// The plan takes a frame of another kind.
    #[error("the plan takes and gives other tensors than the engine: {0}")]
    Ports(String),
    /// An inference failed.
    #[error("the plan was built, but does not run: {0}")]
    Run(#[from] EngineError),
    /// The plan is too far from fp32. It has not been kept.
    #[error("the plan is too far from fp32 and has been thrown away:{}", .0.iter().map(told).collect::<String>())]
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

/// What to do about TensorRT where it is not asked for by name: `PILOTAGE_TENSORRT`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wish {
    /// Build a plan where there is a GPU and TensorRT; warn where they are there and it fails.
    #[default]
    Auto,
    /// Build none.
    Off,
    /// Fail without one.
    Require,
}

impl Wish {
    /// The variable's name.
    pub const VARIABLE: &'static str = "PILOTAGE_TENSORRT";

    /// What the variable says; [`Wish::Auto`] where it is not set.
    ///
    /// # Errors
    /// When it says something else.
    pub fn from_environment() -> Result<Self, BadWish> {
        let Some(word) = std::env::var_os(Self::VARIABLE) else {
            return Ok(Self::Auto);
        };
        match word.to_str() {
            Some("auto" | "") => Ok(Self::Auto),
            Some("off") => Ok(Self::Off),
            Some("require") => Ok(Self::Require),
            _ => Err(BadWish(word.to_string_lossy().into_owned())),
        }
    }
}

/// `PILOTAGE_TENSORRT` is none of its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PILOTAGE_TENSORRT is `{0}`; it can be auto, off or require")]
pub struct BadWish(String);

fn told(result: &GateResult) -> String {
    format!(
        "\n  {}: mean squared error {:.3e} of {:.3e} allowed, worst {:.3e} of {:.3e} {}",
        result.output, result.mse, result.most_mse, result.worst, result.most_worst, result.unit
    )
}

/// Compiles the shim if need be, builds the plan of `bundle` for this machine's GPU, holds it
/// against the fp32 answers that travel in the bundle, and keeps it only if it passes.
///
/// # Errors
/// When anything of that fails; nothing is kept then.
pub fn prepare(
    bundle: &Bundle,
    places: &Places,
    progress: &(dyn Fn(Progress<'_>) -> bool + Sync),
) -> Result<Prepared, PrepareError> {
    let device = Device::first()?;
    let mut notes = Vec::new();
    let library = open(places, &mut notes)?;
    let model = model_of(bundle)?;
    let precision = bundle.manifest.precision.as_str();
    let proof = Proof::of(bundle)?;
    let wishes = bundle.manifest.recipe.get("tensorrt").cloned();
    let wishes: TensorRtRecipe = wishes
        .map_or_else(|| Ok(TensorRtRecipe::default()), serde_json::from_value)
        .map_err(PrepareError::Options)?;
    let key = |precision: &str| PlanKey {
        model: PlanKey::of_model(model),
        precision: with_options(precision, &wishes),
        tensorrt: library.version(),
        cuda: device.cuda(),
        compute_capability: device.compute_capability(),
        device: device.name().to_owned(),
    };
    let cache = PlanCache::new(&places.plans);
    let backend = format!("{} on {}", library.version(), device.name());
    // An INT8 model on a device that is slow in INT8 was kept as what replaced it.
    for made in [precision, REPLACED] {
        match cache.load(&key(made)) {
            Ok(_) => {
                return Ok(Prepared {
                    file: cache.path(&key(made)),
                    backend,
                    precision: made.to_owned(),
                    gate: Vec::new(),
                    notes,
                    layers: None,
                });
            }
            Err(CacheError::None { .. }) => {}
            Err(error) => notes.push(format!("built anew: {error}")),
        }
    }

    device.use_here()?;
    let flags = !library.strongly_typed();
    let times = places.plans.join(TIMES);
    let keep_times = wishes.timing_cache.unwrap_or(true);
    // Without it, or with one that cannot be read, the build only takes longer.
    let known = match keep_times {
        true => std::fs::read(&times).unwrap_or_default(),
        false => Vec::new(),
    };
    let options = BuildOptions {
        fp16: flags,
        int8: flags && bundle.sections.contains_key(QDQ),
        workspace: wishes.workspace_mib.map(|mib| mib as usize * 1024 * 1024),
        dla_core: wishes.dla_core,
        timing_cache: Some(known.as_slice()).filter(|known| !known.is_empty()),
        detailed: true,
        progress: Some(progress),
        ..BuildOptions::default()
    };
    let first = match (wishes.dla_core, options.int8) {
        // "DLA doesn't support QAT yet": NVIDIA in https://github.com/NVIDIA/TensorRT/issues/2222,
        // of models that say where they are quantised. All of it would fall back to the GPU.
        (Some(_), true) => Err("a DLA takes no quantised models".to_owned()),
        _ => match library.build(model, &options) {
            Err(TensorRtError::NoFastInt8) => Err(format!("{} has no fast INT8", device.name())),
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
        Ok(plan) => (plan, precision),
    };

    let options = EngineOptions {
        dla_core: wishes.dla_core,
        ..EngineOptions::default()
    };
    let mut engine = TensorRtEngine::new(&library, &device, &plan.bytes, options)?;
    engine.prepare()?;
    let gate = proof.results("TensorRT plan", &answers(&mut engine, bundle, &proof)?);
    if !gate.iter().all(GateResult::passes) {
        return Err(PrepareError::Gate(gate));
    }
    let file = cache.keep(&key(made), &plan.bytes)?;
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
        backend,
        precision: made.to_owned(),
        gate,
        notes,
        layers: plan.layers,
    })
}

/// The times that builds have measured, beside the plans.
const TIMES: &str = "timing.cache";
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
    let mut made = Vec::new();
    for headers in find_headers(&places.headers)? {
        made.push(compile_shim(&headers, places.shims.made_here())?);
    }
    let made: Vec<_> = made.iter().map(|shim| shim.display().to_string()).collect();
    match open() {
        Err(TensorRtError::NoShim { version, .. }) => Err(PrepareError::OtherHeaders {
            library: version.to_string(),
            made: made.join(", "),
        }),
        opened => {
            notes.push(format!("compiled {}", made.join(", ")));
            Ok(opened?)
        }
    }
}

/// The plan's answers to the frames that travel.
fn answers(
    engine: &mut TensorRtEngine,
    bundle: &Bundle,
    proof: &Proof,
) -> Result<Vec<Vec<f32>>, PrepareError> {
    let (Ok([taken]), Ok([input])) = (
        <&[_; 1]>::try_from(bundle.plan.inputs.as_slice()),
        <&[_; 1]>::try_from(engine.inputs()),
    ) else {
        return Err(PrepareError::Ports("there is not one input".into()));
    };
    let taken = bundle.plan.port(taken);
    if taken.len() != input.len() {
        return Err(PrepareError::Ports(format!(
            "{:?} and {:?}",
            input.shape, taken.shape
        )));
    }
    // The model's own order has channels before rows, unless its shape is that of the frames.
    let planes = match taken.shape.last() {
        Some(&channels) if taken.shape != input.shape => channels.max(1),
        _ => 1,
    };
    // Models in 8 bits were given pixels less 128, and so are their forms in floating point.
    let centre = match taken.element_type {
        pilotage_engine::ElementType::I8 => 128_i16,
        _ => 0,
    };
    let order: HashMap<String, usize> = (engine.outputs().iter().enumerate())
        .map(|(place, port)| (port.name.clone(), place))
        .collect();
    let places: Option<Vec<usize>> = (bundle.plan.outputs.iter())
        .map(|port| order.get(&port.name).copied())
        .collect();
    let places = places.ok_or_else(|| PrepareError::Ports("an output is missing".into()))?;
    let element = input.element_type;
    let lengths: Vec<_> = (engine.outputs().iter())
        .map(|port| (port.element_type, port.len()))
        .collect();

    let mut all = Vec::new();
    for frame in proof.frames() {
        let pixels = (0..planes).flat_map(|plane| frame.iter().skip(plane).step_by(planes));
        let levels = pixels.map(|&pixel| i16::from(pixel) - centre);
        let (mut bytes, mut floats) = (Vec::new(), Vec::new());
        let input = match element {
            pilotage_engine::ElementType::I8 => {
                bytes.extend(levels.map(|level| i8::try_from(level).unwrap_or(i8::MAX)));
                TensorRef::I8(&bytes)
            }
            _ => {
                floats.extend(levels.map(f32::from));
                TensorRef::F32(&floats)
            }
        };
        let mut made: Vec<Answer> = lengths
            .iter()
            .map(|&(of, length)| Answer::new(of, length))
            .collect();
        let mut lent: Vec<_> = made.iter_mut().map(Answer::lend).collect();
        engine.infer(&[input], &mut lent)?;
        all.push(
            places
                .iter()
                .flat_map(|&place| made[place].numbers())
                .collect(),
        );
    }
    Ok(all)
}

/// Room for an output.
enum Answer {
    Floats(Vec<f32>),
    Levels(Vec<i8>),
}

impl Answer {
    fn new(of: pilotage_engine::ElementType, length: usize) -> Self {
        match of {
            pilotage_engine::ElementType::I8 => Self::Levels(vec![0; length]),
            _ => Self::Floats(vec![0.0; length]),
        }
    }

    fn lend(&mut self) -> TensorMut<'_> {
        match self {
            Self::Floats(numbers) => TensorMut::F32(numbers),
            Self::Levels(levels) => TensorMut::I8(levels),
        }
    }

    fn numbers(&self) -> Vec<f32> {
        match self {
            Self::Floats(numbers) => numbers.clone(),
            Self::Levels(levels) => levels.iter().map(|&level| f32::from(level)).collect(),
        }
    }
}
