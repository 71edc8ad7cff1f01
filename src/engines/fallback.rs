//! A second engine that answers when the first does not.

use std::time::{Duration, Instant};

use pilotage_engine::{Engine, EngineError, Port, TensorMut, TensorRef, Timing};

/// How long a failed engine is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after its first failure; each further failure doubles it.
    pub first: Duration,
    /// The longest delay.
    pub most: Duration,
    /// After this long without a failure, the next failure counts as the first.
    pub forget: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            most: Duration::from_secs(60),
            forget: Duration::from_secs(60),
        }
    }
}

/// Two engines with the same ports. If the first engine fails or its answer is not finite, the
/// second engine answers within the same call. The first engine is then not used for a delay. A
/// later frame tries it again, and a failure doubles the delay, so that the two engines do not
/// alternate.
///
/// The first engine must bound its own waiting: a call takes at most that bound and the second
/// engine's time.
pub struct Fallback {
    first: Box<dyn Engine>,
    second: Box<dyn Engine>,
    backoff: Backoff,
    state: State,
    /// The delay after the next failure of the first engine.
    wait: Duration,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The first engine answers, since then.
    First { since: Instant },
    /// The second engine answers, until then.
    Second { until: Instant },
}

/// The engines' ports differ.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the engine and its fallback have different inputs or outputs: {first} and {second}")]
pub struct OtherPorts {
    /// The first engine's ports, as text.
    pub first: String,
    /// The second engine's ports, as text.
    pub second: String,
}

impl Fallback {
    /// Joins two engines.
    ///
    /// # Errors
    /// Fails if their ports differ.
    pub fn new(
        first: Box<dyn Engine>,
        second: Box<dyn Engine>,
        backoff: Backoff,
    ) -> Result<Self, OtherPorts> {
        let ports = |engine: &dyn Engine| (engine.inputs().to_vec(), engine.outputs().to_vec());
        let (of_first, of_second) = (ports(&*first), ports(&*second));
        if of_first != of_second {
            return Err(OtherPorts {
                first: format!("{of_first:?}"),
                second: format!("{of_second:?}"),
            });
        }
        Ok(Self {
            first,
            second,
            backoff,
            state: State::First {
                since: Instant::now(),
            },
            wait: backoff.first,
        })
    }

    /// Whether the next frame goes to the first engine.
    fn first_is_due(&self, now: Instant) -> bool {
        match self.state {
            State::First { .. } => true,
            State::Second { until } => now >= until,
        }
    }

    fn failed(&mut self, error: &EngineError) {
        let now = Instant::now();
        if let State::First { since } = self.state {
            if now.duration_since(since) >= self.backoff.forget {
                self.wait = self.backoff.first;
            }
            log::warn!(
                "{}: {error}; {} answers in its place",
                self.first.describe(),
                self.second.describe()
            );
        }
        self.state = State::Second {
            until: now + self.wait,
        };
        self.wait = (self.wait * 2).min(self.backoff.most);
    }

    fn answered(&mut self) {
        if let State::Second { .. } = self.state {
            log::warn!("{} answers again", self.first.describe());
            self.state = State::First {
                since: Instant::now(),
            };
        }
    }
}

impl Engine for Fallback {
    fn describe(&self) -> String {
        format!(
            "{}, or else {}",
            self.first.describe(),
            self.second.describe()
        )
    }

    fn inputs(&self) -> &[Port] {
        self.second.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.second.outputs()
    }

    fn prepare(&mut self) -> Result<(), EngineError> {
        self.second.prepare()?;
        if let Err(error) = self.first.prepare() {
            self.failed(&error);
        }
        Ok(())
    }

    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        EngineError::check_inputs(self.second.inputs(), inputs)?;
        EngineError::check_outputs(self.second.outputs(), outputs)?;
        let start = Instant::now();
        if self.first_is_due(start) {
            let answer = self.first.infer(inputs, outputs);
            match answer.and_then(|timing| finite(outputs).map(|()| timing)) {
                Ok(timing) => {
                    self.answered();
                    return Ok(timing);
                }
                Err(error) => self.failed(&error),
            }
        }
        self.second.infer(inputs, outputs)?;
        Ok(Timing {
            total: start.elapsed(),
            device: None,
            fallback: true,
        })
    }
}

/// Checks that all outputs are finite.
fn finite(outputs: &[TensorMut<'_>]) -> Result<(), EngineError> {
    let is_finite = |output: &TensorMut<'_>| match output.as_ref() {
        TensorRef::F32(numbers) => numbers.iter().all(|number| number.is_finite()),
        _ => true,
    };
    match outputs.iter().all(is_finite) {
        true => Ok(()),
        false => Err(EngineError::NotFinite),
    }
}

#[cfg(test)]
mod tests;
