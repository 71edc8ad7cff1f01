//! An engine file and this machine: the plan's key, how it is built, validated and stored.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_engine::plan::PlanPort;
use pilotage_engine::{
    Bundle, Engine, EngineError, GateResult, Port, TensorRtRecipe, ValidationSet,
};
use pilotage_graph::{dequantize, float_weights, float32_types};
use sha2::{Digest, Sha256};
use tensorrt_rs::{
    BuildOptions, Device, Plan, PlanError, Product, Progress, RunOptions, TensorRt, TensorRtError,
    TrustedBytes, TrustedReadError, Typing, store,
};

use crate::cache::{CacheError, PlanCache, PlanKey};
use crate::engine::TensorRtEngine;
use crate::error::PrepareError;
use crate::nhwc::NhwcAdapter;
use crate::paths::TensorRtPaths;
use crate::validated::{Built, Prepared, Validated, ValidatedPlan};
use crate::validation;

/// An engine file and the machine that its plan is for.
pub(crate) struct Target<'a> {
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

impl<'a> Target<'a> {
    pub(crate) fn new(
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
    pub(crate) fn stored(&self, options: RunOptions) -> Result<ValidatedPlan, PrepareError> {
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
        Ok(ValidatedPlan {
            engine,
            precision: precision.to_owned(),
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

    pub(crate) fn is_int8(&self) -> bool {
        self.bundle.sections.contains_key(QDQ)
    }

    /// Validates the stored plan, or builds one of `model`, the bundle's model as [`crate::prepare`] has rewritten it.
    pub(crate) fn validate_or_build(
        &self,
        model: &[u8],
        without_int8: Option<&str>,
        progress: &(dyn Fn(Progress<'_>) -> bool + Sync),
    ) -> Result<Validated, PrepareError> {
        let mut notes = Vec::new();
        if without_int8.is_none() {
            match self.stored(RunOptions::default()) {
                Ok(plan) => {
                    return Ok(Validated {
                        precision: plan.precision,
                        gate: plan.gate,
                        notes,
                        built: None,
                    });
                }
                Err(PrepareError::Keep(CacheError::None { .. })) => {}
                Err(error) => notes.push(format!("built anew: {error}")),
            }
        }
        self.build(model, without_int8, notes, progress)
    }

    /// Builds and validates a plan of `model`.
    fn build(
        &self,
        model: &[u8],
        without_int8: Option<&str>,
        mut notes: Vec<String>,
        progress: &(dyn Fn(Progress<'_>) -> bool + Sync),
    ) -> Result<Validated, PrepareError> {
        let (library, recipe) = (&self.library, &self.recipe);
        self.device.use_here()?;
        let timing_file = self.timing_file();
        // Without a timing cache, or with an unreadable one, the build only takes longer.
        let timing_cache = match self.uses_timing_cache() {
            true => match self.cache.read(&timing_file, MAX_TIMING_BYTES) {
                Ok(read) => Some(read),
                Err(TrustedReadError::Read(_)) => None,
                Err(error) => {
                    notes.push(self.cache.unread(timing_file, error).to_string());
                    None
                }
            },
            false => None,
        };
        let int8 = self.is_int8();
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
            sparse_weights: recipe.sparse_weights,
            timing_cache: timing_cache.as_ref(),
            detailed: true,
            progress: Some(progress),
            ..BuildOptions::default()
        };
        let first = match (without_int8, recipe.dla_core) {
            (Some(reason), _) if int8 => Err(reason.to_owned()),
            // NVIDIA in https://github.com/NVIDIA/TensorRT/issues/2222: "DLA doesn't support QAT
            // yet", that is, QDQ models. All layers would fall back to the GPU.
            (_, Some(_)) if int8 => Err("a DLA takes no quantized models".to_owned()),
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

        Ok(Validated {
            precision: made.to_owned(),
            gate,
            notes,
            built: Some(Built {
                plan: plan.bytes.to_vec(),
                timing_cache: plan.timing_cache.as_deref().map(<[u8]>::to_vec),
                layers: plan.layers,
            }),
        })
    }

    fn uses_timing_cache(&self) -> bool {
        self.recipe.timing_cache.unwrap_or(true)
    }

    /// Stores a plan that was built, if it is one of this engine file's.
    pub(crate) fn store(
        &self,
        validated: Validated,
        mut notes: Vec<String>,
    ) -> Result<Prepared, PrepareError> {
        let precision = validated.precision;
        if ![&self.bundle.manifest.precision, self.replacement()].contains(&precision.as_str()) {
            let reason = format!("a plan of `{}` was not asked for", precision.escape_debug());
            return Err(PrepareError::Process(reason));
        }
        if !validated.gate.iter().all(GateResult::passes) {
            return Err(PrepareError::Gate(validated.gate));
        }
        notes.extend(validated.notes);
        let key = self.key(&precision);
        let (file, layers) = match validated.built {
            None => (self.cache.path(&key), None),
            Some(built) => (self.cache.keep(&key, &built.plan)?, {
                if let Some(times) = &built.timing_cache {
                    notes.extend(self.store_times(times));
                }
                built.layers
            }),
        };
        Ok(Prepared {
            file,
            backend: self.backend(),
            precision,
            gate: validated.gate,
            notes,
            layers,
        })
    }

    /// Stores the timing cache. Returns a note if that fails.
    fn store_times(&self, times: &[u8]) -> Option<String> {
        if !self.uses_timing_cache() {
            return None;
        }
        let file = self.timing_file();
        let error = store(&file, times).err()?;
        Some(format!(
            "{}: {error}; the next build takes as long",
            file.display()
        ))
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
    if recipe.sparse_weights {
        text += ", sparse weights";
    }
    text
}

/// The engine file's ONNX model for other runtimes.
pub(crate) fn model_of(bundle: &Bundle) -> Result<&[u8], PrepareError> {
    let sections = &bundle.sections;
    let model = (sections.get(QDQ)).or_else(|| sections.get("model.fp16.onnx"));
    model
        .map(Vec::as_slice)
        .ok_or_else(|| PrepareError::NoModel {
            precision: bundle.manifest.precision.clone(),
        })
}
