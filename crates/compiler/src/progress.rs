//! The progress of a compilation, and what it may reuse.

use std::fmt;

use crate::cache::{Cache, Key, Rows};

/// What a compilation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reads the frames.
    Frames,
    /// Computes the fp32 answers to the held-back frames.
    Reference,
    /// Finds the ranges of activations.
    Calibration,
    /// Tries to reduce the error.
    Search,
    /// Compares the engine with fp32.
    Gate,
    /// Measures the error of each layer.
    Layers,
    /// Finds the ranges of the calibration table for trtexec.
    Table,
}

impl Stage {
    /// The name, for display.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frames => "reading",
            Self::Reference => "fp32 answers",
            Self::Calibration => "calibration",
            Self::Search => "search",
            Self::Gate => "gate",
            Self::Layers => "layers",
            Self::Table => "calibration table",
        }
    }
}

/// Receives the progress of a compilation. The methods are called from several threads, and the
/// compilation waits for them.
pub trait Observer: Sync {
    /// A pass over `frames` frames begins. A stage has several passes, and a stage may come again
    /// after a later one.
    fn pass(&self, stage: Stage, frames: usize);

    /// One more frame of the latest pass is done.
    fn frame(&self);

    /// The result of a pass is known from an earlier compilation.
    fn reused(&self, stage: Stage);
}

/// How a compilation runs: the observer of its progress, and the results of earlier ones that it
/// may use.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    observer: Option<&'a dyn Observer>,
    cache: Option<&'a Cache>,
    stage: Stage,
}

impl<'a> Run<'a> {
    /// Without an observer and without earlier results.
    pub const ALONE: Run<'static> = Run {
        observer: None,
        cache: None,
        stage: Stage::Frames,
    };

    /// Passes the progress to `observer`, and uses and adds to the results in `cache`.
    pub fn new(observer: Option<&'a dyn Observer>, cache: Option<&'a Cache>) -> Self {
        Self {
            observer,
            cache,
            stage: Stage::Frames,
        }
    }

    /// The same for passes of `stage`.
    pub(crate) fn of(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// The same without earlier results.
    pub(crate) fn anew(self) -> Self {
        Self {
            cache: None,
            ..self
        }
    }

    /// A pass over `frames` frames begins.
    pub(crate) fn pass(self, frames: usize) {
        if let Some(observer) = self.observer {
            observer.pass(self.stage, frames);
        }
    }

    /// One more frame is done.
    pub(crate) fn frame(self) {
        if let Some(observer) = self.observer {
            observer.frame();
        }
    }

    /// The result of `measure`, or that of an earlier compilation if it `fits`. `key` makes the
    /// result's key.
    pub(crate) fn measured<E>(
        self,
        key: impl FnOnce(&Cache) -> Key,
        fits: impl FnOnce(&Rows) -> bool,
        measure: impl FnOnce() -> Result<Rows, E>,
    ) -> Result<Rows, E> {
        let Some(cache) = self.cache else {
            return measure();
        };
        let key = key(cache);
        if let Some(rows) = cache.get(&key).filter(fits) {
            if let Some(observer) = self.observer {
                observer.reused(self.stage);
            }
            return Ok(rows);
        }
        let rows = measure()?;
        cache.put(key, &rows);
        Ok(rows)
    }
}

impl fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("observed", &self.observer.is_some())
            .field("cache", &self.cache)
            .field("stage", &self.stage)
            .finish()
    }
}
