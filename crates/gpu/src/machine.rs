//! `pilotage compile --for-this-machine`: builds a plan from an engine file and validates it on
//! this machine.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_engine::plan::PlanPort;
use pilotage_engine::{
    Bundle, Engine, EngineError, GateResult, Port, TensorRtRecipe, ValidationSet,
};
use pilotage_graph::{Graph, GraphError, ReadOptions, dequantize, float_weights, float32_types};
use sha2::{Digest, Sha256};
use tensorrt_rs::{
    BuildOptions, Device, Plan, PlanError, Product, Progress, RunOptions, Shims, TensorRt,
    TensorRtError, TrustedBytes, TrustedReadError, Typing, store,
};

use crate::cache::{CacheError, PlanCache, PlanKey};
use crate::engine::TensorRtEngine;
use crate::error::PrepareError;
use crate::nhwc::NhwcAdapter;
use crate::{shims, validation};

/// The folders of TensorRT, its shims and its plans on this machine.
#[derive(Debug, Clone)]
pub struct TensorRtPaths {
    /// The folder of TensorRT's libraries. `None`: the loader's search path.
    pub libraries: Option<PathBuf>,
    /// The folders of the shims. A missing shim is compiled.
    pub shims: Shims,
    /// The folders of TensorRT's headers. Empty: `TENSORRT_INCLUDE`, or where JetPack installs
    /// them.
    pub headers: Vec<PathBuf>,
    /// The folder of the plans.
    pub plans: PathBuf,
}

impl Default for TensorRtPaths {
    fn default() -> Self {
        Self {
            libraries: None,
            shims: shims::installed_shims(),
            headers: Vec::new(),
            plans: PlanCache::INSTALLED.into(),
        }
    }
}

/// A plan that is stored and has passed the gate on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The plan's file.
    pub file: PathBuf,
    /// The version of TensorRT and the name of the device.
    pub backend: String,
    /// The plan's precision.
    pub precision: String,
    /// The errors against fp32, measured by this call.
    pub gate: Vec<GateResult>,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// The layers, as reported by TensorRT. `None` if the plan had been built before.
    pub layers: Option<String>,
}

