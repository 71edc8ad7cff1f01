//! The [`Engine`] trait, the [`Plan`] an engine runs, and the CPU engine.

mod api;
pub mod plan;

pub use api::{ElementType, Engine, EngineError, Layout, Port, TensorMut, TensorRef, Timing};
