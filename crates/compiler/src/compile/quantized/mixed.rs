//! Finds an engine within the gate: with `on_gate_failure = "mixed"`, layers are kept in floating
//! point until it passes.

use std::collections::BTreeSet;

use pilotage_engine::{GateResult, Trial};
use pilotage_graph::Graph;

use super::{Attempt, CPU_PLAN, Context, Quantized, Sources};
use crate::calibrate::Method;
use crate::compile::{CompileError, ModelError};
use crate::recipe::{CalibrationMethod, OnGateFailure};
use crate::report::LayerReport;

/// Maximum number of layers that are named when the gate fails.
const NAMED: usize = 3;
/// The methods of calibration that are tried when the gate fails, if the recipe names none.
const OTHER_METHODS: [CalibrationMethod; 2] =
    [CalibrationMethod::Percentile, CalibrationMethod::MinMax];

/// The search for the layers to keep in float.
struct Search<'a> {
    context: &'a Context<'a>,
    sources: Sources,
    /// Those that the recipe names.
    asked: BTreeSet<String>,
    /// The automatically kept layers that must be fp32, because float16's range or accuracy does
    /// not suffice.
    wide: BTreeSet<String>,
    /// The method of calibration, if it is neither the recipe's nor the default.
    method: Option<CalibrationMethod>,
}

/// An engine with some layers in float.
struct Candidate {
    float_layers: BTreeSet<String>,
    best: Attempt,
    trials: Vec<Trial>,
    exported: Graph,
    results: Vec<GateResult>,
}

/// The best engine for `context`. If it does not pass, and the recipe names no method of calibration,
/// it is calibrated by others.
///
/// With `"mixed"`, first the layer with the most noise is kept in float, then the next two, four and
/// so on until the engine passes. Of the last of these, only as many stay in float as are needed.
pub(super) fn within_gate(context: &Context<'_>) -> Result<Quantized, CompileError> {
    let recipe = &context.model.recipe;
    let asked: BTreeSet<String> = recipe.layers.keys().cloned().collect();
    let mut search = Search {
        context,
        sources: context.sources(&asked)?,
        asked: asked.clone(),
        wide: BTreeSet::new(),
        method: None,
    };
    let mut candidate = search.candidate(asked)?;
    if !candidate.passes() {
        candidate = search.otherwise_calibrated(candidate)?;
    }
    let mut count = 1;
    while !candidate.passes() {
        let reports = context.reports(&candidate.best, &candidate.float_layers)?;
        let noisy = candidate.by_noise(&reports);
        if recipe.on_gate_failure != OnGateFailure::Mixed || noisy.is_empty() {
            return Err(search.beyond_gate(candidate.results, &noisy));
        }
        let names = noisy.iter().take(count).map(|layer| layer.name.clone());
        let added: Vec<String> = names.collect();
        let failing = candidate.float_layers;
        candidate = search.with(&failing, &added)?;
        if candidate.passes() {
            candidate = search.reduced(candidate, &failing, &added)?;
        }
        count *= 2;
    }
    search.quantized(candidate)
}

