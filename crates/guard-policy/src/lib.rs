//! The guard's whole policy: what may reach a car's motors, and when the car is stopped.
//!
//! [`step`] is a pure function of a [`State`], the [`Limits`], a time and an [`Event`], without a
//! clock or I/O; it returns the next state, and the refusal of a request. [`State::output`] is what
//! the motors get in a state, and [`State::expires`] when it ends by itself. The same function runs
//! in the guard process, in the simulator and under the model checker (`tests/model`).
//! `docs/safety.md` numbers the rules that it enforces; `tests/rules` tests each by its number.
//!
//! ```
//! use std::time::Duration;
//!
//! use pilotage_guard_policy::{ArmRequest, Event, Interlocks, Limits, State, step};
//! use pilotage_vehicle::{Command, Domain, Time};
//!
//! let limits = Limits::simulated();
//! let engine = ArmRequest { engine: Domain::Simulated };
//! let mut now = Time::from_nanos(1_000_000_000);
//! let armed = step(State::Disarmed, &limits, now, Event::Arm(engine, Interlocks::default()));
//!
//! now = now + Duration::from_millis(10);
//! let command = Command { sequence: 1, captured: now, steering: 0.5, throttle: 0.2 };
//! let driving = step(armed.state, &limits, now, Event::Command(command));
//! assert!(matches!(driving.state, State::Driving(_)));
//!
//! // Without a further command the car is stopped at the deadline.
//! now = now + limits.spec().deadline;
//! let stopped = step(driving.state, &limits, now, Event::Tick);
//! assert!(stopped.state.stopped().is_some());
//! assert_eq!(stopped.state.output(&limits).throttle, 0.0);
//! ```

mod limits;
mod output;
mod policy;
mod state;

pub use limits::{Channel, Limits, LimitsError, LimitsSpec};
pub use output::{Mode, Output};
pub use policy::{ArmRequest, Event, Interlocks, Refusal, Step, step};
pub use state::{Armed, Braking, Driving, Motion, State, StopReason, Trimming};
