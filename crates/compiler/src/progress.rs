//! The progress of a compilation.

use std::fmt;

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
}

/// Passes the progress to an observer, if there is one.
#[derive(Clone, Copy)]
pub struct Progress<'a> {
    observer: Option<&'a dyn Observer>,
    stage: Stage,
}

impl<'a> Progress<'a> {
    /// Without an observer.
    pub const NONE: Progress<'static> = Progress {
        observer: None,
        stage: Stage::Frames,
    };

    /// Passes the progress to `observer`.
    pub fn new(observer: &'a dyn Observer) -> Self {
        Self {
            observer: Some(observer),
            stage: Stage::Frames,
        }
    }

    /// The same for passes of `stage`.
    pub(crate) fn of(self, stage: Stage) -> Self {
        Self { stage, ..self }
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
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("observed", &self.observer.is_some())
            .field("stage", &self.stage)
            .finish()
    }
}