impl Search<'_> {
    /// The candidate by the first method of calibration with which it passes; `failing` if there is
    /// none.
    fn otherwise_calibrated(&mut self, failing: Candidate) -> Result<Candidate, CompileError> {
        let settings = self.context.model.recipe.calibration.as_ref();
        let Some(settings) = settings.filter(|it| it.method.is_none()) else {
            return Ok(failing);
        };
        for method in OTHER_METHODS {
            let other = self.sources.by(Method::named(method, settings));
            let first = std::mem::replace(&mut self.sources, other);
            let mut tried = self.candidate(failing.float_layers.clone())?;
            if tried.passes() {
                tried.trials.push(Trial {
                    name: format!("calibration by {}", method.name()),
                    before: failing.best.error.min(f64::MAX),
                    after: tried.best.error.min(f64::MAX),
                    kept: true,
                });
                self.method = Some(method);
                return Ok(tried);
            }
            self.sources = first;
        }
        Ok(failing)
    }

    /// The candidate that keeps the layers of `some` and `more` in float.
    fn with(
        &mut self,
        some: &BTreeSet<String>,
        more: &[String],
    ) -> Result<Candidate, CompileError> {
        self.candidate(some.iter().chain(more).cloned().collect())
    }

    /// A candidate that passes with as few of the first of `added` as possible, which together pass,
    /// if each more helps. `passing` has all of them.
    fn reduced(
        &mut self,
        mut passing: Candidate,
        failing: &BTreeSet<String>,
        added: &[String],
    ) -> Result<Candidate, CompileError> {
        let (mut too_few, mut enough) = (0, added.len());
        while enough - too_few > 1 {
            let count = too_few.midpoint(enough);
            let candidate = self.with(failing, &added[..count])?;
            if candidate.passes() {
                passing = candidate;
                enough = count;
            } else {
                too_few = count;
            }
        }
        Ok(passing)
    }

    /// The best engine with `float_layers` in float. Those that were not asked for become fp32 if fp16
    /// does not suffice.
    fn candidate(&mut self, float_layers: BTreeSet<String>) -> Result<Candidate, CompileError> {
        let context = self.context;
        let mixed = context.model.recipe.on_gate_failure == OnGateFailure::Mixed;
        let (best, trials) = context.best(&self.sources, &float_layers)?;
        loop {
            let kept = || float_layers.difference(&self.asked);
            let narrow = mixed && kept().any(|name| !self.wide.contains(name));
            let exported = match context.exported(&best.graph, &float_layers, &self.wide) {
                Ok(exported) => exported,
                // A value exceeds float16's range: keep all automatically kept layers in fp32.
                Err(_) if narrow => {
                    self.wide = kept().cloned().collect();
                    continue;
                }
                Err(reason) => return Err(context.model.error(reason)),
            };
            let results = context.gated(&best, &exported)?;
            // If only the QDQ model fails, the difference is in the layers that the CPU computes in
            // float32 and other runtimes compute in float16.
            let mut on_cpu = results.iter().filter(|result| result.form == CPU_PLAN);
            let too_coarse =
                on_cpu.all(GateResult::passes) && !results.iter().all(GateResult::passes);
            if too_coarse && narrow {
                self.wide = kept().cloned().collect();
                continue;
            }
            return Ok(Candidate {
                float_layers,
                best,
                trials,
                exported,
                results,
            });
        }
    }

    fn quantized(&self, candidate: Candidate) -> Result<Quantized, CompileError> {
        let kept = candidate.float_layers.difference(&self.asked);
        let kept = kept.map(|name| match self.wide.contains(name) {
            true => format!("{name} (fp32)"),
            false => format!("{name} (fp16)"),
        });
        Ok(Quantized {
            plan: self.context.plan(&candidate.best.graph)?,
            kept_in_float: kept.collect(),
            layers: (self.context).reports(&candidate.best, &candidate.float_layers)?,
            method: self.method,
            graph: candidate.exported,
            units: candidate.best.units,
            results: candidate.results,
            trials: candidate.trials,
        })
    }

    fn beyond_gate(&self, results: Vec<GateResult>, noisy: &[&LayerReport]) -> CompileError {
        let model = self.context.model;
        let named = noisy.iter().take(NAMED);
        let named = named.map(|l| format!("`{}` ({:.1} dB)", l.name, l.signal_to_noise));
        let layers: Vec<String> = named.collect();
        model.error(ModelError::Gate {
            precision: model.recipe.precision.name(),
            results,
            layers: layers.join(", "),
        })
    }
}

impl Candidate {
    fn passes(&self) -> bool {
        self.results.iter().all(GateResult::passes)
    }

    /// The quantized layers by their signal-to-noise ratio, the lowest first.
    fn by_noise<'r>(&self, reports: &'r [LayerReport]) -> Vec<&'r LayerReport> {
        let quantized = reports.iter();
        let quantized = quantized.filter(|layer| !self.float_layers.contains(&layer.name));
        let mut quantized: Vec<&LayerReport> = quantized.collect();
        quantized.sort_by(|a, b| a.signal_to_noise.total_cmp(&b.signal_to_noise));
        quantized
    }
}