/// Compiles the shim if needed, builds the plan of `bundle` for this machine's GPU, compares it
/// with the fp32 answers in the bundle, and stores it only if it passes the gate. A plan that was
/// stored before is not built again, but compared again.
///
/// The model in the bundle is untrusted: `pilotage-graph` parses it before TensorRT is loaded, and
/// NVIDIA's parser reads only what `pilotage-graph` writes of it.
///
/// # Errors
/// When any of these steps fails. In that case no plan is stored.
pub fn prepare(
    bundle: &Bundle,
    places: &TensorRtPaths,
    progress: &(dyn Fn(Progress<'_>) -> bool + Sync),
) -> Result<Prepared, PrepareError> {
    let device = Device::first()?;
    // A bundle without a model is rejected below, after TensorRT was found.
    let model = model_of(bundle).map_or_else(|_| Ok(Vec::new()), rewritten)?;
    let mut notes = Vec::new();
    let library = shims::open(places, &mut notes)?;
    let target = Target::new(bundle, places, device, library)?;
    let options = RunOptions::default();
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

/// A plan that was loaded and validated on this machine.
pub struct ValidatedPlan {
    /// The engine that runs the plan, with the ports of the CPU plan.
    pub engine: NhwcAdapter<TensorRtEngine>,
    /// The plan's precision.
    pub precision: String,
    /// The errors against fp32.
    pub gate: Vec<GateResult>,
}

/// Loads the plan that [`prepare`] stored for `bundle`, and compares it again with the fp32 answers
/// in the bundle. Nothing is compiled, built or written.
///
/// # Errors
/// When there is no such plan, or loading or comparing it fails.
pub fn load(
    bundle: &Bundle,
    places: &TensorRtPaths,
    options: RunOptions,
) -> Result<ValidatedPlan, PrepareError> {
    let device = Device::first()?;
    let product = Product::TensorRt;
    let library = TensorRt::open(product, places.libraries.as_deref(), &places.shims)?;
    let target = Target::new(bundle, places, device, library)?;
    let kept = target.kept(options)?;
    Ok(ValidatedPlan {
        engine: kept.engine,
        precision: kept.precision.to_owned(),
        gate: kept.gate,
    })
}

/// An engine file and the machine that its plan is for.
struct Target<'a> {
    bundle: &'a Bundle,
    device: Device,
    library: TensorRt,
    cache: PlanCache,
    folder: &'a Path,
    model: &'a [u8],
    validation: ValidationSet,
    validation_digest: [u8; 32],
    recipe: TensorRtRecipe,
}

/// A validated plan from the cache.
struct Kept<'a> {
    engine: NhwcAdapter<TensorRtEngine>,
    precision: &'a str,
    gate: Vec<GateResult>,
}

impl<'a> Target<'a> {
    fn new(
        bundle: &'a Bundle,
        places: &'a TensorRtPaths,
        device: Device,
        library: TensorRt,
    ) -> Result<Self, PrepareError> {
        Ok(Self {
            bundle,
            device,
            library,
            cache: PlanCache::new(&places.plans),
            folder: &places.plans,
            model: model_of(bundle)?,
            validation: ValidationSet::of(bundle)?,
            validation_digest: validation::digest(bundle),
            recipe: bundle.manifest.tensorrt().map_err(PrepareError::Options)?,
        })
    }

    fn backend(&self) -> String {
        format!("{} on {}", self.library.version(), self.device.name())
    }

    fn key(&self, precision: &str) -> PlanKey {
        PlanKey {
            model: PlanKey::of_model(self.model),
            precision: with_options(precision, &self.recipe),
            validation: self.validation_digest,
            tensorrt: self.library.version(),
            cuda: self.device.cuda(),
            compute_capability: self.device.compute_capability(),
            device: self.device.name().to_owned(),
            multiprocessors: self.device.multiprocessors(),
            l2_cache: self.device.l2_cache(),
        }
    }

    /// Loads the stored plan and validates it.
    fn kept(&self, options: RunOptions) -> Result<Kept<'a>, PrepareError> {
        let precision = self.bundle.manifest.precision.as_str();
        // Where no INT8 plan could be had, another was stored in its place.
        let (plan, precision) = match self.cache.load(&self.key(precision)) {
            Err(none @ CacheError::None { .. }) => {
                let replacement = self.replacement();
                match self.cache.load(&self.key(replacement)) {
                    Err(CacheError::None { .. }) => return Err(none.into()),
                    loaded => (loaded?, replacement),
                }
            }
            loaded => (loaded?, precision),
        };
        let (engine, gate) = self.validate(&plan, options)?;
        Ok(Kept {
            engine,
            precision,
            gate,
        })
    }

    /// Loads a plan and compares its answers with those of fp32.
    fn validate(
        &self,
        plan: &TrustedBytes,
        options: RunOptions,
    ) -> Result<(NhwcAdapter<TensorRtEngine>, Vec<GateResult>), PrepareError> {
        // A car's limit is for driving. At the start a Jetson's clocks are low and its disk is busy.
        let limit = options.limit;
        let options = RunOptions {
            dla_core: self.recipe.dla_core,
            limit: limit.max(VALIDATION_LIMIT),
            ..options
        };
        let engine = TensorRtEngine::new(&self.library, &self.device, plan, options)?;
        let ports = |ports: &[PlanPort]| -> Vec<Port> {
            let plan = &self.bundle.plan;
            ports.iter().map(|port| plan.port(port)).collect()
        };
        let (inputs, outputs) = (&self.bundle.plan.inputs, &self.bundle.plan.outputs);
        let mut engine = NhwcAdapter::new(engine, &ports(inputs), &ports(outputs))?;
        engine.prepare()?;
        let answers = match validation::answers(&mut engine, &self.validation) {
            // Once may be the machine's fault.
            Err(EngineError::Late { .. }) => validation::answers(&mut engine, &self.validation)?,
            answers => answers?,
        };
        engine.engine_mut().set_limit(limit);
        let gate = self.validation.results("TensorRT plan", &answers);
        match gate.iter().all(GateResult::passes) {
            true => Ok((engine, gate)),
            false => Err(PrepareError::Gate(gate)),
        }
    }

    /// Builds a plan of `model` and validates it.
    fn attempt(
        &self,
        model: &[u8],
        options: &BuildOptions<'_>,
    ) -> Result<(Plan, Vec<GateResult>), PrepareError> {
        let plan = self.library.build(model, options)?;
        let (_, gate) = self.validate(&plan.bytes, RunOptions::default())?;
        Ok((plan, gate))
    }

    /// The model in a form that this version reads. TensorRT 8 refuses quantized weights that are
    /// stored as integers ("invalid weights type of Int8",
    /// https://github.com/NVIDIA/TensorRT/issues/2163). Before 8.5 its Q/DQ layers know float32 only
    /// (IQuantizeLayer in NvInfer.h), and before 8.4 its parser reads no float16 weights; such a version
    /// gets float32, and the flag that allows FP16.
    fn readable<'m>(&self, model: &'m [u8]) -> Result<Cow<'m, [u8]>, PrepareError> {
        let version = self.library.version();
        if version.product != Product::TensorRt || version.number >= FIRST_OF_TENSORRT_10 {
            return Ok(Cow::Borrowed(model));
        }
        let model = float_weights(model)?;
        Ok(Cow::Owned(match version.number < FIRST_OF_TENSORRT_8_5 {
            true => float32_types(&model)?,
            false => model,
        }))
    }

    /// Builds, validates and stores a plan of `model`, the bundle's model after [`rewritten`].
    fn build(
        &self,
        model: &[u8],
        mut notes: Vec<String>,
        progress: &(dyn Fn(Progress<'_>) -> bool + Sync),
    ) -> Result<Prepared, PrepareError> {
        let (library, recipe) = (&self.library, &self.recipe);
        self.device.use_here()?;
        let timing_file = self.timing_file();
        let use_timing_cache = recipe.timing_cache.unwrap_or(true);
        // Without a timing cache, or with an unreadable one, the build only takes longer.
        let timing_cache = match use_timing_cache {
            true => match self.cache.read(&timing_file, MAX_TIMING_BYTES) {
                Ok(read) => Some(read),
                Err(TrustedReadError::Read(_)) => None,
                Err(error) => {
                    notes.push(self.cache.unread(timing_file.clone(), error).to_string());
                    None
                }
            },
            false => None,
        };
        let int8 = self.bundle.sections.contains_key(QDQ);
        // A DLA runs layers in the precisions of the flags only.
        let strongly_typed = library.typing() == Typing::Either && recipe.dla_core.is_none();
        let by_flags = library.typing() != Typing::ByModel && !strongly_typed;
        let options = BuildOptions {
            strongly_typed,
            // Layers that the recipe keeps out of INT8 are float32 in the model, and stay so.
            fp16: by_flags && !int8,
            int8: int8 && library.typing() != Typing::ByModel,
            workspace: recipe.workspace_mib.map(|mib| mib as usize * 1024 * 1024),
            dla_core: recipe.dla_core,
            timing_cache: timing_cache.as_ref(),
            detailed: true,
            progress: Some(progress),
            ..BuildOptions::default()
        };
        let first = match recipe.dla_core {
            // NVIDIA in https://github.com/NVIDIA/TensorRT/issues/2222: "DLA doesn't support QAT
            // yet", that is, QDQ models. All layers would fall back to the GPU.
            Some(_) if int8 => Err("a DLA takes no quantised models".to_owned()),
            _ => match self.attempt(&self.readable(model)?, &options) {
                Err(error) if int8 && other_may_do(&error) => Err(match error {
                    PrepareError::TensorRt(TensorRtError::NoFastInt8) => {
                        format!("{} has no fast INT8", self.device.name())
                    }
                    error => format!("no INT8 plan: {error}"),
                }),
                attempt => Ok(attempt?),
            },
        };
        let ((plan, gate), made) = match first {
            Err(reason) => {
                let made = self.replacement();
                let (precision, _) = made.split_once(',').unwrap_or((made, ""));
                let reason = format!("{reason}; the plan is {precision} instead");
                log::warn!("{reason}");
                notes.push(reason);
                let options = BuildOptions {
                    strongly_typed: false,
                    fp16: made == FP16_FROM_INT8,
                    int8: false,
                    ..options
                };
                (self.attempt(&dequantize(model)?, &options)?, made)
            }
            Ok(attempt) => (attempt, self.bundle.manifest.precision.as_str()),
        };

        let file = self.cache.keep(&self.key(made), &plan.bytes)?;
        if use_timing_cache
            && let Some(new) = &plan.timing_cache
            && let Err(error) = store(&timing_file, new)
        {
            notes.push(format!(
                "{}: {error}; the next build takes as long",
                timing_file.display()
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

    /// The precision of the plan that replaces an INT8 plan. The replacing model has float32 types,
    /// so it runs in FP16 only where flags allow that.
    fn replacement(&self) -> &'static str {
        match self.library.typing() {
            Typing::ByFlags | Typing::Either => FP16_FROM_INT8,
            Typing::ByModel => FP32_FROM_INT8,
        }
    }

    /// The file of the timing cache for this library and device, in the folder of the plans.
    fn timing_file(&self) -> PathBuf {
        // Devices of one name may differ in the number of multiprocessors.
        let device = format!(
            "{}, {} multiprocessors, {} bytes of L2 cache",
            self.device.name(),
            self.device.multiprocessors(),
            self.device.l2_cache()
        );
        let device = Sha256::digest(device);
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

/// Whether another plan may do where the INT8 plan failed.
fn other_may_do(error: &PrepareError) -> bool {
    match error {
        PrepareError::TensorRt(error) => matches!(
            error,
            TensorRtError::NoFastInt8
                | TensorRtError::Parse { .. }
                | TensorRtError::Unsupported(_)
                | TensorRtError::Failed { .. }
        ),
        PrepareError::Plan(PlanError::Tensor { .. } | PlanError::TensorRt(_))
        | PrepareError::Ports(_)
        | PrepareError::Gate(_) => true,
        _ => false,
    }
}

/// The least time limit of an inference while a plan is validated.
const VALIDATION_LIMIT: Duration = Duration::from_secs(1);
/// [`Version::number`](tensorrt_rs::Version) of TensorRT 8.5.0.
const FIRST_OF_TENSORRT_8_5: i32 = 8_500;
/// [`Version::number`](tensorrt_rs::Version) of TensorRT 10.0.0.
const FIRST_OF_TENSORRT_10: i32 = 100_000;
/// The largest timing cache, in bytes. Usual ones are some hundred kilobytes.
const MAX_TIMING_BYTES: u64 = 64 << 20;
/// The engine file's section with the QDQ model.
const QDQ: &str = "model.qdq.onnx";
/// The precision of a plan that replaces an INT8 plan where INT8 is slow or not supported.
const FP16_FROM_INT8: &str = "fp16, from int8";
/// The same where the precision comes from the model alone.
const FP32_FROM_INT8: &str = "fp32, from int8";

/// The precision and the options that change the plan, as text for [`PlanKey::precision`].
fn with_options(precision: &str, recipe: &TensorRtRecipe) -> String {
    let mut text = precision.to_owned();
    if let Some(core) = recipe.dla_core {
        text += &format!(", DLA core {core}");
    }
    if let Some(mib) = recipe.workspace_mib {
        text += &format!(", workspace {mib} MiB");
    }
    text
}

/// The engine file's ONNX model for other runtimes.
fn model_of(bundle: &Bundle) -> Result<&[u8], PrepareError> {
    let sections = &bundle.sections;
    let model = (sections.get(QDQ)).or_else(|| sections.get("model.fp16.onnx"));
    model
        .map(Vec::as_slice)
        .ok_or_else(|| PrepareError::NoModel {
            precision: bundle.manifest.precision.clone(),
        })
}

/// Parses the model and writes the resulting graph for NVIDIA's parser. Nothing that the reader
/// skips (unused nodes, functions, unknown fields) reaches NVIDIA's parser, and no tensor with data
/// in another file. A model that [`Graph::write`] wrote stays the same, byte for byte.
fn rewritten(model: &[u8]) -> Result<Vec<u8>, GraphError> {
    Ok(Graph::read(model, &ReadOptions::default())?.write())
}
